package main

import (
	"crypto/sha1" //nolint:gosec // Apple's CAFingerprint
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/cmd/understudy/internal/api"
	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/server"
)

// readiness is the line of serve --json.
type readiness struct {
	SCEPURL        string `json:"scep_url"`
	SecretKey      string `json:"secret_key,omitempty"`
	CASHA256       string `json:"ca_sha256"`
	RootSHA256     string `json:"root_sha256"`
	RootSHA1       string `json:"root_sha1"`
	AdminURL       string `json:"admin_url"`
	AdminTokenFile string `json:"admin_token_file"`
	TLSRootFile    string `json:"tls_root_file,omitempty"`
	Version        string `json:"version"`
}

// announce tells clients, people and the log that the server is ready. Both
// listeners accept connections already.
func (in *instance) announce(a *app, p *plan, srv *server.Server, log *slog.Logger, began time.Time) error {
	root, issuer := in.authority.Root().Raw, in.authority.Issuer().Raw
	rootSHA256, issuerSHA256, rootSHA1 := sha256.Sum256(root), sha256.Sum256(issuer), sha1.Sum(root) //nolint:gosec // as above
	r := readiness{
		CASHA256:       hex.EncodeToString(issuerSHA256[:]),
		RootSHA256:     hex.EncodeToString(rootSHA256[:]),
		RootSHA1:       hex.EncodeToString(rootSHA1[:]),
		AdminURL:       in.adminURL,
		AdminTokenFile: in.dir.Token(),
		Version:        version(),
	}
	if p.flags.TLSSelf {
		r.TLSRootFile = in.dir.TLSRoot()
	}
	alias := ""
	if live, ok := in.configurations.ByName(configuration.DefaultName); ok {
		r.SCEPURL, alias = srv.SCEPURL(live.Record), srv.SCEPAliasURL(live.Record)
	}
	if !a.toJournal() {
		r.SecretKey = in.secret.Reveal()
	}
	err := in.dir.Announce(api.Discovery{
		PID: os.Getpid(), AdminURL: r.AdminURL, AdminTokenFile: r.AdminTokenFile,
		SCEPURL: r.SCEPURL, Version: r.Version, StartedAt: output.Time(time.Now()),
	})
	if err != nil {
		return err
	}
	in.warn(p, log)
	log.Info("ready", "scep_url", r.SCEPURL, "admin_url", r.AdminURL, "version", r.Version,
		"duration_ms", time.Since(began).Milliseconds())
	if p.flags.JSON || a.json {
		return output.Line(a.stdout, r)
	}
	return in.greet(a, r, alias, time.Since(began))
}

// warn says what a security team would ask about.
func (in *instance) warn(p *plan, log *slog.Logger) {
	log.Warn("this is a lab CA: trust its root on lab machines only")
	if !p.usesTLS() {
		log.Warn("SCEP is served over plain HTTP: devices should compare the CA fingerprint")
	}
	if !loopback(p.adminHost) {
		log.Warn("the admin API is served over plain HTTP beyond this machine: whoever listens on the wire gets the admin token")
	}
	if p.flags.BaseURL == "" {
		log.Warn("certificates do not say where to ask whether they are revoked: that takes --base-url")
	}
	if r := in.authority.Rollover(); r.State == ca.RolloverPrepared {
		log.Info("a rollover is prepared", "since", r.PreparedAt)
	}
	for _, live := range in.configurations.List() {
		for _, w := range configuration.Warnings(live.Record) {
			log.Warn(w.Detail, "configuration", live.Record.Name, "field", w.Field, "severity", w.Severity)
		}
	}
}

// greet tells a person what to paste where.
func (in *instance) greet(a *app, r readiness, alias string, took time.Duration) error {
	fmt.Fprintf(a.stdout, "Understudy is ready, after %.1f s. Stop it with Ctrl-C.\n\n", took.Seconds())
	secret := r.SecretKey
	switch {
	case secret != "":
		secret += "   (shown only now)"
	case !in.secret.Empty():
		secret = "not shown, because this goes to the journal: \"understudy config reset-secret default\""
	case in.first:
		secret = "the one that was given"
	}
	err := output.Facts(a.stdout,
		"  SCEP URL", r.SCEPURL,
		"  or, shorter", alias,
		"  Secret key", secret,
		"  CA fingerprint", r.RootSHA256+"   (SHA-256 of the root)",
		"  for Apple", r.RootSHA1+"   (SHA-1 of the root)",
		"  Issuing CA", r.CASHA256+"   (SHA-256)",
		"  CA certificates", in.baseURL+"/ca.cer and "+in.baseURL+"/root.cer",
		"  TLS root", r.TLSRootFile,
		"  Admin API", r.AdminURL+", token in "+r.AdminTokenFile,
	)
	if err != nil || r.SCEPURL == "" {
		return err
	}
	challenge := r.SecretKey
	if challenge == "" {
		challenge = "SECRET-KEY"
	}
	trust := ""
	if r.TLSRootFile != "" {
		trust = " --tls-root " + r.TLSRootFile
	}
	_, err = fmt.Fprintf(a.stdout, `
Paste URL, secret key and fingerprint into the SCEP profile of your MDM, and let devices trust root.cer.
Or try it here:

  export UNDERSTUDY_CHALLENGE=%s
  understudy mac enroll --url %s --subject CN=C02XL0GTJGH5 \
      --ca-fingerprint %s%s --out mac1
  scepclient -server-url %s -challenge "$UNDERSTUDY_CHALLENGE" \
      -cn C02XL0GTJGH6 -private-key key.pem -certificate cert.pem -keySize 2048

`, challenge, alias, r.RootSHA256, trust, alias)
	return err
}
