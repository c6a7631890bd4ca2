package scep_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	mozilla "go.mozilla.org/pkcs7"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/internal/cms"
)

// Case 10: the next CA's certificates inside a SignedData of the current CA,
// in their order, whether its key is RSA or not. OpenSSL and another library
// verify it.
func TestNextCA(t *testing.T) {
	next := []*x509.Certificate{certificate(t, "other", "next RA", 3), certificate(t, "client", "next CA", 4)}
	for _, key := range []string{"ra", "p256"} {
		t.Run(key, func(t *testing.T) {
			ca := certificate(t, key, "current CA", 11)
			der, err := scep.NextCA(ca, loadKey(t, key), now, next)
			if err != nil {
				t.Fatal(err)
			}
			p7, err := mozilla.Parse(der)
			if err != nil {
				t.Fatal(err)
			}
			if signer := p7.GetOnlySigner(); signer == nil || !signer.Equal(ca) || len(p7.Certificates) != 1 {
				t.Errorf("signed by %v, with %d certificates", signer, len(p7.Certificates))
			}
			if err := p7.Verify(); err != nil {
				t.Error(err)
			}
			bundle, err := mozilla.Parse(p7.Content)
			if err != nil {
				t.Fatal(err)
			}
			if len(bundle.Certificates) != 2 || !bundle.Certificates[0].Equal(next[0]) || !bundle.Certificates[1].Equal(next[1]) || len(bundle.Signers) != 0 {
				t.Errorf("%d certificates, %d signers", len(bundle.Certificates), len(bundle.Signers))
			}
			opensslVerifies(t, der, p7.Content)
			damaged := bytes.Clone(der)
			damaged[bytes.Index(der, next[1].Raw)+len(next[1].Raw)-1] ^= 1
			if p7, err := mozilla.Parse(damaged); err == nil && p7.Verify() == nil {
				t.Error("a damaged certificate is not noticed")
			}
		})
	}
	if _, err := scep.NextCA(certificate(t, "ra", "current CA", 11), loadKey(t, "ra"), now, nil); err == nil {
		t.Error("a next CA of no certificates")
	}
}

func opensslVerifies(t *testing.T, der, content []byte) {
	t.Helper()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("openssl is not installed; CI has it")
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, der, 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command(openssl, "cms", "-verify", "-noverify", "-binary", "-inform", "DER", "-in", in, "-out", out).CombinedOutput(); err != nil {
		t.Errorf("openssl: %v\n%s", err, text)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, content) {
		t.Errorf("openssl reads another content: %v", err)
	}
}

// Case 65: a CRL and nothing else, in the client's own cipher. One that is too
// large is a refusal that says where else to look.
func TestCRL(t *testing.T) {
	r := recipient(t)
	issuer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour)},
		&x509.Certificate{KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}, issuer)
	if err != nil {
		t.Fatal(err)
	}
	m := decoded(t, honestEnvelope(t, r, cms.AES256CBC))
	if _, err := m.Open([]scep.Recipient{r}, options()); err != nil {
		t.Fatal(err)
	}
	reply, err := r.CRL(m, now, crl)
	if err != nil {
		t.Fatal(err)
	}
	p7, a := readReply(t, reply)
	a.want(t, "pkiStatus", 19, "0")
	if !bytes.Contains(p7.Content, oid(cms.AES256CBC.OID()...)) {
		t.Error("envelope has another cipher")
	}
	inner, err := mozilla.Parse(p7.Content)
	if err != nil {
		t.Fatal(err)
	}
	content, err := inner.Decrypt(certificate(t, "client", "8b8ad4b0-4ad7-4d0f-9b3f-1b2d7f2a7a11", 1), loadKey(t, "client"))
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := mozilla.Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	if len(bundle.CRLs) != 1 || len(bundle.Certificates) != 0 || len(bundle.Signers) != 0 || !bytes.Contains(content, crl) {
		t.Errorf("%d CRLs, %d certificates, %d signers", len(bundle.CRLs), len(bundle.Certificates), len(bundle.Signers))
	}
	if _, err := r.CRL(m, now, make([]byte, scep.MaxCRL)); err != nil {
		t.Errorf("the largest CRL: %v", err)
	}
	_, err = r.CRL(m, now, make([]byte, scep.MaxCRL+1))
	if no, ok := refusal.Of(err); !ok || no.Reason != refusal.UnsupportedOperation || no.Text == "" {
		t.Errorf("a larger CRL: %v", err)
	}
	m.Signer = &x509.Certificate{PublicKey: crypto.PublicKey(&issuer.PublicKey)}
	if _, err := r.CRL(m, now, crl); err == nil {
		t.Error("a CRL for a signer that cannot open it")
	}
}
