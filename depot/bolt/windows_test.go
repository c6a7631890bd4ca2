package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

// What windowlife adds.
const (
	windowRecords      = 3 + 4 + 2
	windowCertificates = 3
)

// windowSerial returns the certificate serial of one that windowlife adds.
func windowSerial(n int) string { return depottest.Issuance(900_200 + n).Identity.CertificateSerial }

// acknowledged is an acknowledgement of such a one.
func acknowledged(n int, command string) depot.Acknowledgement {
	at := depottest.Epoch.Truncate(time.Second).Add(time.Hour)
	return depot.Acknowledgement{CertificateSerial: windowSerial(n), At: at, StallsAt: at.Add(time.Hour), By: "operator", CommandID: command, RequestedAt: depottest.Epoch}
}

// windowlife lets happen what redistribution is about: certificate 0 is
// superseded by 1, and 2 is acknowledged twice, once in vain; what is announced
// is settled but for one.
func windowlife(t testing.TB, d *bolt.Depot) {
	t.Helper()
	ctx := t.Context()
	for n := range windowCertificates {
		i := depottest.Issuance(900_200 + n)
		if n == 1 {
			i.Identity.Device.Key = depottest.Issuance(900_200).Identity.Device.Key
		}
		_, err := d.Commit(ctx, i)
		must(t, err)
	}
	acknowledge := func(command string) {
		_, made, err := d.Acknowledge(ctx, acknowledged(2, command))
		if must(t, err); !made {
			t.Error("not acknowledged")
		}
	}
	acknowledge("1")
	acknowledge("2")
	_, _, err := d.Unacknowledge(ctx, windowSerial(2), "operator", depottest.Epoch.Add(2*time.Hour))
	must(t, err)
	acknowledge("3")
	_, err = d.Settle(ctx, windowNews(t, d))
	must(t, err)
}

// windowNews is what there is to announce of them.
func windowNews(t testing.TB, d *bolt.Depot) depot.Settlement {
	t.Helper()
	rechecks, err := d.Rechecks(t.Context(), 500)
	must(t, err)
	return depot.Settlement{
		Announcements: []depot.Announcement{
			{CertificateSerial: windowSerial(2), Type: depot.EventRedistributionMissed, At: depottest.Epoch, Mark: "missed"},
			{CertificateSerial: windowSerial(0), Type: depot.EventCertificateSuperseded, At: depottest.Epoch, Mark: "superseded", SupersededBy: windowSerial(1)},
		},
		Rechecked:  rechecks[1:],
		Watermarks: []depot.Watermark{{WatermarkKey: depot.WatermarkKey{ConfigurationID: "rac0", Purpose: "missed"}, At: depottest.Epoch.Add(-time.Hour)}},
	}
}

// everyStanding are ranges that have every certificate of "rac0" and "rac1".
func everyStanding() (all []depot.WindowRange) {
	for _, configuration := range []string{"rac0", "rac1"} {
		for _, standing := range []depot.Standing{depot.StandingRevoked, depot.StandingSuperseded, depot.StandingAcknowledged, depot.StandingCurrent} {
			all = append(all, depot.WindowRange{ConfigurationID: configuration, Standing: standing})
		}
	}
	return all
}

// windowStory is what a depot tells of windows and must tell again whatever
// happened to its database.
type windowStory struct {
	Items     []depot.WindowItem
	Counts    []int
	Lifetimes []time.Duration
	Stalls    []string
	Latest    time.Time
}

func tellWindows(t testing.TB, d depot.Depot) (s windowStory) {
	t.Helper()
	ctx := t.Context()
	for q := (depot.WindowQuery{Ranges: everyStanding(), Limit: 500}); ; {
		page, err := d.WindowItems(ctx, q)
		must(t, err)
		s.Items = append(s.Items, page.Items...)
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			break
		}
	}
	var err error
	s.Counts, err = d.WindowCounts(ctx, everyStanding())
	must(t, err)
	s.Lifetimes, err = d.WindowLifetimes(ctx, "rac0")
	must(t, err)
	s.Stalls, err = d.StallsUntil(ctx, "rac0", time.Time{}, time.Time{}, 0)
	must(t, err)
	s.Latest, err = d.LatestChange(ctx)
	must(t, err)
	return s
}

// What was acknowledged and announced is there after a rebuild and is not
// announced again; what the announcer had done it is asked to do once more.
func TestRebuildKnowsWindows(t *testing.T) {
	dir := lived(t, 60)
	d := open(t, dir)
	before, news := tellWindows(t, d), windowNews(t, d)
	waiting, err := d.Rechecks(t.Context(), 500)
	must(t, err)
	must(t, d.Close())
	d = rebuilt(t, dir)
	equal(t, nil, tellWindows(t, d), before)
	if len(before.Items) < 60 || len(before.Stalls) != 1 || before.Latest.IsZero() {
		t.Fatalf("nothing to compare with: %d items, stalls %q", len(before.Items), before.Stalls)
	}
	again, err := d.Rechecks(t.Context(), 500)
	must(t, err)
	for _, r := range waiting {
		if !slices.ContainsFunc(again, func(a depot.Recheck) bool { return a.CertificateSerial == r.CertificateSerial }) {
			t.Errorf("%s is not looked at again", r.CertificateSerial)
		}
	}
	line, err := d.Watermark(t.Context(), news.Watermarks[0].WatermarkKey)
	if must(t, err); !line.IsZero() {
		t.Errorf("what lies before %v is not looked at again", line)
	}
	events, err := d.Settle(t.Context(), news)
	if must(t, err); events != 0 {
		t.Errorf("%d events were made again", events)
	}
	_, made, err := d.Acknowledge(t.Context(), acknowledged(2, "3"))
	if must(t, err); made {
		t.Error("what was acknowledged was acknowledged again")
	}
	must(t, d.Close())
	report, err := bolt.VerifyStore(t.Context(), dir)
	if err != nil || !report.Holds() {
		t.Errorf("%+v, %v", report, err)
	}
}

// Stores of format 2 get the standings and the counters that they would have,
// whatever became of their certificates.
func TestUpgradeStandings(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	configurations(t, d)
	for n := range 40 {
		_, err := d.Commit(t.Context(), varied(n))
		must(t, err)
	}
	happens(t, d)
	before := tellWindows(t, d)
	must(t, d.Close())
	want := dump(t, dir)
	inDatabase(t, dir, func(tx *bbolt.Tx) error {
		return errors.Join(withoutFormat3(tx), tx.Bucket([]byte("meta")).Put([]byte("format"), []byte{0, 0, 0, 0, 0, 0, 0, 2}))
	})
	d = open(t, dir)
	sound(t, d)
	equal(t, nil, tellWindows(t, d), before)
	rechecks, err := d.Rechecks(t.Context(), 0)
	if must(t, err); len(rechecks) != 0 {
		t.Errorf("%d of the past are news", len(rechecks))
	}
	must(t, d.Close())
	sameDump(t, dump(t, dir), want)
}

// A latest change that lies before something that is stored is found by Check.
func TestCheckFindsLatestChange(t *testing.T) {
	dir := closed(t, 2)
	inDatabase(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Delete([]byte("latest")) })
	findings, err := open(t, dir).Check(t.Context())
	if must(t, err); len(findings) != 2 || !strings.Contains(findings[0], "after the latest change") {
		t.Errorf("found %q", findings)
	}
}

// A page of a window looks at no more either, of today or of the past, and
// all pages together are the list.
func TestWindowsLookAtNoMore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	for n := range 20 {
		i := depottest.Issuance(n)
		i.Identity.Device.ProfileUUID = fmt.Sprint("profile ", n%5)
		_, err := d.Commit(t.Context(), i)
		must(t, err)
	}
	must(t, d.Close())
	type page = depot.Page[depot.WindowItem]
	for name, list := range map[string]func(d *bolt.Depot, cursor string) (page, error){
		"today": func(d *bolt.Depot, cursor string) (page, error) {
			return d.WindowItems(t.Context(), depot.WindowQuery{Ranges: everyStanding(), ProfileUUID: "PROFILE 3", Cursor: cursor})
		},
		"the past": func(d *bolt.Depot, cursor string) (page, error) {
			return d.WindowItemsPast(t.Context(), depot.WindowPastQuery{AsOf: depottest.Epoch.AddDate(10, 0, 0), ProfileUUID: "PROFILE 3", Cursor: cursor})
		},
	} {
		for _, most := range []int{1, 3, 7, 1000} {
			d, pages := looking(t, image(t, dir), most), 0
			var serials []string
			for cursor := ""; pages == 0 || cursor != ""; pages++ {
				p, err := list(d, cursor)
				must(t, err)
				for _, i := range p.Items {
					serials = append(serials, i.Identity.CertificateSerial)
				}
				if cursor = p.NextCursor; pages > 20 {
					t.Fatal("it does not end")
				}
			}
			slices.Sort(serials)
			var want []string
			for n := 3; n < 20; n += 5 {
				want = append(want, depottest.Issuance(n).Identity.CertificateSerial)
			}
			slices.Sort(want)
			if !slices.Equal(serials, want) {
				t.Errorf("%s, looking at %d: %q, want %q", name, most, serials, want)
			}
			if least := (20 + most - 1) / most; pages < least {
				t.Errorf("%s, looking at %d: %d pages, want at least %d", name, most, pages, least)
			}
		}
	}
}

// What the ledger lacks is not shown, nor what it makes of others.
func TestWindowsUnseen(t *testing.T) {
	ctx := t.Context()
	d := open(t, filepath.Join(t.TempDir(), "store"))
	windowlife(t, d)
	acknowledge := func() error { _, _, err := d.Acknowledge(ctx, acknowledged(1, "1")); return err }
	settle := func() error {
		_, err := d.Settle(ctx, depot.Settlement{Announcements: []depot.Announcement{
			{CertificateSerial: windowSerial(1), Type: depot.EventRedistributionDue, At: depottest.Epoch, Mark: "due:x"}}})
		return err
	}
	for name, see := range map[string]func() error{
		"item": func() error { _, err := d.WindowItem(ctx, windowSerial(1)); return err },
		"item past": func() error {
			_, err := d.WindowItemPast(ctx, windowSerial(1), depottest.Epoch.AddDate(9, 0, 0))
			return err
		},
		"items": func() error { _, err := d.WindowItems(ctx, depot.WindowQuery{Ranges: everyStanding()}); return err },
		"past": func() error {
			_, err := d.WindowItemsPast(ctx, depot.WindowPastQuery{AsOf: depottest.Epoch})
			return err
		},
		"counts":     func() error { _, err := d.WindowCounts(ctx, everyStanding()); return err },
		"lifetimes":  func() error { _, err := d.WindowLifetimes(ctx, "rac0"); return err },
		"latest":     func() error { _, err := d.LatestChange(ctx); return err },
		"places":     func() error { _, err := d.Places(ctx, []string{windowSerial(1)}, time.Time{}); return err },
		"rechecks":   func() error { _, err := d.Rechecks(ctx, 0); return err },
		"stalls":     func() error { _, err := d.StallsUntil(ctx, "rac0", time.Time{}, time.Time{}, 0); return err },
		"watermark":  func() error { _, err := d.Watermark(ctx, depot.WatermarkKey{ConfigurationID: "rac0"}); return err },
		"repetition": func() error { _, _, err := d.Acknowledge(ctx, acknowledged(1, "1")); return err },
	} {
		for what, do := range map[string]func() error{"acknowledged": acknowledge, "settled": settle} {
			t.Run(name+" "+what, func(t *testing.T) {
				copied, _ := snapshot(t, d)
				var on disk
				was := d
				d = openOn(t, copied, &on)
				defer func() { d = was }()
				on.set("write")
				if err := do(); !errors.Is(err, depot.ErrUnavailable) {
					t.Fatalf("done: %v", err)
				}
				if err := see(); !errors.Is(err, depot.ErrUnavailable) {
					t.Errorf("seen: %v", err)
				}
				on.set()
				if err := see(); errors.Is(err, depot.ErrUnavailable) {
					t.Errorf("not seen: %v", err)
				}
				sound(t, d)
			})
		}
	}
}

// stocked opens a store of so many certificates, a third of them superseded,
// over two years of notAfter.
func stocked(b *testing.B, n int) *bolt.Depot {
	d, err := bolt.Open(filepath.Join(b.TempDir(), "store"), bolt.UnsyncedLedger(options()))
	must(b, err)
	b.Cleanup(func() { d.Close() })
	bolt.Unsync(d)
	done := make(chan error)
	const writers = 128
	for w := range writers {
		go func() {
			var failed error
			for k := w; k < n && failed == nil; k += writers {
				i := depottest.Issuance(k)
				i.Identity.Device.Key = fmt.Sprint("device ", k-k%3/2)
				i.Identity.NotAfter = benchmarkNow.Add(time.Duration(k%17_520) * time.Hour)
				i.Identity.NotBefore = i.Identity.NotAfter.Add(-365 * 24 * time.Hour)
				_, failed = d.Commit(context.Background(), i)
			}
			done <- failed
		}()
	}
	for range writers {
		must(b, <-done)
	}
	return d
}

var benchmarkNow = time.Date(2027, time.January, 1, 0, 0, 0, 0, time.UTC)

// BenchmarkWindow measures a page of what is due and the seven counts, which
// must cost the same whatever is stored. UNDERSTUDY_STORED says how many,
// separated by commas.
func BenchmarkWindow(b *testing.B) {
	for _, stored := range strings.Split(os.Getenv("UNDERSTUDY_STORED"), ",") {
		sizes := []int{10_000, 100_000}
		if n, err := strconv.Atoi(stored); err == nil {
			sizes = []int{n}
		}
		for _, n := range sizes {
			d := stocked(b, n)
			now, ctx := benchmarkNow.Add(300*24*time.Hour), b.Context()
			due := depot.WindowRange{ConfigurationID: "rac0", Standing: depot.StandingCurrent, Lifetime: 365 * 24 * time.Hour, After: now, Until: now.Add(30 * 24 * time.Hour)}
			b.Run(fmt.Sprintf("items/stored=%d", n), func(b *testing.B) {
				for b.Loop() {
					page, err := d.WindowItems(ctx, depot.WindowQuery{Ranges: []depot.WindowRange{due}})
					if err != nil || len(page.Items) != 100 {
						b.Fatal(len(page.Items), err)
					}
				}
			})
			acknowledged := depot.WindowRange{ConfigurationID: "rac0", Standing: depot.StandingAcknowledged, After: now, At: now, Stall: depot.StallPassed}
			waiting := acknowledged
			waiting.Stall = depot.StallWaiting
			ranges := []depot.WindowRange{due, acknowledged, waiting,
				{ConfigurationID: "rac0", Standing: depot.StandingRevoked}, {ConfigurationID: "rac0", Standing: depot.StandingSuperseded},
				{ConfigurationID: "rac0", Standing: depot.StandingCurrent, Until: now},
				{ConfigurationID: "rac0", Standing: depot.StandingCurrent, Lifetime: due.Lifetime, After: due.Until}}
			b.Run(fmt.Sprintf("counts/stored=%d", n), func(b *testing.B) {
				for b.Loop() {
					_, err := d.WindowCounts(ctx, ranges)
					must(b, err)
				}
			})
			serial := depottest.Issuance(n / 2).Identity.CertificateSerial
			b.Run(fmt.Sprintf("item/stored=%d", n), func(b *testing.B) {
				for b.Loop() {
					_, err := d.WindowItem(ctx, serial)
					must(b, err)
				}
			})
		}
	}
}
