package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
)

// configCmd groups the verbs on configurations.
type configCmd struct {
	Add         configAddCmd         `cmd:"" help:"Add a configuration."`
	List        configListCmd        `cmd:"" help:"List configurations."`
	Show        configShowCmd        `cmd:"" help:"Show one configuration."`
	Set         configSetCmd         `cmd:"" help:"Change a configuration's policy."`
	Check       configCheckCmd       `cmd:"" help:"Say what deserves attention in a configuration."`
	ResetSecret configResetSecretCmd `cmd:"" name:"reset-secret" help:"Give a configuration a new secret key; the old one is refused at once."`
	Rm          configRmCmd          `cmd:"" help:"Remove a configuration; its certificates stay valid."`
}

// policyFlags are the fields of a policy that may be given. What is not given
// keeps the server's default, or with "config set" its value.
type policyFlags struct {
	Purpose     *string   `from:"flag" placeholder:"P" help:"device-access or management-attestation."`
	Validity    *duration `from:"flag" placeholder:"365d" help:"How long certificates are valid."`
	KeySizes    []int     `from:"flag" placeholder:"2048" help:"Bits of the RSA keys that are accepted."`
	KeyUsage    *string   `from:"flag" placeholder:"signing" help:"signing, or \"signing,agreement\"."`
	RetryPeriod *duration `from:"flag" placeholder:"10m" help:"How long a repeated request gets the same certificate again."`
	Chain       *string   `from:"flag" placeholder:"full" help:"What GetCACert answers: full, or no-root for special clients."`
	Strict      *bool     `from:"flag" negatable:"" help:"Refuse what real clients do slightly wrong."`
	SHA1        *string   `from:"flag" name:"sha1" placeholder:"allow" help:"allow or refuse requests signed with SHA-1."`
	DES         *string   `from:"flag" name:"des" placeholder:"allow" help:"allow or refuse requests encrypted with single DES, as scepclient sends them."`
	KeyChecks   *string   `from:"flag" placeholder:"fast" help:"fast, or strict to look for weak keys before issuing."`

	Approval          *string   `from:"flag" placeholder:"auto" help:"Who decides: auto (policy and challenge), manual (an operator), or manual-new (an operator, about devices without a certificate)."`
	ApprovalTTL       *duration `from:"flag" name:"approval-ttl" placeholder:"7d" help:"How long a request waits for an operator."`
	Renewal           *bool     `from:"flag" negatable:"" help:"Let devices renew with the certificate that they hold. Okta does not."`
	RenewalWindow     *duration `from:"flag" placeholder:"30d" help:"How long before its end a certificate may be renewed; 0s is at any time."`
	Queries           *string   `from:"flag" placeholder:"refuse" help:"Who may use GetCert and GetCRL: refuse (nobody), enrolled or anyone."`
	NextCASigner      *string   `from:"flag" name:"next-ca-signer" placeholder:"ca" help:"Who signs GetNextCACert: ca, or ra for clients that know only the RA."`
	RevokeUnusedAfter *duration `from:"flag" placeholder:"90d" help:"Revoke certificates that are not seen in use for so long; 0s is never."`
	Devices           *string   `from:"flag" xor:"devices" placeholder:"FILE" help:"Refuse devices that are not in FILE (device serials, UDIDs, UPNs, as CSV or one to a line). It is read by the server, again whenever it changes."`

	windowFlags `embed:""`

	ChallengeTTL   *duration `from:"flag" name:"challenge-ttl" placeholder:"60m" help:"Life of a one-time challenge, of mode dynamic."`
	MaxOutstanding *int64    `from:"flag" placeholder:"1000" help:"One-time challenges that nobody has used yet, at most."`
	Page           *string   `from:"flag" placeholder:"okta" help:"Form of the challenge page: okta (UTF-8) or ndes (UTF-16LE)."`

	intuneFlags `embed:""`
}

// intuneFlags say whom a configuration of mode intune asks.
type intuneFlags struct {
	Cloud          *string  `from:"flag" placeholder:"NAME" help:"Microsoft's cloud, of mode intune: public, gcc-high or dod."`
	Tenant         *string  `from:"flag" placeholder:"DOMAIN" help:"Entra tenant, by id or domain."`
	ClientID       *string  `from:"flag" placeholder:"UUID" help:"Id of the application in Entra."`
	ClientSecret   *string  `from:"flag" name:"client-secret-file" placeholder:"FILE" help:"File with the application's client secret. The server reads it."`
	ClientCert     *string  `from:"flag" name:"client-cert" placeholder:"FILE" help:"File with the application's certificate and RSA key (PEM), instead of a secret. The server reads it."`
	CAFile         *string  `from:"flag" name:"ca-file" placeholder:"FILE" help:"CAs to trust for TLS towards Microsoft (PEM), instead of the system's."`
	AuthorityURL   *string  `from:"flag" name:"authority" placeholder:"URL" help:"Entra's base URL, instead of --cloud."`
	GraphURL       *string  `from:"flag" name:"graph-url" placeholder:"URL" help:"Graph's base URL, instead of --cloud."`
	IntuneResource *string  `from:"flag" placeholder:"URL" help:"Resource that tokens for Intune are made out to."`
	IntuneHosts    []string `from:"flag" name:"intune-host" placeholder:"HOST" help:"Host on which Intune's services may be; with a leading dot any below."`
}

// put adds what was given to the fields of the admin API.
func (i intuneFlags) put(fields map[string]any) error {
	for name, value := range map[string]*string{
		"cloud": i.Cloud, "tenant": i.Tenant, "client_id": i.ClientID, "authority": i.AuthorityURL, "graph_url": i.GraphURL,
		"intune_resource": i.IntuneResource,
	} {
		if value != nil {
			fields[name] = *value
		}
	}
	for name, value := range map[string]*string{
		"client_secret_file": i.ClientSecret, "client_certificate_file": i.ClientCert, "ca_file": i.CAFile,
	} {
		if value == nil || *value == "" {
			continue
		}
		path, err := filepath.Abs(*value) // the server's working directory is not ours
		if err != nil {
			return usagef("%s: %w", *value, err)
		}
		fields[name] = path
	}
	if len(i.IntuneHosts) > 0 {
		fields["intune_hosts"] = i.IntuneHosts
	}
	// An application proves itself in one way; the other one ends with it.
	secret, certificate := fields["client_secret_file"] != nil, fields["client_certificate_file"] != nil
	switch {
	case secret && !certificate:
		fields["client_certificate_file"] = ""
	case certificate && !secret:
		fields["client_secret_file"] = ""
	}
	return nil
}

// fields returns what was given, as the admin API names it.
func (p policyFlags) fields() (map[string]any, error) {
	fields := map[string]any{}
	for name, value := range map[string]*string{
		"purpose": p.Purpose, "key_usage": p.KeyUsage, "chain": p.Chain, "sha1": p.SHA1, "des": p.DES, "key_checks": p.KeyChecks,
		"approval": p.Approval, "queries": p.Queries, "next_ca_signer": p.NextCASigner, "page": p.Page,
	} {
		if value != nil {
			fields[name] = *value
		}
	}
	for name, value := range map[string]*duration{
		"validity_seconds": p.Validity, "retry_period_seconds": p.RetryPeriod, "approval_ttl_seconds": p.ApprovalTTL,
		"renewal_window_seconds": p.RenewalWindow, "revoke_unused_after_seconds": p.RevokeUnusedAfter,
		"challenge_ttl_seconds": p.ChallengeTTL, "ack_timeout_seconds": p.AckTimeout,
	} {
		if value == nil {
			continue
		}
		seconds, err := value.seconds()
		if err != nil {
			return nil, err
		}
		fields[name] = seconds
	}
	for name, value := range map[string]*bool{"strict": p.Strict, "renewal": p.Renewal} {
		if value != nil {
			fields[name] = *value
		}
	}
	if len(p.KeySizes) > 0 {
		fields["key_sizes"] = p.KeySizes
	}
	if p.Devices != nil {
		// The server's working directory is not ours.
		path, err := filepath.Abs(*p.Devices)
		if err != nil || *p.Devices == "" {
			return nil, usagef("--devices %q: name a file", *p.Devices)
		}
		fields["devices_file"] = path
	}
	if p.MaxOutstanding != nil {
		fields["max_outstanding"] = *p.MaxOutstanding
	}
	if window := p.window(); len(window) > 0 {
		fields["window"] = window
	}
	return fields, p.put(fields)
}

func configurationPath(name string, more ...string) string {
	return "/api/v1/configurations/" + url.PathEscape(name) + strings.Join(more, "")
}

// printConfiguration shows a configuration to people, with its secret key when
// the answer has one.
func (a *app) printConfiguration(c api.Configuration) error {
	p := c.Policy
	err := output.Facts(a.stdout,
		"name", c.Name,
		"id", c.ID,
		"mode", c.Mode,
		"purpose", c.Purpose,
		"SCEP URL", c.SCEPURL,
		"short URL", c.SCEPAliasURL,
		"secret key", c.SecretKey,
		"challenge URL", c.ChallengeURL,
		"user name", c.Username,
		"password", c.Password,
		"asks", asks(c.Intune),
		"unavailable", c.Unavailable,
		"validity", output.Seconds(p.ValiditySeconds),
		"key sizes", joinInts(p.KeySizes),
		"key usage", p.KeyUsage,
		"retry period", output.Seconds(p.RetryPeriodSeconds),
		"chain", p.Chain,
		"strict", fmt.Sprint(p.Strict),
		"SHA-1", p.SHA1,
		"DES", p.DES,
		"key checks", p.KeyChecks,
		"approval", approval(p),
		"renewal", renewal(p),
		"queries", p.Queries,
		"next CA signer", p.NextCASigner,
		"revoked if unused", after(p.RevokeUnusedAfterSeconds),
		"devices", devices(p),
		"window", window(p.Window),
		"pushes stall", "after "+output.Seconds(p.AckTimeoutSeconds),
		"challenges", challenges(c),
		"created", output.Time(c.CreatedAt),
		"changed", output.Time(c.ChangedAt),
		"secret reset", optionalTime(c.SecretResetAt),
		"revision", fmt.Sprint(c.Revision),
	)
	switch {
	case err != nil:
	case c.SecretKey != "":
		a.note("The secret key is shown only now. \"understudy config reset-secret %s\" makes a new one.", c.Name)
	case c.Password != "":
		a.note("The password is shown only now. \"understudy config reset-secret %s\" makes a new one.", c.Name)
	}
	return err
}

// challenges is what one-time challenges of a configuration are like.
func challenges(c api.Configuration) string {
	if c.ChallengeURL == "" {
		return ""
	}
	return fmt.Sprintf("for %s, at most %d at once, page as of %s", output.Seconds(c.Policy.ChallengeTTLSeconds), c.Policy.MaxOutstanding, c.Policy.Page)
}

// asks is whom a configuration of mode intune asks.
func asks(i *api.Intune) string {
	if i == nil {
		return ""
	}
	where := i.Cloud
	if where == "" {
		where = i.Authority
	}
	return fmt.Sprintf("tenant %s at %s, as application %s", i.Tenant, where, i.ClientID)
}

// approval is who decides and, if that is an operator, for how long they can.
func approval(p api.Policy) string {
	if p.Approval == "auto" {
		return p.Approval
	}
	return p.Approval + ", for " + output.Seconds(p.ApprovalTTLSeconds)
}

// renewal is when certificates can be renewed.
func renewal(p api.Policy) string {
	switch {
	case !p.Renewal:
		return "refused"
	case p.RenewalWindowSeconds == 0:
		return "at any time"
	}
	return "in the last " + output.Seconds(p.RenewalWindowSeconds)
}

func after(seconds int64) string {
	if seconds == 0 {
		return "never"
	}
	return "after " + output.Seconds(seconds)
}

// devices is which devices may enrol, as far as the policy tells.
func devices(p api.Policy) string {
	if p.DevicesFile == "" {
		return ""
	}
	return "those in " + p.DevicesFile
}

func joinInts(numbers []int) string { return strings.Trim(fmt.Sprint(numbers), "[]") }

// readSecret returns the first line of a file, or of stdin for "-". The error
// never holds the secret.
func (a *app) readSecret(path string) (string, error) {
	const limit = 16 << 10 // bytes; the guard takes a challenge of 8 KiB
	source := a.stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", usagef("read secret: %w", err)
		}
		defer f.Close()
		source = f
	}
	text, err := io.ReadAll(io.LimitReader(source, limit))
	if err != nil {
		return "", fmt.Errorf("read secret from %s: %w", path, err)
	}
	secret, rest, _ := strings.Cut(string(text), "\n")
	secret = strings.TrimSuffix(secret, "\r")
	if strings.TrimSpace(rest) != "" {
		return "", usagef("%s holds more than one line; a secret is one line", path)
	}
	if secret == "" {
		return "", usagef("%s holds no secret", path)
	}
	return secret, nil
}

var errNothingGiven = errors.New("nothing to change: give at least one policy flag")
