package server

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
)

// eventMetrics count what happened by reading the log of events when somebody
// looks at the metrics, from where the last look ended. So they count what
// happened in whatever way, and nobody who makes it happen has to know them.
type eventMetrics struct {
	depot          depot.Depot
	configurations *configuration.Set
	log            *slog.Logger

	mu    sync.Mutex
	begun bool
	after uint64

	challengesIssued, challengesRedeemed, challengesWithdrawn prometheus.Counter
	revoked                                                   *prometheus.CounterVec
}

// eventsPerLook bounds how many events one look at the metrics reads. What is
// left is counted at the next one.
const eventsPerLook = 100_000

func newEventMetrics(d depot.Depot, c *configuration.Set, log *slog.Logger) *eventMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	return &eventMetrics{
		depot: d, configurations: c, log: log,
		challengesIssued:    counter("understudy_challenges_issued_total", "One-time challenges given out since the start."),
		challengesRedeemed:  counter("understudy_challenges_redeemed_total", "One-time challenges spent on a certificate since the start."),
		challengesWithdrawn: counter("understudy_challenges_withdrawn_total", "One-time challenges withdrawn since the start."),
		revoked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "understudy_certificates_revoked_total",
			Help: "Certificates revoked since the start, by the reason in the CRL.",
		}, []string{"reason"}),
	}
}

// begin counts from the end of the log.
func (m *eventMetrics) begin(ctx context.Context) error {
	last, err := m.depot.LastEvent(ctx)
	m.after, m.begun = last, err == nil
	return err
}

// Describe is for Prometheus.
func (m *eventMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, c := range m.collectors() {
		c.Describe(descriptions)
	}
}

func (m *eventMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.challengesIssued, m.challengesRedeemed, m.challengesWithdrawn, m.revoked}
}

// Collect is for Prometheus: it counts what is new, and shows the counts.
func (m *eventMetrics) Collect(metrics chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	if err := m.catchUp(ctx); err != nil && ctx.Err() == nil {
		m.log.Warn("events are not counted", "error", err)
	}
	for _, c := range m.collectors() {
		c.Collect(metrics)
	}
}

func (m *eventMetrics) catchUp(ctx context.Context) error {
	if !m.begun {
		return m.begin(ctx)
	}
	counted := []depot.EventType{
		depot.EventChallengeIssued, depot.EventChallengeWithdrawn, depot.EventCertificateIssued, depot.EventCertificateRevoked, depot.EventCertificateVoid,
	}
	for read := 0; read < eventsPerLook; {
		page, err := m.depot.Events(ctx, depot.EventQuery{After: m.after, Types: counted, Limit: maxPage})
		if err != nil {
			return err
		}
		for _, e := range page.Items {
			if err := m.count(ctx, e); err != nil {
				return err
			}
			m.after = e.Sequence
		}
		if page.NextCursor == "" {
			return nil
		}
		read += len(page.Items) + 1
		if m.after, err = strconv.ParseUint(page.NextCursor, 10, 64); err != nil {
			return err
		}
	}
	return nil
}

// maxPage is the longest page that a depot gives.
const maxPage = 500

// scrapeTime bounds how long one part of the metrics may look for its numbers.
const scrapeTime = 2 * time.Second

func (m *eventMetrics) count(ctx context.Context, e depot.Event) error {
	switch e.Type {
	case depot.EventChallengeIssued:
		m.challengesIssued.Inc()
	case depot.EventChallengeWithdrawn:
		m.challengesWithdrawn.Inc()
	case depot.EventCertificateVoid:
		m.revoked.WithLabelValues(string(depot.ReasonCessationOfOperation)).Inc()
	case depot.EventCertificateIssued:
		live, ok := m.configurations.ByID(e.ConfigurationID)
		if !ok || live.Record.Mode != depot.ModeDynamic {
			return nil
		}
		identity, err := m.depot.Identity(ctx, e.CertificateSerial)
		if err == nil && identity.ChallengeID != "" {
			m.challengesRedeemed.Inc()
		}
		return err
	case depot.EventCertificateRevoked:
		return m.countRevoked(ctx, e)
	}
	return nil
}

// countRevoked asks the identity why, where the event does not say it.
func (m *eventMetrics) countRevoked(ctx context.Context, e depot.Event) error {
	reason := e.Reason
	if reason == "" {
		identity, err := m.depot.Identity(ctx, e.CertificateSerial)
		if err != nil {
			return err
		}
		reason = identity.RevocationReason
	}
	if _, known := depot.RevocationReason(reason).Code(); !known {
		reason = "other" // a hold that was lifted since
	}
	m.revoked.WithLabelValues(reason).Inc()
	return nil
}
