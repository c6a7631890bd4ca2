package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"understudy.example/understudy/cmd/understudy/internal/datadir"
)

// untilSignal returns a context that the first SIGINT or SIGTERM ends. The
// second one ends the process at once; what was acknowledged is durable, and
// the next start cleans up.
func untilSignal(p *plan, log *slog.Logger) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			log.Info("stopping", "signal", s.String(), "detail", "requests under way finish; a second signal stops at once")
			cancel()
		case <-done:
			return
		}
		select {
		case <-signals:
			log.Warn("stopped at once")
			_ = datadir.Dir(p.flags.Data).Withdraw()
			os.Exit(exitFailed)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel()
	}
}
