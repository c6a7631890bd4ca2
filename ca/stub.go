package ca

import (
	"crypto"
	"crypto/x509"
	"errors"
	"math/big"
	"time"
)

type leafForm struct{}
type raState struct{ current Recipient }

func (s *raState) recipients(now time.Time) []Recipient { return []Recipient{s.current} }

// Create makes an authority.
func Create(dir string, o Options) (*Authority, error) { return nil, errors.ErrUnsupported }

// Open opens an authority.
func Open(dir string, o Options) (*Authority, error) { return nil, errors.ErrUnsupported }

// RotateRA replaces the RA when a third of its life is left.
func (a *Authority) RotateRA() (bool, error) { return false, errors.ErrUnsupported }

// Issue signs what the permit holds.
func (a *Authority) Issue(permit *Permit) (*x509.Certificate, error) {
	return nil, errors.ErrUnsupported
}

// CheckKeySlow looks for a modulus that is prime, a square, or a product of close primes.
func CheckKeySlow(pub crypto.PublicKey) error { return errors.ErrUnsupported }

// FormatSerial returns lower-case hex of even length.
func FormatSerial(n *big.Int) string { return "" }

// ParseSerial reads hex of any case, with colons or leading zeros.
func ParseSerial(text string) (*big.Int, error) { return nil, errors.ErrUnsupported }
