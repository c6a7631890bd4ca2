package client

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // MDMs still give SHA-1 fingerprints; the user chose to compare one
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// CACertificates are the certificates that a server answered to GetCACert.
type CACertificates struct {
	// All are the certificates in the order of the answer.
	All []*x509.Certificate
	// Encryption is whom requests are encrypted to, Signing who must sign the
	// replies. They are one certificate, the RA's or the CA's, unless the
	// server splits the two usages.
	Encryption, Signing *x509.Certificate
	// Issuer is the CA that issued Signing, or Signing itself when it stands alone.
	Issuer *x509.Certificate
	// Anchors are the certificates that an issued one may chain to: the one
	// with the wanted fingerprint, else the CA certificates of the answer.
	Anchors []*x509.Certificate
}

// CACertificates asks the server for its certificates, picks the RA as Apple
// does and compares the fingerprint, when one is set.
func (c *Client) CACertificates(ctx context.Context) (*CACertificates, error) {
	a, err := c.call(ctx, http.MethodGet, "GetCACert", c.identified(), nil)
	if err != nil {
		return nil, err
	}
	found, err := parseCACertificates(a)
	if err == nil {
		err = found.authenticate(c.CAFingerprint, c.now())
	}
	if err != nil {
		return nil, fmt.Errorf("read answer to GetCACert at %s: %w", c.URL, err)
	}
	return found, nil
}

func parseCACertificates(a *answer) (*CACertificates, error) {
	switch a.contentType {
	case typeCACert:
		only, err := x509.ParseCertificate(a.body)
		if err != nil {
			return nil, broken("RFC 8894 §4.2.1.1", "the body is not one certificate in DER: %v", err)
		}
		return &CACertificates{All: []*x509.Certificate{only}, Encryption: only, Signing: only, Issuer: only}, boundKeys(only)
	case typeCARA:
		all, err := certsOnly(a.body)
		if err != nil {
			return nil, err
		}
		return pick(all)
	}
	return nil, broken("RFC 8894 §4.2.1", "Content-Type is %q, not exactly %q or %q", a.contentType, typeCACert, typeCARA)
}

// certsOnly reads a bundle that must hold a certificate.
func certsOnly(data []byte) ([]*x509.Certificate, error) {
	certificates, _, err := readBundle(data)
	if err == nil && len(certificates) == 0 {
		err = broken("RFC 8894 §3.4", "the bundle holds no certificate")
	}
	if err == nil {
		err = boundKeys(certificates...)
	}
	return certificates, err
}

// maxKeyBits bounds the RSA keys of a server, as crypto/tls does. To verify or
// encrypt with one of a million bits takes minutes, which no timeout ends.
const maxKeyBits = 8192

func boundKeys(certificates ...*x509.Certificate) error {
	for _, c := range certificates {
		if key, ok := c.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxKeyBits {
			return fmt.Errorf("the certificate %q has an RSA key of %d bits, more than the %d that this client computes with", c.Subject, key.N.BitLen(), maxKeyBits)
		}
	}
	return nil
}

// pick chooses as Apple's client does: the first certificate that has both
// digitalSignature and keyEncipherment, else one for each.
func pick(all []*x509.Certificate) (*CACertificates, error) {
	const both = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	found := &CACertificates{All: all}
	if ra := withUsage(all, both); ra != nil {
		found.Encryption, found.Signing = ra, ra
	} else {
		found.Encryption = withUsage(all, x509.KeyUsageKeyEncipherment)
		found.Signing = withUsage(all, x509.KeyUsageDigitalSignature)
	}
	if found.Encryption == nil || found.Signing == nil {
		return nil, broken("RFC 8894 §2.1.2", "none of %d certificates has the key usages digitalSignature and keyEncipherment", len(all))
	}
	found.Issuer = found.Signing
	for _, c := range all {
		if c.IsCA && bytes.Equal(c.RawSubject, found.Signing.RawIssuer) && found.Signing.CheckSignatureFrom(c) == nil {
			found.Issuer = c
			break
		}
	}
	return found, nil
}

func withUsage(all []*x509.Certificate, usage x509.KeyUsage) *x509.Certificate {
	for _, c := range all {
		if c.KeyUsage&usage == usage {
			return c
		}
	}
	return nil
}

// authenticate settles the anchors, and with a fingerprint demands that the
// RA chains to the certificate that has it: that it is somewhere in the bundle
// proves nothing.
func (s *CACertificates) authenticate(fingerprint string, now time.Time) error {
	if fingerprint == "" {
		s.Anchors = cas(s.All)
	} else {
		anchor, err := s.fingerprinted(fingerprint)
		if err != nil {
			return err
		}
		s.Anchors = []*x509.Certificate{anchor}
	}
	for _, c := range []*x509.Certificate{s.Encryption, s.Signing} {
		if err := s.verify(c, now); err != nil {
			return broken("RFC 8894 §2.1.2", "the RA certificate %q does not chain to the CA: %v", c.Subject, err)
		}
	}
	if fingerprint != "" && !s.Anchors[0].IsCA {
		s.Anchors = cas(s.All) // the RA itself is authentic, and replies are signed by it
	}
	return nil
}

// cas returns the CA certificates of an answer; a single certificate counts as
// one, whatever it says.
func cas(all []*x509.Certificate) []*x509.Certificate {
	if len(all) == 1 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(c *x509.Certificate) bool { return !c.IsCA })
}

// verify checks that a certificate chains to one of the anchors.
func (s *CACertificates) verify(c *x509.Certificate, now time.Time) error {
	o := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	for _, anchor := range s.Anchors {
		o.Roots.AddCert(anchor)
	}
	for _, other := range s.All {
		o.Intermediates.AddCert(other)
	}
	_, err := c.Verify(o)
	return err
}

func (s *CACertificates) fingerprinted(fingerprint string) (*x509.Certificate, error) {
	want, err := hex.DecodeString(strings.NewReplacer(":", "", " ", "").Replace(fingerprint))
	if err != nil || len(want) != sha256.Size && len(want) != sha1.Size {
		return nil, fmt.Errorf("CA fingerprint %q is not a SHA-256 or SHA-1 in hexadecimal", fingerprint)
	}
	var seen []string
	for _, c := range s.All {
		long, short := sha256.Sum256(c.Raw), sha1.Sum(c.Raw) //nolint:gosec // see the import
		if bytes.Equal(want, long[:]) || bytes.Equal(want, short[:]) {
			return c, nil
		}
		seen = append(seen, fmt.Sprintf("%s %q", hex.EncodeToString(long[:]), c.Subject))
	}
	return nil, fmt.Errorf("no certificate has the fingerprint %s: the server is not the expected one, or its CA was replaced; it answered %s",
		hex.EncodeToString(want), strings.Join(seen, ", "))
}
