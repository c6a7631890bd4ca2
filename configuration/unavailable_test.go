package configuration_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/refusal"
)

// reading makes a validator of what is in the secret's file.
func reading(s depot.IntuneSettings) (challenge.Validator, error) {
	content, err := os.ReadFile(s.SecretFile)
	if err != nil {
		return nil, &intune.FileError{Setting: "client_secret_file", Path: s.SecretFile, Err: err}
	}
	return delegatedValidator{string(content)}, nil
}

// delegated are settings whose secret is in a file.
func delegated(name, file string) configuration.Settings {
	s := named(name)
	s.Mode, s.Cloud, s.Tenant, s.ClientID, s.ClientSecretFile = depot.ModeIntune, "public", "contoso", "an-id", file
	return s
}

// When the file of a delegate is gone, a start goes on without it: it refuses
// everybody, says why, and leaves open what was begun. The others serve.
func TestUnavailable(t *testing.T) {
	c := clock.NewManual(begin)
	d := openDepot(t, filepath.Join(t.TempDir(), "store"), c)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("good"), 0o600); err != nil {
		t.Fatal(err)
	}
	open := func() *configuration.Set {
		t.Helper()
		s, err := configuration.Load(t.Context(), d, c, nil, configuration.WithDelegate(reading))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	_, key := add(t, s, "static")
	if live, _, err := s.Add(t.Context(), delegated("delegated", file), nil); err != nil || live.Unavailable() != nil {
		t.Fatalf("Add: %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s = open()
	if static, _ := s.ByName("static"); !accepts(static, key) || static.Unavailable() != nil {
		t.Error("another configuration suffers")
	}
	live, found := s.ByName("delegated")
	if !found || !errors.Is(live.Unavailable(), fs.ErrNotExist) || !strings.Contains(live.Unavailable().Error(), file) {
		t.Fatalf("unavailable: %v, %v", found, live.Unavailable())
	}
	_, err := live.Validator.Validate(t.Context(), challenge.Attempt{Challenge: challenge.NewSecret("x")})
	if no, ok := refusal.Of(err); !ok || no.Reason != refusal.ChallengeRefused || !strings.Contains(no.Detail, file) || strings.Contains(no.Text, file) {
		t.Errorf("Validate: %+v, %v", no, err)
	}
	checked := live.Check(t.Context())
	if last := checked[len(checked)-1]; last.Severity != configuration.SeverityHigh || !strings.Contains(last.Detail, file) {
		t.Errorf("Check: %+v", checked)
	}
	grant := live.Validator.(challenge.Resumer).Resume("T-1", []byte("csr"))
	if !grant.HoldsBack() || grant.Spends() != (depot.ChallengeRef{}) || !errors.Is(grant.Issued(context.Background(), nil), challenge.ErrInDoubt) ||
		grant.Failed(t.Context(), errors.New("x")) == nil {
		t.Error("what was begun is not left open")
	}

	// It is put right by reading the file again.
	var wrong *configuration.InvalidError
	same := []byte(`{"tenant":"contoso"}`)
	if _, err := s.Change(t.Context(), "delegated", same); !errors.As(err, &wrong) || wrong.Problems[0].Field != "client_secret_file" {
		t.Errorf("set while the file is missing: %v", err)
	}
	if err := os.WriteFile(file, []byte("good"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Change(t.Context(), "delegated", same); err != nil || again.Unavailable() != nil || again.Record.Revision != 1 {
		t.Errorf("set with the file: %v", err)
	}
	if live, _ := s.ByName("delegated"); live.Unavailable() != nil {
		t.Error("what was put right is not live")
	}
}

// Whoever wants to set what cannot be read is told so, by the setting.
func TestUnreadableSetting(t *testing.T) {
	d := openDepot(t, filepath.Join(t.TempDir(), "store"), clock.System{})
	s, err := configuration.Load(t.Context(), d, clock.System{}, nil, configuration.WithDelegate(reading))
	if err != nil {
		t.Fatal(err)
	}
	var wrong *configuration.InvalidError
	if _, _, err := s.Add(t.Context(), delegated("delegated", "/nowhere/secret"), nil); !errors.As(err, &wrong) ||
		wrong.Problems[0].Field != "client_secret_file" || !strings.Contains(wrong.Problems[0].Detail, "/nowhere/secret: no such file") {
		t.Errorf("Add: %v", err)
	}
	broken, err := configuration.Load(t.Context(), d, clock.System{}, nil, configuration.WithDelegate(func(depot.IntuneSettings) (challenge.Validator, error) {
		return nil, errors.New("of another kind")
	}))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := broken.Add(t.Context(), delegated("delegated", "/nowhere/secret"), nil); !errors.As(err, &wrong) || wrong.Problems[0].Field != "mode" {
		t.Errorf("Add: %v", err)
	}
	if list, err := d.Configurations(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("stored: %v, %v", list, err)
	}
	bad := delegated("delegated", "/nowhere/secret")
	bad.Tenant = "contoso/../other"
	if err := bad.Validate(); !errors.As(err, &wrong) || wrong.Problems[0].Field != "tenant" {
		t.Errorf("Validate: %v", err)
	}
}

// A write that fails has everything read back, and what did not change stays as
// it is: its file may be gone since the start.
func TestReadBackKeepsDelegates(t *testing.T) {
	c := clock.NewManual(begin)
	f := &faulty{Depot: openDepot(t, filepath.Join(t.TempDir(), "store"), c)}
	s, err := configuration.Load(t.Context(), f, c, nil, configuration.WithDelegate(reading))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("good"), 0o600); err != nil {
		t.Fatal(err)
	}
	live, _, err := s.Add(t.Context(), delegated("delegated", file), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	f.after = errors.New("the answer was lost")
	if _, _, err := s.Add(t.Context(), named("static"), nil); err == nil {
		t.Fatal("the write did not fail")
	}
	if _, found := s.ByName("static"); !found {
		t.Error("what is stored is not live")
	}
	if now, found := s.ByName("delegated"); !found || now != live {
		t.Errorf("delegate: found %v, another %v", found, now != live)
	}
}
