package ca_test

import (
	"bytes"
	"crypto/rand"
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
		{"other types", name(t, value{printableString, "a"}, value{numericString, "1"}, value{ia5String, "a@b"}), ""},
		{"T61 in ISO 8859-1", name(t, value{t61String, "B\xfcro"}), ""},
		{"T61 in UTF-8", name(t, value{t61String, "É"}), ""},
		{"BMPString", name(t, value{bmpString, "\x00M\x00a\x00c\x67\x71"}), ""},

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
		{"not UTF-8", commonName(t, "a\xff"), "not UTF-8"},
		{"half a character", name(t, value{bmpString, "\x00a\x00"}), "half"},
		{"pair of surrogates", name(t, value{bmpString, "\xd8\x3e\xdd\x89"}), "surrogate"},
		{"lone surrogate", name(t, value{bmpString, "\x00a\xd8\x3e"}), "surrogate"},
		{"UniversalString", name(t, value{28, "\x00\x00\x00a"}), "tag 28"},
		{"VisibleString", name(t, value{26, "a"}), "tag 26"},
		{"GeneralString", name(t, value{27, "a"}), "tag 27"},
		{"BIT STRING", name(t, value{3, "\x00\x01"}), "tag 3"},
		{"INTEGER", name(t, value{utf8String, "a"}, value{2, "\x01"}), "relative name 2"},
		{"a string in pieces", name(t, value{0x20 | utf8String, "\x0c\x01\n"}), "tag 44"},
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

// Whatever a client writes into a subject, a policy refuses it or it is issued:
// that a certificate cannot be read again is nothing that a client may cause.
func TestSubjectOfAnyType(t *testing.T) {
	a, _ := opened(t, "chain-p256", today)
	refused, issued := 0, 0
	for tag := range 31 {
		for _, text := range []string{"", "C02XK1ZZJG5H", "\x01", "1 2", "260101000000Z", "a*b", "\xe4", "\x00a\x00b", "\xd8\x3e\xdd\x89", "\x00\x00\x00a"} {
			subject := name(t, value{tag, text}, value{utf8String, "b"})
			der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{RawSubject: subject}, testKey(t, "device-rsa"))
			if err != nil {
				continue // crypto/x509 does not read it: neither would it here
			}
			csr, err := x509.ParseCertificateRequest(der)
			if err != nil {
				continue
			}
			permit, err := deviceAccess().Check(csr, today)
			if err != nil {
				wantRefusal(t, err, refusal.SubjectRejected, "relative name 1")
				refused++
				continue
			}
			if _, err := a.Issue(permit); err != nil {
				t.Errorf("tag %d, %q: %v", tag, text, err)
			}
			issued++
		}
	}
	if refused == 0 || issued == 0 {
		t.Errorf("%d refused, %d issued: want both", refused, issued)
	}
}
