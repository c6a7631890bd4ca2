package enroll_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"math/big"
	"path/filepath"
	"testing"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/scep/client"
)

// TestRollover: certificates of the issuer before are ours as ever. They
// renew, are found, and name the CRL of whoever issued them.
func TestRollover(t *testing.T) {
	for _, shape := range []ca.Shape{ca.ShapeChain, ca.ShapeSingle} {
		t.Run(string(shape), func(t *testing.T) {
			h := furnishMemory(t)
			dir := filepath.Join(t.TempDir(), "authority")
			var err error
			if h.authority, err = ca.Create(dir, ca.Options{Org: "lab", Shape: shape, Clock: clock.NewManual(opening)}); err != nil {
				t.Fatal(err)
			}
			var crlOf *x509.Certificate
			h.service = h.over(h.depot, enroll.WithCRLs(func(_ context.Context, issuer *x509.Certificate) ([]byte, error) {
				crlOf = issuer
				return h.authority.SignCRL(issuer, big.NewInt(1), opening, opening.AddDate(0, 0, 1), nil)
			}))
			h.trust()
			h.renewing(t, func(s *configuration.Settings) { s.Queries = configuration.QueriesEnrolled })
			before := h.authority.Issuer()
			old := h.enrolOwn(t)
			if _, err := h.authority.PrepareRollover(); err != nil {
				t.Fatal(err)
			}
			if _, err := h.authority.ActivateRollover(); err != nil {
				t.Fatal(err)
			}
			after := h.authority.Issuer()
			if after.Equal(before) {
				t.Fatal("the issuer is the same")
			}
			asker := h.request(t, signedBy(old, keyA))
			q := query(asker, getCRL, old.RawIssuer, old.SerialNumber)
			if a := h.ask(encoded(t, q)); a.Outcome != enroll.Answered || !crlOf.Equal(before) {
				t.Errorf("GetCRL: %s %s %v; of %v", a.Outcome, a.Reason, a.Internal, crlOf)
			}
			q = query(asker, getCert, old.RawIssuer, old.SerialNumber)
			if a := h.ask(encoded(t, q)); a.Outcome != enroll.Answered || !bundle(t, q, a).Certificates[0].Equal(old) {
				t.Errorf("GetCert: %s %s %v", a.Outcome, a.Reason, a.Internal)
			}
			h.trust()
			r := h.renewal(t, old)
			renewal := h.enrolled(t, r, encoded(t, r), enroll.Issued)
			h.renewed(t, old, renewal)
			for c, issuer := range map[*x509.Certificate]*x509.Certificate{old: before, renewal: after} {
				identity, err := h.depot.Identity(t.Context(), hexSerial(c))
				if err != nil || identity.IssuerSHA256 != sha256.Sum256(issuer.Raw) || c.CheckSignatureFrom(issuer) != nil {
					t.Errorf("certificate %s has another issuer on record, %v", hexSerial(c), err)
				}
			}
			q = query(h.request(t, signedBy(renewal, keyB)), getCRL, renewal.RawIssuer, renewal.SerialNumber)
			if a := h.ask(encoded(t, q)); a.Outcome != enroll.Answered || !crlOf.Equal(after) {
				t.Errorf("GetCRL: %s %s %v; of %v", a.Outcome, a.Reason, a.Internal, crlOf)
			}
		})
	}
}

// trust has the client know the authority as it is now.
func (h *house) trust() {
	ra, _ := h.authority.RA()
	h.ca = &client.CACertificates{
		All: h.authority.Chain(false), Encryption: ra, Signing: ra, Issuer: h.authority.Issuer(),
		Anchors: []*x509.Certificate{h.authority.Root()},
	}
}
