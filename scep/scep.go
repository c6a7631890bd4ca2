// Package scep reads and writes the messages of the Simple Certificate
// Enrolment Protocol (RFC 8894), as a server needs it.
//
// A request goes through Decode, which needs no key, and Open, which does; the
// answer is one of the replies of a Recipient. Everything that a stranger can
// send is looked at by a guard before any library sees it, and every refusal is
// a *refusal.Error. The package must not know HTTP, the store, the clock,
// policy or who may have a certificate: time is passed in, and a challenge
// password is only read.
package scep

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"io"
	"time"

	"github.com/smallstep/scep"

	"understudy.example/understudy/scep/internal/cms"
)

// MaxMessage is the largest pkiMessage that Decode looks at, in bytes.
const MaxMessage = 128 << 10

// MaxReply is the largest reply that is written, in bytes, save for those that
// carry a CRL. An honest one has less than a third of it.
const MaxReply = 16 << 10

// MaxCRL is the largest CRL that a reply carries, in bytes: room for some ten
// thousand revoked certificates.
const MaxCRL = 512 << 10

// Limits inside a message, beside those of the guard.
const (
	maxCertificates  = 4
	maxRecipients    = 4
	maxContent       = 32 << 10 // bytes of ciphertext in the envelope
	maxTransactionID = 128      // characters
	maxNonce         = 64       // bytes
	maxChallenge     = 8 << 10  // bytes of its encoding
	maxClockSkew     = 15 * time.Minute
)

// A MessageType is the digits of the messageType attribute (RFC 8894 §3.2.1.2).
// It has no String method on purpose: it prints as the digits.
type MessageType string

// The message types of RFC 8894, and UpdateReq of the drafts before it.
const (
	CertRep    = MessageType(scep.CertRep)
	RenewalReq = MessageType(scep.RenewalReq)
	UpdateReq  = MessageType(scep.UpdateReq)
	PKCSReq    = MessageType(scep.PKCSReq)
	CertPoll   = MessageType(scep.CertPoll)
	GetCert    = MessageType(scep.GetCert)
	GetCRL     = MessageType(scep.GetCRL)
)

// Options are the parts of a configuration that decide which messages are
// read.
type Options struct {
	// Strict asks for nonces of exactly 16 bytes, a signingTime within 15
	// minutes of Now and inside the signer's validity, and a recipient named
	// byte for byte.
	Strict bool
	// AllowSHA1 admits SHA-1 as digest of a message and of a CSR.
	AllowSHA1 bool
	// AllowDES admits single DES as cipher of a request; the reply then uses
	// AES-128-CBC, since DES must not be used (RFC 8894 §2.9).
	AllowDES bool
	// KeySizes are the RSA sizes, in bits, that the signer's key and the CSR's
	// key may have. Empty means that none is allowed.
	KeySizes []int
	// Now is the time of the request.
	Now time.Time
}

// A Message is a decoded request.
type Message struct {
	// Type is one of the constants above; empty when the message has none of
	// them, which Decode refuses.
	Type MessageType
	// TransactionID is 1 to 128 printable ASCII characters, chosen by the
	// client. It is no safe file name.
	TransactionID string
	// SenderNonce has 1 to 64 bytes, or none in a refused message.
	SenderNonce []byte
	// SigningTime is the client's clock; zero when the message does not tell.
	SigningTime time.Time
	// Signer is the certificate whose key signed the message, mostly
	// self-signed. It is never nil, but in a refused message nothing may have
	// been verified with it.
	Signer *x509.Certificate
	// Digest is the digest of the request, and therefore of the reply; SHA-256
	// when the request's own is not allowed.
	Digest crypto.Hash
	// SHA256 is the digest of the whole pkiMessage as received.
	SHA256 [32]byte
	// Addressee is whose key opened the envelope, or was to open it; nil before
	// that and when it is for somebody else.
	Addressee *x509.Certificate
	// Warnings are oddities that were tolerated, as short fixed words.
	Warnings []string

	idTag   byte   // ASN.1 tag of the transactionID, for the echo
	content []byte // eContent: the pkcsPKIEnvelope
	cipher  cms.Cipher
}

// The words of Message.Warnings and Enrolment.Warnings.
const (
	WarnSHA1              = "sha1_digest"             // the message is signed with SHA-1
	WarnSigningTimeOff    = "signing_time_off"        // more than 15 minutes away from Now
	WarnSigningTimeSigner = "signing_time_outside"    // outside the signer certificate's validity
	WarnSigningTimeBad    = "signing_time_unreadable" // present, but no time
	WarnNonceLength       = "nonce_length"            // senderNonce does not have 16 bytes
	WarnIDEncoding        = "transaction_id_encoding" // not a PrintableString, or not its characters
	WarnDES               = "des_cipher"              // the envelope is encrypted with single DES
	WarnBER               = "ber"                     // BER that is not DER
	WarnCSRSHA1           = "csr_sha1"                // the CSR is signed with SHA-1
	WarnPollUnreadable    = "poll_unreadable"         // the content of a CertPoll cannot be read
)

// Cipher returns the request's content cipher, such as "AES-128-CBC". It is
// empty before Open or OpenQuery has read the envelope.
func (m *Message) Cipher() string { return m.cipher.String() }

// Key is a private key of the RA or the CA. It is RSA.
type Key interface {
	crypto.Signer
	crypto.Decrypter
}

// A Recipient is an identity that requests are encrypted to and that replies
// are signed by.
type Recipient struct {
	Certificate *x509.Certificate
	Key         Key
	// Random is the source of nonces, content keys and padding. Nil means
	// crypto/rand.
	Random io.Reader
}

func (r Recipient) random() io.Reader {
	if r.Random == nil {
		return rand.Reader
	}
	return r.Random
}
