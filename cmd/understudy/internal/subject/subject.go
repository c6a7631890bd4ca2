// Package subject reads a subject name as a person writes it and gives the DER
// that a request carries.
//
// It must not know what the parts of a name mean to a server.
package subject

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// attribute types, by the names that openssl and RFC 4514 give them.
var types = map[string]asn1.ObjectIdentifier{
	"CN":           {2, 5, 4, 3},
	"SN":           {2, 5, 4, 4},
	"SERIALNUMBER": {2, 5, 4, 5},
	"C":            {2, 5, 4, 6},
	"L":            {2, 5, 4, 7},
	"ST":           {2, 5, 4, 8},
	"STREET":       {2, 5, 4, 9},
	"O":            {2, 5, 4, 10},
	"OU":           {2, 5, 4, 11},
	"TITLE":        {2, 5, 4, 12},
	"GN":           {2, 5, 4, 42},
	"UID":          {0, 9, 2342, 19200300, 100, 1, 1},
	"DC":           {0, 9, 2342, 19200300, 100, 1, 25},
	"E":            {1, 2, 840, 113549, 1, 9, 1},
	"EMAILADDRESS": {1, 2, 840, 113549, 1, 9, 1},
}

// pair is one attribute: its type and its value.
type pair struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// separator is a comma, plus or slash that begins another attribute. All others
// are part of a value, so that "CN=Lab, Mac+1/2" needs no escapes.
var separator = regexp.MustCompile(`^\s*([,+/])\s*([A-Za-z][A-Za-z0-9]*|[0-9]+(?:\.[0-9]+)+)=`)

// Parse reads "CN=C02XL0GTJGH5,OU=Lab" or "/CN=C02XL0GTJGH5/OU=Lab" and returns
// the DER of the Name, its parts in the order in which they were written. A
// plus joins attributes of one part. A backslash makes the next character
// literal, or begins two hex digits of a byte.
func Parse(text string) ([]byte, error) {
	slashes := strings.HasPrefix(text, "/")
	rest := "," + strings.TrimPrefix(text, "/")
	var name [][]pair
	for rest != "" {
		found := separator.FindStringSubmatch(rest)
		if found == nil {
			return nil, fmt.Errorf("read subject %q: write it as CN=name,OU=unit", text)
		}
		var value string
		var err error
		value, rest, err = cut(rest[len(found[0]):], slashes)
		if err != nil {
			return nil, fmt.Errorf("read subject %q: %w", text, err)
		}
		attribute, err := newPair(found[2], value)
		if err != nil {
			return nil, fmt.Errorf("read subject %q: %w", text, err)
		}
		if found[1] == "+" {
			name[len(name)-1] = append(name[len(name)-1], attribute)
			continue
		}
		name = append(name, []pair{attribute})
	}
	return marshal(name)
}

// cut returns the value at the start of text and what follows it.
func cut(text string, slashes bool) (value, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' {
			n, literal, err := escaped(text[i+1:])
			if err != nil {
				return "", "", err
			}
			b.WriteByte(literal)
			i += n
			continue
		}
		if found := separator.FindStringSubmatch(text[i:]); found != nil && (found[1] == "+" || (found[1] == "/") == slashes) {
			return b.String(), text[i:], nil
		}
		b.WriteByte(text[i])
	}
	return b.String(), "", nil
}

// escaped reads what follows a backslash and returns its length.
func escaped(text string) (int, byte, error) {
	if text == "" {
		return 0, 0, fmt.Errorf("it ends with a backslash")
	}
	if len(text) >= 2 {
		if raw, err := hex.DecodeString(text[:2]); err == nil {
			return 2, raw[0], nil
		}
	}
	return 1, text[0], nil
}

// printable is what a PrintableString may hold.
var printable = regexp.MustCompile(`^[A-Za-z0-9 '()+,./:=?-]*$`)

func newPair(kind, value string) (pair, error) {
	oid, ok := types[strings.ToUpper(kind)]
	if !ok {
		var err error
		if oid, err = dotted(kind); err != nil {
			return pair{}, err
		}
	}
	if value == "" {
		return pair{}, fmt.Errorf("%s has no value", kind)
	}
	raw := asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(value)}
	switch strings.ToUpper(kind) {
	case "DC", "E", "EMAILADDRESS": // RFC 5280 §4.1.2.4 and appendix A.1
		raw.Tag = asn1.TagIA5String
		if strings.ContainsFunc(value, func(r rune) bool { return r > unicode.MaxASCII }) {
			return pair{}, fmt.Errorf("%s takes ASCII only", kind)
		}
	case "C", "SERIALNUMBER":
		raw.Tag = asn1.TagPrintableString
		if !printable.MatchString(value) {
			return pair{}, fmt.Errorf("%s takes letters, digits, spaces and '()+,-./:=? only", kind)
		}
	default:
		if !utf8.ValidString(value) {
			return pair{}, fmt.Errorf("%s is not UTF-8", kind)
		}
	}
	return pair{Type: oid, Value: raw}, nil
}

func dotted(kind string) (asn1.ObjectIdentifier, error) {
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(kind, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, fmt.Errorf("%s is no attribute that is known here; use CN, OU, O, DC, C, ST, L, UID, SERIALNUMBER, E or a dotted number", kind)
		}
		oid = append(oid, n)
	}
	return oid, nil
}

// attributeSet makes encoding/asn1 write a SET OF, in DER's order.
type attributeSet []pair

func marshal(name [][]pair) ([]byte, error) {
	var parts []asn1.RawValue
	for _, attributes := range name {
		der, err := asn1.MarshalWithParams(attributeSet(attributes), "set")
		if err != nil {
			return nil, fmt.Errorf("write subject: %w", err)
		}
		parts = append(parts, asn1.RawValue{FullBytes: der})
	}
	der, err := asn1.Marshal(parts)
	if err != nil {
		return nil, fmt.Errorf("write subject: %w", err)
	}
	return der, nil
}
