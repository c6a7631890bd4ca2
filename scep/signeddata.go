package scep

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"slices"

	"github.com/smallstep/pkcs7"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
)

// A signerInfo is a SignerInfo (RFC 5652 §5.3) whose signer is named by issuer
// and serial number, as RFC 8894 §3.1 has it. Nothing in it is checked yet.
type signerInfo struct {
	issuer     []byte // DER of the Name
	serial     *big.Int
	digest     asn1.ObjectIdentifier
	algorithm  asn1.ObjectIdentifier // of the signature
	signature  []byte
	attributes []attribute // as they came
}

// An attribute is a signed attribute.
type attribute struct {
	der    []byte // whole
	oid    asn1.ObjectIdentifier
	values asn1.RawValue // that should be a SET
}

// readSignerInfo reads the first of the SignerInfos.
func readSignerInfo(signerInfos cryptobyte.String) (signerInfo, error) {
	var s signerInfo
	var info, id, issuer, digest, attributes, algorithm, signature cryptobyte.String
	var hasAttributes bool
	s.serial = new(big.Int)
	if !signerInfos.ReadASN1(&info, cbasn1.SEQUENCE) || !info.SkipASN1(cbasn1.INTEGER) ||
		!info.ReadASN1(&id, cbasn1.SEQUENCE) ||
		!id.ReadASN1Element(&issuer, cbasn1.SEQUENCE) || !id.ReadASN1Integer(s.serial) || !id.Empty() ||
		!info.ReadASN1(&digest, cbasn1.SEQUENCE) || !digest.ReadASN1ObjectIdentifier(&s.digest) ||
		!info.ReadOptionalASN1(&attributes, &hasAttributes, context0) ||
		!info.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&s.algorithm) ||
		!info.ReadASN1(&signature, cbasn1.OCTET_STRING) ||
		!info.SkipOptionalASN1(context1) || !info.Empty() {
		return s, refusal.New(refusal.BadMessage, "SignerInfo is malformed")
	}
	s.issuer, s.signature = issuer, signature
	for !attributes.Empty() {
		var element, content, values cryptobyte.String
		var one attribute
		if !attributes.ReadASN1Element(&element, cbasn1.SEQUENCE) {
			return s, refusal.New(refusal.BadMessage, "signed attribute is malformed")
		}
		one.der = element
		if !element.ReadASN1(&content, cbasn1.SEQUENCE) || !content.ReadASN1ObjectIdentifier(&one.oid) ||
			!readElement(&content, &values) || !content.Empty() {
			return s, refusal.New(refusal.BadMessage, "signed attribute is malformed")
		}
		one.values = rawValue(values)
		s.attributes = append(s.attributes, one)
	}
	return s, nil
}

func readElement(s *cryptobyte.String, out *cryptobyte.String) bool {
	var tag cbasn1.Tag
	return s.ReadAnyASN1Element(out, &tag)
}

// rawValue splits one element, which is whole.
func rawValue(element cryptobyte.String) asn1.RawValue {
	full, tag := []byte(element), cbasn1.Tag(0)
	var content cryptobyte.String
	element.ReadAnyASN1(&content, &tag)
	return asn1.RawValue{
		Class: int(tag >> 6), IsCompound: tag&0x20 != 0, Tag: int(tag & 0x1f), Bytes: content, FullBytes: full,
	}
}

// readCertificates parses all certificates of a message. What crypto/x509 has
// refused since Go 1.23, the critical authorityKeyIdentifier in certificates of
// Windows clients, the library reads by an older parser. It has one switch for
// the whole process; turning it on again each time costs nothing and needs no
// initialisation.
func readCertificates(certificates []byte, message []byte) ([]*x509.Certificate, error) {
	all, err := x509.ParseCertificates(certificates)
	if err == nil {
		return all, nil
	}
	pkcs7.SetFallbackLegacyX509CertificateParserEnabled(true)
	p7, err := pkcs7.Parse(message)
	if err != nil {
		return nil, refusal.New(refusal.BadMessage, "parse message: %s", brief(err))
	}
	return p7.Certificates, nil
}

// verify checks the messageDigest over the content, and the signature over the
// attributes in DER (RFC 5652 §5.4): with the tag of a SET, and in its order,
// however they came. The key has passed the policy, the digest too.
func (s *signerInfo) verify(key *rsa.PublicKey, digest crypto.Hash, content, messageDigest []byte) error {
	h := digest.New()
	h.Write(content)
	if !bytes.Equal(h.Sum(nil), messageDigest) {
		return refusal.New(refusal.BadMessage, "messageDigest is not that of the content")
	}
	members := make([][]byte, len(s.attributes))
	for i, a := range s.attributes {
		members[i] = a.der
	}
	slices.SortFunc(members, bytes.Compare)
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) {
		for _, m := range members {
			b.AddBytes(m)
		}
	})
	set, err := b.Bytes()
	if err != nil {
		return refusal.New(refusal.BadMessage, "signed attributes are too long")
	}
	h.Reset()
	h.Write(set)
	if rsa.VerifyPKCS1v15(key, digest, h.Sum(nil), s.signature) != nil {
		return refusal.New(refusal.BadMessage, "signature is wrong")
	}
	return nil
}
