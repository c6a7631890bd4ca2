package challenge_test

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

// rest is what of a store is not asked for.
type rest interface{ depot.Challenges }

// one is a store that gave out one challenge.
type one struct {
	rest
	challenge depot.Challenge
}

func (o one) ChallengeBySHA256(_ context.Context, sum [32]byte) (depot.Challenge, error) {
	if sum != o.challenge.SHA256 {
		return depot.Challenge{}, depot.ErrNotFound
	}
	return o.challenge, nil
}

// A challenge that is bound is good for whoever the subject names so, in
// whatever case of letters, and for nobody else.
func TestBound(t *testing.T) {
	const (
		text    = "8CE317021F690069"
		udid    = "8c4f3b1e-6a0d-4e52-9b7c-0f1e2d3c4b5a"
		profile = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
		mac     = "C02XL0GTJGH5 managementAttestation " + udid + " " + profile
		jane    = "jane@lab.example managementAttestation X1"
	)
	now := time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		bound depot.DeviceNames
		cn    string
		good  bool
	}{
		{"to nobody", depot.DeviceNames{}, "anybody", true},
		{"device serial", depot.DeviceNames{DeviceSerial: "c02xl0gtjgh5"}, mac, true},
		{"another device serial", depot.DeviceNames{DeviceSerial: "C02XL0GTJGH6"}, mac, false},
		{"device serial, none named", depot.DeviceNames{DeviceSerial: "C02XL0GTJGH5"}, jane, false},
		{"profile UUID", depot.DeviceNames{ProfileUUID: "1B9D6BCD-BBFD-4B2D-9B5D-AB8DFBBD4BED"}, mac, true},
		{"another profile UUID", depot.DeviceNames{ProfileUUID: udid}, mac, false},
		{"UDID", depot.DeviceNames{UDID: "8C4F3B1E-6A0D-4E52-9B7C-0F1E2D3C4B5A"}, mac, true},
		{"another UDID", depot.DeviceNames{UDID: profile}, mac, false},
		{"UPN", depot.DeviceNames{UPN: "Jane@Lab.example"}, jane, true},
		{"another UPN", depot.DeviceNames{UPN: "joe@lab.example"}, jane, false},
		{"UPN, none named", depot.DeviceNames{UPN: "jane@lab.example"}, mac, false},
		{"one of two", depot.DeviceNames{DeviceSerial: "C02XL0GTJGH5", UDID: profile}, mac, false},
	} {
		subject, err := asn1.Marshal(pkix.Name{CommonName: tt.cn}.ToRDNSequence())
		if err != nil {
			t.Fatal(err)
		}
		store := one{challenge: depot.Challenge{ID: "ch_1", ConfigurationID: "lab", SHA256: sha256.Sum256([]byte(text)), ExpiresAt: now.Add(time.Second), Bound: tt.bound}}
		grant, err := challenge.NewDynamic(store, nil).Validate(t.Context(), challenge.Attempt{
			ConfigurationID: "lab", Challenge: challenge.NewSecret(text), CSR: &x509.CertificateRequest{RawSubject: subject}, Now: now,
		})
		switch no, refused := refusal.Of(err); {
		case tt.good && (err != nil || grant.Spends().ID != "ch_1"):
			t.Errorf("%s: %v", tt.name, err)
		case !tt.good && (!refused || no.Reason != refusal.ChallengeForeign):
			t.Errorf("%s: %v, want it refused as somebody else's", tt.name, err)
		}
	}
}
