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
	"understudy.example/understudy/inspect"
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

// listCertificates is GET /certificates.
func (s *Server) listCertificates(w http.ResponseWriter, r *http.Request) error {
	p, err := readParameters(r, selectionParameters("limit", "cursor")...)
	if err != nil {
		return err
	}
	wanted, err := s.selection(r.Context(), p)
	if err != nil {
		return err
	}
	wanted.query.Cursor = p.text("cursor")
	if wanted.query.Limit, err = p.limit(); err != nil {
		return err
	}
	items, next, err := s.identityPage(r.Context(), wanted)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, newList(certificatesToJSON(items), next))
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

// A certificate is an identity and the state that it is in at some time.
type certificate struct {
	identity depot.Identity
	state    string // see inspect.State
}

// identityPage returns a page of what is wanted.
func (s *Server) identityPage(ctx context.Context, wanted selection) (items []certificate, next string, err error) {
	if wanted.none {
		return nil, "", nil
	}
	page, err := s.depot.Identities(ctx, wanted.query)
	if err != nil {
		return nil, "", err
	}
	items, err = s.inPlace(ctx, page.Items, wanted.query.AsOf, wanted.at)
	return items, page.NextCursor, err
}

// inPlace returns identities with the state that each is in at a time, and with
// the successor that the state speaks of: any later certificate of the device,
// and not a renewal only.
func (s *Server) inPlace(ctx context.Context, identities []depot.Identity, asOf, at time.Time) ([]certificate, error) {
	serials := make([]string, len(identities))
	for i := range identities {
		serials[i] = identities[i].CertificateSerial
	}
	places, err := s.depot.Places(ctx, serials, asOf)
	if err != nil {
		return nil, err
	}
	items := make([]certificate, len(identities))
	for i, identity := range identities {
		place := places[i]
		identity.SupersededBy, identity.SupersededAt = place.SupersededBy, place.SupersededAt
		items[i] = certificate{identity, inspect.State(identity, place.Standing, at)}
	}
	return items, nil
}

// certificatesToJSON renders certificates.
func certificatesToJSON(items []certificate) []identityJSON {
	out := make([]identityJSON, 0, len(items))
	for i := range items {
		out = append(out, identityToJSON(&items[i].identity, items[i].state))
	}
	return out
}

// identityJSON renders one identity as it is now.
func (s *Server) identityJSON(ctx context.Context, identity depot.Identity) (identityJSON, error) {
	items, err := s.inPlace(ctx, []depot.Identity{identity}, time.Time{}, s.clock.Now())
	if err != nil {
		return identityJSON{}, err
	}
	return certificatesToJSON(items)[0], nil
}

// identityToJSON renders one.
func identityToJSON(i *depot.Identity, state string) identityJSON {
	return identityJSON{
		CertificateSerial:   i.CertificateSerial,
		SHA256:              hex.EncodeToString(i.SHA256[:]),
		Subject:             i.Subject,
		NotBefore:           timeText(i.NotBefore),
		NotAfter:            timeText(i.NotAfter),
		IssuedAt:            timeText(i.IssuedAt),
		State:               state,
		RevokedAt:           timeOrNull(i.RevokedAt),
		RevocationReason:    orNull(inspect.Reason(*i)),
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
