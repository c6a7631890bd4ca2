package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

// looking opens a store whose pages look at no more than that many records.
func looking(t testing.TB, dir string, most int) *bolt.Depot {
	t.Helper()
	d, err := bolt.Open(dir, bolt.Looking(options(), most))
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// A page stops when it has looked at enough, however little it found; all
// pages together are the list, in its order, whichever index is walked.
func TestLooksAtNoMore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	for n := range 20 {
		i := depottest.Issuance(n)
		i.Identity.Device.DeviceSerial = fmt.Sprint("C02", n%5)
		i.Identity.Device.Key = fmt.Sprint("device ", n%2)
		_, err := d.Commit(t.Context(), i)
		must(t, err)
	}
	must(t, d.Close())
	asked := 0
	match := func(i depot.Identity, _ depot.Standing) bool {
		asked++
		return strings.HasSuffix(i.CertificateSerial, "3") // 3 and 19
	}
	all := func(d *bolt.Depot, q depot.IdentityQuery, most int) (serials []string, short bool) {
		for {
			asked = 0
			page, err := d.Identities(t.Context(), q)
			must(t, err)
			if most > 0 && asked > most {
				t.Errorf("a page of %+v looked at %d", q, asked)
			}
			for _, i := range page.Items {
				serials = append(serials, i.CertificateSerial)
				if len(i.DER) == 0 {
					t.Errorf("certificate %s comes without its DER", i.CertificateSerial)
				}
			}
			short = short || page.NextCursor != "" && len(page.Items) < depot.PageLimit(q.Limit)
			if q.Cursor = page.NextCursor; q.Cursor == "" {
				return serials, short
			}
		}
	}
	copies := map[int]*bolt.Depot{}
	for _, most := range []int{1, 3, 4, 7, 20} {
		copies[most] = looking(t, image(t, dir), most)
	}
	d = open(t, dir)
	for _, order := range []depot.Order{depot.NewestFirst, depot.ByNotAfter} {
		for name, q := range map[string]depot.IdentityQuery{
			"all":                   {},
			"a device":              {ConfigurationID: "rac0", DeviceKey: "device 1"},
			"a name":                {NameKind: depot.NameDeviceSerial, Name: "c023"},
			"a beginning":           {NameKind: depot.NameDeviceSerial, Name: "c02", NamePrefix: true},
			"a beginning of few":    {NameKind: depot.NameDeviceSerial, Name: "c023", NamePrefix: true},
			"what was issued early": {IssuedTo: depottest.Issuance(2).Identity.IssuedAt},
		} {
			for _, q.Match = range []func(depot.Identity, depot.Standing) bool{match, nil} {
				for q.Limit = range 4 {
					q.Order = order
					want, _ := all(d, q, 0)
					for most, d := range copies {
						got, short := all(d, q, most)
						if !slices.Equal(got, want) {
							t.Errorf("%s, %s, limit %d, looking at %d: %q, want %q", name, order, q.Limit, most, got, want)
						}
						if name == "all" && q.Match != nil && most < 10 && !short {
							t.Errorf("%s, %s: no page was short", name, order)
						}
					}
				}
			}
		}
	}
}

// The same of requests, challenges and events.
func TestListsLookAtNoMore(t *testing.T) {
	dir := afterwards(t)
	d := looking(t, dir, 2)
	ctx := t.Context()
	pages := func(list func(cursor string) (next string, items int)) (all, short int) {
		for cursor := ""; ; {
			next, items := list(cursor)
			if all += items; next == "" {
				return all, short
			}
			if cursor = next; items == 0 {
				short++
			}
		}
	}
	for name, test := range map[string]struct {
		list        func(cursor string) (string, int)
		want, short int
	}{
		"requests": {func(cursor string) (string, int) {
			p, err := d.Requests(ctx, depot.RequestQuery{State: depot.RequestDenied, Now: depottest.Epoch, Cursor: cursor})
			must(t, err)
			return p.NextCursor, len(p.Items)
		}, 1, 1},
		"challenges": {func(cursor string) (string, int) {
			p, err := d.Challenges(ctx, depot.ChallengeQuery{ConfigurationID: "rac9", Cursor: cursor})
			must(t, err)
			return p.NextCursor, len(p.Items)
		}, 0, 2},
		"events": {func(cursor string) (string, int) {
			q := depot.EventQuery{Types: []depot.EventType{depot.EventSeeded}}
			if cursor != "" {
				_, err := fmt.Sscan(cursor, &q.After)
				must(t, err)
			}
			p, err := d.Events(ctx, q)
			must(t, err)
			return p.NextCursor, len(p.Items)
		}, 2, 10},
	} {
		if all, short := pages(test.list); all != test.want || short < test.short {
			t.Errorf("%s: %d items, want %d; %d empty pages, want %d", name, all, test.want, short, test.short)
		}
	}
}

// happen makes that many events.
func happen(t testing.TB, d *bolt.Depot, n int) (last uint64) {
	t.Helper()
	var wait sync.WaitGroup
	r := depot.Rejections{ConfigurationID: "rac0", Count: 1, At: depottest.Epoch}
	for range n {
		wait.Go(func() {
			if err := d.RecordRejections(context.Background(), r); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	last, err := d.LastEvent(t.Context())
	must(t, err)
	return last
}

func through(t testing.TB, d *bolt.Depot) uint64 {
	t.Helper()
	n, err := d.NotifiedThrough(t.Context(), "wh_1")
	must(t, err)
	return n
}

// noted lists how far the ledger says that webhooks got.
func noted(t testing.TB, dir string) (records int) {
	t.Helper()
	_, err := bolt.ReadLedger(filepath.Join(dir, "ledger"), func(e bolt.Entry) error {
		if e.Type == bolt.EntryProgress {
			records++
		}
		return nil
	})
	must(t, err)
	return records
}

// The ledger is told of progress every ProgressInterval events and at no other
// time; what waits is not in it, so that a store made anew from it begins
// before that, and after what is noted.
func TestProgressInLedger(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	must(t, d.AddWebhook(t.Context(), depottest.Webhook(1)))
	begin := through(t, d)
	save := func(p depot.Progress) {
		t.Helper()
		p.WebhookID = "wh_1"
		must(t, d.SaveProgress(t.Context(), p))
	}
	rebuilt := func(want uint64, records int) {
		t.Helper()
		must(t, d.Close())
		if got := noted(t, dir); got != records {
			t.Errorf("%d records of progress, want %d", got, records)
		}
		other := filepath.Join(t.TempDir(), "store")
		must(t, os.Mkdir(other, 0o700))
		write(t, read(t, dir, "ledger"), other, "ledger")
		_, err := bolt.Rebuild(t.Context(), other, bolt.RebuildOptions{})
		must(t, err)
		anew := open(t, other)
		if got := through(t, anew); got != want {
			t.Errorf("made anew from its ledger: through event %d, want %d", got, want)
		}
		sound(t, anew)
		must(t, anew.Close())
		report, err := bolt.VerifyStore(t.Context(), dir)
		must(t, err)
		if !report.Holds() {
			t.Errorf("ledger: %+v", report)
		}
		d = open(t, dir)
		sound(t, d)
	}
	happen(t, d, depot.ProgressInterval-1)
	for n := begin; n < begin+depot.ProgressInterval; n++ { // each by itself
		save(depot.Progress{Through: n})
	}
	if got := through(t, d); got != begin+depot.ProgressInterval-1 {
		t.Errorf("through event %d", got)
	}
	rebuilt(begin, 0)
	one := happen(t, d, 1)
	save(depot.Progress{Through: one})
	rebuilt(one, 1) // Close took it along

	last := happen(t, d, 2*depot.ProgressInterval+10)
	waits := one + depot.ProgressInterval + 2 // the record of the progress is before
	save(depot.Progress{Through: last, Store: []depot.Notification{{WebhookID: "wh_1", Event: waits}, {WebhookID: "wh_1", Event: one + 2, Dead: true}}})
	if got := through(t, d); got != last {
		t.Errorf("through event %d, want %d", got, last)
	}
	rebuilt(waits-1, 2)
	save(depot.Progress{Through: last, Forget: []uint64{waits}})
	if got := through(t, d); got != last {
		t.Errorf("through event %d, want %d", got, last)
	}
	rebuilt(last, 3)
	save(depot.Progress{Store: []depot.Notification{{WebhookID: "wh_1", Event: one + 2}}}) // tried again
	rebuilt(last, 3)

	happen(t, d, 1) // the last record of a ledger with another chain is never the same
	edited := uint64(0)
	forged := forge(read(t, dir, "ledger"), func(n int, payload []byte) []byte {
		was := fmt.Sprintf(`"webhook_id":"wh_1","through":%d`, last)
		if strings.Contains(string(payload), was) {
			edited = uint64(n)
		}
		return []byte(strings.Replace(string(payload), was, fmt.Sprintf(`"webhook_id":"wh_1","through":%d`, last-1), 1))
	})
	must(t, d.Close())
	write(t, forged, dir, "ledger")
	report, err := bolt.VerifyStore(t.Context(), dir)
	must(t, err)
	if report.Break == nil || report.Break.Record != edited {
		t.Errorf("break %+v, want record %d", report.Break, edited)
	}
}

// A clock that does something when it is asked for the time, once.
type ringing struct {
	clock.Clock
	rings func()
}

func (c *ringing) Now() time.Time {
	if ring := c.rings; ring != nil {
		c.rings = nil
		ring()
	}
	return c.Clock.Now()
}

// Progress that rises while a commit takes along what it was before is not
// forgotten when that is done.
func TestProgressDuringCommit(t *testing.T) {
	o := options()
	c := &ringing{Clock: o.Clock}
	o.Clock = c
	d, err := bolt.Open(filepath.Join(t.TempDir(), "store"), o)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	must(t, d.AddWebhook(t.Context(), depottest.Webhook(1)))
	last := happen(t, d, 2)
	must(t, d.SaveProgress(t.Context(), depot.Progress{WebhookID: "wh_1", Through: last - 1}))
	rose := false
	c.rings = func() {
		rose = true
		if err := d.SaveProgress(t.Context(), depot.Progress{WebhookID: "wh_1", Through: last}); err != nil {
			t.Error(err)
		}
	}
	happen(t, d, 1)
	if got := through(t, d); !rose || got != last {
		t.Errorf("through event %d, want %d; it rose during the commit: %v", got, last, rose)
	}
}

// Progress that only rises costs no write: it is on the disk with whatever
// comes next, and a death before that takes the webhook back.
func TestProgressRidesAlong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	must(t, d.AddWebhook(t.Context(), depottest.Webhook(1)))
	begin, last := through(t, d), happen(t, d, 3)
	before := read(t, dir, "store.db")
	must(t, d.SaveProgress(t.Context(), depot.Progress{WebhookID: "wh_1", Through: last}))
	if string(read(t, dir, "store.db")) != string(before) {
		t.Error("it was written at once")
	}
	died := func() uint64 {
		copied, _ := snapshot(t, d)
		return through(t, open(t, copied))
	}
	if got := died(); got != begin {
		t.Errorf("after a death: through event %d, want %d", got, begin)
	}
	happen(t, d, 1)
	if got := died(); got != last {
		t.Errorf("after a death that came later: through event %d, want %d", got, last)
	}
	removed := depottest.Webhook(1)
	removed.Revision, removed.RemovedAt = 2, depottest.Epoch
	must(t, d.SaveProgress(t.Context(), depot.Progress{WebhookID: "wh_1", Through: last + 1}))
	must(t, d.SetWebhook(t.Context(), removed, depot.EventWebhookRemoved))
	happen(t, d, 1)
	sound(t, d)
}

// Who waits is not woken by what the ledger lacks.
func TestAwaitUnseen(t *testing.T) {
	var on disk
	d := openOn(t, filepath.Join(t.TempDir(), "store"), &on)
	last := happen(t, d, 1)
	on.set("write")
	if err := d.SetLabClock(t.Context(), depot.LabClock{ChangedAt: depottest.Epoch}, depottest.Epoch); !errors.Is(err, depot.ErrUnavailable) {
		t.Fatalf("SetLabClock: %v", err)
	}
	if got, err := d.LastEvent(t.Context()); err != nil || got != last {
		t.Errorf("LastEvent: %d, %v; want %d", got, err, last)
	}
	woken := make(chan error, 1)
	go func() { woken <- d.Await(t.Context(), last) }()
	on.set()
	_, err := d.Tokens(t.Context()) // completes the ledger
	must(t, err)
	must(t, <-woken)
	if got, err := d.LastEvent(t.Context()); err != nil || got != last+1 {
		t.Errorf("LastEvent: %d, %v; want %d", got, err, last+1)
	}
}
