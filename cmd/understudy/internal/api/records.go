package api

import "time"

// List is a page of a list. NextCursor is nil on the last one.
type List[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor"`
}

// Configuration is what people see of a configuration. SecretKey is there only
// in the answer that made the key.
type Configuration struct {
	ID            string     `json:"id"`
	Name          string     `json:"name"`
	Mode          string     `json:"mode"`
	Purpose       string     `json:"purpose"`
	SCEPURL       string     `json:"scep_url"`
	SCEPAliasURL  string     `json:"scep_alias_url"`
	CreatedAt     time.Time  `json:"created_at"`
	ChangedAt     time.Time  `json:"changed_at"`
	SecretResetAt *time.Time `json:"secret_reset_at"`
	Revision      uint64     `json:"revision"`
	Policy        Policy     `json:"policy"`
	SecretKey     string     `json:"secret_key"`
	ChallengeURL  string     `json:"challenge_url"`
	Username      string     `json:"username"`
	Password      string     `json:"password"`
	Intune        *Intune    `json:"intune"`
	Unavailable   string     `json:"unavailable"`
}

// Intune is whom a configuration of mode intune asks.
type Intune struct {
	Cloud                 string   `json:"cloud"`
	Tenant                string   `json:"tenant"`
	ClientID              string   `json:"client_id"`
	ClientSecretFile      string   `json:"client_secret_file"`
	ClientCertificateFile string   `json:"client_certificate_file"`
	CAFile                string   `json:"ca_file"`
	Authority             string   `json:"authority"`
	GraphURL              string   `json:"graph_url"`
	IntuneResource        string   `json:"intune_resource"`
	IntuneHosts           []string `json:"intune_hosts"`
}

// Policy is what a configuration's enrolments are held to.
type Policy struct {
	ValiditySeconds    int64  `json:"validity_seconds"`
	KeySizes           []int  `json:"key_sizes"`
	KeyUsage           string `json:"key_usage"`
	RetryPeriodSeconds int64  `json:"retry_period_seconds"`
	Chain              string `json:"chain"`
	Strict             bool   `json:"strict"`
	SHA1               string `json:"sha1"`
	DES                string `json:"des"`
	KeyChecks          string `json:"key_checks"`

	Approval                 string `json:"approval"`
	ApprovalTTLSeconds       int64  `json:"approval_ttl_seconds"`
	Renewal                  bool   `json:"renewal"`
	RenewalWindowSeconds     int64  `json:"renewal_window_seconds"`
	Queries                  string `json:"queries"`
	NextCASigner             string `json:"next_ca_signer"`
	RevokeUnusedAfterSeconds int64  `json:"revoke_unused_after_seconds"`
	DevicesFile              string `json:"devices_file"`

	Window            Window `json:"window"`
	AckTimeoutSeconds int64  `json:"ack_timeout_seconds"`

	ChallengeTTLSeconds int64  `json:"challenge_ttl_seconds"`
	MaxOutstanding      int64  `json:"max_outstanding"`
	Page                string `json:"page"`
}

// Window says when the redistribution window of a certificate opens.
type Window struct {
	Kind   string `json:"kind"`  // "days_before", "percent_remaining"
	Value  int    `json:"value"` // days, or percent
	Strict bool   `json:"strict"`
}

// Challenge is a one-time challenge; its text is there only when it is new.
type Challenge struct {
	ID            string    `json:"id"`
	Text          string    `json:"challenge"`
	Configuration string    `json:"configuration"`
	ExpiresAt     time.Time `json:"expires_at"`
}

// Remark is one thing that config check found.
type Remark struct {
	Severity string `json:"severity"`
	Field    string `json:"field"`
	Detail   string `json:"detail"`
}

// Ref names a configuration.
type Ref struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Identity is what people see of an issued certificate.
type Identity struct {
	CertificateSerial string     `json:"certificate_serial"`
	SHA256            string     `json:"sha256"`
	Subject           string     `json:"subject"`
	NotBefore         time.Time  `json:"not_before"`
	NotAfter          time.Time  `json:"not_after"`
	IssuedAt          time.Time  `json:"issued_at"`
	State             string     `json:"state"`
	RevokedAt         *time.Time `json:"revoked_at"`
	RevocationReason  string     `json:"revocation_reason"`
	RevokedBy         string     `json:"revoked_by"`
	SupersededBy      string     `json:"superseded_by"`
	UsedAt            *time.Time `json:"used_at"`
	RevokeUnusedAt    *time.Time `json:"revoke_unused_at"`
	RequestID         string     `json:"request_id"`
	ApprovedBy        string     `json:"approved_by"`
	Configuration     Ref        `json:"configuration"`
	Device            Names      `json:"device"`
	TransactionID     string     `json:"transaction_id"`
	PublicKeySHA256   string     `json:"public_key_sha256"`
	Source            struct {
		Address   string `json:"address"`
		UserAgent string `json:"user_agent"`
	} `json:"source"`
	Wire struct {
		Digest string `json:"digest"`
		Cipher string `json:"cipher"`
	} `json:"wire"`
	ClockOffsetSeconds        int64    `json:"clock_offset_seconds"`
	RequestedSANs             []string `json:"requested_sans"`
	Warnings                  []string `json:"warnings"`
	PreviousCertificateSerial string   `json:"previous_certificate_serial"`
}

// Names is who a device is.
type Names struct {
	Key          string `json:"key"`
	DeviceSerial string `json:"device_serial"`
	ProfileUUID  string `json:"profile_uuid"`
	UDID         string `json:"udid"`
	UPN          string `json:"upn"`
	DeviceID     string `json:"device_id"`
	ComputerName string `json:"computer_name"`
}

// Device is a device with what it holds. Certificates is a number in a list
// and the certificates themselves, newest first, in a single device.
type Device[C int | []Identity] struct {
	Names
	Configuration           Ref       `json:"configuration"`
	FirstSeen               time.Time `json:"first_seen"`
	LastSeen                time.Time `json:"last_seen"`
	Certificates            C         `json:"certificates"`
	LatestCertificateSerial string    `json:"latest_certificate_serial"`
	NextCursor              *string   `json:"next_cursor"` // of the certificates of a single device
}

// Authority is the authority's own certificates.
type Authority struct {
	Shape  string               `json:"shape"`
	ID     string               `json:"id"`
	Root   AuthorityCertificate `json:"root"`
	Issuer AuthorityCertificate `json:"issuer"`
	RA     AuthorityCertificate `json:"ra"`
}

// AuthorityCertificate is one of them.
type AuthorityCertificate struct {
	Subject   string    `json:"subject"`
	SHA256    string    `json:"sha256"`
	SHA1      string    `json:"sha1"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	PEM       string    `json:"pem"`
}

// Request is an enrolment that an operator decides about.
type Request struct {
	ID                string     `json:"id"`
	State             string     `json:"state"`
	Configuration     Ref        `json:"configuration"`
	Subject           string     `json:"subject"`
	Device            Names      `json:"device"`
	TransactionID     string     `json:"transaction_id"`
	RequestedAt       time.Time  `json:"requested_at"`
	ExpiresAt         time.Time  `json:"expires_at"`
	DecidedAt         *time.Time `json:"decided_at"`
	DecidedBy         string     `json:"decided_by"`
	Note              string     `json:"note"`
	CertificateSerial string     `json:"certificate_serial"`
	Supersedes        string     `json:"supersedes"`
	PublicKeySHA256   string     `json:"public_key_sha256"`
	RequestedSANs     []string   `json:"requested_sans"`
	Warnings          []string   `json:"warnings"`
	Source            struct {
		Address   string `json:"address"`
		UserAgent string `json:"user_agent"`
	} `json:"source"`
}

// Rollover is the change to the authority's next generation.
type Rollover struct {
	State       string     `json:"state"`
	PreparedAt  *time.Time `json:"prepared_at"`
	ActivatedAt *time.Time `json:"activated_at"`
	Next        *struct {
		Root   AuthorityCertificate `json:"root"`
		Issuer AuthorityCertificate `json:"issuer"`
		RA     AuthorityCertificate `json:"ra"`
	} `json:"next"`
	Generations []Generation `json:"generations"`
}

// Generation is one issuer of the authority.
type Generation struct {
	Issuer    AuthorityCertificate `json:"issuer"`
	IssuerSKI string               `json:"issuer_ski"`
	Current   bool                 `json:"current"`
	Since     *time.Time           `json:"since"`
	Until     *time.Time           `json:"until"`
}

// CRL is what an issuer says is revoked.
type CRL struct {
	Issuer     string         `json:"issuer"`
	IssuerSKI  string         `json:"issuer_ski"`
	Number     string         `json:"number"`
	ThisUpdate time.Time      `json:"this_update"`
	NextUpdate time.Time      `json:"next_update"`
	URL        string         `json:"url"`
	Items      []RevokedEntry `json:"items"`
}

// RevokedEntry is one line of a CRL.
type RevokedEntry struct {
	CertificateSerial string    `json:"certificate_serial"`
	RevokedAt         time.Time `json:"revoked_at"`
	Reason            string    `json:"reason"`
}
