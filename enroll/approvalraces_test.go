package enroll_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
)

// TestDecidedWhileEverythingMoves has two servers of one store decide about a
// request, approving and denying, while its client asks in every way it has and
// the clock is moved to and fro, over the retry period and over the request's
// time. One decision is made, and there is one certificate or none.
func TestDecidedWhileEverythingMoves(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		for range 8 {
			h.decidedOnce(t)
		}
	})
}

// decidedOnce is one round of it.
func (h *house) decidedOnce(t *testing.T) {
	t.Helper()
	before := h.issued(t)
	r := h.request(t)
	messages := [][]byte{encoded(t, r), encoded(t, r), encoded(t, h.poll(r))}
	id := h.pends(t, r, messages[0]).ID
	services := []*enroll.Service{h.over(h.depot), h.over(h.depot)}
	errs := make([]error, 12)
	answers := make([][]enroll.Answer, 4)
	ctx, decided := context.WithCancel(t.Context())
	var deciding, others sync.WaitGroup
	for i := range errs {
		decide := services[i%2].Approve
		if i%4 > 1 {
			decide = services[i%2].Deny
		}
		deciding.Go(func() { _, errs[i] = decide(context.Background(), id, operator, "") })
	}
	for i := range answers {
		others.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				request := enroll.Request{Configuration: h.live, Message: messages[n%3]}
				answers[i] = append(answers[i], services[i%2].Answer(context.Background(), request))
			}
		})
	}
	others.Go(func() {
		for ctx.Err() == nil {
			for _, step := range []time.Duration{retryPeriod, -retryPeriod, 2 * approvalTTL, -2 * approvalTTL} {
				h.clock.Advance(step)
				runtime.Gosched()
			}
		}
	})
	deciding.Wait()
	decided()
	others.Wait()
	h.wantDecidedOnce(t, id, errs, slices.Concat(answers...), before)
}

// wantDecidedOnce looks at what became of a request, where there were so many
// certificates before.
func (h *house) wantDecidedOnce(t *testing.T, id string, errs []error, answers []enroll.Answer, before int) {
	t.Helper()
	good := 0
	for _, err := range errs {
		if err == nil {
			good++
		} else if !errors.Is(err, depot.ErrDecided) {
			t.Errorf("decide: %v", err)
		}
	}
	request, err := h.depot.Request(t.Context(), id)
	if err != nil || good > 1 || (good == 1) == (request.State == depot.RequestPending) {
		t.Errorf("%d decisions, and the request is %s, %v", good, request.State, err)
	}
	approved := 0
	if request.State == depot.RequestApproved {
		approved = 1
	}
	if got := h.issued(t) - before; got != approved {
		t.Errorf("%d certificates of a request that is %s", got, request.State)
	}
	serial := request.Transaction.CertificateSerial
	for _, a := range answers {
		if a.Internal != nil || a.CertificateSerial != "" && a.CertificateSerial != serial {
			t.Errorf("outcome %s %s %v with certificate %q, not %q", a.Outcome, a.Reason, a.Internal, a.CertificateSerial, serial)
		}
	}
}

// TestRevokedWhileFetched: whoever asks for an approved certificate gets it
// until it is revoked, and nothing afterwards, least of all another one.
func TestRevokedWhileFetched(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		messages := [][]byte{encoded(t, r), encoded(t, h.poll(r))}
		serial := h.approve(t, h.pends(t, r, messages[0]).ID).Transaction.CertificateSerial
		answers := make([]enroll.Answer, 16)
		var group sync.WaitGroup
		for i := range answers {
			group.Go(func() { answers[i] = h.ask(messages[i%2]) })
			if i == len(answers)/2 {
				group.Go(func() {
					if _, err := h.depot.Revoke(context.Background(), depot.Revocation{CertificateSerial: serial, Reason: depot.ReasonKeyCompromise, At: h.clock.Now(), By: operator}); err != nil {
						t.Errorf("revoke: %v", err)
					}
				})
			}
		}
		group.Wait()
		for i, a := range answers {
			refused := []refusal.Reason{refusal.Replayed, refusal.NotFound}[i%2]
			if a.Outcome == enroll.Repeated && a.CertificateSerial == serial || a.Outcome == enroll.Refused && a.Reason == refused {
				continue
			}
			t.Errorf("outcome %s %s %v with certificate %q", a.Outcome, a.Reason, a.Internal, a.CertificateSerial)
		}
		h.refused(t, r, messages[0], refusal.Replayed)
		h.refused(t, r, messages[1], refusal.NotFound)
		if h.issued(t) != 1 {
			t.Errorf("%d certificates", h.issued(t))
		}
	})
}
