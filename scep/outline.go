package scep

import (
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/internal/cms"
)

const (
	context0 = cbasn1.Tag(0x80 | 0x20) // [0], constructed
	context1 = cbasn1.Tag(0x81 | 0x20) // [1], constructed
)

// An outline is a SignedData, down to the certificates and SignerInfos, which
// are not read yet.
type outline struct {
	contentIsData bool
	hasContent    bool
	content       []byte
	certificates  []byte            // DER, one after the other
	signers       cryptobyte.String // the SignerInfos
	signerInfos   int               // their number
}

// readOutline reads a ContentInfo with a SignedData (RFC 5652 §3, §5.1) and
// refuses it when it has more certificates than anybody needs or no
// SignerInfo. Whatever else is wrong waits for check, when a reply is possible.
func readOutline(der []byte) (outline, error) {
	var o outline
	input := cryptobyte.String(der)
	var info, explicit, signedData cryptobyte.String
	var contentType asn1.ObjectIdentifier
	if !input.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1ObjectIdentifier(&contentType) {
		return o, refusal.New(refusal.BadMessage, "message is no ContentInfo")
	}
	if !contentType.Equal(cms.OIDSignedData) {
		return o, refusal.New(refusal.BadMessage, "message is no SignedData")
	}
	var digests, encap, certificates, signerInfos cryptobyte.String
	var eContentType asn1.ObjectIdentifier
	var hasCertificates bool
	if !info.ReadASN1(&explicit, context0) || !info.Empty() ||
		!explicit.ReadASN1(&signedData, cbasn1.SEQUENCE) || !explicit.Empty() ||
		!signedData.SkipASN1(cbasn1.INTEGER) ||
		!signedData.ReadASN1(&digests, cbasn1.SET) || !areAlgorithms(digests) ||
		!signedData.ReadASN1(&encap, cbasn1.SEQUENCE) ||
		!encap.ReadASN1ObjectIdentifier(&eContentType) ||
		!signedData.ReadOptionalASN1(&certificates, &hasCertificates, context0) ||
		!signedData.SkipOptionalASN1(context1) ||
		!signedData.ReadASN1(&signerInfos, cbasn1.SET) || !signedData.Empty() {
		return o, refusal.New(refusal.BadMessage, "SignedData is malformed")
	}
	if n, ok := count(certificates); !ok || n > maxCertificates {
		return o, refusal.New(refusal.BadMessage, "message has more than %d certificates", maxCertificates)
	}
	n, ok := count(signerInfos)
	if !ok || n == 0 {
		return o, refusal.New(refusal.BadMessage, "message has no SignerInfo")
	}
	var eContent, content cryptobyte.String
	o.hasContent = encap.ReadASN1(&eContent, context0) && encap.Empty() &&
		eContent.ReadASN1(&content, cbasn1.OCTET_STRING) && eContent.Empty()
	o.content = content
	o.contentIsData = eContentType.Equal(cms.OIDData)
	o.certificates, o.signers, o.signerInfos = certificates, signerInfos, n
	return o, nil
}

// check refuses what a signed FAILURE can answer.
func (o outline) check() error {
	switch {
	case o.signerInfos != 1:
		return refusal.New(refusal.BadMessage, "message has %d SignerInfos, not 1", o.signerInfos)
	case !o.contentIsData:
		return refusal.New(refusal.BadMessage, "eContentType is not id-data")
	case !o.hasContent:
		return refusal.New(refusal.BadMessage, "message has no content in an OCTET STRING")
	default:
		return nil
	}
}

// areAlgorithms says that s holds AlgorithmIdentifiers. Which ones does not
// matter: the SignerInfo says what is used.
func areAlgorithms(s cryptobyte.String) bool {
	for !s.Empty() {
		var one cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !s.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1ObjectIdentifier(&oid) {
			return false
		}
	}
	return true
}

// count returns the number of elements in s, or false if it is malformed.
func count(s cryptobyte.String) (n int, ok bool) {
	for !s.Empty() {
		var element cryptobyte.String
		var tag cbasn1.Tag
		if !s.ReadAnyASN1Element(&element, &tag) {
			return 0, false
		}
		n++
	}
	return n, true
}
