package scep_test

import (
	"crypto"
	_ "crypto/md5" // for a CSR that is refused
	"crypto/rand"
	"encoding/asn1"
	"strings"
	"testing"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
)

// Open says whose key signed and leaves it to others what that means (A18,
// A20).
func TestOpenReportsForeignSigner(t *testing.T) {
	r := recipient(t)
	m := decoded(t, enveloped(t, csr(t, "other", passwordText("secret"))))
	e, err := m.Open([]scep.Recipient{r}, options())
	if err != nil {
		t.Fatal(err)
	}
	if e.SignerKeyIsCSRKey {
		t.Error("the signer's key is taken for the CSR's")
	}
}

// extensions returns an extensionRequest with one extension twice.
func extensions(tb testing.TB) []byte {
	usage := sequence(oid(2, 5, 29, 15), octets("\x03\x02\x05\xa0"))
	return sequence(oid(1, 2, 840, 113549, 1, 9, 14), setOf(sequence(usage, usage)))
}

// Case 51: the encodings of a challengePassword.
func TestOpenChallengePassword(t *testing.T) {
	bmp := func(s string) []byte {
		var b []byte
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u>>8), byte(u))
		}
		return b
	}
	r := recipient(t)
	for _, test := range []struct {
		name  string
		value []byte
		want  string
	}{
		{"UTF8String", element(utf8Tag, []byte("gehe€im")), "gehe€im"},
		{"PrintableString", printableText("secret"), "secret"},
		{"BMPString", element(cbasn1.Tag(30), bmp("gehe€im😀")), "gehe€im😀"},
		{"T61String", element(cbasn1.T61String, []byte("gr\xfc\xdf")), "grüß"},
		{"IA5String", element(cbasn1.IA5String, []byte("a@b")), "a@b"},
		{"empty", printableText(""), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := decoded(t, enveloped(t, csr(t, "client", password(test.value))))
			e, err := m.Open([]scep.Recipient{r}, options())
			if err != nil {
				t.Fatal(err)
			}
			if got := e.ChallengePassword.Reveal(); got != test.want || e.ChallengePassword.Empty() != (test.want == "") {
				t.Errorf("password = %q, want %q", got, test.want)
			}
		})
	}
}

// The digest in a CSR's signature is under the same policy as the message's.
func TestOpenCSRDigest(t *testing.T) {
	r := recipient(t)
	noSHA1 := options()
	noSHA1.AllowSHA1 = false
	resigned := func(h crypto.Hash, last int) []byte {
		s := cryptobyte.String(csr(t, "client"))
		var body, info cryptobyte.String
		s.ReadASN1(&body, cbasn1.SEQUENCE)
		body.ReadASN1Element(&info, cbasn1.SEQUENCE)
		digest := h.New()
		digest.Write(info)
		signature, err := loadKey(t, "client").Sign(rand.Reader, digest.Sum(nil), h)
		if err != nil {
			t.Fatal(err)
		}
		return sequence(info, algorithm(asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, last}), element(cbasn1.BIT_STRING, []byte{0}, signature))
	}
	for _, test := range []struct {
		csr     []byte
		options scep.Options
		warning string
		refused refusal.Reason
	}{
		{resigned(crypto.SHA1, 5), options(), scep.WarnCSRSHA1, ""},
		{resigned(crypto.SHA1, 5), noSHA1, "", refusal.UnsupportedAlgorithm},
		{resigned(crypto.SHA512, 13), noSHA1, "", ""},
		{resigned(crypto.MD5, 4), options(), "", refusal.NotDecryptable}, // Go does not check it
		{resigned(crypto.SHA224, 14), options(), "", refusal.NotDecryptable},
	} {
		e, err := decoded(t, enveloped(t, test.csr)).Open([]scep.Recipient{r}, test.options)
		if test.refused != "" {
			wantRefusal(t, err, test.refused, scep.FailInfoOf(refusal.New(test.refused, "")))
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(e.Warnings, " "); got != test.warning {
			t.Errorf("warnings = %q, want %q", got, test.warning)
		}
	}
}
