package enroll_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"go.mozilla.org/pkcs7"
	"golang.org/x/crypto/cryptobyte"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

// The message types of the two queries.
const (
	getCert = "21"
	getCRL  = "22"
)

// query is a GetCert or GetCRL by whoever signs r.
func query(r *craft.Request, messageType string, issuer []byte, serial *big.Int) *craft.Request {
	var b cryptobyte.Builder
	b.AddASN1BigInt(serial)
	return as(r, messageType, sequence(issuer, b.BytesOrPanic()))
}

// withCRLs has the house answer GetCRL.
func (h *house) withCRLs() {
	h.service = h.over(h.depot, enroll.WithCRLs(func(_ context.Context, issuer *x509.Certificate) ([]byte, error) {
		return h.authority.SignCRL(issuer, big.NewInt(7), h.clock.Now(), h.clock.Now().Add(time.Hour), nil)
	}))
}

// content decrypts a SUCCESS and returns the bundle in it.
func bundle(t *testing.T, r *craft.Request, a enroll.Answer) *pkcs7.PKCS7 {
	t.Helper()
	outer, err := pkcs7.Parse(a.Reply)
	if err != nil {
		t.Fatalf("%v (outcome %s %s %q %v)", err, a.Outcome, a.Reason, a.Detail, a.Internal)
	}
	envelope, err := pkcs7.Parse(outer.Content)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := r.Message.Key.(*rsa.PrivateKey)
	plain, err := envelope.Decrypt(r.Message.Signer, key)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := pkcs7.Parse(plain)
	if err != nil {
		t.Fatal(err)
	}
	return inner
}

// TestQueries is who may ask, by policy, and what is answered.
func TestQueries(t *testing.T) {
	for _, tt := range []struct {
		policy   string
		enrolled bool // whoever asks
		good     bool
		reason   refusal.Reason
	}{
		{configuration.QueriesRefuse, true, false, refusal.UnsupportedOperation},
		{configuration.QueriesEnrolled, true, true, ""},
		{configuration.QueriesEnrolled, false, false, refusal.SignerNotTrusted},
		{configuration.QueriesAnyone, true, true, ""},
		{configuration.QueriesAnyone, false, true, ""},
	} {
		inEach(t, func(t *testing.T, h *house) {
			h.withCRLs()
			h.live = h.configure(t, "queries", func(s *configuration.Settings) { s.Queries = tt.policy })
			own := h.enrolOwn(t)
			asker := h.request(t)
			if tt.enrolled {
				signedBy(own, keyA)(asker)
			}
			for _, messageType := range []string{getCert, getCRL} {
				q := query(asker, messageType, own.RawIssuer, own.SerialNumber)
				if !tt.good {
					if reply := h.refused(t, q, encoded(t, q), tt.reason); reply.FailInfo != client.BadRequest {
						t.Errorf("%s: the client is told %s", messageType, reply.FailInfo.Name())
					}
					continue
				}
				a := h.ask(encoded(t, q))
				if a.Outcome != enroll.Answered || a.Internal != nil {
					t.Fatalf("%s: %s %s %q %v", messageType, a.Outcome, a.Reason, a.Detail, a.Internal)
				}
				got := bundle(t, q, a)
				switch {
				case messageType == getCert && (len(got.Certificates) != 1 || !got.Certificates[0].Equal(own) || len(got.CRLs) != 0):
					t.Errorf("GetCert: %d certificates, %d CRLs", len(got.Certificates), len(got.CRLs))
				case messageType == getCRL && (len(got.Certificates) != 0 || len(got.CRLs) != 1):
					t.Errorf("GetCRL: %d certificates, %d CRLs", len(got.Certificates), len(got.CRLs))
				}
				if messageType == getCRL {
					h.current(t, got)
				}
			}
			if h.issued(t) != 1 {
				t.Errorf("%d certificates", h.issued(t))
			}
		})
	}
}

// current demands that the CRL is the issuer's.
func (h *house) current(t *testing.T, got *pkcs7.PKCS7) {
	t.Helper()
	signature := got.CRLs[0].SignatureValue.RightAlign()
	if err := h.authority.Issuer().CheckSignature(x509.SHA256WithRSA, got.CRLs[0].TBSCertList.Raw, signature); err != nil {
		t.Error(err)
	}
}

// TestQueriesThatFindNothing: what is not here, not of this configuration, or
// was never delivered, does not exist.
func TestQueriesThatFindNothing(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.withCRLs()
		h.live = h.configure(t, "queries", func(s *configuration.Settings) { s.Queries = configuration.QueriesAnyone })
		own := h.enrolOwn(t)
		asker := h.request(t)
		issuer := h.authority.Issuer().RawSubject
		for _, q := range []*craft.Request{
			query(asker, getCert, issuer, big.NewInt(1)),
			query(asker, getCert, issuer, big.NewInt(0)),
			query(asker, getCert, issuer, new(big.Int).Neg(own.SerialNumber)),
			query(asker, getCert, issuer, new(big.Int).Lsh(big.NewInt(1), 4000)),
			query(asker, getCert, named(t, "Another CA"), own.SerialNumber),
			query(asker, getCert, h.authority.Root().RawSubject, h.authority.Root().SerialNumber),
			query(asker, getCRL, named(t, "Another CA"), own.SerialNumber),
		} {
			if reply := h.refused(t, q, encoded(t, q), refusal.NotFound); reply.FailInfo != client.BadCertID {
				t.Errorf("the client is told %s", reply.FailInfo.Name())
			}
		}
		// A certificate serial that we do not know still names the issuer.
		q := query(asker, getCRL, issuer, big.NewInt(1))
		if a := h.ask(encoded(t, q)); a.Outcome != enroll.Answered {
			t.Errorf("%+v", a)
		}
		mine := h.live
		h.live = h.configure(t, "others", func(s *configuration.Settings) { s.Queries = configuration.QueriesAnyone })
		q = query(asker, getCert, issuer, own.SerialNumber)
		h.refused(t, q, encoded(t, q), refusal.NotFound)
		h.live = mine
		h.service = h.over(voided{h.depot})
		h.refused(t, q, encoded(t, q), refusal.NotFound)
	})
}

// voided is a depot whose certificates were never delivered.
type voided struct{ depot.Depot }

func (v voided) Identity(ctx context.Context, serial string) (depot.Identity, error) {
	i, err := v.Depot.Identity(ctx, serial)
	i.Void = true
	return i, err
}

// TestQueriesOfTheUnworthy: a certificate of ours is not enough when it is not
// live, or when it is not ours at all.
func TestQueriesOfTheUnworthy(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(t *testing.T, h *house, own *x509.Certificate, q *craft.Request)
		info   client.FailInfo
	}{
		"revoked": {func(t *testing.T, h *house, _ *x509.Certificate, _ *craft.Request) { h.revokeAll(t) }, client.BadRequest},
		"expired": {func(_ *testing.T, h *house, own *x509.Certificate, _ *craft.Request) {
			h.clock.Advance(own.NotAfter.Sub(opening))
		}, client.BadRequest},
		"forged": {func(_ *testing.T, _ *house, own *x509.Certificate, q *craft.Request) { signedBy(forged(own), keyB)(q) }, client.BadMessageCheck},
		"elsewhere": {func(t *testing.T, h *house, _ *x509.Certificate, _ *craft.Request) {
			h.live = h.configure(t, "elsewhere", func(s *configuration.Settings) { s.Queries = configuration.QueriesEnrolled })
		}, client.BadRequest},
		"superseded": {func(t *testing.T, h *house, own *x509.Certificate, _ *craft.Request) {
			h.reconfigure(t, `{"renewal":true}`)
			r := h.renewal(t, own)
			h.enrolled(t, r, encoded(t, r), enroll.Issued)
		}, client.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			inEach(t, func(t *testing.T, h *house) {
				h.live = h.configure(t, "queries", func(s *configuration.Settings) { s.Queries = configuration.QueriesEnrolled })
				own := h.enrolOwn(t)
				q := query(h.request(t, signedBy(own, keyA)), getCert, own.RawIssuer, own.SerialNumber)
				tt.change(t, h, own, q)
				if reply := h.refused(t, q, encoded(t, q), refusal.SignerNotTrusted); reply.FailInfo != tt.info {
					t.Errorf("the client is told %s", reply.FailInfo.Name())
				}
			})
		})
	}
}

// TestCRLs: without a source there is none; one that fails is an internal
// error, and one that is too large for SCEP is said to be.
func TestCRLs(t *testing.T) {
	h := newHouse(t, nil)
	h.live = h.configure(t, "queries", func(s *configuration.Settings) { s.Queries = configuration.QueriesAnyone })
	q := query(h.request(t), getCRL, h.authority.Issuer().RawSubject, big.NewInt(1))
	h.refused(t, q, encoded(t, q), refusal.UnsupportedOperation)
	source := func(crl []byte, err error) {
		h.service = h.over(h.depot, enroll.WithCRLs(func(context.Context, *x509.Certificate) ([]byte, error) { return crl, err }))
	}
	source(nil, errDisk)
	if a := h.ask(encoded(t, q)); a.Outcome != enroll.Failed || !errors.Is(a.Internal, errDisk) || a.Reply != nil {
		t.Errorf("answer %+v", a)
	}
	source(make([]byte, 1<<20), nil)
	if reply := h.refused(t, q, encoded(t, q), refusal.UnsupportedOperation); reply.FailInfoText == "" {
		t.Error("the client is not told where the CRL is")
	}
	// One of a few thousand certificates fits.
	var revoked []byte
	revoked = append(revoked, make([]byte, 300<<10)...)
	if _, err := rand.Read(revoked); err != nil {
		t.Fatal(err)
	}
	source(craft.Octets(revoked), nil)
	if a := h.ask(encoded(t, q)); a.Outcome != enroll.Answered || !bytes.Contains(a.Reply, []byte{0x30}) || len(a.Reply) < 300<<10 {
		t.Errorf("%s %s %v: reply of %d bytes", a.Outcome, a.Reason, a.Internal, len(a.Reply))
	}
}
