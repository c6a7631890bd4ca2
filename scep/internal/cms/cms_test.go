package cms_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mozilla "go.mozilla.org/pkcs7"

	"understudy.example/understudy/scep/internal/cms"
)

func readPEM(tb testing.TB, path ...string) []byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(text)
	return block.Bytes
}

// identity returns the golden certificate and its key.
func identity(tb testing.TB) (*x509.Certificate, *rsa.PrivateKey) {
	tb.Helper()
	cert, err := x509.ParseCertificate(readPEM(tb, "testdata", "signer.pem"))
	if err != nil {
		tb.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(readPEM(tb, "..", "..", "testdata", "keys", "client.pem"))
	if err != nil {
		tb.Fatal(err)
	}
	return cert, key.(*rsa.PrivateKey)
}

func signedData(tb testing.TB) cms.SignedData {
	cert, key := identity(tb)
	return cms.SignedData{
		Content: []byte("content"),
		Digest:  crypto.SHA256,
		Attributes: []cms.Attribute{
			{Type: asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 7}, Value: []byte("\x13\x02ID")},
			{Type: asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 2}, Value: []byte("\x13\x013")},
		},
		Certificates: []*x509.Certificate{cert},
		Signer:       cert,
		Key:          key,
	}
}

// The bytes of a SignedData, which "openssl cms -verify -inform DER -noverify"
// accepts. They are the same each time, for PKCS #1 v1.5 is deterministic.
func TestSignGolden(t *testing.T) {
	got, err := cms.Sign(rand.Reader, signedData(t))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join("testdata", "signed.der"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("SignedData = %x, want %x", got, want)
	}
}

// What is read back with encoding/asn1, which knows nothing of the writer.
type parsedSignedData struct {
	Type    asn1.ObjectIdentifier
	Content struct {
		Version      int
		Digests      []pkix.AlgorithmIdentifier `asn1:"set"`
		Encapsulated struct {
			Type    asn1.ObjectIdentifier
			Content asn1.RawValue `asn1:"optional,tag:0"`
		}
		Certificates asn1.RawValue `asn1:"optional,tag:0"`
		CRLs         asn1.RawValue `asn1:"optional,tag:1"`
		Signers      []struct {
			Version            int
			ID                 asn1.RawValue
			Digest             pkix.AlgorithmIdentifier
			Attributes         asn1.RawValue `asn1:"tag:0"`
			SignatureAlgorithm asn1.RawValue
			Signature          []byte
		} `asn1:"set"`
	} `asn1:"explicit,tag:0"`
}

func parse(tb testing.TB, der []byte) parsedSignedData {
	tb.Helper()
	var p parsedSignedData
	if rest, err := asn1.Unmarshal(der, &p); err != nil || len(rest) > 0 {
		tb.Fatalf("not DER: %v, %d bytes left", err, len(rest))
	}
	return p
}

func TestSign(t *testing.T) {
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		for _, content := range []string{"", "content", strings.Repeat("long", 1000)} {
			s := signedData(t)
			s.Digest, s.Content = h, []byte(content)
			der, err := cms.Sign(rand.Reader, s)
			if err != nil {
				t.Fatal(err)
			}
			p7, err := mozilla.Parse(der)
			if err != nil {
				t.Fatal(err)
			}
			if err := p7.Verify(); err != nil || string(p7.Content) != content {
				t.Errorf("%v, %d bytes: %v", h, len(content), err)
			}
			p := parse(t, der)
			want, err := asn1.Marshal([]byte(content))
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Content.Encapsulated.Content; !bytes.Equal(got.Bytes, want) {
				t.Errorf("%v, %d bytes: content is %x, not an OCTET STRING", h, len(content), got.FullBytes)
			}
			if want := []byte("\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"); !bytes.Equal(p.Content.Signers[0].SignatureAlgorithm.FullBytes, want) {
				t.Errorf("signature algorithm = %x, want rsaEncryption with NULL", p.Content.Signers[0].SignatureAlgorithm.FullBytes)
			}
			if !sorted(t, p.Content.Signers[0].Attributes.Bytes) {
				t.Error("attributes are not in the order of DER")
			}
		}
	}
}

func sorted(tb testing.TB, attributes []byte) bool {
	tb.Helper()
	var all [][]byte
	for len(attributes) > 0 {
		var a asn1.RawValue
		rest, err := asn1.Unmarshal(attributes, &a)
		if err != nil {
			tb.Fatal(err)
		}
		all, attributes = append(all, a.FullBytes), rest
	}
	return len(all) == 4 && slices.IsSortedFunc(all, bytes.Compare)
}

func TestSignErrors(t *testing.T) {
	ec, err := x509.ParsePKCS8PrivateKey(readPEM(t, "..", "..", "testdata", "keys", "p256.pem"))
	if err != nil {
		t.Fatal(err)
	}
	s := signedData(t)
	s.Key, s.Digest = ec.(*ecdsa.PrivateKey), crypto.SHA1
	if _, err := cms.Sign(rand.Reader, s); err == nil {
		t.Error("signed by ECDSA with SHA-1")
	}
	s = signedData(t)
	if _, s.Key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, err := cms.Sign(rand.Reader, s); err == nil {
		t.Error("signed with an Ed25519 key")
	}
	s = signedData(t)
	s.Attributes = append(s.Attributes, cms.Attribute{Type: asn1.ObjectIdentifier{1}})
	if _, err := cms.Sign(rand.Reader, s); err == nil {
		t.Error("signed an attribute without a type")
	}
}

// Contents of every length around the blocks.
func TestEnvelope(t *testing.T) {
	cert, key := identity(t)
	for _, c := range []cms.Cipher{cms.AES128CBC, cms.AES256CBC, cms.TripleDESCBC} {
		var previous []byte
		for n := range 34 {
			content := bytes.Repeat([]byte{'x'}, n)
			der, err := cms.Envelope(rand.Reader, content, c, cert)
			if err != nil {
				t.Fatal(err)
			}
			p7, err := mozilla.Parse(der)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p7.Decrypt(cert, key); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%v, %d bytes: %q, %v", c, n, got, err)
			}
			if bytes.Equal(der, previous) {
				t.Error("two envelopes are the same")
			}
			previous = der
		}
	}
}

func TestEnvelopeErrors(t *testing.T) {
	cert, _ := identity(t)
	if _, err := cms.Envelope(bytes.NewReader(make([]byte, 31)), nil, cms.AES128CBC, cert); err == nil {
		t.Error("encrypted with too little randomness")
	}
	if _, err := cms.Envelope(rand.Reader, nil, cms.AES128CBC, &x509.Certificate{PublicKey: &ecdsa.PublicKey{}}); err == nil {
		t.Error("encrypted to an EC key")
	}
	if _, err := cms.Envelope(rand.Reader, []byte("content"), cms.DESCBC, cert); err == nil {
		t.Error("encrypted with DES")
	}
}

func TestBundle(t *testing.T) {
	a, key := identity(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "b"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	for _, certs := range [][]*x509.Certificate{{a, b}, {b, a}, {a}} {
		der, err := cms.Bundle(certs, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := parse(t, der)
		var want []byte
		for _, c := range certs {
			want = append(want, c.Raw...)
		}
		if !bytes.Equal(p.Content.Certificates.Bytes, want) {
			t.Error("certificates are others, or in another order")
		}
		if p.Content.Version != 1 || len(p.Content.Digests)+len(p.Content.Signers)+len(p.Content.Encapsulated.Content.FullBytes) > 0 {
			t.Errorf("bundle is more than certificates: %+v", p.Content)
		}
	}
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), NextUpdate: time.Now()},
		&x509.Certificate{KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}, RawSubject: a.RawSubject}, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err = cms.Bundle(nil, [][]byte{crl})
	if err != nil {
		t.Fatal(err)
	}
	if p := parse(t, der); len(p.Content.Certificates.FullBytes) > 0 || !bytes.Equal(p.Content.CRLs.Bytes, crl) {
		t.Error("bundle is not the CRL alone")
	}
	if _, err := cms.Bundle(nil, nil); err == nil {
		t.Error("a bundle of nothing")
	}
}

func TestAlgorithms(t *testing.T) {
	for _, test := range []struct {
		cipher     cms.Cipher
		name       string
		key, block int
	}{
		{cms.AES128CBC, "AES-128-CBC", 16, 16},
		{cms.AES256CBC, "AES-256-CBC", 32, 16},
		{cms.TripleDESCBC, "DES-EDE3-CBC", 24, 8},
		{cms.DESCBC, "DES-CBC", 8, 8},
	} {
		c, ok := cms.CipherOf(test.cipher.OID())
		if !ok || c != test.cipher || c.String() != test.name || c.KeyLen() != test.key || c.BlockLen() != test.block {
			t.Errorf("%s: %v %d %d", test.name, c, c.KeyLen(), c.BlockLen())
		}
		for _, n := range []int{0, 8, 16, 24, 32} {
			if _, err := c.Block(make([]byte, n)); (err == nil) != (n == test.key) {
				t.Errorf("%s: key of %d bytes: %v", test.name, n, err)
			}
		}
	}
	for _, refused := range []asn1.ObjectIdentifier{{1, 2, 840, 113549, 3, 2}, {2, 16, 840, 1, 101, 3, 4, 1, 22}, {2, 16, 840, 1, 101, 3, 4, 1, 6}} {
		if c, ok := cms.CipherOf(refused); ok {
			t.Errorf("%v is %v", refused, c)
		}
	}
	for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if got, ok := cms.DigestOf(cms.DigestOID(h)); !ok || got != h {
			t.Errorf("%v is %v", h, got)
		}
	}
	if h, ok := cms.DigestOf(asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}); ok {
		t.Errorf("MD5 is %v", h)
	}
	if s := cms.Cipher(0).String(); s != "" {
		t.Errorf("no cipher is %q", s)
	}
}
