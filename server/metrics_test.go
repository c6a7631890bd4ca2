package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"understudy.example/understudy/depot"
)

// series counts the series of /metrics.
func (h *house) series() int {
	n := 0
	for line := range strings.Lines(h.api("GET", "/metrics", "").body) {
		if !strings.HasPrefix(line, "#") && strings.TrimSpace(line) != "" {
			n++
		}
	}
	return n
}

// Nothing that a client writes makes a series.
func TestSeriesAreConstant(t *testing.T) {
	h := open(t, limited(100_000))
	load := func(from, to int) {
		for i := from; i < to; i++ {
			for _, r := range []*http.Request{
				httptest.NewRequest("GET", fmt.Sprintf("/path%d?operation=op%d", i, i), nil),
				httptest.NewRequest("GET", fmt.Sprintf("/scep?operation=op%d", i), nil),
				httptest.NewRequest(fmt.Sprintf("METHOD%d", i), "/scep", nil),
				httptest.NewRequest("GET", "/scep?operation=GetCACaps", nil),
				httptest.NewRequest("GET", "/ca.pem", nil),
				httptest.NewRequest("GET", fmt.Sprintf("/crl/%x.crl", i), nil),
				httptest.NewRequest("GET", crlPath(h.authority.Issuer()), nil),
				httptest.NewRequest("GET", fmt.Sprintf("/ocsp/%d", i), nil),
				httptest.NewRequest("POST", "/ocsp", strings.NewReader(fmt.Sprintf("request %d", i))),
				post(strings.NewReader(fmt.Sprintf("message %d", i))),
			} {
				r.RemoteAddr = fmt.Sprintf("[2001:db8:%x::1]:1", i)
				r.Header.Set("User-Agent", fmt.Sprintf("agent %d", i))
				r.Host = fmt.Sprintf("host%d", i)
				do(h.Public(), r)
			}
		}
	}
	load(0, 10)
	before := h.series()
	load(10, 2000)
	if after := h.series(); after != before || after > 500 {
		t.Errorf("%d series, %d after 2000 of everything; 500 at most", before, after)
	}
}

// Whoever asks for the metrics again and again, without a token, does not keep
// the store busy with it.
func TestScrapesAreBounded(t *testing.T) {
	const atOnce = 4
	inside, goOn := make(chan struct{}), make(chan struct{})
	var asked atomic.Int64
	h := open(t, inMemory, func(h *house) {
		h.wrap = func(d depot.Depot) depot.Depot {
			return &faultyDepot{Depot: d, ready: func(context.Context) error {
				if asked.Add(1) <= atOnce {
					inside <- struct{}{}
					<-goOn
				}
				return nil
			}}
		}
	})
	scrape := func() reply { return do(h.Admin(), httptest.NewRequest("GET", "http://localhost/metrics", nil)) }
	answers := make(chan reply, atOnce)
	for range atOnce {
		go func() { answers <- scrape() }()
	}
	for range atOnce {
		<-inside
	}
	if a := scrape(); a.status != 503 {
		t.Errorf("one too many: %d", a.status)
	}
	close(goOn)
	for range atOnce {
		if a := <-answers; a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if a := scrape(); a.status != 200 {
		t.Errorf("afterwards: %d", a.status)
	}
}

func TestMetrics(t *testing.T) {
	h := open(t)
	h.enrol("SERIAL1")
	h.get("/scep?operation=GetCACaps")
	h.get("/scep?operation=GetCACert")
	h.get("/scep?operation=GetNextCACert")
	h.get("/scep?operation=unheard")
	h.get("/nowhere")
	h.get("/ca.cer")
	h.get(crlPath(h.authority.Issuer()))
	h.get("/ocsp/!")
	do(h.Public(), httptest.NewRequest("POST", "/ocsp", strings.NewReader("garbage")))
	h.post("garbage")
	for series, want := range map[string]string{
		"understudy_certificates_issued_total":                                                                                  "1",
		"understudy_panics_total":                                                                                               "0",
		"understudy_queue_length":                                                                                               "0",
		"understudy_requests_in_flight":                                                                                         "0",
		`understudy_http_requests_total{code="200",operation="GetCACaps"}`:                                                      "1",
		`understudy_http_requests_total{code="200",operation="GetCACert"}`:                                                      "1",
		`understudy_http_requests_total{code="404",operation="GetNextCACert"}`:                                                  "1",
		`understudy_http_requests_total{code="400",operation="other"}`:                                                          "1",
		`understudy_http_requests_total{code="404",operation="other"}`:                                                          "1",
		`understudy_http_requests_total{code="200",operation="file"}`:                                                           "1",
		`understudy_http_requests_total{code="200",operation="CRL"}`:                                                            "1",
		`understudy_http_requests_total{code="400",operation="OCSP"}`:                                                           "1",
		`understudy_http_requests_total{code="200",operation="OCSP"}`:                                                           "1",
		`understudy_ocsp_answers_total{status="malformedRequest"}`:                                                              "1",
		`understudy_http_requests_total{code="200",operation="PKIOperation"}`:                                                   "1",
		`understudy_http_requests_total{code="400",operation="PKIOperation"}`:                                                   "1",
		`understudy_transaction_duration_seconds_count{outcome="issued"}`:                                                       "1",
		`understudy_transaction_duration_seconds_count{outcome="failed"}`:                                                       "0", // and not absent: its first is a rise
		`understudy_transaction_duration_seconds_count{outcome="refused"}`:                                                      "1",
		`understudy_transaction_duration_seconds_bucket{outcome="issued",le="+Inf"}`:                                            "1",
		fmt.Sprintf(`understudy_transactions_total{configuration=%q,outcome="refused",reason="bad_message"}`, h.live.Record.ID): "1",
	} {
		if got := h.metric(series); got != want {
			t.Errorf("%s is %q, want %s", series, got, want)
		}
	}
	body := h.api("GET", "/metrics", "").body
	for _, part := range []string{`understudy_build_info{`, `version="1.2.3-test"`, "go_goroutines "} {
		if !strings.Contains(body, part) {
			t.Errorf("no %s in /metrics", part)
		}
	}
}
