package configuration_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/ca"
	"understudy.example/understudy/challenge"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/scep"
)

var begin = time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)

// openDepot opens the store in a directory; closing it is part of the test.
func openDepot(t *testing.T, dir string, c clock.Clock) depot.Depot {
	t.Helper()
	d, err := bolt.Open(dir, bolt.Options{Clock: c, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func load(t *testing.T, d depot.Depot, c clock.Clock) *configuration.Set {
	t.Helper()
	s, err := configuration.Load(t.Context(), d, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newSet returns a set over a new store.
func newSet(t *testing.T) (*configuration.Set, depot.Depot, *clock.Manual) {
	t.Helper()
	c := clock.NewManual(begin)
	d := openDepot(t, filepath.Join(t.TempDir(), "store"), c)
	return load(t, d, c), d, c
}

func add(t *testing.T, s *configuration.Set, name string) (*configuration.Live, challenge.Secret) {
	t.Helper()
	l, key, err := s.Add(t.Context(), named(name), nil)
	if err != nil {
		t.Fatal(err)
	}
	return l, key
}

// accepts asks the validator as an enrolment does.
func accepts(l *configuration.Live, key challenge.Secret) bool {
	g, err := l.Validator.Validate(context.Background(), challenge.Attempt{Challenge: key})
	return err == nil && g != nil
}

func TestAdd(t *testing.T) {
	s, d, _ := newSet(t)
	if len(s.List()) != 0 {
		t.Errorf("a new store has configurations: %v", s.List())
	}
	settings := named("default")
	settings.KeySizes = []int{4096, 2048}
	l, key, err := s.Add(t.Context(), settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := challenge.CheckSecretKey(key.Reveal()); err != nil {
		t.Errorf("generated secret key: %v", err)
	}
	if !accepts(l, key) || !l.Matches(key) || l.Matches(challenge.NewSecret("x")) || accepts(l, challenge.NewSecret("")) {
		t.Error("the configuration does not accept its secret key, or accepts others")
	}
	r := l.Record
	if r.Name != "default" || r.Revision != 1 || !r.CreatedAt.Equal(begin) || !r.ChangedAt.Equal(begin) || !r.SecretResetAt.IsZero() || !r.RemovedAt.IsZero() {
		t.Errorf("record %+v", r)
	}
	stored, err := d.Configuration(t.Context(), r.ID)
	if err != nil {
		t.Fatal(err)
	}
	if stored.Name != "default" || string(stored.Secret.Hash) != string(r.Secret.Hash) || strings.Contains(fmt.Sprintf("%+v", stored), key.Reveal()) {
		t.Errorf("stored %+v", stored)
	}
	if got, ok := s.ByID(r.ID); !ok || got != l {
		t.Error("ByID does not find it")
	}
	if got, ok := s.ByName("default"); !ok || got != l {
		t.Error("ByName does not find it")
	}
	for _, k := range []string{"default", r.ID} {
		if got, err := s.Find(k); err != nil || got != l {
			t.Errorf("Find(%q) = %v, %v", k, got, err)
		}
	}
	if _, err := s.Find("other"); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("Find(other): %v", err)
	}
	if _, ok := s.ByID("default"); ok {
		t.Error("ByID finds names")
	}
	add(t, s, "b")
	add(t, s, "a")
	var names []string
	for _, l := range s.List() {
		names = append(names, l.Record.Name)
	}
	if strings.Join(names, " ") != "a b default" {
		t.Errorf("List: %q", names)
	}
}

func TestAddRefuses(t *testing.T) {
	s, d, _ := newSet(t)
	add(t, s, "taken")
	if _, _, err := s.Add(t.Context(), named("taken"), nil); !errors.Is(err, depot.ErrExists) {
		t.Errorf("name in use: %v", err)
	}
	weak := challenge.NewSecret("short and weak")
	_, _, err := s.Add(t.Context(), named("Bad Name"), &weak)
	if got := strings.Join(fieldsOf(t, err), " "); got != "name secret_key" {
		t.Errorf("problems with %q", got)
	}
	if strings.Contains(err.Error(), weak.Reveal()) {
		t.Errorf("the error holds the secret key: %v", err)
	}
	given := challenge.NewSecret("0123456789abcdefABCDEF")
	l, key, err := s.Add(t.Context(), named("given"), &given)
	if err != nil || key.Reveal() != given.Reveal() || !accepts(l, given) {
		t.Errorf("given secret key: %v", err)
	}
	if list, err := d.Configurations(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("%d configurations are stored, %v; want 2", len(list), err)
	}
	if len(s.List()) != 2 {
		t.Errorf("%d configurations are live, want 2", len(s.List()))
	}
}

// What a configuration becomes is what its settings say.
func TestLive(t *testing.T) {
	s, _, _ := newSet(t)
	plain, _ := add(t, s, "plain")
	settings := configuration.Settings{Name: "other", Mode: depot.ModeStatic, Purpose: depot.PurposeManagementAttestation,
		ValiditySeconds: 3600, KeySizes: []int{3072, 2048}, KeyUsage: "signing,agreement", RetryPeriodSeconds: 0,
		Chain: "no-root", Strict: true, SHA1: "refuse", DES: "refuse", KeyChecks: "strict",
		Approval: "manual-new", ApprovalTTLSeconds: 3600, Renewal: true, RenewalWindowSeconds: 60, Queries: "enrolled",
		NextCASigner: "ra", RevokeUnusedAfterSeconds: 7200, DevicesFile: "/srv/devices.csv",
		Window: configuration.WindowSettings{Kind: "percent_remaining", Value: 20}, AckTimeoutSeconds: 60,
		ChallengeTTLSeconds: 60, MaxOutstanding: 5, Page: "ndes", IntuneHosts: []string{}}
	other, _, err := s.Add(t.Context(), settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := begin.Add(time.Hour)
	checks := []struct {
		what      string
		got, want any
	}{
		{"policy", plain.Policy, ca.Policy{Purpose: ca.PurposeDeviceAccess, Validity: 365 * 24 * time.Hour, KeySizes: []int{2048}}},
		{"options", plain.SCEPOptions(now), scep.Options{AllowSHA1: true, AllowDES: true, KeySizes: []int{2048}, Now: now}},
		{"retry period", plain.RetryPeriod(), 10 * time.Minute},
		{"no root", plain.NoRoot, false},
		{"other policy", other.Policy, ca.Policy{Purpose: ca.PurposeManagementAttestation, Validity: time.Hour, KeySizes: []int{2048, 3072},
			KeyAgreement: true, StrictKeyChecks: true, StrictExtensions: true}},
		{"other options", other.SCEPOptions(now), scep.Options{Strict: true, KeySizes: []int{2048, 3072}, Now: now}},
		{"other retry period", other.RetryPeriod(), time.Duration(0)},
		{"other no root", other.NoRoot, true},
		{"window", plain.Window().String(), "days_before:30"},
		{"other window", other.Window().String(), "percent_remaining:20"},
		{"other acknowledgements count for", other.Window().AckTimeout, time.Minute},
	}
	for _, c := range checks {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.what, c.got, c.want)
		}
	}
	settings.KeySizes = []int{2048, 3072}
	if got := configuration.SettingsOf(other.Record); !reflect.DeepEqual(got, settings) {
		t.Errorf("settings:\n got %+v\nwant %+v", got, settings)
	}
}

func TestChange(t *testing.T) {
	s, d, c := newSet(t)
	before, key := add(t, s, "lab")
	add(t, s, "taken")
	c.Advance(time.Hour)
	after, err := s.Change(t.Context(), "lab", []byte(`{"name":"renamed","validity_seconds":7200}`))
	if err != nil {
		t.Fatal(err)
	}
	if before.Record.Name != "lab" || before.Policy.Validity != 365*24*time.Hour {
		t.Error("a request in flight sees the change")
	}
	if after.Record.ID != before.Record.ID || after.Policy.Validity != 2*time.Hour || after.Record.Revision != 2 ||
		!after.Record.ChangedAt.Equal(begin.Add(time.Hour)) || !after.Record.CreatedAt.Equal(begin) || !accepts(after, key) {
		t.Errorf("changed to %+v", after.Record)
	}
	if _, ok := s.ByName("lab"); ok {
		t.Error("the old name is still there")
	}
	if got, ok := s.ByName("renamed"); !ok || got != after {
		t.Error("the new name is not there")
	}
	stored, err := d.Configuration(t.Context(), after.Record.ID)
	if err != nil || stored.Revision != 2 || stored.Name != "renamed" || stored.Policy.Validity != 2*time.Hour {
		t.Errorf("stored %+v, %v", stored, err)
	}
	if same, err := s.Change(t.Context(), after.Record.ID, []byte(`{"validity_seconds":7200}`)); err != nil || same != after {
		t.Errorf("a change of nothing: %v, %v", same, err)
	}
	if _, err := s.Change(t.Context(), "renamed", []byte(`{"name":"taken"}`)); !errors.Is(err, depot.ErrExists) {
		t.Errorf("name in use: %v", err)
	}
	_, err = s.Change(t.Context(), "renamed", []byte(`{"name":"No","validity_seconds":0}`))
	if got := strings.Join(fieldsOf(t, err), " "); got != "name validity_seconds" {
		t.Errorf("problems with %q", got)
	}
	_, err = s.Change(t.Context(), "renamed", []byte(`{"validity_seconds":36028797018967568}`)) // 2^55 + an hour
	if got := strings.Join(fieldsOf(t, err), " "); got != "validity_seconds" {
		t.Errorf("seconds that overflow to an hour: problems with %q", got)
	}
	_, err = s.Change(t.Context(), "renamed", []byte(`{"secret_key":"x"}`))
	if got := strings.Join(fieldsOf(t, err), " "); got != "secret_key" {
		t.Errorf("problems with %q", got)
	}
	if _, err := s.Change(t.Context(), "nobody", []byte(`{}`)); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("no such configuration: %v", err)
	}
	if now, _ := s.ByName("renamed"); now != after {
		t.Error("a refused change changed something")
	}
}

func TestResetSecret(t *testing.T) {
	s, d, c := newSet(t)
	before, old := add(t, s, "lab")
	other, otherKey := add(t, s, "other")
	c.Advance(time.Minute)
	after, fresh, err := s.ResetSecret(t.Context(), "lab", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !accepts(after, fresh) || accepts(after, old) || after.Matches(old) {
		t.Error("after the reset the old secret key counts, or the new one does not")
	}
	if !accepts(before, old) || accepts(before, fresh) {
		t.Error("the reset disturbs a request in flight")
	}
	if now, _ := s.ByID(before.Record.ID); now != after {
		t.Error("a new request does not get the new secret key")
	}
	if !accepts(other, otherKey) {
		t.Error("the reset touches another configuration")
	}
	if r := after.Record; r.Revision != 2 || !r.SecretResetAt.Equal(begin.Add(time.Minute)) {
		t.Errorf("record %+v", r)
	}
	given := challenge.NewSecret("0123456789abcdefABCDEF")
	if l, key, err := s.ResetSecret(t.Context(), before.Record.ID, &given); err != nil || key.Reveal() != given.Reveal() || !accepts(l, given) {
		t.Errorf("given secret key: %v", err)
	}
	weak := challenge.NewSecret("0123456789-----")
	_, _, err = s.ResetSecret(t.Context(), "lab", &weak)
	if got := strings.Join(fieldsOf(t, err), " "); got != "secret_key" {
		t.Errorf("problems with %q", got)
	}
	if _, _, err := s.ResetSecret(t.Context(), "nobody", nil); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("no such configuration: %v", err)
	}
	events, err := d.Events(t.Context(), depot.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	resets := 0
	for _, e := range events.Items {
		if e.Type == depot.EventSecretReset && e.ConfigurationID == before.Record.ID {
			resets++
		}
	}
	if resets != 2 {
		t.Errorf("%d events of a reset, want 2", resets)
	}
}

func TestRemove(t *testing.T) {
	s, d, _ := newSet(t)
	gone, key := add(t, s, "lab")
	if err := s.Remove(t.Context(), "lab"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find(gone.Record.ID); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("after Remove: %v", err)
	}
	if len(s.List()) != 0 {
		t.Error("still listed")
	}
	if !accepts(gone, key) {
		t.Error("Remove disturbs a request in flight")
	}
	stored, err := d.Configuration(t.Context(), gone.Record.ID)
	if err != nil || stored.RemovedAt.IsZero() || stored.Revision != 2 || len(stored.Secret.Hash) != 0 {
		t.Errorf("stored %+v, %v", stored, err)
	}
	if err := s.Remove(t.Context(), "lab"); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("second Remove: %v", err)
	}
	again, _ := add(t, s, "lab")
	if again.Record.ID == gone.Record.ID {
		t.Error("the id came back")
	}
}

func TestLoadAgain(t *testing.T) {
	dir, c := filepath.Join(t.TempDir(), "store"), clock.NewManual(begin)
	d := openDepot(t, dir, c)
	s := load(t, d, c)
	_, first := add(t, s, "lab")
	add(t, s, "gone")
	if err := s.Remove(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	want, fresh, err := s.ResetSecret(t.Context(), "lab", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	s = load(t, openDepot(t, dir, c), c)
	got, ok := s.ByName("lab")
	if !ok || len(s.List()) != 1 {
		t.Fatalf("loaded %v", s.List())
	}
	if !reflect.DeepEqual(got.Record, want.Record) || !reflect.DeepEqual(got.Policy, want.Policy) {
		t.Errorf("loaded\n%+v, stored\n%+v", got.Record, want.Record)
	}
	if !got.Matches(fresh) || got.Matches(first) || !accepts(got, fresh) {
		t.Error("the secret key did not survive")
	}
	if _, err := s.Change(t.Context(), "lab", []byte(`{"strict":true}`)); err != nil {
		t.Errorf("change after loading: %v", err)
	}
}

// A server must not start with a configuration that everybody could use, or
// that it does not understand; it says which ones, all at once.
func TestLoadRefuses(t *testing.T) {
	c := clock.NewManual(begin)
	d := openDepot(t, filepath.Join(t.TempDir(), "store"), c)
	s := load(t, d, c)
	good, _ := add(t, s, "good")
	for i, change := range []func(*depot.Configuration){
		func(c *depot.Configuration) { c.Name, c.Secret = "no-secret", depot.SecretHash{} },
		func(c *depot.Configuration) { c.Name, c.Secret.Hash = "half-secret", c.Secret.Hash[:16] },
		func(c *depot.Configuration) { c.Name, c.Mode = "tomorrow", "tomorrow" },
		func(c *depot.Configuration) { c.Name, c.Policy.Validity = "no-time", 0 },
	} {
		r := good.Record
		r.ID = fmt.Sprintf("rac%017d", i)
		change(&r)
		if err := d.AddConfiguration(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	s, err := configuration.Load(t.Context(), d, c, nil)
	if err == nil || s != nil {
		t.Fatalf("Load = %v, %v", s, err)
	}
	for _, want := range []string{
		`configuration "no-secret" (rac00000000000000000) has nothing to judge challenges by: there is no secret key`,
		`configuration "half-secret"`, "mode must be static, dynamic or intune", `configuration "no-time"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), `"good"`) {
		t.Errorf("the error names a good one: %v", err)
	}
}

// faulty is a depot whose writes report an error, after they happened or
// instead.
type faulty struct {
	depot.Depot
	before, after error
}

func (f *faulty) AddConfiguration(ctx context.Context, c depot.Configuration) error {
	if f.before != nil {
		return f.before
	}
	return cmp.Or(f.Depot.AddConfiguration(ctx, c), f.after)
}

func (f *faulty) SetConfiguration(ctx context.Context, c depot.Configuration, cause depot.EventType) error {
	if f.before != nil {
		return f.before
	}
	return cmp.Or(f.Depot.SetConfiguration(ctx, c, cause), f.after)
}

// When a write fails, what is live is what is stored.
func TestFailedWrites(t *testing.T) {
	for _, happened := range []bool{false, true} {
		t.Run(fmt.Sprintf("happened=%v", happened), func(t *testing.T) {
			c := clock.NewManual(begin)
			f := &faulty{Depot: openDepot(t, filepath.Join(t.TempDir(), "store"), c)}
			s := load(t, f, c)
			lab, _ := add(t, s, "lab")
			add(t, s, "doomed")
			if happened {
				f.after = io.ErrClosedPipe
			} else {
				f.before = io.ErrClosedPipe
			}
			if l, key, err := s.Add(t.Context(), named("new"), nil); !errors.Is(err, io.ErrClosedPipe) || l != nil || !key.Empty() {
				t.Errorf("Add = %v, %v", l, err)
			}
			if l, err := s.Change(t.Context(), "lab", []byte(`{"strict":true}`)); !errors.Is(err, io.ErrClosedPipe) || l != nil {
				t.Errorf("Change = %v, %v", l, err)
			}
			if l, key, err := s.ResetSecret(t.Context(), "lab", nil); !errors.Is(err, io.ErrClosedPipe) || l != nil || !key.Empty() {
				t.Errorf("ResetSecret = %v, %v", l, err)
			}
			if err := s.Remove(t.Context(), "doomed"); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("Remove: %v", err)
			}
			f.before, f.after = nil, nil
			stored, err := f.Configurations(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			live := s.List()
			if len(live) != len(stored) {
				t.Fatalf("%d are live and %d stored", len(live), len(stored))
			}
			for i := range stored {
				if !reflect.DeepEqual(live[i].Record, withDefaults(stored[i])) {
					t.Errorf("live\n%+v, stored\n%+v", live[i].Record, stored[i])
				}
			}
			now, _ := s.ByName("lab")
			if got := now.Record.Revision; happened != (got == 3) {
				t.Errorf("revision %d", got)
			}
			if lab.Record.Policy.Strict {
				t.Error("a request in flight sees the change")
			}
			if _, err := s.Change(t.Context(), "lab", []byte(`{"sha1":"refuse"}`)); err != nil {
				t.Errorf("change after the fault: %v", err)
			}
		})
	}
}

// withDefaults returns a record with what the store of an older version has no
// place for.
func withDefaults(c depot.Configuration) depot.Configuration {
	settings := configuration.SettingsOf(c)
	c.Policy.Approval, c.Policy.ApprovalTTL = settings.Approval, time.Duration(settings.ApprovalTTLSeconds)*time.Second
	c.Policy.Queries, c.Policy.NextCASigner = settings.Queries, settings.NextCASigner
	return c
}

// A configuration that was stored before there were these settings is live
// with their defaults, and what does not change them writes nothing.
func TestLoadOldRecord(t *testing.T) {
	one, d, c := newSet(t)
	record := func() depot.Configuration { l, _ := add(t, one, "new"); return l.Record }()
	old := record
	old.ID, old.Name = "rac"+strings.Repeat("0", 17), "old"
	p := &old.Policy
	p.Approval, p.ApprovalTTL, p.Queries, p.NextCASigner = "", 0, "", ""
	if err := d.AddConfiguration(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	s := load(t, d, c)
	l, ok := s.ByName("old")
	if !ok || !reflect.DeepEqual(l.Record.Policy, record.Policy) {
		t.Fatalf("live with\n%+v, want\n%+v", l.Record.Policy, record.Policy)
	}
	if l, err := s.Change(t.Context(), "old", []byte(`{"approval":"auto","queries":"refuse"}`)); err != nil || l.Record.Revision != 1 {
		t.Errorf("a change to what is so: revision %d, %v", l.Record.Revision, err)
	}
}

// A second server on the same store is noticed, not overwritten.
func TestChangeByAnotherServer(t *testing.T) {
	one, d, c := newSet(t)
	add(t, one, "lab")
	two := load(t, d, c)
	if _, err := two.Change(t.Context(), "lab", []byte(`{"strict":true}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Change(t.Context(), "lab", []byte(`{"sha1":"refuse"}`)); !errors.Is(err, depot.ErrTransactionConflict) {
		t.Fatalf("Change = %v, want a conflict", err)
	}
	l, err := one.Change(t.Context(), "lab", []byte(`{"sha1":"refuse"}`))
	if err != nil || !l.Record.Policy.Strict || l.Record.Policy.SHA1 != "refuse" {
		t.Errorf("second try: %+v, %v", l, err)
	}
}

func TestClosedStore(t *testing.T) {
	s, d, _ := newSet(t)
	l, key := add(t, s, "lab")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.ResetSecret(t.Context(), "lab", nil); !errors.Is(err, depot.ErrUnavailable) {
		t.Errorf("ResetSecret = %v, want ErrUnavailable", err)
	}
	if now, ok := s.ByName("lab"); !ok || now != l || !accepts(now, key) {
		t.Error("a failed write changed what is live")
	}
}

// alone is a depot that notices two writes at once.
type alone struct {
	depot.Depot
	writing   atomic.Int32
	disturbed atomic.Bool
}

func (a *alone) write(f func() error) error {
	if a.writing.Add(1) > 1 {
		a.disturbed.Store(true)
	}
	defer a.writing.Add(-1)
	return f()
}

func (a *alone) AddConfiguration(ctx context.Context, c depot.Configuration) error {
	return a.write(func() error { return a.Depot.AddConfiguration(ctx, c) })
}

func (a *alone) SetConfiguration(ctx context.Context, c depot.Configuration, cause depot.EventType) error {
	return a.write(func() error { return a.Depot.SetConfiguration(ctx, c, cause) })
}

// Readers always see one whole state while writers change it, one by one.
func TestConcurrently(t *testing.T) {
	c := clock.NewManual(begin)
	d := &alone{Depot: openDepot(t, filepath.Join(t.TempDir(), "store"), c)}
	s := load(t, d, c)
	live, _ := add(t, s, "lab")
	id := live.Record.ID
	done := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				l, ok := s.ByID(id)
				if !ok {
					t.Error("the configuration is away")
					return
				}
				if l.SCEPOptions(begin).Strict != l.Policy.StrictExtensions || l.Record.ID != id {
					t.Error("half a change is visible")
					return
				}
			}
		})
	}
	for i := range 4 {
		writers.Go(func() {
			for j := range 4 {
				if _, err := s.Change(t.Context(), id, fmt.Appendf(nil, `{"strict":%v}`, j%2 == 0)); err != nil {
					t.Error(err)
				}
				if _, _, err := s.ResetSecret(t.Context(), id, nil); err != nil {
					t.Error(err)
				}
				if _, _, err := s.Add(t.Context(), named(fmt.Sprintf("n%d-%d", i, j)), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	if d.disturbed.Load() {
		t.Error("two writers were at it at once")
	}
	if got := len(s.List()); got != 17 {
		t.Errorf("%d configurations, want 17", got)
	}
}

func TestTwoAtOnceGetOneName(t *testing.T) {
	s, _, _ := newSet(t)
	var wg sync.WaitGroup
	results := make([]error, 4)
	for i := range results {
		wg.Go(func() { _, _, results[i] = s.Add(t.Context(), named("lab"), nil) })
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, depot.ErrExists):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d got the name", won)
	}
}
