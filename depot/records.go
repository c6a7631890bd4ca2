package depot

import "time"

// Issuance is one enrolment about to become true.
type Issuance struct {
	Transaction Transaction // Sequence is given by the depot
	Identity    Identity
	Challenge   ChallengeRef // what this step spends; zero: nothing
	// Supersedes is the certificate serial that a renewal takes the place of:
	// that identity gets SupersededAt and SupersededBy in the same step. It
	// must exist (ErrNotFound); one that is superseded already keeps what it
	// has (ErrTransactionConflict). Empty: none.
	Supersedes string
	// HoldBack keeps the certificate from its device until Deliver; CSR goes
	// with it and only with it. See Deliveries.
	HoldBack bool
	CSR      []byte
	// After is the Sequence of the last transaction with the same
	// configuration and transactionID that the caller saw, 0 if none. When
	// another one was committed since, or the same pkiMessage was (in whatever
	// configuration), nothing is stored and the answer is
	// ErrTransactionConflict.
	After uint64
}

// ChallengeRef names a one-time challenge. Its zero value means that nothing
// is to be spent, as for a static secret key.
type ChallengeRef struct {
	ID string // ch_…
}

// Transaction is one SCEP transaction that came to an end worth keeping.
// A configuration can see the same transactionID many times (clients derive
// it from their key); the last one answers.
type Transaction struct {
	ConfigurationID   string
	ID                string // transactionID as the client wrote it
	Sequence          uint64 // rises over the whole depot; never 0 in a stored record
	MessageType       string // "19", "17" …
	MessageSHA256     [32]byte
	CSRSHA256         [32]byte
	PublicKeySHA256   [32]byte // of the CSR's SubjectPublicKeyInfo
	SignerSHA256      [32]byte // of the signer certificate's DER
	CertificateSerial string   // what it led to
	At                time.Time
}

// Identity is an issued device certificate as stored. Everything that can be
// known at issue is here from the first record on.
type Identity struct {
	CertificateSerial string // lower-case hex, even length
	SHA256            [32]byte
	PublicKeySHA256   [32]byte // of the SubjectPublicKeyInfo
	CSRSHA256         [32]byte
	DER               []byte
	Subject           string // RFC 4514-like, see device.FormatName; RawSubject is in DER
	NotBefore         time.Time
	NotAfter          time.Time
	IssuedAt          time.Time
	IssuerSHA256      [32]byte // of the issuing certificate: the authority's generation
	KeyAlgorithm      string   // "RSA"
	KeyBits           int
	SignatureAlgo     string // of the certificate, as crypto/x509 names it

	ConfigurationID   string
	ConfigurationName string // as it was at issue
	Purpose           string

	Device DeviceNames

	// RequestedSANs are the subjectAltNames that the CSR asked for and that
	// were dropped, by type: "dns:…", "upn:…". Evidence, never trusted.
	RequestedSANs []string

	ChallengeMode string // "static", "dynamic", "intune"
	ChallengeID   string // ch_…, empty for a static secret key
	ChallengeBy   string // who had the challenge made, if known

	TransactionID     string
	MessageType       string // "19" …
	SignerKeyIsCSRKey bool
	SignerSHA256      [32]byte
	Digest            string // of the request: "SHA-256"
	Cipher            string // of the request: "AES-128-CBC"
	Warnings          []string
	SourceAddress     string // of the client, after trusted proxies
	SourcePeer        string // of the TCP peer
	UserAgent         string
	TLS               bool
	ClockOffset       time.Duration
	Fault             string // lab fault rule that applied
	IntuneVerdict     string
	IntuneActivityID  string
	PreviousSerial    string // the device's certificate before this one; given by the depot
	RevokedAt         time.Time
	RevocationReason  string
	Void              bool // signed, never delivered

	RevokedBy      string
	SupersededAt   time.Time // when it was renewed
	SupersededBy   string    // certificate serial of the renewal
	UsedAt         time.Time // when it was first seen in use, see MarkUsed
	RevokeUnusedAt time.Time // when it is revoked unless it was used; zero: never
	RequestID      string    // rq_…, of the request that an operator approved
	ApprovedBy     string    // who did
	HeldBack       bool      // signed, and its device may not have it yet; see Deliveries
}

// AtIssue returns the identity without what only later steps can say:
// revocation, renewal, first use, and that it was never delivered.
func (i Identity) AtIssue() Identity {
	i.RevokedAt, i.RevocationReason, i.RevokedBy = time.Time{}, "", ""
	i.SupersededAt, i.SupersededBy, i.UsedAt = time.Time{}, "", time.Time{}
	i.Void = false
	return i
}

// DeviceNames is who a subject names, as package device read it.
type DeviceNames struct {
	Key          string // within the configuration
	DeviceSerial string
	ProfileUUID  string
	UDID         string
	UPN          string
	DeviceID     string
	ComputerName string
}

// Device is one device of one configuration; it has many certificates over
// time.
type Device struct {
	ConfigurationID string
	Names           DeviceNames // as the latest certificate names it
	FirstSeen       time.Time
	LastSeen        time.Time
	Certificates    int    // how many were issued to it
	LatestSerial    string // certificate serial of the latest one
}

// Mode is how a configuration judges challenges.
type Mode string

// The modes of Okta's SCEP configurations.
const (
	ModeStatic  Mode = "static"
	ModeDynamic Mode = "dynamic"
	ModeIntune  Mode = "intune"
)

// Purpose is what a configuration's certificates are for.
type Purpose string

// The purposes: the first adds Okta's marker extension, the second does not.
const (
	PurposeDeviceAccess          Purpose = "device-access"
	PurposeManagementAttestation Purpose = "management-attestation"
)

// Configuration is one SCEP endpoint as stored.
type Configuration struct {
	ID       string // rac + 17 [a-z0-9]
	Name     string
	Mode     Mode
	Purpose  Purpose
	Revision uint64 // 1 at creation, one more with each change
	Secret   SecretHash
	Policy   ConfigurationPolicy
	// ChallengeUser and ChallengePassword open the challenge page of a dynamic
	// configuration.
	ChallengeUser     string
	ChallengePassword SecretHash
	Intune            IntuneSettings // of mode intune

	CreatedAt     time.Time
	ChangedAt     time.Time
	SecretResetAt time.Time
	RemovedAt     time.Time // zero while it lives
}

// IntuneSettings say whom a configuration of mode intune asks. The credential
// itself is not here: it lies in files on the server's machine.
type IntuneSettings struct {
	Cloud           string // a preset; empty when the URLs are given
	Authority       string
	GraphURL        string
	IntuneResource  string
	IntuneHosts     []string
	Tenant          string
	ClientID        string
	SecretFile      string // path; one of SecretFile and CertificateFile
	CertificateFile string // path of PEM with certificate and RSA key
	CAFile          string // path of PEM with the CAs of TLS; empty: the system's
}

// SecretHash is what is kept of a static secret key: SHA-256 over salt and
// key. The key has at least 16 characters of 62 and is compared at every
// enrolment, so a slow hash would only serve whoever wants to load the server.
type SecretHash struct {
	Salt []byte
	Hash []byte
}

// ConfigurationPolicy is what a configuration's enrolments are held to.
type ConfigurationPolicy struct {
	Validity    time.Duration
	KeySizes    []int  // bits of RSA keys that are accepted
	KeyUsage    string // "signing", "signing,agreement"
	RetryPeriod time.Duration
	Chain       string // "full", "no-root"
	Strict      bool
	SHA1        string // "allow", "refuse"
	DES         string // "allow", "refuse"
	KeyChecks   string // "fast", "strict"

	Approval    string        // "auto", "manual", "manual-new"
	ApprovalTTL time.Duration // how long a request waits for a decision
	Renewal     bool          // RenewalReq is served
	// RenewalWindow is how long before notAfter renewal is allowed; 0: at any
	// time.
	RenewalWindow     time.Duration
	Queries           string        // GetCert and GetCRL: "refuse", "enrolled", "anyone"
	NextCASigner      string        // who signs GetNextCACert: "ca", "ra"
	RevokeUnusedAfter time.Duration // 0: never
	DevicesFile       string        // path of an allow-list on the server's machine; empty: none

	// Of mode dynamic.
	ChallengeTTL   time.Duration // life of a one-time challenge
	MaxOutstanding int           // challenges that nobody has used yet
	Page           string        // form of the challenge page: "okta", "ndes"

	// The redistribution window, see package redistribution.
	WindowKind   string // "days_before", "percent_remaining"
	WindowValue  int    // days, or percent
	WindowStrict bool   // days_before: a shorter lifetime is all window
	AckTimeout   time.Duration
}

// AuthorityGeneration is the set of CA certificates in force.
type AuthorityGeneration struct {
	At     time.Time
	Root   []byte // DER
	Issuer []byte // DER; equal to Root in single-CA mode
	RA     []byte // DER
}

// EventType is the closed set of things that happen.
type EventType string

// The events of this version.
const (
	EventCertificateIssued    EventType = "certificate.issued"
	EventConfigurationAdded   EventType = "configuration.added"
	EventConfigurationChanged EventType = "configuration.changed"
	EventConfigurationRemoved EventType = "configuration.removed"
	EventSecretReset          EventType = "configuration.secret_reset"
	EventDevicesListed        EventType = "configuration.devices_listed"   // an allow-list was set
	EventDevicesUnlisted      EventType = "configuration.devices_unlisted" // it was removed
	EventCertificateRevoked   EventType = "certificate.revoked"
	EventCertificateReleased  EventType = "certificate.released" // a hold was lifted
	EventCertificateUsed      EventType = "certificate.used"
	EventCertificateDelivered EventType = "certificate.delivered" // after it was held back
	EventCertificateVoid      EventType = "certificate.void"
	EventChallengeIssued      EventType = "challenge.issued" // given out; spending it is certificate.issued
	EventChallengeWithdrawn   EventType = "challenge.withdrawn"
	EventRequestPending       EventType = "request.pending"
	EventRequestApproved      EventType = "request.approved" // beside it: certificate.issued
	EventRequestDenied        EventType = "request.denied"

	EventCertificateSuperseded      EventType = "certificate.superseded"        // a newer one exists for the device
	EventRedistributionDue          EventType = "redistribution.due"            // its window opened
	EventRedistributionAcknowledged EventType = "redistribution.acknowledged"   // somebody pushes the profile
	EventRedistributionUndone       EventType = "redistribution.unacknowledged" // the push failed
	EventRedistributionStalled      EventType = "redistribution.stalled"        // pushed, and nothing came of it
	EventRedistributionFulfilled    EventType = "redistribution.fulfilled"      // the device enrolled again in the window
	EventRedistributionMissed       EventType = "redistribution.missed"         // the window closed
	EventChallengeRejected          EventType = "challenge.rejected"            // in sums, see Rejections
	EventClockMoved                 EventType = "clock.moved"
	EventSeeded                     EventType = "store.seeded"
	EventTokenAdded                 EventType = "token.added"
	EventTokenRemoved               EventType = "token.removed"
	EventWebhookAdded               EventType = "webhook.added"
	EventWebhookChanged             EventType = "webhook.changed"
	EventWebhookDisabled            EventType = "webhook.disabled"
	EventWebhookRemoved             EventType = "webhook.removed"
)

// Event is something that happened, in the same step that made it true.
type Event struct {
	Sequence          uint64 // the order; ids are ev_ + hex of it
	Type              EventType
	At                time.Time // IssuedAt; CreatedAt, ChangedAt, SecretResetAt or RemovedAt of the configuration
	ConfigurationID   string
	ConfigurationName string
	CertificateSerial string
	DeviceKey         string
	TransactionID     string
	RequestID         string
	ChallengeID       string // of challenge.issued and challenge.withdrawn

	By           string // who did it: of acknowledgements, revocations, clock, tokens and webhooks
	Reason       string // of certificate.revoked, challenge.rejected and webhook.disabled
	Count        int    // of challenge.rejected and store.seeded
	SupersededBy string // certificate serial of the successor
	CommandID    string // of redistribution.acknowledged
	SubjectID    string // tk_… or wh_…, of events of tokens and webhooks
	// Source is the address of the last one that was refused, of
	// challenge.rejected.
	Source string
	// Offset and FrozenAt are what a lab set its clock to, of clock.moved.
	Offset   time.Duration
	FrozenAt time.Time
}

// Order of a list of identities.
type Order string

// The orders that have an index.
const (
	NewestFirst Order = "issued"    // last committed first; the default
	ByNotAfter  Order = "not_after" // soonest expiry first, ties by certificate serial
)

// IdentityQuery selects identities. Zero fields do not select. A query that
// names a transaction, a device, a public key or a name walks that index, and
// one for the beginning of a name the part of it that begins so; the rest is
// filtered.
type IdentityQuery struct {
	ConfigurationID string
	DeviceKey       string // needs ConfigurationID
	TransactionID   string // needs ConfigurationID
	PublicKeySHA256 [32]byte
	NotAfterFrom    time.Time // [from, to)
	NotAfterTo      time.Time
	// Name selects by the name of that kind, with NamePrefix by its
	// beginning. Case does not matter (see FoldName).
	NameKind   NameKind
	Name       string
	NamePrefix bool
	// IssuedFrom and IssuedTo select by IssuedAt, [from, to).
	IssuedFrom time.Time
	IssuedTo   time.Time
	// AsOf shows what was stored as it was then: without what was issued
	// later, and with revocations, renewals and uses that came later undone,
	// see Identity.AsOf. The rest of the query selects among that. Zero: as it
	// is.
	AsOf time.Time
	// Match is asked last, nil: everything. The identity that it sees has no
	// DER, which is read for those only that are on the page. The standing is
	// as of AsOf too, and StandingNone unless WithStanding. It must not call
	// the depot.
	Match        func(Identity, Standing) bool
	WithStanding bool
	Order        Order
	Limit        int // see PageLimit
	Cursor       string
}

// MaxLook is how many identities, requests, challenges or events one page of a
// filtered list looks at. Then it is short, or empty, and has a cursor all the
// same.
const MaxLook = 20_000

// DeviceQuery selects devices.
type DeviceQuery struct {
	ConfigurationID string
	Limit           int
	Cursor          string
}

// EventQuery selects events after a sequence number.
type EventQuery struct {
	After uint64
	// Types and ConfigurationID select; empty: all. A page looks at no more
	// than MaxLook events and can be short and yet go on.
	Types           []EventType
	ConfigurationID string
	Limit           int
}

// Page is one page of a list. NextCursor is empty on the last one.
type Page[T any] struct {
	Items      []T
	NextCursor string
}
