package ocsp_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"testing"

	reader "golang.org/x/crypto/ocsp"

	"understudy.example/understudy/ocsp"
)

// FuzzRequest: whatever comes in, there is a request within its bounds or
// ErrMalformed; what we read another reader reads in the same way; and what we
// answer to it can be read.
func FuzzRequest(f *testing.F) {
	issuer := newIssuer(f, "issuer", newKey(f, "ECDSA"))
	responder := newResponder(f, issuer, newKey(f, "ECDSA"))
	list := sequence(sequence(certID(7)))
	for _, seed := range [][]byte{
		plain(), plain(nonce(16)), plain(nonce(32)), plain(nonce(33)), plain(nonce(0)), spiky(f),
		plain(extension(nonceOID, []byte("bare octets"))), plain(sequence(oid(otherOID), critical, octets(nil)), nonce(8)),
		request(wrap(0, integer(0)), wrap(1, wrap(4, sequence())), list),
		sequence(sequence(list), wrap(0, sequence(sequence(), octets(nil)))),
		request(sequence(many(16, sequence(certID(-7), wrap(0, sequence(extension(otherOID, nil)))))...)),
		request(sequence(many(17, sequence(certID(7)))...)),
		request(sequence(sequence(sequence(sequence(oid(md5OID), null), octets(nil), octets(nil), integer(7))))),
		request(sequence()), plain()[:40], {0x30, 0x80, 0, 0},
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		r, err := ocsp.ParseRequest(der)
		if err != nil {
			if !errors.Is(err, ocsp.ErrMalformed) || r != nil {
				t.Fatalf("%v, %v", r, err)
			}
			return
		}
		if n := len(r.CertIDs); n == 0 || n > ocsp.MaxCertIDs || len(r.Nonce) > ocsp.MaxNonce || (r.Nonce != nil && len(r.Nonce) == 0) {
			t.Fatalf("request out of bounds: %+v", r)
		}
		// The other reader knows no signatures and only the first certificate.
		first := r.CertIDs[0]
		other, err := reader.ParseRequest(der)
		if err == nil && (other.HashAlgorithm != first.Hash || other.SerialNumber.Cmp(first.Serial) != 0 ||
			!bytes.Equal(other.IssuerKeyHash, first.IssuerKeyHash) || !bytes.Equal(other.IssuerNameHash, first.IssuerNameHash)) {
			t.Fatalf("read %+v, others %+v", first, other)
		}
		answer := ocsp.Response{Certificate: responder.certificate, ProducedAt: now, Nonce: r.Nonce}
		for i, id := range r.CertIDs {
			answer.Responses = append(answer.Responses, ocsp.SingleResponse{
				ID: id, Status: ocsp.CertStatus(i % 3), RevokedAt: now, Reason: i % 7, ThisUpdate: now, NextUpdate: now,
			})
		}
		signed, err := answer.Sign(responder.key)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.CertIDs) > 1 {
			return // the other reader wants to be told which
		}
		if got, err := reader.ParseResponse(signed, issuer.certificate); err == nil && got.SerialNumber.Cmp(first.Serial) != 0 {
			t.Fatalf("answered for %v, not for %v", got.SerialNumber, first.Serial)
		} else if err != nil && first.Hash != 0 {
			t.Fatalf("answered %x: %v", signed, err)
		}
	})
}

// FuzzPath: what FromPath returns is what the base64 of it gives back.
func FuzzPath(f *testing.F) {
	f.Add(base64.StdEncoding.EncodeToString(spiky(f)))
	f.Add(base64.URLEncoding.EncodeToString(spiky(f)))
	f.Add("/MFEw%2B%2f=")
	f.Add("M %20+-_==")
	f.Add("%")
	f.Fuzz(func(t *testing.T, path string) {
		der, err := ocsp.FromPath(path)
		if err != nil {
			if !errors.Is(err, ocsp.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if der[0] >= 0xfc {
			return // its base64 begins with a slash, which would be the URL's
		}
		again, err := ocsp.FromPath(base64.StdEncoding.EncodeToString(der))
		if err != nil || !bytes.Equal(again, der) {
			t.Fatalf("%x is %x after another turn: %v", der, again, err)
		}
	})
}
