package bolt_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

// rebuilt makes a closed store anew from its ledger and opens it.
func rebuilt(t *testing.T, dir string) *bolt.Depot {
	t.Helper()
	must(t, os.Remove(filepath.Join(dir, "store.db")))
	_, err := bolt.Rebuild(t.Context(), dir, bolt.RebuildOptions{})
	must(t, err)
	d := open(t, dir)
	sound(t, d)
	return d
}

// What was given out is good after a rebuild, what was spent or withdrawn is
// not, and what was forgotten comes back expired and does no harm: its id and
// its hash may have been used again.
func TestRebuildKnowsChallenges(t *testing.T) {
	ctx, dir := t.Context(), filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	configurations(t, d)
	give := func(id string, hash int) {
		t.Helper()
		c := depottest.Challenge(hash)
		c.ID, c.ExpiresAt = id, c.CreatedAt.Add(time.Hour)
		must(t, d.AddChallenge(ctx, c, 100))
	}
	spend := func(n int, id string) error {
		i := depottest.Issuance(n)
		i.Challenge.ID = id
		_, err := d.Commit(ctx, i)
		return err
	}
	for n, id := range []string{"ch_lost", "ch_again", "ch_hash", "ch_spent_later", "ch_hash_spent", "ch_withdrawn"} {
		give(id, n)
	}
	must(t, d.WithdrawChallenge(ctx, "ch_withdrawn", "operator", depottest.Epoch))
	if n, err := d.ForgetChallenges(ctx, depottest.Epoch.Add(24*time.Hour), 100); n != 6 || err != nil {
		t.Fatalf("forgot %d: %v", n, err)
	}
	give("ch_again", 10)                // the id again
	give("ch_another", 2)               // the hash of ch_hash again
	must(t, spend(1, "ch_spent_later")) // taken for forgotten
	must(t, spend(2, "ch_hash_spent"))
	give("ch_reused", 4) // the hash of what was forgotten and spent
	give("ch_good", 20)
	give("ch_spent", 21)
	must(t, spend(3, "ch_spent"))
	sound(t, d)
	must(t, d.Close())
	for range 2 {
		d = rebuilt(t, dir)
		for n, id := range []string{"ch_spent", "ch_spent_later", "ch_hash_spent", "ch_withdrawn"} {
			if err := spend(10+n, id); !errors.Is(err, depot.ErrChallengeSpent) {
				t.Errorf("%s: %v", id, err)
			}
		}
		for hash, id := range map[int]string{10: "ch_again", 2: "ch_another", 4: "ch_reused", 20: "ch_good", 21: "ch_spent"} {
			c, err := d.ChallengeBySHA256(ctx, depottest.Challenge(hash).SHA256)
			if err != nil || c.ID != id || c.SpentAt.IsZero() != (id != "ch_spent") {
				t.Errorf("%s: %+v, %v", id, c, err)
			}
		}
		holdsEvents(t, d, map[depot.EventType]int{depot.EventChallengeIssued: 11, depot.EventChallengeWithdrawn: 1})
		must(t, d.Close())
	}
	d = open(t, dir)
	must(t, spend(20, "ch_good"))
	report, err := d.VerifyLedger(ctx)
	if err != nil || !report.Holds() {
		t.Errorf("%+v, %v", report, err)
	}
}

func holdsEvents(t *testing.T, d *bolt.Depot, want map[depot.EventType]int) {
	t.Helper()
	page, err := d.Events(t.Context(), depot.EventQuery{Limit: 500})
	must(t, err)
	got := map[depot.EventType]int{}
	for _, e := range page.Items {
		if _, asked := want[e.Type]; asked {
			got[e.Type]++
		}
	}
	equal(t, nil, got, want)
}

// A ledger that tells of forgotten challenges still holds against a database
// that forgot them.
func TestVerifyForgotten(t *testing.T) {
	dir := afterwards(t)
	d := open(t, dir)
	n, err := d.ForgetChallenges(t.Context(), depottest.Epoch.Add(24*time.Hour), 100)
	if must(t, err); n != 4 {
		t.Errorf("forgot %d", n)
	}
	sound(t, d)
	must(t, d.Close())
	report, err := bolt.VerifyStore(t.Context(), dir)
	if err != nil || !report.Holds() {
		t.Errorf("%+v, %v", report, err)
	}
}

// A certificate that is held back is so after a rebuild, and only its CSR is
// gone; both ends of a delivery are possible then.
func TestRebuildHoldsBack(t *testing.T) {
	ctx, dir := t.Context(), filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	commit(t, d, 0, 1)
	asked := depottest.Request(4)
	must(t, d.AddRequest(ctx, asked, 0, ""))
	approval := depottest.Approval(asked, 4)
	approval.Issuance.HoldBack, approval.Issuance.CSR = true, []byte("CSR")
	_, err := d.Decide(ctx, approval)
	must(t, err)
	for n := 1; n < 4; n++ {
		i := depottest.HeldBack(n)
		if n == 3 {
			i.Supersedes = depottest.Issuance(0).Identity.CertificateSerial
		}
		_, err := d.Commit(ctx, i)
		must(t, err)
	}
	before, err := d.Undelivered(ctx)
	must(t, err)
	must(t, d.Close())
	d = rebuilt(t, dir)
	after, err := d.Undelivered(ctx)
	must(t, err)
	for k := range before {
		if len(before[k].CSR) == 0 {
			t.Errorf("no CSR of %s", before[k].Identity.CertificateSerial)
		}
		before[k].CSR = nil
	}
	equal(t, nil, after, before)
	if len(after) != 4 {
		t.Fatalf("%d are held back", len(after))
	}
	at := func(n int) string { return depottest.Issuance(n).Identity.CertificateSerial }
	_, err = d.Deliver(ctx, at(1), depottest.Epoch)
	must(t, err)
	_, err = d.Void(ctx, at(3), "", depottest.Epoch)
	must(t, err)
	old, err := d.Identity(ctx, at(0))
	if err != nil || old.SupersededBy != "" {
		t.Errorf("superseded by %q, %v", old.SupersededBy, err)
	}
	sound(t, d)
}

// Counting what is outstanding costs what is outstanding, and not what is
// stored: adding a challenge beside many that are spent, withdrawn, expired or
// another configuration's looks at the few that count.
func BenchmarkAddChallenge(b *testing.B) {
	for _, stored := range []int{0, 20_000} {
		b.Run(fmt.Sprintf("beside %d", stored), func(b *testing.B) {
			d := open(b, filepath.Join(b.TempDir(), "store"))
			configurations(b, d)
			bolt.Unsync(d)
			for n := range stored { // all expired when the others are given out
				c := depottest.Challenge(n)
				c.CreatedAt = depottest.Epoch.Add(time.Duration(n-stored) * time.Minute)
				c.ExpiresAt = c.CreatedAt.Add(time.Minute)
				must(b, d.AddChallenge(b.Context(), c, stored))
			}
			n := stored
			for b.Loop() {
				n++
				c := depottest.Challenge(n)
				c.CreatedAt = depottest.Epoch.Add(time.Duration(n) * time.Minute)
				c.ExpiresAt = c.CreatedAt.Add(time.Hour)
				must(b, d.AddChallenge(b.Context(), c, 1000))
			}
		})
	}
}
