package scep_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/internal/cms"
)

// Case 46: OAEP. Unknown parameters are named.
func TestOpenOAEP(t *testing.T) {
	r := recipient(t)
	oaep := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}
	mgf1 := func(h crypto.Hash) []byte {
		return sequence(oid(1, 2, 840, 113549, 1, 1, 8), algorithm(cms.DigestOID(h)))
	}
	params := func(hash, mgf crypto.Hash, more ...[]byte) []byte {
		parts := [][]byte{element(context0, algorithm(cms.DigestOID(hash))), element(cbasn1.Tag(0xa1), mgf1(mgf))}
		return sequence(append(parts, more...)...)
	}
	label := func(text string) []byte {
		return element(cbasn1.Tag(0xa2), sequence(oid(1, 2, 840, 113549, 1, 1, 9), octets(text)))
	}
	for _, test := range []struct {
		name      string
		params    []byte
		hash, mgf crypto.Hash
		reason    refusal.Reason
	}{
		{"no parameters", nil, crypto.SHA1, crypto.SHA1, ""},
		{"default parameters", sequence(), crypto.SHA1, crypto.SHA1, ""},
		{"SHA-256", params(crypto.SHA256, crypto.SHA256), crypto.SHA256, crypto.SHA256, ""},
		{"SHA-256 with MGF1 over SHA-1", params(crypto.SHA256, crypto.SHA1), crypto.SHA256, crypto.SHA1, ""},
		{"empty label", params(crypto.SHA1, crypto.SHA1, label("")), crypto.SHA1, crypto.SHA1, ""},
		{"a label", params(crypto.SHA1, crypto.SHA1, label("x")), crypto.SHA1, crypto.SHA1, refusal.UnsupportedAlgorithm},
		{"SHA-512", params(crypto.SHA512, crypto.SHA512), crypto.SHA512, crypto.SHA512, refusal.UnsupportedAlgorithm},
		{"other than said", params(crypto.SHA256, crypto.SHA256), crypto.SHA1, crypto.SHA1, refusal.NotDecryptable},
	} {
		t.Run(test.name, func(t *testing.T) {
			content := csr(t, "client")
			f, key := forgeEnvelope(t, r.Certificate, cms.AES128CBC, content, pad(cms.AES128CBC, content))
			encrypted, err := rsa.EncryptOAEPWithOptions(rand.Reader, r.Certificate.PublicKey.(*rsa.PublicKey), key,
				&rsa.OAEPOptions{Hash: test.hash, MGFHash: test.mgf})
			if err != nil {
				t.Fatal(err)
			}
			f.recipients = [][]byte{recipientInfo(issuerAndSerial(r.Certificate), sequence(oid(oaep...), test.params), encrypted)}
			_, err = decoded(t, f.der()).Open([]scep.Recipient{r}, options())
			switch {
			case test.reason == "" && err != nil:
				t.Error(err)
			case test.reason != "":
				info := scep.BadMessageCheck
				if test.reason == refusal.UnsupportedAlgorithm {
					info = scep.BadAlg
				}
				wantRefusal(t, err, test.reason, info)
			}
		})
	}
}

// A38: the ways to name a recipient.
func TestOpenFindsRecipient(t *testing.T) {
	r := recipient(t)
	stranger := certificate(t, "other", "Stranger", 9)
	content := csr(t, "client")
	strict := options()
	strict.Strict = true
	reencoded := rawName(cbasn1.UTF8String, "RA")
	if bytes.Equal(reencoded, r.Certificate.RawIssuer) {
		t.Fatal("the issuer is not encoded otherwise")
	}
	skid := element(primitive, r.Certificate.SubjectKeyId)
	by := func(id []byte) func(*forgedEnvelope, []byte) {
		return func(f *forgedEnvelope, key []byte) {
			info := transport(t, r.Certificate, key)
			s := cryptobyte.String(info)
			var body, skipped, rest cryptobyte.String
			var tag cbasn1.Tag
			s.ReadASN1(&body, cbasn1.SEQUENCE)
			body.ReadAnyASN1Element(&skipped, &tag)
			body.ReadAnyASN1Element(&rest, &tag)
			f.recipients = [][]byte{sequence(skipped, id, body)}
		}
	}
	for _, test := range []struct {
		name    string
		change  func(*forgedEnvelope, []byte)
		options scep.Options
		found   bool
	}{
		{"issuer and serial", func(*forgedEnvelope, []byte) {}, strict, true},
		{"subject key identifier", by(skid), options(), true},
		{"empty subject key identifier", by(element(primitive)), options(), false},
		{"another subject key identifier", by(element(primitive, []byte("x"))), options(), false},
		{"issuer encoded otherwise", by(sequence(reencoded, integer(7))), options(), true},
		{"issuer encoded otherwise, strict", by(sequence(reencoded, integer(7))), strict, false},
		{"issuer as BMPString", by(sequence(rawName(cbasn1.Tag(30), "\x00R\x00A"), integer(7))), options(), true},
		{"another issuer", by(sequence(rawName(utf8Tag, "RB"), integer(7))), options(), false},
		{"issuer in other case", by(sequence(rawName(utf8Tag, "ra"), integer(7))), options(), false},
		{"issuer with an attribute more", by(sequence(sequence(setOf(
			sequence(oid(2, 5, 4, 3), element(utf8Tag, []byte("RA"))), sequence(oid(2, 5, 4, 10), element(utf8Tag, []byte("x"))))), integer(7))), options(), false},
		{"issuer with an attribute less", by(sequence(sequence(setOf()), integer(7))), options(), false},
		{"issuer with another attribute", by(sequence(sequence(setOf(sequence(oid(2, 5, 4, 10), element(utf8Tag, []byte("RA"))))), integer(7))), options(), false},
		{"no issuer", by(sequence(sequence(), integer(7))), options(), false},
		{"second of two", func(f *forgedEnvelope, key []byte) {
			f.recipients = slices.Insert(f.recipients, 0, transport(t, stranger, key))
		}, options(), true},
		{"first of four", func(f *forgedEnvelope, key []byte) {
			for range 3 {
				f.recipients = append(f.recipients, transport(t, stranger, key))
			}
		}, options(), true},
		{"beside a password recipient", func(f *forgedEnvelope, key []byte) {
			f.recipients = append(f.recipients, element(cbasn1.Tag(0xa3), integer(0)))
		}, options(), true},
		{"beside a stranger with unknown key transport", func(f *forgedEnvelope, key []byte) {
			f.recipients = append(f.recipients, recipientInfo(issuerAndSerial(stranger), algorithm(oidMD5), []byte("x")))
		}, options(), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, key := forgeEnvelope(t, r.Certificate, cms.AES128CBC, content, pad(cms.AES128CBC, content))
			test.change(f, key)
			_, err := decoded(t, f.der()).Open([]scep.Recipient{r}, test.options)
			if test.found {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, err, refusal.NotDecryptable, scep.BadMessageCheck)
		})
	}
}

func rawName(tag cbasn1.Tag, text string) []byte {
	return sequence(setOf(sequence(oid(2, 5, 4, 3), element(tag, []byte(text)))))
}

// A recipient without a subject key identifier is not one with an empty one.
func TestOpenWithoutSubjectKeyID(t *testing.T) {
	r := recipient(t)
	bare := *r.Certificate
	bare.SubjectKeyId = nil
	content := csr(t, "client")
	f, key := forgeEnvelope(t, r.Certificate, cms.AES128CBC, content, pad(cms.AES128CBC, content))
	//lint:ignore SA1019 what SCEP uses
	encrypted, err := rsa.EncryptPKCS1v15(rand.Reader, bare.PublicKey.(*rsa.PublicKey), key)
	if err != nil {
		t.Fatal(err)
	}
	f.recipients = [][]byte{recipientInfo(element(primitive), algorithm(cms.OIDRSAEncryption), encrypted)}
	_, err = decoded(t, f.der()).Open([]scep.Recipient{{Certificate: &bare, Key: r.Key}}, options())
	wantRefusal(t, err, refusal.NotDecryptable, scep.BadMessageCheck)
}

// A retired RA still reads what is addressed to it.
func TestOpenWithRetiredRecipient(t *testing.T) {
	current := recipient(t)
	retired := scep.Recipient{Certificate: certificate(t, "other", "Old RA", 3), Key: loadKey(t, "other").(*rsa.PrivateKey)}
	m := decoded(t, honestEnvelope(t, retired, cms.AES128CBC))
	if _, err := m.Open([]scep.Recipient{current, retired}, options()); err != nil {
		t.Error(err)
	}
	if _, err := m.Open(nil, options()); err == nil {
		t.Error("opened without a key")
	} else if _, ok := refusal.Of(err); ok {
		t.Errorf("having no key is the client's fault: %v", err)
	}
}

// A module that ignores SessionKeyLen: errors and wrong lengths must end in the
// uniform refusal, not in another one.
func TestOpenWithForeignDecrypter(t *testing.T) {
	r := recipient(t)
	key := r.Key
	envelope := honestEnvelope(t, r, cms.AES128CBC)
	for _, test := range []struct {
		name    string
		decrypt func([]byte, error) ([]byte, error)
	}{
		{"error", func([]byte, error) ([]byte, error) { return nil, errors.New("module: bad padding") }},
		{"nothing", func([]byte, error) ([]byte, error) { return nil, nil }},
		{"too long", func(key []byte, err error) ([]byte, error) { return append(key, 0), err }},
		{"too short", func(key []byte, err error) ([]byte, error) { return key[:15], err }},
		{"error with the key", func(key []byte, _ error) ([]byte, error) { return key, errors.New("module: bad padding") }},
		{"panic", func([]byte, error) ([]byte, error) { panic("module") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			r.Key = module{key, test.decrypt}
			_, err := decoded(t, envelope).Open([]scep.Recipient{r}, options())
			refused, ok := refusal.Of(err)
			if !ok || refused.Reason != refusal.NotDecryptable {
				t.Errorf("error = %v", err)
			}
			var p *scep.PanicError
			if errors.As(err, &p) != (test.name == "panic") {
				t.Errorf("panic = %v", p)
			}
		})
	}
}

type module struct {
	scep.Key
	decrypt func(key []byte, err error) ([]byte, error)
}

func (m module) Decrypt(random io.Reader, ciphertext []byte, o crypto.DecrypterOpts) ([]byte, error) {
	return m.decrypt(m.Key.Decrypt(random, ciphertext, o))
}

// When the random source is dry, the server is at fault and not the client.
func TestOpenWithoutRandom(t *testing.T) {
	r := recipient(t)
	r.Random = strings.NewReader("")
	_, err := decoded(t, honestEnvelope(t, r, cms.AES128CBC)).Open([]scep.Recipient{r}, options())
	if _, ok := refusal.Of(err); err == nil || ok {
		t.Errorf("error = %v, want an internal one", err)
	}
}
