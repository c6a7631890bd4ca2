package enroll_test

import (
	"bytes"
	"errors"
	"testing"

	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client/craft"
)

// TestApprovedThenOld: what was approved and has expired or was renewed is not
// handed out again; the device asks anew.
func TestApprovedThenOld(t *testing.T) {
	for name, age := range map[string]func(*testing.T, *house, *craft.Request){
		"expired": func(t *testing.T, h *house, r *craft.Request) {
			c := h.enrolled(t, r, encoded(t, h.poll(r)), enroll.Repeated)
			h.clock.Advance(c.NotAfter.Sub(h.clock.Now()))
		},
		"renewed": func(t *testing.T, h *house, r *craft.Request) {
			old := h.enrolled(t, r, encoded(t, h.poll(r)), enroll.Repeated)
			next := h.renewal(t, old)
			h.approve(t, h.pends(t, next, encoded(t, next)).ID)
			h.clock.Advance(retryPeriod)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inEach(t, func(t *testing.T, h *house) {
				h.approving(t, configuration.ApprovalManual, func(s *configuration.Settings) { s.Renewal = true })
				r := h.request(t)
				first := h.pends(t, r, encoded(t, r))
				h.approve(t, first.ID)
				age(t, h, r)
				h.refused(t, r, encoded(t, h.poll(r)), refusal.NotFound)
				if again := h.pends(t, r, encoded(t, r)); again.ID == first.ID {
					t.Error("the request of the old certificate")
				}
			})
		})
	}
}

// TestApprovedThenRenewed with the old key, CSR and transaction, as scepclient
// does: the old certificate is no answer.
func TestApprovedThenRenewed(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual, func(s *configuration.Settings) { s.Renewal = true })
		r := h.request(t)
		first := h.pends(t, r, encoded(t, r))
		h.approve(t, first.ID)
		old := h.enrolled(t, r, encoded(t, r), enroll.Repeated)
		renewal := as(r, "17", nil)
		signedBy(old, keyA)(renewal)
		second := h.pends(t, renewal, encoded(t, renewal))
		if second.ID == first.ID || second.Supersedes != hexSerial(old) {
			t.Errorf("request %s supersedes %q", second.ID, second.Supersedes)
		}
		h.approve(t, second.ID)
		h.renewed(t, old, h.enrolled(t, renewal, encoded(t, renewal), enroll.Repeated))
	})
}

// TestApprovedThenAutomatic: a later certificate of the transaction is its last
// word, not the approved one.
func TestApprovedThenAutomatic(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		h.approve(t, h.pends(t, r, encoded(t, r)).ID)
		first := h.enrolled(t, r, encoded(t, r), enroll.Repeated)
		h.reconfigure(t, `{"approval":"auto"}`)
		h.clock.Advance(retryPeriod)
		other := *r
		otherCSR(&other)
		second := h.enrolled(t, &other, encoded(t, &other), enroll.Issued)
		if c := h.enrolled(t, &other, encoded(t, h.poll(&other)), enroll.Repeated); !bytes.Equal(c.Raw, second.Raw) {
			t.Error("the poll gives another certificate than the last")
		}
		if c := h.enrolled(t, r, encoded(t, r), enroll.Issued); bytes.Equal(c.Raw, first.Raw) {
			t.Error("the approved certificate was handed out as new")
		}
	})
}

// TestOvertakenByTheOperator: a request is stored while another one of the
// transaction, begun before the policy changed, is being issued. The
// certificate is the last word; the request cannot become a second one.
func TestOvertakenByTheOperator(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		auto := *h.live
		auto.Record.Policy.Approval = configuration.ApprovalAuto
		r := h.request(t)
		var waiting depot.Request
		f := &faulty{Depot: h.depot, before: func() { waiting = h.pends(t, r, encoded(t, r)) }}
		a := h.over(f).Answer(t.Context(), enroll.Request{Configuration: &auto, Message: encoded(t, r)})
		c := h.certificate(t, r, a, enroll.Issued)
		for _, again := range []*craft.Request{r, h.poll(r)} {
			if got := h.enrolled(t, again, encoded(t, again), enroll.Repeated); !bytes.Equal(got.Raw, c.Raw) {
				t.Error("another certificate")
			}
		}
		if _, err := h.service.Approve(t.Context(), waiting.ID, operator, ""); !errors.Is(err, depot.ErrTransactionConflict) {
			t.Errorf("approve: %v", err)
		}
		h.deny(t, waiting.ID)
		if h.issued(t) != 1 {
			t.Errorf("%d certificates", h.issued(t))
		}
	})
}
