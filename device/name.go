package device

import (
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// attribute is one AttributeTypeAndValue, in the order of encoding.
type attribute struct {
	oid    string // dotted
	text   string // of a string value; bytes that are no UTF-8 are kept
	isText bool
	value  []byte // DER, for what is not text
	joined bool   // belongs to the same RDN as the one before it
}

// Attribute types (RFC 4519, RFC 2985) that a rule or the formatter names.
const (
	oidCommonName         = "2.5.4.3"
	oidOrganizationalUnit = "2.5.4.11"
)

// attributeNames are the short names that people know from OpenSSL and from
// RFC 4514 §3.
var attributeNames = map[string]string{
	oidCommonName:                "CN",
	"2.5.4.4":                    "SN",
	"2.5.4.5":                    "serialNumber",
	"2.5.4.6":                    "C",
	"2.5.4.7":                    "L",
	"2.5.4.8":                    "ST",
	"2.5.4.9":                    "street",
	"2.5.4.10":                   "O",
	oidOrganizationalUnit:        "OU",
	"2.5.4.12":                   "title",
	"2.5.4.13":                   "description",
	"2.5.4.17":                   "postalCode",
	"2.5.4.41":                   "name",
	"2.5.4.42":                   "GN",
	"2.5.4.43":                   "initials",
	"2.5.4.44":                   "generationQualifier",
	"2.5.4.45":                   "x500UniqueIdentifier",
	"2.5.4.46":                   "dnQualifier",
	"2.5.4.65":                   "pseudonym",
	"2.5.4.97":                   "organizationIdentifier",
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.3":  "mail",
	"0.9.2342.19200300.100.1.25": "DC",
	"1.2.840.113549.1.9.1":       "emailAddress",
	"1.2.840.113549.1.9.2":       "unstructuredName",
	"1.2.840.113549.1.9.8":       "unstructuredAddress",
}

// FormatName writes the DER of a Name as one line of printable UTF-8, such as
// "DC=com,DC=okta,OU=x,CN=y". Values are escaped as in RFC 4514 §2.4, and so
// is every byte of a character that does not print; the order is that of the
// encoding, not the reverse that RFC 4514 asks for. Attributes without a known
// name stand as OID=#hex of their DER. Bytes that are not a Name become "#"
// and their hex.
func FormatName(raw []byte) string {
	attributes, err := parseName(raw)
	if err != nil {
		return "#" + hex.EncodeToString(raw)
	}
	return formatName(attributes)
}

func formatName(attributes []attribute) string {
	var b strings.Builder
	for i, a := range attributes {
		switch {
		case i == 0:
		case a.joined:
			b.WriteByte('+')
		default:
			b.WriteByte(',')
		}
		name, known := attributeNames[a.oid]
		if !known {
			name = a.oid
		}
		b.WriteString(name)
		b.WriteByte('=')
		if known && a.isText {
			writeEscaped(&b, a.text, `"+,;<>\`)
		} else {
			b.WriteByte('#')
			b.WriteString(hex.EncodeToString(a.value))
		}
	}
	return b.String()
}

// printable returns s as it is when all of it prints. Otherwise the rest
// stands as \XX of its bytes, and backslashes are doubled.
func printable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return s
	}
	var b strings.Builder
	writeEscaped(&b, s, `\`)
	return b.String()
}

// writeEscaped writes s with a backslash before each of the special
// characters. With the comma among them it is a value of RFC 4514 §2.4, where
// spaces at the ends and a leading # are escaped too.
func writeEscaped(b *strings.Builder, s, special string) {
	value := strings.Contains(special, ",")
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == utf8.RuneError && size == 1, !unicode.IsPrint(c):
			for _, x := range []byte(s[i : i+size]) {
				b.WriteByte('\\')
				b.WriteString(strings.ToUpper(hex.EncodeToString([]byte{x})))
			}
		case strings.ContainsRune(special, c),
			value && c == '#' && i == 0,
			value && c == ' ' && (i == 0 || i == len(s)-1):
			b.WriteByte('\\')
			b.WriteRune(c)
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
}

// maxType is the longest object identifier of an attribute type, in octets. The
// time to write one in decimal grows with the square of its length; a UUID
// under 2.25 has 20.
const maxType = 128

var errNotAName = errors.New("not the DER of a Name")

// parseName reads SEQUENCE OF SET OF SEQUENCE { OID, ANY }.
func parseName(raw []byte) ([]attribute, error) {
	input := cryptobyte.String(raw)
	var name cryptobyte.String
	if !input.ReadASN1(&name, cbasn1.SEQUENCE) || !input.Empty() {
		return nil, errNotAName
	}
	var attributes []attribute
	for !name.Empty() {
		var rdn cryptobyte.String
		if !name.ReadASN1(&rdn, cbasn1.SET) || rdn.Empty() {
			return nil, errNotAName
		}
		for joined := false; !rdn.Empty(); joined = true {
			a, ok := parseAttribute(&rdn)
			if !ok {
				return nil, errNotAName
			}
			a.joined = joined
			attributes = append(attributes, a)
		}
	}
	return attributes, nil
}

func parseAttribute(rdn *cryptobyte.String) (attribute, bool) {
	var pair, typeDER, element cryptobyte.String
	var tag cbasn1.Tag
	if !rdn.ReadASN1(&pair, cbasn1.SEQUENCE) || !pair.ReadASN1(&typeDER, cbasn1.OBJECT_IDENTIFIER) || len(typeDER) > maxType ||
		!pair.ReadAnyASN1Element(&element, &tag) || !pair.Empty() {
		return attribute{}, false
	}
	var oid x509.OID // has no limit to its numbers, unlike asn1.ObjectIdentifier
	if err := oid.UnmarshalBinary(typeDER); err != nil {
		return attribute{}, false
	}
	a := attribute{oid: oid.String(), value: element}
	content := cryptobyte.String(element)
	if !content.ReadASN1(&content, tag) {
		return attribute{}, false
	}
	a.text, a.isText = decodeString(tag, content)
	return a, true
}

// String types that package cryptobyte/asn1 does not name.
const (
	tagNumericString   = cbasn1.Tag(18)
	tagVideotexString  = cbasn1.Tag(21)
	tagGraphicString   = cbasn1.Tag(25)
	tagVisibleString   = cbasn1.Tag(26)
	tagUniversalString = cbasn1.Tag(28)
	tagBMPString       = cbasn1.Tag(30)
)

// decodeString returns the text of a string value. T61String is read as
// Latin-1, as everybody writes it. The 16 and 32 bit types are not text when
// they are no valid UTF-16 or UTF-32.
func decodeString(tag cbasn1.Tag, content []byte) (string, bool) {
	switch tag {
	case cbasn1.UTF8String, cbasn1.PrintableString, cbasn1.IA5String, cbasn1.GeneralString,
		tagNumericString, tagVisibleString, tagGraphicString, tagVideotexString:
		return string(content), true
	case cbasn1.T61String:
		runes := make([]rune, len(content))
		for i, c := range content {
			runes[i] = rune(c)
		}
		return string(runes), true
	case tagBMPString:
		return decodeUTF16(content)
	case tagUniversalString:
		return decodeUTF32(content)
	}
	return "", false
}

func decodeUTF16(content []byte) (string, bool) {
	if len(content)%2 != 0 {
		return "", false
	}
	units := make([]uint16, len(content)/2)
	for i := range units {
		units[i] = binary.BigEndian.Uint16(content[2*i:])
	}
	runes := utf16.Decode(units)
	// Decode puts RuneError where a surrogate stands alone: two wrong values
	// must not become one text.
	for i, at := 0, 0; i < len(runes); i++ {
		if runes[i] == utf8.RuneError && units[at] != uint16(utf8.RuneError) {
			return "", false
		}
		at += utf16.RuneLen(runes[i])
	}
	return string(runes), true
}

func decodeUTF32(content []byte) (string, bool) {
	if len(content)%4 != 0 {
		return "", false
	}
	runes := make([]rune, len(content)/4)
	for i := range runes {
		c := binary.BigEndian.Uint32(content[4*i:])
		if c > unicode.MaxRune || !utf8.ValidRune(rune(c)) {
			return "", false
		}
		runes[i] = rune(c)
	}
	return string(runes), true
}
