package enroll_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client"
	"understudy.example/understudy/scep/client/craft"
)

// TestStoreFailsWhileAsking at each step before PENDING: no reply promises
// what is not stored, and the same request is stored afterwards.
func TestStoreFailsWhileAsking(t *testing.T) {
	for _, method := range []string{"RequestOfTransaction", "Transaction", "TransactionOfMessage", "DeviceList", "Requests", "AddRequest", "after AddRequest", "Device"} {
		for _, err := range []error{errDisk, depot.ErrUnavailable} {
			t.Run(method+", "+err.Error(), func(t *testing.T) {
				inEach(t, func(t *testing.T, h *house) {
					h.approving(t, configuration.ApprovalManual)
					judge := &judge{}
					h.live = h.judged(judge)
					if method == "Device" {
						h.live.Record.Policy.Approval = configuration.ApprovalManualNew
					}
					f := &faulty{Depot: h.depot, fails: method, err: err}
					f.times.Store(1)
					h.service = h.over(f)
					r := h.request(t)
					a := h.ask(encoded(t, r))
					if a.Outcome != enroll.Failed || !errors.Is(a.Internal, err) || a.Reply != nil || a.Reason != "" {
						t.Errorf("outcome %s %s, internal %v, reply of %d bytes", a.Outcome, a.Reason, a.Internal, len(a.Reply))
					}
					judge.ended(t, len(judge.grants), 0)
					stored := 0
					if method == "after AddRequest" {
						stored = 1 // and not said
					}
					if h.requests(t) != stored || h.issued(t) != 0 {
						t.Errorf("%d requests, %d certificates", h.requests(t), h.issued(t))
					}
					h.pends(t, r, encoded(t, r))
					if h.requests(t) != 1 {
						t.Errorf("%d requests", h.requests(t))
					}
				})
			})
		}
	}
}

// TestStoreFailsWhileDeciding: a decision that failed leaves no certificate, or
// one that is listed and delivered, never one in between.
func TestStoreFailsWhileDeciding(t *testing.T) {
	for _, method := range []string{"Request", "Transaction", "DeviceList", "Decide", "after Decide"} {
		t.Run(method, func(t *testing.T) {
			inEach(t, func(t *testing.T, h *house) {
				h.approving(t, configuration.ApprovalManual)
				r := h.request(t)
				request := h.pends(t, r, encoded(t, r))
				f := &faulty{Depot: h.depot, fails: method, err: depot.ErrUnavailable}
				f.times.Store(1)
				h.service = h.over(f)
				if _, err := h.service.Approve(t.Context(), request.ID, operator, ""); !errors.Is(err, depot.ErrUnavailable) {
					t.Fatalf("approve: %v", err)
				}
				if method == "after Decide" {
					if h.issued(t) != 1 {
						t.Error("the certificate is not listed")
					}
					if _, err := h.service.Approve(t.Context(), request.ID, operator, ""); !errors.Is(err, depot.ErrDecided) {
						t.Errorf("approve again: %v", err)
					}
				} else {
					if h.issued(t) != 0 {
						t.Error("there is a certificate that nobody approved")
					}
					h.pends(t, r, encoded(t, h.poll(r)))
					h.approve(t, request.ID)
				}
				h.enrolled(t, r, encoded(t, h.poll(r)), enroll.Repeated)
				if h.issued(t) != 1 {
					t.Errorf("%d certificates", h.issued(t))
				}
			})
		})
	}
}

// TestDenyFails leaves the request as it was.
func TestDenyFails(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		request := h.pends(t, r, encoded(t, r))
		f := &faulty{Depot: h.depot, fails: "Decide", err: errDisk}
		f.times.Store(1)
		h.service = h.over(f)
		if _, err := h.service.Deny(t.Context(), request.ID, operator, ""); !errors.Is(err, errDisk) {
			t.Errorf("deny: %v", err)
		}
		h.pends(t, r, encoded(t, r))
		h.deny(t, request.ID)
	})
}

// TestApproveAnew issues anew when a certificate serial is taken, and when the
// transaction moved meanwhile; at some point it gives up.
func TestApproveAnew(t *testing.T) {
	for _, err := range []error{depot.ErrExists, depot.ErrTransactionConflict} {
		for times, good := range map[int64]bool{1: true, 2: true, 3: false} {
			inEach(t, func(t *testing.T, h *house) {
				h.approving(t, configuration.ApprovalManual)
				r := h.request(t)
				request := h.pends(t, r, encoded(t, r))
				f := &faulty{Depot: h.depot, fails: "Decide", err: err}
				f.times.Store(times)
				h.service = h.over(f)
				_, got := h.service.Approve(t.Context(), request.ID, operator, "")
				if (got == nil) != good || got != nil && !errors.Is(got, err) {
					t.Errorf("%d times %v: %v", times, err, got)
				}
			})
		}
	}
}

// TestRequestIDTaken makes another.
func TestRequestIDTaken(t *testing.T) {
	h := newHouse(t, nil)
	h.approving(t, configuration.ApprovalManual)
	f := &faulty{Depot: h.depot, fails: "AddRequest", err: depot.ErrExists}
	f.times.Store(2)
	h.service = h.over(f)
	r := h.request(t)
	h.pends(t, r, encoded(t, r))
}

// TestReplyFails: the certificate of an answer that could not be made is
// listed and named in the log, and the client gets it when it asks again. What
// waits goes on waiting.
func TestReplyFails(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		random := &failing{}
		h.service = h.over(h.depot, enroll.WithRandom(random))
		random.on.Store(true)
		r := h.request(t)
		a := h.ask(encoded(t, r))
		if a.Outcome != enroll.Failed || !errors.Is(a.Internal, errDisk) || a.Reply != nil {
			t.Fatalf("answer %+v", a)
		}
		if _, err := h.depot.Identity(t.Context(), a.CertificateSerial); err != nil || h.issued(t) != 1 {
			t.Errorf("certificate %q, %d listed: %v", a.CertificateSerial, h.issued(t), err)
		}
		random.on.Store(false)
		h.enrolled(t, r, encoded(t, r), enroll.Repeated)

		h.approving(t, configuration.ApprovalManual)
		waits := h.request(t)
		raw := encoded(t, waits)
		random.on.Store(true)
		if a := h.ask(raw); a.Outcome != enroll.Failed || a.Reply != nil || h.requests(t) != 0 {
			t.Errorf("answer %+v, %d requests", a, h.requests(t))
		}
		random.on.Store(false)
		request := h.pends(t, waits, raw)
		random.on.Store(true)
		if a := h.ask(raw); a.Outcome != enroll.Failed || a.Reply != nil {
			t.Errorf("answer %+v", a)
		}
		h.approve(t, request.ID) // needs no reply
		if a := h.ask(encoded(t, h.poll(waits))); a.Outcome != enroll.Failed || a.CertificateSerial == "" {
			t.Errorf("answer %+v", a)
		}
		random.on.Store(false)
		h.enrolled(t, waits, encoded(t, h.poll(waits)), enroll.Repeated)
	})
}

// TestParallelRequests has 16 clients ask the same at once: one request is
// stored, whether it is one message or each has its own. Then 16 operators
// approve it, and one of them did.
func TestParallelRequests(t *testing.T) {
	const racers = 16
	for _, identical := range []bool{true, false} {
		inEach(t, func(t *testing.T, h *house) {
			h.approving(t, configuration.ApprovalManual)
			r := h.request(t)
			raws := make([][]byte, racers)
			for i := range raws {
				if raws[i] = raws[0]; !identical || i == 0 {
					raws[i] = encoded(t, r)
				}
			}
			answers := make([]enroll.Answer, racers)
			var group sync.WaitGroup
			for i, raw := range raws {
				group.Go(func() { answers[i] = h.ask(raw) })
			}
			group.Wait()
			for _, a := range answers {
				if reply := h.read(t, r, a); reply.Status != client.Pending || a.RequestID != answers[0].RequestID {
					t.Errorf("status %s, request %s", reply.Status, a.RequestID)
				}
			}
			if h.requests(t) != 1 {
				t.Fatalf("%d requests", h.requests(t))
			}
			h.parallelApprovals(t, answers[0].RequestID)
			h.enrolled(t, r, encoded(t, h.poll(r)), enroll.Repeated)
		})
	}
}

// parallelApprovals has two servers of one store approve at once, so that
// nothing but the store decides.
func (h *house) parallelApprovals(t *testing.T, id string) {
	t.Helper()
	const racers = 16
	services := []*enroll.Service{h.over(h.depot), h.over(h.depot)}
	errs := make([]error, racers)
	var group sync.WaitGroup
	for i := range racers {
		group.Go(func() { _, errs[i] = services[i%2].Approve(context.Background(), id, operator, "") })
	}
	group.Wait()
	good := 0
	for _, err := range errs {
		switch {
		case err == nil:
			good++
		case !errors.Is(err, depot.ErrDecided):
			t.Errorf("approve: %v", err)
		}
	}
	if good != 1 || h.issued(t) != 1 {
		t.Errorf("%d approvals, %d certificates", good, h.issued(t))
	}
}

// TestApproveOrDeny at once: one of them happens.
func TestApproveOrDeny(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		id := h.pends(t, r, encoded(t, r)).ID
		one, two := h.over(h.depot), h.over(h.depot)
		var approved, denied error
		var group sync.WaitGroup
		group.Go(func() { _, approved = one.Approve(context.Background(), id, operator, "") })
		group.Go(func() { _, denied = two.Deny(context.Background(), id, operator, "") })
		group.Wait()
		if (approved == nil) == (denied == nil) || (h.issued(t) == 1) != (approved == nil) {
			t.Errorf("approve: %v; deny: %v; %d certificates", approved, denied, h.issued(t))
		}
	})
}

// TestParallelFetches: when it is approved, every way to ask gives the one
// certificate, to all at once.
func TestParallelFetches(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.approving(t, configuration.ApprovalManual)
		r := h.request(t)
		h.approve(t, h.pends(t, r, encoded(t, r)).ID)
		messages := [][]byte{encoded(t, r), encoded(t, h.poll(r))}
		certificates := make([][]byte, 16)
		answers := make([]enroll.Answer, len(certificates))
		var group sync.WaitGroup
		for i := range answers {
			group.Go(func() { answers[i] = h.ask(messages[i%2]) })
		}
		group.Wait()
		for i, a := range answers {
			certificates[i] = h.certificate(t, r, a, enroll.Repeated).Raw
			if !bytes.Equal(certificates[i], certificates[0]) {
				t.Error("another certificate")
			}
		}
	})
}

// TestDeviceLists: with a list only who is on it may enrol, whatever the
// challenge; the client is told no more than anybody who is refused.
func TestDeviceLists(t *testing.T) {
	listed := func(devices ...depot.ListedDevice) []depot.ListedDevice { return devices }
	for name, tt := range map[string]struct {
		list   []depot.ListedDevice // nil: there is none
		empty  bool
		cn     string
		listed bool
	}{
		"no list":                 {nil, false, "C02XL0GTJGH5", true},
		"empty list":              {nil, true, "C02XL0GTJGH5", false},
		"by device serial":        {listed(depot.ListedDevice{DeviceSerial: "c02xl0gtjgh5 "}), false, "C02XL0GTJGH5", true},
		"another device serial":   {listed(depot.ListedDevice{DeviceSerial: "C02XL0GTJGH6"}), false, "C02XL0GTJGH5", false},
		"serial in another field": {listed(depot.ListedDevice{UDID: "C02XL0GTJGH5", UPN: "C02XL0GTJGH5"}), false, "C02XL0GTJGH5", false},
		"by UPN": {listed(depot.ListedDevice{DeviceSerial: "OTHER", UPN: "Jane@Lab.example"}), false,
			"jane@lab.example managementAttestation 8c4f3b1e-6a0d-4e52-9b7c-0f1e2d3c4b5a", true},
		"nobody in particular": {listed(depot.ListedDevice{DeviceSerial: "admin"}), false, "an admin of sorts", false},
	} {
		t.Run(name, func(t *testing.T) {
			inEach(t, func(t *testing.T, h *house) {
				if tt.list != nil || tt.empty {
					h.list(t, tt.list...)
				}
				r := h.request(t)
				r.CSR.Subject = named(t, tt.cn)
				if tt.listed {
					h.enrolled(t, r, encoded(t, r), enroll.Issued)
					return
				}
				judge := &judge{asked: func() { t.Error("a challenge was judged") }}
				live := h.live
				h.live = h.judged(judge)
				reply := h.refused(t, r, encoded(t, r), refusal.DeviceNotListed)
				h.live = live
				wrong := *r
				wrong.CSR.Subject, wrong.CSR.Challenges = named(t, "C02XL0GTJGH6"), nil
				h.list(t, depot.ListedDevice{DeviceSerial: "C02XL0GTJGH6"})
				other := h.refused(t, &wrong, encoded(t, &wrong), refusal.ChallengeMissing)
				if reply.FailInfo != other.FailInfo || reply.FailInfoText != other.FailInfoText || reply.FailInfo != client.BadRequest {
					t.Errorf("the client is told %s %q, and %s %q without a challenge",
						reply.FailInfo.Name(), reply.FailInfoText, other.FailInfo.Name(), other.FailInfoText)
				}
			})
		})
	}
}

// list stores the list of the first configuration.
func (h *house) list(t *testing.T, devices ...depot.ListedDevice) {
	t.Helper()
	err := h.service.Devices().SetDeviceList(t.Context(), depot.DeviceList{
		ConfigurationID: h.live.Record.ID, Devices: devices, ChangedAt: h.clock.Now(), ChangedBy: operator,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDeviceListChanges are in force at once, and end with the list.
func TestDeviceListChanges(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		ask := func(outcome enroll.Outcome) {
			t.Helper()
			r := h.request(t, func(r *craft.Request) { r.CSR.Subject = named(t, "C02XL0GTJGH5") })
			if a := h.ask(encoded(t, r)); a.Outcome != outcome {
				t.Errorf("outcome %s %s %v, want %s", a.Outcome, a.Reason, a.Internal, outcome)
			}
		}
		ask(enroll.Issued)
		h.list(t, depot.ListedDevice{DeviceSerial: "OTHER"})
		ask(enroll.Refused)
		h.list(t, depot.ListedDevice{DeviceSerial: "OTHER"}, depot.ListedDevice{DeviceSerial: "C02XL0GTJGH5"})
		ask(enroll.Issued)
		h.list(t)
		ask(enroll.Refused)
		mine := h.live
		h.live = h.other
		ask(enroll.Issued)
		h.live = mine
		if err := h.service.Devices().RemoveDeviceList(t.Context(), h.live.Record.ID, operator, h.clock.Now()); err != nil {
			t.Fatal(err)
		}
		ask(enroll.Issued)
		// A list in a file that was never read keeps everybody out.
		h.reconfigure(t, `{"devices_file":"/nowhere/devices.csv"}`)
		ask(enroll.Refused)
	})
}

// TestRestart: what waits survives the end of the server, and what was decided
// is told after it.
func TestRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	open := func(c clock.Clock) (depot.Depot, error) { return bolt.Open(path, bolt.Options{Clock: c}) }
	h := furnish(t, nil, open)
	h.approving(t, configuration.ApprovalManual)
	waits, denied, approved := h.request(t), h.request(t), h.request(t)
	request := h.pends(t, waits, encoded(t, waits))
	h.deny(t, h.pends(t, denied, encoded(t, denied)).ID)
	h.approve(t, h.pends(t, approved, encoded(t, approved)).ID)
	restart := func() {
		t.Helper()
		if err := h.depot.Close(); err != nil {
			t.Fatal(err)
		}
		var err error
		if h.depot, err = open(h.clock); err != nil {
			t.Fatal(err)
		}
		if h.set, err = configuration.Load(t.Context(), h.depot, h.clock, nil); err != nil {
			t.Fatal(err)
		}
		h.live, _ = h.set.ByName(configuration.ApprovalManual)
		h.service = h.over(h.depot)
	}
	restart()
	if same := h.pends(t, waits, encoded(t, waits)); same.ID != request.ID {
		t.Error("another request")
	}
	h.pends(t, waits, encoded(t, h.poll(waits)))
	h.refused(t, denied, encoded(t, h.poll(denied)), refusal.Denied)
	h.enrolled(t, approved, encoded(t, h.poll(approved)), enroll.Repeated)
	h.approve(t, request.ID)
	restart()
	h.enrolled(t, waits, encoded(t, h.poll(waits)), enroll.Repeated)
	if h.issued(t) != 2 || h.requests(t) != 3 {
		t.Errorf("%d certificates, %d requests", h.issued(t), h.requests(t))
	}
}
