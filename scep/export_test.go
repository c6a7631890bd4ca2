package scep

import (
	"crypto/x509"

	"understudy.example/understudy/refusal"
)

// Scan and ToDER are tested from outside for what Decode does not show: cost,
// allocations and the exact output.
func Scan(ber []byte) (der bool, fault string) {
	der, f := scan(ber)
	return der, f.String()
}

// WellFormed is what Scan says of a message that it lets through.
var WellFormed = faultNone.String()

var ToDER = toDER

// Guarded is the recovery around the parsers.
var Guarded = guarded

// OpenContent is Open for a message around this envelope, as if it had been
// decoded.
func OpenContent(t MessageType, signer *x509.Certificate, envelope []byte, recipients []Recipient, o Options) error {
	m := &Message{Type: t, Signer: signer, content: envelope}
	if t == CertPoll {
		_, err := m.OpenQuery(recipients, o)
		return err
	}
	_, err := m.Open(recipients, o)
	return err
}

// ReadContent reads the decrypted content of a PKCSReq.
func ReadContent(content []byte, signer *x509.Certificate, o Options) (*Enrolment, error) {
	var e *Enrolment
	err := guarded(refusal.NotDecryptable, func() error {
		csr, err := readCSR(content)
		if err == nil {
			err = checkCSR(csr, o)
		}
		if err == nil {
			e, err = newEnrolment(csr, signer)
		}
		return err
	})
	return e, err
}

// ReadQuery reads the decrypted content of a CertPoll, GetCert or GetCRL.
var ReadQuery = readQuery
