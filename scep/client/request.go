package client

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // the transactionID is a name, not a proof
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"

	smallscep "github.com/smallstep/scep"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/scep/internal/cms"
)

// A MessageType is the messageType attribute: a string of digits.
type MessageType string

// The requests that a client sends (RFC 8894 §3.2.1.2).
const (
	RenewalReq = MessageType(smallscep.RenewalReq)
	PKCSReq    = MessageType(smallscep.PKCSReq)
	CertPoll   = MessageType(smallscep.CertPoll)
	GetCert    = MessageType(smallscep.GetCert)
	GetCRL     = MessageType(smallscep.GetCRL)
)

var (
	oidMessageType    = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 2}
	oidPKIStatus      = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 3}
	oidFailInfo       = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 4}
	oidSenderNonce    = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 5}
	oidRecipientNonce = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 6}
	oidTransactionID  = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 7}
	oidFailInfoText   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 24, 1}
)

const (
	nonceLen       = 16 // RFC 8894 §3.2.1.5
	signerLifetime = 7 * 24 * time.Hour
)

// An Enrolment is a wish for a certificate. Only Key is always needed.
type Enrolment struct {
	Key *rsa.PrivateKey
	// Subject is the name to ask for; RawSubject, its DER, wins over it.
	Subject         pkix.Name
	RawSubject      []byte
	Challenge       Password
	SubjectAltNames SubjectAltNames
	Extensions      []pkix.Extension // asked for beside the names
	// CSR, when set, is a finished PKCS #10 request for Key; it is sent as it
	// is and the four fields above are not looked at.
	CSR []byte

	// Type is PKCSReq when empty.
	Type MessageType
	// TransactionID is, when empty, the SHA-1 of the public key in upper-case
	// hex, as Apple writes it. One with characters that a PrintableString
	// cannot hold is sent as a UTF8String, as some clients do.
	TransactionID string
	// Signer and SignerKey sign the request: the old certificate at a
	// renewal. Nil means a new self-signed certificate over Key with a random
	// UUID as its name, as Apple makes it.
	Signer    *x509.Certificate
	SignerKey *rsa.PrivateKey
	// Cipher and Digest are, when zero, what the server's capabilities allow.
	Cipher Cipher
	Digest crypto.Hash

	// Poll says what Enrol does while the answer is PENDING.
	Poll Poll
	// CA and Capabilities, when set, are used instead of asking the server.
	CA           *CACertificates
	Capabilities Capabilities
}

// A Request is a message with what is needed to read its reply. BuildRequest
// makes it whole; for a message from elsewhere, set everything that ReadReply
// compares: TransactionID to CA.
type Request struct {
	Raw           []byte // the pkiMessage
	Type          MessageType
	CSR           []byte
	TransactionID string
	SenderNonce   []byte
	Signer        *x509.Certificate // replies are encrypted to it
	SignerKey     *rsa.PrivateKey
	PublicKey     crypto.PublicKey // which the new certificate must carry
	Subject       []byte           // DER of the name that was asked for
	CA            *CACertificates  // of the server
	Cipher        Cipher
	Digest        crypto.Hash
	// Issuer and CertificateSerial are what GetCert and GetCRL ask about.
	Issuer            []byte
	CertificateSerial *big.Int
}

// BuildRequest makes the message for an enrolment at the server with these
// certificates. Cipher and digest that e leaves open are AES-128-CBC and
// SHA-256; nil random means crypto/rand. now dates a self-signed signer.
func BuildRequest(random io.Reader, e Enrolment, ca *CACertificates, now time.Time) (*Request, error) {
	if random == nil {
		random = rand.Reader
	}
	if err := e.complete(random, now); err != nil {
		return nil, fmt.Errorf("build SCEP request: %w", err)
	}
	parsed, err := x509.ParseCertificateRequest(e.CSR)
	if err != nil {
		return nil, fmt.Errorf("build SCEP request: read certificate request: %w", err)
	}
	r := &Request{
		Type: e.Type, TransactionID: e.TransactionID, Signer: e.Signer, CSR: e.CSR,
		SignerKey: e.SignerKey, PublicKey: e.Key.Public(), Subject: parsed.RawSubject,
		CA: ca, Cipher: e.Cipher, Digest: e.Digest,
	}
	if err := r.write(random, e.CSR); err != nil {
		return nil, fmt.Errorf("build SCEP request: %w", err)
	}
	return r, nil
}

// complete fills in what the caller left open.
func (e *Enrolment) complete(random io.Reader, now time.Time) (err error) {
	switch {
	case e.Key == nil:
		return errors.New("no key")
	case (e.Signer == nil) != (e.SignerKey == nil):
		return errors.New("a signer needs both its certificate and its key")
	}
	if e.Type == "" {
		e.Type = PKCSReq
	}
	if e.Cipher == "" {
		e.Cipher = AES128CBC
	}
	if e.Digest == 0 {
		e.Digest = crypto.SHA256
	}
	if err := checkDigest(e.Digest); err != nil {
		return err
	}
	if e.TransactionID == "" {
		if e.TransactionID, err = TransactionID(e.Key.Public()); err != nil {
			return err
		}
	}
	if e.Signer == nil {
		e.SignerKey = e.Key
		if e.Signer, err = SelfSigned(random, e.Key, now); err != nil {
			return err
		}
	}
	if e.CSR == nil {
		e.CSR, err = buildCSR(random, e)
	}
	return err
}

// TransactionID returns the SHA-1 of a public key's SubjectPublicKeyInfo in
// upper-case hex.
func TransactionID(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("encode public key: %w", err)
	}
	sum := sha1.Sum(der) //nolint:gosec // see the import
	return strings.ToUpper(hex.EncodeToString(sum[:])), nil
}

// SelfSigned returns the certificate that a device without one signs its
// request with: CN is a random UUID and the key usage 5, as Apple has it.
func SelfSigned(random io.Reader, key *rsa.PrivateKey, now time.Time) (*x509.Certificate, error) {
	id := make([]byte, 16)
	if _, err := io.ReadFull(random, id); err != nil {
		return nil, fmt.Errorf("make signer: %w", err)
	}
	serial := new(big.Int).SetBytes(append([]byte{1}, id[:8]...))
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562: version 4
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: fmt.Sprintf("%X-%X-%X-%X-%X", id[:4], id[4:6], id[6:8], id[8:10], id[10:])},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.Add(signerLifetime),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	der, err := x509.CreateCertificate(random, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make signer: %w", err)
	}
	return x509.ParseCertificate(der)
}

// Poll returns a CertPoll for the transaction of r (RFC 8894 §3.3.3).
func (r *Request) Poll(random io.Reader) (*Request, error) {
	if random == nil {
		random = rand.Reader
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(r.CA.Issuer.RawSubject)
		b.AddBytes(r.Subject)
	})
	content, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("build CertPoll: %w", err)
	}
	poll := *r
	poll.Type = CertPoll
	if err := poll.write(random, content); err != nil {
		return nil, fmt.Errorf("build CertPoll: %w", err)
	}
	return &poll, nil
}

// write encrypts the content, signs it with a fresh nonce and sets Raw.
func (r *Request) write(random io.Reader, content []byte) error {
	cipher, err := r.Cipher.cms()
	if err != nil {
		return err
	}
	envelope, err := cms.Envelope(random, content, cipher, r.CA.Encryption)
	if err != nil {
		return err
	}
	r.SenderNonce = make([]byte, nonceLen)
	if _, err := io.ReadFull(random, r.SenderNonce); err != nil {
		return fmt.Errorf("make nonce: %w", err)
	}
	r.Raw, err = cms.Sign(random, cms.SignedData{
		Content: envelope, Digest: r.Digest,
		Attributes: []cms.Attribute{
			{Type: oidMessageType, Value: encoded(cbasn1.PrintableString, []byte(r.Type))},
			{Type: oidTransactionID, Value: encoded(stringTag(r.TransactionID), []byte(r.TransactionID))},
			{Type: oidSenderNonce, Value: encoded(cbasn1.OCTET_STRING, r.SenderNonce)},
		},
		Certificates: []*x509.Certificate{r.Signer}, Signer: r.Signer, Key: r.SignerKey,
	})
	return err
}

// encoded returns one short DER element.
func encoded(tag cbasn1.Tag, value []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(value) })
	return b.BytesOrPanic()
}
