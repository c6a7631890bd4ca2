package scep

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"time"

	"understudy.example/understudy/scep/internal/cms"
)

// NextCA returns the answer to GetNextCACert (RFC 8894 §4.7.1): the
// certificates of the authority to come, in their order, as a certs-only
// bundle inside a SignedData. The RFC has the current CA sign it, which signer
// and key are, RSA or ECDSA; clients that know only the RA need that in its
// place.
func NextCA(signer *x509.Certificate, key crypto.Signer, now time.Time, certificates []*x509.Certificate) ([]byte, error) {
	bundle, err := cms.Bundle(certificates, nil)
	if err != nil {
		return nil, fmt.Errorf("write next CA: %w", err)
	}
	signed, err := signingTime(now)
	if err != nil {
		return nil, fmt.Errorf("encode signingTime: %w", err)
	}
	der, err := cms.Sign(rand.Reader, cms.SignedData{
		Content:      bundle,
		Digest:       crypto.SHA256,
		Attributes:   []cms.Attribute{{Type: cms.OIDSigningTime, Value: signed}},
		Certificates: []*x509.Certificate{signer},
		Signer:       signer,
		Key:          key,
	})
	if err != nil {
		return nil, fmt.Errorf("write next CA: %w", err)
	}
	return der, nil
}
