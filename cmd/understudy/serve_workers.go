package main

import (
	"context"
	"crypto/x509"
	"log/slog"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/connector"
	"understudy.example/understudy/devicelist"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/revocation"
)

// workers are what stands between the listeners and the store.
type workers struct {
	auditor    *enroll.KeyAuditor
	enroll     *enroll.Service
	files      *devicelist.Files
	publisher  *revocation.Publisher
	responder  *revocation.Responder
	revocation *revocation.Service
	sweeper    *revocation.Sweeper
	connector  *connector.Connector
	*outbound
}

// workers makes them. A configuration whose list of devices is wanted and
// cannot be had stops the start.
func (in *instance) workers(ctx context.Context, p *plan, log *slog.Logger) (*workers, error) {
	outbound, err := in.outbound(p, log)
	if err != nil {
		return nil, err
	}
	options := revocation.Options{Clock: in.clock, Log: log}
	w := &workers{
		outbound:  outbound,
		auditor:   enroll.NewKeyAuditor(log),
		publisher: revocation.NewPublisher(in.authority, in.depot, options),
		responder: revocation.NewResponder(in.authority, in.depot, options),
	}
	w.revocation = revocation.NewService(in.depot, w.publisher, options)
	w.sweeper = revocation.NewSweeper(in.depot, w.revocation, options)
	w.connector = connector.New(connector.Options{
		Configurations: in.configurations.List, Configuration: in.depot.Configuration,
		Identity: in.depot.Identity, Revoke: w.revocation.Revoke, Wall: clock.System{}, Log: log,
	})
	w.enroll = enroll.New(in.depot, in.authority, in.clock, w.auditor,
		enroll.WithConfigurations(in.configurations.ByID), enroll.WithCRLs(w.crl), enroll.WithRevoked(func(issuer [32]byte) { w.publisher.Changed(issuer) }))
	w.files = devicelist.New(in.configurations, w.enroll.Devices(), in.clock, log)
	if err := w.files.Open(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

// crl is what GetCRL hands out.
func (w *workers) crl(ctx context.Context, issuer *x509.Certificate) ([]byte, error) {
	crl, err := w.publisher.CRL(ctx, issuer)
	return crl.DER, err
}

// run returns what goes on in the background until its context ends.
func (w *workers) run(in *instance, log *slog.Logger) []func(context.Context) {
	return []func(context.Context){
		w.auditor.Run,
		func(ctx context.Context) { in.keepRA(ctx, log) },
		w.files.Run,
		w.publisher.Run,
		w.sweeper.Run,
		w.connector.Run,
		w.announcer.Run,
		w.dispatcher.Run,
		w.rejections.Run,
		func(ctx context.Context) { w.enroll.RunDeliveries(ctx, log) },
	}
}
