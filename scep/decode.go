package scep

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"time"

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
	info, err := readSignerInfo(outer.signers)
	if err != nil {
		return nil, err
	}
	certificates, err := readCertificates(outer.certificates, der)
	if err != nil {
		return nil, err
	}
	signer, err := findSigner(info, certificates)
	if err != nil {
		return nil, err
	}
	a, err := readAttributes(info.attributes)
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
	if err := checkKeys(signer, certificates, o.KeySizes); err != nil {
		return m, err
	}
	digest, err := signatureDigest(info, o.AllowSHA1)
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
	key, ok := signer.PublicKey.(*rsa.PublicKey) // as checkKeys demands
	if !ok {
		return m, unsupported("", "signer key is %T, not RSA", signer.PublicKey)
	}
	if err := info.verify(key, digest, outer.content, a.digest); err != nil {
		return m, err
	}
	return m, m.judge(a, o)
}

// findSigner returns the certificate that a SignerInfo names. Two
// certificates with the same issuer and certificate serial are refused: which
// of them is meant would be a matter of opinion.
func findSigner(info signerInfo, certificates []*x509.Certificate) (*x509.Certificate, error) {
	for i, c := range certificates {
		for _, d := range certificates[:i] {
			if bytes.Equal(c.RawIssuer, d.RawIssuer) && c.SerialNumber.Cmp(d.SerialNumber) == 0 {
				return nil, refusal.New(refusal.BadMessage, "two certificates have the same issuer and serial number")
			}
		}
	}
	for _, c := range certificates {
		if bytes.Equal(c.RawIssuer, info.issuer) && c.SerialNumber.Cmp(info.serial) == 0 {
			return c, nil
		}
	}
	return nil, refusal.New(refusal.BadMessage, "signer certificate is not in the message")
}

// signatureDigest returns the digest of the message, if it and the signature
// algorithm are allowed.
func signatureDigest(s signerInfo, allowSHA1 bool) (crypto.Hash, error) {
	digest, ok := cms.DigestOf(s.digest)
	if !ok || digest == crypto.SHA1 && !allowSHA1 {
		name := algorithmName(s.digest)
		return 0, unsupported("digest "+name+" is not supported", "message digest is %s", name)
	}
	of, ok := rsaSignature(s.algorithm)
	if !ok {
		name := algorithmName(s.algorithm)
		return 0, unsupported("signature algorithm "+name+" is not supported", "signature algorithm is %s", name)
	}
	if of != 0 && of != digest {
		return 0, refusal.New(refusal.BadMessage, "signature algorithm and digest algorithm do not agree")
	}
	return digest, nil
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
