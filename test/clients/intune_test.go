//go:build clients

package clients

import (
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/test/internal/program"
)

// macEnroll drives our own client, as another client of the matrix.
var macEnroll = client{name: "mac-enroll", enrol: func(t *testing.T, it target, dir, cn string) (string, error) {
	t.Helper()
	arguments := []string{"mac", "enroll", "--url", it.url, "--subject", "CN=" + cn, "--out", "mac"}
	if it.tlsCA != "" {
		arguments = append(arguments, "--tls-root", it.tlsCA)
	}
	_, err := command(t, dir, []string{"UNDERSTUDY_CHALLENGE=" + it.challenge}, string(understudy), arguments...)
	return filepath.Join(dir, "mac", "cert.pem"), err
}}

// A delegated server leaves the judgement about challenges to Microsoft.
type delegated struct {
	target
	microsoft *program.Microsoft
}

// newDelegated starts the two of them, over TLS both.
func newDelegated(t *testing.T) delegated {
	t.Helper()
	it := delegated{newTarget(t, "chain", "--tls-self"), understudy.StartMicrosoft(t)}
	it.url = it.microsoft.Configure(t, it.server, "intune").SCEPURL
	return it
}

// given is the server as a device sees it that has a challenge of Intune's.
func (it delegated) given(t *testing.T, subject string) target {
	t.Helper()
	return it.withChallenge(it.microsoft.Challenge(t, subject))
}

// TestIntune enrols real clients with challenges of Intune's, and looks at what
// Intune was asked and told.
func TestIntune(t *testing.T) {
	t.Parallel()
	it := newDelegated(t)
	for _, c := range append(allClients(), macEnroll) {
		t.Run(c.name, func(t *testing.T) {
			it.microsoft.ForgetCalls(t)
			const cn = "C02XL0GTJINT"
			subject := strings.Join(append(c.extra, "CN="+cn), ",")
			path, err := c.enrol(t, it.given(t, subject), t.TempDir(), cn)
			if err != nil {
				t.Fatal(err)
			}
			it.checkTold(t, path)
		})
	}
	r := it.server.Verb(t, "cert", "list", "-o", "json")
	if strings.Contains(r.Stdout, `"void"`) {
		t.Errorf("some certificates are void:\n%s", r.Stdout)
	}
}

// checkTold asserts that Intune was asked once and told once, and what of.
func (it delegated) checkTold(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		t.Fatalf("no certificate in PEM:\n%s", content)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	asked, told := it.microsoft.Calls(t, "validate"), it.microsoft.Calls(t, "success")
	if len(asked) != 1 || len(told) != 1 || len(it.microsoft.Calls(t, "failure")) != 0 {
		t.Fatalf("Intune was asked %d times and told %d times", len(asked), len(told))
	}
	for _, call := range append(asked, told...) {
		if call.Status != 200 || call.Code != "Success" || len(call.Strange) > 0 {
			t.Errorf("call %s: status %d, %s, %q", call.Service, call.Status, call.Code, call.Strange)
		}
	}
	var body struct{ Notification map[string]any }
	if err := json.Unmarshal([]byte(told[0].Body), &body); err != nil {
		t.Fatal(err)
	}
	thumbprint := sha1.Sum(certificate.Raw)
	for name, want := range map[string]string{
		"certificateThumbprint":        strings.ToUpper(hex.EncodeToString(thumbprint[:])),
		"certificateSerialNumber":      strings.ToUpper(certificate.SerialNumber.Text(16)),
		"certificateExpirationDateUtc": certificate.NotAfter.UTC().Format("2006-01-02T15:04:05.000Z"),
	} {
		if body.Notification[name] != want {
			t.Errorf("%s is %v, want %s", name, body.Notification[name], want)
		}
	}
	if issuer, _ := body.Notification["issuingCertificateAuthority"].(string); !strings.Contains(issuer, "CN=") {
		t.Errorf("issuingCertificateAuthority is %q", issuer)
	}
}

// TestIntuneWithCertificate has the server prove itself to Entra by a
// certificate.
func TestIntuneWithCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := command(t, dir, nil, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
		"-subj", "/CN=understudy", "-keyout", "key.pem", "-out", "cert.pem"); err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(dir, "both.pem")
	for _, name := range []string{"cert.pem", "key.pem"} {
		content, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		before, _ := os.ReadFile(both)
		write(t, both, append(before, content...))
	}
	it := delegated{newTarget(t, "chain", "--tls-self"), understudy.StartMicrosoft(t, "--client-cert", filepath.Join(dir, "cert.pem"))}
	it.url = it.microsoft.Configure(t, it.server, "intune", "--client-cert", both).SCEPURL
	path, err := macEnroll.enrol(t, it.given(t, "CN=C02XL0GTJCRT"), t.TempDir(), "C02XL0GTJCRT")
	if err != nil {
		t.Fatal(err)
	}
	it.checkTold(t, path)
	for _, call := range it.microsoft.Calls(t, "token") {
		if !strings.Contains(call.Body, "client_assertion=") || strings.Contains(call.Body, "client_secret=") {
			t.Errorf("a token was asked for with %s", call.Body)
		}
	}
}

// TestIntuneFails makes each service fail in each way: the device sees a
// FAILURE and gets no certificate, and the server's log says what it was.
func TestIntuneFails(t *testing.T) {
	t.Parallel()
	const html = `"body":"<html>We will be back soon</html>"`
	for service, cases := range map[string][]struct{ fault, words string }{
		"token": {
			{`"status":401,"aadsts":7000215,"code":"invalid_client"`, "AADSTS7000215"}, {`"status":503`, "503"}, {`"status":429,"retry_after_seconds":1`, "429"},
			{html, "get a token"}, {`"body":"{}"`, "get a token"}, {`"cut":true`, "get a token"}, {`"delay_seconds":60`, "deadline exceeded"},
		},
		"graph": {
			{`"status":401`, "HTTP status 401"}, {`"status":403`, "HTTP status 403"}, {`"status":404`, "HTTP status 404"}, {`"status":500`, "HTTP status 500"},
			{html, "is not the JSON"}, {`"body":"{}"`, "Graph does not list it"}, {`"cut":true`, "stream error"}, {`"delay_seconds":60`, "deadline exceeded"},
		},
		"validate": {
			{`"status":400`, "HTTP status 400"}, {`"status":401`, "HTTP status 401"}, {`"status":403`, "HTTP status 403"}, {`"status":404`, "HTTP status 404"},
			{`"status":429`, "HTTP status 429"}, {`"status":500`, "HTTP status 500"}, {html, "is not the JSON"}, {`"body":"{}"`, "without a code"},
			{`"code":"ChallengeExpired","description":"too old"`, "ChallengeExpired: too old"}, {`"code":"Invented"`, "Invented"},
			{`"cut":true`, "stream error"}, {`"delay_seconds":60`, "deadline exceeded"},
		},
		"success": {
			{`"status":400`, "HTTP status 400"}, {`"status":403`, "HTTP status 403"}, {`"status":500`, "HTTP status 500"}, {`"status":503`, "HTTP status 503"},
			{html, "is not the JSON"}, {`"body":"{}"`, "without a code"}, {`"code":"Unknown"`, "Unknown"}, {`"cut":true`, "stream error"}, {`"delay_seconds":60`, "deadline exceeded"},
		},
	} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			it := newDelegated(t)
			for i, tc := range cases {
				t.Run(tc.fault, func(t *testing.T) { it.fails(t, service, i, tc.fault, tc.words) })
			}
			it.microsoft.Heal(t)
			it.url = it.microsoft.Configure(t, it.server, "healed").SCEPURL
			if _, err := macEnroll.enrol(t, it.given(t, "CN=C02XL0GTJWEL"), t.TempDir(), "C02XL0GTJWEL"); err != nil {
				t.Errorf("when all is well again: %v", err)
			}
		})
	}
}

// fails enrols while a service fails, with a client of Microsoft's that knows
// nothing yet.
func (it delegated) fails(t *testing.T, service string, n int, fault, words string) {
	secret := filepath.Join(t.TempDir(), "client-secret") // another file, another client
	write(t, secret, []byte(it.microsoft.ClientSecret))
	name := fmt.Sprintf("fault-%d", n)
	it.url = it.microsoft.Configure(t, it.server, name, "--client-secret-file", secret).SCEPURL
	it.microsoft.Heal(t)
	it.microsoft.ForgetCalls(t)
	given := it.given(t, "CN=C02XL0GTJFLT")
	it.microsoft.Fail(t, `{"service":"`+service+`",`+fault+`}`)
	before, began := len(it.server.Log()), time.Now()
	_, err := macEnroll.enrol(t, given, t.TempDir(), "C02XL0GTJFLT")
	if err == nil || !strings.Contains(err.Error(), "badRequest") {
		t.Errorf("the device saw %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	log := it.server.Log()[before:]
	if !strings.Contains(log, words) || !strings.Contains(log, "challenge_refused") {
		t.Errorf("the log does not say %q:\n%s", words, log)
	}
	if strings.Contains(log, given.challenge) || strings.Contains(log, it.microsoft.ClientSecret) {
		t.Error("the log holds a secret")
	}
	tries := 1
	if strings.Contains(fault, "401") && service == "validate" {
		tries = 2 // with another token
	}
	if strings.Contains(fault, "404") && service == "validate" {
		tries = 2 // after another discovery
	}
	if calls := it.microsoft.Calls(t, service); len(calls) != tries && service != "token" && service != "graph" {
		t.Errorf("%d calls to %s, want %d", len(calls), service, tries)
	}
	if calls := it.microsoft.Calls(t, "failure"); len(calls) > 0 {
		t.Error("Intune was told that its own failure is ours")
	}
	r := it.server.Verb(t, "cert", "list", "--configuration", name, "-o", "json")
	states := strings.Count(r.Stdout, `"state":"void"`) + strings.Count(r.Stdout, `"state": "void"`)
	certificates := strings.Count(r.Stdout, `"certificate_serial"`)
	if want := map[bool]int{true: 1}[service == "success"]; r.Code != 0 || states != certificates || certificates != want {
		t.Errorf("%d certificates, %d of them void:\n%s%s", certificates, states, r.Stdout, r.Stderr)
	}
}

// TestIntuneCheck says in words what stands in the way of a configuration.
func TestIntuneCheck(t *testing.T) {
	t.Parallel()
	it := newDelegated(t)
	it.microsoft.ForgetCalls(t)
	r := it.server.Verb(t, "config", "check", "intune")
	for _, step := range []string{"token for Graph: granted", "discovery of ScepRequestValidationFEService: https://", "token for Intune: granted", "Intune's service: answers"} {
		if r.Code != 0 || !strings.Contains(r.Stdout, step) {
			t.Errorf("exit code %d, without %q:\n%s%s", r.Code, step, r.Stdout, r.Stderr)
		}
	}
	if calls := it.microsoft.Calls(t, "validate"); len(calls) > 0 {
		t.Error("the check asked about a request")
	}
	it.microsoft.Fail(t, `{"service":"graph","status":403}`)
	r = it.server.Verb(t, "config", "check", "intune")
	if r.Code != 5 || !strings.Contains(r.Stdout, "high") || !strings.Contains(r.Stdout, "Application.Read.All") {
		t.Errorf("without the permission: exit code %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	wrong := filepath.Join(t.TempDir(), "secret")
	write(t, wrong, []byte("0c8a1d52-6a1b-4d5e-8c3f-52d4a5a4b702"))
	it.microsoft.Heal(t)
	it.microsoft.Configure(t, it.server, "wrong", "--client-secret-file", wrong)
	r = it.server.Verb(t, "config", "check", "wrong", "-o", "json")
	if r.Code != 5 || !strings.Contains(r.Stdout, "take the secret's value, not its id") {
		t.Errorf("with a wrong secret: exit code %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}
