package load_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/load"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/client"
)

const challenge = "challenge-of-the-load"

// newKey makes one key for the CA and one for strangers, once.
var (
	caKey    = sync.OnceValue(newKey)
	otherKey = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// miniature is a SCEP server with one certificate for everything. Each fault
// is what happens to one message in turn; a nil one is none.
type miniature struct {
	t      *testing.T
	ca     *x509.Certificate
	serial atomic.Int64
	n      atomic.Int64
	faults []func(w http.ResponseWriter, m *scep.Message, e *scep.Enrolment) bool
}

func serveMiniature(t *testing.T, faults ...func(*miniature) fault) (*miniature, string) {
	t.Helper()
	m := &miniature{t: t}
	m.ca = m.certificate(pkix.Name{CommonName: "Miniature CA"}, caKey().Public(), caKey(), nil, time.Now().UnixNano())
	m.serial.Store(1)
	for _, f := range faults {
		m.faults = append(m.faults, f(m))
	}
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	return m, server.URL + "/scep"
}

// A fault answers a message, or leaves it to the ordinary course with false.
type fault = func(w http.ResponseWriter, m *scep.Message, e *scep.Enrolment) bool

// certificate issues for a key. A nil parent makes it self-signed.
func (m *miniature) certificate(name pkix.Name, public any, key *rsa.PrivateKey, parent *x509.Certificate, serial int64) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: name,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
		IsCA:     parent == nil, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		m.t.Error(err)
		return nil
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		m.t.Error(err)
	}
	return c
}

func (m *miniature) recipient() scep.Recipient {
	return scep.Recipient{Certificate: m.ca, Key: caKey()}
}

func (m *miniature) options() scep.Options {
	return scep.Options{AllowSHA1: true, KeySizes: []int{2048}, Now: time.Now()}
}

func (m *miniature) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("operation") == "GetCACert" {
		w.Header().Set("Content-Type", "application/x-x509-ca-cert")
		w.Write(m.ca.Raw)
		return
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return // who sent it did not wait for the end
	}
	if r.Method == http.MethodGet {
		if raw, err = scep.DecodeGET(r.URL.RawQuery[len("operation=PKIOperation&message="):]); err != nil {
			m.t.Error(err)
		}
	}
	message, err := scep.Decode(raw, m.options())
	if err != nil {
		m.t.Errorf("the generator sent what cannot be decoded: %v", err)
		return
	}
	e, err := message.Open([]scep.Recipient{m.recipient()}, m.options())
	if err != nil || e.ChallengePassword.Reveal() != challenge {
		m.t.Errorf("the generator sent what cannot be opened: %v", err)
		return
	}
	if n := int(m.n.Add(1)) - 1; len(m.faults) > 0 {
		if f := m.faults[n%len(m.faults)]; f != nil && f(w, message, e) {
			return
		}
	}
	m.answer(w)(m.recipient().Success(message, time.Now(),
		m.certificate(e.CSR.Subject, e.CSR.PublicKey, caKey(), m.ca, m.serial.Add(1))))
}

func (m *miniature) answer(w http.ResponseWriter) func([]byte, error) {
	return func(reply []byte, err error) {
		if err != nil {
			m.t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-pki-message")
		w.Write(reply)
	}
}

// Faults.

func status(code int) func(*miniature) fault {
	return func(*miniature) fault {
		return func(w http.ResponseWriter, _ *scep.Message, _ *scep.Enrolment) bool {
			w.WriteHeader(code)
			return true
		}
	}
}

func text(contentType, body string) func(*miniature) fault {
	return func(*miniature) fault {
		return func(w http.ResponseWriter, _ *scep.Message, _ *scep.Enrolment) bool {
			w.Header().Set("Content-Type", contentType)
			io.WriteString(w, body)
			return true
		}
	}
}

func hangUp(*miniature) fault {
	return func(http.ResponseWriter, *scep.Message, *scep.Enrolment) bool { panic(http.ErrAbortHandler) }
}

func failure(m *miniature) fault {
	return func(w http.ResponseWriter, message *scep.Message, _ *scep.Enrolment) bool {
		m.answer(w)(m.recipient().Failure(message, time.Now(), refusal.New(refusal.ChallengeWrong, "no")))
		return true
	}
}

func pending(m *miniature) fault {
	return func(w http.ResponseWriter, message *scep.Message, _ *scep.Enrolment) bool {
		m.answer(w)(m.recipient().Pending(message, time.Now()))
		return true
	}
}

// issuing answers with a certificate that is wrong in some way.
func issuing(make func(m *miniature, e *scep.Enrolment) *x509.Certificate) func(*miniature) fault {
	return func(m *miniature) fault {
		return func(w http.ResponseWriter, message *scep.Message, e *scep.Enrolment) bool {
			m.answer(w)(m.recipient().Success(message, time.Now(), make(m, e)))
			return true
		}
	}
}

// build makes messages for the server at a URL.
func build(t *testing.T, url string, s load.Spec) (*load.Target, *load.Requests) {
	t.Helper()
	target, err := load.NewTarget(url, load.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := target.CACertificates(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Challenge = client.Password(challenge)
	if s.Keys == 0 {
		s.Keys = 1
	}
	requests, err := load.Build(t.Context(), ca, s)
	if err != nil {
		t.Fatal(err)
	}
	return target, requests
}

func run(t *testing.T, target *load.Target, requests *load.Requests, o load.Options) *load.Report {
	t.Helper()
	report, err := load.Run(context.Background(), target, requests, o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}
