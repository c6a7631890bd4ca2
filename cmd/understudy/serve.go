package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/server"
)

// serveFlags are the settings of a server.
type serveFlags struct {
	dataFlag         `embed:""`
	Store            string    `default:"bolt:" placeholder:"URL" help:"Where records are kept: bolt: (in the data directory) or bolt:DIR."`
	Listen           string    `default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address for SCEP (default: ${default}). Port 0 takes a free one."`
	AdminListen      string    `default:"127.0.0.1:8081" placeholder:"ADDR" help:"Address for the admin API (default: ${default})."`
	BaseURL          string    `name:"base-url" placeholder:"URL" help:"URL by which devices reach --listen. Needed unless that is loopback."`
	TLSCert          string    `name:"tls-cert" placeholder:"FILE" help:"Serve HTTPS with this certificate chain (PEM)."`
	TLSKey           string    `name:"tls-key" placeholder:"FILE" help:"Its key (PEM)."`
	TLSSelf          bool      `name:"tls-self" help:"Serve HTTPS with a certificate from a root of its own, DATA/tls-root.pem."`
	Org              string    `placeholder:"lab" unset:"lab, or as the data directory has it" help:"Organisation in the issuer's name. Fixed at the first start (default: lab)."`
	Authority        string    `placeholder:"chain" unset:"chain, or as the data directory has it" help:"chain (root, issuer, RA) or single. Fixed at the first start (default: chain)."`
	IssuerKey        string    `placeholder:"rsa2048" unset:"rsa2048, or as the data directory has it" help:"rsa2048 or p256. Fixed at the first start (default: rsa2048)."`
	StaticSecretFile string    `placeholder:"FILE" help:"First secret key of the configuration \"default\", instead of a random one. Or set UNDERSTUDY_STATIC_SECRET."`
	TrustedProxies   []string  `placeholder:"CIDR" help:"Proxies whose X-Forwarded-For is believed."`
	WebhookAllow     []string  `placeholder:"HOST" help:"Where webhooks may be sent: hosts, *.example.com, addresses, networks such as 10.0.0.0/8; each with :port or for all ports (default: nowhere)."`
	RateLimit        rateLimit `default:"6000/min" placeholder:"N/min" help:"SCEP messages that one client may send (default: ${default}); 0 is no limit."`
	MaxInFlight      int       `default:"0" placeholder:"N" help:"SCEP messages that are worked on at once; 0 means two for each core."`
	JSON             bool      `name:"json" help:"When ready, print one line of JSON instead of text."`
	Lab              bool      `help:"This is a lab: its clock can be moved, see \"understudy lab\"."`
	LogFormat        string    `enum:"text,json" default:"text" help:"Form of the log on standard error: text or json."`
}

type serveCmd struct {
	serveFlags `embed:""`
}

// Help shows what to type.
func (serveCmd) Help() string {
	return `
The SCEP URL is printed at each start, the secret key only at the first. Stop with Ctrl-C or SIGTERM;
requests under way finish, a second signal stops at once.

    understudy serve
    understudy serve --listen 0.0.0.0:8443 --base-url https://scep.lab.example:8443 --tls-self
    understudy serve --data lab --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --json`
}

// raInterval is how often the RA certificate's age is looked at, besides after
// every move of the clock.
const raInterval = time.Hour

// Run serves until a signal.
func (c *serveCmd) Run(a *app) error {
	began := time.Now()
	plan, err := c.plan(a)
	if err != nil {
		return err
	}
	log := a.logger(c.LogFormat)
	ctx, stop := untilSignal(plan, log)
	defer stop()
	in, err := open(ctx, a, plan, log)
	if err == nil {
		defer in.close(log)
		err = in.serve(ctx, a, plan, log, began)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		log.Info("stopped before it was ready")
		return nil
	}
	return err
}

// logger writes to standard error, where no secret goes.
func (a *app) logger(format string) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, nil))
	}
	return slog.New(slog.NewTextHandler(a.stderr, nil))
}

// serve tells that the server is ready and answers until ctx ends.
func (in *instance) serve(ctx context.Context, a *app, p *plan, log *slog.Logger, began time.Time) error {
	// A secret key that was just made is shown even if a signal came meanwhile.
	w, err := in.workers(context.WithoutCancel(ctx), p, log)
	if err != nil {
		return err
	}
	srv, err := server.New(server.Config{
		Enroll:             w.enroll,
		Configurations:     in.configurations,
		Depot:              in.depot,
		Authority:          in.authority,
		Clock:              in.clock,
		Log:                log,
		BaseURL:            in.baseURL,
		TrustedProxies:     p.proxies,
		RateLimitPerMinute: int(p.flags.RateLimit),
		MaxInFlight:        p.flags.MaxInFlight,
		AdminToken:         in.token,
		AdminHosts:         p.adminHosts(),
		Version:            version(),
		Revocation:         &server.Revocation{Publisher: w.publisher, Responder: w.responder, Service: w.revocation},
		DeviceFiles:        w.files,
		Exchanges:          in.exchanges,
		Redistribution:     w.windows,
		Webhooks:           w.webhooks,
		Rejected:           w.rejections.Note,
		Deliveries:         w.deliveries,
		Upkeep:             in.upkeep(),
		LabClock:           in.labClock(w, log),
	})
	if err != nil {
		return err
	}
	w.render = srv.RenderEvent
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait() // nothing may use the store when it is closed
	defer cancel()
	for _, run := range w.run(in, log) {
		running.Go(func() { run(background) })
	}

	serving, stop := context.WithCancel(ctx)
	defer stop()
	public, admin := in.handOver()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(serving, public, admin, in.tls) }()
	if err := in.announce(a, p, srv, log, began); err != nil {
		stop()
		return errors.Join(err, <-served)
	}
	err = <-served
	log.Info("stopped", "clean", err == nil)
	return err
}

// keepRA replaces the RA certificate when its time has come.
func (in *instance) keepRA(ctx context.Context, log *slog.Logger) {
	clock.Every(ctx, in.clock, raInterval, func(ctx context.Context) {
		if err := in.rotateRA(ctx, log); err != nil && ctx.Err() == nil {
			log.Error("RA certificate not replaced", "error", err)
		}
	})
}

// rotateRA replaces the RA certificate if it is due and puts the new one on
// record.
func (in *instance) rotateRA(ctx context.Context, log *slog.Logger) error {
	replaced, err := in.authority.RotateRA()
	if err != nil {
		return err
	}
	now := in.authority.InForce()
	if replaced {
		log.Info("RA certificate replaced", "not_after", now.RA.NotAfter)
	}
	return in.depot.RecordAuthority(ctx, depot.AuthorityGeneration{
		At:     in.clock.Now(),
		Root:   now.Root.Raw,
		Issuer: now.Issuer.Raw,
		RA:     now.RA.Raw,
	})
}

// listen opens both listeners, so that a port in use stops the start before an
// authority is made.
func (in *instance) listen(p *plan) (err error) {
	if in.public, err = net.Listen("tcp", p.flags.Listen); err != nil {
		return fmt.Errorf("--listen %s: %w", p.flags.Listen, err)
	}
	if in.admin, err = net.Listen("tcp", p.flags.AdminListen); err != nil {
		return fmt.Errorf("--admin-listen %s: %w", p.flags.AdminListen, err)
	}
	scheme := "http"
	if p.usesTLS() {
		scheme = "https"
	}
	in.baseURL = p.flags.BaseURL
	if in.baseURL == "" {
		in.baseURL = scheme + "://" + in.public.Addr().String()
	}
	in.adminURL = "http://" + reachable(in.admin.Addr())
	return nil
}

// reachable is the address by which this machine reaches a listener of its
// own.
func reachable(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: tcp.Port}).String()
}

// handOver gives the listeners to the server, which closes them.
func (in *instance) handOver() (public, admin net.Listener) {
	public, admin = in.public, in.admin
	in.public, in.admin = nil, nil
	return public, admin
}

// tlsConfig is what the public listener speaks, nil for plain HTTP.
func tlsConfig(certificate tls.Certificate) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
}
