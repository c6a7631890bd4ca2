package server

import (
	"crypto/sha1" //nolint:gosec // a fingerprint that Windows and MDMs ask for
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net/http"

	"understudy.example/understudy/device"
)

// authorityJSON is the authority in the API.
type authorityJSON struct {
	Shape  string          `json:"shape"`
	ID     string          `json:"id"`
	Root   certificateJSON `json:"root"`
	Issuer certificateJSON `json:"issuer"`
	RA     certificateJSON `json:"ra"`
}

// certificateJSON is one of its certificates.
type certificateJSON struct {
	Subject   string `json:"subject"`
	SHA256    string `json:"sha256"`
	SHA1      string `json:"sha1"`
	NotBefore string `json:"not_before"`
	NotAfter  string `json:"not_after"`
	PEM       string `json:"pem"`
}

// showAuthority is GET /authority.
func (s *Server) showAuthority(w http.ResponseWriter, _ *http.Request) error {
	now := s.authority.InForce()
	return writeJSON(w, http.StatusOK, authorityJSON{
		Shape:  string(s.authority.Shape()),
		ID:     s.authority.ID(),
		Root:   certificateToJSON(now.Root),
		Issuer: certificateToJSON(now.Issuer),
		RA:     certificateToJSON(now.RA),
	})
}

// certificateToJSON renders a certificate.
func certificateToJSON(c *x509.Certificate) certificateJSON {
	fingerprint, thumbprint := sha256.Sum256(c.Raw), sha1.Sum(c.Raw) //nolint:gosec // see above
	return certificateJSON{
		Subject:   device.FormatName(c.RawSubject),
		SHA256:    hex.EncodeToString(fingerprint[:]),
		SHA1:      hex.EncodeToString(thumbprint[:]),
		NotBefore: timeText(c.NotBefore),
		NotAfter:  timeText(c.NotAfter),
		PEM:       string(encodePEM(c)),
	}
}
