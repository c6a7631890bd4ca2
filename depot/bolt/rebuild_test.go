package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

// varied is one of many issuances such as years of use leave: devices that
// enrol again, transactions that are used again, challenges that are spent,
// two configurations.
func varied(n int) depot.Issuance {
	i := depottest.Issuance(n)
	id, t := &i.Identity, &i.Transaction
	id.ConfigurationID = fmt.Sprintf("rac%d", n%2)
	id.Device.Key = fmt.Sprintf("device %d", n%(1+n/3))
	if n%5 == 0 {
		i.Challenge.ID = fmt.Sprintf("ch_%d", n)
	}
	if n%13 == 12 {
		id.UserAgent = "not \xff UTF-8\x00"
		id.Warnings = nil
	}
	t.ConfigurationID = id.ConfigurationID
	return i
}

// lived returns the closed store of a depot with n certificates, committed by
// many at once, and with configurations that were added, changed, renamed and
// removed in between.
func lived(t testing.TB, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	configurations(t, d)
	var wait sync.WaitGroup
	const writers = 250
	for w := range writers {
		wait.Go(func() {
			for k := w; k < n; k += writers {
				if _, err := d.Commit(context.Background(), varied(k)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	for k := range min(n, 10) { // the same transactions once more
		again := varied(n + k)
		again.Identity.ConfigurationID, again.Transaction.ConfigurationID = varied(k).Identity.ConfigurationID, varied(k).Identity.ConfigurationID
		again.Identity.TransactionID, again.Transaction.ID = varied(k).Transaction.ID, varied(k).Transaction.ID
		last, err := d.Transaction(t.Context(), again.Transaction.ConfigurationID, again.Transaction.ID)
		if err != nil {
			t.Fatal(err)
		}
		again.After = last.Sequence
		if _, err := d.Commit(t.Context(), again); err != nil {
			t.Fatal(err)
		}
	}
	afterlife(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What afterlife adds.
const (
	afterlifeRecords      = 27 + 15 + 13 + windowRecords
	afterlifeCertificates = 6 + 5 + windowCertificates
)

// afterlife lets things happen that come after an issuance, or before one:
// requests in every state, renewals, revocations, uses, CRL numbers, device
// lists, challenges, deliveries, redistribution.
func afterlife(t testing.TB, d *bolt.Depot) {
	t.Helper()
	happens(t, d)
	windowlife(t, d)
	beside(t, d)
}

// happens lets happen what format 2 has room for.
func happens(t testing.TB, d *bolt.Depot) {
	t.Helper()
	ctx, first := t.Context(), 900_000
	after := func(r depot.Revocation) {
		_, err := d.Revoke(ctx, r)
		must(t, err)
	}
	for n := range 4 { // certificates to do something with
		i := depottest.Issuance(first + n)
		i.Identity.IssuerSHA256 = anIssuer
		i.Identity.RevokeUnusedAt = depottest.Epoch.Add(time.Duration(n) * time.Hour)
		_, err := d.Commit(ctx, i)
		must(t, err)
	}
	at := func(n int) string { return depottest.Issuance(first + n).Identity.CertificateSerial }
	renewal := depottest.Issuance(first + 4)
	renewal.Supersedes = at(0)
	_, err := d.Commit(ctx, renewal)
	must(t, err)
	for n := range 4 {
		r := depottest.Request(first + 10 + n)
		last := ""
		if n == 2 {
			r.Challenge.ID, r.Supersedes = "ch_request", at(1)
		}
		if n == 3 { // the same transaction again
			r.Transaction.ID, r.Draft.TransactionID = fmt.Sprintf("transaction %d", first+10), fmt.Sprintf("transaction %d", first+10)
			last = depottest.Request(first + 10).ID
		}
		must(t, d.AddRequest(ctx, r, 0, last))
		if n == 0 {
			_, err := d.Decide(ctx, depottest.Denial(r))
			must(t, err)
		}
		if n == 2 {
			_, err := d.Decide(ctx, depottest.Approval(r, first+12))
			must(t, err)
		}
	}
	revocation := depot.Revocation{CertificateSerial: at(1), Reason: depot.ReasonSuperseded, At: depottest.Epoch, By: "operator", Note: "not \xff UTF-8"}
	after(revocation)
	for _, reason := range []depot.RevocationReason{depot.ReasonCertificateHold, depot.ReasonRemoveFromCRL, depot.ReasonCertificateHold} {
		revocation.CertificateSerial, revocation.Reason = at(2), reason
		after(revocation)
	}
	revocation.CertificateSerial, revocation.Reason = at(12), depot.ReasonCertificateHold
	after(revocation)
	revocation.Reason = depot.ReasonRemoveFromCRL
	after(revocation)
	must(t, d.MarkUsed(ctx, at(3), depottest.Epoch.Add(time.Minute)))
	must(t, d.MarkUsed(ctx, at(2), depottest.Epoch.Add(time.Minute)))
	for _, atLeast := range []uint64{0, 1_700_000_000, 3} {
		_, err := d.TakeCRLNumber(ctx, anIssuer, atLeast)
		must(t, err)
	}
	for n := range 3 {
		var l depot.DeviceList
		depottest.Fill(&l, 40+n)
		if n == 2 {
			l.Devices = nil
		}
		l.ConfigurationID = fmt.Sprintf("rac%d", n)
		must(t, d.SetDeviceList(ctx, l))
	}
	must(t, d.RemoveDeviceList(ctx, "rac1", "operator", depottest.Epoch))
	challenges(t, d)
	deliveries(t, d)
}

// challenges gives out challenges that end in every state, or are forgotten.
func challenges(t testing.TB, d *bolt.Depot) {
	t.Helper()
	ctx := t.Context()
	for n := range 5 {
		c := depottest.Challenge(n)
		c.ID = fmt.Sprintf("ch_given_%d", n)
		must(t, d.AddChallenge(ctx, c, 100))
	}
	spends := depottest.Issuance(900_100)
	spends.Challenge.ID = "ch_given_1"
	_, err := d.Commit(ctx, spends)
	must(t, err)
	must(t, d.WithdrawChallenge(ctx, "ch_given_2", "operator", depottest.Epoch.Add(time.Minute)))
}

// deliveries holds certificates back: one stays so, one is delivered, two that
// renew others are void, one of them revoked before.
func deliveries(t testing.TB, d *bolt.Depot) {
	t.Helper()
	ctx := t.Context()
	at := func(n int) string { return depottest.Issuance(900_000 + n).Identity.CertificateSerial }
	for n, supersedes := range []string{"", "", at(3), at(4)} {
		i := depottest.HeldBack(900_110 + n)
		i.Identity.IssuerSHA256, i.Supersedes = anIssuer, supersedes
		_, err := d.Commit(ctx, i)
		must(t, err)
	}
	_, err := d.Deliver(ctx, at(111), depottest.Epoch.Add(time.Minute))
	must(t, err)
	_, err = d.Void(ctx, at(112), "the cloud said no", depottest.Epoch.Add(time.Minute))
	must(t, err)
	_, err = d.Revoke(ctx, depot.Revocation{CertificateSerial: at(113), Reason: depot.ReasonKeyCompromise, At: depottest.Epoch, By: "operator"})
	must(t, err)
	_, err = d.Void(ctx, at(113), "", depottest.Epoch.Add(time.Hour))
	must(t, err)
}

// beside lets happen what happens beside enrolment: tokens that live and one
// that does not, webhooks in every state, a clock that was moved, refusals, a
// trial.
func beside(t testing.TB, d *bolt.Depot) {
	t.Helper()
	ctx := t.Context()
	for n := range 2 {
		must(t, d.AddToken(ctx, depottest.Token(n)))
		w := depottest.Webhook(n)
		must(t, d.AddWebhook(ctx, w))
		must(t, d.SaveProgress(ctx, depot.Progress{WebhookID: w.ID, Store: []depot.Notification{{WebhookID: w.ID, Event: 2, LastError: "no answer"},
			{WebhookID: w.ID, Event: 3, Dead: true}}}))
	}
	_, err := d.RemoveToken(ctx, depottest.Token(0).ID, "operator", depottest.Epoch)
	must(t, err)
	gone, off := depottest.Webhook(0), depottest.Webhook(1)
	gone.Revision, gone.RemovedAt = 2, depottest.Epoch
	must(t, d.SetWebhook(ctx, gone, depot.EventWebhookRemoved))
	off.Revision = 2
	must(t, d.SetWebhook(ctx, off, depot.EventWebhookChanged))
	off.Revision, off.DisabledAt, off.DisabledWhy = 3, depottest.Epoch, "410 Gone"
	must(t, d.SetWebhook(ctx, off, depot.EventWebhookDisabled))
	for n := range 2 {
		var c depot.LabClock
		depottest.Fill(&c, 80+n)
		must(t, d.SetLabClock(ctx, c, depottest.Epoch.Add(time.Duration(n)*time.Hour)))
		var s depot.Seeding
		depottest.Fill(&s, 82+n)
		must(t, d.RecordSeeding(ctx, s))
	}
	var r depot.Rejections
	depottest.Fill(&r, 84)
	must(t, d.RecordRejections(ctx, r))
}

var anIssuer = [32]byte{1, 2, 3}

func configurations(t testing.TB, d *bolt.Depot) {
	t.Helper()
	var authority depot.AuthorityGeneration
	depottest.Fill(&authority, 4)
	must(t, d.RecordAuthority(t.Context(), authority))
	for n := range 4 {
		var c depot.Configuration
		depottest.Fill(&c, 10+n)
		c.ID, c.Name, c.Revision = fmt.Sprintf("rac%d", n), fmt.Sprintf("configuration %d", n), 1
		removed := c.RemovedAt
		c.RemovedAt = time.Time{}
		must(t, d.AddConfiguration(t.Context(), c))
		if n == 0 {
			continue
		}
		c.Revision, c.Name = 2, c.Name+" renamed"
		must(t, d.SetConfiguration(t.Context(), c, depot.EventConfigurationChanged))
		c.Revision, c.Secret.Hash = 3, []byte("another")
		must(t, d.SetConfiguration(t.Context(), c, depot.EventSecretReset))
		if n == 3 {
			c.Revision, c.RemovedAt = 4, removed
			must(t, d.SetConfiguration(t.Context(), c, depot.EventConfigurationRemoved))
		}
	}
	authority.RA = []byte("the next")
	must(t, d.RecordAuthority(t.Context(), authority))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dump returns everything in a closed database but what only concerns its own
// files (which records were still owed to the ledger, and how it was closed)
// and what the ledger does not have: CSRs, how far the announcer had come, and
// what webhooks still have to get.
func dump(t testing.TB, dir string) map[string]string {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "store.db"), 0o600, &bbolt.Options{ReadOnly: true})
	must(t, err)
	defer db.Close()
	all := make(map[string]string)
	must(t, db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(bucket []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				if !slices.Contains(unledgered, string(bucket)) && string(k) != "clean" {
					all[fmt.Sprintf("%s %q", bucket, k)] = string(v)
				}
				return nil
			})
		})
	}))
	return all
}

var unledgered = []string{"pending", "held_back_csrs", "rechecks", "rechecks_by_serial", "watermarks", "webhook_progress", "notifications"}

// sameDump compares two dumps and shows the first few differences.
func sameDump(t testing.TB, got, want map[string]string) {
	t.Helper()
	shown := 0
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if value, there := got[key]; !there || value != want[key] {
			t.Errorf("%.200s: got %.300q, want %.300q", key, value, want[key])
			if shown++; shown == 5 {
				t.Fatal("and more")
			}
		}
	}
	for key := range got {
		if _, there := want[key]; !there {
			t.Fatalf("%.200s should not be there", key)
		}
	}
}

// story is everything that a depot tells, record by record.
type story struct {
	Identities     []depot.Identity
	Transactions   []depot.Transaction
	Devices        []depot.Device
	Events         []depot.Event
	Configurations []depot.Configuration
	Live           []depot.Configuration
	Requests       []depot.Request
	DeviceLists    []depot.DeviceList
	Revoked        []depot.RevokedCertificate // of anIssuer
	Unused         []string                   // certificate serials
	CRLNumber      uint64                     // of anIssuer
	Challenges     []depot.Challenge
	HeldBack       []string // certificate serials
	Tokens         []depot.Token
	Webhooks       []depot.Webhook
	Clock          depot.LabClock
	Seedings       []depot.Seeding
	Windows        *windowStory // nil in what a format before 3 told
}

func tell(t testing.TB, d depot.Depot) story {
	t.Helper()
	var s story
	ctx := t.Context()
	for q := (depot.IdentityQuery{Limit: 500}); ; {
		page, err := d.Identities(ctx, q)
		must(t, err)
		s.Identities = append(s.Identities, page.Items...)
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			break
		}
	}
	for q := (depot.DeviceQuery{Limit: 500}); ; {
		page, err := d.Devices(ctx, q)
		must(t, err)
		s.Devices = append(s.Devices, page.Items...)
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			break
		}
	}
	for q := (depot.EventQuery{Limit: 500}); ; {
		page, err := d.Events(ctx, q)
		must(t, err)
		s.Events = append(s.Events, page.Items...)
		if page.NextCursor == "" {
			break
		}
		q.After = page.Items[len(page.Items)-1].Sequence
	}
	for _, i := range s.Identities {
		transaction, err := d.Transaction(ctx, i.ConfigurationID, i.TransactionID)
		must(t, err)
		s.Transactions = append(s.Transactions, transaction)
	}
	seen := map[string]bool{}
	for _, e := range s.Events {
		if id := e.ConfigurationID; strings.HasPrefix(string(e.Type), "configuration.") && !seen[id] {
			seen[id] = true
			c, err := d.Configuration(ctx, id)
			must(t, err)
			s.Configurations = append(s.Configurations, c)
		}
	}
	live, err := d.Configurations(ctx)
	must(t, err)
	s.Live = live
	tellSteps(t, d, &s)
	windows := tellWindows(t, d)
	s.Windows = &windows
	return s
}

// tellSteps adds what format 1 had no room for.
func tellSteps(t testing.TB, d depot.Depot, s *story) {
	t.Helper()
	ctx := t.Context()
	requests, err := d.Requests(ctx, depot.RequestQuery{})
	must(t, err)
	s.Requests = requests.Items
	for _, c := range s.Configurations {
		l, err := d.DeviceList(ctx, c.ID)
		if errors.Is(err, depot.ErrNotFound) {
			continue
		}
		must(t, err)
		s.DeviceLists = append(s.DeviceLists, l)
	}
	lines, err := d.Revoked(ctx, depot.RevokedQuery{IssuerSHA256: anIssuer})
	must(t, err)
	s.Revoked = lines.Items
	unused, err := d.UnusedSince(ctx, depottest.Epoch.Add(24*time.Hour), 0)
	must(t, err)
	for _, i := range unused {
		s.Unused = append(s.Unused, i.CertificateSerial)
	}
	s.CRLNumber, err = d.LastCRLNumber(ctx, anIssuer)
	must(t, err)
	given, err := d.Challenges(ctx, depot.ChallengeQuery{})
	must(t, err)
	s.Challenges = given.Items
	held, err := d.Undelivered(ctx)
	must(t, err)
	for _, u := range held {
		s.HeldBack = append(s.HeldBack, u.Identity.CertificateSerial)
	}
	s.Tokens, err = d.Tokens(ctx)
	must(t, err)
	s.Webhooks, err = d.Webhooks(ctx)
	must(t, err)
	s.Clock, err = d.LabClock(ctx)
	must(t, err)
	s.Seedings, err = d.Seedings(ctx)
	must(t, err)
}

// told opens a store, lets it tell everything and be looked through, and
// closes it.
func told(t testing.TB, dir string) story {
	t.Helper()
	d := open(t, dir)
	s := tell(t, d)
	sound(t, d)
	must(t, d.Close())
	return s
}

func sound(t testing.TB, d *bolt.Depot) {
	t.Helper()
	findings, err := d.Check(t.Context())
	must(t, err)
	for _, f := range findings {
		t.Errorf("Check found: %s", f)
	}
}

// A store that was made anew from its ledger equals the one that was lost, to
// the byte and record by record.
func TestRebuildEquals(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	dir := lived(t, n)
	before, records := dump(t, dir), told(t, dir)
	edit(t, func(b []byte) []byte { return b[:len(b)/2] }, dir, "store.db")
	damaged := read(t, dir, "store.db")
	ledger := read(t, dir, "ledger")

	made, err := bolt.Rebuild(t.Context(), dir, bolt.RebuildOptions{})
	must(t, err)
	if made.Certificates != n+10+afterlifeCertificates || made.Devices == 0 || made.Configurations != 4 || made.Records != uint64(n+10+2+1+4+6+1+afterlifeRecords) {
		t.Errorf("made %+v", made)
	}
	sameDump(t, dump(t, dir), before)
	if again := told(t, dir); !reflect.DeepEqual(again, records) {
		t.Errorf("(-want +got):\n%.3000s", cmp.Diff(records, again))
	}
	if len(records.Identities) != n+10+afterlifeCertificates {
		t.Fatalf("%d identities compared", len(records.Identities))
	}
	if made.OldDatabase != filepath.Join(dir, "store.db.damaged-1") || !bytes.Equal(read(t, made.OldDatabase), damaged) {
		t.Errorf("the damaged file is not at %q as it was", made.OldDatabase)
	}
	if !bytes.Equal(read(t, dir, "ledger"), ledger) {
		t.Error("the ledger was changed")
	}
}

// What was spent stays spent, what was issued is answered again, and the store
// goes on.
func TestRebuildGoesOn(t *testing.T) {
	dir := lived(t, 20)
	must(t, os.Remove(filepath.Join(dir, "store.db")))
	made, err := bolt.Rebuild(t.Context(), dir, bolt.RebuildOptions{})
	must(t, err)
	if made.OldDatabase != "" {
		t.Errorf("kept %q of nothing", made.OldDatabase)
	}
	d := open(t, dir)
	again := varied(100)
	again.Challenge.ID = "ch_5"
	if _, err := d.Commit(t.Context(), again); !errors.Is(err, depot.ErrChallengeSpent) {
		t.Errorf("a spent challenge: %v", err)
	}
	repeated := varied(7)
	repeated.Identity.CertificateSerial, repeated.Transaction.CertificateSerial = "0bff", "0bff"
	if _, err := d.Commit(t.Context(), repeated); !errors.Is(err, depot.ErrTransactionConflict) {
		t.Errorf("a repeated message: %v", err)
	}
	if _, err := d.Commit(t.Context(), varied(101)); err != nil {
		t.Error(err)
	}
	sound(t, d)
}

// Twice damaged, twice kept.
func TestRebuildKeepsEach(t *testing.T) {
	dir := lived(t, 3)
	for n := 1; n <= 2; n++ {
		damage := []byte(fmt.Sprintf("damage %d", n))
		write(t, damage, dir, "store.db")
		write(t, []byte("half a database"), dir, "store.db.rebuilt") // of a rebuild that died
		made, err := bolt.Rebuild(t.Context(), dir, bolt.RebuildOptions{})
		must(t, err)
		if got := read(t, dir, fmt.Sprintf("store.db.damaged-%d", n)); !bytes.Equal(got, damage) || made.OldDatabase == "" {
			t.Errorf("kept %q", got)
		}
	}
	told(t, dir)
}

// Whatever speaks against rebuilding leaves everything as it was.
func TestRebuildRefuses(t *testing.T) {
	middle := func(b []byte) []byte { // edits a record, checksum and all
		lines := bytes.SplitAfter(b, []byte("\n"))
		lines[len(lines)/2] = bytes.Replace(lines[len(lines)/2], []byte(`"type"`), []byte(`"tyqe"`), 1)
		return bytes.Join(lines, nil)
	}
	for _, test := range []struct {
		name   string
		before func(t *testing.T, dir string)
		o      bolt.RebuildOptions
		want   string
	}{
		{"edited", func(t *testing.T, dir string) { edit(t, middle, dir, "ledger") }, bolt.RebuildOptions{}, "is damaged at byte"},
		{"cut", func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] }, dir, "ledger")
		}, bolt.RebuildOptions{}, "the end was cut off"},
		{"torn", func(t *testing.T, dir string) {
			edit(t, func(b []byte) []byte { return b[:len(b)-5] }, dir, "ledger")
		}, bolt.RebuildOptions{}, "the end was cut off"},
		{"foreign", func(t *testing.T, dir string) {
			other := filepath.Join(t.TempDir(), "store")
			must(t, open(t, other).Close())
			write(t, read(t, other, "ledger"), dir, "ledger")
		}, bolt.RebuildOptions{}, "files of two stores were mixed"},
		{"empty", func(t *testing.T, dir string) { write(t, nil, dir, "ledger") }, bolt.RebuildOptions{}, "holds no record"},
		{"missing", func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "ledger"))) }, bolt.RebuildOptions{AcceptLoss: true}, "ledger"},
		{"certificate", nil, bolt.RebuildOptions{Certificate: func(depot.Identity) error { return errors.New("not ours") }}, "not ours"},
		{"authority", nil, bolt.RebuildOptions{Authority: func(depot.AuthorityGeneration) error { return errors.New("not ours") }}, "not ours"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := lived(t, 5)
			if test.before != nil {
				test.before(t, dir)
			}
			before := files(t, dir)
			_, err := bolt.Rebuild(t.Context(), dir, test.o)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if diff := cmp.Diff(before, files(t, dir)); diff != "" {
				t.Errorf("changed:\n%.500s", diff)
			}
		})
	}
}

// files returns the content of every file of a directory.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		all[e.Name()] = string(read(t, dir, e.Name()))
	}
	return all
}

// A loss that is accepted costs what lies behind the damage and nothing else,
// and what is not used any more is kept.
func TestRebuildAcceptsLoss(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	commit(t, d, 0, 6)
	must(t, d.Close())
	ledger := read(t, dir, "ledger")
	lines := bytes.SplitAfter(ledger, []byte("\n"))
	lines[4][100] ^= 1 // record 5: the fourth certificate
	broken := bytes.Join(lines, nil)
	write(t, broken, dir, "ledger")
	write(t, []byte("not a database"), dir, "store.db")

	made, err := bolt.Rebuild(t.Context(), dir, bolt.RebuildOptions{AcceptLoss: true})
	must(t, err)
	if made.Certificates != 3 || made.LostBytes != int64(len(bytes.Join(lines[4:], nil))) || !bytes.Equal(read(t, made.OldLedger), broken) {
		t.Errorf("made %+v", made)
	}
	d = open(t, dir)
	holds(t, d, 0, 3)
	commit(t, d, 3, 6)
	holds(t, d, 0, 6)
}

// A server that runs keeps its store.
func TestRebuildInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	commit(t, d, 0, 1)
	var inUse *bolt.InUseError
	_, err := bolt.Rebuild(t.Context(), dir, bolt.RebuildOptions{})
	if !errors.As(err, &inUse) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("Rebuild: %v", err)
	}
	if _, err := bolt.VerifyStore(t.Context(), dir); !errors.As(err, &inUse) {
		t.Errorf("VerifyStore: %v", err)
	}
	holds(t, d, 0, 1)
}

// An ended context ends the work and leaves everything as it was.
func TestRebuildStops(t *testing.T) {
	dir := lived(t, 2)
	before := files(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bolt.Rebuild(ctx, dir, bolt.RebuildOptions{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if diff := cmp.Diff(before, files(t, dir)); diff != "" {
		t.Error(diff)
	}
}
