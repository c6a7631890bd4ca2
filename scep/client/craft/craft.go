// Package craft makes SCEP requests that no honest device sends: odd ones that
// a server must bear, and broken ones that it must refuse.
//
// A Request begins honest; a caller changes what it wants to see wrong. The
// package serves the conformance list and tests. It must not know how a server
// reacts, and it makes nothing that reaches beyond the limits of the smallest
// refusal: no floods, no bombs.
package craft

import (
	"bytes"
	"crypto"
	_ "crypto/md5" //nolint:gosec // to see it refused
	"crypto/rand"
	_ "crypto/sha1" //nolint:gosec // old devices sign with it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/scep/internal/cms"
)

// Object identifiers of the signed attributes (RFC 8894 §3.2.1, RFC 5652 §11).
var (
	OIDMessageType   = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 2}
	OIDSenderNonce   = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 5}
	OIDTransactionID = asn1.ObjectIdentifier{2, 16, 840, 1, 113733, 1, 9, 7}
	OIDSigningTime   = cms.OIDSigningTime
	OIDContentType   = cms.OIDContentType
	OIDMessageDigest = cms.OIDMessageDigest

	OIDData          = cms.OIDData
	OIDSignedData    = cms.OIDSignedData
	OIDEnvelopedData = cms.OIDEnvelopedData
)

const context0 = cbasn1.Tag(0x80 | 0x20) // [0], constructed

// A Request is a whole pkiMessage in its three layers. Each inner layer is
// encoded into the next one, unless that one's content is already set.
type Request struct {
	CSR      CSR
	Envelope Envelope
	Message  SignedData
}

// NewRequest returns an honest PKCSReq, in AES-128-CBC and SHA-256. recipient
// is the server's RA; signer certifies signerKey, which signs; key is what the
// CSR is for; subject is a Name in DER.
func NewRequest(recipient, signer *x509.Certificate, signerKey, key crypto.Signer, subject []byte, challenge, transactionID string) (*Request, error) {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	r := &Request{
		CSR:      CSR{Key: key, Subject: subject},
		Envelope: Envelope{Recipients: []Recipient{{Certificate: recipient}}, Cipher: AES128CBC},
		Message: SignedData{
			Digest: crypto.SHA256, Signer: signer, Key: signerKey, Certificates: [][]byte{signer.Raw},
			Attributes: []Attribute{
				{OIDMessageType, [][]byte{Text(cbasn1.PrintableString, "19")}},
				{OIDTransactionID, [][]byte{Text(cbasn1.PrintableString, transactionID)}},
				{OIDSenderNonce, [][]byte{Octets(nonce)}},
			},
		},
	}
	if challenge != "" {
		r.CSR.Challenges = [][]byte{Text(cbasn1.PrintableString, challenge)}
	}
	return r, nil
}

// Encode returns the pkiMessage.
func (r *Request) Encode() ([]byte, error) {
	envelope, message := r.Envelope, r.Message
	var err error
	if message.Content == nil {
		if envelope.Content == nil {
			if envelope.Content, err = r.CSR.Encode(); err != nil {
				return nil, err
			}
		}
		if message.Content, err = envelope.Encode(); err != nil {
			return nil, err
		}
	}
	return message.Encode()
}

// An Attribute is a signed attribute with any number of values, each in DER.
type Attribute struct {
	Type   asn1.ObjectIdentifier
	Values [][]byte
}

// SignedData is the outer layer. The zero value of every hook and override
// means honest.
type SignedData struct {
	Content     []byte
	NoContent   bool                  // leave eContent out
	ContentType asn1.ObjectIdentifier // of eContent; nil means id-data

	Digest       crypto.Hash           // also MD5 and SHA-224
	DigestOID    asn1.ObjectIdentifier // claimed, whatever Digest is
	SignatureOID asn1.ObjectIdentifier // claimed; nil means rsaEncryption, or ECDSA with SHA-256
	Attributes   []Attribute           // besides contentType and messageDigest
	Replace      []Attribute           // instead of contentType and messageDigest
	NoAttributes bool

	Certificates [][]byte // DER, in this order
	// NoCertificates leaves the field out, where an empty list would be [0] of
	// length zero.
	NoCertificates bool
	Signer         *x509.Certificate // Raw, RawIssuer and SerialNumber are used
	Key            crypto.Signer
	// SignerInfos is how many copies of the SignerInfo there are; 0 means one,
	// a negative number none.
	SignerInfos int
	Signature   func([]byte) []byte // changes the signature
}

// Encode signs and returns the ContentInfo.
func (s SignedData) Encode() ([]byte, error) {
	if s.ContentType == nil {
		s.ContentType = OIDData
	}
	info, err := s.signerInfo()
	if err != nil {
		return nil, fmt.Errorf("craft SignedData: %w", err)
	}
	copies := max(s.SignerInfos, 0)
	if s.SignerInfos == 0 {
		copies = 1
	}
	return contentInfo(OIDSignedData, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { addAlgorithm(b, s.digestOID()) })
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(s.ContentType)
			if !s.NoContent {
				b.AddASN1(context0, func(b *cryptobyte.Builder) { b.AddASN1OctetString(s.Content) })
			}
		})
		if !s.NoCertificates {
			b.AddASN1(context0, func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(s.Certificates...)) })
		}
		b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(bytes.Repeat(info, copies)) })
	})
}

func (s *SignedData) digestOID() asn1.ObjectIdentifier {
	switch {
	case s.DigestOID != nil:
		return s.DigestOID
	case s.Digest == crypto.MD5:
		return asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 5}
	case s.Digest == crypto.SHA224:
		return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 4}
	}
	return cms.DigestOID(s.Digest)
}

func (s *SignedData) signatureOID() asn1.ObjectIdentifier {
	switch {
	case s.SignatureOID != nil:
		return s.SignatureOID
	case isRSA(s.Key):
		return cms.OIDRSAEncryption
	}
	return oidECDSAWithSHA256
}

func (s *SignedData) signerInfo() ([]byte, error) {
	attributes, err := s.attributes()
	if err != nil {
		return nil, err
	}
	signed := s.Content
	if !s.NoAttributes {
		signed = element(cbasn1.SET, attributes)
	}
	signature, err := s.Key.Sign(rand.Reader, sum(s.Digest, signed), s.Digest)
	if err != nil {
		return nil, err
	}
	signature = hook(s.Signature, signature)
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		addIssuerAndSerial(b, s.Signer.RawIssuer, s.Signer.SerialNumber)
		addAlgorithm(b, s.digestOID())
		if !s.NoAttributes {
			b.AddBytes(element(context0, attributes))
		}
		addAlgorithm(b, s.signatureOID())
		b.AddASN1OctetString(signature)
	})
	return b.Bytes()
}

// attributes returns the sorted members of the SET.
func (s *SignedData) attributes() ([]byte, error) {
	oid, err := asn1.Marshal(s.ContentType)
	if err != nil {
		return nil, err
	}
	all := []Attribute{{OIDContentType, [][]byte{oid}}, {OIDMessageDigest, [][]byte{Octets(sum(s.Digest, s.Content))}}}
	if s.Replace != nil {
		all = slices.Clone(s.Replace)
	}
	var members [][]byte
	for _, a := range append(all, s.Attributes...) {
		var b cryptobyte.Builder
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(a.Type)
			b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(slices.Concat(a.Values...)) })
		})
		der, err := b.Bytes()
		if err != nil {
			return nil, err
		}
		members = append(members, der)
	}
	slices.SortFunc(members, bytes.Compare)
	return slices.Concat(members...), nil
}

// Set replaces the values of an attribute; without values it removes it.
func (s *SignedData) Set(oid asn1.ObjectIdentifier, values ...[]byte) {
	s.Attributes = slices.DeleteFunc(slices.Clone(s.Attributes), func(a Attribute) bool { return a.Type.Equal(oid) })
	if len(values) > 0 {
		s.Attributes = append(s.Attributes, Attribute{oid, values})
	}
}

// Get returns the first value of an attribute as it stands in DER, or nil.
func (s *SignedData) Get(oid asn1.ObjectIdentifier) []byte {
	for _, a := range s.Attributes {
		if a.Type.Equal(oid) && len(a.Values) > 0 {
			return a.Values[0]
		}
	}
	return nil
}

// Text returns a string in DER. A BMPString is written in UTF-16; the other
// types take the bytes as they are.
func Text(tag cbasn1.Tag, text string) []byte {
	content := []byte(text)
	if tag == BMPString {
		content = nil
		for _, r := range text {
			content = append(content, byte(r>>8), byte(r))
		}
	}
	return element(tag, content)
}

// Tags of string types that cryptobyte does not name.
const (
	BMPString = cbasn1.Tag(30)
	IA5String = cbasn1.IA5String
)

// Octets returns an OCTET STRING.
func Octets(content []byte) []byte { return element(cbasn1.OCTET_STRING, content) }

// Indefinite re-encodes DER in BER as OpenSSL streams it: every constructed
// element with indefinite length, the content of a message and the encrypted
// content of an envelope in two pieces. Signed attributes keep their bytes,
// since the signature is over their DER; so do certificates.
func Indefinite(der []byte) ([]byte, error) {
	const longerThanAKey = 512
	var out []byte
	for len(der) > 0 {
		var one asn1.RawValue
		rest, err := asn1.Unmarshal(der, &one)
		if err != nil {
			return nil, errors.New("craft BER: the input is not DER")
		}
		der = rest
		octets := one.Class == asn1.ClassUniversal && one.Tag == asn1.TagOctetString
		encrypted := one.Class == asn1.ClassContextSpecific && one.Tag == 0 && !one.IsCompound
		switch {
		case octets && len(one.Bytes) > longerThanAKey || encrypted:
			half := len(one.Bytes) / 2
			out = append(out, one.FullBytes[0]|0x20, 0x80)
			out = append(out, Octets(one.Bytes[:half])...)
			out = append(out, Octets(one.Bytes[half:])...)
			out = append(out, 0, 0)
		case one.IsCompound && !isCertificateOrAttribute(one):
			inner, err := Indefinite(one.Bytes)
			if err != nil {
				return nil, err
			}
			out = append(out, one.FullBytes[0], 0x80)
			out = append(append(out, inner...), 0, 0)
		default:
			out = append(out, one.FullBytes...)
		}
	}
	return out, nil
}

// isCertificateOrAttribute tells what must keep its bytes by its beginning: a
// certificate is a SEQUENCE in a SEQUENCE with a [0] version, an attribute is
// a SEQUENCE that begins with an OBJECT IDENTIFIER and goes on with a SET.
func isCertificateOrAttribute(one asn1.RawValue) bool {
	s := cryptobyte.String(one.FullBytes)
	var body, inner cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) {
		return false
	}
	certificate := body
	if certificate.ReadASN1(&inner, cbasn1.SEQUENCE) && inner.PeekASN1Tag(context0) {
		return true
	}
	return body.SkipASN1(cbasn1.OBJECT_IDENTIFIER) && body.PeekASN1Tag(cbasn1.SET)
}

func element(tag cbasn1.Tag, content []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(content) })
	return b.BytesOrPanic()
}

func contentInfo(contentType asn1.ObjectIdentifier, content cryptobyte.BuilderContinuation) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(contentType)
		b.AddASN1(context0, func(b *cryptobyte.Builder) { b.AddASN1(cbasn1.SEQUENCE, content) })
	})
	return b.Bytes()
}

func addAlgorithm(b *cryptobyte.Builder, oid asn1.ObjectIdentifier) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1NULL()
	})
}

func addIssuerAndSerial(b *cryptobyte.Builder, issuer []byte, serial *big.Int) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(issuer)
		b.AddASN1BigInt(serial)
	})
}

func sum(h crypto.Hash, data []byte) []byte {
	d := h.New()
	d.Write(data)
	return d.Sum(nil)
}
