package enroll_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client/craft"
)

var errDisk = errors.New("the disk is on fire")

// faulty is the real depot, of which some calls fail.
type faulty struct {
	depot.Depot
	fails  string                            // the method
	err    error                             // of it
	times  atomic.Int64                      // that it still fails
	before func()                            // once, before the first Commit
	known  func()                            // once, before the first TransactionOfMessage
	spent  func(depot.ChallengeRef)          // sees what a Commit spends
	after  func(depot.Identity, error) error // changes what Commit returns
}

func (f *faulty) fault(method string) error {
	if f.fails == method && f.times.Add(-1) >= 0 {
		return f.err
	}
	return nil
}

func (f *faulty) Transaction(ctx context.Context, c, id string) (depot.Transaction, error) {
	if err := f.fault("Transaction"); err != nil {
		return depot.Transaction{}, err
	}
	return f.Depot.Transaction(ctx, c, id)
}

func (f *faulty) TransactionOfMessage(ctx context.Context, sum [32]byte) (depot.Transaction, error) {
	if f.known != nil {
		known := f.known
		f.known = nil
		known()
	}
	if err := f.fault("TransactionOfMessage"); err != nil {
		return depot.Transaction{}, err
	}
	return f.Depot.TransactionOfMessage(ctx, sum)
}

func (f *faulty) Identity(ctx context.Context, serial string) (depot.Identity, error) {
	if err := f.fault("Identity"); err != nil {
		return depot.Identity{}, err
	}
	return f.Depot.Identity(ctx, serial)
}

func (f *faulty) IdentityBySHA256(ctx context.Context, sum [32]byte) (depot.Identity, error) {
	if err := f.fault("IdentityBySHA256"); err != nil {
		return depot.Identity{}, err
	}
	return f.Depot.IdentityBySHA256(ctx, sum)
}

func (f *faulty) RequestOfTransaction(ctx context.Context, c, id string) (depot.Request, error) {
	if err := f.fault("RequestOfTransaction"); err != nil {
		return depot.Request{}, err
	}
	return f.Depot.RequestOfTransaction(ctx, c, id)
}

func (f *faulty) Request(ctx context.Context, id string) (depot.Request, error) {
	if err := f.fault("Request"); err != nil {
		return depot.Request{}, err
	}
	return f.Depot.Request(ctx, id)
}

func (f *faulty) Requests(ctx context.Context, q depot.RequestQuery) (depot.Page[depot.Request], error) {
	if err := f.fault("Requests"); err != nil {
		return depot.Page[depot.Request]{}, err
	}
	return f.Depot.Requests(ctx, q)
}

func (f *faulty) AddRequest(ctx context.Context, r depot.Request, after uint64, afterRequest string) error {
	if err := f.fault("AddRequest"); err != nil {
		return err
	}
	err := f.Depot.AddRequest(ctx, r, after, afterRequest)
	return errors.Join(err, f.fault("after AddRequest"))
}

func (f *faulty) Decide(ctx context.Context, d depot.Decision) (depot.Request, error) {
	if err := f.fault("Decide"); err != nil {
		return depot.Request{}, err
	}
	r, err := f.Depot.Decide(ctx, d)
	if err := errors.Join(err, f.fault("after Decide")); err != nil {
		return depot.Request{}, err
	}
	return r, nil
}

func (f *faulty) Device(ctx context.Context, c, key string) (depot.Device, error) {
	if err := f.fault("Device"); err != nil {
		return depot.Device{}, err
	}
	return f.Depot.Device(ctx, c, key)
}

func (f *faulty) Deliver(ctx context.Context, serial string, at time.Time) (depot.Identity, error) {
	if err := f.fault("end of a delivery"); err != nil {
		return depot.Identity{}, err
	}
	return f.Depot.Deliver(ctx, serial, at)
}

func (f *faulty) Void(ctx context.Context, serial, why string, at time.Time) (depot.Identity, error) {
	if err := f.fault("end of a delivery"); err != nil {
		return depot.Identity{}, err
	}
	return f.Depot.Void(ctx, serial, why, at)
}

func (f *faulty) DeviceList(ctx context.Context, c string) (depot.DeviceList, error) {
	if err := f.fault("DeviceList"); err != nil {
		return depot.DeviceList{}, err
	}
	return f.Depot.DeviceList(ctx, c)
}

func (f *faulty) Commit(ctx context.Context, i depot.Issuance) (depot.Identity, error) {
	if f.before != nil {
		before := f.before
		f.before = nil
		before()
	}
	if f.spent != nil {
		f.spent(i.Challenge)
	}
	if err := f.fault("Commit"); err != nil {
		return depot.Identity{}, err
	}
	stored, err := f.Depot.Commit(ctx, i)
	if f.after != nil {
		return stored, f.after(stored, err)
	}
	return stored, err
}

// TestStoreFails at each question, with an error that may pass and one that
// will not: the request fails without a reply, the grant that there was is
// ended, and the same request succeeds afterwards.
func TestStoreFails(t *testing.T) {
	for _, err := range []error{errDisk, depot.ErrUnavailable} {
		for _, tt := range []struct {
			method string
			again  bool // a second request in the transaction
			grants int
		}{
			{"Transaction", false, 0},
			{"TransactionOfMessage", false, 0},
			{"Commit", false, 1},
			{"Identity", true, 0},
			{"IdentityBySHA256", false, 0},
		} {
			t.Run(tt.method+", "+err.Error(), func(t *testing.T) {
				t.Parallel()
				h := newHouse(t, nil)
				r := h.request(t)
				if tt.again {
					h.enrolled(t, r, encoded(t, r), enroll.Issued)
				}
				if tt.method == "IdentityBySHA256" {
					own := h.request(t)
					signedBy(h.enrolled(t, own, encoded(t, own), enroll.Issued), keyA)(r)
					r.CSR.Key = keyB
				}
				before := h.issued(t)
				f := &faulty{Depot: h.depot, fails: tt.method, err: err}
				f.times.Store(1)
				judge := &judge{}
				h.service, h.live = h.over(f), h.judged(judge)
				a := h.ask(encoded(t, r))
				if a.Outcome != enroll.Failed || !errors.Is(a.Internal, err) || a.Reply != nil || a.Reason != "" {
					t.Errorf("outcome %s %s, internal %v, reply of %d bytes", a.Outcome, a.Reason, a.Internal, len(a.Reply))
				}
				if enroll.Unavailable(a.Internal) != errors.Is(err, depot.ErrUnavailable) {
					t.Errorf("unavailable: %t", enroll.Unavailable(a.Internal))
				}
				judge.ended(t, tt.grants, 0)
				if h.issued(t) != before {
					t.Error("something was stored")
				}
				outcome := enroll.Issued
				if tt.again {
					outcome = enroll.Repeated
				}
				h.enrolled(t, r, encoded(t, r), outcome)
			})
		}
	}
}

// TestStoredAndNotSaid is a commit that happened although it failed: no reply
// acknowledges it, and the next request gets that certificate.
func TestStoredAndNotSaid(t *testing.T) {
	h := newHouse(t, nil)
	f := &faulty{Depot: h.depot, after: func(depot.Identity, error) error { return depot.ErrUnavailable }}
	h.service = h.over(f)
	r := h.request(t)
	if a := h.ask(encoded(t, r)); a.Outcome != enroll.Failed || !enroll.Unavailable(a.Internal) || a.Reply != nil {
		t.Fatalf("answer %+v", a)
	}
	f.after = nil
	h.enrolled(t, r, encoded(t, r), enroll.Repeated)
	if h.issued(t) != 1 {
		t.Errorf("%d certificates", h.issued(t))
	}
}

// TestSerialTaken issues anew under another certificate serial, and gives up
// at some point.
func TestSerialTaken(t *testing.T) {
	for times, outcome := range map[int64]enroll.Outcome{1: enroll.Issued, 2: enroll.Issued, 3: enroll.Failed} {
		h := newHouse(t, nil)
		f := &faulty{Depot: h.depot, fails: "Commit", err: depot.ErrExists}
		f.times.Store(times)
		judge := &judge{}
		h.service, h.live = h.over(f), h.judged(judge)
		r := h.request(t)
		a := h.ask(encoded(t, r))
		if a.Outcome != outcome {
			t.Errorf("%d times: outcome %s, %v", times, a.Outcome, a.Internal)
		}
		if outcome == enroll.Issued {
			h.certificate(t, r, a, outcome)
			judge.ended(t, int(times)+1, 1)
		} else {
			judge.ended(t, int(times), 0)
		}
	}
}

// stuck is a random source that repeats itself: each read begins with the same
// bytes until it is let go.
type stuck struct{ free atomic.Bool }

func (s *stuck) Read(b []byte) (int, error) {
	if s.free.Load() {
		return rand.Read(b)
	}
	for i := range b {
		b[i] = 0x5a
	}
	return len(b), nil
}

// TestRepeatedRandom has a random source that repeats itself while the clock
// stands still: the depot refuses the certificate serial, no certificate has
// it twice, and all is well when the source is.
func TestRepeatedRandom(t *testing.T) {
	random := &stuck{}
	h := newHouse(t, random)
	first := h.request(t)
	taken := h.enrolled(t, first, encoded(t, first), enroll.Issued)
	r := h.request(t)
	if a := h.ask(encoded(t, r)); a.Outcome != enroll.Failed || a.Reply != nil {
		t.Fatalf("answer %+v", a)
	}
	random.free.Store(true)
	if c := h.enrolled(t, r, encoded(t, r), enroll.Issued); c.SerialNumber.Cmp(taken.SerialNumber) == 0 {
		t.Error("two certificates have one certificate serial")
	}
}

// TestOvertaken lets another request of the same transaction commit just
// before this one: it is judged anew in the light of that.
func TestOvertaken(t *testing.T) {
	for _, tt := range []struct {
		name    string
		other   func(*craft.Request)
		outcome enroll.Outcome
		reason  refusal.Reason
		stored  int
	}{
		{"by the same request", func(*craft.Request) {}, enroll.Repeated, "", 1},
		{"by another CSR", otherCSR, enroll.Issued, "", 2},
		{"by another key", asKeyB, enroll.Refused, refusal.TransactionConflict, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, nil)
			r := h.request(t)
			raw := encoded(t, r)
			tt.other(r)
			otherRaw := encoded(t, r)
			judge := &judge{}
			live := h.judged(judge)
			f := &faulty{Depot: h.depot, before: func() {
				if a := h.ask(otherRaw); a.Outcome != enroll.Issued {
					t.Errorf("the other request: %+v", a)
				}
			}}
			service := h.over(f)
			a := service.Answer(t.Context(), enroll.Request{Configuration: live, Message: raw})
			if a.Outcome != tt.outcome || a.Reason != tt.reason {
				t.Errorf("outcome %s %s %v, want %s %s", a.Outcome, a.Reason, a.Internal, tt.outcome, tt.reason)
			}
			if h.issued(t) != tt.stored {
				t.Errorf("%d certificates, want %d", h.issued(t), tt.stored)
			}
			issued := tt.stored - 1
			judge.ended(t, 1+issued, issued)
		})
	}
}

// TestRetransmittedAtOnce: a message that is answered between two looks of its
// retransmission is no replay. Both get the one certificate.
func TestRetransmittedAtOnce(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		r := h.request(t)
		raw := encoded(t, r)
		var first *x509.Certificate
		service := h.over(&faulty{Depot: h.depot, known: func() { first = h.enrolled(t, r, raw, enroll.Issued) }})
		a := service.Answer(t.Context(), enroll.Request{Configuration: h.live, Message: raw})
		if again := h.certificate(t, r, a, enroll.Repeated); !again.Equal(first) || h.issued(t) != 1 {
			t.Errorf("%d certificates", h.issued(t))
		}
	})
}

// TestChallengeUsedAtOnce: nor is one whose challenge was good for the message
// that it repeats, and is used up when it asks.
func TestChallengeUsedAtOnce(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		r := h.request(t)
		raw, other := encoded(t, r), encoded(t, r)
		var first *x509.Certificate
		judge := &judge{refuses: refusal.New(refusal.ChallengeUsed, "spent"), asked: func() { first = h.enrolled(t, r, raw, enroll.Issued) }}
		a := h.service.Answer(t.Context(), enroll.Request{Configuration: h.judged(judge), Message: other})
		if again := h.certificate(t, r, a, enroll.Repeated); !again.Equal(first) || h.issued(t) != 1 {
			t.Errorf("%d certificates", h.issued(t))
		}
	})
}

// TestChallengeSpent meanwhile is a refusal, and a failed signature or commit
// spends nothing.
func TestChallengeSpent(t *testing.T) {
	h := newHouse(t, nil)
	judge := &judge{spends: depot.ChallengeRef{ID: "ch_1"}}
	h.live = h.judged(judge)
	f := &faulty{Depot: h.depot, fails: "Commit", err: errDisk}
	f.times.Store(1)
	h.service = h.over(f)
	r := h.request(t)
	if a := h.ask(encoded(t, r)); a.Outcome != enroll.Failed {
		t.Errorf("answer %+v", a)
	}
	var spent depot.ChallengeRef
	f.spent = func(c depot.ChallengeRef) { spent = c }
	h.enrolled(t, r, encoded(t, r), enroll.Issued)
	if spent != judge.spends {
		t.Errorf("the commit spent %+v", spent)
	}
	next := h.request(t)
	h.refused(t, next, encoded(t, next), refusal.ChallengeUsed)
	judge.ended(t, 3, 1)
}

// failing is a random source that fails while it is told to.
type failing struct{ on atomic.Bool }

func (f *failing) Read(b []byte) (int, error) {
	if f.on.Load() {
		return 0, errDisk
	}
	return rand.Read(b)
}

// TestCannotIssue ends the grant and stores nothing.
func TestCannotIssue(t *testing.T) {
	random := &failing{}
	h := newHouse(t, random)
	judge := &judge{spends: depot.ChallengeRef{ID: "ch_1"}}
	h.live = h.judged(judge)
	random.on.Store(true)
	r := h.request(t)
	if a := h.ask(encoded(t, r)); a.Outcome != enroll.Failed || !errors.Is(a.Internal, errDisk) || a.Reply != nil {
		t.Errorf("answer %+v", a)
	}
	judge.ended(t, 1, 0)
	random.on.Store(false)
	h.enrolled(t, r, encoded(t, r), enroll.Issued) // the challenge is still good
	judge.ended(t, 2, 1)
}

// TestValidatorFails without a decision.
func TestValidatorFails(t *testing.T) {
	h := newHouse(t, nil)
	judge := &judge{refuses: errDisk}
	h.live = h.judged(judge)
	r := h.request(t)
	if a := h.ask(encoded(t, r)); a.Outcome != enroll.Failed || !errors.Is(a.Internal, errDisk) || h.issued(t) != 0 {
		t.Errorf("answer %+v", a)
	}
}

// TestParallel has 16 clients ask the same at once: with one and the same
// message, and each with a message of its own around the same CSR.
func TestParallel(t *testing.T) {
	const racers = 16
	for _, identical := range []bool{true, false} {
		h := newHouse(t, nil)
		r := h.request(t)
		raws := make([][]byte, racers)
		for i := range raws {
			if raws[i] = raws[0]; !identical || i == 0 {
				raws[i] = encoded(t, r)
			}
		}
		goroutines := runtime.NumGoroutine()
		judge := &judge{}
		h.live = h.judged(judge)
		answers := make([]enroll.Answer, racers)
		var group sync.WaitGroup
		for i, raw := range raws {
			group.Go(func() { answers[i] = h.ask(raw) })
		}
		group.Wait()
		issued := 0
		var first []byte
		for _, a := range answers {
			if a.Outcome == enroll.Issued {
				issued++
			}
			c := h.certificate(t, r, a, a.Outcome)
			if first == nil {
				first = c.Raw
			}
			if !bytes.Equal(first, c.Raw) {
				t.Error("two clients got two certificates")
			}
		}
		if issued != 1 || h.issued(t) != 1 {
			t.Errorf("identical %t: issued %d times, %d certificates stored", identical, issued, h.issued(t))
		}
		judge.ended(t, len(judge.grants), 1)
		settle(t, goroutines)
	}
}

// settle waits until no more goroutines run than before.
func settle(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
