package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/lab"
)

// makeClock makes the one clock that everything of the authority goes by. In a
// lab it says the machine's time until setClock knows better.
func (in *instance) makeClock(p *plan) {
	in.clock = clock.System{}
	if p.flags.Lab {
		in.lab = clock.NewLab(clock.System{})
		in.clock = in.lab
	}
}

// setClock sets the clock to what the store has. Without --lab a store whose
// clock was moved stops the start: what it issued would be dated in the future
// or in the past, and nobody would know why.
func (in *instance) setClock(ctx context.Context, log *slog.Logger) error {
	stored, err := in.depot.LabClock(ctx)
	if err != nil {
		return fmt.Errorf("read lab's clock: %w", err)
	}
	if !stored.Moved() {
		return nil
	}
	setting := lab.Stored(stored)
	now := setting.At(time.Now())
	if in.lab == nil {
		return fmt.Errorf("a lab moved the clock of this store to %s: start with --lab, and give it the right time with \"understudy lab clock reset\"", output.Time(now))
	}
	in.lab.Use(setting)
	log.Warn("the lab's clock is moved", "now", now, "offset", in.lab.Offset().Round(time.Second).String(), "frozen", setting.Frozen(),
		"by", stored.By, "since", stored.ChangedAt)
	return nil
}

// labClock is what moves the clock; nil unless this is a lab.
func (in *instance) labClock(w *workers, log *slog.Logger) *lab.Clock {
	if in.lab == nil {
		return nil
	}
	return lab.NewClock(lab.ClockOptions{
		Lab: in.lab, Depot: in.depot, Log: log,
		Settle: func(ctx context.Context) error { return in.settle(ctx, w, log) },
	})
}

// settle does what is due at the time that it is, so that whoever moved the
// clock finds everything as it would be after a wait. All of it is also done in
// the background, as is what would have whoever moved the clock wait for others
// (deliveries, webhooks).
func (in *instance) settle(ctx context.Context, w *workers, log *slog.Logger) error {
	err := in.rotateRA(ctx, log)
	_, sweeping := w.sweeper.Sweep(ctx)
	w.publisher.Publish(ctx)
	return errors.Join(err, sweeping)
}
