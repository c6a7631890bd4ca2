package client

import (
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/scep/internal/cms"
)

// The two functions here look at what go.mozilla.org/pkcs7 keeps to itself.

// contentOf enters a ContentInfo of the given type.
func contentOf(der []byte, contentType asn1.ObjectIdentifier) (content cryptobyte.String, ok bool) {
	var info cryptobyte.String
	var oid asn1.ObjectIdentifier
	s := cryptobyte.String(der)
	ok = s.ReadASN1(&info, cbasn1.SEQUENCE) && info.ReadASN1ObjectIdentifier(&oid) && oid.Equal(contentType) &&
		info.ReadASN1(&info, context0) && info.ReadASN1(&content, cbasn1.SEQUENCE)
	return content, ok
}

// hasContent says whether a SignedData in DER has an eContent, be it empty.
func hasContent(der []byte) bool {
	content, ok := contentOf(der, cms.OIDSignedData)
	var encapsulated cryptobyte.String
	ok = ok && content.SkipASN1(cbasn1.INTEGER) && content.SkipASN1(cbasn1.SET) &&
		content.ReadASN1(&encapsulated, cbasn1.SEQUENCE) && encapsulated.SkipASN1(cbasn1.OBJECT_IDENTIFIER)
	return ok && !encapsulated.Empty()
}

// inspect returns the cipher of an EnvelopedData in DER, for how many
// recipients it is made, and whether one of them is a password.
func inspect(der []byte) (cipher asn1.ObjectIdentifier, recipients int, byPassword, ok bool) {
	const pwri = cbasn1.Tag(3 | 0x80 | 0x20) // RFC 5652 §6.2
	content, ok := contentOf(der, cms.OIDEnvelopedData)
	var infos, encrypted, algorithm cryptobyte.String
	ok = ok && content.SkipASN1(cbasn1.INTEGER) && content.SkipOptionalASN1(context0) &&
		content.ReadASN1(&infos, cbasn1.SET) && content.ReadASN1(&encrypted, cbasn1.SEQUENCE) &&
		encrypted.SkipASN1(cbasn1.OBJECT_IDENTIFIER) && encrypted.ReadASN1(&algorithm, cbasn1.SEQUENCE) &&
		algorithm.ReadASN1ObjectIdentifier(&cipher)
	for ok && !infos.Empty() {
		var one cryptobyte.String
		var tag cbasn1.Tag
		ok = infos.ReadAnyASN1(&one, &tag)
		recipients++
		byPassword = byPassword || tag == pwri
	}
	return cipher, recipients, byPassword, ok
}
