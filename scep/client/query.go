package client

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/scep/internal/cms"
)

// A Query asks for a certificate by GetCert, or for the CRL that would list it
// by GetCRL (RFC 8894 §3.3.4).
type Query struct {
	Type              MessageType // GetCert or GetCRL
	Issuer            []byte      // name of the certificate's issuer, in DER
	CertificateSerial *big.Int
	// Signer and SignerKey sign the query, and the answer is encrypted to
	// them. Servers that know their clients want a certificate of theirs.
	Signer    *x509.Certificate
	SignerKey *rsa.PrivateKey
	// TransactionID is random when empty.
	TransactionID string
	// Cipher and Digest are AES-128-CBC and SHA-256 when zero.
	Cipher Cipher
	Digest crypto.Hash
}

// BuildQuery makes the message for a query at the server with these
// certificates. Nil random means crypto/rand.
func BuildQuery(random io.Reader, q Query, ca *CACertificates) (*Request, error) {
	if random == nil {
		random = rand.Reader
	}
	r, err := q.request(random, ca)
	if err != nil {
		return nil, fmt.Errorf("build SCEP query: %w", err)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(q.Issuer)
		b.AddASN1BigInt(q.CertificateSerial)
	})
	content, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("build SCEP query: %w", err)
	}
	if err := r.write(random, content); err != nil {
		return nil, fmt.Errorf("build SCEP query: %w", err)
	}
	return r, nil
}

// request is the query as far as it is known before it is written.
func (q Query) request(random io.Reader, ca *CACertificates) (*Request, error) {
	switch {
	case q.Type != GetCert && q.Type != GetCRL:
		return nil, fmt.Errorf("messageType %q is neither GetCert nor GetCRL", string(q.Type))
	case q.Signer == nil || q.SignerKey == nil:
		return nil, errors.New("no signer")
	case len(q.Issuer) == 0 || q.CertificateSerial == nil:
		return nil, errors.New("no issuer and certificate serial to ask for")
	}
	r := &Request{
		Type: q.Type, TransactionID: q.TransactionID, Signer: q.Signer, SignerKey: q.SignerKey, CA: ca,
		Cipher: q.Cipher, Digest: q.Digest, Issuer: q.Issuer, CertificateSerial: q.CertificateSerial,
	}
	if r.Cipher == "" {
		r.Cipher = AES128CBC
	}
	if r.Digest == 0 {
		r.Digest = crypto.SHA256
	}
	if r.TransactionID == "" {
		id := make([]byte, nonceLen)
		if _, err := io.ReadFull(random, id); err != nil {
			return nil, err
		}
		r.TransactionID = hex.EncodeToString(id)
	}
	return r, checkDigest(r.Digest)
}

// acceptStored takes the certificate that a GetCert asked for.
func (r *Request) acceptStored(reply *Reply) error {
	if len(reply.Bundle) == 0 {
		return broken("RFC 8894 §3.3.2.1", "the envelope holds no certificate")
	}
	first := reply.Bundle[0]
	if !bytes.Equal(first.RawIssuer, r.Issuer) || first.SerialNumber.Cmp(r.CertificateSerial) != 0 {
		return broken("RFC 8894 §3.3.2.1", "the first certificate has the certificate serial %x, not the one that was asked for, %x", first.SerialNumber, r.CertificateSerial)
	}
	if n := len(reply.Bundle); n != 1 {
		reply.deviate("RFC 8894 §3.3.2.1", "the envelope holds %d certificates, not the wanted one alone", n)
	}
	reply.Certificate = first
	return nil
}

// acceptCRL takes the CRL that a GetCRL asked for: of the certificate's issuer,
// signed by it, and current.
func (r *Request) acceptCRL(reply *Reply, crls [][]byte, now time.Time) error {
	if len(crls) != 1 {
		return broken("RFC 8894 §4.6.1", "the envelope holds %d CRLs, not one", len(crls))
	}
	crl, err := x509.ParseRevocationList(crls[0])
	if err != nil {
		return broken("RFC 8894 §4.6.1", "the CRL cannot be read: %v", err)
	}
	if n := len(reply.Bundle); n != 0 {
		reply.deviate("RFC 8894 §4.6.1", "the envelope holds %d certificates beside the CRL", n)
	}
	if !bytes.Equal(crl.RawIssuer, r.Issuer) {
		return broken("RFC 8894 §4.6.1", "the CRL is of %q, not of the issuer that was asked for", crl.Issuer)
	}
	err = errors.New("GetCACert has no certificate of its issuer")
	for _, c := range r.CA.All {
		if bytes.Equal(c.RawSubject, crl.RawIssuer) {
			if err = crl.CheckSignatureFrom(c); err == nil {
				break
			}
		}
	}
	switch {
	case err != nil:
		return broken("RFC 5280 §6.3.3", "the CRL is not signed by its issuer: %v", err)
	case now.Before(crl.ThisUpdate) || !crl.NextUpdate.IsZero() && !now.Before(crl.NextUpdate):
		return broken("RFC 5280 §6.3.3", "the CRL is for the time from %v to %v, not for now", crl.ThisUpdate, crl.NextUpdate)
	}
	reply.CRL = crl
	return nil
}

// readBundle reads a SignedData without content and signers, which carries
// certificates and CRLs (RFC 8894 §3.4).
func readBundle(data []byte) (certificates []*x509.Certificate, crls [][]byte, err error) {
	if data, err = definite(data); err != nil {
		return nil, nil, broken("RFC 8894 §3.4", "the bundle is %v", err)
	}
	bundle, err := parse(data, "RFC 8894 §3.4")
	switch {
	case err != nil:
		return nil, nil, broken("RFC 8894 §3.4", "the bundle is not a SignedData with certificates: %v", err)
	case len(bundle.Signers) != 0 || len(bundle.Content) != 0:
		return nil, nil, broken("RFC 8894 §3.4", "the bundle has signers or content; it must have certificates only")
	}
	return bundle.Certificates, crlsOf(data), nil
}

// crlsOf returns the CRLs of a SignedData in DER as they stand there; the
// decoder keeps only what is in them.
func crlsOf(der []byte) [][]byte {
	const certificates, revocations = context0, cbasn1.Tag(1 | 0x80 | 0x20)
	content, ok := contentOf(der, cms.OIDSignedData)
	var lists cryptobyte.String
	var there bool
	ok = ok && content.SkipASN1(cbasn1.INTEGER) && content.SkipASN1(cbasn1.SET) && content.SkipASN1(cbasn1.SEQUENCE) &&
		content.SkipOptionalASN1(certificates) && content.ReadOptionalASN1(&lists, &there, revocations)
	var all [][]byte
	for ok && there && !lists.Empty() {
		var one cryptobyte.String
		if ok = lists.ReadASN1Element(&one, cbasn1.SEQUENCE); ok {
			all = append(all, one)
		}
	}
	return all
}
