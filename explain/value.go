package explain

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"understudy.example/understudy/device"
)

// maxName is the longest Name that is written out, in octets of DER, and maxOID
// the longest object identifier: numbers without bounds take long to write.
const (
	maxName = 16 << 10
	maxOID  = 64
)

// maxHex is how many octets are shown in hex; of more, the number is enough.
const maxHex = 32

// textOf returns a string of one of the types that clients use, or false.
// T61String is read as ISO 8859-1, as everybody writes it.
func textOf(n *node) (string, bool) {
	if n == nil || n.tag&0xc0 != 0 {
		return "", false
	}
	b := n.octets()
	switch n.tag &^ constructed {
	case tagUTF8String, tagPrintableString, tagIA5String, tagVisibleString, tagNumericString:
		return string(b), true
	case tagT61String:
		runes := make([]rune, len(b))
		for i, c := range b {
			runes[i] = rune(c)
		}
		return string(runes), true
	case tagBMPString:
		if len(b)%2 != 0 {
			return "", false
		}
		units := make([]uint16, len(b)/2)
		for i := range units {
			units[i] = uint16(b[2*i])<<8 | uint16(b[2*i+1])
		}
		return string(utf16.Decode(units)), true
	default:
		return "", false
	}
}

// value shows a node of any type that fits into a line.
func value(n *node) string {
	if n == nil {
		return ""
	}
	if text, ok := textOf(n); ok {
		return text
	}
	switch n.tag {
	case tagOID:
		return nameOf(oidOf(n))
	case tagInteger, tagEnumerated:
		return decimal(n)
	case tagBoolean:
		return strings.ToUpper(fmt.Sprint(len(n.body) == 1 && n.body[0] != 0))
	case tagNull:
		return "NULL"
	case tagUTCTime, tagGeneralizedTime:
		if t, ok := timeOf(n); ok {
			return formatTime(t)
		}
		return "unreadable time " + string(n.body)
	case tagSequence, tagSet:
		return fmt.Sprintf("%s of %d", tagName(n.tag), len(n.kids))
	default:
		return octets(n.octets())
	}
}

// decimal shows a small INTEGER; to write a long one in decimal takes long.
func decimal(n *node) string {
	if n != nil && len(n.body) > 16 {
		return octets(n.body)
	}
	return integer(n).String()
}

// octets shows bytes: all of a few, the number of many.
func octets(b []byte) string {
	if len(b) == 0 {
		return "empty"
	}
	if len(b) > maxHex {
		return fmt.Sprintf("%d octets", len(b))
	}
	return hex.EncodeToString(b)
}

// integer returns an INTEGER; 0 when it is not there.
func integer(n *node) *big.Int {
	i := new(big.Int)
	if n == nil || len(n.body) == 0 {
		return i
	}
	i.SetBytes(n.body)
	if n.body[0]&0x80 != 0 { // two's complement
		i.Sub(i, new(big.Int).Lsh(big.NewInt(1), uint(8*len(n.body))))
	}
	return i
}

// serial shows a certificate serial as everywhere in this project: lower-case
// hex of even length.
func serial(n *node) string {
	i := integer(n)
	if i.Sign() < 0 {
		return "-" + hex.EncodeToString(new(big.Int).Abs(i).Bytes())
	}
	if i.Sign() == 0 {
		return "00"
	}
	return hex.EncodeToString(i.Bytes())
}

// timeOf reads a UTCTime or GeneralizedTime.
func timeOf(n *node) (time.Time, bool) {
	var t time.Time
	if !n.is(tagUTCTime) && !n.is(tagGeneralizedTime) {
		return t, false
	}
	rest, err := asn1.Unmarshal(n.der(), &t)
	return t, err == nil && len(rest) == 0
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// name shows a Name in the order of its encoding.
func name(n *node) string {
	if n == nil {
		return ""
	}
	if len(n.kids) == 0 && n.is(tagSequence) {
		return "empty"
	}
	der := n.der()
	if len(der) > maxName {
		return fmt.Sprintf("a name of %d octets", len(der))
	}
	return device.FormatName(der)
}

// device adds what a subject says about a device.
func (f *Field) device(subject *node) {
	if subject == nil {
		return
	}
	der := subject.der()
	if len(der) > maxName {
		return
	}
	n, err := device.FromSubject(der)
	if err != nil || strings.HasPrefix(n.Key, "subject:") {
		f.add("device", "not recognised").note("the subject has none of the forms that MDMs write; it is no fault")
		return
	}
	d := f.add("device", n.Key).note("what this server files the certificate under")
	for _, part := range [][2]string{
		{"device serial", n.DeviceSerial}, {"profile UUID", n.ProfileUUID}, {"UDID", n.UDID}, {"UPN", n.UPN},
		{"device id", n.DeviceID}, {"computer name", n.ComputerName},
	} {
		if part[1] != "" {
			d.add(part[0], part[1])
		}
	}
}

// isPrintableString says that text has only the characters of PrintableString
// (X.680 §41.4).
func isPrintableString(text string) bool {
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(" '()+,-./:=?", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// plural writes a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "y") {
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(noun, "y"))
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// runes counts the characters of a text.
func runes(s string) int { return utf8.RuneCountInString(s) }
