package enroll_test

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client/craft"
)

func hexSerial(c *x509.Certificate) string { return ca.FormatSerial(c.SerialNumber) }

// TestSigner is who may sign for whom. Each case gets a live certificate of
// device C02XL0AAAA with key A, and asks for one for key B, unless it changes
// that.
func TestSigner(t *testing.T) {
	const validity = time.Hour // begins five minutes before the issue
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, h *house, r *craft.Request)
		good   bool
	}{
		{"its certificate", func(*testing.T, *house, *craft.Request) {}, true},
		{"its certificate at its end", func(_ *testing.T, h *house, _ *craft.Request) {
			h.clock.Advance(validity - 5*time.Minute - time.Second)
		}, true},
		{"its certificate, expired", func(_ *testing.T, h *house, _ *craft.Request) {
			h.clock.Advance(validity - 5*time.Minute)
		}, false},
		{"its certificate, not yet valid", func(_ *testing.T, h *house, _ *craft.Request) {
			h.clock.Advance(-5*time.Minute - time.Second)
		}, false},
		{"certificate of another device", func(t *testing.T, _ *house, r *craft.Request) {
			r.CSR.Subject = named(t, "C02XL0BBBB")
		}, false},
		{"certificate from another configuration", func(_ *testing.T, h *house, _ *craft.Request) { h.live = h.other }, false},
		{"certificate of its own making", func(_ *testing.T, _ *house, r *craft.Request) { signedBy(signerA, keyA)(r) }, false},
		{"forged certificate with our names", func(_ *testing.T, _ *house, r *craft.Request) {
			r.CSR.Key = keyA
			signedBy(forged(r.Message.Signer), keyB)(r)
		}, false},
		{"revoked certificate", func(_ *testing.T, h *house, _ *craft.Request) {
			h.service = h.over(changed{h.depot, func(i *depot.Identity) { i.RevokedAt = opening }})
		}, false},
		{"certificate that was never delivered", func(_ *testing.T, h *house, _ *craft.Request) {
			h.service = h.over(changed{h.depot, func(i *depot.Identity) { i.Void = true }})
		}, false},
		{"certificate that is stored otherwise", func(_ *testing.T, h *house, _ *craft.Request) {
			h.service = h.over(changed{h.depot, func(i *depot.Identity) { i.DER[len(i.DER)-1] ^= 1 }})
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			h.live = h.configure(t, "short", func(s *configuration.Settings) { s.ValiditySeconds = int64(validity / time.Second) })
			own := h.request(t)
			certificate := h.enrolled(t, own, encoded(t, own), enroll.Issued)
			r := h.request(t, signedBy(certificate, keyA))
			r.CSR.Key = keyB
			tt.change(t, h, r)
			judge := &judge{}
			h.live = h.judged(judge)
			if tt.good {
				renewed := h.enrolled(t, r, encoded(t, r), enroll.Issued)
				identity, err := h.depot.Identity(t.Context(), hexSerial(renewed))
				if err != nil || identity.SignerKeyIsCSRKey || identity.PreviousSerial != hexSerial(certificate) {
					t.Errorf("stored as %+v, %v", identity, err)
				}
				if key, ok := renewed.PublicKey.(*rsa.PublicKey); !ok || !key.Equal(keyB.Public()) {
					t.Error("the certificate is for another key")
				}
				judge.ended(t, 1, 1)
				return
			}
			reply := h.refused(t, r, encoded(t, r), refusal.SignerNotTrusted)
			if reply.FailInfoText != "" {
				t.Errorf("the client is told %q", reply.FailInfoText)
			}
			judge.ended(t, 0, 0) // a challenge was not looked at
		})
	}
}

// TestSignerStillNeedsAChallenge: an old certificate binds the key, it does
// not open the door.
func TestSignerStillNeedsAChallenge(t *testing.T) {
	h := newHouse(t, nil)
	own := h.request(t)
	certificate := h.enrolled(t, own, encoded(t, own), enroll.Issued)
	r := h.request(t, signedBy(certificate, keyA))
	r.CSR.Key, r.CSR.Challenges = keyB, nil
	h.refused(t, r, encoded(t, r), refusal.ChallengeMissing)
}

// changed is a depot whose identities are not what they were.
type changed struct {
	depot.Depot
	change func(*depot.Identity)
}

func (c changed) IdentityBySHA256(ctx context.Context, sum [32]byte) (depot.Identity, error) {
	i, err := c.Depot.IdentityBySHA256(ctx, sum)
	if err == nil {
		c.change(&i)
	}
	return i, err
}
