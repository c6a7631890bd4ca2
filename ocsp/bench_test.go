package ocsp_test

import (
	"testing"

	"understudy.example/understudy/ocsp"
)

// BenchmarkParseRequest is what a request costs before anybody decides
// anything, honest ones and those that are meant to cost much.
func BenchmarkParseRequest(b *testing.B) {
	for _, bench := range []struct {
		name string
		der  []byte
	}{
		{"one", plain(nonce(32))},
		{"sixteen", request(sequence(many(16, sequence(certID(7)))...))},
		{"a megabyte", sequence(make([]byte, 1<<20))},
		{"ten thousand certIDs", request(sequence(many(10_000, sequence(certID(7)))...))},
		{"nonce of 5 kB", plain(nonce(5000))},
		{"many extensions", plain(many(300, extension(otherOID, nil))...)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = ocsp.ParseRequest(bench.der)
			}
		})
	}
}

func BenchmarkSign(b *testing.B) {
	for _, algorithm := range []string{"RSA", "ECDSA"} {
		b.Run(algorithm, func(b *testing.B) {
			issuer := newIssuer(b, "issuer", newKey(b, algorithm))
			responder := newResponder(b, issuer, newKey(b, algorithm))
			r := mixed(b, issuer, responder, now)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Sign(responder.key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
