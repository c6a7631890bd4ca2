package craft_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	smallscep "github.com/smallstep/scep"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/scep/client/craft"
)

var (
	raKey     = sync.OnceValue(newKey)
	deviceKey = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

func selfSigned(t *testing.T, cn string, key crypto.Signer) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(cn))), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		SubjectKeyId: []byte{1, 2, 3},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func honest(t *testing.T) (r *craft.Request, ra *x509.Certificate) {
	t.Helper()
	ra = selfSigned(t, "RA", raKey())
	subject, err := asn1.Marshal(pkix.Name{CommonName: "device"}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	r, err = craft.NewRequest(ra, selfSigned(t, "signer", deviceKey()), deviceKey(), deviceKey(), subject, "challenge0000000", "tx-1")
	if err != nil {
		t.Fatal(err)
	}
	return r, ra
}

func encode(t *testing.T, r *craft.Request) []byte {
	t.Helper()
	raw, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestHonestRequest has smallstep/scep read what is not changed, and what is
// merely odd: then a refusal elsewhere is due to the change alone.
func TestHonestRequest(t *testing.T) {
	cases := map[string]func(*craft.Request){
		"as it is": func(*craft.Request) {},
		"AES-256":  func(r *craft.Request) { r.Envelope.Cipher = craft.AES256CBC },
		"3DES":     func(r *craft.Request) { r.Envelope.Cipher = craft.TripleDESCBC },
		"DES":      func(r *craft.Request) { r.Envelope.Cipher = craft.DESCBC },
		"SHA-1":    func(r *craft.Request) { r.Message.Digest = crypto.SHA1 },
		"SHA-512":  func(r *craft.Request) { r.Message.Digest = crypto.SHA512 },
		"OAEP":     func(r *craft.Request) { r.Envelope.OAEP = crypto.SHA1 },
		"OAEP 256": func(r *craft.Request) { r.Envelope.OAEP = crypto.SHA256 },
		"BMP":      func(r *craft.Request) { r.CSR.Challenges = [][]byte{craft.Text(craft.BMPString, "challenge0000000")} },
		"two certs": func(r *craft.Request) {
			r.Message.Certificates = append(r.Message.Certificates, r.Envelope.Recipients[0].Certificate.Raw)
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			r, ra := honest(t)
			change(r)
			message, err := smallscep.ParsePKIMessage(encode(t, r))
			if err != nil {
				t.Fatal(err)
			}
			if err := message.DecryptPKIEnvelope(ra, raKey()); err != nil {
				t.Fatal(err)
			}
			if message.ChallengePassword != "challenge0000000" || message.TransactionID != "tx-1" || message.CSR.Subject.CommonName != "device" {
				t.Errorf("read challenge %q, transaction %q, subject %v", message.ChallengePassword, message.TransactionID, message.CSR.Subject)
			}
			if err := message.CSR.CheckSignature(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestIndefinite(t *testing.T) {
	r, ra := honest(t)
	envelope := r.Envelope
	csr, err := r.CSR.Encode()
	if err != nil {
		t.Fatal(err)
	}
	envelope.Content = csr
	der, err := envelope.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if r.Message.Content, err = craft.Indefinite(der); err != nil {
		t.Fatal(err)
	}
	inner, err := pkcs7.Parse(r.Message.Content)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := inner.Decrypt(ra, raKey()); err != nil || !bytes.Equal(got, csr) {
		t.Errorf("envelope in BER gave %d bytes, %v", len(got), err)
	}
	r.Message.Content = []byte("short")
	ber, err := craft.Indefinite(encode(t, r))
	if err != nil {
		t.Fatal(err)
	}
	if ber[1] != 0x80 {
		t.Error("message is not in BER")
	}
	if outer, err := pkcs7.Parse(ber); err != nil {
		t.Error(err)
	} else if err := outer.Verify(); err != nil {
		t.Errorf("signature over the message in BER: %v", err)
	}
}

// TestChanges looks at what the changes that nobody can read back leave.
func TestChanges(t *testing.T) {
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		change func(*craft.Request)
		want   func(*pkcs7.PKCS7) bool
	}{
		"two signers": {func(r *craft.Request) { r.Message.SignerInfos = 2 }, func(p *pkcs7.PKCS7) bool { return len(p.Signers) == 2 }},
		"no signer":   {func(r *craft.Request) { r.Message.SignerInfos = -1 }, func(p *pkcs7.PKCS7) bool { return len(p.Signers) == 0 }},
		"no certificates": {func(r *craft.Request) { r.Message.NoCertificates = true }, func(p *pkcs7.PKCS7) bool {
			return len(p.Certificates) == 0 && len(p.Signers) == 1
		}},
		"no attributes": {func(r *craft.Request) { r.Message.NoAttributes = true }, func(p *pkcs7.PKCS7) bool {
			return len(p.Signers[0].AuthenticatedAttributes) == 0 && p.Verify() == nil
		}},
		"no content": {func(r *craft.Request) { r.Message.NoContent = true }, func(p *pkcs7.PKCS7) bool { return len(p.Content) == 0 }},
		"bad signature": {func(r *craft.Request) {
			r.Message.Signature = func(s []byte) []byte { s[0] ^= 1; return s }
		}, func(p *pkcs7.PKCS7) bool { return p.Verify() != nil }},
		"attribute removed": {func(r *craft.Request) { r.Message.Set(craft.OIDSenderNonce) }, func(p *pkcs7.PKCS7) bool {
			return len(p.Signers[0].AuthenticatedAttributes) == 4
		}},
		"attribute with two values": {func(r *craft.Request) {
			r.Message.Set(craft.OIDSenderNonce, craft.Octets([]byte{1}), craft.Octets([]byte{2}))
		}, func(p *pkcs7.PKCS7) bool {
			var nonce []byte
			return p.UnmarshalSignedAttribute(craft.OIDSenderNonce, &nonce) == nil && bytes.Equal(nonce, []byte{1})
		}},
		"claimed MD5": {func(r *craft.Request) { r.Message.Digest = crypto.MD5 }, func(p *pkcs7.PKCS7) bool {
			return p.Signers[0].DigestAlgorithm.Algorithm.String() == "1.2.840.113549.2.5"
		}},
		"EC signer": {func(r *craft.Request) {
			r.Message.Signer, r.Message.Key = selfSigned(t, "EC", ecKey), ecKey
			r.Message.Certificates = [][]byte{r.Message.Signer.Raw}
		}, func(p *pkcs7.PKCS7) bool { return p.Verify() == nil }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r, _ := honest(t)
			c.change(r)
			p, err := pkcs7.Parse(encode(t, r))
			if err != nil {
				t.Fatal(err)
			}
			if !c.want(p) {
				t.Error("the change does not show")
			}
		})
	}
}

func TestSetAndGet(t *testing.T) {
	r, _ := honest(t)
	r.Message.Set(craft.OIDTransactionID, craft.Text(cbasn1.UTF8String, "tx-2"))
	if got := r.Message.Get(craft.OIDTransactionID); string(got) != "\x0c\x04tx-2" {
		t.Errorf("got %q", got)
	}
	if got := craft.Text(craft.BMPString, "ä"); !bytes.Equal(got, []byte{0x1e, 2, 0, 0xe4}) {
		t.Errorf("BMPString is % x", got)
	}
}
