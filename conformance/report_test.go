package conformance_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"understudy.example/understudy/conformance"
	"understudy.example/understudy/scep/client"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is a report with a case of every verdict.
func sample() *conformance.Report {
	down := "the server decides at once"
	return &conformance.Report{
		URL: "http://127.0.0.1:8080/scep", StartedAt: time.Date(2026, time.November, 22, 6, 0, 0, 0, time.UTC), DurationMS: 1234,
		Server: conformance.Server{
			Capabilities: client.Capabilities{"AES", "SHA-256", "POSTPKIOperation"},
			Certificates: []conformance.Certificate{{Subject: "CN=Test CA,O=Lab", CommonName: "Test CA", SHA256: "00ff"}},
		},
		Summary: conformance.Summary{Pass: 1, Fail: 1, NotApplicable: 1},
		Cases: []conformance.Result{
			{Number: 20, Group: "Transport", Title: "HEAD and PUT are HTTP 405", Verdict: conformance.Pass, DurationMS: 4,
				Checks: []conformance.Check{
					{Name: "HEAD", Expected: "HTTP 405", Seen: "HTTP 405", OK: true}, {Name: "PUT", Expected: "HTTP 405", Seen: "HTTP 405", OK: true},
				}},
			{Number: 31, Group: "PKCSReq", Section: "2.9, 3.2.1.4", Title: "a cipher that is not allowed is FAILURE badAlg", Verdict: conformance.Fail, DurationMS: 15,
				Checks: []conformance.Check{
					{Name: "RC2", Expected: "FAILURE badAlg", Seen: "FAILURE badAlg", OK: true},
					{Name: "AES-192", Expected: "FAILURE badAlg", Seen: `HTTP 500 "<oops> & more"`, OK: false},
				}},
			{Number: 57, Group: "CertPoll", Section: "3.3.2.3", Title: "a request that must be approved is PENDING, with empty content",
				Verdict: conformance.NotApplicable, Reason: &down, Checks: []conformance.Check{}, DurationMS: 9},
		},
	}
}

// TestForms compares the three forms of a report with what was agreed on:
// people read one of them, and programs the others.
func TestForms(t *testing.T) {
	t.Parallel()
	r := sample()
	forms := map[string]func(*bytes.Buffer) error{
		"table.txt":   func(b *bytes.Buffer) error { return r.WriteText(b, false) },
		"verbose.txt": func(b *bytes.Buffer) error { return r.WriteText(b, true) },
		"junit.xml":   func(b *bytes.Buffer) error { return r.WriteJUnit(b) },
		"report.json": func(b *bytes.Buffer) error {
			encoder := json.NewEncoder(b)
			encoder.SetEscapeHTML(false)
			encoder.SetIndent("", "  ")
			return encoder.Encode(r)
		},
	}
	for name, write := range forms {
		var got bytes.Buffer
		if err := write(&got); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s has changed (-update writes it anew):\n%s", name, got.String())
		}
	}
}
