package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/challenge"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/cmd/understudy/internal/datadir"
	"understudy.example/understudy/cmd/understudy/internal/selftls"
	"understudy.example/understudy/cmd/understudy/internal/upkeep"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/server"
)

// instance is everything that a running server holds.
type instance struct {
	dir            datadir.Dir
	token          string
	webhooksKey    []byte
	depot          depot.Depot
	store          *bolt.Depot // the same
	clock          clock.Clock // what everything goes by that is the authority's
	lab            *clock.Lab  // the same; nil unless this is a lab
	authority      *ca.Authority
	configurations *configuration.Set
	exchanges      *server.Exchanges
	public, admin  net.Listener
	baseURL        string // where devices reach the public listener
	adminURL       string
	tls            *tls.Config

	first  bool             // nothing was there before
	secret challenge.Secret // made at the first start, to be shown once
}

// open opens or makes everything in the data directory. On an error nothing
// stays open.
func open(ctx context.Context, a *app, p *plan, log *slog.Logger) (in *instance, err error) {
	dir, err := datadir.Open(p.flags.Data)
	if err != nil {
		return nil, err
	}
	in = &instance{dir: dir}
	defer func() {
		if err != nil {
			in.close(log)
		}
	}()
	if err := in.readTLS(p); err != nil {
		return in, err
	}
	// The store comes first of what is made: its lock keeps a second server from
	// everything that follows.
	if err := in.openStore(ctx, p, log); err != nil {
		return in, err
	}
	if err := in.listen(p); err != nil {
		return in, err
	}
	if in.token, err = dir.AdminToken(); err != nil {
		return in, err
	}
	if err := in.openWebhooks(ctx, log); err != nil {
		return in, err
	}
	if err := in.openAuthority(ctx, p, log); err != nil {
		return in, err
	}
	if err := in.openTLS(p); err != nil {
		return in, err
	}
	return in, in.openConfigurations(ctx, p, log)
}

// close lets go of everything. A server that took over the listeners has
// closed them.
func (in *instance) close(log *slog.Logger) {
	for _, l := range []net.Listener{in.public, in.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
	if in.depot == nil {
		return // the discovery file may be another server's
	}
	if err := errors.Join(in.dir.Withdraw(), in.depot.Close()); err != nil {
		log.Error("not closed cleanly", "error", err)
	}
}

// store is the directory of the store.
func (p *plan) store(dir datadir.Dir) string {
	if p.storeDir != "" {
		return p.storeDir
	}
	return dir.Store()
}

func (in *instance) openStore(ctx context.Context, p *plan, log *slog.Logger) error {
	in.makeClock(p)
	// The store is made before the authority, so beside an authority there was one.
	_, err := os.Stat(in.dir.Authority())
	store, err := bolt.Open(p.store(in.dir), bolt.Options{Clock: in.clock, Log: log, Random: rand.Reader, MustExist: err == nil})
	if err != nil {
		return err
	}
	in.depot, in.store = store, store
	return in.setClock(ctx, log)
}

// openAuthority opens the authority or makes one. It makes none beside a store
// that was in use: its certificates would belong to nobody.
func (in *instance) openAuthority(ctx context.Context, p *plan, log *slog.Logger) error {
	events, err := in.depot.Events(ctx, depot.EventQuery{Limit: 1})
	if err != nil {
		return fmt.Errorf("read store: %w", err)
	}
	in.first = len(events.Items) == 0
	options := ca.Options{
		Org:       p.flags.Org,
		Shape:     ca.Shape(p.flags.Authority),
		IssuerKey: p.flags.IssuerKey,
		Clock:     in.clock,
		Random:    rand.Reader,
		AnyTime:   in.lab != nil, // else nobody could move the clock back

		Distribution: distribution(p.flags.BaseURL),
	}
	in.authority, err = ca.Open(in.dir.Authority(), options)
	if errors.Is(err, ca.ErrNoAuthority) {
		if !in.first {
			return fmt.Errorf("%s is gone, but the store holds records: put the authority's directory back, or use another --data", in.dir.Authority())
		}
		began := time.Now()
		if in.authority, err = ca.Create(in.dir.Authority(), options); err != nil {
			return err
		}
		log.Info("authority created", "shape", in.authority.Shape(), "duration_ms", time.Since(began).Milliseconds())
	}
	if err != nil {
		return err
	}
	if err := in.checkIssuer(ctx, p, log); err != nil {
		return err
	}
	return in.rotateRA(ctx, log)
}

// distribution is where certificates say that revocations are told. It is
// nowhere unless somebody said by which URL others reach this server: the
// address of a listener may be another one tomorrow.
func distribution(baseURL string) ca.Distribution {
	if baseURL == "" {
		return ca.Distribution{}
	}
	return ca.Distribution{
		CRL:    func(issuerSKI string) string { return server.CRLURL(baseURL, issuerSKI) },
		OCSP:   func(string) string { return server.OCSPURL(baseURL) },
		Issuer: func(issuerSKI string) string { return server.IssuerURL(baseURL, issuerSKI) },
	}
}

// checkIssuer stops a start with the authority of another store: it would go
// on issuing, and what it issued so far would chain to nothing. An authority
// that was restored from before a rollover is the right one, without the keys
// of what came later.
func (in *instance) checkIssuer(ctx context.Context, p *plan, log *slog.Logger) error {
	latest, err := in.depot.Identities(ctx, depot.IdentityQuery{Limit: 1})
	if err != nil {
		return fmt.Errorf("read store: %w", err)
	}
	madeUp, err := in.madeUp(ctx, log)
	if err != nil {
		return err
	}
	issued := func(g ca.Generation) bool { return latest.Items[0].IssuerSHA256 == sha256.Sum256(g.Issuer.Raw) }
	if len(latest.Items) == 0 || madeUp[latest.Items[0].IssuerSHA256] || slices.ContainsFunc(in.authority.Generations(), issued) {
		return nil
	}
	if err := upkeep.Belongs(in.dir, p.store(in.dir)); err != nil {
		return fmt.Errorf("files of two data directories were mixed: %w", err)
	}
	serial := latest.Items[0].CertificateSerial
	if next := in.authority.Rollover().Next.Issuer; next != nil && latest.Items[0].IssuerSHA256 == sha256.Sum256(next.Raw) {
		log.Warn("the latest certificate is of an issuer that is only prepared here: run \"understudy ca rollover activate\" once more", "certificate_serial", serial)
		return nil
	}
	log.Warn("the latest certificate is of an issuer that came after this authority was backed up: the issuer's key is lost, and what it signed can no longer be revoked", "certificate_serial", serial)
	return nil
}

// readTLS reads the certificate that was given, before anything is made that a
// wrong one would leave behind.
func (in *instance) readTLS(p *plan) error {
	if p.flags.TLSCert == "" {
		return nil
	}
	if _, err := datadir.ReadPrivate(p.flags.TLSKey); err != nil {
		return fmt.Errorf("--tls-key: %w", err)
	}
	certificate, err := tls.LoadX509KeyPair(p.flags.TLSCert, p.flags.TLSKey)
	if err != nil {
		return usagef("--tls-cert and --tls-key: %w", err)
	}
	in.tls = tlsConfig(certificate)
	return nil
}

// openTLS opens or makes the root of --tls-self.
func (in *instance) openTLS(p *plan) error {
	if !p.flags.TLSSelf {
		return nil
	}
	// TLS is between machines: a client of this listener goes by its own clock.
	certificate, err := selftls.Certificate(in.dir, p.tlsHosts(in.baseURL), clock.System{}.Now())
	if err != nil {
		return err
	}
	in.tls = tlsConfig(certificate)
	return nil
}

// tlsHosts are the names that clients may use: the base URL's host and the
// listener's, and all of loopback when it is one of them.
func (p *plan) tlsHosts(baseURL string) []string {
	var hosts []string
	if u, err := url.Parse(baseURL); err == nil {
		hosts = append(hosts, u.Hostname())
	}
	if p.host != "" && !net.ParseIP(p.host).IsUnspecified() && p.host != hosts[0] {
		hosts = append(hosts, p.host)
	}
	if loopback(p.host) {
		hosts = append(hosts, "localhost", "127.0.0.1", "::1")
	}
	return hosts
}

// openConfigurations loads the configurations. At the first start it adds the
// default one.
func (in *instance) openConfigurations(ctx context.Context, p *plan, log *slog.Logger) (err error) {
	if in.configurations, err = configuration.Load(ctx, in.depot, in.clock, rand.Reader, configuration.WithDelegate(in.delegate(log))); err != nil {
		return err
	}
	for _, live := range in.configurations.List() {
		if why := live.Unavailable(); why != nil {
			log.Error("a configuration refuses everybody: nobody can judge its challenges", "configuration", live.Record.Name, "error", why)
		}
	}
	if !in.first {
		return in.checkSecret(p)
	}
	settings := configuration.Defaults()
	settings.Name = configuration.DefaultName
	var given *challenge.Secret
	if !p.secret.Empty() {
		given = &p.secret
	}
	_, secret, err := in.configurations.Add(ctx, settings, given)
	if given == nil {
		in.secret = secret // who gave one knows it
	}
	return err
}

// checkSecret stops a start with a secret key that is not the one in force:
// devices would be refused, and nobody would know why.
func (in *instance) checkSecret(p *plan) error {
	if p.secret.Empty() {
		return nil
	}
	live, ok := in.configurations.ByName(configuration.DefaultName)
	if !ok {
		return usagef("a first secret key was given, but there is no configuration %q any more: leave the secret out", configuration.DefaultName)
	}
	if !live.Matches(p.secret) {
		return usagef("the secret key that was given is not that of configuration %q: leave it out, or change the stored one with \"understudy config reset-secret %s --secret-file FILE\"",
			configuration.DefaultName, configuration.DefaultName)
	}
	return nil
}

// upkeep is what the admin API can do for the data directory.
func (in *instance) upkeep() server.Upkeep {
	return server.Upkeep{
		VerifyLedger: in.store.VerifyLedger,
		Backup: func(ctx context.Context, w io.Writer, keys bool) error {
			return upkeep.Backup(ctx, w, in.dir, in.store, upkeep.Content{Keys: keys, Version: version(), Now: in.clock.Now()})
		},
	}
}
