package configuration_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
)

// named returns default settings with a name.
func named(name string) configuration.Settings {
	s := configuration.Defaults()
	s.Name = name
	return s
}

// fieldsOf returns the fields that an *InvalidError names.
func fieldsOf(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	var invalid *configuration.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("got %T (%v), want *InvalidError", err, err)
	}
	var fields []string
	for _, p := range invalid.Problems {
		fields = append(fields, p.Field)
		if p.Detail == "" || !strings.Contains(err.Error(), p.Detail) || !strings.Contains(err.Error(), p.Field) {
			t.Errorf("problem %+v is not in the text %q", p, err)
		}
	}
	return fields
}

func TestDefaultsAreAsDocumented(t *testing.T) {
	got, err := json.Marshal(named("default"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"name":"default","mode":"static","purpose":"device-access","validity_seconds":31536000,"key_sizes":[2048],` +
		`"key_usage":"signing","retry_period_seconds":600,"chain":"full","strict":false,"sha1":"allow","des":"allow","key_checks":"fast",` +
		`"approval":"auto","approval_ttl_seconds":604800,"renewal":false,"renewal_window_seconds":0,"queries":"refuse",` +
		`"next_ca_signer":"ca","revoke_unused_after_seconds":0,"devices_file":"",` +
		`"window":{"kind":"days_before","value":30,"strict":false},"ack_timeout_seconds":86400,"challenge_ttl_seconds":3600,"max_outstanding":1000,"page":"okta",` +
		`"cloud":"","tenant":"","client_id":"","client_secret_file":"","client_certificate_file":"","ca_file":"","authority":"",` +
		`"graph_url":"","intune_resource":"","intune_hosts":[]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if err := named("default").Validate(); err != nil {
		t.Errorf("defaults are not valid: %v", err)
	}
	if fields := fieldsOf(t, configuration.Defaults().Validate()); !slices.Equal(fields, []string{"name"}) {
		t.Errorf("defaults without a name: problems with %q", fields)
	}
}

func TestValidate(t *testing.T) {
	const year = 365 * 24 * 3600
	set := func(change func(*configuration.Settings)) configuration.Settings {
		s := named("lab")
		change(&s)
		return s
	}
	tests := []struct {
		name     string
		settings configuration.Settings
		wrong    string // field; empty: valid
	}{
		{"name of one character", named("a"), ""},
		{"name that begins with a digit", named("0-0"), ""},
		{"longest name", named(strings.Repeat("a", 63)), ""},
		{"too long a name", named(strings.Repeat("a", 64)), "name"},
		{"no name", named(""), "name"},
		{"upper case", named("Lab"), "name"},
		{"begins with -", named("-lab"), "name"},
		{"underscore", named("my_lab"), "name"},
		{"slash", named("a/b"), "name"},
		{"dot", named("a.b"), "name"},
		{"newline at the end", named("lab\n"), "name"},
		{"reserved name", named("challenge"), "name"},
		{"default", named("default"), ""},
		{"form of an id", named("rac0123456789abcdefg"), "name"},
		{"nearly the form of an id", named("rac0123456789abcdef"), ""},
		{"dynamic", set(func(s *configuration.Settings) { s.Mode = depot.ModeDynamic }), ""},
		{"challenges of no time", set(func(s *configuration.Settings) { s.ChallengeTTLSeconds = 0 }), "challenge_ttl_seconds"},
		{"challenges for ever", set(func(s *configuration.Settings) { s.ChallengeTTLSeconds = year }), "challenge_ttl_seconds"},
		{"no challenges", set(func(s *configuration.Settings) { s.MaxOutstanding = 0 }), "max_outstanding"},
		{"other page", set(func(s *configuration.Settings) { s.Page = "jamf" }), "page"},
		{"tenant in another mode", set(func(s *configuration.Settings) { s.Tenant = "contoso" }), "tenant"},
		{"other mode", set(func(s *configuration.Settings) { s.Mode = "tomorrow" }), "mode"},
		{"no mode", set(func(s *configuration.Settings) { s.Mode = "" }), "mode"},
		{"management attestation", set(func(s *configuration.Settings) { s.Purpose = depot.PurposeManagementAttestation }), ""},
		{"other purpose", set(func(s *configuration.Settings) { s.Purpose = "tls" }), "purpose"},
		{"a minute", set(func(s *configuration.Settings) { s.ValiditySeconds = 60 }), ""},
		{"less than a minute", set(func(s *configuration.Settings) { s.ValiditySeconds = 59 }), "validity_seconds"},
		{"negative validity", set(func(s *configuration.Settings) { s.ValiditySeconds = -year }), "validity_seconds"},
		{"ten years", set(func(s *configuration.Settings) { s.ValiditySeconds = 10 * year }), ""},
		{"more than ten years", set(func(s *configuration.Settings) { s.ValiditySeconds = 10*year + 1 }), "validity_seconds"},
		{"seconds that overflow a duration", set(func(s *configuration.Settings) { s.ValiditySeconds = 1<<63 - 1 }), "validity_seconds"},
		{"all sizes", set(func(s *configuration.Settings) { s.KeySizes = []int{4096, 2048, 3072} }), ""},
		{"no size", set(func(s *configuration.Settings) { s.KeySizes = nil }), "key_sizes"},
		{"1024", set(func(s *configuration.Settings) { s.KeySizes = []int{2048, 1024} }), "key_sizes"},
		{"a size twice", set(func(s *configuration.Settings) { s.KeySizes = []int{2048, 2048} }), "key_sizes"},
		{"agreement", set(func(s *configuration.Settings) { s.KeyUsage = "signing,agreement" }), ""},
		{"other order", set(func(s *configuration.Settings) { s.KeyUsage = "agreement,signing" }), "key_usage"},
		{"no retry period", set(func(s *configuration.Settings) { s.RetryPeriodSeconds = 0 }), ""},
		{"negative retry period", set(func(s *configuration.Settings) { s.RetryPeriodSeconds = -1 }), "retry_period_seconds"},
		{"too long a retry period", set(func(s *configuration.Settings) { s.RetryPeriodSeconds = 30*24*3600 + 1 }), "retry_period_seconds"},
		{"no root", set(func(s *configuration.Settings) { s.Chain = "no-root" }), ""},
		{"other chain", set(func(s *configuration.Settings) { s.Chain = "leaf" }), "chain"},
		{"strict", set(func(s *configuration.Settings) { s.Strict = true }), ""},
		{"SHA-1 refused", set(func(s *configuration.Settings) { s.SHA1 = "refuse" }), ""},
		{"SHA-1 otherwise", set(func(s *configuration.Settings) { s.SHA1 = "" }), "sha1"},
		{"DES otherwise", set(func(s *configuration.Settings) { s.DES = "never" }), "des"},
		{"strict key checks", set(func(s *configuration.Settings) { s.KeyChecks = "strict" }), ""},
		{"manual", set(func(s *configuration.Settings) { s.Approval = "manual" }), ""},
		{"manual for new devices", set(func(s *configuration.Settings) { s.Approval = "manual-new" }), ""},
		{"other approval", set(func(s *configuration.Settings) { s.Approval = "sometimes" }), "approval"},
		{"a minute to approve", set(func(s *configuration.Settings) { s.ApprovalTTLSeconds = 60 }), ""},
		{"no time to approve", set(func(s *configuration.Settings) { s.ApprovalTTLSeconds = 0 }), "approval_ttl_seconds"},
		{"years to approve", set(func(s *configuration.Settings) { s.ApprovalTTLSeconds = 2 * year }), "approval_ttl_seconds"},
		{"renewal in the last month", set(func(s *configuration.Settings) { s.Renewal, s.RenewalWindowSeconds = true, year/12 }), ""},
		{"window of 20 percent", set(func(s *configuration.Settings) {
			s.Window = configuration.WindowSettings{Kind: "percent_remaining", Value: 20}
		}), ""},
		{"no window", set(func(s *configuration.Settings) { s.Window = configuration.WindowSettings{Kind: "days_before"} }), ""},
		{"negative window", set(func(s *configuration.Settings) { s.Window.Value = -1 }), "window"},
		{"window of all percent", set(func(s *configuration.Settings) {
			s.Window = configuration.WindowSettings{Kind: "percent_remaining", Value: 100}
		}), "window"},
		{"strict percent", set(func(s *configuration.Settings) {
			s.Window = configuration.WindowSettings{Kind: "percent_remaining", Value: 1, Strict: true}
		}), "window"},
		{"unknown window", set(func(s *configuration.Settings) { s.Window.Kind = "weeks" }), "window"},
		{"window without a kind", set(func(s *configuration.Settings) { s.Window.Kind = "" }), "window"},
		{"no acknowledgement counts", set(func(s *configuration.Settings) { s.AckTimeoutSeconds = 0 }), "ack_timeout_seconds"},
		{"one counts for a second", set(func(s *configuration.Settings) { s.AckTimeoutSeconds = 1 }), ""},
		{"one counts for more than a year", set(func(s *configuration.Settings) { s.AckTimeoutSeconds = year + 1 }), "ack_timeout_seconds"},
		{"negative renewal window", set(func(s *configuration.Settings) { s.RenewalWindowSeconds = -1 }), "renewal_window_seconds"},
		{"queries of the enrolled", set(func(s *configuration.Settings) { s.Queries = "enrolled" }), ""},
		{"queries of anyone", set(func(s *configuration.Settings) { s.Queries = "anyone" }), ""},
		{"other queries", set(func(s *configuration.Settings) { s.Queries = "allow" }), "queries"},
		{"next CA signed by the RA", set(func(s *configuration.Settings) { s.NextCASigner = "ra" }), ""},
		{"next CA signed by itself", set(func(s *configuration.Settings) { s.NextCASigner = "next" }), "next_ca_signer"},
		{"unused for 90 days", set(func(s *configuration.Settings) { s.RevokeUnusedAfterSeconds = 90 * 24 * 3600 }), ""},
		{"unused for seconds", set(func(s *configuration.Settings) { s.RevokeUnusedAfterSeconds = 59 }), "revoke_unused_after_seconds"},
		{"unused for -1", set(func(s *configuration.Settings) { s.RevokeUnusedAfterSeconds = -1 }), "revoke_unused_after_seconds"},
		{"list of devices", set(func(s *configuration.Settings) { s.DevicesFile = "/srv/lab/devices.csv" }), ""},
		{"relative path", set(func(s *configuration.Settings) { s.DevicesFile = "devices.csv" }), "devices_file"},
		{"path with a newline", set(func(s *configuration.Settings) { s.DevicesFile = "/srv/\nx" }), "devices_file"},
		{"path without an end", set(func(s *configuration.Settings) { s.DevicesFile = "/" + strings.Repeat("x", 4096) }), "devices_file"},
		{"other key checks", set(func(s *configuration.Settings) { s.KeyChecks = "none" }), "key_checks"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var want []string
			if tt.wrong != "" {
				want = []string{tt.wrong}
			}
			if got := fieldsOf(t, tt.settings.Validate()); !slices.Equal(got, want) {
				t.Errorf("problems with %q, want %q", got, want)
			}
		})
	}
}

func TestValidateIntune(t *testing.T) {
	good := named("lab")
	good.Mode, good.Cloud, good.Tenant, good.ClientID, good.ClientSecretFile = depot.ModeIntune, "public", "contoso", "an-id", "/srv/secret"
	for want, change := range map[string]func(*configuration.Settings){
		"":                   func(*configuration.Settings) {},
		"tenant":             func(s *configuration.Settings) { s.Tenant = "" },
		"client_id":          func(s *configuration.Settings) { s.ClientID = "" },
		"client_secret_file": func(s *configuration.Settings) { s.ClientCertificateFile = "/srv/certificate" },
		"cloud":              func(s *configuration.Settings) { s.Cloud = "moon" },
		"approval":           func(s *configuration.Settings) { s.Approval = "manual" },
		"ca_file":            func(s *configuration.Settings) { s.CAFile = "ca.pem" },
		"graph_url":          func(s *configuration.Settings) { s.Cloud, s.Authority, s.GraphURL = "", "https://a/", "http://b/" },
	} {
		s := good
		change(&s)
		if got := strings.Join(fieldsOf(t, s.Validate()), " "); got != want {
			t.Errorf("problems with %q, want %q", got, want)
		}
	}
}

func TestValidateListsEverything(t *testing.T) {
	all := []string{"ack_timeout_seconds", "approval", "approval_ttl_seconds", "chain", "challenge_ttl_seconds", "des", "key_checks", "key_sizes", "key_usage",
		"max_outstanding", "mode", "name", "next_ca_signer", "page", "purpose", "queries", "retry_period_seconds", "sha1", "validity_seconds", "window"}
	got := fieldsOf(t, configuration.Settings{RetryPeriodSeconds: -1}.Validate())
	slices.Sort(got)
	if !slices.Equal(got, all) {
		t.Errorf("problems with %q, want %q", got, all)
	}
}

func TestMerge(t *testing.T) {
	base := named("lab")
	base.Strict = true
	got, err := base.Merge([]byte(`{"validity_seconds": 3600, "key_sizes": [3072], "strict": false, "purpose": "management-attestation"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := named("lab")
	want.ValiditySeconds, want.KeySizes, want.Purpose = 3600, []int{3072}, depot.PurposeManagementAttestation
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if base.KeySizes[0] != 2048 || !base.Strict {
		t.Error("Merge changed its receiver")
	}
	if same, err := base.Merge([]byte(`{}`)); err != nil || !reflect.DeepEqual(same, base) {
		t.Errorf("empty patch: %+v, %v", same, err)
	}
}

// Every field of the JSON form can be merged.
func TestMergeKnowsAllFields(t *testing.T) {
	want := configuration.Settings{Name: "x", Mode: "m", Purpose: "p", ValiditySeconds: 1, KeySizes: []int{2}, KeyUsage: "u",
		RetryPeriodSeconds: 3, Chain: "c", Strict: true, SHA1: "s", DES: "d", KeyChecks: "k", Approval: "a", ApprovalTTLSeconds: 4,
		Renewal: true, RenewalWindowSeconds: 5, Queries: "q", NextCASigner: "n", RevokeUnusedAfterSeconds: 6, DevicesFile: "f",
		Window: configuration.WindowSettings{Kind: "j", Value: 9, Strict: true}, AckTimeoutSeconds: 10,
		ChallengeTTLSeconds: 7, MaxOutstanding: 8, Page: "g", Cloud: "l", Tenant: "t", ClientID: "i", ClientSecretFile: "e",
		ClientCertificateFile: "r", CAFile: "v", Authority: "h", GraphURL: "w", IntuneResource: "y", IntuneHosts: []string{"z"}}
	object, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := configuration.Settings{}.Merge(object)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestMergeIsStrict(t *testing.T) {
	tests := []struct{ object, fields string }{
		{``, ""}, {`null`, ""}, {`[]`, ""}, {`"x"`, ""}, {`{"name":"x"} {}`, ""}, {`{"name":`, ""},
		{`{"renewals": true}`, "renewals"},
		{`{"renewal": 1}`, "renewal"},
		{`{"Strict": true}`, "Strict"},
		{`{"policy": {}}`, "policy"},
		{`{"validity_seconds": "365d"}`, "validity_seconds"},
		{`{"validity_seconds": 1.5}`, "validity_seconds"},
		{`{"validity_seconds": 1e30}`, "validity_seconds"},
		{`{"strict": "yes"}`, "strict"},
		{`{"name": 7}`, "name"},
		{`{"name": null}`, "name"},
		{`{"window": null}`, "window"},
		{`{"window": []}`, "window"},
		{`{"window": {"days": 30}}`, "window"},
		{`{"window": {"Kind": "days_before"}}`, "window"},
		{`{"window": {"value": "30"}}`, "window"},
		{`{"window": {"value": null}}`, "window"},
		{`{"ack_timeout_seconds": "24h"}`, "ack_timeout_seconds"},
		{`{"key_sizes": 2048}`, "key_sizes"},
		{`{"key_sizes": ["2048"]}`, "key_sizes"},
		{`{"strict": 1, "name": true, "shape": 0, "validity_seconds": 60}`, "name shape strict"},
	}
	for _, tt := range tests {
		got, err := named("lab").Merge([]byte(tt.object))
		if err == nil {
			t.Errorf("%s: no error", tt.object)
			continue
		}
		if fields := strings.Join(fieldsOf(t, err), " "); fields != tt.fields {
			t.Errorf("%s: problems with %q, want %q", tt.object, fields, tt.fields)
		}
		if got.Name != "" {
			t.Errorf("%s: settings beside an error: %+v", tt.object, got)
		}
	}
}

func TestNewID(t *testing.T) {
	form := regexp.MustCompile(`^rac[a-z0-9]{17}$`)
	seen := map[string]bool{}
	for range 1000 {
		id, err := configuration.NewID(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("%q has a wrong form or came twice", id)
		}
		seen[id] = true
	}
	if _, err := configuration.NewID(strings.NewReader("short")); err == nil {
		t.Error("a random source that ends is no error")
	}
	if _, err := configuration.NewID(useless{}); err == nil {
		t.Error("a random source of 0xff only is no error")
	}
}

type useless struct{}

func (useless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}

func TestWarnings(t *testing.T) {
	quiet := depot.ConfigurationPolicy{Validity: 365 * 24 * time.Hour, KeySizes: []int{2048}, RetryPeriod: time.Minute, Chain: "full", SHA1: "refuse", DES: "refuse"}
	tests := []struct {
		name   string
		change func(*depot.ConfigurationPolicy)
		want   string
	}{
		{"nothing to say", func(*depot.ConfigurationPolicy) {}, ""},
		{"SHA-1", func(p *depot.ConfigurationPolicy) { p.SHA1 = "allow" }, "low sha1"},
		{"DES", func(p *depot.ConfigurationPolicy) { p.DES = "allow" }, "medium des"},
		{"no retry period", func(p *depot.ConfigurationPolicy) { p.RetryPeriod = 0 }, "medium retry_period_seconds"},
		{"398 days", func(p *depot.ConfigurationPolicy) { p.Validity = 398 * 24 * time.Hour }, ""},
		{"more than 398 days", func(p *depot.ConfigurationPolicy) { p.Validity = 398*24*time.Hour + time.Second }, "medium validity_seconds"},
		{"an hour", func(p *depot.ConfigurationPolicy) {
			p.Validity, p.WindowKind, p.WindowValue, p.AckTimeout = time.Hour, "percent_remaining", 20, time.Minute
		}, ""},
		{"less than an hour", func(p *depot.ConfigurationPolicy) {
			p.Validity, p.WindowKind, p.WindowValue, p.AckTimeout = time.Hour-time.Second, "percent_remaining", 20, time.Minute
		}, "medium validity_seconds"},
		{"4096", func(p *depot.ConfigurationPolicy) { p.KeySizes = []int{2048, 4096} }, "low key_sizes"},
		{"no root", func(p *depot.ConfigurationPolicy) { p.Chain = "no-root" }, "medium chain"},
		{"strict", func(p *depot.ConfigurationPolicy) { p.Strict = true }, "low strict"},
		{"manual", func(p *depot.ConfigurationPolicy) { p.Approval, p.ApprovalTTL = "manual", time.Hour }, "medium approval"},
		{"manual for new devices", func(p *depot.ConfigurationPolicy) { p.Approval, p.ApprovalTTL = "manual-new", time.Hour }, ""},
		{"little time to approve", func(p *depot.ConfigurationPolicy) { p.Approval, p.ApprovalTTL = "manual-new", time.Minute }, "medium approval_ttl_seconds"},
		{"little time that nobody needs", func(p *depot.ConfigurationPolicy) { p.Approval, p.ApprovalTTL = "auto", time.Minute }, ""},
		{"renewal", func(p *depot.ConfigurationPolicy) { p.Renewal, p.RenewalWindow = true, time.Hour }, "low renewal"},
		{"renewal at any time", func(p *depot.ConfigurationPolicy) { p.Renewal = true }, "low renewal,medium renewal_window_seconds"},
		{"queries of the enrolled", func(p *depot.ConfigurationPolicy) { p.Queries = "enrolled" }, ""},
		{"queries of anyone", func(p *depot.ConfigurationPolicy) { p.Queries = "anyone" }, "medium queries"},
		{"next CA signed by the RA", func(p *depot.ConfigurationPolicy) { p.NextCASigner = "ra" }, "low next_ca_signer"},
		{"unused for 90 days", func(p *depot.ConfigurationPolicy) { p.RevokeUnusedAfter = 90 * 24 * time.Hour }, ""},
		{"a certificate longer than the window", func(p *depot.ConfigurationPolicy) { p.Validity = 30*24*time.Hour + time.Second }, ""},
		{"not longer than the window", func(p *depot.ConfigurationPolicy) { p.Validity = 30 * 24 * time.Hour }, "low window"},
		{"all window", func(p *depot.ConfigurationPolicy) {
			p.WindowKind, p.WindowValue, p.WindowStrict = "days_before", 365, true
		}, "medium window"},
		{"never due", func(p *depot.ConfigurationPolicy) { p.WindowKind = "days_before" }, "medium window"},
		{"never stalls", func(p *depot.ConfigurationPolicy) { p.AckTimeout = 30 * 24 * time.Hour }, "low ack_timeout_seconds"},
		{"stalls at the end", func(p *depot.ConfigurationPolicy) { p.AckTimeout = 30*24*time.Hour - time.Second }, ""},
		{"unused for an hour", func(p *depot.ConfigurationPolicy) { p.RevokeUnusedAfter = time.Hour }, "medium revoke_unused_after_seconds"},
	}
	for _, tt := range tests {
		p := quiet
		tt.change(&p)
		list := configuration.Warnings(depot.Configuration{Policy: p})
		var got []string
		for _, w := range list {
			got = append(got, string(w.Severity)+" "+w.Field)
			if w.Detail == "" {
				t.Errorf("%s: %s has no detail", tt.name, w.Field)
			}
		}
		if strings.Join(got, ",") != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if list == nil {
			t.Errorf("%s: nil, which is null in JSON", tt.name)
		}
	}
}

// A record that was stored before there were these settings has their
// defaults.
func TestSettingsOfOldRecords(t *testing.T) {
	old := depot.Configuration{Name: "default", Mode: depot.ModeStatic, Purpose: depot.PurposeDeviceAccess, Policy: depot.ConfigurationPolicy{
		Validity: 365 * 24 * time.Hour, KeySizes: []int{2048}, KeyUsage: "signing", RetryPeriod: 10 * time.Minute,
		Chain: "full", SHA1: "allow", DES: "allow", KeyChecks: "fast",
	}}
	if got := configuration.SettingsOf(old); !reflect.DeepEqual(got, named("default")) {
		t.Errorf("got  %+v\nwant %+v", got, named("default"))
	}
}

// A window changes by its parts, but another kind is not strict by itself.
func TestMergeWindow(t *testing.T) {
	base := named("lab")
	base.Window = configuration.WindowSettings{Kind: "days_before", Value: 10, Strict: true}
	for object, want := range map[string]configuration.WindowSettings{
		`{}`:                          base.Window,
		`{"window":{}}`:               base.Window,
		`{"window":{"value":20}}`:     {Kind: "days_before", Value: 20, Strict: true},
		`{"window":{"strict":false}}`: {Kind: "days_before", Value: 10},
		`{"window":{"kind":"percent_remaining","value":20}}`:         {Kind: "percent_remaining", Value: 20},
		`{"window":{"kind":"days_before","value":20}}`:               {Kind: "days_before", Value: 20, Strict: true},
		`{"window":{"kind":"days_before","value":20,"strict":true}}`: {Kind: "days_before", Value: 20, Strict: true},
	} {
		got, err := base.Merge([]byte(object))
		if err != nil || got.Window != want {
			t.Errorf("%s: %+v, %v; want %+v", object, got.Window, err, want)
		}
	}
}

// The problems of Intune's settings are always listed in the same order.
func TestOrderOfProblems(t *testing.T) {
	wrong := named("lab")
	wrong.Cloud, wrong.Tenant, wrong.ClientID, wrong.ClientSecretFile, wrong.ClientCertificateFile = "x", "x", "x", "x", "x"
	wrong.CAFile, wrong.Authority, wrong.GraphURL, wrong.IntuneResource, wrong.IntuneHosts = "x", "x", "x", "x", []string{"x"}
	empty := named("lab")
	empty.Mode = depot.ModeIntune
	urls := empty
	urls.Tenant, urls.ClientID, urls.ClientSecretFile = "x", "x", "/x"
	urls.Authority, urls.GraphURL, urls.IntuneResource = "http://x", "x", "https://x/?y"
	for want, s := range map[string]configuration.Settings{
		"cloud tenant client_id client_secret_file client_certificate_file ca_file authority graph_url intune_resource intune_hosts": wrong,
		"tenant client_id client_secret_file cloud": empty,
		"authority graph_url intune_resource":       urls,
	} {
		for range 20 {
			if got := strings.Join(fieldsOf(t, s.Validate()), " "); got != want {
				t.Fatalf("problems of %s, want %s", got, want)
			}
		}
	}
}
