package scep

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"
	"time"

	"github.com/smallstep/pkcs7"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/internal/cms"
)

// Decode reads a pkiMessage in BER or DER: its shape, its structure, the keys
// in it, the signature and the attributes, in this order (RFC 8894 §3.2). It
// needs no key and does not look into the envelope.
//
// Every error is a refusal. If the message comes with it, a signed FAILURE can
// be made: the transactionID is good and the signer is known, but nothing else
// may be relied on. If not, the answer can only be an HTTP status. A panic of a
// parser below comes as a *PanicError.
func Decode(raw []byte, o Options) (*Message, error) {
	if len(raw) > MaxMessage {
		return nil, refusal.New(refusal.BadMessage, "message has %d bytes, more than %d", len(raw), MaxMessage)
	}
	isDER, err := guard("message", raw)
	if err != nil {
		return nil, err
	}
	var m *Message
	err = guarded(refusal.BadMessage, func() error {
		der := raw
		if !isDER {
			var err error
			if der, err = toDER(raw); err != nil {
				return err
			}
		}
		var err error
		m, err = decode(der, o)
		return err
	})
	if m != nil {
		m.SHA256 = sha256.Sum256(raw)
		if !isDER {
			m.Warnings = append(m.Warnings, WarnBER)
		}
	}
	return m, err
}

func decode(der []byte, o Options) (*Message, error) {
	outer, err := readOutline(der)
	if err != nil {
		return nil, err
	}
	p7, err := parse(der)
	if err != nil {
		return nil, err
	}
	if len(p7.Signers) == 0 {
		return nil, refusal.New(refusal.BadMessage, "SignerInfo is malformed")
	}
	signer, err := findSigner(p7)
	if err != nil {
		return nil, err
	}
	a, err := readAttributes(p7)
	if err != nil {
		return nil, err
	}
	m := &Message{
		Type:          a.messageType,
		TransactionID: a.transactionID,
		SenderNonce:   a.senderNonce,
		SigningTime:   a.signingTime,
		Signer:        signer,
		Digest:        crypto.SHA256,
		idTag:         a.idTag,
		content:       outer.content,
	}
	// From here on a signed FAILURE is possible.
	if err := checkKeys(signer, p7.Certificates, o.KeySizes); err != nil {
		return m, err
	}
	digest, err := signatureDigest(p7, o.AllowSHA1)
	if err != nil {
		return m, err
	}
	m.Digest = digest
	if err := outer.check(); err != nil {
		return m, err
	}
	if err := a.check(); err != nil {
		return m, err
	}
	if err := verify(p7, signer); err != nil {
		return m, err
	}
	return m, m.judge(a, o)
}

// parse calls the library, which has certificates of Windows clients read by an
// older parser: their critical authorityKeyIdentifier is an error to
// crypto/x509 since Go 1.23. The library has one switch for the whole process;
// turning it on again each time costs nothing and needs no initialisation.
func parse(der []byte) (*pkcs7.PKCS7, error) {
	pkcs7.SetFallbackLegacyX509CertificateParserEnabled(true)
	p7, err := pkcs7.Parse(der)
	if err != nil {
		return nil, refusal.New(refusal.BadMessage, "parse message: %s", brief(err))
	}
	return p7, nil
}

// findSigner returns the certificate that the first SignerInfo names. Two
// certificates with the same issuer and certificate serial are refused: which
// of them is meant would be a matter of opinion.
func findSigner(p7 *pkcs7.PKCS7) (*x509.Certificate, error) {
	for i, c := range p7.Certificates {
		for _, d := range p7.Certificates[:i] {
			if bytes.Equal(c.RawIssuer, d.RawIssuer) && c.SerialNumber.Cmp(d.SerialNumber) == 0 {
				return nil, refusal.New(refusal.BadMessage, "two certificates have the same issuer and serial number")
			}
		}
	}
	id := p7.Signers[0].IssuerAndSerialNumber
	if id.SerialNumber == nil {
		return nil, refusal.New(refusal.BadMessage, "SignerInfo names no certificate")
	}
	for _, c := range p7.Certificates {
		if bytes.Equal(c.RawIssuer, id.IssuerName.FullBytes) && c.SerialNumber.Cmp(id.SerialNumber) == 0 {
			return c, nil
		}
	}
	return nil, refusal.New(refusal.BadMessage, "signer certificate is not in the message")
}

// signatureDigest returns the digest of the message, if it and the signature
// algorithm are allowed.
func signatureDigest(p7 *pkcs7.PKCS7, allowSHA1 bool) (crypto.Hash, error) {
	s := p7.Signers[0]
	digest, ok := cms.DigestOf(s.DigestAlgorithm.Algorithm)
	if !ok || digest == crypto.SHA1 && !allowSHA1 {
		name := algorithmName(s.DigestAlgorithm.Algorithm)
		return 0, unsupported("digest "+name+" is not supported", "message digest is %s", name)
	}
	of, ok := rsaSignature(s.DigestEncryptionAlgorithm.Algorithm)
	if !ok {
		name := algorithmName(s.DigestEncryptionAlgorithm.Algorithm)
		return 0, unsupported("signature algorithm "+name+" is not supported", "signature algorithm is %s", name)
	}
	if of != 0 && of != digest {
		return 0, refusal.New(refusal.BadMessage, "signature algorithm and digest algorithm do not agree")
	}
	return digest, nil
}

// verify checks the messageDigest and the signature. The library compares the
// signingTime with the signer certificate's validity before it looks at the
// signature. That judgement is made here, afterwards, so the library gets a
// copy of the certificate that is valid at any time.
func verify(p7 *pkcs7.PKCS7, signer *x509.Certificate) error {
	timeless := *signer
	timeless.NotBefore = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)
	timeless.NotAfter = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	all := p7.Certificates
	p7.Certificates = []*x509.Certificate{&timeless}
	err := p7.Verify()
	p7.Certificates = all
	var mismatch *pkcs7.MessageDigestMismatchError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mismatch):
		return refusal.New(refusal.BadMessage, "messageDigest is not that of the content")
	default:
		return refusal.New(refusal.BadMessage, "signature is wrong")
	}
}

// judge decides on what a genuine message says.
func (m *Message) judge(a attributes, o Options) error {
	if !slices.Contains([]MessageType{PKCSReq, RenewalReq, CertPoll, GetCert, GetCRL}, m.Type) {
		return refusal.New(refusal.UnsupportedOperation, "messageType %s is not one that a client sends", a.shownType())
	}
	if len(m.SenderNonce) == 0 {
		return WithFailInfo(refusal.New(refusal.BadMessage, "senderNonce is absent or does not have 1 to %d bytes", maxNonce), BadRequest)
	}
	if len(m.SenderNonce) != 16 {
		if o.Strict {
			return WithFailInfo(refusal.New(refusal.BadMessage, "senderNonce has %d bytes, not 16", len(m.SenderNonce)), BadRequest)
		}
		m.warn(WarnNonceLength)
	}
	if m.idTag != tagPrintableString || !isPrintableString(m.TransactionID) {
		m.warn(WarnIDEncoding)
	}
	if m.Digest == crypto.SHA1 {
		m.warn(WarnSHA1)
	}
	if warning := m.oddTime(a, o.Now); warning != "" {
		if o.Strict {
			return WithFailInfo(refusal.New(refusal.BadMessage, "signingTime: %s", warning), BadTime)
		}
		m.warn(warning)
	}
	return nil
}

func (m *Message) warn(word string) { m.Warnings = append(m.Warnings, word) }

// oddTime returns the warning that the signingTime deserves, or "".
func (m *Message) oddTime(a attributes, now time.Time) string {
	t := m.SigningTime
	switch {
	case a.badTime:
		return WarnSigningTimeBad
	case t.IsZero():
		return ""
	case t.Before(m.Signer.NotBefore) || t.After(m.Signer.NotAfter):
		return WarnSigningTimeSigner
	case now.Sub(t).Abs() > maxClockSkew:
		return WarnSigningTimeOff
	default:
		return ""
	}
}
