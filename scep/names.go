package scep

import (
	"encoding/asn1"
	"unicode/utf16"
	"unicode/utf8"
)

// An attributeValue is an AttributeTypeAndValue of a Name.
type attributeValue struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

type relativeNameSET []attributeValue

// sameName says that two DER-encoded Names have the same attributes with the
// same text, in whichever string types. A client that decodes a certificate
// and encodes its issuer anew often takes another type than the CA did.
func sameName(a, b []byte) bool {
	var x, y []relativeNameSET
	if rest, err := asn1.Unmarshal(a, &x); err != nil || len(rest) > 0 {
		return false
	}
	if rest, err := asn1.Unmarshal(b, &y); err != nil || len(rest) > 0 {
		return false
	}
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if len(x[i]) != len(y[i]) {
			return false
		}
		for j := range x[i] {
			s, ok := decodeText(x[i][j].Value)
			t, ok2 := decodeText(y[i][j].Value)
			if !x[i][j].Type.Equal(y[i][j].Type) || !ok || !ok2 || s != t {
				return false
			}
		}
	}
	return true
}

// decodeText returns the text of a primitive string in one of the types of a
// DirectoryString or IA5String, or false if it is another type or badly
// encoded. T61String is read as ISO 8859-1, as everybody does.
func decodeText(v asn1.RawValue) (string, bool) {
	if v.Class != asn1.ClassUniversal || v.IsCompound {
		return "", false
	}
	switch v.Tag {
	case tagUTF8String:
		return string(v.Bytes), utf8.Valid(v.Bytes)
	case tagPrintableString, tagIA5String:
		for _, c := range v.Bytes {
			if c >= utf8.RuneSelf {
				return "", false
			}
		}
		return string(v.Bytes), true
	case tagT61String:
		runes := make([]rune, len(v.Bytes))
		for i, c := range v.Bytes {
			runes[i] = rune(c)
		}
		return string(runes), true
	case tagBMPString:
		return decodeBMP(v.Bytes)
	default:
		return "", false
	}
}

// decodeBMP reads UTF-16, big endian; surrogate pairs are tolerated.
func decodeBMP(b []byte) (string, bool) {
	if len(b)%2 != 0 {
		return "", false
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i])<<8 | uint16(b[2*i+1])
	}
	runes := utf16.Decode(units)
	for _, r := range runes {
		if r == utf8.RuneError {
			return "", false
		}
	}
	return string(runes), true
}
