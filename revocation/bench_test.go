package revocation_test

import (
	"context"
	"crypto"
	"crypto/sha256"
	"fmt"
	"strconv"
	"testing"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/revocation"
)

// BenchmarkRespond is one OCSP answer. Its floor is the bare RSA-2048 signature
// of BenchmarkIssue in package ca.
func BenchmarkRespond(b *testing.B) {
	w := newWorld(b, "chain", clock.NewManual(today))
	issuer, c := w.authority.Issuer(), w.issue()
	for _, bench := range []struct {
		name    string
		request []byte
	}{
		{"good", ask(b, issuer, crypto.SHA1, nil, c)},
		{"good, nonce", ask(b, issuer, crypto.SHA256, make([]byte, 32), c)},
		{"sixteen", ask(b, issuer, crypto.SHA1, nil, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c, c)},
		{"not ours", ask(b, w.authority.Root(), crypto.SHA1, nil, c)},
		{"malformed", make([]byte, 1<<20)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.responder.Respond(b.Context(), bench.request)
			}
		})
	}
}

// BenchmarkCRL makes CRLs of many revoked certificates, and gives out one that
// is there.
func BenchmarkCRL(b *testing.B) {
	for _, revoked := range []int{100, 10_000} {
		b.Run(fmt.Sprint(revoked), func(b *testing.B) {
			w := newWorld(b, "chain", clock.NewManual(today))
			d := &long{Depot: w.depot}
			for n := range revoked {
				d.revoked = append(d.revoked, depot.RevokedCertificate{
					CertificateSerial: fmt.Sprintf("4000%028x", n), Reason: depot.ReasonSuperseded, RevokedAt: today, NotAfter: today.Add(time.Hour),
				})
			}
			p := revocation.NewPublisher(w.authority, d, revocation.Options{Clock: w.clock})
			issuer := w.authority.Issuer()
			name := sha256.Sum256(issuer.Raw)
			b.Run("made", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					p.Changed(name)
					crl, err := p.CRL(b.Context(), issuer)
					must(b, err)
					b.ReportMetric(float64(len(crl.DER)), "octets")
				}
			})
			b.Run("kept", func(b *testing.B) {
				for b.Loop() {
					_, err := p.CRL(b.Context(), issuer)
					must(b, err)
				}
			})
		})
	}
}

// long is a depot with a long list of revoked certificates.
type long struct {
	revocation.Depot
	revoked []depot.RevokedCertificate
}

func (l *long) Revoked(_ context.Context, q depot.RevokedQuery) (depot.Page[depot.RevokedCertificate], error) {
	from := 0
	if q.Cursor != "" {
		var err error
		if from, err = strconv.Atoi(q.Cursor); err != nil {
			return depot.Page[depot.RevokedCertificate]{}, err
		}
	}
	to := min(len(l.revoked), from+q.Limit)
	page := depot.Page[depot.RevokedCertificate]{Items: l.revoked[from:to]}
	if to < len(l.revoked) {
		page.NextCursor = strconv.Itoa(to)
	}
	return page, nil
}
