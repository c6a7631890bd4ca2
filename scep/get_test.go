package scep_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep"
)

// Cases 14 to 17, A47.
func TestDecodeGET(t *testing.T) {
	message := []byte{0x30, 0x07, 0xfb, 0xff, 0xbf, 0xfe, 0x3e, 0x3f, 0xfa, 0x00}
	standard := base64.StdEncoding.EncodeToString(message) // with + and / and =
	if !strings.ContainsAny(standard, "+") || !strings.Contains(standard, "/") || !strings.Contains(standard, "=") {
		t.Fatalf("sample %q is too simple", standard)
	}
	long := bytes.Repeat(message, 20)
	longText := base64.StdEncoding.EncodeToString(long)
	for _, test := range []struct {
		name, raw string
		want      []byte // nil: refused
	}{
		{"escaped", url.QueryEscape(standard), message},
		{"escaped in lower case", strings.NewReplacer("+", "%2b", "/", "%2f", "=", "%3d").Replace(standard), message},
		{"macOS: + and / unescaped, = escaped", strings.ReplaceAll(standard, "=", "%3D"), message},
		{"nothing escaped", standard, message},
		{"+ as space", strings.ReplaceAll(standard, "+", " "), message},
		{"+ as %20", strings.ReplaceAll(standard, "+", "%20"), message},
		{"Cisco: %0A at the end", url.QueryEscape(standard) + "%0A", message},
		{"URL-safe", base64.URLEncoding.EncodeToString(message), message},
		{"URL-safe without padding", base64.RawURLEncoding.EncodeToString(message), message},
		{"without padding", base64.RawStdEncoding.EncodeToString(message), message},
		{"64 columns", url.QueryEscape(longText[:64] + "\r\n" + longText[64:128] + "\r\n" + longText[128:]), long},
		{"escaped twice", strings.ReplaceAll(url.QueryEscape(standard), "%", "%25"), nil},
		{"empty", "", nil},
		{"only padding", "%3D%3D", nil},
		{"not base64", "MII!", nil},
		{"one character", "M", nil},
		{"broken escape", "MII%", nil},
		{"broken escape of two", "MII%2", nil},
		{"escape that is none", "MII%zz", nil},
		{"NUL", "MII%00", nil},
		{"64 KiB", strings.Repeat("A", scep.MaxMessageGET), make([]byte, scep.MaxMessageGET/4*3)},
		{"over 64 KiB", strings.Repeat("A", scep.MaxMessageGET+1), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := scep.DecodeGET(test.raw)
			if test.want == nil {
				wantRefusal(t, err, refusal.BadMessage, scep.BadMessageCheck)
				return
			}
			if err != nil || !bytes.Equal(got, test.want) {
				t.Errorf("message = %x, %v", got, err)
			}
		})
	}
}

func TestPasswordHides(t *testing.T) {
	p := scep.NewPassword("hunter2")
	holder := struct{ P scep.Password }{p}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "p", p)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "p", p, "holder", holder)
	encoded, err := json.Marshal([]any{p, holder, scep.Enrolment{ChallengePassword: p}.ChallengePassword})
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{log.String(), string(encoded), p.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		shown = append(shown, fmt.Sprintf(verb, p), fmt.Sprintf(verb, holder), fmt.Sprintf(verb, &holder))
	}
	for _, s := range shown {
		if strings.Contains(s, "hunter2") || strings.Contains(s, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("shown: %q", s)
		}
	}
	if p.Reveal() != "hunter2" || p.Empty() || !scep.NewPassword("").Empty() {
		t.Error("the password is lost")
	}
}

// Every reason has the failInfo that clients expect.
func TestFailInfoOf(t *testing.T) {
	for _, reason := range refusal.Reasons() {
		want := scep.BadRequest
		switch reason {
		case refusal.UnsupportedAlgorithm:
			want = scep.BadAlg
		case refusal.BadMessage, refusal.NotDecryptable, refusal.SignerNotTrusted:
			want = scep.BadMessageCheck
		case refusal.NotFound:
			want = scep.BadCertID
		}
		if got := scep.FailInfoOf(fmt.Errorf("enrol: %w", refusal.New(reason, "x"))); got != want {
			t.Errorf("%s: failInfo %s, want %s", reason, got, want)
		}
	}
	if got := scep.FailInfoOf(errors.New("x")); got != scep.BadRequest {
		t.Errorf("internal error: failInfo %s", got)
	}
	if scep.WithFailInfo(nil, scep.BadTime) != nil {
		t.Error("no error became one")
	}
	if err := scep.WithFailInfo(refusal.New(refusal.Denied, "why"), scep.BadTime); err.Error() != "denied: why" {
		t.Errorf("text = %q", err)
	}
}
