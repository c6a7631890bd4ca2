package ca

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
)

const (
	sanLimit     = 64  // entries
	sanTextLimit = 256 // octets of one entry that are kept
)

// oidUserPrincipalName is Microsoft's otherName for a UPN.
var oidUserPrincipalName = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}

// checkExtensions judges the extensions that a request asks for. All of them
// are dropped; what is left is the evidence of the subjectAltNames.
func (p *Policy) checkExtensions(requested []pkix.Extension) (sans []string, err error) {
	for _, e := range requested {
		switch {
		case e.Id.Equal(oidSubjectAltName):
			if sans, err = readSANs(e.Value, sans); err != nil {
				return nil, err
			}
		case p.StrictExtensions && asksForCA(e):
			return nil, refusal.WithText(refusal.SubjectRejected, "the rights of a CA are not given", "request asks for the rights of a CA in extension %s", e.Id)
		}
	}
	return sans, nil
}

// asksForCA says whether an extension asks for what only a CA has: cA, a path
// length, keyCertSign or cRLSign. What cannot be read asks for it.
func asksForCA(e pkix.Extension) bool {
	switch {
	case e.Id.Equal(oidBasicConstraints):
		input := cryptobyte.String(e.Value)
		var constraints cryptobyte.String
		var isCA bool
		return !input.ReadASN1(&constraints, cryptobyte_asn1.SEQUENCE) || !input.Empty() ||
			!constraints.ReadOptionalASN1Boolean(&isCA, cryptobyte_asn1.BOOLEAN, false) ||
			isCA || !constraints.Empty()
	case e.Id.Equal(oidKeyUsage):
		input := cryptobyte.String(e.Value)
		var usage asn1.BitString
		const keyCertSign, cRLSign = 5, 6 // RFC 5280 §4.2.1.3
		return !input.ReadASN1BitString(&usage) || !input.Empty() || usage.At(keyCertSign) == 1 || usage.At(cRLSign) == 1
	}
	return false
}

// readSANs adds the entries of a subjectAltName to those read before.
func readSANs(der []byte, sans []string) ([]string, error) {
	input := cryptobyte.String(der)
	var names cryptobyte.String
	if !input.ReadASN1(&names, cryptobyte_asn1.SEQUENCE) || !input.Empty() {
		return nil, rejectSubject("subjectAltName is not a sequence of names")
	}
	for !names.Empty() {
		if len(sans) == sanLimit {
			return nil, rejectSubject("subjectAltName has more than %d entries", sanLimit)
		}
		var value cryptobyte.String
		var tag cryptobyte_asn1.Tag
		if !names.ReadAnyASN1(&value, &tag) {
			return nil, rejectSubject("subjectAltName entry %d is not a name", len(sans)+1)
		}
		sans = append(sans, sanText(tag, value))
	}
	return sans, nil
}

// Tags of GeneralName (RFC 5280 §4.2.1.6).
const (
	tagOtherName    = cryptobyte_asn1.Tag(0x80 | 0x20) // [0]
	tagRFC822Name   = cryptobyte_asn1.Tag(0x80 | 1)
	tagDNSName      = cryptobyte_asn1.Tag(0x80 | 2)
	tagDirectory    = cryptobyte_asn1.Tag(0x80 | 0x20 | 4)
	tagURI          = cryptobyte_asn1.Tag(0x80 | 6)
	tagIPAddress    = cryptobyte_asn1.Tag(0x80 | 7)
	tagRegisteredID = cryptobyte_asn1.Tag(0x80 | 8)
)

// sanText returns a GeneralName as evidence.
func sanText(tag cryptobyte_asn1.Tag, value []byte) string {
	switch tag {
	case tagRFC822Name:
		return "email:" + evidence(value)
	case tagDNSName:
		return "dns:" + evidence(value)
	case tagURI:
		return "uri:" + evidence(value)
	case tagIPAddress:
		if address, ok := netip.AddrFromSlice(value); ok {
			return "ip:" + address.String()
		}
		return "ip:" + hexEvidence(value)
	case tagOtherName:
		return otherName(value)
	case tagDirectory:
		return "dirname:" + hexEvidence(value)
	case tagRegisteredID:
		return "rid:" + oidText(value)
	}
	return "unknown:" + hexEvidence(value)
}

// otherName returns a UPN as "upn:…" and any other name with its OID.
func otherName(der []byte) string {
	input := cryptobyte.String(der)
	var oid, wrapped, text cryptobyte.String
	var tag cryptobyte_asn1.Tag
	if !input.ReadASN1(&oid, cryptobyte_asn1.OBJECT_IDENTIFIER) ||
		!input.ReadASN1(&wrapped, cryptobyte_asn1.Tag(0).ContextSpecific().Constructed()) ||
		!wrapped.ReadAnyASN1(&text, &tag) || !wrapped.Empty() || !input.Empty() {
		return "other:" + hexEvidence(der)
	}
	value := hexEvidence(text)
	if tag == cryptobyte_asn1.UTF8String || tag == cryptobyte_asn1.IA5String {
		value = evidence(text)
	}
	if name := oidText(oid); name != oidUserPrincipalName.String() {
		return "other:" + name + ":" + value
	}
	return "upn:" + value
}

// oidText returns the content of an OBJECT IDENTIFIER with dots, or in hex if
// it is too long or strange for that.
func oidText(content []byte) string {
	const limit = 32
	var b cryptobyte.Builder
	b.AddASN1(cryptobyte_asn1.OBJECT_IDENTIFIER, func(b *cryptobyte.Builder) { b.AddBytes(content) })
	if der, err := b.Bytes(); err == nil && len(content) <= limit {
		var oid asn1.ObjectIdentifier
		if input := cryptobyte.String(der); input.ReadASN1ObjectIdentifier(&oid) {
			return oid.String()
		}
	}
	return hexEvidence(content[:min(len(content), limit/4)])
}

// evidence returns text as it is, up to a length, or hex if it is none.
func evidence(value []byte) string {
	if !utf8.Valid(value) || strings.ContainsFunc(string(value), isControl) {
		return hexEvidence(value)
	}
	if len(value) <= sanTextLimit {
		return string(value)
	}
	return strings.ToValidUTF8(string(value[:sanTextLimit]), "") + "…"
}

// hexEvidence returns octets in hex after a "#", up to a length.
func hexEvidence(value []byte) string {
	if len(value) <= sanTextLimit/2 {
		return "#" + hex.EncodeToString(value)
	}
	return "#" + hex.EncodeToString(value[:sanTextLimit/2]) + "…"
}
