package scep_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"

	smallscep "github.com/smallstep/scep"
	mozilla "go.mozilla.org/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/internal/cms"
)

// Cases 21 to 23, 33 and 44, read back by a library that shares nothing with
// the writer.
func TestSuccess(t *testing.T) {
	r := recipient(t)
	issued := certificate(t, "client", "issued", 99)
	for _, c := range []cms.Cipher{cms.AES128CBC, cms.AES256CBC, cms.TripleDESCBC} {
		for _, h := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
			t.Run(c.String()+" "+h.String(), func(t *testing.T) {
				m := decoded(t, honestEnvelope(t, r, c), func(f *forgery) {
					f.hash, f.digestOID = h, cms.DigestOID(h)
					f.certificates = append(f.certificates, certificate(t, "p256", "extra", 5).Raw)
				})
				if _, err := m.Open([]scep.Recipient{r}, options()); err != nil {
					t.Fatal(err)
				}
				reply, err := r.Success(m, now, issued)
				if err != nil {
					t.Fatal(err)
				}
				p7, a := readReply(t, reply)
				a.want(t, "messageType", 19, "3")
				a.want(t, "pkiStatus", 19, "0")
				a.want(t, "transactionID", 19, "ID-1")
				a.want(t, "recipientNonce", 4, "0123456789abcdef")
				a.wantNone(t, "failInfo", "failInfoText")
				if n := a["senderNonce"].Bytes; len(n) != 16 || bytes.Equal(n, m.SenderNonce) {
					t.Errorf("senderNonce = %x", n)
				}
				if !p7.Signers[0].DigestAlgorithm.Algorithm.Equal(cms.DigestOID(h)) ||
					!p7.Signers[0].DigestEncryptionAlgorithm.Algorithm.Equal(cms.OIDRSAEncryption) {
					t.Errorf("algorithms %v, %v", p7.Signers[0].DigestAlgorithm, p7.Signers[0].DigestEncryptionAlgorithm)
				}
				var signed time.Time
				if err := p7.UnmarshalSignedAttribute(cms.OIDSigningTime, &signed); err != nil || !signed.Equal(now) {
					t.Errorf("signingTime = %v, %v", signed, err)
				}
				checkEnvelope(t, p7.Content, c, issued)
			})
		}
	}
}

// checkEnvelope decrypts with the independent library and looks for exactly one
// certificate.
func checkEnvelope(t *testing.T, der []byte, c cms.Cipher, issued *x509.Certificate) {
	t.Helper()
	if !bytes.Contains(der, oid(c.OID()...)) {
		t.Error("envelope has another cipher")
	}
	inner, err := mozilla.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	client := certificate(t, "client", "8b8ad4b0-4ad7-4d0f-9b3f-1b2d7f2a7a11", 1)
	content, err := inner.Decrypt(client, loadKey(t, "client"))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := mozilla.Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	if len(bundle.Certificates) != 1 || !bundle.Certificates[0].Equal(issued) || len(bundle.Signers) != 0 {
		t.Errorf("bundle has %d certificates and %d signers", len(bundle.Certificates), len(bundle.Signers))
	}
	// One recipient, with NULL in the key transport algorithm.
	var info struct {
		Type    asn1.ObjectIdentifier
		Content struct {
			Version    int
			Recipients []struct {
				Version   int
				ID        asn1.RawValue
				Algorithm asn1.RawValue
				Key       []byte
			} `asn1:"set"`
			Content asn1.RawValue
		} `asn1:"explicit,tag:0"`
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		t.Fatal(err)
	}
	if len(info.Content.Recipients) != 1 || !bytes.Equal(info.Content.Recipients[0].Algorithm.FullBytes, algorithm(cms.OIDRSAEncryption)) {
		t.Errorf("recipients = %v", info.Content.Recipients)
	}
}

// The replies are also what smallstep/scep expects.
func TestRepliesForSmallstep(t *testing.T) {
	r := recipient(t)
	m := decoded(t, honestEnvelope(t, r, cms.AES128CBC))
	issued := certificate(t, "client", "issued", 99)
	client := certificate(t, "client", "8b8ad4b0-4ad7-4d0f-9b3f-1b2d7f2a7a11", 1)
	reply, err := r.Success(m, now, issued)
	if err != nil {
		t.Fatal(err)
	}
	got, err := smallscep.ParsePKIMessage(reply)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.DecryptPKIEnvelope(client, loadKey(t, "client")); err != nil {
		t.Fatal(err)
	}
	if got.PKIStatus != smallscep.SUCCESS || !got.Certificate.Equal(issued) {
		t.Errorf("status %s", string(got.PKIStatus))
	}
	reply, err = r.Failure(m, now, refusal.New(refusal.KeyRejected, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err = smallscep.ParsePKIMessage(reply); err != nil || got.PKIStatus != smallscep.FAILURE || got.FailInfo != smallscep.BadRequest {
		t.Errorf("FAILURE: %v", err)
	}
	reply, err = r.Pending(m, now)
	if err != nil {
		t.Fatal(err)
	}
	if got, err = smallscep.ParsePKIMessage(reply); err != nil || got.PKIStatus != smallscep.PENDING {
		t.Errorf("PENDING: %v", err)
	}
}

// A request that smallstep's client makes, in its default cipher and digest,
// which are DES and SHA-1.
func TestSmallstepClient(t *testing.T) {
	r := recipient(t)
	request, err := x509.ParseCertificateRequest(csr(t, "client", passwordText("secret")))
	if err != nil {
		t.Fatal(err)
	}
	message, err := smallscep.NewCSRRequest(request, &smallscep.PKIMessage{
		MessageType: smallscep.PKCSReq, Recipients: []*x509.Certificate{r.Certificate},
		SignerCert: certificate(t, "client", "client", 1), SignerKey: loadKey(t, "client"),
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := scep.Decode(message.Raw, options())
	if err != nil {
		t.Fatal(err)
	}
	if m.TransactionID != string(message.TransactionID) || m.Digest != crypto.SHA1 {
		t.Errorf("transactionID %q, digest %v", m.TransactionID, m.Digest)
	}
	_, err = m.Open([]scep.Recipient{r}, options())
	wantRefusal(t, err, refusal.UnsupportedAlgorithm, scep.BadAlg)
	if refused, _ := refusal.Of(err); !strings.Contains(refused.Text, "DES-CBC") {
		t.Errorf("text = %q, want the cipher's name in it", refused.Text)
	}

	allowed := options()
	allowed.AllowDES = true
	enrolment, err := m.Open([]scep.Recipient{r}, allowed)
	if err != nil {
		t.Fatal(err)
	}
	if got := enrolment.ChallengePassword.Reveal(); got != "secret" {
		t.Errorf("challenge = %q", got)
	}
	if !slices.Contains(m.Warnings, scep.WarnDES) {
		t.Errorf("warnings = %v, want %s among them", m.Warnings, scep.WarnDES)
	}
	reply, err := r.Success(m, now, certificate(t, "client", "client", 2))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(reply, oid(cms.AES128CBC.OID()...)) {
		t.Error("the reply to a request in DES is not in AES-128-CBC")
	}
}

// The envelope names the signer's issuer as the certificate does, byte for
// byte.
func TestReplyCopiesIssuer(t *testing.T) {
	r := recipient(t)
	key := loadKey(t, "client").(*rsa.PrivateKey)
	odd := sequence(setOf(sequence(oid(2, 5, 4, 3), element(cbasn1.T61String, []byte("gr\xfc\xdf")))))
	template := &x509.Certificate{SerialNumber: certificate(t, "client", "x", 300).SerialNumber, RawSubject: odd,
		Subject: pkix.Name{CommonName: "x"}, NotBefore: now, NotAfter: now.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	m := decoded(t, nil, func(f *forgery) {
		if f.signer, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		f.certificates = [][]byte{der}
	})
	reply, err := r.Success(m, now, r.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	var b cryptobyte.Builder
	b.AddASN1BigInt(template.SerialNumber)
	if !bytes.Contains(reply, sequence(odd, b.BytesOrPanic())) {
		t.Error("issuer and serial number are not those of the certificate")
	}
}
