package configuration

import (
	"context"
	"slices"
	"time"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/depot"
)

// Severity of a warning.
type Severity string

// The severities, as of findings.
const (
	SeverityInfo   Severity = "info"   // all is well
	SeverityLow    Severity = "low"    // a choice that costs something
	SeverityMedium Severity = "medium" // a choice that will surprise somebody
	SeverityHigh   Severity = "high"   // nobody can enrol
)

// A Warning is something that is allowed and worth knowing.
type Warning struct {
	Severity Severity `json:"severity"`
	Field    string   `json:"field"` // of Settings, named as in JSON
	Detail   string   `json:"detail"`
}

// Check returns the Warnings and, where somebody else judges challenges, what
// became of trying to reach them. It may take as long as they do.
func (l *Live) Check(ctx context.Context) []Warning {
	list := Warnings(l.Record)
	checker, ok := l.Validator.(challenge.Checker)
	if !ok {
		return list
	}
	for _, step := range checker.Check(ctx) {
		severity := SeverityInfo
		if !step.OK {
			severity = SeverityHigh
		}
		list = append(list, Warning{severity, "mode", step.Name + ": " + step.Detail})
	}
	return list
}

// Warnings returns what a user of the configuration should know, in the order
// of the settings. It is empty for a configuration without surprises, never
// nil.
func Warnings(c depot.Configuration) []Warning {
	list := []Warning{}
	warn := func(when bool, severity Severity, field, detail string) {
		if when {
			list = append(list, Warning{severity, field, detail})
		}
	}
	p := c.Policy
	warn(p.Validity > 398*24*time.Hour, SeverityMedium, "validity_seconds",
		"certificates live longer than 398 days, the most that many platforms accept")
	warn(p.Validity < time.Hour, SeverityMedium, "validity_seconds",
		"certificates live less than an hour, and clocks of devices may differ by more than that allows")
	warn(slices.Contains(p.KeySizes, 4096), SeverityLow, "key_sizes",
		"keys of 4096 bits take devices many seconds to make and the server several times the work of 2048 to check")
	warn(p.RetryPeriod == 0, SeverityMedium, "retry_period_seconds",
		"a device that loses an answer and asks again gets a second certificate or is refused, never the first certificate")
	warn(p.Chain == ChainNoRoot, SeverityMedium, "chain",
		"GetCACert without the root breaks strongSwan and certmonger")
	warn(p.Strict, SeverityLow, "strict",
		"clients that do not follow RFC 8894 to the letter are refused, and clocks more than 15 minutes off as well")
	warn(p.SHA1 == SHA1Allow, SeverityLow, "sha1",
		"messages signed with SHA-1 are accepted, which old clients need; refuse it when all clients know SHA-256")
	warn(p.DES == DESAllow, SeverityMedium, "des",
		"requests encrypted with single DES are accepted, which scepclient needs, and their challenge can be read by whoever records them; refuse it when all clients know AES")
	warnRequests(p, warn)
	warnWindow(p, warn)
	return list
}

// warnRequests is Warnings for approval, renewal, queries, revocation and the
// list of devices.
func warnRequests(p depot.ConfigurationPolicy, warn func(when bool, severity Severity, field, detail string)) {
	manual := p.Approval == ApprovalManual || p.Approval == ApprovalManualNew
	warn(p.Approval == ApprovalManual, SeverityMedium, "approval",
		"requests without a challenge wait for approval too, so that anybody can fill the list of requests")
	warn(manual && p.ApprovalTTL != 0 && p.ApprovalTTL < time.Hour, SeverityMedium, "approval_ttl_seconds",
		"requests wait for approval for less than an hour, and clients may not ask again as soon as that")
	warn(p.Renewal, SeverityLow, "renewal",
		"certificates can be renewed without a challenge, which Okta refuses: a test that passes here may fail there")
	warn(p.Renewal && p.RenewalWindow == 0, SeverityMedium, "renewal_window_seconds",
		"a certificate can be renewed at any time, so that whoever steals a key once keeps its identity")
	warn(p.Queries == QueriesAnyone, SeverityMedium, "queries",
		"anybody can ask for the certificate of any device (GetCert) and learn its names")
	warn(p.NextCASigner == NextCASignerRA, SeverityLow, "next_ca_signer",
		"GetNextCACert is signed by the RA, not by the CA as RFC 8894 says, and clients that follow it refuse the answer")
	warn(p.RevokeUnusedAfter != 0 && p.RevokeUnusedAfter < 24*time.Hour, SeverityMedium, "revoke_unused_after_seconds",
		"certificates that are not seen in use within a day are revoked")
}
