package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"understudy.example/understudy/redistribution"
)

// stateMetrics are what is true at the moment somebody looks. What cannot be
// found out then is left out, so that alerts on absence fire.
type stateMetrics struct {
	server *Server

	items, notifications, offset, notAfter, nextUpdate, ready *prometheus.Desc
}

func newStateMetrics(s *Server) *stateMetrics {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &stateMetrics{
		server:        s,
		items:         describe("understudy_redistribution_items", "Certificates by where they stand in redistribution, under the configuration's own policy.", "configuration", "state"),
		notifications: describe("understudy_webhook_notifications", "Notifications of webhooks that wait for another attempt, or were given up.", "state"),
		offset:        describe("understudy_clock_offset_seconds", "How far the server's clock is ahead of the machine's; not 0 in a lab whose clock was moved."),
		notAfter:      describe("understudy_ca_certificate_not_after_seconds", "When a certificate of the authority ends, in Unix time.", "certificate"),
		nextUpdate:    describe("understudy_crl_next_update_seconds", "When the current issuer's CRL ends, in Unix time."),
		ready:         describe("understudy_store_ready", "Whether the store could be written now: 1 or 0."),
	}
}

// addMetrics adds what needs the whole server, and what others count.
func (s *Server) addMetrics(c Config) {
	counted := newEventMetrics(s.depot, s.configurations, s.log)
	if err := counted.begin(context.Background()); err != nil {
		s.log.Warn("events are counted from the first look at the metrics on", "error", err)
	}
	s.metrics.registry.MustRegister(counted, newStateMetrics(s))
	if c.Exchanges != nil {
		s.metrics.registry.MustRegister(c.Exchanges.counter)
	}
	if c.Deliveries != nil {
		s.metrics.registry.MustRegister(c.Deliveries.counter)
	}
}

// Describe is for Prometheus.
func (m *stateMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.items, m.notifications, m.offset, m.notAfter, m.nextUpdate, m.ready} {
		descriptions <- d
	}
}

// Collect is for Prometheus.
func (m *stateMetrics) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	s := m.server
	gauge(m.offset, s.clock.Offset().Seconds())
	inForce := s.authority.InForce()
	gauge(m.notAfter, unixSeconds(inForce.Root.NotAfter), "root")
	gauge(m.notAfter, unixSeconds(inForce.Issuer.NotAfter), "issuer")
	gauge(m.notAfter, unixSeconds(inForce.RA.NotAfter), "ra")
	ready := 1.0
	if err := s.depot.Ready(ctx); err != nil {
		ready = 0
	}
	gauge(m.ready, ready)
	if s.revocation != nil {
		if crl, err := s.revocation.Publisher.CRL(ctx, inForce.Issuer); err == nil {
			gauge(m.nextUpdate, unixSeconds(crl.NextUpdate))
		}
	}
	if s.webhooks != nil {
		if waiting, dead, err := s.webhooks.Counts(ctx); err == nil {
			gauge(m.notifications, float64(waiting), "waiting")
			gauge(m.notifications, float64(dead), "dead")
		}
	}
	m.collectItems(ctx, gauge)
}

// collectItems counts by configuration, as far as time allows.
func (m *stateMetrics) collectItems(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string)) {
	s := m.server
	if s.windows == nil {
		return
	}
	for _, live := range s.configurations.List() {
		counts, err := s.windows.Counts(ctx, []string{live.Record.ID}, nil, time.Time{})
		if err != nil {
			s.log.Warn("redistribution is not counted", "configuration", live.Record.ID, "error", err)
			return
		}
		for _, state := range redistribution.States() {
			gauge(m.items, float64(counts[state]), live.Record.ID, string(state))
		}
	}
}

func unixSeconds(t time.Time) float64 { return float64(t.Unix()) }
