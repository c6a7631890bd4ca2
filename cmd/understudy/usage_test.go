package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestUsageErrors: what cannot be meant is refused before anything is done,
// and the message says what to write instead.
func TestUsageErrors(t *testing.T) {
	t.Parallel()
	words := filepath.Join(t.TempDir(), "words")
	if err := os.WriteFile(words, []byte("not a token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	accents := filepath.Join(t.TempDir(), "accents")
	if err := os.WriteFile(accents, []byte("tökén\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for said, line := range map[string][]string{
		`--as-of: "yesterday" is not a time: write 2026-12-01T00:00:00Z`: {"cert", "list", "--as-of", "yesterday"},
		`"2027" is not a time`:                      {"lab", "clock", "set", "2027"},
		"[<serial>] is empty":                       {"cert", "export", ""},
		"<name> is empty":                           {"config", "rm", ""},
		"[<id> ...] is empty":                       {"window", "ack", "rd_01", ""},
		"argument 2 is not UTF-8: \"x\\xff\"":       {"decode", "x\xff"},
		"--ttl 0s: a challenge must live":           {"challenge", "new", "jamf", "--ttl", "0s"},
		"1.5s: give whole seconds":                  {"challenge", "new", "jamf", "--ttl", "1500ms"},
		"500ms: give whole seconds":                 {"token", "add", "jamf", "--scope", "read", "--ttl", "500ms"},
		"100ms: give whole seconds":                 {"config", "set", "default", "--retry-period", "100ms"},
		`"nowhere" is not the URL of a server`:      {"cert", "list", "--server", "nowhere", "--token-file", os.DevNull},
		"words holds no token, which is one word":   {"cert", "list", "--server", "http://127.0.0.1:1", "--token-file", words},
		"accents holds no token, which is one word": {"cert", "list", "--server", "http://127.0.0.1:1", "--token-file", accents},
		"read admin token: open ":                   {"cert", "list", "--server", "http://127.0.0.1:1", "--token-file", words + "s"},
		"read backup: open ":                        {"restore", words + ".tar"},
		`"-5/min" is not a rate`:                    {"settings", "--rate-limit=-5/min"},
		"--strict goes with --days":                 {"window", "list", "--strict", "--percent", "20"},
		"--output junit is for results":             {"conformance", "--list", "-o", "junit"},
		"C takes letters, digits":                   {"mac", "enroll", "--url", "http://127.0.0.1:1/", "--out", "mac", "--subject", "C=Dä"},
	} {
		var stdout, stderr bytes.Buffer
		if code := Run(line, strings.NewReader(""), &stdout, &stderr, nil); code != exitUsage || !strings.Contains(stderr.String(), said) || stdout.Len() > 0 {
			t.Errorf("%q: exit code %d, printed %q, said %q; want %d and %q", line, code, &stdout, &stderr, exitUsage, said)
		}
	}
}

// TestFullDisk: what could not be printed is a failure.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, line := range [][]string{{"version"}, {"version", "-o", "json"}, {"settings"}, {"conformance", "--list"}} {
		var stderr bytes.Buffer
		if code := Run(line, strings.NewReader(""), full{}, &stderr, nil); code != exitFailed || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("%q: exit code %d, said %q", line, code, &stderr)
		}
	}
}

// full is a disk with no space left.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }
