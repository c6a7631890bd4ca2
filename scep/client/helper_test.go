package client_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	smallscep "github.com/smallstep/scep"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/internal/cms"
)

// RSA keys are dear; every test shares these.
var (
	caKey     = sync.OnceValue(newKey)
	raKey     = sync.OnceValue(newKey)
	deviceKey = sync.OnceValue(newKey)
	otherKey  = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// today is when every test takes place.
var today = time.Now().UTC().Truncate(time.Second)

const signAndEncrypt = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment

var lastSerial int64 = 100

// issue makes a certificate; a nil parent means self-signed.
func issue(t testing.TB, cn string, usage x509.KeyUsage, isCA bool, key, parentKey *rsa.PrivateKey, parent *x509.Certificate) *x509.Certificate {
	t.Helper()
	lastSerial++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(lastSerial), Subject: pkix.Name{CommonName: cn},
		NotBefore: today.Add(-time.Hour), NotAfter: today.Add(24 * time.Hour),
		KeyUsage: usage, IsCA: isCA, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, der)
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A server answers SCEP with smallstep/scep, code that shares nothing with
// the client under test but the names of constants.
type server struct {
	*httptest.Server
	t      *testing.T
	ca, ra *x509.Certificate

	capabilities string
	// reply answers a message; nil means smallstep's own Success.
	reply func(*smallscep.PKIMessage, []byte) []byte

	mu       sync.Mutex
	requests []*http.Request
	messages [][]byte
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, capabilities: "POSTPKIOperation\nSHA-256\nAES\n"}
	s.ca = issue(t, "Test CA", x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature, true, caKey(), nil, nil)
	s.ra = issue(t, "Test RA", signAndEncrypt, false, raKey(), caKey(), s.ca)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) client() *client.Client {
	return &client.Client{URL: s.URL + "/scep", HTTPClient: s.Server.Client(), Clock: clock.NewManual(today)}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r)
	s.mu.Unlock()
	switch r.URL.Query().Get("operation") {
	case "GetCACaps":
		_, _ = io.WriteString(w, s.capabilities)
	case "GetCACert":
		bundle, err := cms.Bundle([]*x509.Certificate{s.ra, s.ca}, nil)
		if err != nil {
			s.t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-x509-ca-ra-cert")
		_, _ = w.Write(bundle)
	case "PKIOperation":
		message, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodGet {
			message, _ = base64.StdEncoding.DecodeString(r.URL.Query().Get("message"))
		}
		w.Header().Set("Content-Type", "application/x-pki-message")
		_, _ = w.Write(s.answer(message))
	}
}

func (s *server) answer(raw []byte) []byte {
	s.mu.Lock()
	s.messages = append(s.messages, raw)
	s.mu.Unlock()
	message, err := smallscep.ParsePKIMessage(raw)
	if err != nil && s.reply == nil {
		s.t.Errorf("server cannot read the request: %v", err)
		return nil
	}
	if s.reply != nil {
		return s.reply(message, raw)
	}
	return s.success(message)
}

// success issues for the CSR and answers as smallstep/scep does: DES, SHA-1.
func (s *server) success(message *smallscep.PKIMessage) []byte {
	s.decrypt(message)
	reply, err := message.Success(s.ra, raKey(), s.leaf(message.CSR))
	if err != nil {
		s.t.Errorf("server cannot answer: %v", err)
		return nil
	}
	return reply.Raw
}

func (s *server) decrypt(message *smallscep.PKIMessage) {
	if err := message.DecryptPKIEnvelope(s.ra, raKey()); err != nil {
		s.t.Errorf("server cannot decrypt the request: %v", err)
	}
}

func (s *server) leaf(csr *x509.CertificateRequest) *x509.Certificate {
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(7), RawSubject: csr.RawSubject,
		NotBefore: today.Add(-time.Minute), NotAfter: today.Add(time.Hour),
	}, s.ca, csr.PublicKey, caKey())
	if err != nil {
		s.t.Errorf("server cannot issue: %v", err)
		return nil
	}
	return parse(s.t, der)
}

// certificates is what a client gets from GetCACert.
func (s *server) certificates() *client.CACertificates {
	s.t.Helper()
	found, err := s.client().CACertificates(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// A response is a CertRep with everything to choose.
type response struct {
	messageType, status, failInfo, failInfoText, transactionID string
	senderNonce, recipientNonce                                []byte
	certificates                                               []*x509.Certificate
	recipient                                                  *x509.Certificate
	cipher                                                     cms.Cipher
	digest                                                     crypto.Hash
	signer                                                     *x509.Certificate
	key                                                        *rsa.PrivateKey
	content                                                    []byte // instead of an envelope
	textTag                                                    string // of the transactionID: "utf8" instead of "printable"
	more                                                       []cms.Attribute
	after                                                      func([]byte) []byte
}

func (p *response) encode(t testing.TB) []byte {
	t.Helper()
	content := p.content
	if content == nil && p.status == "0" {
		bundle, err := cms.Bundle(p.certificates, nil)
		if err != nil {
			t.Fatal(err)
		}
		if content, err = cms.Envelope(rand.Reader, bundle, p.cipher, p.recipient); err != nil {
			t.Fatal(err)
		}
	}
	attributes := append([]cms.Attribute{
		{Type: scepOID(2), Value: text(t, p.messageType)},
		{Type: scepOID(3), Value: text(t, p.status)},
		{Type: scepOID(5), Value: marshal(t, p.senderNonce)},
		{Type: scepOID(6), Value: marshal(t, p.recipientNonce)},
	}, p.more...)
	if p.textTag == "utf8" {
		attributes = append(attributes, cms.Attribute{Type: scepOID(7), Value: utf8(t, p.transactionID)})
	} else {
		attributes = append(attributes, cms.Attribute{Type: scepOID(7), Value: text(t, p.transactionID)})
	}
	if p.failInfo != "" {
		attributes = append(attributes, cms.Attribute{Type: scepOID(4), Value: text(t, p.failInfo)})
	}
	if p.failInfoText != "" {
		attributes = append(attributes, cms.Attribute{
			Type: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 24, 1}, Value: utf8(t, p.failInfoText),
		})
	}
	raw, err := cms.Sign(rand.Reader, cms.SignedData{
		Content: content, Digest: p.digest, Attributes: attributes,
		Certificates: []*x509.Certificate{p.signer}, Signer: p.signer, Key: p.key,
	})
	if err != nil {
		t.Fatal(err)
	}
	if p.after != nil {
		raw = p.after(raw)
	}
	return raw
}

func scepOID(n int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, n}
}

func marshal(t testing.TB, value any) []byte {
	t.Helper()
	der, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func text(t testing.TB, s string) []byte {
	t.Helper()
	der, err := asn1.MarshalWithParams(s, "printable")
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func utf8(t testing.TB, s string) []byte {
	t.Helper()
	der, err := asn1.MarshalWithParams(s, "utf8")
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not tell %q", err, part)
		}
	}
}

func equalCertificates(a, b []*x509.Certificate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i].Raw, b[i].Raw) {
			return false
		}
	}
	return true
}

// field returns the value of a SCEP attribute by looking for its bytes.
func field(t testing.TB, raw []byte, n int) []byte {
	t.Helper()
	oid := marshal(t, scepOID(n))
	_, rest, found := bytes.Cut(raw, oid)
	var set, value asn1.RawValue
	if !found {
		t.Errorf("message has no attribute %d", n)
		return nil
	}
	if _, err := asn1.Unmarshal(rest, &set); err != nil {
		t.Error(err)
	}
	if _, err := asn1.Unmarshal(set.Bytes, &value); err != nil {
		t.Error(err)
	}
	return value.Bytes
}

func transactionOf(t testing.TB, raw []byte) string { return string(field(t, raw, 7)) }
func nonceOf(t testing.TB, raw []byte) []byte       { return field(t, raw, 5) }

func signerOf(t testing.TB, raw []byte) *x509.Certificate {
	t.Helper()
	message, err := pkcs7.Parse(raw)
	if err != nil || len(message.Certificates) == 0 {
		t.Errorf("message has no signer: %v", err)
		return nil
	}
	return message.Certificates[0]
}
