package ca_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
)

// dueAt is when a third of the life of the RAs in testdata is left.
var dueAt = func() time.Time {
	from := born.Add(-time.Hour)
	to := from.AddDate(2, 0, 0)
	return to.Add(-to.Sub(from) / 3)
}()

// rotate has the RA of a copy of testdata's chain replaced when it is due.
func rotate(t *testing.T) (a *ca.Authority, c *clock.Manual, dir string) {
	t.Helper()
	c, dir = clock.NewManual(dueAt), fixture(t, "chain")
	a, err := ca.Open(dir, ca.Options{Clock: c})
	must(t, err)
	rotated, err := a.RotateRA()
	must(t, err)
	if !rotated {
		t.Fatal("the RA is not replaced when it is due")
	}
	return a, c, dir
}

func reopen(t *testing.T, dir string, c clock.Clock) *ca.Authority {
	t.Helper()
	a, err := ca.Open(dir, ca.Options{Clock: c})
	must(t, err)
	return a
}

// serials names the recipients of an authority, in their order.
func serials(a *ca.Authority) string {
	var all []string
	for _, r := range a.Recipients() {
		all = append(all, ca.FormatSerial(r.Certificate.SerialNumber))
	}
	return strings.Join(all, " ")
}

// raFiles counts the files of RAs.
func raFiles(t *testing.T, dir string) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "ra-*"))
	must(t, err)
	return len(found)
}

func TestRotateWaitsForTheLastThird(t *testing.T) {
	for _, now := range []time.Time{born, today, dueAt.Add(-time.Second)} {
		a, _ := opened(t, "chain", now)
		before := serials(a)
		if rotated, err := a.RotateRA(); rotated || err != nil || serials(a) != before {
			t.Errorf("at %s: %t, %v", now, rotated, err)
		}
	}
	single, _ := opened(t, "single", born.AddDate(19, 0, 0))
	if rotated, err := single.RotateRA(); rotated || err != nil {
		t.Errorf("single: %t, %v", rotated, err)
	}
	if len(single.Recipients()) != 1 {
		t.Errorf("single: %d recipients", len(single.Recipients()))
	}
}

func TestRotateRA(t *testing.T) {
	before, _ := opened(t, "chain", dueAt)
	old, oldKey := before.RA()
	a, c, dir := rotate(t)
	ra, key := a.RA()
	if ra.Equal(old) || oldKey.Public().(*rsa.PublicKey).Equal(key.Public()) || string(ra.RawSubject) != string(old.RawSubject) {
		t.Error("the new RA has the old one's key, or another name")
	}
	must(t, ra.CheckSignatureFrom(a.Issuer()))
	if ra.KeyUsage != old.KeyUsage || !ra.NotAfter.Equal(ra.NotBefore.AddDate(2, 0, 0)) {
		t.Errorf("the new RA: usage %b, ends on %s", ra.KeyUsage, ra.NotAfter)
	}
	if !a.Chain(false)[0].Equal(ra) || a.ID() != before.ID() {
		t.Error("the chain does not begin with the new RA, or the authority has another id")
	}

	both := serials(a)
	if both != ca.FormatSerial(ra.SerialNumber)+" "+ca.FormatSerial(old.SerialNumber) {
		t.Errorf("recipients %s", both)
	}
	sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, old.PublicKey.(*rsa.PublicKey), []byte("a content key"), nil)
	must(t, err)
	for _, a := range []*ca.Authority{a, reopen(t, dir, c)} {
		if serials(a) != both {
			t.Errorf("recipients %s, want %s", serials(a), both)
		}
		if content, err := a.Recipients()[1].Key.Decrypt(rand.Reader, sealed, &rsa.OAEPOptions{Hash: crypto.SHA256}); err != nil || string(content) != "a content key" {
			t.Errorf("the old RA opens %q, %v", content, err)
		}
	}
	if rotated, err := a.RotateRA(); rotated || err != nil {
		t.Errorf("replaced again at once: %t, %v", rotated, err)
	}
}

// The old RA opens envelopes for exactly a day; then its key goes.
func TestRetiredRA(t *testing.T) {
	a, c, dir := rotate(t)
	both := serials(a)
	current, _, _ := strings.Cut(both, " ")
	c.Set(dueAt.Add(24*time.Hour - time.Second))
	if _, err := a.RotateRA(); err != nil || serials(a) != both || raFiles(t, dir) != 4 {
		t.Errorf("within the day: %s, %v, %d files", serials(a), err, raFiles(t, dir))
	}
	c.Set(dueAt.Add(24 * time.Hour))
	late := reopen(t, dir, c)
	for _, a := range []*ca.Authority{a, late} {
		if serials(a) != current {
			t.Errorf("after the day: recipients %s", serials(a))
		}
	}
	_, err := late.RotateRA()
	must(t, err)
	if raFiles(t, dir) != 2 {
		t.Errorf("%d files of RAs are left", raFiles(t, dir))
	}
	c.Set(dueAt) // a lab's clock goes back
	if a := reopen(t, dir, c); serials(a) != current {
		t.Errorf("after the clock went back: recipients %s", serials(a))
	}
}

// After a long pause the RA has expired. The authority opens and replaces it.
func TestExpiredRA(t *testing.T) {
	a, c := opened(t, "chain", born.AddDate(3, 0, 0))
	rotated, err := a.RotateRA()
	must(t, err)
	ra, _ := a.RA()
	if !rotated || c.Now().After(ra.NotAfter) || c.Now().Before(ra.NotBefore) {
		t.Errorf("rotated %t, RA from %s to %s", rotated, ra.NotBefore, ra.NotAfter)
	}
}

// A lab moves the time on and back, again and again. The RA is always one of
// the time that it is, the one before opens envelopes, and RAs do not gather.
func TestRAWhenTimeGoesBack(t *testing.T) {
	c, dir := clock.NewManual(today), fixture(t, "chain")
	a := reopen(t, dir, c)
	third := 2 * 365 * 24 * time.Hour / 3
	for range 4 {
		for _, now := range []time.Time{dueAt, today.AddDate(3, 0, 0), today, dueAt, today} {
			before, _ := a.RA()
			c.Set(now)
			_, err := a.RotateRA()
			must(t, err)
			ra, _ := a.RA()
			if now.Before(ra.NotBefore) || now.Add(third).After(ra.NotAfter) {
				t.Errorf("at %s: RA from %s to %s", now, ra.NotBefore, ra.NotAfter)
			}
			if !strings.Contains(serials(a), ca.FormatSerial(before.SerialNumber)) {
				t.Errorf("at %s: the RA before opens nothing any more", now)
			}
			if again := reopen(t, dir, c); serials(again) != serials(a) {
				t.Errorf("at %s: after a restart %s, before it %s", now, serials(again), serials(a))
			}
			if again, err := a.RotateRA(); again || err != nil {
				t.Errorf("at %s: rotated again: %t, %v", now, again, err)
			}
		}
	}
	if raFiles(t, dir) > 8 {
		t.Errorf("there are %d files of RAs", raFiles(t, dir))
	}
}

// A lab's clock may stand where the authority is not valid. It opens if it is
// asked to, makes no RA and issues nothing, and is well again when the clock is.
func TestAnyTime(t *testing.T) {
	for _, shape := range []string{"chain", "single"} {
		for _, now := range []time.Time{born.AddDate(-10, 0, 0), born.AddDate(30, 0, 0)} {
			c, dir := clock.NewManual(now), fixture(t, shape)
			if _, err := ca.Open(dir, ca.Options{Clock: c}); err == nil {
				t.Errorf("%s opens at %s without being asked to", shape, now)
			}
			a, err := ca.Open(dir, ca.Options{Clock: c, AnyTime: true})
			must(t, err)
			before := serials(a)
			if rotated, err := a.RotateRA(); rotated || err != nil || serials(a) != before {
				t.Errorf("%s at %s: rotated %t, %v", shape, now, rotated, err)
			}
			csr := request(t, commonName(t, "C02XK1ZZJG5H"))
			if issued, err := issueAt(t, a, deviceAccess(), csr, now); err == nil {
				t.Errorf("%s at %s issued from %s to %s", shape, now, issued.NotBefore, issued.NotAfter)
			}
			c.Set(today)
			if _, err := issueAt(t, a, deviceAccess(), csr, today); err != nil {
				t.Errorf("%s after it: %v", shape, err)
			}
		}
	}
}

// An RA ends with its issuer, and is not replaced for nothing.
func TestRAAtTheEndOfTheIssuer(t *testing.T) {
	now := born.AddDate(19, 6, 0)
	a, c := opened(t, "chain", now)
	rotated, err := a.RotateRA()
	must(t, err)
	ra, _ := a.RA()
	if !rotated || !ra.NotAfter.Equal(a.Issuer().NotAfter) {
		t.Errorf("rotated %t, RA ends on %s, the issuer on %s", rotated, ra.NotAfter, a.Issuer().NotAfter)
	}
	c.Set(a.Issuer().NotAfter.Add(-time.Hour))
	if rotated, err := a.RotateRA(); rotated || err != nil {
		t.Errorf("in the last hour: %t, %v", rotated, err)
	}
}

// A crash before authority.json names the new RA leaves the old one in force,
// and the next rotation cleans up.
func TestCrashWhileRotating(t *testing.T) {
	_, c, dir := rotate(t)
	names, err := os.ReadFile("testdata/chain/authority.json")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "authority.json"), names, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "authority.json.new"), []byte(`{"form`), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "ra-00ff.key.pem"), []byte("half"), 0o600))

	a := reopen(t, dir, c)
	before, _ := opened(t, "chain", today)
	if serials(a) != serials(before) {
		t.Errorf("recipients %s, want the old RA", serials(a))
	}
	rotated, err := a.RotateRA()
	must(t, err)
	if !rotated || raFiles(t, dir) != 4 || serials(reopen(t, dir, c)) != serials(a) {
		t.Errorf("rotated %t, %d files of RAs", rotated, raFiles(t, dir))
	}
}

// When the new RA cannot be made durable nobody is told of it.
func TestRotationThatFails(t *testing.T) {
	dir := fixture(t, "chain")
	a := reopen(t, dir, clock.NewManual(dueAt))
	before := serials(a)
	must(t, os.MkdirAll(filepath.Join(dir, "authority.json.new", "in the way"), 0o700))
	if rotated, err := a.RotateRA(); rotated || err == nil {
		t.Errorf("rotated %t, %v", rotated, err)
	}
	if serials(a) != before {
		t.Errorf("recipients %s, want %s", serials(a), before)
	}
}

// Requests go on while the RA is replaced, and two callers replace it once.
func TestRotateWhileInUse(t *testing.T) {
	a, _ := opened(t, "chain", dueAt)
	var group sync.WaitGroup
	done := make(chan struct{})
	group.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			ra, key := a.RA()
			if !key.Public().(*rsa.PublicKey).Equal(ra.PublicKey) {
				t.Error("certificate and key of different RAs")
				return
			}
		}
	})
	var times [2]bool
	var callers sync.WaitGroup
	for i := range times {
		callers.Go(func() {
			var err error
			if times[i], err = a.RotateRA(); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	close(done)
	group.Wait()
	if times[0] == times[1] || len(a.Recipients()) != 2 {
		t.Errorf("rotated %v, %d recipients", times, len(a.Recipients()))
	}
}
