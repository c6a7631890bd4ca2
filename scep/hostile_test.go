package scep_test

import (
	"crypto"
	"crypto/rand"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
	"understudy.example/understudy/scep/internal/cms"
)

// A refusal that the operator reads never repeats a message type at length.
func TestDecodeShowsTypeInBounds(t *testing.T) {
	for text, want := range map[string]string{"99": "99", strings.Repeat("9", 100): "of 100 bytes", "a\nb": "of 3 bytes"} {
		_, err := scep.Decode(forge(t, nil).with(oidMessageType, printableText(text)).der(t), options())
		if err == nil || !strings.Contains(err.Error(), "messageType "+want+" is") {
			t.Errorf("error for %.9q… = %v, want %q in it", text, err, want)
		}
	}
}

// A28: what is no message at all.
func TestDecodeGarbage(t *testing.T) {
	random := make([]byte, 3000)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	random[0] = 0x30
	for name, raw := range map[string][]byte{
		"empty":            nil,
		"one byte":         {0x30},
		"random":           random,
		"PEM":              []byte("-----BEGIN PKCS7-----\nMIIB\n-----END PKCS7-----\n"),
		"JSON":             []byte(`{"message":"MIIB"}`),
		"base64":           []byte("MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"),
		"gzip":             {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255},
		"empty SEQUENCE":   {0x30, 0},
		"empty SignedData": sequence(oid(cms.OIDSignedData...), element(context0, sequence())),
		"over the limit":   element(cbasn1.OCTET_STRING, make([]byte, scep.MaxMessage-4)),
	} {
		m, err := scep.Decode(raw, options())
		if m != nil {
			t.Errorf("%s: a message", name)
		}
		wantRefusal(t, err, refusal.BadMessage, scep.BadMessageCheck)
	}
}

// A30: empty lists where others look for a first element.
func TestDecodeEmptyLists(t *testing.T) {
	raw := forge(t, []byte("envelope")).der(t)
	for name, part := range map[string][]byte{
		"digest algorithms": setOf(algorithm(cms.DigestOID(crypto.SHA256))),
		"certificates":      element(context0, forge(t, nil).certificates...),
		"content":           element(context0, element(cbasn1.OCTET_STRING, []byte("envelope"))),
	} {
		changed := emptyElement(t, raw, part)
		m, err := scep.Decode(changed, options())
		noPanic(t, err)
		if err == nil && name != "digest algorithms" {
			t.Errorf("%s: accepted as %v", name, m)
		}
	}
}

// emptyElement returns der with nothing in the first element that has the tag
// and size of part.
func emptyElement(tb testing.TB, der, part []byte) []byte {
	tb.Helper()
	var walk func(s cryptobyte.String) []byte
	replaced := false
	walk = func(s cryptobyte.String) []byte {
		var out []byte
		for !s.Empty() {
			var inner, whole cryptobyte.String
			var tag cbasn1.Tag
			if !s.ReadAnyASN1Element(&whole, &tag) {
				tb.Fatal("sample is malformed")
			}
			if !replaced && tag == cbasn1.Tag(part[0]) && len(whole) == len(part) {
				replaced = true
				out = append(out, element(tag)...)
				continue
			}
			if tag&0x20 == 0 {
				out = append(out, whole...)
				continue
			}
			rest := whole
			rest.ReadAnyASN1(&inner, &tag)
			out = append(out, element(tag, walk(inner))...)
		}
		return out
	}
	out := walk(der)
	if !replaced {
		tb.Fatal("part is not in the message")
	}
	return out
}

// A29: a real message cut at every offset, and with every byte flipped.
func TestDecodeDamaged(t *testing.T) {
	r := recipient(t)
	raw := honest(t, r)
	for i := range raw {
		m, err := scep.Decode(raw[:i], options())
		if m != nil || err == nil {
			t.Fatalf("cut at %d: accepted", i)
		}
		noPanic(t, err)
	}
	// A signature does not cover version numbers, the list of digest algorithms
	// and the signer's own certificate. What it covers must be as it was.
	for i := range raw {
		raw[i] ^= 0xff
		m, err := scep.Decode(raw, options())
		noPanic(t, err)
		if err == nil {
			if m.Type != scep.PKCSReq || m.TransactionID != "ID-1" || string(m.SenderNonce) != "0123456789abcdef" {
				t.Errorf("byte %d flipped: accepted with other attributes", i)
			}
			e, err := m.Open([]scep.Recipient{r}, options())
			if err != nil || e.ChallengePassword.Reveal() != "secret" {
				t.Errorf("byte %d flipped: accepted with another envelope (%v)", i, err)
			}
		}
		raw[i] ^= 0xff
	}
}

// Case 71: a panic whose value panics when it is printed.
func TestPanicIsNotPrinted(t *testing.T) {
	err := scep.Guarded(refusal.BadMessage, func() error { panic(grenade{}) })
	p, ok := err.(*scep.PanicError)
	if !ok || p.Type != "scep_test.grenade" || len(p.Stack) == 0 {
		t.Fatalf("error = %T", err)
	}
	if r, ok := refusal.Of(err); !ok || r.Reason != refusal.BadMessage {
		t.Errorf("refusal = %v", r)
	}
	if !strings.Contains(err.Error(), "scep_test.grenade") {
		t.Errorf("text = %q", err)
	}
}

type grenade struct{}

func (grenade) String() string { panic(grenade{}) }
func (grenade) Error() string  { panic(grenade{}) }
