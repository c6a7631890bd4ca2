package ocsp_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	reader "golang.org/x/crypto/ocsp"

	"understudy.example/understudy/ocsp"
)

// asked returns the CertIDs of certificates of an issuer, as a client names
// them.
func asked(tb testing.TB, issuer party, serials ...int64) []ocsp.CertID {
	tb.Helper()
	var ids []ocsp.CertID
	for _, n := range serials {
		der, err := reader.CreateRequest(&x509.Certificate{SerialNumber: big.NewInt(n)}, issuer.certificate, nil)
		must(tb, err)
		r, err := ocsp.ParseRequest(der)
		must(tb, err)
		ids = append(ids, r.CertIDs...)
	}
	return ids
}

// mixed answers for three certificates: 10 is good, 11 revoked, 12 unknown.
func mixed(tb testing.TB, issuer, responder party, at time.Time) *ocsp.Response {
	ids := asked(tb, issuer, 10, 11, 12)
	return &ocsp.Response{
		Certificate: responder.certificate, ProducedAt: at,
		Responses: []ocsp.SingleResponse{
			{ID: ids[0], Status: ocsp.Good, ThisUpdate: at, NextUpdate: at.Add(time.Hour)},
			{ID: ids[1], Status: ocsp.Revoked, RevokedAt: at.Add(-time.Minute), Reason: 6, ThisUpdate: at, NextUpdate: at.Add(2 * time.Hour)},
			{ID: ids[2], Status: ocsp.Unknown, ThisUpdate: at},
		},
	}
}

func TestSign(t *testing.T) {
	for _, algorithm := range []string{"RSA", "ECDSA"} {
		t.Run(algorithm, func(t *testing.T) {
			issuer := newIssuer(t, "issuer", newKey(t, algorithm))
			responder := newResponder(t, issuer, newKey(t, algorithm))
			der, err := mixed(t, issuer, responder, now).Sign(responder.key)
			must(t, err)
			if bytes.Contains(der, []byte("+0200")) || bytes.Contains(der, []byte("00010101")) {
				t.Error("a time that is not in UTC, or is none")
			}
			whole := now.UTC().Truncate(time.Second)
			for serial, want := range map[int64]reader.Response{
				10: {Status: reader.Good, NextUpdate: whole.Add(time.Hour)},
				11: {Status: reader.Revoked, NextUpdate: whole.Add(2 * time.Hour), RevokedAt: whole.Add(-time.Minute), RevocationReason: reader.CertificateHold},
				12: {Status: reader.Unknown},
			} {
				got, err := reader.ParseResponseForCert(der, &x509.Certificate{SerialNumber: big.NewInt(serial)}, issuer.certificate)
				must(t, err)
				if got.Status != want.Status || !got.RevokedAt.Equal(want.RevokedAt) || got.RevocationReason != want.RevocationReason ||
					!got.ThisUpdate.Equal(whole) || !got.NextUpdate.Equal(want.NextUpdate) || !got.ProducedAt.Equal(now.Truncate(time.Minute)) {
					t.Errorf("%d reads as %+v", serial, got)
				}
				if !got.Certificate.Equal(responder.certificate) || !bytes.Equal(got.ResponderKeyHash, keyHash(t, responder)) {
					t.Errorf("%d: the responder is not there, or not named by its key", serial)
				}
			}
		})
	}
}

// keyHash returns what openssl calls the hash of a public key.
func keyHash(t *testing.T, p party) []byte {
	t.Helper()
	request, err := reader.CreateRequest(&x509.Certificate{SerialNumber: big.NewInt(1)}, p.certificate, nil)
	must(t, err)
	parsed, err := reader.ParseRequest(request)
	must(t, err)
	if len(parsed.IssuerKeyHash) != sha1.Size {
		t.Fatalf("key hash %x", parsed.IssuerKeyHash)
	}
	return parsed.IssuerKeyHash
}

// The reason "unspecified" is not written (RFC 5280 §5.3.1), the nonce only
// when there is one, and the CertID comes back octet by octet.
func TestSignForm(t *testing.T) {
	issuer := newIssuer(t, "issuer", newKey(t, "ECDSA"))
	responder := newResponder(t, issuer, newKey(t, "ECDSA"))
	written := sequence(sequence(oid(sha1OID)), octets(make([]byte, 20)), octets(make([]byte, 20)), integer(-7))
	question, err := ocsp.ParseRequest(request(sequence(sequence(written)), wrap(2, sequence(nonce(32)))))
	must(t, err)
	r := ocsp.Response{Certificate: responder.certificate, ProducedAt: now, Responses: []ocsp.SingleResponse{
		{ID: question.CertIDs[0], Status: ocsp.Revoked, RevokedAt: now, ThisUpdate: now, NextUpdate: now.Add(time.Hour)},
	}}
	without, err := r.Sign(responder.key)
	must(t, err)
	if bytes.Contains(without, []byte("nnnn")) || bytes.Contains(without, oid(nonceOID)) {
		t.Error("there is a nonce that nobody asked for")
	}
	r.Nonce = question.Nonce
	r.Responses[0].Reason = 1
	with, err := r.Sign(responder.key)
	must(t, err)
	for _, want := range [][]byte{nonce(32), written, {0xa0, 3, 0x0a, 1, 1}} {
		if !bytes.Contains(with, want) {
			t.Errorf("%x is not in the answer", want)
		}
	}
	if bytes.Contains(without, []byte{0x0a, 1, 0, 0x18}) || bytes.Contains(without, []byte{0xa0, 3, 0x0a, 1}) {
		t.Error("the reason unspecified is written")
	}
	for _, der := range [][]byte{with, without} {
		got, err := reader.ParseResponse(der, issuer.certificate)
		must(t, err)
		if got.Status != reader.Revoked || got.SerialNumber.Int64() != -7 {
			t.Errorf("got %+v", got)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	issuer := newIssuer(t, "issuer", newKey(t, "ECDSA"))
	responder := newResponder(t, issuer, newKey(t, "ECDSA"))
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	edResponder := newResponder(t, issuer, edKey)
	for name, test := range map[string]struct {
		change func(*ocsp.Response)
		key    crypto.Signer
		text   string
	}{
		"another key":        {func(*ocsp.Response) {}, issuer.key, "not the one in the responder's certificate"},
		"key of a kind":      {func(r *ocsp.Response) { r.Certificate = edResponder.certificate }, edKey, "use RSA or ECDSA"},
		"nothing":            {func(r *ocsp.Response) { r.Responses = nil }, responder.key, "no certificate"},
		"ID of no request":   {func(r *ocsp.Response) { r.Responses[0].ID = ocsp.CertID{Serial: big.NewInt(1)} }, responder.key, "no request"},
		"status of no name":  {func(r *ocsp.Response) { r.Responses[0].Status = 3 }, responder.key, "certificate status 3"},
		"time of five years": {func(r *ocsp.Response) { r.ProducedAt = now.AddDate(10_000, 0, 0) }, responder.key, "sign OCSP response"},
	} {
		t.Run(name, func(t *testing.T) {
			r := mixed(t, issuer, responder, now)
			test.change(r)
			der, err := r.Sign(test.key)
			if err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("got %d octets and %v, want an error with %q", len(der), err, test.text)
			}
		})
	}
	for status, name := range map[ocsp.CertStatus]string{ocsp.Good: "good", ocsp.Revoked: "revoked", ocsp.Unknown: "unknown"} {
		if status.String() != name {
			t.Errorf("%d is called %v", status, status)
		}
	}
}
