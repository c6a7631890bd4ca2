package load

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"understudy.example/understudy/scep/client"
)

// mediaType is that of messages in both directions (RFC 8894 §4.3).
const mediaType = "application/x-pki-message"

// maxReply is the longest reply that is read, in bytes: several times an honest
// one with a whole chain in it. A sample of the replies is kept until the end.
const maxReply = 64 << 10

// result is what became of one message. Times are since the run began.
type result struct {
	index   int
	due     time.Duration // when it should have been sent
	sent    time.Duration
	done    time.Duration
	failure failure // zero: SUCCESS
	reply   []byte  // of the sample
}

// latency is what whoever wanted the certificate at the due time waited.
func (r *result) latency() time.Duration { return r.done - r.due }

// A sender sends messages over its workers' connections.
type sender struct {
	options   Options
	userAgent string
	url       *url.URL
	items     []item
	queries   []string // for GET, made beforehand
	workers   []*http.Transport
}

func newSender(t *Target, r *Requests, o Options) *sender {
	s := &sender{options: o, url: t.url, userAgent: t.scep.UserAgent, items: r.items}
	for range o.Concurrency {
		s.workers = append(s.workers, t.transport())
	}
	if o.Method == client.GET {
		s.queries = make([]string, len(r.items))
		for i, it := range r.items {
			s.queries[i] = "operation=PKIOperation&message=" + url.QueryEscape(base64.StdEncoding.EncodeToString(it.Raw))
		}
	}
	return s
}

func (s *sender) close() {
	for _, w := range s.workers {
		w.CloseIdleConnections()
	}
}

// run sends the messages from first up to, not including, end. At a rate of 0
// a worker sends as soon as it is free; otherwise message k begins k/rate
// after the start, or as soon after that as a worker is free.
func (s *sender) run(ctx context.Context, first, end int, rate float64) []result {
	var next atomic.Int64
	next.Store(int64(first))
	all := make([][]result, len(s.workers))
	begin := time.Now()
	var wait sync.WaitGroup
	for w, transport := range s.workers {
		wait.Go(func() {
			connection := &worker{sender: s, transport: transport, begin: begin}
			all[w] = make([]result, 0, 2*(end-first)/len(s.workers)+16)
			for {
				i := int(next.Add(1)) - 1
				if i >= end {
					return
				}
				due := time.Duration(-1)
				if rate > 0 {
					due = time.Duration(float64(i-first) / rate * float64(time.Second))
					if !sleepUntil(ctx, begin.Add(due)) {
						return
					}
				}
				if ctx.Err() != nil {
					return
				}
				all[w] = append(all[w], connection.send(i, due))
			}
		})
	}
	wait.Wait()
	var results []result
	for _, some := range all {
		results = append(results, some...)
	}
	return results
}

func sleepUntil(ctx context.Context, t time.Time) bool {
	wait := time.Until(t)
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A worker is one connection.
type worker struct {
	*sender
	transport *http.Transport
	begin     time.Time
	buffer    bytes.Buffer
}

func (w *worker) send(i int, due time.Duration) result {
	r := result{index: i, due: due, sent: time.Since(w.begin)}
	if due < 0 {
		r.due = r.sent
	}
	w.buffer.Reset()
	r.failure = w.exchange(i)
	r.done = time.Since(w.begin)
	if r.failure == (failure{}) {
		r.failure = readStatus(w.buffer.Bytes())
	}
	if r.failure == (failure{}) && i%w.options.VerifyEvery == 0 {
		r.reply = bytes.Clone(w.buffer.Bytes())
	}
	return r
}

// exchange leaves a 200's body in the buffer.
func (w *worker) exchange(i int) failure {
	// A message that is on its way is waited for, whatever ends the run.
	ctx, cancel := context.WithTimeout(context.Background(), w.options.Timeout)
	defer cancel()
	response, err := w.transport.RoundTrip(w.request(ctx, i))
	if err != nil {
		return transportFailure(err)
	}
	defer response.Body.Close()
	if _, err := w.buffer.ReadFrom(io.LimitReader(response.Body, maxReply+1)); err != nil {
		return transportFailure(err)
	}
	switch {
	case response.StatusCode != http.StatusOK:
		return failure{kind: KindHTTP, detail: strconv.Itoa(response.StatusCode)}
	case w.buffer.Len() > maxReply:
		return failure{kind: KindUnreadable, detail: "too long"}
	case response.Header.Get("Content-Type") != mediaType:
		return failure{kind: KindUnreadable, detail: "content type"}
	}
	return failure{}
}

func (w *worker) request(ctx context.Context, i int) *http.Request {
	u := *w.url
	header := http.Header{}
	if w.userAgent != "" {
		header.Set("User-Agent", w.userAgent)
	}
	r := &http.Request{Method: http.MethodGet, URL: &u, Host: u.Host, Header: header, ProtoMajor: 1, ProtoMinor: 1}
	if w.options.Method == client.GET {
		u.RawQuery = w.queries[i]
		return r.WithContext(ctx)
	}
	u.RawQuery = "operation=PKIOperation"
	header.Set("Content-Type", mediaType)
	r.Method = http.MethodPost
	r.Body = io.NopCloser(bytes.NewReader(w.items[i].Raw))
	r.ContentLength = int64(len(w.items[i].Raw))
	return r.WithContext(ctx)
}

// transportFailure sorts an exchange that came to no answer.
func transportFailure(err error) failure {
	var operation *net.OpError
	switch {
	case errors.Is(err, ErrRemote):
		return failure{kind: KindConnect, detail: "not loopback", example: err.Error()}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return failure{kind: KindTimeout}
	case errors.As(err, &operation) && operation.Op == "dial":
		return failure{kind: KindConnect, example: err.Error()}
	default:
		return failure{kind: KindNetwork, example: err.Error()}
	}
}
