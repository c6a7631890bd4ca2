package scep

import (
	"crypto/x509"
	"errors"
	"math/big"
)

// An Enrolment is the content of a PKCSReq or RenewalReq.
type Enrolment struct {
	// CSR is the request for a certificate; its signature is checked.
	CSR *x509.CertificateRequest
	// ChallengePassword is the only one in the CSR; empty when there is none.
	ChallengePassword Password `json:"-"`
	// SignerKeyIsCSRKey says that the message was signed with the key that the
	// CSR is for. Whether another signer is good enough is not decided here.
	SignerKeyIsCSRKey bool
	// Warnings are oddities that were tolerated, as short fixed words.
	Warnings []string
}

// A Query is the content of a CertPoll (Issuer and Subject, RFC 8894 §3.3.3)
// or of a GetCert or GetCRL (Issuer and SerialNumber, §3.3.4).
type Query struct {
	Issuer       []byte // DER of the Name
	Subject      []byte // DER of the Name
	SerialNumber *big.Int
}

// Open is a stub.
func (m *Message) Open(recipients []Recipient, o Options) (*Enrolment, error) {
	return nil, errors.New("open message: not written yet")
}

// OpenQuery is a stub.
func (m *Message) OpenQuery(recipients []Recipient, o Options) (*Query, error) {
	return nil, errors.New("open message: not written yet")
}
