package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/notify"
	"understudy.example/understudy/redistribution"
	"understudy.example/understudy/server"
)

// outbound is what follows certificates through their windows, and what tells
// others of events.
type outbound struct {
	windows    *redistribution.Service
	announcer  *redistribution.Sweeper
	dispatcher *notify.Dispatcher
	webhooks   *notify.Service
	rejections *notify.Rejections
	deliveries *server.Deliveries
	// render is how an event looks on the wire, which the server knows; it is
	// set before anything runs.
	render func(context.Context, depot.Event) ([]byte, error)
}

// outbound makes it.
func (in *instance) outbound(p *plan, log *slog.Logger) (*outbound, error) {
	key, err := notify.NewKey(in.webhooksKey)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", in.dir.Webhooks(), err)
	}
	o := &outbound{
		windows:    redistribution.New(in.depot, in.clock, in.windowPolicy),
		announcer:  redistribution.NewSweeper(in.depot, in.clock, in.windowPolicy, log),
		rejections: notify.NewRejections(in.depot, notify.RejectionsOptions{Clock: in.clock, Wall: clock.System{}, Log: log}),
		deliveries: server.NewDeliveries(),
	}
	o.dispatcher = notify.New(in.depot, notify.Options{
		Client: notify.NewClient(p.targets, notify.ClientOptions{}),
		Key:    key,
		Render: func(ctx context.Context, e depot.Event) ([]byte, error) { return o.render(ctx, e) },
		Log:    log,
		Clock:  in.clock,
		Wall:   clock.System{},

		Observe: o.deliveries.Count,
	})
	o.webhooks = notify.NewService(o.dispatcher, notify.ServiceOptions{Configuration: in.isConfiguration})
	return o, nil
}

// windowPolicy is when the windows of a configuration's certificates open.
func (in *instance) windowPolicy(id string) (redistribution.Policy, bool) {
	live, ok := in.configurations.ByID(id)
	if !ok {
		return redistribution.Policy{}, false
	}
	return redistribution.PolicyOf(live.Record.Policy), true
}

func (in *instance) isConfiguration(id string) bool {
	_, ok := in.configurations.ByID(id)
	return ok
}

// openWebhooks reads or makes the key from which the secrets of webhooks
// follow. A new one beside webhooks that are there already changes the secret
// of each.
func (in *instance) openWebhooks(ctx context.Context, log *slog.Logger) error {
	_, err := os.Stat(in.dir.Webhooks())
	isNew := errors.Is(err, fs.ErrNotExist)
	if in.webhooksKey, err = in.dir.WebhooksKey(); err != nil {
		return err
	}
	known, err := in.depot.Webhooks(ctx)
	if err != nil {
		return fmt.Errorf("read store: %w", err)
	}
	if isNew && len(known) > 0 {
		log.Warn("the key of webhooks was gone and is new: no receiver knows its secret any more; \"understudy webhook rotate-secret\" shows another one",
			"file", in.dir.Webhooks(), "webhooks", len(known))
	}
	return nil
}
