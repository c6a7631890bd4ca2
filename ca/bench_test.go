package ca_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"understudy.example/understudy/ca"
)

// BenchmarkIssue compares an issue with the bare RSA signature in it and with
// x509.CreateCertificate, which encodes everything anew.
func BenchmarkIssue(b *testing.B) {
	csr := request(b, commonName(b, "C02XK1ZZJG5H"))
	for _, name := range []string{"chain", "chain-p256"} {
		b.Run(name, func(b *testing.B) {
			a, _ := opened(b, name, today)
			permit, err := deviceAccess().Check(csr, today)
			must(b, err)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Issue(permit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	key := testKey(b, "device-rsa")
	b.Run("bare RSA-2048 signature", func(b *testing.B) {
		digest := sha256.Sum256(nil)
		for b.Loop() {
			if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare RSA-2048 verification", func(b *testing.B) {
		digest := sha256.Sum256(nil)
		signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		must(b, err)
		for b.Loop() {
			must(b, rsa.VerifyPKCS1v15(key.Public().(*rsa.PublicKey), crypto.SHA256, digest[:], signature))
		}
	})
	b.Run("x509.CreateCertificate", func(b *testing.B) {
		a, _ := opened(b, "chain", today)
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), RawSubject: csr.RawSubject, NotBefore: today, NotAfter: today.Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			BasicConstraintsValid: true, SubjectKeyId: make([]byte, 20),
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 51150, 13, 1}, Value: []byte{2, 1, 1}}},
		}
		_, raKey := a.RA() // any RSA key will do
		ra, _ := a.RA()
		b.ReportAllocs()
		for b.Loop() {
			der, err := x509.CreateCertificate(rand.Reader, template, ra, csr.PublicKey, raKey)
			must(b, err)
			_, err = x509.ParseCertificate(der)
			must(b, err)
		}
	})
}

// BenchmarkCheck is what policy costs on the path of every request, and what a
// refused key costs: A41 wants less than 5 ms.
func BenchmarkCheck(b *testing.B) {
	check := func(name string, p *ca.Policy, csr *x509.CertificateRequest, ok bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Check(csr, today); (err == nil) != ok {
					b.Fatal(err)
				}
			}
		})
	}
	good := keyRequest(b, &rsa.PublicKey{N: goodModulus(b), E: 65537})
	check("good", deviceAccess(), good, true)
	check("RSA-65536", deviceAccess(), keyRequest(b, &rsa.PublicKey{N: odd(b, 65536), E: 65537}), false)
	check("ROCA", deviceAccess(), keyRequest(b, &rsa.PublicKey{N: rocaModulus(), E: 65537}), false)
	strict := &ca.Policy{Purpose: ca.PurposeDeviceAccess, StrictKeyChecks: true}
	check("strict, good", strict, good, true)
	check("strict, close primes", strict, keyRequest(b, &rsa.PublicKey{N: closePrimes(516), E: 65537}), false)
}
