package load

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"

	"understudy.example/understudy/scep/client"
)

// fileMagic begins a file of requests; the digit is its format.
const fileMagic = "understudy load requests 1\n"

// saved is the content of a file of requests.
type saved struct {
	Spec      Spec // without the challenge
	Digest    crypto.Hash
	Recipient [32]byte // SHA-256 of the certificate that the messages are encrypted to
	// Salt and Challenge, a SHA-256 over both, tell whether the messages carry
	// a challenge, and keep it secret.
	Salt      []byte
	Challenge []byte
	Signers   []savedSigner
	Items     []item
}

type savedSigner struct{ Key, Certificate []byte }

// Save writes the messages to a new file, with the clients' private keys,
// which reading the replies takes: mode 0600.
func (r *Requests) Save(path string) error {
	err := r.save(path)
	if err != nil {
		return fmt.Errorf("save messages: %w", err)
	}
	return nil
}

func (r *Requests) save(path string) (err error) {
	s := saved{
		Spec: r.Spec(), Digest: r.spec.Digest, Recipient: sha256.Sum256(r.ca.Encryption.Raw),
		Salt: make([]byte, 16), Items: r.items,
	}
	if _, err := rand.Read(s.Salt); err != nil {
		return err
	}
	s.Challenge = salted(s.Salt, r.spec.Challenge)
	for _, one := range r.signers {
		key, err := x509.MarshalPKCS8PrivateKey(one.key)
		if err != nil {
			return err
		}
		s.Signers = append(s.Signers, savedSigner{key, one.certificate.Raw})
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.WriteString(fileMagic); err != nil {
		return err
	}
	if err := gob.NewEncoder(w).Encode(s); err != nil {
		return err
	}
	return w.Flush()
}

func salted(salt []byte, challenge client.Password) []byte {
	sum := sha256.Sum256(append(bytes.Clone(salt), string(challenge)...))
	return sum[:]
}

// ReadRequests reads messages that Save wrote. They must be encrypted to the
// server that ca is from. A challenge that is not empty must be the one in the
// messages; an empty one is not compared.
func ReadRequests(path string, ca *client.CACertificates, challenge client.Password) (*Requests, error) {
	s, err := readSaved(path)
	if err != nil {
		return nil, fmt.Errorf("read messages from %s: %w", path, err)
	}
	switch {
	case s.Recipient != sha256.Sum256(ca.Encryption.Raw):
		return nil, fmt.Errorf("read messages from %s: they are encrypted to another certificate than this server's %q: build new ones", path, ca.Encryption.Subject)
	case challenge != "" && subtle.ConstantTimeCompare(salted(s.Salt, challenge), s.Challenge) != 1:
		return nil, fmt.Errorf("read messages from %s: they carry another challenge: build new ones", path)
	}
	r := &Requests{spec: s.Spec, ca: ca, items: s.Items, signers: make([]signer, len(s.Signers))}
	r.spec.Digest = s.Digest
	for i, one := range s.Signers {
		if r.signers[i], err = one.read(); err != nil {
			return nil, fmt.Errorf("read messages from %s: client key %d: %w", path, i, err)
		}
	}
	for i, it := range r.items {
		if it.Signer < 0 || it.Signer >= len(r.signers) || len(it.Raw) == 0 {
			return nil, fmt.Errorf("read messages from %s: message %d is damaged", path, i)
		}
	}
	return r, nil
}

func readSaved(path string) (s saved, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	magic := make([]byte, len(fileMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != fileMagic {
		return s, errors.New("it is no file of messages of this version")
	}
	if err := gob.NewDecoder(r).Decode(&s); err != nil {
		return s, fmt.Errorf("it is damaged or cut short: %w", err)
	}
	return s, nil
}

func (s savedSigner) read() (signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(s.Key)
	if err != nil {
		return signer{}, err
	}
	pair, ok := key.(*rsa.PrivateKey)
	if !ok {
		return signer{}, fmt.Errorf("it is %T, not RSA", key)
	}
	certificate, err := x509.ParseCertificate(s.Certificate)
	return signer{pair, certificate}, err
}
