package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"understudy.example/understudy/notify"
)

// Deliveries counts attempts to deliver to webhooks:
// understudy_webhook_deliveries_total. It is safe for concurrent use.
type Deliveries struct{ counter *prometheus.CounterVec }

// NewDeliveries returns a count of none.
func NewDeliveries() *Deliveries {
	d := &Deliveries{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "understudy_webhook_deliveries_total",
		Help: "Attempts to deliver an event to a webhook, by how they ended.",
	}, []string{"result"})}
	for _, r := range notify.Results() {
		d.counter.WithLabelValues(string(r)) // so that the first one is a rise
	}
	return d
}

// Count counts one. It is for notify.Options.Observe.
func (d *Deliveries) Count(r notify.Result) { d.counter.WithLabelValues(string(r)).Inc() }
