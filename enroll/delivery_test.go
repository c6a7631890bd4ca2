package enroll_test

import (
	"context"
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/challenge"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/enroll"
	"understudy.example/understudy/refusal"
	"understudy.example/understudy/scep/client"
)

// A keeper is a Validator whose certificates are held back until it was told
// of them: Intune without Microsoft.
type keeper struct {
	told func(ctx context.Context) error // what comes of telling it; nil: it agrees

	validated, notified, failed, resumed atomic.Int64

	mu  sync.Mutex
	csr []byte // of the last Resume
}

var errDoubt = errors.Join(refusal.New(refusal.ChallengeRefused, "it did not answer"), challenge.ErrInDoubt)

var errNo = refusal.WithText(refusal.ChallengeRefused, "ChallengeExpired", "it said no")

func (k *keeper) Validate(context.Context, challenge.Attempt) (challenge.Grant, error) {
	k.validated.Add(1)
	return &kept{k}, nil
}

func (k *keeper) Resume(_ string, csr []byte) challenge.Grant {
	k.resumed.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.csr = csr
	return &kept{k}
}

type kept struct{ keeper *keeper }

func (*kept) Spends() depot.ChallengeRef { return depot.ChallengeRef{} }
func (*kept) HoldsBack() bool            { return true }

func (g *kept) Issued(ctx context.Context, _ *x509.Certificate) error {
	g.keeper.notified.Add(1)
	if g.keeper.told == nil {
		return nil
	}
	return g.keeper.told(ctx)
}

func (g *kept) Failed(context.Context, error) error {
	g.keeper.failed.Add(1)
	return nil
}

// counts asserts how often the keeper was asked, told of success and told of
// failure.
func (k *keeper) counts(t *testing.T, validated, notified, failed int64) {
	t.Helper()
	if v, n, f := k.validated.Load(), k.notified.Load(), k.failed.Load(); v != validated || n != notified || f != failed {
		t.Errorf("asked %d times, told of success %d times and of failure %d times; want %d, %d and %d", v, n, f, validated, notified, failed)
	}
}

// holdBack has a keeper judge the first configuration.
func (h *house) holdBack(k *keeper) {
	live := *h.live
	live.Validator = k
	h.live = &live
	h.service = h.overKept(h.depot)
}

// overKept is the service that a process makes when it starts.
func (h *house) overKept(d depot.Depot) *enroll.Service {
	return h.over(d, enroll.WithConfigurations(func(id string) (*configuration.Live, bool) {
		return h.live, id == h.live.Record.ID
	}))
}

// dies sends a request whose process dies before it could write down what
// became of the certificate, and returns the certificate's serial.
func (h *house) dies(t *testing.T, raw []byte) string {
	t.Helper()
	f := &faulty{Depot: h.depot, fails: "end of a delivery", err: errDisk}
	f.times.Store(1 << 20)
	living := h.service
	h.service = h.overKept(f)
	a := h.ask(raw)
	h.service = living
	if a.Outcome == enroll.Issued || a.Outcome == enroll.Repeated {
		t.Fatalf("the request was answered: %+v", a)
	}
	held, err := h.depot.Undelivered(t.Context())
	if err != nil || len(held) != 1 || !held[0].Identity.HeldBack {
		t.Fatalf("held back: %d, %v", len(held), err)
	}
	return held[0].Identity.CertificateSerial
}

// end asserts what became of a certificate that was held back.
func (h *house) end(t *testing.T, serial string, heldBack, void bool) depot.Identity {
	t.Helper()
	i, err := h.depot.Identity(t.Context(), serial)
	if err != nil {
		t.Fatal(err)
	}
	if i.HeldBack != heldBack || i.Void != void || void != (i.RevokedBy == depot.UndeliveredBy) || void == i.RevokedAt.IsZero() {
		t.Errorf("certificate %s: held back %t, void %t, revoked %v by %q; want held back %t, void %t",
			serial, i.HeldBack, i.Void, i.RevokedAt, i.RevokedBy, heldBack, void)
	}
	page, err := h.depot.Revoked(t.Context(), depot.RevokedQuery{IssuerSHA256: i.IssuerSHA256, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	if listed := len(page.Items) == 1; listed != void {
		t.Errorf("%d certificates are listed as revoked", len(page.Items))
	}
	return i
}

// TestDelivery hands out a certificate after somebody else was told of it, and
// hands it out again without asking anybody.
func TestDelivery(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		k := &keeper{}
		h.holdBack(k)
		k.told = func(context.Context) error {
			if held, err := h.depot.Undelivered(t.Context()); err != nil || len(held) != 1 {
				t.Errorf("while it is told, %d certificates are stored and held back, %v", len(held), err)
			}
			return nil
		}
		r := h.request(t)
		raw := encoded(t, r)
		c := h.enrolled(t, r, raw, enroll.Issued)
		h.end(t, hexSerial(c), false, false)
		if again := h.enrolled(t, r, raw, enroll.Repeated); !again.Equal(c) {
			t.Error("the same request got another certificate")
		}
		k.counts(t, 1, 1, 0)
	})
}

// TestDeliveryRefused burns a certificate that was not agreed to, whether by a
// no or by silence: the device sees a FAILURE and never gets it.
func TestDeliveryRefused(t *testing.T) {
	for name, answer := range map[string]error{"no": errNo, "doubt": errDoubt} {
		t.Run(name, func(t *testing.T) {
			inEach(t, func(t *testing.T, h *house) {
				var revoked atomic.Int64
				k := &keeper{told: func(context.Context) error { return answer }}
				h.holdBack(k)
				h.service = h.over(h.depot, enroll.WithConfigurations(h.set.ByID), enroll.WithRevoked(func([32]byte) { revoked.Add(1) }))
				r := h.request(t)
				raw := encoded(t, r)
				a := h.ask(raw)
				if a.Outcome != enroll.Refused || a.Reason != refusal.ChallengeRefused || a.Internal != nil {
					t.Fatalf("answer %+v", a)
				}
				if reply := h.read(t, r, a); reply.Status != client.Failure || reply.Certificate != nil {
					t.Errorf("status %s", reply.Status)
				}
				h.end(t, a.CertificateSerial, false, true)
				if revoked.Load() != 1 {
					t.Errorf("told of %d certificates that became void", revoked.Load())
				}
				k.counts(t, 1, 1, 0) // a failure of the call itself is not reported
				if a := h.ask(raw); a.Outcome != enroll.Refused || a.Reason != refusal.Replayed {
					t.Errorf("the same message again: %+v", a)
				}
				k.told = nil
				r = h.request(t)
				h.enrolled(t, r, encoded(t, r), enroll.Issued)
			})
		})
	}
}

// TestDeliveryWithoutStore keeps a certificate back when it cannot be written
// down that it may go, and hands it out when the store is well.
func TestDeliveryWithoutStore(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		k := &keeper{}
		h.holdBack(k)
		r := h.request(t)
		raw := encoded(t, r)
		f := &faulty{Depot: h.depot, fails: "end of a delivery", err: errDisk}
		f.times.Store(3)
		h.service = h.overKept(f)
		a := h.ask(raw)
		if a.Outcome != enroll.Failed || a.Reply != nil || !errors.Is(a.Internal, errDisk) {
			t.Fatalf("answer %+v", a)
		}
		h.end(t, a.CertificateSerial, true, false)
		if b := h.ask(raw); b.Outcome != enroll.Refused || b.Reason != refusal.Busy {
			t.Errorf("while the store is ill: %+v", b)
		}
		h.end(t, a.CertificateSerial, true, false)
		if err := h.service.ResumeDeliveries(t.Context()); !errors.Is(err, errDisk) {
			t.Errorf("resuming: %v", err)
		}
		c := h.enrolled(t, r, raw, enroll.Repeated)
		if hexSerial(c) != a.CertificateSerial {
			t.Error("another certificate")
		}
		h.end(t, a.CertificateSerial, false, false)
		k.counts(t, 1, 4, 0)
	})
}

// TestDeliveryAtOnce lets requests of one transaction arrive while the first
// is under way: they wait, and get what it gets.
func TestDeliveryAtOnce(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		const others = 4
		arrived, goOn := make(chan struct{}), make(chan struct{})
		k := &keeper{told: func(context.Context) error {
			close(arrived)
			<-goOn
			return nil
		}}
		h.holdBack(k)
		r := h.request(t)
		raw := encoded(t, r)
		answers := make(chan enroll.Answer, others+1)
		go func() { answers <- h.ask(raw) }()
		<-arrived
		for range others {
			go func() { answers <- h.ask(raw) }()
		}
		hurried, cancel := context.WithCancel(t.Context())
		cancel()
		a := h.service.Answer(hurried, enroll.Request{Configuration: h.live, Message: raw})
		if a.Outcome != enroll.Refused || a.Reason != refusal.Busy {
			t.Errorf("one that does not wait: %+v", a)
		}
		close(goOn)
		issued := 0
		for range others + 1 {
			a := <-answers
			h.certificate(t, r, a, a.Outcome)
			if a.Outcome == enroll.Issued {
				issued++
			}
		}
		if issued != 1 || h.issued(t) != 1 {
			t.Errorf("issued %d times, %d certificates", issued, h.issued(t))
		}
		k.counts(t, 1, 1, 0)
	})
}

// TestDeliveryOfWhoHangsUp goes on when the client does not wait for it.
func TestDeliveryOfWhoHangsUp(t *testing.T) {
	h := furnishMemory(t)
	ctx, hangUp := context.WithCancel(t.Context())
	k := &keeper{told: func(ctx context.Context) error {
		hangUp()
		return ctx.Err()
	}}
	h.holdBack(k)
	r := h.request(t)
	h.certificate(t, r, h.service.Answer(ctx, enroll.Request{Configuration: h.live, Message: encoded(t, r)}), enroll.Issued)
}

// TestDeliveriesResumed starts a process on the store of one that died while it
// held a certificate back.
func TestDeliveriesResumed(t *testing.T) {
	for _, tt := range []struct {
		name     string
		change   func(t *testing.T, h *house, k *keeper)
		doubt    bool
		void     bool
		notified int64
	}{
		{"agreed", func(*testing.T, *house, *keeper) {}, false, false, 2},
		{"refused", func(_ *testing.T, _ *house, k *keeper) { k.told = func(context.Context) error { return errNo } }, false, true, 2},
		{"in doubt", func(_ *testing.T, _ *house, k *keeper) { k.told = func(context.Context) error { return errDoubt } }, true, false, 2},
		{"within the hour", func(_ *testing.T, h *house, _ *keeper) { h.clock.Advance(time.Hour) }, false, false, 2},
		{"after an hour", func(_ *testing.T, h *house, _ *keeper) { h.clock.Advance(time.Hour + time.Second) }, false, true, 1},
		{"another mode", func(_ *testing.T, h *house, _ *keeper) {
			live := *h.live
			live.Validator = &judge{}
			h.live = &live
		}, false, true, 1},
		{"configuration gone", func(_ *testing.T, h *house, _ *keeper) { h.live = h.other }, false, true, 1},
		{"request lost", func(_ *testing.T, h *house, _ *keeper) { h.depot = &forgetful{h.depot} }, false, true, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inEach(t, func(t *testing.T, h *house) {
				k := &keeper{}
				h.holdBack(k)
				r := h.request(t)
				serial := h.dies(t, encoded(t, r))
				tt.change(t, h, k)
				h.service = h.overKept(h.depot) // the next process
				err := h.service.ResumeDeliveries(t.Context())
				if (err != nil) != tt.doubt || tt.doubt && (!errors.Is(err, challenge.ErrInDoubt) || !strings.Contains(err.Error(), serial)) {
					t.Errorf("resuming: %v", err)
				}
				h.end(t, serial, tt.doubt, tt.void)
				k.counts(t, 1, tt.notified, 0)
				if k.resumed.Load() > 0 && !strings.Contains(string(k.csr), secretKey) {
					t.Error("the request was resumed without its challenge")
				}
				if tt.doubt {
					h.clock.Advance(2 * time.Hour)
					if err := h.service.ResumeDeliveries(t.Context()); err != nil {
						t.Errorf("resuming much later: %v", err)
					}
					h.end(t, serial, false, true)
				}
				before := k.notified.Load()
				if err := h.service.ResumeDeliveries(t.Context()); err != nil || k.notified.Load() != before {
					t.Errorf("resuming once more: %v, told %d times", err, k.notified.Load()-before)
				}
			})
		})
	}
}

// forgetful is a depot that was rebuilt: the requests are lost.
type forgetful struct{ depot.Depot }

func (f *forgetful) Undelivered(ctx context.Context) ([]depot.Undelivered, error) {
	all, err := f.Depot.Undelivered(ctx)
	for i := range all {
		all[i].CSR = nil
	}
	return all, err
}

// TestDeviceAsksAfterDeath has the device repeat its request: it gets the
// certificate that the dead process made when that is agreed to now, another
// answer when not, and never two certificates.
func TestDeviceAsksAfterDeath(t *testing.T) {
	for _, tt := range []struct {
		name   string
		told   error
		reason refusal.Reason
	}{
		{"agreed", nil, ""},
		{"refused", errNo, refusal.Replayed},
		{"in doubt", errDoubt, refusal.Busy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inEach(t, func(t *testing.T, h *house) {
				k := &keeper{}
				h.holdBack(k)
				r := h.request(t)
				raw := encoded(t, r)
				serial := h.dies(t, raw)
				k.told = func(context.Context) error { return tt.told }
				if tt.reason == "" {
					if c := h.enrolled(t, r, raw, enroll.Repeated); hexSerial(c) != serial {
						t.Error("another certificate")
					}
				} else {
					h.refused(t, r, raw, tt.reason)
				}
				h.end(t, serial, tt.reason == refusal.Busy, tt.reason == refusal.Replayed)
				k.counts(t, 1, 2, 0)
			})
		})
	}
}

// TestHeldBackIsNotThere: neither a query, nor a poll, nor a renewal sees a
// certificate that may not be handed out.
func TestHeldBackIsNotThere(t *testing.T) {
	inEach(t, func(t *testing.T, h *house) {
		h.live = h.configure(t, "asked", func(s *configuration.Settings) {
			s.Queries, s.Renewal = configuration.QueriesAnyone, true
		})
		k := &keeper{told: func(context.Context) error { return errDoubt }}
		h.holdBack(k)
		r := h.request(t)
		serial := h.dies(t, encoded(t, r))
		number, _ := new(big.Int).SetString(serial, 16)
		i, err := h.depot.Identity(t.Context(), serial)
		if err != nil {
			t.Fatal(err)
		}
		q := query(h.request(t), getCert, h.authority.Issuer().RawSubject, number)
		h.refused(t, q, encoded(t, q), refusal.NotFound)
		certificate, err := x509.ParseCertificate(i.DER)
		if err != nil {
			t.Fatal(err)
		}
		renewal := h.renewal(t, certificate)
		h.refused(t, renewal, encoded(t, renewal), refusal.SignerNotTrusted)
		h.end(t, serial, true, false)
	})
}
