package revocation_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	reader "golang.org/x/crypto/ocsp"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/ocsp"
	"understudy.example/understudy/revocation"
)

// ask returns a request for certificates of an issuer, and perhaps a nonce.
func ask(tb testing.TB, issuer *x509.Certificate, hash crypto.Hash, nonce []byte, certificates ...*x509.Certificate) []byte {
	tb.Helper()
	type request struct{ CertID asn1.RawValue }
	type extension struct {
		ID    asn1.ObjectIdentifier
		Value []byte
	}
	var tbs struct {
		List       []request
		Extensions []extension `asn1:"explicit,tag:2,optional,omitempty"`
	}
	for _, c := range certificates {
		one, err := reader.CreateRequest(c, issuer, &reader.RequestOptions{Hash: hash})
		must(tb, err)
		var r struct{ TBS struct{ List []request } }
		_, err = asn1.Unmarshal(one, &r)
		must(tb, err)
		tbs.List = append(tbs.List, r.TBS.List...)
	}
	if nonce != nil {
		value, err := asn1.Marshal(nonce)
		must(tb, err)
		tbs.Extensions = []extension{{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}, value}}
	}
	der, err := asn1.Marshal(struct{ TBS any }{tbs})
	must(tb, err)
	return der
}

// status asks for one certificate and returns the answer as others read it.
func (w *world) status(issuer, c *x509.Certificate) *reader.Response {
	w.Helper()
	answer := w.responder.Respond(context.Background(), ask(w, issuer, crypto.SHA1, nil, c))
	r, err := reader.ParseResponseForCert(answer.DER, c, issuer)
	if err != nil {
		w.Fatalf("%v: %v", answer.Status, err)
	}
	return r
}

func TestRespond(t *testing.T) {
	for _, authority := range []string{"chain", "chain-p256", "single"} {
		t.Run(authority, func(t *testing.T) {
			c := clock.NewManual(today)
			w := newWorld(t, authority, c)
			good, compromised, held, released := w.issue(), w.issue(), w.issue(), w.issue()
			void := w.issue(func(i *depot.Identity) { i.Void = true })
			issued := c.Now()
			c.Advance(time.Hour)
			w.revoke(compromised, depot.ReasonKeyCompromise)
			w.revoke(held, depot.ReasonCertificateHold)
			w.revoke(released, depot.ReasonCertificateHold)
			w.revoke(released, depot.ReasonRemoveFromCRL)
			revoked := c.Now().Truncate(time.Second)
			c.Advance(time.Hour)
			never := &x509.Certificate{SerialNumber: new(big.Int).Add(good.SerialNumber, big.NewInt(1))}
			for _, test := range []struct {
				what   string
				c      *x509.Certificate
				status int
				at     time.Time
				reason int
			}{
				{"good", good, reader.Good, time.Time{}, 0},
				{"revoked", compromised, reader.Revoked, revoked, reader.KeyCompromise},
				{"on hold", held, reader.Revoked, revoked, reader.CertificateHold},
				{"released", released, reader.Good, time.Time{}, 0},
				{"void", void, reader.Revoked, issued.Truncate(time.Second), 0},
				{"never issued", never, reader.Unknown, time.Time{}, 0},
				{"serial of zero", &x509.Certificate{SerialNumber: new(big.Int)}, reader.Unknown, time.Time{}, 0},
				{"negative serial", &x509.Certificate{SerialNumber: new(big.Int).Neg(good.SerialNumber)}, reader.Unknown, time.Time{}, 0},
				{"the issuer itself", w.authority.Issuer(), reader.Unknown, time.Time{}, 0},
			} {
				got := w.status(w.authority.Issuer(), test.c)
				if got.Status != test.status || !got.RevokedAt.Equal(test.at) || got.RevocationReason != test.reason {
					t.Errorf("%s: status %d, revoked at %v for %d", test.what, got.Status, got.RevokedAt, got.RevocationReason)
				}
				now := c.Now().Truncate(time.Second)
				if !got.ThisUpdate.Equal(now) || !got.NextUpdate.Equal(now.Add(time.Hour)) {
					t.Errorf("%s: from %v to %v", test.what, got.ThisUpdate, got.NextUpdate)
				}
			}
		})
	}
}

func TestRespondHeaders(t *testing.T) {
	c := clock.NewManual(today)
	w := newWorld(t, "chain-p256", c)
	issuer, good, revoked := w.authority.Issuer(), w.issue(), w.issue()
	w.revoke(revoked, depot.ReasonSuperseded)
	never := &x509.Certificate{SerialNumber: big.NewInt(99)}
	nonce := []byte("sixteen  octets.")
	for _, test := range []struct {
		what    string
		request []byte
		maxAge  time.Duration
	}{
		{"good", ask(t, issuer, crypto.SHA256, nil, good), 5 * time.Minute},
		{"good and revoked", ask(t, issuer, crypto.SHA384, nil, good, revoked, good), 5 * time.Minute},
		{"unknown among others", ask(t, issuer, crypto.SHA512, nil, good, never), 0},
		{"nonce", ask(t, issuer, crypto.SHA1, nonce, good), 0},
	} {
		a := w.responder.Respond(t.Context(), test.request)
		now := today.Truncate(time.Second)
		if a.Status != ocsp.Successful || a.MaxAge != test.maxAge || !a.ThisUpdate.Equal(now) || !a.NextUpdate.Equal(now.Add(time.Hour)) {
			t.Errorf("%s: %v, kept for %v, from %v to %v", test.what, a.Status, a.MaxAge, a.ThisUpdate, a.NextUpdate)
		}
		if _, err := reader.ParseResponseForCert(a.DER, good, issuer); err != nil {
			t.Errorf("%s: %v", test.what, err)
		}
		if bytes.Contains(a.DER, nonce) != (test.what == "nonce") {
			t.Errorf("%s: nonce is wrong", test.what)
		}
	}
	w.open(revocation.Options{OCSPValidity: time.Minute, MaxAge: time.Hour})
	if a := w.responder.Respond(t.Context(), ask(t, issuer, crypto.SHA1, nil, good)); a.MaxAge != time.Minute || !a.NextUpdate.Equal(today.Truncate(time.Second).Add(time.Minute)) {
		t.Errorf("kept for %v, until %v", a.MaxAge, a.NextUpdate)
	}
	w.open(revocation.Options{OCSPValidity: 1000 * time.Hour})
	a := w.responder.Respond(t.Context(), ask(t, issuer, crypto.SHA1, nil, good))
	signer, err := w.authority.OCSPResponder(issuer)
	must(t, err)
	if !a.NextUpdate.Equal(signer.Certificate.NotAfter) {
		t.Errorf("valid until %v, and its signer until %v", a.NextUpdate, signer.Certificate.NotAfter)
	}
}

func TestRespondRefuses(t *testing.T) {
	c := clock.NewManual(today)
	w, other := newWorld(t, "chain-p256", c), newWorld(t, "chain", c)
	old, before := w.authority.Issuer(), w.issue()
	w.rollover()
	issuer, good := w.authority.Issuer(), w.issue()
	both := append(bytes.Clone(ask(t, issuer, crypto.SHA1, nil, good)), 0)
	check := func(what string, request []byte, want ocsp.Status) {
		t.Helper()
		a := w.responder.Respond(t.Context(), request)
		if a.Status != want || a.MaxAge != 0 || !a.NextUpdate.IsZero() {
			t.Errorf("%s: %v, kept for %v until %v, want %v", what, a.Status, a.MaxAge, a.NextUpdate, want)
		}
		_, err := reader.ParseResponse(a.DER, nil)
		if e, ok := errors.AsType[reader.ResponseError](err); !ok || int(e.Status) != int(want) {
			t.Errorf("%s: reads as %v", what, err)
		}
	}
	check("nothing", nil, ocsp.MalformedRequest)
	check("a request and more", both, ocsp.MalformedRequest)
	check("a nonce too long", ask(t, issuer, crypto.SHA1, make([]byte, 33), good), ocsp.MalformedRequest)
	check("the root", ask(t, w.authority.Root(), crypto.SHA1, nil, issuer), ocsp.Unauthorized)
	check("another authority", ask(t, other.authority.Issuer(), crypto.SHA1, nil, good), ocsp.Unauthorized)
	check("two generations", twoIssuers(t, old, before, issuer, good), ocsp.Unauthorized)

	w.depot.set(func(f *faulty) { f.fails = fmt.Errorf("disk: %w", depot.ErrUnavailable) })
	check("no depot", ask(t, issuer, crypto.SHA1, nil, good), ocsp.TryLater)
	w.depot.set(func(f *faulty) { f.fails = errBroken })
	check("broken depot", ask(t, issuer, crypto.SHA1, nil, good), ocsp.InternalError)
	if n := w.log.lines("level=ERROR", "OCSP request not answered"); n != 2 {
		t.Errorf("%d errors are logged, want 2", n)
	}
	w.depot.set(func(f *faulty) { f.fails = nil })
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if a := w.responder.Respond(ended, ask(t, issuer, crypto.SHA1, nil, good)); a.Status != ocsp.TryLater {
		t.Errorf("who went away is told %v", a.Status)
	}
	c.Set(issuer.NotAfter.Add(time.Second))
	check("after the issuer's end", ask(t, issuer, crypto.SHA1, nil, good), ocsp.Unauthorized)
	if n := w.log.lines("level=ERROR"); n != 2 {
		t.Error("what clients send is logged as an error")
	}
}

// twoIssuers asks for certificates of two issuers at once.
func twoIssuers(t *testing.T, a, ofA, b, ofB *x509.Certificate) []byte {
	t.Helper()
	type request struct{ CertID asn1.RawValue }
	type message struct{ TBS struct{ List []request } }
	var first, second message
	_, err := asn1.Unmarshal(ask(t, a, crypto.SHA1, nil, ofA), &first)
	must(t, err)
	_, err = asn1.Unmarshal(ask(t, b, crypto.SHA1, nil, ofB), &second)
	must(t, err)
	first.TBS.List = append(first.TBS.List, second.TBS.List...)
	der, err := asn1.Marshal(first)
	must(t, err)
	return der
}

// A serial belongs to one issuer: another generation does not know it.
func TestRespondAfterRollover(t *testing.T) {
	for _, authority := range []string{"chain-p256", "single"} {
		t.Run(authority, func(t *testing.T) {
			c := clock.NewManual(today)
			w := newWorld(t, authority, c)
			old, before := w.authority.Issuer(), w.issue()
			w.rollover()
			issuer, after := w.authority.Issuer(), w.issue()
			w.revoke(before, depot.ReasonSuperseded)
			for _, test := range []struct {
				issuer, c *x509.Certificate
				want      int
			}{
				{old, before, reader.Revoked}, {old, after, reader.Unknown}, {issuer, after, reader.Good}, {issuer, before, reader.Unknown},
			} {
				if got := w.status(test.issuer, test.c); got.Status != test.want {
					t.Errorf("%s of key %s: status %d, want %d", serial(test.c), hex.EncodeToString(test.issuer.SubjectKeyId), got.Status, test.want)
				}
			}
		})
	}
}
