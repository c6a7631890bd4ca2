package ca_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"testing"

	"understudy.example/understudy/refusal"
)

const (
	utf8String      = 12
	numericString   = 18
	printableString = 19
	t61String       = 20
	ia5String       = 22
	universalString = 28
	bmpString       = 30
)

// subjectRequest returns a request with any subject, also one that
// crypto/x509 would not parse.
func subjectRequest(t testing.TB, subject []byte) *x509.CertificateRequest {
	csr := keyRequest(t, &rsa.PublicKey{N: goodModulus(t), E: 65537})
	csr.RawSubject = subject
	return csr
}

func TestSubjects(t *testing.T) { // A14
	many := func(n, length int) (values []value) {
		for range n {
			values = append(values, value{utf8String, strings.Repeat("x", length)})
		}
		return values
	}
	for _, tt := range []struct {
		name    string
		subject []byte
		detail  string // of the refusal, "" for none
	}{
		{"device serial", commonName(t, "C02XK1ZZJG5H"), ""},
		{"two CNs", name(t, value{utf8String, "a"}, value{utf8String, "b"}), ""},
		{"multi-valued", der(t, 0x30, set(t, value{utf8String, "a"}, value{utf8String, "b"})), ""},
		{"markup", commonName(t, "<script>"), ""},
		{"formula", commonName(t, "=cmd()"), ""},
		{"every alphabet", commonName(t, "Büro 東京 Москва 🦉"), ""},
		{"space and no-break space", commonName(t, "a b\u00a0c"), ""},
		{"256 octets", commonName(t, strings.Repeat("x", 256)), ""},
		{"64 relative names", name(t, many(64, 1)...), ""},
		{"one empty of two", name(t, value{utf8String, ""}, value{utf8String, "b"}), ""},
		{"other types", name(t, value{printableString, "a"}, value{numericString, "1"}, value{ia5String, "a@b"}, value{3, "\x00\x01"}), ""},
		{"T61 in ISO 8859-1", name(t, value{t61String, "B\xfcro"}), ""},
		{"T61 in UTF-8", name(t, value{t61String, "É"}), ""},
		{"BMPString", name(t, value{bmpString, "\x00M\x00a\x00c\x67\x71"}), ""},
		{"BMPString with a pair", name(t, value{bmpString, "\xd8\x3e\xdd\x89"}), ""},
		{"UniversalString", name(t, value{universalString, "\x00\x01\xf9\x89"}), ""},

		{"empty", der(t, 0x30), "empty"},
		{"only an empty CN", commonName(t, ""), "empty"},
		{"no octets", nil, "not a Name"},
		{"a set", der(t, 0x31), "not a Name"},
		{"more behind it", append(commonName(t, "a"), 0), "not a Name"},
		{"cut off", commonName(t, "abc")[:12], "not a Name"},
		{"empty relative name", der(t, 0x30, der(t, 0x31)), "relative name 1"},
		{"attribute without value", der(t, 0x30, der(t, 0x31, der(t, 0x30, der(t, 6, []byte{0x55, 4, 3})))), "relative name 1"},
		{"257 octets", commonName(t, strings.Repeat("x", 257)), "257 octets"},
		{"64 kB", commonName(t, strings.Repeat("x", 64<<10)), "more than 8192"},
		{"8 KiB in short values", name(t, many(40, 200)...), "more than 8192"},
		{"65 relative names", name(t, many(65, 1)...), "more than 64"},
		{"5000 relative names", name(t, many(5000, 1)...), "more than 8192"},
		{"65 values in one", der(t, 0x30, set(t, many(65, 1)...)), "more than 64"},

		{"NUL", commonName(t, "a\x00b"), "U+0000"},
		{"tab", commonName(t, "a\tb"), "U+0009"},
		{"newline", commonName(t, "a\nb"), "U+000A"},
		{"escape", commonName(t, "\x1b[31m"), "U+001B"},
		{"unit separator", commonName(t, "\x1f"), "U+001F"},
		{"DEL", commonName(t, "a\x7f"), "U+007F"},
		{"first of C1", commonName(t, "\u0080"), "U+0080"},
		{"last of C1", commonName(t, "\u009f"), "U+009F"},
		{"line separator", commonName(t, "\u2028"), "U+2028"},
		{"left-to-right mark", commonName(t, "\u200e"), "U+200E"},
		{"right-to-left mark", commonName(t, "\u200f"), "U+200F"},
		{"embedding", commonName(t, "\u202a"), "U+202A"},
		{"override", commonName(t, "a\u202eb"), "U+202E"},
		{"isolate", commonName(t, "\u2066"), "U+2066"},
		{"pop isolate", commonName(t, "\u2069"), "U+2069"},
		{"in the second value", name(t, value{utf8String, "a"}, value{utf8String, "\n"}), "relative name 2"},
		{"in a PrintableString", name(t, value{printableString, "a\n"}), "U+000A"},
		{"in an IA5String", name(t, value{ia5String, "\x7f"}), "U+007F"},
		{"in a T61String, C1", name(t, value{t61String, "\xff\x9b"}), "U+009B"},
		{"in a BMPString", name(t, value{bmpString, "\x00a\x20\x2e"}), "U+202E"},
		{"in a BMPString, NUL", name(t, value{bmpString, "\x00\x00"}), "U+0000"},
		{"in a UniversalString", name(t, value{universalString, "\x00\x00\x00\x0a"}), "U+000A"},
		{"not UTF-8", commonName(t, "a\xff"), "not UTF-8"},
		{"half a character", name(t, value{bmpString, "\x00a\x00"}), "half"},
		{"lone surrogate", name(t, value{bmpString, "\xd8\x3e\x00a"}), "not UTF-16"},
		{"three octets of four", name(t, value{universalString, "\x00\x00\x00"}), "part of"},
		{"beyond Unicode", name(t, value{universalString, "\x7f\xff\xff\xff"}), "not UTF-32"},
		{"a string in pieces", name(t, value{0x20 | utf8String, "\x0c\x01\n"}), "pieces"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := deviceAccess().Check(subjectRequest(t, tt.subject), today)
			if tt.detail == "" {
				must(t, err)
				return
			}
			wantRefusal(t, err, refusal.SubjectRejected, tt.detail)
		})
	}
}

// What is accepted is stored octet for octet.
func TestSubjectIsStoredRaw(t *testing.T) { // A14
	a, _ := opened(t, "chain-p256", today)
	for _, subject := range [][]byte{
		name(t, value{utf8String, "b"}, value{printableString, "a"}),
		der(t, 0x30, set(t, value{utf8String, "<script>"}, value{utf8String, "=cmd()"})),
		name(t, value{bmpString, "\x00M\x00a\x00c"}, value{t61String, "B\xfcro"}),
	} {
		c, err := issueAt(t, a, deviceAccess(), subjectRequest(t, subject), today)
		must(t, err)
		if !bytes.Equal(c.RawSubject, subject) {
			t.Errorf("subject %x, want %x", c.RawSubject, subject)
		}
	}
}
