package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/cmd/understudy/internal/setting"
	"understudy.example/understudy/notify"
)

// staticSecret is the setting that has a variable and no flag, because the
// arguments of a process are public.
const staticSecret = "static-secret"

// plan is what serve was told to do, checked as far as it can be without
// touching anything.
type plan struct {
	flags     serveFlags
	storeDir  string // "" means inside the data directory
	proxies   []netip.Prefix
	host      string // of --listen
	adminHost string
	targets   notify.Targets   // where webhooks may be sent
	secret    challenge.Secret // the first secret key; empty means a random one
}

// plan checks the settings. The error names everything that is wrong.
func (c *serveCmd) plan(a *app) (*plan, error) {
	p := &plan{flags: c.serveFlags}
	problems := []error{
		p.checkStore(),
		p.checkListeners(),
		p.checkBaseURL(),
		p.checkTLS(),
		oneOf("--authority", c.Authority, "", "chain", "single"),
		oneOf("--issuer-key", c.IssuerKey, "", "rsa2048", "p256"),
		p.checkProxies(),
		p.checkTargets(),
		p.readSecret(a),
	}
	if c.Authority == "single" && c.IssuerKey == "p256" {
		problems = append(problems, errors.New("--issuer-key p256 needs --authority chain: a single authority opens envelopes with its own key, which must be RSA"))
	}
	if c.MaxInFlight < 0 {
		problems = append(problems, errors.New("--max-in-flight must not be negative"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	return p, nil
}

func oneOf(name, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fmt.Errorf("%s must be one of %s, not %q", name, strings.Trim(strings.Join(allowed, ", "), ", "), value)
}

func (p *plan) usesTLS() bool { return p.flags.TLSSelf || p.flags.TLSCert != "" }

func (p *plan) checkStore() (err error) {
	p.storeDir, err = parseStore(p.flags.Store)
	return err
}

// parseStore returns the directory in a --store, "" for the one inside the
// data directory.
func parseStore(text string) (string, error) {
	kind, rest, _ := strings.Cut(text, ":")
	if kind != "bolt" || !strings.Contains(text, ":") {
		return "", fmt.Errorf("--store %q is unknown: write bolt: or bolt:DIR", kind)
	}
	return rest, nil
}

func (p *plan) checkListeners() error {
	host, _, err := net.SplitHostPort(p.flags.Listen)
	if err != nil {
		return fmt.Errorf("--listen %q: write host:port", p.flags.Listen)
	}
	adminHost, _, err := net.SplitHostPort(p.flags.AdminListen)
	if err != nil {
		return fmt.Errorf("--admin-listen %q: write host:port", p.flags.AdminListen)
	}
	p.host, p.adminHost = host, adminHost
	if !loopback(host) && p.flags.BaseURL == "" {
		return fmt.Errorf("--listen %s is not loopback: give --base-url, the URL by which devices reach it", p.flags.Listen)
	}
	return nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (p *plan) checkBaseURL() error {
	if p.flags.BaseURL == "" {
		return nil
	}
	u, err := url.Parse(p.flags.BaseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("--base-url %q: write http://host:port or https://host:port", p.flags.BaseURL)
	}
	p.flags.BaseURL = strings.TrimRight(p.flags.BaseURL, "/")
	return nil
}

func (p *plan) checkTLS() error {
	switch {
	case p.flags.TLSSelf && (p.flags.TLSCert != "" || p.flags.TLSKey != ""):
		return errors.New("--tls-self makes a certificate of its own: leave out --tls-cert and --tls-key")
	case (p.flags.TLSCert == "") != (p.flags.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key belong together")
	}
	return nil
}

// adminHosts are the names that an operator gave this machine.
func (p *plan) adminHosts() []string {
	hosts := []string{p.adminHost}
	if u, err := url.Parse(p.flags.BaseURL); err == nil && u.Hostname() != "" {
		hosts = append(hosts, u.Hostname())
	}
	return hosts
}

func (p *plan) checkProxies() error {
	var problems []error
	for _, text := range p.flags.TrustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			address, addressErr := netip.ParseAddr(text)
			if addressErr != nil {
				problems = append(problems, fmt.Errorf("--trusted-proxies %q: write an address or a network such as 10.0.0.0/8", text))
				continue
			}
			prefix = netip.PrefixFrom(address, address.BitLen())
		}
		p.proxies = append(p.proxies, prefix)
	}
	return errors.Join(problems...)
}

func (p *plan) checkTargets() (err error) {
	if p.targets, err = notify.ParseTargets(p.flags.WebhookAllow); err != nil {
		return fmt.Errorf("--webhook-allow: %w", err)
	}
	return nil
}

// readSecret takes the first secret key from the file or the environment,
// whichever was said with more force: a flag, then the environment, then the
// settings file.
func (p *plan) readSecret(a *app) error {
	text, inEnvironment := a.settings.Env(staticSecret)
	_, fileInEnvironment := a.settings.Env("static-secret-file")
	where := setting.Variable(staticSecret)
	switch {
	case inEnvironment && fileInEnvironment:
		return fmt.Errorf("%s and %s are both set: keep one", where, setting.Variable("static-secret-file"))
	case p.flags.StaticSecretFile != "" && (!inEnvironment || a.given["static-secret-file"]):
		var err error
		if text, err = a.readSecret(p.flags.StaticSecretFile); err != nil {
			return err
		}
		where = "--static-secret-file"
	case !inEnvironment:
		return nil
	}
	if err := challenge.CheckSecretKey(text); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	p.secret = challenge.NewSecret(text)
	return nil
}

// rateLimit is a number of messages a minute, written 600/min.
type rateLimit int

// UnmarshalText reads N/min, or 0.
func (r *rateLimit) UnmarshalText(text []byte) error {
	const most = 10_000_000
	count, unit, _ := strings.Cut(string(text), "/")
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > most || (unit != "min" && string(text) != "0") {
		return fmt.Errorf("%q is not a rate: write N/min with N up to %d, or 0 for none", text, most)
	}
	*r = rateLimit(n)
	return nil
}

// String writes it the same way.
func (r rateLimit) String() string {
	if r == 0 {
		return "0"
	}
	return fmt.Sprintf("%d/min", int(r))
}
