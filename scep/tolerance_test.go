package scep_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/internal/cms"
)

// Case 43: a Windows signer, whose authorityKeyIdentifier is critical.
func TestDecodeWindowsSigner(t *testing.T) {
	key := loadKey(t, "client")
	keyID, err := asn1.Marshal(struct {
		ID []byte `asn1:"tag:0"`
	}{[]byte("0123456789")})
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: "Windows"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 35}, Critical: true, Value: keyID}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x509.ParseCertificate(der); err == nil {
		t.Fatal("crypto/x509 reads the certificate: the test tests nothing")
	}
	f := forge(t, []byte("envelope"))
	f.signer = &x509.Certificate{Raw: der, RawIssuer: rawSubject(t, template.Subject), SerialNumber: template.SerialNumber}
	f.certificates = [][]byte{der}
	m, err := scep.Decode(f.der(t), options())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Signer.Raw, der) {
		t.Error("signer is another certificate")
	}
}

// The signature covers the attributes in the order of DER, however they come
// (RFC 5652 §5.4).
func TestDecodeUnsortedAttributes(t *testing.T) {
	f := forge(t, []byte("envelope"))
	f.unsorted = true
	if _, err := scep.Decode(f.der(t), options()); err != nil {
		t.Error(err)
	}
}

func rawSubject(tb testing.TB, name pkix.Name) []byte {
	der, err := asn1.Marshal(name.ToRDNSequence())
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// toIndefinite rewrites DER with indefinite lengths, and OCTET STRINGs in
// pieces.
func toIndefinite(tb testing.TB, s cryptobyte.String) []byte {
	var out []byte
	for !s.Empty() {
		var whole, inner cryptobyte.String
		var tag cbasn1.Tag
		if !s.ReadAnyASN1Element(&whole, &tag) {
			tb.Fatal("sample is malformed")
		}
		rest := whole
		rest.ReadAnyASN1(&inner, &tag)
		switch {
		case tag == cbasn1.OCTET_STRING && len(inner) > 1:
			out = append(out, 0x24, 0x80)
			out = append(out, element(tag, inner[:1])...)
			out = append(out, element(tag, inner[1:])...)
			out = append(out, 0, 0)
		case tag&0x20 != 0:
			out = append(out, byte(tag), 0x80)
			out = append(out, toIndefinite(tb, inner)...)
			out = append(out, 0, 0)
		default:
			out = append(out, whole...)
		}
	}
	return out
}

// Case 45: BER in message and envelope.
func TestDecodeBER(t *testing.T) {
	r := recipient(t)
	der := honestEnvelope(t, r, cms.AES256CBC)
	raw := toIndefinite(t, forge(t, toIndefinite(t, der)).der(t))
	if isDER, fault := scep.Scan(raw); isDER || fault != scep.WellFormed {
		t.Fatalf("sample: DER %v, %s", isDER, fault)
	}
	m, err := scep.Decode(raw, options())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.Warnings, []string{scep.WarnBER}) {
		t.Errorf("warnings = %q", m.Warnings)
	}
	e, err := m.Open([]scep.Recipient{r}, options())
	if err != nil {
		t.Fatal(err)
	}
	if e.ChallengePassword.Reveal() != "secret" || m.Cipher() != "AES-256-CBC" {
		t.Errorf("password %q, cipher %s", e.ChallengePassword.Reveal(), m.Cipher())
	}
}
