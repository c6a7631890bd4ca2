package server

import (
	"context"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"time"

	"understudy.example/understudy/depot"
)

// identityJSON is a certificate in the API. Absent is null, never missing.
type identityJSON struct {
	CertificateSerial   string            `json:"certificate_serial"`
	SHA256              string            `json:"sha256"`
	Subject             string            `json:"subject"`
	NotBefore           string            `json:"not_before"`
	NotAfter            string            `json:"not_after"`
	IssuedAt            string            `json:"issued_at"`
	State               string            `json:"state"`
	RevokedAt           *string           `json:"revoked_at"`
	RevocationReason    *string           `json:"revocation_reason"`
	Configuration       configurationName `json:"configuration"`
	Purpose             string            `json:"purpose"`
	Device              deviceNamesJSON   `json:"device"`
	Challenge           challengeJSON     `json:"challenge"`
	TransactionID       string            `json:"transaction_id"`
	Source              sourceJSON        `json:"source"`
	Wire                wireJSON          `json:"wire"`
	ClockOffsetSeconds  int64             `json:"clock_offset_seconds"`
	PublicKeySHA256     string            `json:"public_key_sha256"`
	CSRSHA256           string            `json:"csr_sha256"`
	IssuerSHA256        string            `json:"issuer_sha256"`
	Key                 keyJSON           `json:"key"`
	SignatureAlgorithm  string            `json:"signature_algorithm"`
	RequestedSANs       []string          `json:"requested_sans"`
	Message             messageJSON       `json:"message"`
	Warnings            []string          `json:"warnings"`
	PreviousCertificate *string           `json:"previous_certificate_serial"`

	RevokedBy      *string `json:"revoked_by"`
	SupersededAt   *string `json:"superseded_at"`
	SupersededBy   *string `json:"superseded_by"`
	UsedAt         *string `json:"used_at"`
	RevokeUnusedAt *string `json:"revoke_unused_at"`
	RequestID      *string `json:"request_id"`
	ApprovedBy     *string `json:"approved_by"`
}

// configurationName is a configuration where it is only mentioned.
type configurationName struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type deviceNamesJSON struct {
	Key          string  `json:"key"`
	DeviceSerial *string `json:"device_serial"`
	ProfileUUID  *string `json:"profile_uuid"`
	UDID         *string `json:"udid"`
	UPN          *string `json:"upn"`
}

type challengeJSON struct {
	Mode *string `json:"mode"` // null: there was none, as for a renewal
	ID   *string `json:"id"`
}

type sourceJSON struct {
	Address   *string `json:"address"`
	Peer      *string `json:"peer"`
	UserAgent *string `json:"user_agent"`
	TLS       bool    `json:"tls"`
}

type wireJSON struct {
	Digest string `json:"digest"`
	Cipher string `json:"cipher"`
}

type keyJSON struct {
	Algorithm string `json:"algorithm"`
	Bits      int    `json:"bits"`
}

type messageJSON struct {
	Type              string `json:"type"`
	SignerKeyIsCSRKey bool   `json:"signer_key_is_csr_key"`
	SignerSHA256      string `json:"signer_sha256"`
}

// The states of an identity. They are derived, never stored; when several
// hold, the first of this order is told.
const (
	stateVoid       = "void" // signed, never delivered
	stateRevoked    = "revoked"
	stateSuperseded = "superseded"
	stateExpired    = "expired"
	stateValid      = "valid"

	// neverDelivered is the revocation reason of a void certificate.
	neverDelivered = "never_delivered"
)

// listCertificates is GET /certificates.
func (s *Server) listCertificates(w http.ResponseWriter, r *http.Request) error {
	q, err := s.identityQuery(r)
	if err != nil {
		return err
	}
	page, err := s.depot.Identities(r.Context(), q)
	if err != nil {
		return err
	}
	items, err := s.identitiesJSON(r.Context(), page.Items)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(items, page.NextCursor))
}

// identityQuery reads the filters of GET /certificates.
func (s *Server) identityQuery(r *http.Request) (q depot.IdentityQuery, err error) {
	p, err := readParameters(r, "configuration", "device", "transaction", "public_key",
		"not_after_from", "not_after_to", "order", "limit", "cursor")
	if err != nil {
		return q, err
	}
	q = depot.IdentityQuery{
		DeviceKey:     p.text("device"),
		TransactionID: p.text("transaction"),
		Cursor:        p.text("cursor"),
		Order:         depot.Order(p.text("order")),
	}
	if q.ConfigurationID, err = s.configurationFilter(r.Context(), p); err != nil {
		return q, err
	}
	for name, value := range map[string]string{"device": q.DeviceKey, "transaction": q.TransactionID} {
		if value != "" && q.ConfigurationID == "" {
			return q, badParameter(name, "needs the parameter configuration as well")
		}
	}
	if q.PublicKeySHA256, err = p.sha256("public_key"); err != nil {
		return q, err
	}
	if q.NotAfterFrom, err = p.time("not_after_from"); err != nil {
		return q, err
	}
	if q.NotAfterTo, err = p.time("not_after_to"); err != nil {
		return q, err
	}
	if q.Order != "" && q.Order != depot.NewestFirst && q.Order != depot.ByNotAfter {
		return q, badParameter("order", "must be issued or not_after")
	}
	q.Limit, err = p.limit()
	return q, err
}

// showCertificate is GET /certificates/{certificate}: JSON, or with .pem or
// .cer the certificate itself.
func (s *Server) showCertificate(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("certificate")
	text, isPEM := strings.CutSuffix(name, ".pem")
	text, isDER := strings.CutSuffix(text, ".cer")
	identity, err := s.findIdentity(r.Context(), text)
	switch {
	case err != nil:
		return err
	case isPEM && isDER:
		return notFound("there is no such certificate")
	case isPEM:
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: identity.DER}))
		return nil
	case isDER:
		w.Header().Set("Content-Type", "application/pkix-cert")
		_, _ = w.Write(identity.DER)
		return nil
	}
	return s.writeIdentity(w, r, identity)
}

// findIdentity finds by certificate serial or by SHA-256 of the certificate.
func (s *Server) findIdentity(ctx context.Context, text string) (identity depot.Identity, err error) {
	if sum, ok := parseSHA256(text); ok {
		identity, err = s.depot.IdentityBySHA256(ctx, sum)
	} else if serial, ok := parseCertificateSerial(text); ok {
		identity, err = s.depot.Identity(ctx, serial)
	} else {
		err = depot.ErrNotFound
	}
	if errors.Is(err, depot.ErrNotFound) {
		return identity, notFound("there is no such certificate")
	}
	return identity, err
}

// identitiesJSON renders identities, with their states as of now.
func (s *Server) identitiesJSON(ctx context.Context, identities []depot.Identity) ([]identityJSON, error) {
	now := s.clock.Now()
	type deviceID struct{ configuration, key string }
	latest := make(map[deviceID]string) // certificate serial
	items := make([]identityJSON, 0, len(identities))
	for i := range identities {
		identity := &identities[i]
		id := deviceID{identity.ConfigurationID, identity.Device.Key}
		if _, known := latest[id]; !known {
			serial, err := s.latestInForce(ctx, id.configuration, id.key)
			if err != nil {
				return nil, err
			}
			latest[id] = serial
		}
		items = append(items, identityToJSON(identity, stateOf(identity, latest[id], now)))
	}
	return items, nil
}

// maxRevoked bounds how many revoked certificates of one device are passed
// over in search of the one before.
const maxRevoked = 16

// latestInForce returns the certificate serial of a device's latest
// certificate that is not revoked, empty when there is none: a revoked one
// takes no other's place.
func (s *Server) latestInForce(ctx context.Context, configurationID, key string) (string, error) {
	d, err := s.depot.Device(ctx, configurationID, key)
	serial := d.LatestSerial
	for range maxRevoked {
		if errors.Is(err, depot.ErrNotFound) || serial == "" {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		var identity depot.Identity
		if identity, err = s.depot.Identity(ctx, serial); err == nil && !identity.Void && identity.RevokedAt.IsZero() {
			return serial, nil
		}
		serial = identity.PreviousSerial
	}
	return "", err
}

// stateOf derives the state of an identity whose device has latest, a
// certificate serial, as its latest certificate that is not revoked.
func stateOf(i *depot.Identity, latest string, now time.Time) string {
	switch {
	case i.Void:
		return stateVoid
	case !i.RevokedAt.IsZero():
		return stateRevoked
	case i.SupersededBy != "", latest != "" && latest != i.CertificateSerial:
		return stateSuperseded
	case !now.Before(i.NotAfter):
		return stateExpired
	}
	return stateValid
}

// identityToJSON renders one.
func identityToJSON(i *depot.Identity, state string) identityJSON {
	reason := i.RevocationReason
	if i.Void && reason == "" {
		reason = neverDelivered
	}
	return identityJSON{
		CertificateSerial:   i.CertificateSerial,
		SHA256:              hex.EncodeToString(i.SHA256[:]),
		Subject:             i.Subject,
		NotBefore:           timeText(i.NotBefore),
		NotAfter:            timeText(i.NotAfter),
		IssuedAt:            timeText(i.IssuedAt),
		State:               state,
		RevokedAt:           timeOrNull(i.RevokedAt),
		RevocationReason:    orNull(reason),
		Configuration:       configurationName{i.ConfigurationID, i.ConfigurationName},
		Purpose:             i.Purpose,
		Device:              deviceNamesToJSON(i.Device),
		Challenge:           challengeJSON{orNull(i.ChallengeMode), orNull(i.ChallengeID)},
		TransactionID:       i.TransactionID,
		Source:              sourceJSON{orNull(i.SourceAddress), orNull(i.SourcePeer), orNull(i.UserAgent), i.TLS},
		Wire:                wireJSON{i.Digest, i.Cipher},
		ClockOffsetSeconds:  int64(i.ClockOffset / time.Second),
		PublicKeySHA256:     hex.EncodeToString(i.PublicKeySHA256[:]),
		CSRSHA256:           hex.EncodeToString(i.CSRSHA256[:]),
		IssuerSHA256:        hex.EncodeToString(i.IssuerSHA256[:]),
		Key:                 keyJSON{i.KeyAlgorithm, i.KeyBits},
		SignatureAlgorithm:  i.SignatureAlgo,
		RequestedSANs:       orEmpty(i.RequestedSANs),
		Message:             messageJSON{i.MessageType, i.SignerKeyIsCSRKey, hex.EncodeToString(i.SignerSHA256[:])},
		Warnings:            orEmpty(i.Warnings),
		PreviousCertificate: orNull(i.PreviousSerial),
		RevokedBy:           orNull(i.RevokedBy),
		SupersededAt:        timeOrNull(i.SupersededAt),
		SupersededBy:        orNull(i.SupersededBy),
		UsedAt:              timeOrNull(i.UsedAt),
		RevokeUnusedAt:      timeOrNull(i.RevokeUnusedAt),
		RequestID:           orNull(i.RequestID),
		ApprovedBy:          orNull(i.ApprovedBy),
	}
}

// deviceNamesToJSON renders who a certificate names.
func deviceNamesToJSON(n depot.DeviceNames) deviceNamesJSON {
	return deviceNamesJSON{n.Key, orNull(n.DeviceSerial), orNull(n.ProfileUUID), orNull(n.UDID), orNull(n.UPN)}
}

// orEmpty is the list, [] and not null in JSON when there is none.
func orEmpty(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}
