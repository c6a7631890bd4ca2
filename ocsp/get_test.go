package ocsp_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"

	"understudy.example/understudy/ocsp"
)

// spiky is a request whose base64 has "+" and "/" in it, and padding.
func spiky(tb testing.TB) []byte {
	tb.Helper()
	for n := range int64(100_000) {
		der := request(sequence(sequence(certID(n))), wrap(2, sequence(extension(nonceOID, octets([]byte{0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff, byte(n)})))))
		text := base64.StdEncoding.EncodeToString(der)
		if strings.Contains(text, "+") && strings.Contains(text, "//") && strings.HasSuffix(text, "=") {
			return der
		}
	}
	tb.Fatal("no such request")
	return nil
}

func TestFromPath(t *testing.T) {
	der := spiky(t)
	text := base64.StdEncoding.EncodeToString(der)
	for name, path := range map[string]string{
		"as RFC 6960 says":       url.QueryEscape(text),
		"lower-case escapes":     strings.NewReplacer("+", "%2b", "/", "%2f", "=", "%3d").Replace(text),
		"only slashes escaped":   url.PathEscape(text),
		"nothing escaped":        text,
		"slashes before it":      "//" + text,
		"no padding":             strings.TrimRight(text, "="),
		"escaped, no padding":    url.QueryEscape(strings.TrimRight(text, "=")),
		"alphabet of URLs":       base64.URLEncoding.EncodeToString(der),
		"plus taken for a space": strings.ReplaceAll(text, "+", " "),
		"plus for a space, %20":  strings.ReplaceAll(text, "+", "%20"),
	} {
		got, err := ocsp.FromPath(path)
		if err != nil || !bytes.Equal(got, der) {
			t.Errorf("%s: %q: %v", name, path, err)
		}
		if _, err := ocsp.ParseRequest(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	most := make([]byte, ocsp.MaxRequest)
	for i := range most {
		most[i] = 0xff // the slash of base64
	}
	most[0] = 0x30
	if got, err := ocsp.FromPath(url.QueryEscape(base64.StdEncoding.EncodeToString(most))); err != nil || !bytes.Equal(got, most) {
		t.Errorf("as long as can be: %v", err)
	}
}

func TestFromPathMalformed(t *testing.T) {
	for name, path := range map[string]string{
		"empty":              "",
		"slashes":            "///",
		"padding":            "====",
		"no base64":          "hello.world",
		"half an escape":     "MFEw%2",
		"no escape":          "MFEw%zz",
		"padding amid":       "MF=Ew",
		"one character":      "M",
		"escaped zero":       "MFEw%00",
		"longer than can be": strings.Repeat("M", 40_000),
		"a megabyte":         strings.Repeat("%2B", 1<<20),
	} {
		if der, err := ocsp.FromPath(path); !errors.Is(err, ocsp.ErrMalformed) {
			t.Errorf("%s: %x, %v", name, der, err)
		}
	}
}
