//go:build clients

package conformance

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"testing"

	"understudy.example/understudy/test/internal/program"
)

// Why a case does not apply to a server of ours. One-time challenges come with
// the mode that gives them out.
const (
	isBundle   = "GetCACert answers a bundle"
	isSingle   = "GetCACert answers one certificate"
	isStatic   = "the configuration has one secret key"
	noRenewal  = "renewal is not offered"
	hasRenewal = "renewal is offered"
	decidesNow = "requests are not approved by hand"
	noQueries  = "GetCert and GetCRL are refused"
)

// modes are the ways to run our server that the list is about.
var modes = []struct {
	name          string
	serve, policy []string
	notApplicable map[int]string
}{
	{"okta", nil, nil, notApplicable(isBundle, isStatic, noRenewal, decidesNow, noQueries)},
	{"single", []string{"--authority", "single"}, nil, notApplicable(isSingle, isStatic, noRenewal, decidesNow, noQueries)},
	{"renewal", nil, []string{"--renewal", "--queries", "enrolled"}, notApplicable(isBundle, isStatic, hasRenewal, decidesNow)},
	{"manual", nil, []string{"--approval", "manual", "--renewal", "--queries", "enrolled"}, notApplicable(isBundle, isStatic, hasRenewal)},
}

func notApplicable(reasons ...string) map[int]string {
	cases := map[string][]int{
		isBundle: {5}, isSingle: {6}, isStatic: {26, 27}, noRenewal: {52, 54, 55}, hasRenewal: {56},
		decidesNow: {57, 58, 60, 61, 62}, noQueries: {63, 64, 65},
	}
	all := map[int]string{}
	for _, reason := range reasons {
		for _, n := range cases[reason] {
			all[n] = reason
		}
	}
	return all
}

// TestOurs runs the list against our server in each of its modes: no case
// fails, exactly the known ones do not apply, and all together leave none out
// but the two about one-time challenges.
func TestOurs(t *testing.T) {
	passed := map[int]bool{}
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			server := understudy.Start(t, program.Options{Arguments: m.serve})
			to, challenge := endpoint(t, server, m.policy)
			r := conform(t, 0, to, challenge, "--admin", server.AdminURL, "--token-file", server.AdminTokenFile, "--flood", "1000")
			r.compare(t, "failed", r.with("fail"), nil)
			r.compare(t, "n/a", r.with("n/a"), m.notApplicable)
			for _, n := range r.with("pass") {
				passed[n] = true
			}
		})
	}
	for n := 1; n <= last; n++ {
		if oneTime := n == 26 || n == 27; !passed[n] && !oneTime {
			t.Errorf("case %d holds in none of the modes", n)
		}
	}
	if t.Failed() {
		t.Logf("passed: %v", slices.Sorted(maps.Keys(passed)))
	}
}

// endpoint returns the SCEP URL and the secret key of a configuration with
// some policy.
func endpoint(t *testing.T, s *program.Server, policy []string) (to, challenge string) {
	t.Helper()
	base, err := url.Parse(s.SCEPURL)
	if err != nil {
		t.Fatal(err)
	}
	if len(policy) == 0 { // the one that is there, by the shortest of its names
		base.Path = "/scep"
		return base.String(), s.SecretKey
	}
	added := s.Verb(t, append([]string{"config", "add", "conformance", "-o", "json"}, policy...)...)
	var made struct {
		SCEPURL   string `json:"scep_url"`
		SecretKey string `json:"secret_key"`
	}
	if err := json.Unmarshal([]byte(added.Stdout), &made); err != nil || added.Code != 0 {
		t.Fatalf("config add %v: %d %s", policy, added.Code, added.Stderr)
	}
	return made.SCEPURL, made.SecretKey
}
