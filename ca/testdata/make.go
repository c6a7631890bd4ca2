//go:build ignore

// Command make writes the authorities and device keys that the tests of package ca
// work with, so that a test run does not wait for RSA keys. The keys are
// public: they protect nothing.
//
//	go run ./ca/testdata/make.go ca/testdata && go test ./ca -update
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"log"
	"os"
	"path/filepath"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
)

func main() {
	dir := os.Args[1]
	now := clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	for name, o := range map[string]ca.Options{
		"chain":      {},
		"chain-p256": {IssuerKey: ca.KeyP256},
		"single":     {Shape: ca.ShapeSingle},
	} {
		o.Org, o.OrgID, o.Clock = "lab", "00olab0001", now
		path := filepath.Join(dir, name)
		check(os.RemoveAll(path))
		_, err := ca.Create(path, o)
		check(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	check(err)
	write(filepath.Join(dir, "device-rsa.key.pem"), rsaKey)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	write(filepath.Join(dir, "device-p256.key.pem"), ecKey)
}

func write(path string, key crypto.Signer) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	check(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
