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
type Exchanges struct {
	counter *prometheus.CounterVec
	codes   []string
}

// NewExchanges returns a count of none. codes are the values that the label
// code may have besides none; anything else is counted as "other".
func NewExchanges(codes []string) *Exchanges {
	return &Exchanges{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "understudy_intune_requests_total",
		Help: "Requests to Microsoft for configurations of mode intune, by what was asked, how it ended and the code that Intune gave.",
	}, []string{"action", "result", "code"}), codes}
}

// Count counts one, by the words of intune.Exchange.
func (e *Exchanges) Count(action, result, code string) {
	if code != "" {
		code = oneOf(e.codes, code)
	}
	e.counter.WithLabelValues(oneOf(exchangeWords["action"], action), oneOf(exchangeWords["result"], result), code).Inc()
}

func oneOf(words []string, word string) string {
	if slices.Contains(words, word) {
		return word
	}
	return "other"
}
