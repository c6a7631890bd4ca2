package server

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
)

// The operations that requests are counted by. They are the only values of
// that label: nothing that a client wrote becomes one.
const (
	operationCaps      = "GetCACaps"
	operationCert      = "GetCACert"
	operationNext      = "GetNextCACert"
	operationPKI       = "PKIOperation"
	operationCRL       = "CRL"
	operationOCSP      = "OCSP"
	operationChallenge = "challenge" // the challenge page and its like
	operationFile      = "file"      // /ca.cer and its like
	operationUnknown   = "other"     // everything that was turned away before it had a name
)

// maxScrapes is how many requests for the metrics are answered at once: they
// need no token, and each asks the store.
const maxScrapes = 4

// metrics are what /metrics shows. The number of series depends on the
// configurations that exist, never on what clients send: labels are
// configuration ids, and words of closed sets.
type metrics struct {
	registry     *prometheus.Registry
	handler      http.Handler // serves the registry
	transactions *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	requests     *prometheus.CounterVec
	inFlight     prometheus.Gauge
	issued       prometheus.Counter
	panics       prometheus.Counter
	ocspAnswers  *prometheus.CounterVec
	rejected     *prometheus.CounterVec
	expired      prometheus.Counter
}

// newMetrics makes them on a registry of their own, so that several servers
// live in one process.
func newMetrics(version string, g *gate) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		transactions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "understudy_transactions_total",
			Help: "SCEP messages answered, by how they ended; reason is empty unless refused.",
		}, []string{"configuration", "outcome", "reason"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "understudy_transaction_duration_seconds",
			Help:    "Time from the first byte of a SCEP message to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"outcome"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "understudy_http_requests_total",
			Help: "Requests on the public listener.",
		}, []string{"operation", "code"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "understudy_requests_in_flight",
			Help: "SCEP messages that are being read, wait or are being answered.",
		}),
		issued: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "understudy_certificates_issued_total",
			Help: "Certificates issued since the start, those that an operator approved among them.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "understudy_panics_total",
			Help: "Panics that were caught. Anything but 0 is a bug.",
		}),
		ocspAnswers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "understudy_ocsp_answers_total",
			Help: "OCSP requests answered, by the status of the response.",
		}, []string{"status"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "understudy_challenges_rejected_total",
			Help: "Challenges refused, in SCEP messages and in what a step-ca asks about, by reason.",
		}, []string{"reason"}),
		expired: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "understudy_challenges_expired_total",
			Help: "Challenges refused because they had expired; they are among the rejected ones too.",
		}),
	}
	m.beginAtZero()
	queue := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "understudy_queue_length",
		Help: "SCEP messages that wait for their turn.",
	}, func() float64 { return float64(g.waiting.Load()) })
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "understudy_build_info",
		Help:        "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.transactions, m.duration, m.requests, m.inFlight, m.issued, m.panics, m.ocspAnswers, m.rejected, m.expired, queue, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// One for all requests: it is the handler that counts how many there are.
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
	return m
}

// beginAtZero shows what can be counted before there is any, so that the first
// one is a rise.
func (m *metrics) beginAtZero() {
	for _, outcome := range enroll.Outcomes() {
		m.duration.WithLabelValues(string(outcome))
	}
	for _, reason := range refusal.Reasons() {
		if aboutChallenge(reason) {
			m.rejected.WithLabelValues(string(reason))
		}
	}
}

// transaction counts the end of one.
func (m *metrics) transaction(configurationID string, o enroll.Outcome, reason refusal.Reason, took time.Duration) {
	m.transactions.WithLabelValues(configurationID, string(o), string(reason)).Inc()
	m.duration.WithLabelValues(string(o)).Observe(took.Seconds())
	if o == enroll.Issued {
		m.issued.Inc()
	}
}

// refusedChallenge counts a challenge that was refused.
func (m *metrics) refusedChallenge(reason refusal.Reason) {
	m.rejected.WithLabelValues(string(reason)).Inc()
	if reason == refusal.ChallengeExpired {
		m.expired.Inc()
	}
}

// aboutChallenge says whether a reason is that of a challenge.
func aboutChallenge(r refusal.Reason) bool { return strings.HasPrefix(string(r), "challenge_") }

// request counts an answer of the public listener. The code is one that this
// package chose.
func (m *metrics) request(operation string, code int) {
	m.requests.WithLabelValues(operation, strconv.Itoa(code)).Inc()
}

// forget drops the series of a configuration that is gone.
func (m *metrics) forget(configurationID string) {
	m.transactions.DeletePartialMatch(prometheus.Labels{"configuration": configurationID})
}
