package configuration

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/redistribution"
)

// Settings are what a user chooses about a configuration, in the JSON of the
// admin API. Durations are whole seconds.
type Settings struct {
	Name               string        `json:"name"`
	Mode               depot.Mode    `json:"mode"`
	Purpose            depot.Purpose `json:"purpose"`
	ValiditySeconds    int64         `json:"validity_seconds"`
	KeySizes           []int         `json:"key_sizes"` // bits
	KeyUsage           string        `json:"key_usage"`
	RetryPeriodSeconds int64         `json:"retry_period_seconds"`
	Chain              string        `json:"chain"`
	Strict             bool          `json:"strict"`
	SHA1               string        `json:"sha1"`
	DES                string        `json:"des"`
	KeyChecks          string        `json:"key_checks"`

	Approval                 string `json:"approval"`
	ApprovalTTLSeconds       int64  `json:"approval_ttl_seconds"`
	Renewal                  bool   `json:"renewal"`
	RenewalWindowSeconds     int64  `json:"renewal_window_seconds"` // before the end; 0: at any time
	Queries                  string `json:"queries"`
	NextCASigner             string `json:"next_ca_signer"`
	RevokeUnusedAfterSeconds int64  `json:"revoke_unused_after_seconds"` // 0: never
	DevicesFile              string `json:"devices_file"`                // on the server's machine; empty: none

	Window            WindowSettings `json:"window"`
	AckTimeoutSeconds int64          `json:"ack_timeout_seconds"` // how long an acknowledgement counts

	// Of mode dynamic.
	ChallengeTTLSeconds int64  `json:"challenge_ttl_seconds"`
	MaxOutstanding      int64  `json:"max_outstanding"` // challenges that nobody has used yet
	Page                string `json:"page"`            // form of the challenge page

	// Of mode intune: see depot.IntuneSettings.
	Cloud                 string   `json:"cloud"`
	Tenant                string   `json:"tenant"`
	ClientID              string   `json:"client_id"`
	ClientSecretFile      string   `json:"client_secret_file"`
	ClientCertificateFile string   `json:"client_certificate_file"`
	CAFile                string   `json:"ca_file"`
	Authority             string   `json:"authority"`
	GraphURL              string   `json:"graph_url"`
	IntuneResource        string   `json:"intune_resource"`
	IntuneHosts           []string `json:"intune_hosts"`
}

// Values of the settings that are words.
const (
	KeyUsageSigning          = "signing"
	KeyUsageSigningAgreement = "signing,agreement"
	ChainFull                = "full"
	ChainNoRoot              = "no-root"
	SHA1Allow                = "allow"
	SHA1Refuse               = "refuse"
	DESAllow                 = "allow"
	DESRefuse                = "refuse"
	KeyChecksFast            = "fast"
	KeyChecksStrict          = "strict"
	ApprovalAuto             = "auto"       // policy and challenge decide
	ApprovalManual           = "manual"     // an operator decides about every request
	ApprovalManualNew        = "manual-new" // about those of devices without a certificate
	QueriesRefuse            = "refuse"     // no GetCert, no GetCRL
	QueriesEnrolled          = "enrolled"   // for holders of a live certificate
	QueriesAnyone            = "anyone"
	NextCASignerCA           = "ca" // as RFC 8894 section 4.7.1 says
	NextCASignerRA           = "ra"
	PageOkta                 = "okta" // UTF-8, as Okta serves the challenge page
	PageNDES                 = "ndes" // UTF-16LE, as Windows does
)

// Limits and reserved names.
const (
	minValidity    = time.Minute
	maxValidity    = 10 * 365 * 24 * time.Hour
	maxRetryPeriod = 30 * 24 * time.Hour
	minApprovalTTL = time.Minute
	maxApprovalTTL = 365 * 24 * time.Hour
	minUnused      = time.Minute
	maxPath        = 4096        // bytes
	reservedName   = "challenge" // is a path of the challenge page

	defaultApprovalTTL = 7 * 24 * time.Hour

	minChallengeTTL       = time.Second
	maxChallengeTTL       = 30 * 24 * time.Hour
	maxOutstanding        = 1_000_000
	defaultChallengeTTL   = time.Hour
	defaultMaxOutstanding = 1000
)

// DefaultName is the name of the configuration that the shortest SCEP URLs
// mean and that exists from the first start on.
const DefaultName = "default"

var (
	nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	idForm   = regexp.MustCompile(`^rac[a-z0-9]{17}$`)
)

// Defaults returns the settings of a configuration about which nobody said
// anything. It has no name yet.
func Defaults() Settings {
	return Settings{
		Mode:               depot.ModeStatic,
		Purpose:            depot.PurposeDeviceAccess,
		ValiditySeconds:    int64(365 * 24 * time.Hour / time.Second),
		KeySizes:           []int{2048},
		KeyUsage:           KeyUsageSigning,
		RetryPeriodSeconds: int64(10 * time.Minute / time.Second),
		Chain:              ChainFull,
		SHA1:               SHA1Allow,
		DES:                DESAllow,
		KeyChecks:          KeyChecksFast,
		Approval:           ApprovalAuto,
		ApprovalTTLSeconds: int64(defaultApprovalTTL / time.Second),
		Queries:            QueriesRefuse,
		NextCASigner:       NextCASignerCA,

		Window:            windowOf(redistribution.PolicyOf(depot.ConfigurationPolicy{})),
		AckTimeoutSeconds: int64(redistribution.DefaultAckTimeout / time.Second),

		ChallengeTTLSeconds: int64(defaultChallengeTTL / time.Second),
		MaxOutstanding:      defaultMaxOutstanding,
		Page:                PageOkta,
		IntuneHosts:         []string{},
	}
}

// SettingsOf returns the settings of a stored configuration. What the record of
// an older version does not have is as if nobody had said anything about it.
func SettingsOf(c depot.Configuration) Settings {
	p := c.Policy
	return Settings{
		Name:               c.Name,
		Mode:               c.Mode,
		Purpose:            c.Purpose,
		ValiditySeconds:    int64(p.Validity / time.Second),
		KeySizes:           slices.Clone(p.KeySizes),
		KeyUsage:           p.KeyUsage,
		RetryPeriodSeconds: int64(p.RetryPeriod / time.Second),
		Chain:              p.Chain,
		Strict:             p.Strict,
		SHA1:               p.SHA1,
		DES:                p.DES,
		KeyChecks:          p.KeyChecks,

		Approval:                 cmp.Or(p.Approval, ApprovalAuto),
		ApprovalTTLSeconds:       int64(cmp.Or(p.ApprovalTTL, defaultApprovalTTL) / time.Second),
		Renewal:                  p.Renewal,
		RenewalWindowSeconds:     int64(p.RenewalWindow / time.Second),
		Queries:                  cmp.Or(p.Queries, QueriesRefuse),
		NextCASigner:             cmp.Or(p.NextCASigner, NextCASignerCA),
		RevokeUnusedAfterSeconds: int64(p.RevokeUnusedAfter / time.Second),
		DevicesFile:              p.DevicesFile,

		Window:            windowOf(redistribution.PolicyOf(p)),
		AckTimeoutSeconds: int64(redistribution.PolicyOf(p).AckTimeout / time.Second),

		ChallengeTTLSeconds: int64(cmp.Or(p.ChallengeTTL, defaultChallengeTTL) / time.Second),
		MaxOutstanding:      int64(cmp.Or(p.MaxOutstanding, defaultMaxOutstanding)),
		Page:                cmp.Or(p.Page, PageOkta),

		Cloud: c.Intune.Cloud, Tenant: c.Intune.Tenant, ClientID: c.Intune.ClientID,
		ClientSecretFile: c.Intune.SecretFile, ClientCertificateFile: c.Intune.CertificateFile, CAFile: c.Intune.CAFile,
		Authority: c.Intune.Authority, GraphURL: c.Intune.GraphURL, IntuneResource: c.Intune.IntuneResource,
		IntuneHosts: append([]string{}, c.Intune.IntuneHosts...),
	}
}

// apply writes valid settings into a record.
func (s Settings) apply(c depot.Configuration) depot.Configuration {
	c.Name, c.Mode, c.Purpose = s.Name, s.Mode, s.Purpose
	sizes := slices.Clone(s.KeySizes)
	slices.Sort(sizes)
	c.Policy = depot.ConfigurationPolicy{
		Validity:    seconds(s.ValiditySeconds),
		KeySizes:    sizes,
		KeyUsage:    s.KeyUsage,
		RetryPeriod: seconds(s.RetryPeriodSeconds),
		Chain:       s.Chain,
		Strict:      s.Strict,
		SHA1:        s.SHA1,
		DES:         s.DES,
		KeyChecks:   s.KeyChecks,

		Approval:          s.Approval,
		ApprovalTTL:       seconds(s.ApprovalTTLSeconds),
		Renewal:           s.Renewal,
		RenewalWindow:     seconds(s.RenewalWindowSeconds),
		Queries:           s.Queries,
		NextCASigner:      s.NextCASigner,
		RevokeUnusedAfter: seconds(s.RevokeUnusedAfterSeconds),
		DevicesFile:       s.DevicesFile,

		WindowKind:   s.Window.Kind,
		WindowValue:  s.Window.Value,
		WindowStrict: s.Window.Strict,
		AckTimeout:   seconds(s.AckTimeoutSeconds),

		ChallengeTTL:   seconds(s.ChallengeTTLSeconds),
		MaxOutstanding: int(s.MaxOutstanding),
		Page:           s.Page,
	}
	c.Intune = s.intune()
	return c
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// A Problem is one thing that is wrong with one field, named as in JSON.
type Problem struct {
	Field  string `json:"field"` // empty when the whole is not a JSON object
	Detail string `json:"detail"`
}

// InvalidError lists everything that is wrong with settings, by field.
type InvalidError struct{ Problems []Problem }

// Error returns all problems on one line.
func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		parts[i] = strings.TrimPrefix(p.Field+" "+p.Detail, " ")
	}
	return "invalid settings: " + strings.Join(parts, "; ")
}

// problems collects what is wrong.
type problems []Problem

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, Problem{Field: field, Detail: fmt.Sprintf(format, args...)})
}

// err returns an *InvalidError, or nil when nothing is wrong.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &InvalidError{Problems: p}
}

// Merge returns s with the fields of a JSON object put over it. It does not
// validate the outcome. The error is an *InvalidError that names every unknown
// field and every value of a wrong type.
func (s Settings) Merge(object []byte) (Settings, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil || fields == nil {
		return Settings{}, problems{{Detail: "settings must be a JSON object"}}.err()
	}
	s.KeySizes, s.IntuneHosts = slices.Clone(s.KeySizes), slices.Clone(s.IntuneHosts)
	targets := s.fields()
	var wrong problems
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		target, known := targets[name]
		if !known {
			wrong.add(name, "is not a known setting")
			continue
		}
		if string(fields[name]) == "null" || json.Unmarshal(fields[name], target) != nil {
			wrong.add(name, "must be %s", kindOf(target))
		}
	}
	if err := wrong.err(); err != nil {
		return Settings{}, err
	}
	return s, nil
}

// fields maps the names of JSON to the fields of s.
func (s *Settings) fields() map[string]any {
	return map[string]any{
		"name":                 &s.Name,
		"mode":                 &s.Mode,
		"purpose":              &s.Purpose,
		"validity_seconds":     &s.ValiditySeconds,
		"key_sizes":            &s.KeySizes,
		"key_usage":            &s.KeyUsage,
		"retry_period_seconds": &s.RetryPeriodSeconds,
		"chain":                &s.Chain,
		"strict":               &s.Strict,
		"sha1":                 &s.SHA1,
		"des":                  &s.DES,
		"key_checks":           &s.KeyChecks,

		"approval":                    &s.Approval,
		"approval_ttl_seconds":        &s.ApprovalTTLSeconds,
		"renewal":                     &s.Renewal,
		"renewal_window_seconds":      &s.RenewalWindowSeconds,
		"queries":                     &s.Queries,
		"next_ca_signer":              &s.NextCASigner,
		"revoke_unused_after_seconds": &s.RevokeUnusedAfterSeconds,
		"devices_file":                &s.DevicesFile,

		"window":              &s.Window,
		"ack_timeout_seconds": &s.AckTimeoutSeconds,

		"challenge_ttl_seconds": &s.ChallengeTTLSeconds,
		"max_outstanding":       &s.MaxOutstanding,
		"page":                  &s.Page,

		"cloud":                   &s.Cloud,
		"tenant":                  &s.Tenant,
		"client_id":               &s.ClientID,
		"client_secret_file":      &s.ClientSecretFile,
		"client_certificate_file": &s.ClientCertificateFile,
		"ca_file":                 &s.CAFile,
		"authority":               &s.Authority,
		"graph_url":               &s.GraphURL,
		"intune_resource":         &s.IntuneResource,
		"intune_hosts":            &s.IntuneHosts,
	}
}

func kindOf(target any) string {
	switch target.(type) {
	case *int64:
		return "a whole number"
	case *bool:
		return "true or false"
	case *[]int:
		return "a list of whole numbers"
	case *[]string:
		return "a list of strings"
	case *WindowSettings:
		return "an object with kind (a string), value (a whole number) and strict (true or false), or some of them"
	}
	return "a string"
}

// Validate returns nil or an *InvalidError that lists every problem at once.
func (s Settings) Validate() error {
	var wrong problems
	switch {
	case !nameForm.MatchString(s.Name):
		wrong.add("name", "must be 1 to 63 characters of a-z, 0-9 and -, and not begin with -")
	case s.Name == reservedName:
		wrong.add("name", "must not be %q, which is a path of its own", reservedName)
	case idForm.MatchString(s.Name):
		wrong.add("name", "must not have the form of a configuration id")
	}
	switch s.Mode {
	case depot.ModeStatic, depot.ModeDynamic, depot.ModeIntune:
	default:
		wrong.add("mode", "must be static, dynamic or intune")
	}
	s.validateKeySizes(&wrong)
	oneOf(&wrong, "purpose", string(s.Purpose), string(depot.PurposeDeviceAccess), string(depot.PurposeManagementAttestation))
	oneOf(&wrong, "key_usage", s.KeyUsage, KeyUsageSigning, KeyUsageSigningAgreement)
	oneOf(&wrong, "chain", s.Chain, ChainFull, ChainNoRoot)
	oneOf(&wrong, "sha1", s.SHA1, SHA1Allow, SHA1Refuse)
	oneOf(&wrong, "des", s.DES, DESAllow, DESRefuse)
	oneOf(&wrong, "key_checks", s.KeyChecks, KeyChecksFast, KeyChecksStrict)
	between(&wrong, "validity_seconds", s.ValiditySeconds, minValidity, maxValidity)
	between(&wrong, "retry_period_seconds", s.RetryPeriodSeconds, 0, maxRetryPeriod)
	s.validateRequests(&wrong)
	s.validateWindow(&wrong)
	s.validateChallenges(&wrong)
	s.validateIntune(&wrong)
	return wrong.err()
}

// validateChallenges checks what concerns one-time challenges.
func (s Settings) validateChallenges(wrong *problems) {
	between(wrong, "challenge_ttl_seconds", s.ChallengeTTLSeconds, minChallengeTTL, maxChallengeTTL)
	oneOf(wrong, "page", s.Page, PageOkta, PageNDES)
	if s.MaxOutstanding < 1 || s.MaxOutstanding > maxOutstanding {
		wrong.add("max_outstanding", "must be 1 to %d", maxOutstanding)
	}
}

// validateRequests checks what concerns approval, renewal, queries, revocation
// and the list of devices.
func (s Settings) validateRequests(wrong *problems) {
	oneOf(wrong, "approval", s.Approval, ApprovalAuto, ApprovalManual, ApprovalManualNew)
	between(wrong, "approval_ttl_seconds", s.ApprovalTTLSeconds, minApprovalTTL, maxApprovalTTL)
	between(wrong, "renewal_window_seconds", s.RenewalWindowSeconds, 0, maxValidity)
	oneOf(wrong, "queries", s.Queries, QueriesRefuse, QueriesEnrolled, QueriesAnyone)
	oneOf(wrong, "next_ca_signer", s.NextCASigner, NextCASignerCA, NextCASignerRA)
	if s.RevokeUnusedAfterSeconds != 0 {
		between(wrong, "revoke_unused_after_seconds", s.RevokeUnusedAfterSeconds, minUnused, maxValidity)
	}
	aPath(wrong, "devices_file", s.DevicesFile)
}

// aPath checks the path of a file on the server's machine; empty: there is
// none.
func aPath(wrong *problems, field, path string) {
	switch {
	case path == "":
	case len(path) > maxPath || !utf8.ValidString(path) || strings.ContainsFunc(path, unicode.IsControl):
		wrong.add(field, "must be a path of at most %d bytes without control characters", maxPath)
	case !filepath.IsAbs(path):
		wrong.add(field, "must be an absolute path on the server's machine")
	}
}

func (s Settings) validateKeySizes(wrong *problems) {
	if len(s.KeySizes) == 0 {
		wrong.add("key_sizes", "must name at least one of 2048, 3072 and 4096")
	}
	seen := map[int]bool{}
	for _, bits := range s.KeySizes {
		switch {
		case bits != 2048 && bits != 3072 && bits != 4096:
			wrong.add("key_sizes", "must be of 2048, 3072 and 4096, not %d", bits)
		case seen[bits]:
			wrong.add("key_sizes", "names %d more than once", bits)
		}
		seen[bits] = true
	}
}

func oneOf(wrong *problems, field, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		wrong.add(field, "must be %s", strings.Join(allowed, " or "))
	}
}

func between(wrong *problems, field string, seconds int64, low, high time.Duration) {
	lowest, highest := int64(low/time.Second), int64(high/time.Second)
	if seconds < lowest || seconds > highest {
		wrong.add(field, "must be %d to %d", lowest, highest)
	}
}
