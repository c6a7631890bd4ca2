package client

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"

	smallscep "github.com/smallstep/scep"
	"go.mozilla.org/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/scep/internal/cms"
)

// A Status is the pkiStatus attribute.
type Status string

// The statuses of RFC 8894 §3.2.1.3.
const (
	Success = Status(smallscep.SUCCESS)
	Failure = Status(smallscep.FAILURE)
	Pending = Status(smallscep.PENDING)
)

// A FailInfo is the failInfo attribute of a FAILURE.
type FailInfo string

// The reasons of RFC 8894 §3.2.1.4.
const (
	BadAlg          = FailInfo(smallscep.BadAlg)
	BadMessageCheck = FailInfo(smallscep.BadMessageCheck)
	BadRequest      = FailInfo(smallscep.BadRequest)
	BadTime         = FailInfo(smallscep.BadTime)
	BadCertID       = FailInfo(smallscep.BadCertID)
)

// Name returns the RFC's word, such as "badRequest", or "".
func (f FailInfo) Name() string {
	return map[FailInfo]string{
		BadAlg: "badAlg", BadMessageCheck: "badMessageCheck", BadRequest: "badRequest", BadTime: "badTime", BadCertID: "badCertId",
	}[f]
}

// A Reply is a CertRep that was checked: the server's RA signed it, for this
// transaction and this very request.
type Reply struct {
	Status       Status
	FailInfo     FailInfo // with Failure only
	FailInfoText string   // optional, with Failure only; the start of it, what is printable
	// Certificate carries the key that was asked for and chains to the CA;
	// Bundle is all that the envelope held. With Success only.
	// A reply to GetCert has the certificate that was asked for, whatever its
	// key and chain; one to GetCRL has CRL instead.
	Certificate *x509.Certificate
	Bundle      []*x509.Certificate
	CRL         *x509.RevocationList

	SenderNonce        []byte
	SigningTime        time.Time             // zero when absent
	Digest             crypto.Hash           // of the signature
	SignatureAlgorithm asn1.ObjectIdentifier // as the SignerInfo has it
	Cipher             Cipher                // of the envelope, "" without one
	// Deviations are rules that the server broke without making the reply
	// doubtful, each a *Violation.
	Deviations []error
}

// ErrPasswordEnvelope: the reply is a SUCCESS whose envelope is made for a
// password (RFC 8894 §3.1: for clients whose key cannot decrypt). This package
// does not open it.
var ErrPasswordEnvelope = errors.New("the envelope is made for a password (PasswordRecipientInfo), which this client does not open")

func (p *Reply) deviate(rule, format string, args ...any) {
	p.Deviations = append(p.Deviations, broken(rule, format, args...))
}

// ReadReply checks and opens the reply to r. now judges the certificate. The
// error says what makes the reply worthless; lesser faults are Deviations.
func (r *Request) ReadReply(raw []byte, now time.Time) (*Reply, error) {
	reply, err := r.read(raw, now)
	if err != nil {
		return nil, fmt.Errorf("read reply: %w", err)
	}
	return reply, nil
}

func (r *Request) read(raw []byte, now time.Time) (*Reply, error) {
	signed, err := parse(raw, "RFC 8894 §3.2")
	if err != nil {
		return nil, err
	}
	reply := &Reply{}
	values, err := r.verify(signed, reply)
	if err != nil {
		return nil, err
	}
	if err := r.attributes(values, reply); err != nil {
		return nil, err
	}
	if reply.Status == Success {
		return reply, r.open(signed.Content, reply, now)
	}
	if len(signed.Content) != 0 {
		reply.deviate("RFC 8894 §3.3.2", "a reply without a certificate has an envelope")
	} else if der, err := definite(raw); err == nil && !hasContent(der) {
		reply.deviate("RFC 5652 §5.2", "eContent is absent; certmonger and OpenSSL need an empty OCTET STRING")
	}
	return reply, nil
}

func parse(raw []byte, rule string) (*pkcs7.PKCS7, error) {
	der, err := definite(raw)
	if err != nil {
		return nil, broken(rule, "the message is %v", err)
	}
	var message *pkcs7.PKCS7
	err = contained("parse message", func() (err error) {
		message, err = pkcs7.Parse(der)
		return err
	})
	if err != nil {
		return nil, broken(rule, "the message is no CMS: %v", err)
	}
	return message, nil
}

// verify checks that exactly the certificate chosen from GetCACert signed the
// message, and returns the signed attributes.
func (r *Request) verify(signed *pkcs7.PKCS7, reply *Reply) (attributes, error) {
	if len(signed.Signers) != 1 {
		return nil, broken("RFC 8894 §3.2", "the reply has %d signers, not one", len(signed.Signers))
	}
	s, ra := &signed.Signers[0], r.CA.Signing
	if !bytes.Equal(s.IssuerAndSerialNumber.IssuerName.FullBytes, ra.RawIssuer) ||
		s.IssuerAndSerialNumber.SerialNumber.Cmp(ra.SerialNumber) != 0 {
		return nil, broken("RFC 8894 §3.3.2", "the reply is not signed by %q of GetCACert", ra.Subject)
	}
	digest, ok := cms.DigestOf(s.DigestAlgorithm.Algorithm)
	if !ok {
		return nil, broken("RFC 8894 §2.9", "the reply's digest %v is not one of SHA-1, SHA-256, SHA-384 and SHA-512", s.DigestAlgorithm.Algorithm)
	}
	signed.Certificates = []*x509.Certificate{ra} // of several with this name, ours
	if err := contained("verify signature", signed.Verify); err != nil {
		return nil, broken("RFC 8894 §3.2", "the signature does not hold: %v", err)
	}
	reply.Digest, reply.SignatureAlgorithm = digest, s.DigestEncryptionAlgorithm.Algorithm
	values := attributes{}
	for _, a := range s.AuthenticatedAttributes {
		if err := values.add(a.Type, a.Value.Bytes); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// attributes reads and compares what RFC 8894 §3.2.1 puts beside the content.
func (r *Request) attributes(values attributes, reply *Reply) error {
	text := func(oid asn1.ObjectIdentifier, name string) string {
		value, printable := values.text(oid, cbasn1.PrintableString)
		if !printable && value != "" && stringTag(value) == cbasn1.PrintableString {
			reply.deviate("RFC 8894 §3.2.1", "%s is not a PrintableString", name)
		}
		return value
	}
	var contentType asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(values[cms.OIDContentType.String()], &contentType); err != nil || !contentType.Equal(cms.OIDData) {
		return broken("RFC 5652 §11.1", "the signed contentType is not id-data")
	}
	if got := text(oidMessageType, "messageType"); got != string(smallscep.CertRep) {
		return broken("RFC 8894 §3.2.1.2", "messageType is %q, not 3", got)
	}
	if got := text(oidTransactionID, "transactionID"); got != r.TransactionID {
		return broken("RFC 8894 §3.2.1.1", "transactionID is %q, not that of the request, %q", got, r.TransactionID)
	}
	if got := values.octets(oidRecipientNonce); !bytes.Equal(got, r.SenderNonce) {
		return broken("RFC 8894 §3.2.1.5", "recipientNonce is %x, not the request's senderNonce %x", got, r.SenderNonce)
	}
	reply.SenderNonce = values.octets(oidSenderNonce)
	switch {
	case bytes.Equal(reply.SenderNonce, r.SenderNonce):
		reply.deviate("RFC 8894 §3.2.1.5", "senderNonce is the request's own, not a fresh one")
	case len(reply.SenderNonce) != nonceLen:
		reply.deviate("RFC 8894 §3.2.1.5", "senderNonce has %d bytes, not %d", len(reply.SenderNonce), nonceLen)
	}
	_, _ = asn1.Unmarshal(values[cms.OIDSigningTime.String()], &reply.SigningTime)
	reply.Status = Status(text(oidPKIStatus, "pkiStatus"))
	if _, there := values[oidFailInfo.String()]; there && reply.Status != Failure {
		reply.deviate("RFC 8894 §3.2.1.4", "failInfo without pkiStatus FAILURE")
	}
	switch reply.Status {
	case Success, Pending:
		return nil
	case Failure:
		reply.FailInfo = FailInfo(text(oidFailInfo, "failInfo"))
		why, _ := values.text(oidFailInfoText, cbasn1.UTF8String)
		reply.FailInfoText = excerpt([]byte(why))
		if reply.FailInfo.Name() == "" {
			return broken("RFC 8894 §3.2.1.4", "failInfo is %q", string(reply.FailInfo))
		}
		return nil
	}
	return broken("RFC 8894 §3.2.1.3", "pkiStatus is %q", string(reply.Status))
}

// open decrypts the envelope and takes the certificate out of it.
func (r *Request) open(content []byte, reply *Reply, now time.Time) error {
	envelope, err := definite(content)
	if err != nil {
		return broken("RFC 8894 §3.2.2", "the envelope is %v", err)
	}
	oid, recipients, byPassword, ok := inspect(envelope)
	if !ok {
		return broken("RFC 8894 §3.2.2", "SUCCESS has no EnvelopedData")
	}
	reply.Cipher = cipherName(oid)
	if byPassword {
		return ErrPasswordEnvelope
	}
	if recipients != 1 {
		reply.deviate("RFC 8894 §3.2.2", "the envelope has %d recipients, not one", recipients)
	}
	if _, err := reply.Cipher.cms(); err != nil {
		// The decoder prints to standard output when it does not know a cipher.
		if !oid.Equal(pkcs7.OIDEncryptionAlgorithmDESCBC) {
			return broken("RFC 8894 §2.9", "the envelope's %v", err)
		}
		reply.deviate("RFC 8894 §2.9", "the envelope is encrypted with single DES")
	}
	plain, err := r.decrypt(envelope)
	if err != nil {
		return err
	}
	certificates, crls, err := readBundle(plain)
	if err != nil {
		return err
	}
	reply.Bundle = certificates
	switch r.Type {
	case GetCert:
		return r.acceptStored(reply)
	case GetCRL:
		return r.acceptCRL(reply, crls, now)
	}
	return r.accept(reply, now)
}

func (r *Request) decrypt(envelope []byte) (plain []byte, err error) {
	if r.Signer == nil || r.SignerKey == nil {
		return nil, errors.New("the request has no signer to decrypt for")
	}
	err = contained("decrypt envelope", func() error {
		message, err := pkcs7.Parse(envelope)
		if err != nil {
			return err
		}
		plain, err = message.Decrypt(r.Signer, r.SignerKey)
		return err
	})
	if err != nil {
		return nil, broken("RFC 8894 §3.2.2", "the envelope cannot be decrypted with the signer's key: %v", err)
	}
	return plain, nil
}

// accept takes the first certificate, as Apple does, when it is ours.
func (r *Request) accept(reply *Reply, now time.Time) error {
	if len(reply.Bundle) == 0 {
		return broken("RFC 8894 §3.3.2.1", "the envelope holds no certificate")
	}
	first := reply.Bundle[0]
	key, ok := r.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !key.Equal(first.PublicKey) {
		return broken("RFC 8894 §3.3.2.1", "the first certificate, %q, does not carry the requested key (Apple: error 22008)", first.Subject)
	}
	if n := len(reply.Bundle); n != 1 {
		reply.deviate("RFC 8894 §3.3.2.1", "the envelope holds %d certificates, not the issued one alone", n)
	}
	if err := r.CA.verify(first, now); err != nil {
		return broken("RFC 8894 §3.3.2.1", "the certificate does not chain to the CA of GetCACert: %v", err)
	}
	reply.Certificate = first
	return nil
}

// attributes are the values of the signed attributes by object identifier.
type attributes map[string][]byte

// add demands that each attribute is there once and has one value.
func (a attributes) add(oid asn1.ObjectIdentifier, set []byte) error {
	var value cryptobyte.String
	s := cryptobyte.String(set)
	if _, twice := a[oid.String()]; twice || !s.ReadAnyASN1Element(&value, nil) || !s.Empty() {
		return broken("RFC 8894 §3.2.1", "signed attribute %v is there twice or has not exactly one value", oid)
	}
	a[oid.String()] = value
	return nil
}

// text returns a string as its bytes stand there, and whether it is of the
// wanted type. Real transactionIDs have characters that a PrintableString may
// not have; servers echo them.
func (a attributes) text(oid asn1.ObjectIdentifier, want cbasn1.Tag) (string, bool) {
	var value cryptobyte.String
	var tag cbasn1.Tag
	raw := cryptobyte.String(a[oid.String()])
	if !raw.ReadAnyASN1(&value, &tag) || !raw.Empty() {
		return "", false
	}
	return string(value), tag == want
}

func (a attributes) octets(oid asn1.ObjectIdentifier) []byte {
	s, value := cryptobyte.String(a[oid.String()]), cryptobyte.String(nil)
	if !s.ReadASN1(&value, cbasn1.OCTET_STRING) || !s.Empty() {
		return nil
	}
	return value
}
