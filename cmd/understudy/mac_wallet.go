package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/cmd/understudy/internal/datadir"
	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/scep/client"
)

// wallet is the directory that mac enroll keeps a key and a certificate in.
// The key is there before the request leaves, so that no certificate comes to
// a key that was lost.
type wallet struct {
	dir  string
	key  *rsa.PrivateKey
	mine bool // this run made the key file
}

func (w *wallet) keyPath() string { return filepath.Join(w.dir, "key.pem") }

// openWallet prepares the directory and takes the key from a file, or makes
// one. A key that is there already is never overwritten.
func openWallet(dir, keyFile string, bits int) (*wallet, error) {
	w := &wallet{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, usagef("--out: %w", err)
	}
	if keyFile != "" {
		key, err := readKey(keyFile)
		if err != nil {
			return nil, usagef("--key-file %s: %w", keyFile, err)
		}
		w.key = key
	}
	switch old, err := os.ReadFile(w.keyPath()); {
	case err == nil && w.key == nil:
		return nil, usagef("%s is there already: use it with --key-file, or choose another --out", w.keyPath())
	case err == nil:
		if have, err := parseKey(old); err != nil || !have.Equal(w.key) {
			return nil, usagef("%s is another key: choose another --out", w.keyPath())
		}
		return w, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, usagef("--out: %w", err)
	}
	if w.key == nil {
		if bits < 1024 || bits > 8192 {
			return nil, usagef("--key-size must be between 1024 and 8192")
		}
		var err error
		if w.key, err = rsa.GenerateKey(rand.Reader, bits); err != nil {
			return nil, fmt.Errorf("make key: %w", err)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(w.key)
	if err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	w.mine = true
	return w, datadir.WritePrivate(w.keyPath(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func readKey(path string) (*rsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseKey(text)
}

func parseKey(text []byte) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return checkKey(key)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("it holds no private key in PKCS #8 or PKCS #1: %w", err)
	}
	return checkKey(key)
}

// discard removes the key that nothing was issued for.
func (w *wallet) discard() error {
	if !w.mine {
		return nil
	}
	return os.Remove(w.keyPath())
}

// keep writes the certificate and its chain.
func (w *wallet) keep(result *client.Result) (enrolled, error) {
	leaf := result.Certificate
	chain := encode(chainOf(leaf, result.CA.All)...)
	err := errors.Join(
		datadir.WritePublic(filepath.Join(w.dir, "cert.pem"), encode(leaf)),
		datadir.WritePublic(filepath.Join(w.dir, "chain.pem"), chain),
	)
	sum := sha256.Sum256(leaf.Raw)
	warnings := result.Warnings
	if warnings == nil {
		warnings = []string{}
	}
	return enrolled{
		Status:            "success",
		CertificateSerial: ca.FormatSerial(leaf.SerialNumber),
		SHA256:            hex.EncodeToString(sum[:]),
		NotAfter:          leaf.NotAfter.UTC(),
		Dir:               w.dir,
		TransactionID:     result.TransactionID,
		Warnings:          warnings,
	}, err
}

// chainOf returns the issuers of leaf, nearest first, as far as the
// certificates reach.
func chainOf(leaf *x509.Certificate, certificates []*x509.Certificate) []*x509.Certificate {
	var chain []*x509.Certificate
	current := leaf
	for len(chain) < len(certificates) {
		next := issuerOf(current, certificates)
		if next == nil || next.Equal(current) {
			break
		}
		chain = append(chain, next)
		current = next
	}
	return chain
}

func issuerOf(c *x509.Certificate, certificates []*x509.Certificate) *x509.Certificate {
	for _, candidate := range certificates {
		if bytes.Equal(candidate.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(candidate) == nil {
			return candidate
		}
	}
	return nil
}

func encode(certificates ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certificates {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.Bytes()
}

// printLine prints what a program reads, and ends with the code.
func printLine(a *app, code int, line any) error {
	if err := output.Line(a.stdout, line); err != nil || code == exitOK {
		return err
	}
	return &quietError{code: code}
}
