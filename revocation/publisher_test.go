package revocation_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/revocation"
)

func TestCRL(t *testing.T) {
	for _, authority := range []string{"chain", "chain-p256", "single"} {
		t.Run(authority, func(t *testing.T) {
			c := clock.NewManual(today)
			w := newWorld(t, authority, c)
			good, compromised, held, released, unspecified := w.issue(), w.issue(), w.issue(), w.issue(), w.issue()
			at := map[string]time.Time{}
			for _, r := range []struct {
				certificate *x509.Certificate
				reason      depot.RevocationReason
			}{
				{compromised, depot.ReasonKeyCompromise}, {held, depot.ReasonCertificateHold}, {unspecified, depot.ReasonUnspecified},
				{released, depot.ReasonCertificateHold}, {released, depot.ReasonRemoveFromCRL},
			} {
				c.Advance(time.Minute)
				w.revoke(r.certificate, r.reason)
				at[serial(r.certificate)] = c.Now().Truncate(time.Second)
			}
			crl, list := w.crl(w.authority.Issuer())
			want := map[string]int{serial(compromised): 1, serial(held): 6, serial(unspecified): 0}
			for _, e := range list.RevokedCertificateEntries {
				name := ca.FormatSerial(e.SerialNumber)
				code, listed := want[name]
				if !listed || code != e.ReasonCode || !e.RevocationTime.Equal(at[name]) {
					t.Errorf("entry %s, reason %d, of %v", name, e.ReasonCode, e.RevocationTime)
				}
				if (len(e.Extensions) == 0) != (code == 0) {
					t.Errorf("entry of reason %d has extensions %v", code, e.Extensions)
				}
				delete(want, name)
			}
			if len(want) > 0 || lists(list, good) {
				t.Errorf("not on the CRL: %v", want)
			}
			now := c.Now().Truncate(time.Second)
			if !crl.ThisUpdate.Equal(now) || !crl.NextUpdate.Equal(now.Add(24*time.Hour)) || crl.Number != uint64(now.Unix()) {
				t.Errorf("CRL %d from %v to %v at %v", crl.Number, crl.ThisUpdate, crl.NextUpdate, now)
			}
			if !bytes.Equal(list.AuthorityKeyId, w.authority.Issuer().SubjectKeyId) {
				t.Errorf("authority key identifier %x", list.AuthorityKeyId)
			}
		})
	}
}

// A CRL is kept until half of its validity is over or the clock goes back
// behind it, and its number always rises.
func TestCRLKept(t *testing.T) {
	c := clock.NewManual(today)
	w := newWorld(t, "chain-p256", c)
	w.open(revocation.Options{CRLValidity: 10 * time.Hour})
	issuer := w.authority.Issuer()
	last, _ := w.crl(issuer)
	for _, step := range []struct {
		what    string
		advance time.Duration
		same    bool
	}{
		{"asked again", 0, true},
		{"just before half", 5*time.Hour - time.Second, true},
		{"at half", time.Second, false},
		{"asked again", 0, true},
		{"the clock went back a little", -time.Hour, false},
		{"the clock went back far", -240 * time.Hour, false},
		{"long after", 1000 * time.Hour, false},
	} {
		c.Advance(step.advance)
		crl, _ := w.crl(issuer)
		if same := bytes.Equal(crl.DER, last.DER); same != step.same {
			t.Errorf("%s: the same CRL: %t", step.what, same)
		}
		if !step.same && crl.Number <= last.Number {
			t.Errorf("%s: CRL %d after CRL %d", step.what, crl.Number, last.Number)
		}
		last = crl
	}
}

func TestCRLPages(t *testing.T) {
	c := clock.NewManual(today)
	w := newWorld(t, "chain-p256", c)
	const many = 1203
	template := w.issue()
	for n := range many {
		fake := *template
		fake.SerialNumber = big.NewInt(int64(1000 + n))
		fake.Raw = fmt.Appendf(nil, "certificate %d", n)
		w.store(&fake)
		_, err := w.depot.Revoke(t.Context(), depot.Revocation{CertificateSerial: serial(&fake), Reason: depot.ReasonSuperseded, At: today})
		must(t, err)
	}
	if _, list := w.crl(w.authority.Issuer()); len(list.RevokedCertificateEntries) != many {
		t.Errorf("%d entries, want %d", len(list.RevokedCertificateEntries), many)
	}
}

// RFC 5280 §3.3: an entry stays until it was on a CRL from after the expiry of
// its certificate, also over a restart and a pause.
func TestCRLEntryOutlivesCertificate(t *testing.T) {
	c := clock.NewManual(today)
	w := newWorld(t, "chain-p256", c)
	revoked := w.issue()
	w.revoke(revoked, depot.ReasonKeyCompromise)
	wantListed := func(what string, want bool) {
		t.Helper()
		if _, list := w.crl(w.authority.Issuer()); lists(list, revoked) != want {
			t.Errorf("%s, %v after its expiry: listed: %t", what, c.Now().Sub(revoked.NotAfter), !want)
		}
	}
	wantListed("revoked", true)
	c.Set(revoked.NotAfter.Add(-time.Hour))
	wantListed("before its expiry", true)
	c.Set(revoked.NotAfter.Add(90 * 24 * time.Hour))
	wantListed("after a pause", true)
	w.open(revocation.Options{})
	wantListed("after a restart", false)
	w.revoke(w.issue(), depot.ReasonKeyCompromise)
	wantListed("after another", false)
	c.Set(revoked.NotAfter.Add(time.Hour))
	wantListed("after the clock went back", true)
	c.Advance(13 * time.Hour)
	wantListed("scheduled", true)
}

// Those who ask while a CRL is made wait for that one; who revoked something
// meanwhile gets one that has it.
func TestCRLMadeOnce(t *testing.T) {
	c := clock.NewManual(today)
	w := newWorld(t, "chain-p256", c)
	issuer, revoked := w.authority.Issuer(), w.issue()
	gate, began := make(chan struct{}), make(chan struct{}, 10)
	w.depot.set(func(f *faulty) { f.waits, f.began = gate, began })

	numbers := make(chan uint64, 8)
	var group sync.WaitGroup
	for range cap(numbers) {
		group.Go(func() {
			crl, err := w.publisher.CRL(t.Context(), issuer)
			if err != nil {
				t.Error(err)
			}
			numbers <- crl.Number
		})
	}
	<-began // the depot was read before the revocation
	w.revoke(revoked, depot.ReasonKeyCompromise)
	late := make(chan bool)
	go func() {
		crl, err := w.publisher.CRL(context.Background(), issuer)
		list, err2 := x509.ParseRevocationList(crl.DER)
		late <- err == nil && err2 == nil && lists(list, revoked)
	}()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.publisher.CRL(ended, issuer); !errors.Is(err, context.Canceled) {
		t.Errorf("who does not want to wait gets %v", err)
	}
	close(gate)
	group.Wait()
	if !<-late {
		t.Error("a CRL from before a revocation was given to somebody who asked after it")
	}
	w.depot.set(func(f *faulty) {
		if f.reads > 2 {
			t.Errorf("the depot was read %d times, want 2", f.reads)
		}
	})
	close(numbers)
	for n := range numbers {
		if n == 0 {
			t.Error("an answer without a CRL")
		}
	}
}

// Who asked first may go away; the CRL is made for those who wait.
func TestCRLMadeForAll(t *testing.T) {
	w := newWorld(t, "chain-p256", clock.NewManual(today))
	issuer := w.authority.Issuer()
	gate, began := make(chan struct{}), make(chan struct{}, 1)
	w.depot.set(func(f *faulty) { f.waits, f.began = gate, began })
	first, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := w.publisher.CRL(first, issuer)
		gone <- err
	}()
	<-began
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("who went away gets %v", err)
	}
	close(gate)
	w.crl(issuer)
	w.depot.set(func(f *faulty) {
		if f.reads != 1 {
			t.Errorf("the depot was read %d times, want 1", f.reads)
		}
	})
}

// When no CRL can be made the last one is given out as long as it is valid.
// Many who ask do not make the depot work more than once a second.
func TestCRLFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewManual(today)
		w := newWorld(t, "chain-p256", c)
		issuer, revoked := w.authority.Issuer(), w.issue()
		broken := func(err error) { w.depot.set(func(f *faulty) { f.fails = err }) }
		broken(errBroken)
		for range 5 {
			if _, err := w.publisher.CRL(t.Context(), issuer); !errors.Is(err, errBroken) {
				t.Errorf("without a CRL from before: %v", err)
			}
		}
		if n := w.log.lines("level=ERROR", "CRL not renewed", "broken for the test"); n != 1 {
			t.Errorf("%d errors are logged, want 1", n)
		}
		broken(nil)
		time.Sleep(time.Second)
		first, _ := w.crl(issuer)

		w.revoke(revoked, depot.ReasonKeyCompromise)
		broken(errBroken)
		for _, advance := range []time.Duration{0, 12 * time.Hour, 12*time.Hour - time.Second} {
			c.Advance(advance)
			time.Sleep(time.Second)
			if crl, _ := w.crl(issuer); crl.Number != first.Number {
				t.Errorf("CRL %d, want the last one", crl.Number)
			}
		}
		if n := w.log.lines("level=ERROR", "CRL not renewed", fmt.Sprint("last_number=", first.Number)); n != 3 {
			t.Errorf("%d errors are logged, want 3", n)
		}
		c.Advance(time.Second)
		time.Sleep(time.Second)
		if _, err := w.publisher.CRL(t.Context(), issuer); !errors.Is(err, errBroken) {
			t.Errorf("after nextUpdate: %v", err)
		}
		broken(nil)
		time.Sleep(time.Second)
		if crl, list := w.crl(issuer); crl.Number <= first.Number || !lists(list, revoked) {
			t.Errorf("CRL %d after the depot is well again", crl.Number)
		}
	})
}

func TestCRLOfOthers(t *testing.T) {
	c := clock.NewManual(today)
	w, other := newWorld(t, "chain-p256", c), newWorld(t, "chain", c)
	for _, issuer := range []*x509.Certificate{nil, other.authority.Issuer(), w.authority.Root()} {
		if _, err := w.publisher.CRL(t.Context(), issuer); !errors.Is(err, ca.ErrNotOurs) {
			t.Errorf("got %v", err)
		}
	}
	issuer := w.authority.Issuer()
	c.Set(issuer.NotAfter.Add(-time.Hour))
	if crl, _ := w.crl(issuer); !crl.NextUpdate.Equal(issuer.NotAfter) {
		t.Errorf("valid until %v, longer than its issuer", crl.NextUpdate)
	}
	for _, step := range []time.Duration{59*time.Minute + 59*time.Second, time.Second, time.Second} {
		c.Advance(step)
		if _, err := w.publisher.CRL(t.Context(), issuer); c.Now().Before(issuer.NotAfter) {
			must(t, err)
		} else if !errors.Is(err, revocation.ErrIssuerEnded) {
			t.Errorf("got %v", err)
		}
	}
}

// Every generation has its own CRL and its own numbers.
func TestCRLAfterRollover(t *testing.T) {
	for _, authority := range []string{"chain-p256", "single"} {
		t.Run(authority, func(t *testing.T) {
			c := clock.NewManual(today)
			w := newWorld(t, authority, c)
			old, before := w.authority.Issuer(), w.issue()
			first, _ := w.crl(old)
			c.Advance(time.Hour)
			w.rollover()
			after := w.issue()
			w.revoke(before, depot.ReasonSuperseded)
			_, oldList := w.crl(old)
			next, newList := w.crl(w.authority.Issuer())
			if !lists(oldList, before) || lists(oldList, after) || len(newList.RevokedCertificateEntries) != 0 {
				t.Error("a certificate is not on the CRL of its own issuer alone")
			}
			w.revoke(after, depot.ReasonSuperseded)
			if _, list := w.crl(w.authority.Issuer()); !lists(list, after) || lists(list, before) {
				t.Error("a certificate is not on the CRL of its own issuer alone")
			}
			if next.Number <= first.Number {
				t.Errorf("CRL %d of the next issuer, %d before", next.Number, first.Number)
			}
			c.Set(today.AddDate(10, 0, 0))
			if crl, list := w.crl(old); !crl.ThisUpdate.After(today) || lists(list, after) {
				t.Error("the old issuer does not sign any more")
			}
		})
	}
}

// Run renews CRLs that nobody asks for, of every generation.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.NewManual(today)
		w := newWorld(t, "chain-p256", c)
		w.rollover()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { w.publisher.Run(ctx); close(done) }()
		wait := func(want int) {
			t.Helper()
			time.Sleep(time.Minute)
			synctest.Wait()
			w.depot.set(func(f *faulty) {
				if f.reads != want {
					t.Errorf("%d CRLs were made, want %d", f.reads, want)
				}
			})
		}
		wait(2)
		wait(2)
		made := func(what string, want int) {
			t.Helper()
			synctest.Wait()
			w.depot.set(func(f *faulty) {
				if f.reads != want {
					t.Errorf("%s: %d CRLs were made, want %d", what, f.reads, want)
				}
			})
		}
		c.Advance(12 * time.Hour)
		made("moved, at once", 4)
		c.Advance(-24 * 365 * time.Hour / 2)
		made("moved back, at once", 6)
		w.depot.set(func(f *faulty) { f.fails = errBroken })
		c.Advance(12 * time.Hour)
		made("moved, and broken", 8)
		if n := w.log.lines("level=ERROR", "CRL not renewed"); n != 2 {
			t.Errorf("%d errors are logged, want 2", n)
		}
		cancel()
		<-done
	})
}

// Who waits for a CRL while the clock is moved gets one of the new time: none
// from the future, none that is over, none of an issuer that has ended.
func TestCRLWhileClockMoves(t *testing.T) {
	for what, move := range map[string]time.Duration{
		"back": -time.Hour, "forwards": 48 * time.Hour, "beyond the issuer": 40 * 365 * 24 * time.Hour,
	} {
		t.Run(what, func(t *testing.T) {
			c := clock.NewManual(today)
			w := newWorld(t, "chain-p256", c)
			issuer := w.authority.Issuer()
			gate, began := make(chan struct{}), make(chan struct{}, 1)
			w.depot.set(func(f *faulty) { f.waits, f.began = gate, began })
			type answer struct {
				crl revocation.CRL
				err error
			}
			answers := make(chan answer)
			go func() {
				crl, err := w.publisher.CRL(context.Background(), issuer)
				answers <- answer{crl, err}
			}()
			<-began
			w.depot.set(func(f *faulty) { f.waits = nil })
			c.Advance(move)
			close(gate)
			a := <-answers
			now := c.Now()
			if now.After(issuer.NotAfter) {
				if !errors.Is(a.err, revocation.ErrIssuerEnded) {
					t.Errorf("a CRL from %v to %v, %v", a.crl.ThisUpdate, a.crl.NextUpdate, a.err)
				}
				return
			}
			if a.err != nil || now.Before(a.crl.ThisUpdate) || !now.Before(a.crl.NextUpdate) {
				t.Errorf("at %v a CRL from %v to %v, %v", now, a.crl.ThisUpdate, a.crl.NextUpdate, a.err)
			}
		})
	}
}

// A CRL from the future is not given out either when there can be no other.
func TestCRLFromTheFuture(t *testing.T) {
	c := clock.NewManual(today)
	w := newWorld(t, "chain-p256", c)
	issuer := w.authority.Issuer()
	crl, _ := w.crl(issuer)
	w.depot.set(func(f *faulty) { f.fails = errBroken })
	c.Advance(-time.Hour)
	if got, err := w.publisher.CRL(t.Context(), issuer); !errors.Is(err, errBroken) {
		t.Errorf("at %v the CRL of %v, %v", c.Now(), got.ThisUpdate, err)
	}
	c.Advance(time.Hour)
	if got, _ := w.crl(issuer); got.Number != crl.Number {
		t.Errorf("in its time CRL %d, want %d", got.Number, crl.Number)
	}
}
