package server

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// exchangeWords are the values that the labels of exchanges may have; anything
// else is counted as "other".
var exchangeWords = map[string][]string{
	"action": {"token", "discovery", "validate", "success", "failure", "download", "upload"},
	"result": {"ok", "refused", "status", "unreadable", "unreachable", "timeout", "forbidden_host", "waiting"},
}

// Exchanges counts requests to Microsoft: understudy_intune_requests_total. It
// is safe for concurrent use.
type Exchanges struct{ counter *prometheus.CounterVec }

// NewExchanges returns a count of none.
func NewExchanges() *Exchanges {
	return &Exchanges{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "understudy_intune_requests_total",
		Help: "Requests to Microsoft for configurations of mode intune, by what was asked and how it ended.",
	}, []string{"action", "result"})}
}

// Count counts one, by the words of intune.Exchange.
func (e *Exchanges) Count(action, result string) {
	e.counter.WithLabelValues(oneOf(exchangeWords["action"], action), oneOf(exchangeWords["result"], result)).Inc()
}

func oneOf(words []string, word string) string {
	if slices.Contains(words, word) {
		return word
	}
	return "other"
}
