package client

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

const typeNextCA = "application/x-x509-next-ca-cert"

// NextCA is what a server answered to GetNextCACert.
type NextCA struct {
	Certificates []*x509.Certificate // in the order of the answer
	SignedBy     *x509.Certificate   // one of the certificates of today
}

// NextCACertificates asks for the certificates that the server will have after
// its rollover. The answer must be signed by a certificate of ca, which
// CACertificates returned: by the CA as RFC 8894 §4.7.1 has it, or by the RA,
// which some clients expect. A server without a next CA answers with an
// *HTTPError.
func (c *Client) NextCACertificates(ctx context.Context, ca *CACertificates) (*NextCA, error) {
	query := url.Values{}
	if c.CAIdentifier != "" {
		query.Set("message", c.CAIdentifier)
	}
	a, err := c.call(ctx, http.MethodGet, "GetNextCACert", query, nil)
	if err != nil {
		return nil, err
	}
	next, err := ca.next(a)
	if err != nil {
		return nil, fmt.Errorf("read answer to GetNextCACert at %s: %w", c.URL, err)
	}
	return next, nil
}

func (s *CACertificates) next(a *answer) (*NextCA, error) {
	const rule = "RFC 8894 §4.7.1"
	if a.contentType != typeNextCA {
		return nil, broken(rule, "Content-Type is %q, not exactly %q", a.contentType, typeNextCA)
	}
	signed, err := parse(a.body, rule)
	if err != nil {
		return nil, err
	}
	if len(signed.Signers) != 1 {
		return nil, broken(rule, "the answer has %d signers, not one", len(signed.Signers))
	}
	id := signed.Signers[0].IssuerAndSerialNumber
	err = errors.New("its signer is none of the certificates of GetCACert")
	for _, c := range s.All {
		if !bytes.Equal(id.IssuerName.FullBytes, c.RawIssuer) || id.SerialNumber.Cmp(c.SerialNumber) != 0 {
			continue
		}
		signed.Certificates = []*x509.Certificate{c}
		if err = contained("verify signature", signed.Verify); err != nil {
			continue
		}
		certificates, err := certsOnly(signed.Content)
		if err != nil {
			return nil, err
		}
		return &NextCA{Certificates: certificates, SignedBy: c}, nil
	}
	return nil, broken(rule, "the answer is not signed by the CA or RA of today: %v", err)
}
