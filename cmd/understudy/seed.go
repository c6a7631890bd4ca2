package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"understudy.example/understudy/cmd/understudy/internal/datadir"
	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/lab"
)

type seedCmd struct {
	dataFlag      `embed:""`
	storeFlag     `embed:""`
	Number        int    `short:"n" from:"flag" placeholder:"N" required:"" help:"How many certificates to make up."`
	Configuration string `from:"flag" default:"default" placeholder:"NAME" help:"Configuration that they belong to (default: ${default})."`
	Random        uint64 `from:"flag" default:"1" placeholder:"N" help:"Another number makes up others (default: ${default})."`
	Lab           bool   `name:"lab" from:"flag" help:"Yes, this is a lab: made-up certificates cannot be taken out again."`
}

// Help shows what to type.
func (seedCmd) Help() string {
	return `
Fills a store with made-up certificates of real shape and size, to try things at scale: devices of the
known MDMs over the last 400 days, some with two certificates, some revoked, some in their window. A
throw-away issuer signs them and says so in its name. A store with certificates of devices is refused.
The data directory is made as the first start of a server would; a server must not run on it.

    understudy seed --lab -n 1000000 --data big
    understudy serve --data big`
}

// Run fills the store.
func (c *seedCmd) Run(a *app) error {
	if !c.Lab {
		return usagef("made-up certificates cannot be taken out of %s again: confirm with --lab", c.Data)
	}
	if c.Number < 1 || c.Number > lab.MaxSeeded {
		return usagef("--number %d: give 1 to %d", c.Number, lab.MaxSeeded)
	}
	p := &plan{flags: serveFlags{dataFlag: c.dataFlag, Store: c.Store, Lab: true}}
	if err := p.checkStore(); err != nil {
		return &exitError{code: exitUsage, err: err}
	}
	ctx, stop := interruptible()
	defer stop()
	in, err := openIdle(ctx, p, a.quietLog())
	if err != nil {
		return offline(err)
	}
	defer in.close(a.quietLog())
	live, ok := in.configurations.ByName(c.Configuration)
	if !ok {
		return &exitError{code: exitNotFound, err: fmt.Errorf("there is no configuration %q", c.Configuration)}
	}
	began := time.Now()
	err = lab.Seed(ctx, in.depot, lab.Options{
		N: c.Number, ConfigurationID: live.Record.ID, Now: in.clock.Now(), Random: c.Random, Log: a.quietLog(), Progress: c.progress(a),
	})
	if errors.Is(err, lab.ErrForeign) {
		return &exitError{code: exitRefused, err: err}
	}
	if err != nil {
		return err
	}
	return c.tell(a, in, time.Since(began))
}

// openIdle opens or makes everything in the data directory as a server does,
// and listens nowhere.
func openIdle(ctx context.Context, p *plan, log *slog.Logger) (in *instance, err error) {
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
	if err := in.openStore(ctx, p, log); err != nil {
		return in, err
	}
	if err := in.openAuthority(ctx, p, log); err != nil {
		return in, err
	}
	return in, in.openConfigurations(ctx, p, log)
}

// progress tells people at each tenth how far it is.
func (c *seedCmd) progress(a *app) func(int) {
	const large = 100_000 // fewer are there before anybody asks
	told := 0
	return func(stored int) {
		if tenth := stored * 10 / c.Number; c.Number >= large && tenth > told && tenth < 10 {
			told = tenth
			a.note("%d of %d", stored, c.Number)
		}
	}
}

// tell says what was stored and, after the first start, the secret key.
func (c *seedCmd) tell(a *app, in *instance, took time.Duration) error {
	secret := ""
	if in.first && !a.toJournal() {
		secret = in.secret.Reveal()
	}
	if a.json {
		return output.Line(a.stdout, map[string]any{
			"data": string(in.dir), "configuration": c.Configuration, "count": c.Number, "duration_ms": took.Milliseconds(), "secret_key": orNull(secret),
		})
	}
	a.note("Stored %d made-up certificates in %s, %.0f a second.", c.Number, in.dir, float64(c.Number)/took.Seconds())
	if secret == "" {
		return nil
	}
	return output.Facts(a.stdout, "Secret key of "+configuration.DefaultName, secret+"   (shown only now)")
}

// madeUp returns the issuers of made-up certificates and warns of them.
func (in *instance) madeUp(ctx context.Context, log *slog.Logger) (map[[32]byte]bool, error) {
	seedings, err := in.depot.Seedings(ctx)
	if err != nil {
		return nil, fmt.Errorf("read store: %w", err)
	}
	issuers, count := map[[32]byte]bool{}, 0
	for _, s := range seedings {
		issuers[s.IssuerSHA256] = true
		count += s.Count
	}
	if count > 0 {
		log.Warn("the store holds made-up certificates, see \"understudy seed\"", "up_to", count, "since", seedings[0].At)
	}
	return issuers, nil
}
