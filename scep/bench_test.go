package scep_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"math"
	"testing"
	"time"

	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/internal/cms"
)

// One enrolment without issuing the certificate.
func BenchmarkEnrolment(b *testing.B) {
	r := recipient(b)
	raw := honest(b, r)
	issued := certificate(b, "client", "issued", 99)
	b.ReportAllocs()
	for b.Loop() {
		m, err := scep.Decode(raw, options())
		if err != nil {
			b.Fatal(err)
		}
		if _, err := m.Open([]scep.Recipient{r}, options()); err != nil {
			b.Fatal(err)
		}
		if _, err := r.Success(m, now, issued); err != nil {
			b.Fatal(err)
		}
	}
}

// The RSA operations in BenchmarkEnrolment, bare: the message's and the CSR's
// signature verified, the content key decrypted, another one encrypted, the
// reply signed.
func BenchmarkEnrolmentRSAOnly(b *testing.B) {
	client := loadKey(b, "client").(*rsa.PrivateKey)
	ra := loadKey(b, "ra").(*rsa.PrivateKey)
	digest, key := make([]byte, 32), make([]byte, 16)
	signature, err := client.Sign(rand.Reader, digest, crypto.SHA256)
	if err != nil {
		b.Fatal(err)
	}
	//lint:ignore SA1019 what SCEP uses
	encrypted, err := rsa.EncryptPKCS1v15(rand.Reader, &ra.PublicKey, key)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for range 2 {
			if err := rsa.VerifyPKCS1v15(&client.PublicKey, crypto.SHA256, digest, signature); err != nil {
				b.Fatal(err)
			}
		}
		//lint:ignore SA1019 what SCEP uses
		_, errDecrypt := ra.Decrypt(rand.Reader, encrypted, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: 16})
		//lint:ignore SA1019 what SCEP uses
		_, errEncrypt := rsa.EncryptPKCS1v15(rand.Reader, &client.PublicKey, key)
		_, errSign := ra.Sign(rand.Reader, digest, crypto.SHA256)
		if errDecrypt != nil || errEncrypt != nil || errSign != nil {
			b.Fatal(errDecrypt, errEncrypt, errSign)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	raw := honest(b, recipient(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := scep.Decode(raw, options()); err != nil {
			b.Fatal(err)
		}
	}
}

// A37: what fails in and behind decryption takes the same time, whatever it
// is. Reported is the largest Welch t between two causes; below 4.5 an attacker
// with that many samples learns nothing.
func BenchmarkUniformRefusal(b *testing.B) {
	r := recipient(b)
	content := csr(b, "client", passwordText("secret"))
	mangled := bytes.Clone(content)
	mangled[len(mangled)-1] ^= 1
	short, _ := forgeEnvelope(b, r.Certificate, cms.AES128CBC, content, pad(cms.AES128CBC, content))
	short.ciphertext = short.ciphertext[:len(short.ciphertext)-1]
	iv, _ := forgeEnvelope(b, r.Certificate, cms.AES128CBC, content, pad(cms.AES128CBC, content))
	iv.iv[0] ^= 0x10
	padding, _ := forgeEnvelope(b, r.Certificate, cms.AES128CBC, content, bytes.Repeat([]byte{17}, 16-len(content)%16))
	causes := []struct {
		name     string
		envelope []byte
	}{
		{"stranger", honestEnvelope(b, scep.Recipient{Certificate: certificate(b, "other", "Other CA", 7)}, cms.AES128CBC)},
		{"rsa_padding", rsaKey(b, content, append([]byte{0, 3}, bytes.Repeat([]byte{9}, 254)...))},
		{"rsa_length", encryptedKey(b, content, make([]byte, 257))},
		{"cbc_padding", padding.der()},
		{"cbc_length", short.der()},
		{"iv", iv.der()},
		{"csr_signature", enveloped(b, mangled)},
	}
	messages := make([]*scep.Message, len(causes))
	samples := make([][]float64, len(causes))
	for i, c := range causes {
		messages[i] = decoded(b, c.envelope)
	}
	for b.Loop() {
		for i, m := range messages {
			start := time.Now()
			_, err := m.Open([]scep.Recipient{r}, options())
			samples[i] = append(samples[i], float64(time.Since(start)))
			if err == nil {
				b.Fatal(causes[i].name, "was accepted")
			}
		}
	}
	worst := 0.0
	for i := range samples {
		mean, _ := moments(samples[i])
		b.ReportMetric(mean, causes[i].name+"-ns")
		for j := range i {
			worst = max(worst, welch(samples[i], samples[j]))
		}
	}
	b.ReportMetric(worst, "max-t")
}

func moments(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / max(1, float64(len(x)-1))
	}
	return mean, variance
}

func welch(x, y []float64) float64 {
	m, v := moments(x)
	n, w := moments(y)
	if d := v/float64(len(x)) + w/float64(len(y)); d > 0 {
		return math.Abs(m-n) / math.Sqrt(d)
	}
	return 0
}
