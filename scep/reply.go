package scep

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/smallstep/scep"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/internal/cms"
)

// Success returns a CertRep with the certificates, encrypted to the message's
// signer alone, in the request's own cipher and digest (RFC 8894 §3.3.2.1); a
// request in single DES is answered in AES-128-CBC.
// Clients expect the issued certificate and nothing else in it.
func (r Recipient) Success(m *Message, now time.Time, certificates ...*x509.Certificate) ([]byte, error) {
	bundle, err := cms.Bundle(certificates, nil)
	if err != nil {
		return nil, err
	}
	return r.success(m, now, bundle, MaxReply)
}

// CRL returns a CertRep that answers a GetCRL: a bundle with the CRL, in DER,
// and nothing else (RFC 8894 §4.6.1), encrypted like Success. A CRL above
// MaxCRL is a refusal that sends the client to the distribution point.
func (r Recipient) CRL(m *Message, now time.Time, crl []byte) ([]byte, error) {
	if len(crl) > MaxCRL {
		return nil, refusal.WithText(refusal.UnsupportedOperation, "the CRL is too large for SCEP: fetch it by HTTP",
			"CRL has %d bytes, more than %d", len(crl), MaxCRL)
	}
	bundle, err := cms.Bundle(nil, [][]byte{crl})
	if err != nil {
		return nil, err
	}
	return r.success(m, now, bundle, MaxCRL+MaxReply)
}

// success encrypts a bundle to the message's signer.
func (r Recipient) success(m *Message, now time.Time, bundle []byte, limit int) ([]byte, error) {
	if err := CanReplyTo(m); err != nil {
		return nil, err
	}
	cipher := m.cipher
	if cipher == 0 || cipher == cms.DESCBC {
		cipher = cms.AES128CBC
	}
	envelope, err := cms.Envelope(r.random(), bundle, cipher, m.Signer)
	if err != nil {
		return nil, err
	}
	return r.certRep(m, now, envelope, limit, printable(oidPKIStatus, string(scep.SUCCESS)))
}

// Pending returns a CertRep that tells the client to ask again later (RFC 8894
// §3.3.2.3).
func (r Recipient) Pending(m *Message, now time.Time) ([]byte, error) {
	return r.certRep(m, now, nil, MaxReply, printable(oidPKIStatus, string(scep.PENDING)))
}

// Failure returns a CertRep that refuses the request (RFC 8894 §3.3.2.2), with
// the failInfo of FailInfoOf and the refusal's text for the client, if it has
// one. An error that is no refusal tells the client nothing.
func (r Recipient) Failure(m *Message, now time.Time, cause error) ([]byte, error) {
	attributes := []cms.Attribute{
		printable(oidPKIStatus, string(scep.FAILURE)),
		printable(oidFailInfo, string(FailInfoOf(cause))),
	}
	if text := textOf(cause); text != "" {
		attributes = append(attributes, value(oidFailInfoText, cbasn1.UTF8String, []byte(strings.ToValidUTF8(text, "?"))))
	}
	return r.certRep(m, now, nil, MaxReply, attributes...)
}

// CanReplyTo returns nil when an envelope to the message's signer can be
// written, which takes an RSA key. Ask before a certificate is issued.
func CanReplyTo(m *Message) error {
	if m.Signer == nil {
		return fmt.Errorf("reply to message: it has no signer")
	}
	if _, ok := m.Signer.PublicKey.(*rsa.PublicKey); !ok {
		return unsupported("", "signer key is %T, and an envelope needs RSA", m.Signer.PublicKey)
	}
	return nil
}

// Bundle returns a certs-only SignedData that keeps the order of certs
// (RFC 8894 §4.2.1.2).
func Bundle(certs []*x509.Certificate) ([]byte, error) { return cms.Bundle(certs, nil) }

// Capabilities returns the body of GetCACaps (RFC 8894 §3.5.2): what package
// scep reads and writes, and what the caller offers beside it.
func Capabilities(renewal, nextCA bool) string {
	words := []string{"POSTPKIOperation"}
	if renewal {
		words = append(words, "Renewal")
	}
	// SHA-384 is not in the RFC's table, but strongSwan 5.9.8 needs it.
	words = append(words, "SHA-512", "SHA-384", "SHA-256", "SHA-1", "DES3", "AES", "SCEPStandard")
	if nextCA {
		words = append(words, "GetNextCACert")
	}
	return strings.Join(words, "\n") + "\n"
}

// certRep signs a CertRep around content, which is empty but for SUCCESS. The
// attributes are those of the status; the others are the same for all. A reply
// of more than limit bytes is an error.
func (r Recipient) certRep(m *Message, now time.Time, content []byte, limit int, status ...cms.Attribute) ([]byte, error) {
	nonce := make([]byte, 16)
	if _, err := io.ReadFull(r.random(), nonce); err != nil {
		return nil, fmt.Errorf("make senderNonce: %w", err)
	}
	signed, err := signingTime(now)
	if err != nil {
		return nil, fmt.Errorf("encode signingTime: %w", err)
	}
	attributes := append([]cms.Attribute{
		{Type: cms.OIDSigningTime, Value: signed},
		printable(oidMessageType, string(CertRep)),
		value(oidTransactionID, echoTag(m), []byte(m.TransactionID)),
		value(oidSenderNonce, cbasn1.OCTET_STRING, nonce),
	}, status...)
	if len(m.SenderNonce) > 0 {
		// A request without a nonce, which is refused, has none to echo.
		attributes = append(attributes, value(oidRecipientNonce, cbasn1.OCTET_STRING, m.SenderNonce))
	}
	reply, err := cms.Sign(r.random(), cms.SignedData{
		Content:      content,
		Digest:       m.Digest,
		Attributes:   attributes,
		Certificates: []*x509.Certificate{r.Certificate},
		Signer:       r.Certificate,
		Key:          r.Key,
	})
	if err != nil {
		return nil, err
	}
	if len(reply) > limit {
		return nil, fmt.Errorf("write reply: it has %d bytes, more than %d", len(reply), limit)
	}
	return reply, nil
}

// echoTag returns the string type for the echo of the transactionID:
// PrintableString as RFC 8894 §3.2.1 says, if the characters fit, else the
// type that the client chose, who will compare.
func echoTag(m *Message) cbasn1.Tag {
	if isPrintableString(m.TransactionID) || m.idTag == 0 {
		return cbasn1.PrintableString
	}
	return cbasn1.Tag(m.idTag)
}

func isPrintableString(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte(" '()+,-./:=?", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// signingTime encodes t as RFC 5652 §11.3 says: UTCTime until 2049.
func signingTime(t time.Time) ([]byte, error) {
	t = t.UTC()
	var b cryptobyte.Builder
	if year := t.Year(); year >= 1950 && year < 2050 {
		b.AddASN1UTCTime(t)
	} else {
		b.AddASN1GeneralizedTime(t)
	}
	return b.Bytes()
}

func printable(oid asn1.ObjectIdentifier, text string) cms.Attribute {
	return value(oid, cbasn1.PrintableString, []byte(text))
}

func value(oid asn1.ObjectIdentifier, tag cbasn1.Tag, content []byte) cms.Attribute {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(content) })
	return cms.Attribute{Type: oid, Value: b.BytesOrPanic()}
}
