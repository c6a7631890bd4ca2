package scep

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/internal/cms"
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
	Issuer       []byte   // DER of the Name; empty in a CertPoll that cannot be read
	Subject      []byte   // DER of the Name; CertPoll only, and likewise
	SerialNumber *big.Int // GetCert and GetCRL only
}

// Open decrypts a PKCSReq or RenewalReq with the first of the recipients that
// it is addressed to, and reads the CSR in it: its signature (proof of
// possession), its key and its challengePassword.
//
// Everything that goes wrong in and behind decryption is one refusal with the
// reason NotDecryptable, whose detail is for the operator alone, except: an
// algorithm of the envelope that is not supported (UnsupportedAlgorithm), and,
// once the CSR has proved to be genuine, a key or digest of it that is not
// (KeyRejected, UnsupportedAlgorithm) and more than one challengePassword or
// one that cannot be read (BadMessage with badRequest). Errors that are no
// refusal are internal.
func (m *Message) Open(recipients []Recipient, o Options) (*Enrolment, error) {
	if m.Type != PKCSReq && m.Type != RenewalReq {
		return nil, refusal.New(refusal.UnsupportedOperation, "messageType %s has no CSR", string(m.Type))
	}
	var enrolment *Enrolment
	err := guarded(refusal.NotDecryptable, func() error {
		content, flaw, err := m.openEnvelope(recipients, o)
		if err != nil {
			return err
		}
		// A content that is known to be bad is read like a good one, so that
		// both take their time.
		csr, err := readCSR(content)
		if flaw != "" {
			err = notDecryptable(flaw)
		}
		if err != nil {
			imitateProof(m.Signer)
			return err
		}
		// Before the proof the plaintext may be somebody else's, its ciphertext
		// rearranged: to tell one thing about it would tell all of it in time.
		if err := csr.CheckSignature(); err != nil {
			return notDecryptable("signature of the CSR does not hold: " + brief(err))
		}
		if err := checkCSR(csr, o); err != nil {
			return err
		}
		enrolment, err = newEnrolment(csr, m.Signer)
		return err
	})
	if err != nil {
		return nil, err
	}
	return enrolment, nil
}

// OpenQuery decrypts a CertPoll, GetCert or GetCRL like Open and returns what
// it asks for. Errors are those of Open, and told otherwise.
//
// Nothing proves that who signed a query knows its plaintext. It may be the
// ciphertext of somebody else's request, tried out block by block: if the answer
// told whether it decrypts to a query, it would tell the request in time
// (Vaudenay's attack). So what cannot be read is answered like what can. A
// CertPoll, which its transactionID and its signer decide, is a Query without
// names, with a warning; a GetCert or GetCRL is refused with badCertId, as one
// for an unknown certificate is.
func (m *Message) OpenQuery(recipients []Recipient, o Options) (*Query, error) {
	if m.Type != CertPoll && m.Type != GetCert && m.Type != GetCRL {
		return nil, refusal.New(refusal.UnsupportedOperation, "messageType %s is no query", string(m.Type))
	}
	var query *Query
	err := guarded(refusal.NotDecryptable, func() error {
		content, flaw, err := m.openEnvelope(recipients, o)
		if err != nil {
			return err
		}
		query, err = readQuery(content, m.Type)
		if flaw != "" {
			err = notDecryptable(flaw)
		}
		return err
	})
	if err == nil {
		return query, nil
	}
	if r, ok := refusal.Of(err); !ok || r.Reason != refusal.NotDecryptable {
		return nil, err
	}
	if _, panicked := errors.AsType[*PanicError](err); m.Type == CertPoll && !panicked {
		m.warn(WarnPollUnreadable)
		return new(Query), nil
	}
	return nil, WithFailInfo(err, BadCertID)
}

// openEnvelope reads and decrypts the envelope.
func (m *Message) openEnvelope(recipients []Recipient, o Options) (content []byte, flaw string, err error) {
	e, err := readEnvelope(m.content)
	if err != nil {
		return nil, "", uniform(err)
	}
	if e.cipher == cms.DESCBC {
		if !o.AllowDES {
			return nil, "", unsupported("cipher DES-CBC is not supported", "content cipher is DES-CBC")
		}
		m.warn(WarnDES)
	}
	m.cipher = e.cipher
	r, k, err := e.choose(recipients, o.Strict)
	if err != nil {
		return nil, "", err
	}
	if k.key != nil {
		m.Addressee = r.Certificate
	}
	return e.decrypt(r, k)
}

// uniform makes a bad message of the envelope or of what is in it the one
// refusal that such messages get. Other refusals stay, and so does a bad
// message with a failInfo of its own.
func uniform(err error) error {
	r, ok := refusal.Of(err)
	if !ok || r.Reason != refusal.BadMessage || FailInfoOf(err) != BadMessageCheck {
		return err
	}
	return notDecryptable(r.Detail)
}

func notDecryptable(detail string) error {
	return &refusal.Error{Reason: refusal.NotDecryptable, Detail: detail}
}

// imitateProof takes about as long as the check of a CSR's signature.
func imitateProof(signer *x509.Certificate) {
	key, ok := signer.PublicKey.(*rsa.PublicKey)
	if !ok {
		return
	}
	signature := make([]byte, key.Size())
	signature[len(signature)-1] = 2
	_ = rsa.VerifyPKCS1v15(key, crypto.SHA256, make([]byte, crypto.SHA256.Size()), signature)
}

// readQuery reads an IssuerAndSubject or an IssuerAndSerialNumber.
func readQuery(content []byte, t MessageType) (*Query, error) {
	isDER, err := guard("query", content)
	if err == nil && !isDER {
		content, err = toDER(content)
	}
	if err != nil {
		return nil, uniform(err)
	}
	input := cryptobyte.String(content)
	var sequence, issuer, subject cryptobyte.String
	if !input.ReadASN1(&sequence, cbasn1.SEQUENCE) || !sequence.ReadASN1Element(&issuer, cbasn1.SEQUENCE) {
		return nil, notDecryptable("query is malformed")
	}
	q := &Query{Issuer: issuer}
	if t == CertPoll {
		if !sequence.ReadASN1Element(&subject, cbasn1.SEQUENCE) || !sequence.Empty() {
			return nil, notDecryptable("IssuerAndSubject is malformed")
		}
		q.Subject = subject
		return q, nil
	}
	q.SerialNumber = new(big.Int)
	if !sequence.ReadASN1Integer(q.SerialNumber) || !sequence.Empty() {
		return nil, notDecryptable("IssuerAndSerialNumber is malformed")
	}
	return q, nil
}
