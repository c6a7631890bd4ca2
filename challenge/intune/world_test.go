package intune_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"log/slog"
	"math/big"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/challenge/intune/fake"
	"understudy.example/understudy/clock"
)

const (
	tenantID = "7e1f5a3c-4f0b-4f6e-9a53-1f6f3f3a9b01"
	domain   = "contoso.onmicrosoft.com"
	clientID = "0c8a1d52-6a1b-4d5e-8c3f-52d4a5a4b702"
	secret   = "the~secret.of-the_application"
)

// keys are made once: making them is slow and they are never changed.
var keys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var all [2]*rsa.PrivateKey
	for i, bits := range []int{2048, 1024} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		all[i] = key
	}
	return all
})

// A world is a fake cloud over TLS, and what it takes to be its client.
type world struct {
	*fake.Cloud
	clock   *clock.Manual
	options intune.Options
	rootPEM []byte

	mu        sync.Mutex
	exchanges []intune.Exchange
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0") // a CSR with a key that is too short is one of the cases
	w := &world{clock: clock.NewManual(time.Now())}
	cloud, err := fake.New(fake.Options{Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	w.Cloud = cloud
	server, err := cloud.Start("127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // idle connections of HTTP/2 would be waited for
		server.Close(ctx)
	})
	if err := cloud.AddTenant(fake.Tenant{ID: tenantID, Domain: domain}); err != nil {
		t.Fatal(err)
	}
	w.application(t, fake.Application{Secrets: []fake.ClientSecret{{Value: secret}}})
	w.rootPEM = server.RootPEM
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.RootPEM)
	w.options = intune.Options{
		Cloud:  intune.Cloud{Authority: cloud.Authority(), GraphURL: cloud.GraphURL(), IntuneResource: fake.IntuneResource},
		Tenant: domain, ClientID: clientID, Secret: secret, RootCAs: roots, CallerInfo: "Understudy test", Deadline: time.Minute,
		Observe: func(e intune.Exchange) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.exchanges = append(w.exchanges, e)
		},
	}
	return w
}

func (w *world) application(t *testing.T, a fake.Application) {
	t.Helper()
	a.ClientID = clientID
	if err := w.SetApplication(tenantID, a); err != nil {
		t.Fatal(err)
	}
}

// client makes a client, after the options were changed.
func (w *world) client(t *testing.T, changes ...func(*intune.Options)) *intune.Client {
	t.Helper()
	o := w.options
	for _, change := range changes {
		change(&o)
	}
	c, err := intune.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) fail(t *testing.T, f fake.Fault) {
	t.Helper()
	if err := w.Fail(f); err != nil {
		t.Fatal(err)
	}
}

// calls counts the calls to a service.
func (w *world) calls(s fake.Service) int { return len(w.CallsTo(s)) }

// good is a request that Intune has nothing against.
func (w *world) good(t *testing.T) intune.Subject {
	t.Helper()
	return intune.Subject{TransactionID: "T-1", CSR: w.csr(t, ordinary(), request{})}
}

// ordinary is what Intune expects, unless a case says otherwise.
func ordinary() fake.Request {
	return fake.Request{
		Subject: "CN=C02XL0GTJGH5", SANs: []string{"dns:mac.example"}, KeyUsage: []string{"digitalSignature"},
		ExtendedKeyUsage: []string{"1.3.6.1.5.5.7.3.2"}, KeyBits: 2048,
	}
}

// request is what a case changes about an ordinary CSR.
type request struct {
	blob        func(string) string // nil: as it was given out
	subject     *pkix.Name
	dns         *[]string
	keyUsage    byte // 0: digitalSignature
	noEKU       bool
	eku         asn1.ObjectIdentifier
	key         *rsa.PrivateKey
	noChallenge bool
	utf8        bool
}

// csr makes a real PKCS#10 request for a challenge that the cloud gives out.
func (w *world) csr(t *testing.T, expected fake.Request, r request) []byte {
	t.Helper()
	given, err := w.IssueChallenge(expected)
	if err != nil {
		t.Fatal(err)
	}
	blob := given.Challenge
	if r.blob != nil {
		blob = r.blob(blob)
	}
	if r.noChallenge {
		blob = ""
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "C02XL0GTJGH5"}, DNSNames: []string{"mac.example"}}
	if r.subject != nil {
		template.Subject = *r.subject
	}
	if r.dns != nil {
		template.DNSNames = *r.dns
	}
	if r.keyUsage == 0 {
		r.keyUsage = 0x80
	}
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Value: []byte{3, 2, 7, r.keyUsage}})
	if !r.noEKU {
		if r.eku == nil {
			r.eku = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
		}
		value, err := asn1.Marshal([]asn1.ObjectIdentifier{r.eku})
		if err != nil {
			t.Fatal(err)
		}
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: value})
	}
	if r.key == nil {
		r.key = keys()[0]
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, r.key)
	if err != nil {
		t.Fatal(err)
	}
	if blob == "" {
		return der
	}
	return withChallenge(t, der, blob, r.key, r.utf8)
}

// withChallenge puts a challengePassword into a request and signs it anew:
// crypto/x509 cannot write one.
func withChallenge(t *testing.T, csr []byte, challenge string, key *rsa.PrivateKey, utf8 bool) []byte {
	t.Helper()
	outer := cryptobyte.String(csr)
	var info, version, subject, public, attributes cryptobyte.String
	context := cbasn1.Tag(0).ContextSpecific().Constructed()
	if !outer.ReadASN1(&outer, cbasn1.SEQUENCE) || !outer.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1Element(&version, cbasn1.INTEGER) ||
		!info.ReadASN1Element(&subject, cbasn1.SEQUENCE) || !info.ReadASN1Element(&public, cbasn1.SEQUENCE) || !info.ReadASN1(&attributes, context) {
		t.Fatal("cannot take the request apart")
	}
	tag := cbasn1.PrintableString
	if utf8 {
		tag = cbasn1.UTF8String
	}
	build := func(add func(b *cryptobyte.Builder)) []byte {
		var b cryptobyte.Builder
		b.AddASN1(cbasn1.SEQUENCE, add)
		der, err := b.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	tbs := build(func(b *cryptobyte.Builder) {
		b.AddBytes(version)
		b.AddBytes(subject)
		b.AddBytes(public)
		b.AddASN1(context, func(b *cryptobyte.Builder) {
			b.AddBytes(attributes)
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 7})
				b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
					b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(challenge)) })
				})
			})
		})
	})
	digest := sha256.Sum256(tbs)
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return build(func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11})
			b.AddASN1NULL()
		})
		b.AddASN1BitString(signature)
	})
}

// certificate makes a certificate for a key of its own, of whatever use.
func certificate(t *testing.T, notBefore time.Time) (*x509.Certificate, *rsa.PrivateKey) {
	t.Helper()
	key := keys()[0]
	template := &x509.Certificate{SerialNumber: new(big.Int).SetBytes([]byte{0x0a, 0xbc, 0xde}), Subject: pkix.Name{CommonName: "application"},
		NotBefore: notBefore, NotAfter: notBefore.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

func fingerprintOf(key *rsa.PrivateKey) string {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}
