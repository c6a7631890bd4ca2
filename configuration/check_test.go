package configuration_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/depottest"
)

// A delegated validator knows what was in its file.
type delegatedValidator struct{ secret string }

func (delegatedValidator) Validate(context.Context, challenge.Attempt) (challenge.Grant, error) {
	return nil, nil
}

func (v delegatedValidator) Check(context.Context) []challenge.Step {
	return []challenge.Step{{Name: "token", OK: v.secret == "good", Detail: "with " + v.secret}}
}

// TestCheck says how asking somebody else went, and reads files again when the
// configuration is set to what it is.
func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("bad")
	s, err := configuration.Load(t.Context(), depottest.NewMemory(), clock.NewManual(begin), nil,
		configuration.WithDelegate(func(i depot.IntuneSettings) (challenge.Validator, error) {
			content, err := os.ReadFile(i.SecretFile)
			return delegatedValidator{string(content)}, err
		}))
	if err != nil {
		t.Fatal(err)
	}
	settings := named("delegated")
	settings.Mode, settings.Cloud, settings.Tenant, settings.ClientID, settings.ClientSecretFile = depot.ModeIntune, "public", "contoso", "an-id", file
	live, _, err := s.Add(t.Context(), settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	last := func(l *configuration.Live) configuration.Warning {
		list := l.Check(t.Context())
		return list[len(list)-1]
	}
	if got := last(live); got != (configuration.Warning{Severity: configuration.SeverityHigh, Field: "mode", Detail: "token: with bad"}) {
		t.Errorf("with a bad secret: %+v", got)
	}
	write("good")
	again, err := s.Change(t.Context(), "delegated", []byte(`{"tenant":"contoso"}`))
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := s.ByName("delegated"); found != again || again.Record.Revision != live.Record.Revision {
		t.Errorf("revision %d after %d; live is another: %t", again.Record.Revision, live.Record.Revision, found != again)
	}
	if got := last(again); got.Severity != configuration.SeverityInfo || got.Detail != "token: with good" {
		t.Errorf("with a good secret: %+v", got)
	}
	static, _ := add(t, s, "static")
	if got := len(static.Check(t.Context())); got != len(configuration.Warnings(static.Record)) {
		t.Errorf("%d remarks on a configuration that asks nobody", got)
	}
}
