package intune_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/challenge/intune/fake"
)

// TestCodes has Intune judge real requests, over TLS and through MSAL: each of
// its codes comes out of a request that deserves it. Unknown, which means
// trouble at Microsoft, is told to come.
func TestCodes(t *testing.T) {
	w := newWorld(t)
	c := w.client(t)
	flip := func(at int) func(string) string {
		return func(blob string) string {
			raw, _ := base64.StdEncoding.DecodeString(blob)
			raw[(at+len(raw))%len(raw)] ^= 1
			return base64.StdEncoding.EncodeToString(raw)
		}
	}
	expecting := func(change func(*fake.Request)) fake.Request {
		r := ordinary()
		change(&r)
		return r
	}
	none, others, other := []string{}, []string{"other.example"}, []string{strings.Repeat("0", 64)}
	own := []string{fingerprintOf(keys()[0])}
	cases := []struct {
		code     string
		expected fake.Request
		request  request
	}{
		{"Success", ordinary(), request{}},
		{"Success", ordinary(), request{utf8: true}},
		{"Success", expecting(func(r *fake.Request) { r.RegisteredKeys = &own }), request{}},
		{"Success", expecting(func(r *fake.Request) { r.CreatedAt = w.clock.Now().Add(-60*time.Minute + time.Second) }), request{}},
		{"ChallengePasswordMissing", ordinary(), request{noChallenge: true}},
		{"ChallengeDecodingError", ordinary(), request{blob: func(string) string { return "not-base64!" }}},
		{"ChallengeDecodingError", ordinary(), request{blob: func(string) string { return "c2hvcnQ=" }}},
		{"ChallengeDeserializationError", expecting(func(r *fake.Request) { r.Content = "broken" }), request{}},
		{"ChallengeDecryptionError", ordinary(), request{blob: flip(len("INTUNE-LAB-1"))}},
		{"SignatureValidationFailed", ordinary(), request{blob: flip(-1)}},
		{"SignatureValidationFailed", ordinary(), request{blob: flip(400)}},
		{"SigningCertThumbprintMismatch", expecting(func(r *fake.Request) { r.Signer = "other" }), request{}},
		{"ChallengeInvalidTimestamp", expecting(func(r *fake.Request) { r.CreatedAt = w.clock.Now().Add(time.Minute) }), request{}},
		{"ChallengeExpired", expecting(func(r *fake.Request) { r.CreatedAt = w.clock.Now().Add(-60 * time.Minute) }), request{}},
		{"SubjectNameMissing", ordinary(), request{subject: &pkix.Name{}}},
		{"SubjectNameMismatch", ordinary(), request{subject: &pkix.Name{CommonName: "another"}}},
		{"SubjectAltNameMissing", ordinary(), request{dns: &none}},
		{"SubjectAltNameMismatch", ordinary(), request{dns: &others}},
		{"KeyUsageMismatch", ordinary(), request{keyUsage: 0xa0}},
		{"KeyLengthMismatch", ordinary(), request{key: keys()[1]}},
		{"EnhancedKeyUsageMissing", ordinary(), request{noEKU: true}},
		{"EnhancedKeyUsageMismatch", ordinary(), request{eku: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}}},
		{"AadKeyIdentifierListMissing", expecting(func(r *fake.Request) { r.RegisteredKeys = &none }), request{}},
		{"RegisteredKeyMismatch", expecting(func(r *fake.Request) { r.RegisteredKeys = &other }), request{}},
		{"ScepProfileNoLongerTargetedToTheClient", expecting(func(r *fake.Request) { r.Untargeted = true }), request{}},
		{"BadCertificateRequestIdInChallenge", expecting(func(r *fake.Request) { r.Gone = []string{"request"} }), request{}},
		{"BadDeviceIdInChallenge", expecting(func(r *fake.Request) { r.Gone = []string{"device"} }), request{}},
		{"BadUserIdInChallenge", expecting(func(r *fake.Request) { r.Gone = []string{"user"} }), request{}},
	}
	missing := fake.Codes()
	seen := func(code string) {
		missing = slices.DeleteFunc(missing, func(c string) bool { return c == code })
	}
	for _, tc := range cases {
		t.Run(tc.code, func(t *testing.T) {
			wantCode(t, c.Validate(t.Context(), intune.Subject{TransactionID: "T-1", CSR: w.csr(t, tc.expected, tc.request)}), tc.code)
			seen(tc.code)
		})
	}
	t.Run("CertificateRequestDecodingFailed", func(t *testing.T) {
		wantCode(t, c.Validate(t.Context(), intune.Subject{TransactionID: "T-1", CSR: []byte("no request")}), "CertificateRequestDecodingFailed")
		seen("CertificateRequestDecodingFailed")
	})
	t.Run("Unknown", func(t *testing.T) {
		w.fail(t, fake.Fault{Service: fake.ServiceValidate, Times: 1, Code: "Unknown", Description: "an unknown error"})
		wantCode(t, c.Validate(t.Context(), w.good(t)), "Unknown")
		seen("Unknown")
	})
	if len(missing) > 0 {
		t.Errorf("codes without a case: %v", missing)
	}
	if n := w.calls(fake.ServiceToken); n != 2 {
		t.Errorf("%d token requests, want one for Graph and one for Intune", n)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if code == "Success" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	var no *intune.RefusedError
	if !errors.As(err, &no) || no.Code != code {
		t.Errorf("got %v, want a refusal with %s", err, code)
		return
	}
	if no.Description == "" {
		t.Error("the refusal has no description")
	}
}

// TestExpiredText is the sentence that was seen at Microsoft.
func TestExpiredText(t *testing.T) {
	w := newWorld(t)
	w.clock.Set(time.Date(2026, 10, 21, 9, 55, 33, 0, time.UTC))
	expected := ordinary()
	expected.CreatedAt = time.Date(2026, 10, 21, 8, 55, 33, 0, time.UTC)
	err := w.client(t).Validate(t.Context(), intune.Subject{TransactionID: "T-1", CSR: w.csr(t, expected, request{})})
	want := "SCEP challenge has expired. challengeExpInterval=60, challengeExpiration=10/21/2026 09:55:33, challengeCreation=10/21/2026 08:55:33"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q in it", err, want)
	}
}

// TestKnownCodes: the client knows what the cloud can say.
func TestKnownCodes(t *testing.T) {
	if got, want := intune.Codes(), fake.Codes(); !slices.Equal(got, want) {
		t.Errorf("known: %v, want %v", got, want)
	}
}

// TestRetarget: a change that cannot be made leaves what Intune knew, and one
// that can is what requests are judged by.
func TestRetarget(t *testing.T) {
	w := newWorld(t)
	given, err := w.IssueChallenge(ordinary())
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"sans":["dns:other.example"],"gone":["nobody"]}`, `{"sans":["dns:other.example"],"unknown":1}`, `{"sans":`} {
		if status := w.patch(t, given.ID, body); status != http.StatusBadRequest {
			t.Errorf("%s: status %d", body, status)
		}
	}
	if now, err := w.FindChallenge(given.ID); err != nil || !reflect.DeepEqual(now.Request, given.Request) {
		t.Errorf("changed to %+v, %v", now.Request, err)
	}
	if status := w.patch(t, given.ID, `{"gone":["device"]}`); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	csr := w.csr(t, ordinary(), request{blob: func(string) string { return given.Challenge }})
	wantCode(t, w.client(t).Validate(t.Context(), intune.Subject{TransactionID: "T-1", CSR: csr}), "BadDeviceIdInChallenge")
	if status := w.patch(t, "none", `{}`); status != http.StatusNotFound {
		t.Errorf("a challenge that is not there: status %d", status)
	}
}

// patch uses the lab's control.
func (w *world) patch(t *testing.T, id, body string) int {
	t.Helper()
	answer := httptest.NewRecorder()
	w.ServeHTTP(answer, httptest.NewRequest(http.MethodPatch, "/lab/intune/challenges/"+id, strings.NewReader(body)))
	return answer.Code
}
