package server

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/device"
	"understudy.example/understudy/revocation"
)

// noRevocation is the problem of a server that tells nobody what is revoked.
func noRevocation() *problem { return notFound("this server does not revoke") }

// revokeCertificate is POST /certificates/{certificate}/revoke. When it
// answers, CRL and OCSP say so.
func (s *Server) revokeCertificate(w http.ResponseWriter, r *http.Request) error {
	fields, err := readObject(w, r)
	if err != nil {
		return err
	}
	reason, err := textField(fields, "reason", maxNote)
	if err != nil {
		return err
	}
	note, err := textField(fields, "note", maxNote)
	if err != nil {
		return err
	}
	if err := noOthers(fields, invalidRequest); err != nil {
		return err
	}
	if reason == "" {
		reason = string(depot.ReasonUnspecified)
	}
	if _, known := depot.RevocationReason(reason).Code(); !known {
		return invalidRequest(fieldError{"reason", "must be one of RFC 5280: unspecified, keyCompromise, cACompromise, affiliationChanged, " +
			"superseded, cessationOfOperation, certificateHold, removeFromCRL, privilegeWithdrawn or aACompromise"})
	}
	identity, err := s.findIdentity(r.Context(), r.PathValue("certificate"))
	if err != nil {
		return err
	}
	if s.revocation == nil {
		return noRevocation()
	}
	identity, err = s.revocation.Service.Revoke(r.Context(), depot.Revocation{
		CertificateSerial: identity.CertificateSerial, Reason: depot.RevocationReason(reason), At: s.clock.Now(), By: by(r.Context()), Note: note,
	})
	switch {
	case errors.Is(err, depot.ErrRevoked):
		return newProblem(http.StatusConflict, "revoked-already", "the certificate is revoked already")
	case errors.Is(err, depot.ErrInvalid) && reason == string(depot.ReasonRemoveFromCRL):
		return newProblem(http.StatusConflict, "not-on-hold", "the certificate is not on hold")
	case err != nil:
		return err
	}
	return s.writeIdentity(w, r, identity)
}

// useCertificate is POST /certificates/{certificate}/used.
func (s *Server) useCertificate(w http.ResponseWriter, r *http.Request) error {
	fields, err := readObject(w, r)
	if err != nil {
		return err
	}
	at, err := timeField(fields, "at")
	if err != nil {
		return err
	}
	if err := noOthers(fields, invalidRequest); err != nil {
		return err
	}
	now := s.clock.Now()
	switch {
	case at.IsZero():
		at = now
	case at.After(now):
		return invalidRequest(fieldError{"at", "must not be in the future"})
	}
	identity, err := s.findIdentity(r.Context(), r.PathValue("certificate"))
	if err != nil {
		return err
	}
	if err := s.depot.MarkUsed(r.Context(), identity.CertificateSerial, at); err != nil {
		return err
	}
	if identity, err = s.depot.Identity(r.Context(), identity.CertificateSerial); err != nil {
		return err
	}
	return s.writeIdentity(w, r, identity)
}

// writeIdentity answers with one certificate as it is now.
func (s *Server) writeIdentity(w http.ResponseWriter, r *http.Request, identity depot.Identity) error {
	shown, err := s.identityJSON(r.Context(), identity)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, shown)
}

// crlJSON is a CRL in the API, read from its DER.
type crlJSON struct {
	Issuer     string        `json:"issuer"`
	IssuerSKI  string        `json:"issuer_ski"`
	Number     string        `json:"number"` // decimal; it may be larger than numbers in JSON are
	ThisUpdate string        `json:"this_update"`
	NextUpdate string        `json:"next_update"`
	URL        string        `json:"url"`
	Items      []revokedJSON `json:"items"`
	NextCursor *string       `json:"next_cursor"` // it is one page
}

// revokedJSON is one line of it.
type revokedJSON struct {
	CertificateSerial string `json:"certificate_serial"`
	RevokedAt         string `json:"revoked_at"`
	Reason            string `json:"reason"`
}

// currentIssuer names the issuer in force where a subject key identifier can
// stand.
const currentIssuer = "current"

// showCRL is GET /crls/{issuer}: what the CRL of an issuer says, or with .crl
// the CRL itself.
func (s *Server) showCRL(w http.ResponseWriter, r *http.Request) error {
	ski, isDER := strings.CutSuffix(r.PathValue("issuer"), crlSuffix)
	issuer := s.authority.Issuer()
	if ski != currentIssuer {
		issuer = s.issuer(strings.ToLower(strings.ReplaceAll(ski, ":", "")))
	}
	if issuer == nil {
		return notFound("there is no such issuer")
	}
	if s.revocation == nil {
		return noRevocation()
	}
	crl, err := s.revocation.Publisher.CRL(r.Context(), issuer)
	if errors.Is(err, revocation.ErrIssuerEnded) {
		return notFound("that issuer has ended")
	}
	if err != nil {
		return err
	}
	if isDER {
		w.Header().Set("Content-Type", "application/pkix-crl")
		_, _ = w.Write(crl.DER)
		return nil
	}
	out, err := s.crlToJSON(issuer, crl.DER)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, out)
}

// crlToJSON renders a CRL.
func (s *Server) crlToJSON(issuer *x509.Certificate, der []byte) (crlJSON, error) {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return crlJSON{}, fmt.Errorf("read own CRL: %w", err)
	}
	ski := hex.EncodeToString(issuer.SubjectKeyId)
	out := crlJSON{
		Issuer:     device.FormatName(issuer.RawSubject),
		IssuerSKI:  ski,
		Number:     list.Number.String(),
		ThisUpdate: timeText(list.ThisUpdate),
		NextUpdate: timeText(list.NextUpdate),
		URL:        CRLURL(s.baseURL, ski),
		Items:      make([]revokedJSON, 0, len(list.RevokedCertificateEntries)),
	}
	for _, e := range list.RevokedCertificateEntries {
		out.Items = append(out.Items, revokedJSON{ca.FormatSerial(e.SerialNumber), timeText(e.RevocationTime), reasonWord(e.ReasonCode)})
	}
	return out, nil
}

// reasonWord is the word for a reason's number.
func reasonWord(code int) string {
	for _, reason := range []depot.RevocationReason{
		depot.ReasonUnspecified, depot.ReasonKeyCompromise, depot.ReasonCACompromise, depot.ReasonAffiliationChanged,
		depot.ReasonSuperseded, depot.ReasonCessationOfOperation, depot.ReasonCertificateHold, depot.ReasonRemoveFromCRL,
		depot.ReasonPrivilegeWithdrawn, depot.ReasonAACompromise,
	} {
		if n, _ := reason.Code(); n == code {
			return string(reason)
		}
	}
	return string(depot.ReasonUnspecified)
}
