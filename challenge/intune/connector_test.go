package intune_test

import (
	"slices"
	"strings"
	"testing"

	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/challenge/intune/fake"
)

// TestRevocations takes revocations from Intune to their results.
func TestRevocations(t *testing.T) {
	w := newWorld(t)
	c := w.client(t)
	issuer := "CN=Issuer"
	for _, serial := range []string{"0ABCDE", "703710", "00:0a:bc:de"} {
		if _, err := w.RequestRevocation(serial, &issuer); err != nil {
			t.Fatal(err)
		}
	}
	requests, err := c.Revocations(t.Context(), 2)
	if err != nil || len(requests) != 2 {
		t.Fatalf("got %v, %v, want two requests", requests, err)
	}
	requests, err = c.Revocations(t.Context(), 500)
	if err != nil || len(requests) != 3 || requests[0].IssuerName != issuer {
		t.Fatalf("got %v, %v, want three requests", requests, err)
	}
	results := []intune.RevocationResult{
		{Context: requests[0].Context},
		{Context: requests[1].Context, Code: intune.ResultConflict, Message: "revoked already"},
		{Context: requests[2].Context, Code: intune.ResultRetryable, Message: "the store is not available"},
	}
	if err := c.ReportRevocations(t.Context(), results); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, r := range w.Revocations() {
		seen = append(seen, r.Result.ErrorCode)
	}
	if want := []string{"0", "4005", "4100"}; !slices.Equal(seen, want) {
		t.Errorf("Intune knows the results %v, want %v", seen, want)
	}
	if again, err := c.Revocations(t.Context(), 500); err != nil || len(again) != 1 || again[0].Context != requests[2].Context {
		t.Errorf("offered again: %v, %v, want the one that may be tried again", again, err)
	}
}

// TestRevocationsBadly is what must not be sent, and what must not be taken for
// success.
func TestRevocationsBadly(t *testing.T) {
	w := newWorld(t)
	c := w.client(t)
	for _, n := range []int{0, 501} {
		if _, err := c.Revocations(t.Context(), n); err == nil {
			t.Errorf("%d requests at a time were asked for", n)
		}
	}
	for _, results := range [][]intune.RevocationResult{nil, {{Context: "x", Message: "a message"}}, {{Context: "x", Code: intune.ResultConflict}}} {
		if err := c.ReportRevocations(t.Context(), results); err == nil {
			t.Errorf("results %v were reported", results)
		}
	}
	if len(w.Calls()) != 0 {
		t.Error("something was sent")
	}
	refused := `{"value":false}`
	w.fail(t, fake.Fault{Service: fake.ServiceUpload, Body: &refused, Times: 1})
	if err := c.ReportRevocations(t.Context(), []intune.RevocationResult{{Context: "x"}}); err == nil || !strings.Contains(err.Error(), "did not take") {
		t.Errorf("an upload answered with false: %v", err)
	}
	empty := `{}`
	w.fail(t, fake.Fault{Service: fake.ServiceDownload, Body: &empty, Times: 1})
	if _, err := c.Revocations(t.Context(), 5); err == nil {
		t.Error("a download answered with {} was taken for an empty list")
	}
}

// TestSerials are the forms in which Intune gives certificate serials back.
func TestSerials(t *testing.T) {
	for text, want := range map[string][]string{
		"0abcde":   {"0abcde"},
		"ABCDE":    {"0abcde"},
		"00:0a:bc": {"0abc"},
		"703710":   {"703710", "0abcde"},
		"0x1f":     {"1f"},
		"":         nil,
		"0":        nil,
		"-5":       nil,
		"xyz":      nil,
	} {
		if got := (intune.RevocationRequest{SerialNumber: text}).Serials(); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
