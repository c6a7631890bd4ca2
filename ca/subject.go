package ca

import (
	"errors"
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
)

// Limits of a subject. Whoever reads names from certificates is spared more.
const (
	subjectLimit   = 8 << 10 // octets, the whole Name
	attributeLimit = 64      // attributes in all relative names, and so relative names
	valueLimit     = 256     // octets, one value
)

// checkSubject judges a Name in DER by its size, its characters and whether it
// can be read again. Its format is nobody's business: Okta accepts any.
func checkSubject(raw []byte) error {
	if len(raw) > subjectLimit {
		return rejectSubject("subject has %d octets, more than %d", len(raw), subjectLimit)
	}
	input := cryptobyte.String(raw)
	var name cryptobyte.String
	if !input.ReadASN1(&name, cryptobyte_asn1.SEQUENCE) || !input.Empty() {
		return rejectSubject("subject is not a Name")
	}
	attributes, filled := 0, false
	for relative := 1; !name.Empty(); relative++ {
		var set cryptobyte.String
		if !name.ReadASN1(&set, cryptobyte_asn1.SET) || set.Empty() {
			return rejectSubject("relative name %d is not one", relative)
		}
		for !set.Empty() {
			if attributes++; attributes > attributeLimit {
				return rejectSubject("subject has more than %d attributes", attributeLimit)
			}
			value, err := readAttribute(&set)
			if err != nil {
				return rejectSubject("relative name %d: %s", relative, err)
			}
			filled = filled || len(value) > 0
		}
	}
	if !filled {
		return rejectSubject("subject is empty")
	}
	return nil
}

func rejectSubject(format string, args ...any) error {
	return refusal.WithText(refusal.SubjectRejected, "the subject is not accepted", format, args...)
}

// readAttribute reads an AttributeTypeAndValue and returns the octets of its
// value. The error is not a refusal yet.
func readAttribute(set *cryptobyte.String) ([]byte, error) {
	var attribute, oid, value cryptobyte.String
	var tag cryptobyte_asn1.Tag
	if !set.ReadASN1(&attribute, cryptobyte_asn1.SEQUENCE) ||
		!attribute.ReadASN1(&oid, cryptobyte_asn1.OBJECT_IDENTIFIER) ||
		!attribute.ReadAnyASN1(&value, &tag) || !attribute.Empty() {
		return nil, errors.New("not a type and a value")
	}
	if len(value) > valueLimit {
		return nil, fmt.Errorf("a value has %d octets, more than %d", len(value), valueLimit)
	}
	text, err := decodeString(tag, value)
	if err != nil {
		return nil, err
	}
	for _, r := range text {
		if isControl(r) {
			return nil, fmt.Errorf("a value has the control character %U", r)
		}
	}
	return value, nil
}

// isControl says whether a character could make a name look like another one,
// or like the end of a line: C0, DEL, C1, what steers the direction of writing
// (U+061C, U+200E/F, U+202A–202E, U+2066–2069), and line separators.
func isControl(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Tags of strings that package asn1 of cryptobyte does not name.
const (
	tagNumericString = cryptobyte_asn1.Tag(18)
	tagBMPString     = cryptobyte_asn1.Tag(30)
)

// decodeString returns the characters of a string by its type. The types are
// those that crypto/x509 reads in a name, which are all that certificates have:
// one with another, or with what is no string, could be signed and not be read
// again.
func decodeString(tag cryptobyte_asn1.Tag, value []byte) ([]rune, error) {
	switch tag {
	case cryptobyte_asn1.UTF8String:
		if !utf8.Valid(value) {
			return nil, errors.New("a UTF8String is not UTF-8")
		}
		return []rune(string(value)), nil
	case tagBMPString:
		return decodeBMP(value)
	case cryptobyte_asn1.PrintableString, cryptobyte_asn1.IA5String, tagNumericString, cryptobyte_asn1.T61String:
		return decodeOctets(value), nil
	}
	return nil, fmt.Errorf("a value has the tag %d, which is of no string that names have", tag)
}

// decodeOctets reads what has one octet for a character by its standard. Those
// who write T61String mean UTF-8 or ISO 8859-1.
func decodeOctets(value []byte) []rune {
	if utf8.Valid(value) {
		return []rune(string(value))
	}
	runes := make([]rune, len(value))
	for i, o := range value {
		runes[i] = rune(o)
	}
	return runes
}

// decodeBMP reads two octets for a character, the high one first. Surrogates
// are none, which crypto/x509 says as well.
func decodeBMP(value []byte) ([]rune, error) {
	if len(value)%2 != 0 {
		return nil, errors.New("a BMPString has half a character")
	}
	runes := make([]rune, len(value)/2)
	for i := range runes {
		if runes[i] = rune(value[2*i])<<8 | rune(value[2*i+1]); utf16.IsSurrogate(runes[i]) {
			return nil, errors.New("a BMPString has a surrogate")
		}
	}
	return runes, nil
}
