package explain_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"understudy.example/understudy/explain"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/client/craft"
)

var (
	oidPKIStatus      = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 3}
	oidFailInfo       = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 4}
	oidRecipientNonce = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 6}
)

const printableString = 19

// A world has a CA of its own, whose certificates can be made wrong.
type world struct {
	t             *testing.T
	client, ra    *rsa.PrivateKey
	root, issuer  *x509.Certificate
	raCert, owner *x509.Certificate // owner signs requests
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t}
	o := options(t)
	w.client, w.ra = o.Keys[0].(*rsa.PrivateKey), o.Keys[1].(*rsa.PrivateKey)
	w.root = w.certificate("root", nil, caTemplate, w.ra)
	w.issuer = w.certificate("issuer", w.root, caTemplate, w.ra)
	w.raCert = w.certificate("RA", w.issuer, raTemplate, w.ra)
	w.owner = w.certificate("owner", nil, raTemplate, w.client)
	return w
}

func caTemplate(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid = true, true
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
}

func raTemplate(c *x509.Certificate) {
	c.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
}

func leafTemplate(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }

// certificate makes a certificate; all CAs have the RA's key. A nil issuer
// means self-signed.
func (w *world) certificate(cn string, issuer *x509.Certificate, with func(*x509.Certificate), key *rsa.PrivateKey) *x509.Certificate {
	w.t.Helper()
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(cn)), Subject: pkix.Name{CommonName: cn},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	with(template)
	signer := w.ra
	if issuer == nil {
		issuer, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) bundle(certificates ...*x509.Certificate) []byte {
	w.t.Helper()
	der, err := scep.Bundle(certificates)
	if err != nil {
		w.t.Fatal(err)
	}
	return der
}

// reply makes a CertRep of status SUCCESS with content in its envelope, and
// lets change spoil it.
func (w *world) reply(content []byte, change func(*craft.SignedData, *craft.Envelope)) []byte {
	w.t.Helper()
	e := craft.Envelope{Content: content, Recipients: []craft.Recipient{{Certificate: w.owner}}, Cipher: craft.AES128CBC}
	s := craft.SignedData{
		Digest: crypto.SHA256, Certificates: [][]byte{w.raCert.Raw}, Signer: w.raCert, Key: w.ra,
	}
	s.Set(craft.OIDMessageType, craft.Text(printableString, "3"))
	s.Set(oidPKIStatus, craft.Text(printableString, "0"))
	s.Set(craft.OIDTransactionID, craft.Text(printableString, "id"))
	s.Set(craft.OIDSenderNonce, craft.Octets(bytes.Repeat([]byte{1}, 16)))
	s.Set(oidRecipientNonce, craft.Octets(bytes.Repeat([]byte{2}, 16)))
	change(&s, &e)
	if s.Content == nil && content != nil {
		var err error
		if s.Content, err = e.Encode(); err != nil {
			w.t.Fatal(err)
		}
	}
	der, err := s.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	return der
}

// TestReplyRules holds one rule after the other against a reply that breaks
// nothing else.
func TestReplyRules(t *testing.T) {
	w := newWorld(t)
	leaf := w.certificate("leaf", w.issuer, leafTemplate, w.client)
	other := w.certificate("other", w.issuer, leafTemplate, w.ra)
	status := func(s *craft.SignedData, digit string) { s.Set(oidPKIStatus, craft.Text(printableString, digit)) }
	failure := func(s *craft.SignedData) {
		status(s, "2")
		s.Set(oidFailInfo, craft.Text(printableString, "2"))
	}
	tests := []struct {
		name      string
		content   []byte
		change    func(*craft.SignedData, *craft.Envelope)
		level     explain.Level // "" for nothing
		who, text string
	}{
		{"honest", w.bundle(leaf), func(*craft.SignedData, *craft.Envelope) {}, "", "", ""},
		{"honest failure", nil, func(s *craft.SignedData, _ *craft.Envelope) { failure(s) }, "", "", ""},
		{"two certificates", w.bundle(leaf, w.issuer), func(*craft.SignedData, *craft.Envelope) {}, explain.Objection, "Apple, Juniper", "2 certificates"},
		{"CA first", w.bundle(w.issuer), func(*craft.SignedData, *craft.Envelope) {}, explain.Objection, "Apple", "is a CA's"},
		{"no certificate", bundle(nil, 0), func(*craft.SignedData, *craft.Envelope) {}, explain.Objection, "Apple", "no certificate in it"},
		{"other key", w.bundle(other), func(*craft.SignedData, *craft.Envelope) {}, explain.Remark, "Apple", "does not carry the key"},
		{"a CSR in it", unpem(t, sample(t, "csr.pem")), func(*craft.SignedData, *craft.Envelope) {}, explain.Wrong, "client", "does not carry this"},
		{"noise in it", []byte("noise"), func(*craft.SignedData, *craft.Envelope) {}, explain.Wrong, "everybody", "nothing that SCEP puts"},
		{"success without envelope", nil, func(*craft.SignedData, *craft.Envelope) {}, explain.Wrong, "every client", "no envelope"},
		{"failure with envelope", w.bundle(leaf), func(s *craft.SignedData, _ *craft.Envelope) { failure(s) }, explain.Objection, "strict", "have no envelope"},
		{"failure without eContent", nil, func(s *craft.SignedData, _ *craft.Envelope) { failure(s); s.NoContent = true }, explain.Objection, "certmonger", "absent"},
		{"failure without failInfo", nil, func(s *craft.SignedData, _ *craft.Envelope) { status(s, "2") }, explain.Objection, "strict", "needs one of"},
		{"failInfo 9", nil, func(s *craft.SignedData, _ *craft.Envelope) {
			failure(s)
			s.Set(oidFailInfo, craft.Text(printableString, "9"))
		}, explain.Objection, "strict", "needs one of"},
		{"failInfo with success", w.bundle(leaf), func(s *craft.SignedData, _ *craft.Envelope) { failure(s); status(s, "0") }, explain.Objection, "strict", "FAILURE alone"},
		{"status 7", nil, func(s *craft.SignedData, _ *craft.Envelope) { status(s, "7") }, explain.Wrong, "every client", "none of 0, 2 and 3"},
		{"no recipientNonce", w.bundle(leaf), func(s *craft.SignedData, _ *craft.Envelope) { s.Set(oidRecipientNonce) }, explain.Objection, "Windows", "missing"},
		{"no transactionID", w.bundle(leaf), func(s *craft.SignedData, _ *craft.Envelope) { s.Set(craft.OIDTransactionID) }, explain.Objection, "Windows", "missing"},
		{"own nonce", w.bundle(leaf), func(s *craft.SignedData, _ *craft.Envelope) {
			s.Set(craft.OIDSenderNonce, craft.Octets(bytes.Repeat([]byte{2}, 16)))
		}, explain.Objection, "strict", "no fresh one"},
		{"two values", w.bundle(leaf), func(s *craft.SignedData, _ *craft.Envelope) {
			s.Set(oidPKIStatus, craft.Text(printableString, "0"), craft.Text(printableString, "2"))
		}, explain.Objection, "understudy", "2 values"},
		{"signer missing", w.bundle(leaf), func(s *craft.SignedData, _ *craft.Envelope) { s.Certificates, s.NoCertificates = nil, true }, explain.Objection, "strict", "not in the message"},
		{"signer without digitalSignature", w.bundle(leaf), func(s *craft.SignedData, _ *craft.Envelope) {
			c := w.certificate("mute", w.issuer, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, w.ra)
			s.Signer, s.Certificates = c, [][]byte{c.Raw}
		}, explain.Objection, "strict", "no digitalSignature"},
		{"content changed", nil, func(s *craft.SignedData, _ *craft.Envelope) {
			failure(s)
			s.Replace = []craft.Attribute{
				{Type: craft.OIDContentType, Values: [][]byte{{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1}}},
				{Type: craft.OIDMessageDigest, Values: [][]byte{craft.Octets(make([]byte, 32))}},
			}
		}, explain.Wrong, "everybody", "not the digest of the content"},
		{"signature algorithm of another digest", w.bundle(leaf), func(s *craft.SignedData, _ *craft.Envelope) {
			s.SignatureOID = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}
		}, explain.Objection, "strict", "does not go with"},
		{"two recipients", w.bundle(leaf), func(_ *craft.SignedData, e *craft.Envelope) { e.Recipients = append(e.Recipients, e.Recipients[0]) }, explain.Objection, "strict", "there are 2"},
		{"no recipient", w.bundle(leaf), func(_ *craft.SignedData, e *craft.Envelope) { e.Recipients = nil }, explain.Wrong, "everybody", "nobody can open"},
		{"AES-192", w.bundle(leaf), func(_ *craft.SignedData, e *craft.Envelope) { e.Cipher = craft.AES192CBC }, explain.Objection, "most servers", "AES-192-CBC"},
		{"padding of zero", w.bundle(leaf), func(_ *craft.SignedData, e *craft.Envelope) {
			e.Padded = func(b []byte) []byte { b[len(b)-1] = 0; return b }
		}, explain.Wrong, "these keys", "padding is wrong"},
		{"padding too long", w.bundle(leaf), func(_ *craft.SignedData, e *craft.Envelope) {
			e.Padded = func(b []byte) []byte { return append(b, bytes.Repeat([]byte{32}, 32)...) }
		}, explain.Wrong, "these keys", "padding is wrong"},
		{"odd ciphertext", w.bundle(leaf), func(_ *craft.SignedData, e *craft.Envelope) {
			e.Ciphertext = func(b []byte) []byte { return b[:len(b)-1] }
		}, explain.Wrong, "everybody", "not whole blocks"},
		{"OAEP", w.bundle(leaf), func(_ *craft.SignedData, e *craft.Envelope) { e.OAEP = crypto.SHA256 }, explain.Remark, "PKCS #1", "OAEP"},
		{"by key identifier", w.bundle(leaf), func(_ *craft.SignedData, e *craft.Envelope) { e.Recipients[0].BySKI = true }, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := explain.Explain(w.reply(tt.content, tt.change), options(t))
			if d.Items[0].Kind != explain.Reply || d.Items[0].Break != nil && tt.name != "noise in it" {
				t.Fatal(d.Text())
			}
			if tt.level == "" && d.Strict() || tt.level != "" && !finding(d, tt.level, tt.who, tt.text) {
				t.Errorf("no %s of %q about %q, or one too many:\n%s", tt.level, tt.who, tt.text, d.Text())
			}
		})
	}
}

// OAEP is opened, too.
func TestOpensOAEP(t *testing.T) {
	w := newWorld(t)
	leaf := w.certificate("leaf", w.issuer, leafTemplate, w.client)
	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
		d := explain.Explain(w.reply(w.bundle(leaf), func(_ *craft.SignedData, e *craft.Envelope) { e.OAEP = hash }), options(t))
		if value(d.Items[0].Fields, "opened") != "yes" {
			t.Errorf("%v: %s", hash, d.Text())
		}
	}
}

func TestCACertRules(t *testing.T) {
	w := newWorld(t)
	both := w.certificate("greedy", w.root, func(c *x509.Certificate) { caTemplate(c); c.KeyUsage |= x509.KeyUsageKeyEncipherment }, w.ra)
	signs := w.certificate("signs", w.issuer, leafTemplate, w.ra)
	encrypts := w.certificate("encrypts", w.issuer, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, w.ra)
	tests := []struct {
		name      string
		bundle    []byte
		who, text string // "" for nothing
	}{
		{"RA, issuer, root", w.bundle(w.raCert, w.issuer, w.root), "", ""},
		{"split RA", w.bundle(signs, encrypts, w.issuer, w.root), "", ""},
		{"RA second", w.bundle(w.issuer, w.raCert, w.root), "take the first", "certificate 2, not the first"},
		{"a CA with both before", w.bundle(both, w.raCert, w.root), "Apple", "takes it for the RA"},
		{"no root", w.bundle(w.raCert, w.issuer), "certmonger", "no root"},
		{"no RA", w.bundle(signs, w.issuer, w.root), "Apple", "no certificate has both"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := explain.Explain(tt.bundle, options(t))
			if tt.text == "" && d.Strict() || tt.text != "" && !finding(d, explain.Objection, tt.who, tt.text) {
				t.Error(d.Text())
			}
		})
	}
}

func TestCertificateRules(t *testing.T) {
	w := newWorld(t)
	marker := func(critical bool, value ...byte) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			leafTemplate(c)
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 51150, 13, 1}, Critical: critical, Value: value}}
		}
	}
	tests := []struct {
		name      string
		with      func(*x509.Certificate)
		who, text string
	}{
		{"marker", marker(false, 2, 1, 1), "", ""},
		{"marker of 2", marker(false, 2, 1, 2), "Okta", "not INTEGER 1"},
		{"marker of 2^64+1", marker(false, 2, 9, 1, 0, 0, 0, 0, 0, 0, 0, 1), "Okta", "not INTEGER 1"},
		{"marker that is critical", marker(true, 2, 1, 1), "Go, OpenSSL", "marker is critical"},
		{"marker that is no DER", marker(false, 2, 9, 1), "strict", "is not DER"},
		{"long serial", func(c *x509.Certificate) {
			c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 158)
		}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := explain.Explain(w.certificate("C02XL0GTJGH5", w.issuer, tt.with, w.client).Raw, options(t))
			if tt.text == "" && d.Strict() || tt.text != "" && !finding(d, explain.Objection, tt.who, tt.text) {
				t.Error(d.Text())
			}
		})
	}
	// x509.CreateCertificate makes none of 21 octets; clients do.
	for name, level := range map[string]explain.Level{"request-strongswan.der": explain.Remark, "request-certmonger.url": explain.Remark} {
		if d := explain.Explain(sample(t, name), options(t)); d.Strict() || !finding(d, level, "strict", "more than 20") {
			t.Error(d.Text())
		}
	}
	good := w.certificate("C02XL0GTJGH5", w.issuer, leafTemplate, w.client)
	o := options(t)
	o.Certificates = []*x509.Certificate{w.issuer}
	if d := explain.Explain(good.Raw, o); d.Strict() {
		t.Error(d.Text())
	}
	forged := bytes.Clone(good.Raw)
	forged[len(forged)-1] ^= 1
	if d := explain.Explain(forged, o); !finding(d, explain.Wrong, "everybody", "does not hold") {
		t.Error(d.Text())
	}
	// The algorithm inside, of which there are two, is made another one.
	inside := bytes.Replace(good.Raw, []byte{0x01, 0x01, 0x0b}, []byte{0x01, 0x01, 0x0c}, 1)
	if d := explain.Explain(inside, o); !finding(d, explain.Objection, "strict", "inside and outside") {
		t.Error(d.Text())
	}
	o.Now = now.Add(48 * time.Hour)
	if d := explain.Explain(good.Raw, o); !bytes.Contains([]byte(d.Text()), []byte("expired")) {
		t.Error(d.Text())
	}
}

// A request's signer is compared with its CSR.
func TestRequestRules(t *testing.T) {
	w := newWorld(t)
	old := w.certificate("old", w.issuer, leafTemplate, w.ra)
	tests := []struct {
		name      string
		signer    *x509.Certificate
		key       *rsa.PrivateKey
		change    func(*craft.Request)
		level     explain.Level
		who, text string
	}{
		{"another key, self-signed", w.certificate("self", nil, raTemplate, w.ra), w.ra, func(*craft.Request) {}, explain.Objection, "understudy", "proves nothing"},
		{"another key, issued", old, w.ra, func(*craft.Request) {}, explain.Remark, "SCEP servers", "not the CSR's"},
		{"CSR with a bad signature", w.owner, w.client, func(r *craft.Request) {
			r.CSR.Signature = func(b []byte) []byte { b[5] ^= 1; return b }
		}, explain.Wrong, "everybody", "does not hold"},
		{"bad padding", w.owner, w.client, func(r *craft.Request) {
			r.Envelope.Padded = func(b []byte) []byte { b[len(b)-1] = 0; return b }
		}, explain.Objection, "understudy", "not_decryptable"},
		{"two challenges", w.owner, w.client, func(r *craft.Request) { r.CSR.Challenges = append(r.CSR.Challenges, r.CSR.Challenges[0]) }, explain.Objection, "understudy", "more than one challengePassword"},
		{"challenge that is no text", w.owner, w.client, func(r *craft.Request) { r.CSR.Challenges = [][]byte{{2, 1, 1}} }, explain.Objection, "understudy", "not a string"},
		{"UpdateReq", w.owner, w.client, func(r *craft.Request) { r.Message.Set(craft.OIDMessageType, craft.Text(printableString, "18")) }, explain.Objection, "every server", "no message type"},
		{"CertPoll with a CSR", w.owner, w.client, func(r *craft.Request) { r.Message.Set(craft.OIDMessageType, craft.Text(printableString, "20")) }, explain.Wrong, "every server", "does not carry this"},
		{"single DES", w.owner, w.client, func(r *craft.Request) { r.Envelope.Cipher = craft.DESCBC }, explain.Objection, "OpenSSL 3", "single DES"},
		{"no nonce", w.owner, w.client, func(r *craft.Request) { r.Message.Set(craft.OIDSenderNonce) }, explain.Objection, "strict", "missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := craft.NewRequest(w.raCert, tt.signer, tt.key, w.client, w.owner.RawSubject, challenge, "id")
			if err != nil {
				t.Fatal(err)
			}
			tt.change(r)
			der, err := r.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if d := explain.Explain(der, options(t)); !finding(d, tt.level, tt.who, tt.text) {
				t.Errorf("no %s of %q about %q:\n%s", tt.level, tt.who, tt.text, d.Text())
			}
		})
	}
}

func TestCapabilityRules(t *testing.T) {
	tests := []struct{ text, who, finding string }{
		{"POSTPKIOperation\nSHA-384\nSHA-256\nAES\n", "", ""},
		{"POSTPKIOperation\nAES\nSHA-384\n", "Apple", "none of SHA-1"},
		{"POSTPKIOperation\nSHA-256\nAES\n", "strongSwan", "SHA-384 is missing"},
		{"POSTPKIOperation\n\nSHA-384\nSHA-256\nAES\n", "strongSwan", "empty line"},
		{"POSTPKIOperation\nSHA-256\n", "OpenSSL 3", "AES is missing"},
	}
	for _, tt := range tests {
		d := explain.Explain([]byte(tt.text), explain.Options{})
		if tt.finding == "" && d.Strict() || tt.finding != "" && !finding(d, explain.Objection, tt.who, tt.finding) {
			t.Errorf("%q: %s", tt.text, d.Text())
		}
	}
}
