package bolt_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

func TestLedgerHoldsEverything(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	i := depottest.Issuance(1)
	i.Challenge.ID = "ch_1"
	i.Identity.UserAgent = "not \xff UTF-8, <html> & \"quotes\"\x00\n"
	i.Identity.Warnings = []string{"", "\xfe", "ü"}
	identity, err := d.Commit(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	var configuration depot.Configuration
	depottest.Fill(&configuration, 7)
	configuration.Revision = 1
	if err := d.AddConfiguration(t.Context(), configuration); err != nil {
		t.Fatal(err)
	}
	var authority depot.AuthorityGeneration
	depottest.Fill(&authority, 8)
	for range 2 {
		if err := d.RecordAuthority(t.Context(), authority); err != nil {
			t.Fatal(err)
		}
	}
	transaction, err := d.Transaction(t.Context(), "rac0", i.Transaction.ID)
	if err != nil {
		t.Fatal(err)
	}

	var types []string
	report, err := bolt.ReadLedger(filepath.Join(dir, "ledger"), func(e bolt.Entry) error {
		types = append(types, e.Type)
		switch e.Type {
		case string(depot.EventCertificateIssued):
			got, err := e.Issuance()
			equal(t, err, got, depot.Issuance{Identity: identity, Transaction: transaction, Challenge: i.Challenge})
		case string(depot.EventConfigurationAdded):
			got, err := e.Configuration()
			equal(t, err, got, configuration)
		case "authority":
			got, err := e.Authority()
			equal(t, err, got, authority)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, nil, types, []string{"store", "certificate.issued", "configuration.added", "authority"})
	if report.Records != 4 || len(report.Store) != 32 || report.Bytes != int64(len(read(t, dir, "ledger"))) {
		t.Errorf("report %+v", report)
	}
	stop := errors.New("stop")
	if _, err := bolt.ReadLedger(filepath.Join(dir, "ledger"), func(bolt.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("error of the reader: %v", err)
	}
}

func equal[T any](t *testing.T, err error, got, want T) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Every edit of a ledger, a removal at its very end aside, is found without
// the database, and its place is named.
func TestVerifyLedger(t *testing.T) {
	ledger := read(t, closed(t, 4), "ledger")
	records := lines(ledger)
	offset := func(n int) (sum int64) {
		for _, l := range records[:n-1] {
			sum += int64(len(l))
		}
		return sum
	}
	path := filepath.Join(t.TempDir(), "ledger")
	verify := func(name string, b []byte, want int) {
		t.Helper()
		write(t, b, path)
		report, err := bolt.VerifyLedger(path)
		var damaged *bolt.LedgerError
		switch {
		case want == 0 && err != nil:
			t.Errorf("%s: %v", name, err)
		case want == 0:
		case !errors.As(err, &damaged):
			t.Errorf("%s: error %v", name, err)
		case damaged.Number != uint64(want) || damaged.Offset != offset(want) || damaged.Path != path:
			t.Errorf("%s: %v, want record %d at byte %d", name, err, want, offset(want))
		case report.Records != uint64(want-1) || report.Bytes != offset(want):
			t.Errorf("%s: report %+v, want what is good before record %d", name, report, want)
		}
	}
	with := func(change func(l [][]byte) [][]byte) []byte {
		return join(change(append([][]byte(nil), records...)))
	}
	verify("whole", ledger, 0)
	verify("empty", nil, 0)
	for n := range records {
		for _, at := range []int{0, 7, 8, 9, 17, 18, 82, 83, len(records[n]) / 2, len(records[n]) - 2} {
			edited := bytes.Clone(records[n])
			edited[at] ^= 1
			verify("flipped", with(func(l [][]byte) [][]byte { l[n] = edited; return l }), n+1)
		}
		verify("without its end", with(func(l [][]byte) [][]byte { l[n] = bytes.TrimSuffix(l[n], []byte("\n")); return l }), n+1)
		verify("torn", append(join(records[:n]), records[n][:len(records[n])/3]...), n+1)
		verify("torn in the header", append(join(records[:n]), records[n][:40]...), n+1)
		for _, zeros := range []int{1, 82, 83, 84, 5000} {
			verify("zeros", append(join(records[:n]), make([]byte, zeros)...), n+1)
		}
		if n+1 < len(records) {
			verify("removed", with(func(l [][]byte) [][]byte { return append(l[:n:n], l[n+1:]...) }), n+1)
			verify("swapped", with(func(l [][]byte) [][]byte { l[n], l[n+1] = l[n+1], l[n]; return l }), n+1)
			verify("twice", with(func(l [][]byte) [][]byte { return append(l[:n+1:n+1], l[n:]...) }), n+2)
		}
	}
	if _, err := bolt.VerifyLedger(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no ledger: %v", err)
	}
}

// forge writes a ledger anew by the rules of its format, with other payloads.
func forge(ledger []byte, edit func(n int, payload []byte) []byte) []byte {
	var forged []byte
	var last [32]byte
	for i, line := range lines(ledger) {
		payload := edit(i+1, line[83:len(line)-1])
		last = sha256.Sum256(append(last[:], payload...))
		length := fmt.Sprintf("%08x ", len(payload))
		rest := fmt.Sprintf(" %x %s", last, payload)
		sum := crc32.Checksum([]byte(length+rest), crc32.MakeTable(crc32.Castagnoli))
		forged = fmt.Appendf(forged, "%s%08x%s\n", length, sum, rest)
	}
	return forged
}

// A record that was written anew with its checksum and its hash still does not
// fit the one behind it; a ledger that was forged as a whole fits itself, and
// only the database can tell.
func TestForgedLedger(t *testing.T) {
	dir := closed(t, 5)
	ledger := read(t, dir, "ledger")
	same := forge(ledger, func(_ int, payload []byte) []byte { return payload })
	if !bytes.Equal(same, ledger) {
		t.Fatal("the format is not the one that is written down")
	}
	forged := forge(ledger, func(_ int, payload []byte) []byte {
		return bytes.ReplaceAll(payload, []byte("device 2"), []byte("device 7"))
	})
	mixed := lines(bytes.Clone(ledger))
	mixed[3] = lines(forged)[3]
	write(t, join(mixed), dir, "ledger")
	refuses(t, dir, "ledger", "record 5")
	var damaged *bolt.LedgerError
	if _, err := bolt.VerifyLedger(filepath.Join(dir, "ledger")); !errors.As(err, &damaged) || damaged.Number != 5 {
		t.Errorf("VerifyLedger of one forged record: %v", err)
	}
	write(t, forged, dir, "ledger")
	refuses(t, dir, "ledger", "disagree")
}

// disk is a ledger's disk that can be made to fail.
type disk struct {
	mu   sync.Mutex
	fail map[string]error // by operation
}

func (d *disk) set(operations ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = map[string]error{}
	for _, o := range operations {
		d.fail[o] = syscall.ENOSPC
	}
}

func (d *disk) operation(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fail[name]
}

func openOn(t testing.TB, dir string, on *disk) *bolt.Depot {
	t.Helper()
	d, err := bolt.Open(dir, bolt.FailingLedger(options(), on.operation))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// The ledger's disk is full: nothing is acknowledged, nothing that the ledger
// lacks is shown, what was there can be read, and when there is room again
// everything goes on without a restart.
func TestLedgerFull(t *testing.T) {
	for _, broken := range [][]string{{"write"}, {"sync"}, {"write", "truncate"}, {"sync", "truncate"}} {
		t.Run(strings.Join(broken, " and "), func(t *testing.T) {
			ctx := t.Context()
			dir := filepath.Join(t.TempDir(), "store")
			var on disk
			d := openOn(t, dir, &on)
			commit(t, d, 0, 3)

			on.set(broken...)
			last := depottest.Issuance(3)
			last.Challenge.ID = "ch_3"
			for range 3 {
				_, err := d.Commit(ctx, last)
				if !errors.Is(err, depot.ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("Commit: error %v, want %v and %v", err, depot.ErrUnavailable, syscall.ENOSPC)
				}
			}
			if err := d.AddConfiguration(ctx, depot.Configuration{ID: "rac0", Name: "a", Revision: 1}); !errors.Is(err, depot.ErrUnavailable) {
				t.Errorf("AddConfiguration: %v", err)
			}
			// Nothing more goes into the database while the ledger is behind.
			if _, err := d.Commit(ctx, depottest.Issuance(20)); !errors.Is(err, depot.ErrUnavailable) {
				t.Errorf("Commit: %v", err)
			}
			unseen(t, d, last)
			if err := d.Ready(ctx); !errors.Is(err, depot.ErrUnavailable) {
				t.Errorf("Ready: %v", err)
			}
			for n := range 3 {
				if err := holdsOne(t, d, n); err != nil {
					t.Errorf("reading what was acknowledged: %v", err)
				}
			}
			if _, err := bolt.VerifyLedger(filepath.Join(dir, "ledger")); err != nil && len(broken) == 1 {
				t.Errorf("rubbish was left in the ledger: %v", err)
			}

			on.set()
			// The repeated request is answered with the certificate that was made.
			got, err := d.Transaction(ctx, "rac0", last.Transaction.ID)
			if err != nil || got.CertificateSerial != last.Identity.CertificateSerial {
				t.Errorf("Transaction: %+v, %v", got, err)
			}
			if err := d.Ready(ctx); err != nil {
				t.Errorf("Ready: %v", err)
			}
			if _, err := d.Identity(ctx, depottest.Issuance(20).Identity.CertificateSerial); !errors.Is(err, depot.ErrNotFound) {
				t.Errorf("what came while the ledger was behind: %v", err)
			}
			if _, err := d.Commit(ctx, last); !errors.Is(err, depot.ErrTransactionConflict) {
				t.Errorf("Commit again: %v", err)
			}
			commit(t, d, 4, 6)
			holds(t, d, 0, 6)
			d.Close()
			d = open(t, dir)
			holds(t, d, 0, 6)
		})
	}
}

// unseen asserts that what the ledger lacks is not shown: finding it is not
// possible now, and lists leave it out.
func unseen(t *testing.T, d *bolt.Depot, i depot.Issuance) {
	t.Helper()
	ctx := t.Context()
	_, err1 := d.Transaction(ctx, i.Transaction.ConfigurationID, i.Transaction.ID)
	_, err2 := d.TransactionOfMessage(ctx, i.Transaction.MessageSHA256)
	_, err3 := d.Identity(ctx, i.Identity.CertificateSerial)
	_, err4 := d.IdentityBySHA256(ctx, i.Identity.SHA256)
	_, err5 := d.Device(ctx, i.Identity.ConfigurationID, i.Identity.Device.Key)
	_, err6 := d.Devices(ctx, depot.DeviceQuery{})
	for n, err := range []error{err1, err2, err3, err4, err5, err6} {
		if !errors.Is(err, depot.ErrUnavailable) {
			t.Errorf("finding %d: error %v, want %v", n, err, depot.ErrUnavailable)
		}
	}
	for _, order := range []depot.Order{depot.NewestFirst, depot.ByNotAfter} {
		page, err := d.Identities(ctx, depot.IdentityQuery{Order: order})
		if err != nil || len(page.Items) != 3 {
			t.Errorf("Identities: %d, %v; want the 3 that were acknowledged", len(page.Items), err)
		}
	}
	events, err := d.Events(ctx, depot.EventQuery{})
	if err != nil || len(events.Items) != 3 {
		t.Errorf("Events: %d, %v; want the 3 that were acknowledged", len(events.Items), err)
	}
}

// Death between database and ledger: the next start completes the ledger.
func TestDeathBeforeLedger(t *testing.T) {
	for _, broken := range [][]string{{"write"}, {"write", "truncate"}, {"sync", "truncate"}} {
		t.Run(strings.Join(broken, " and "), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			var on disk
			d := openOn(t, dir, &on)
			commit(t, d, 0, 3)
			on.set(broken...)
			if _, err := d.Commit(t.Context(), depottest.Issuance(3)); err == nil {
				t.Fatal("Commit without a ledger")
			}
			dead := image(t, dir)
			d.Close()
			for range 2 { // and then the one that could not be closed in order
				d = open(t, dead)
				holds(t, d, 0, 4)
				report, err := bolt.VerifyLedger(filepath.Join(dead, "ledger"))
				if err != nil || report.Records != 5 {
					t.Errorf("ledger of %d records, %v", report.Records, err)
				}
				d.Close()
				dead = dir
			}
		})
	}
}

// Many writers and a ledger that fails now and then: whoever got an answer can
// rely on it.
func TestLedgerFlickers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	var on disk
	d := openOn(t, dir, &on)
	var wait sync.WaitGroup
	acknowledged := make([][]int, 8)
	for w := range acknowledged {
		wait.Go(func() {
			for n := range 30 {
				if w == 0 {
					on.set([][]string{nil, {"write"}, nil, {"sync", "truncate"}}[n%4]...)
				}
				if _, err := d.Commit(context.Background(), depottest.Issuance(w*1000+n)); err == nil {
					acknowledged[w] = append(acknowledged[w], w*1000+n)
				} else if !errors.Is(err, depot.ErrUnavailable) {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	dead := image(t, dir)
	d.Close()
	for _, dir := range []string{dead, dir} {
		d := open(t, dir)
		for _, all := range acknowledged {
			for _, n := range all {
				if err := holdsOne(t, d, n); err != nil {
					t.Error(err)
				}
			}
		}
		holds(t, d, 0, 0)
	}
}
