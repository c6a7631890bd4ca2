package intune_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/challenge/intune"
	"understudy.example/understudy/challenge/intune/fake"
)

// TestCheck says in words what stands in the way.
func TestCheck(t *testing.T) {
	cases := map[string]struct {
		spoil  func(*testing.T, *world, *intune.Options)
		failed string // the step; empty: none
		words  string
	}{
		"all well":     {func(*testing.T, *world, *intune.Options) {}, "", ""},
		"wrong secret": {func(_ *testing.T, _ *world, o *intune.Options) { o.Secret = "its id" }, "token for Graph", "take the secret's value"},
		"old secret": {func(t *testing.T, w *world, _ *intune.Options) {
			w.application(t, fake.Application{Secrets: []fake.ClientSecret{{Value: secret, Expires: w.clock.Now().Add(-time.Second)}}})
		}, "token for Graph", "has expired"},
		"wrong client": {func(_ *testing.T, _ *world, o *intune.Options) { o.ClientID = "another" }, "token for Graph", "no such application"},
		"wrong tenant": {func(_ *testing.T, _ *world, o *intune.Options) { o.Tenant = "another.example" }, "token for Graph", "no such tenant"},
		"unregistered certificate": {func(t *testing.T, _ *world, o *intune.Options) {
			own, key := certificate(t, time.Now().Add(-time.Minute))
			o.Secret, o.Certificates, o.Key = "", []*x509.Certificate{own}, key
		}, "token for Graph", "upload it"},
		"untrusted": {func(_ *testing.T, _ *world, o *intune.Options) { o.RootCAs = x509.NewCertPool() }, "token for Graph", "--ca-file"},
		"no consent": {func(t *testing.T, w *world, _ *intune.Options) {
			w.application(t, fake.Application{Secrets: []fake.ClientSecret{{Value: secret}}, NoGraph: true})
		}, "discovery", "admin consent"},
		"no licence": {func(_ *testing.T, w *world, _ *intune.Options) { w.SetEndpoints([]fake.Endpoint{}) }, "discovery", "licence"},
		"foreign shard": {func(_ *testing.T, w *world, _ *intune.Options) {
			w.SetEndpoints([]fake.Endpoint{{ProviderName: fake.ProviderValidation, URI: "https://elsewhere.example/"}})
		}, "Intune's service", "configure its host"},
		"nobody there": {func(_ *testing.T, w *world, _ *intune.Options) {
			w.SetEndpoints([]fake.Endpoint{{ProviderName: fake.ProviderValidation, URI: "https://127.0.0.1:1/"}})
		}, "Intune's service", "configure its host"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := w.options
			tc.spoil(t, w, &o)
			c, err := intune.New(o)
			if err != nil {
				t.Fatal(err)
			}
			steps := c.Check(t.Context())
			last := steps[len(steps)-1]
			switch {
			case tc.failed == "":
				if !last.OK || len(steps) != 4 {
					t.Errorf("steps: %+v", steps)
				}
			case last.OK || !strings.Contains(last.Name, tc.failed) || !strings.Contains(last.Detail, tc.words):
				t.Errorf("last step: %+v, want %q to fail with %q", last, tc.failed, tc.words)
			}
			if n := w.calls(fake.ServiceValidate); n != 0 {
				t.Errorf("the check asked about %d requests", n)
			}
		})
	}
}
