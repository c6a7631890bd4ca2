package redistribution_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
	"understudy.example/understudy/redistribution"
)

// world is a store with one configuration, and who works with it.
type world struct {
	t       *testing.T
	open    func() depot.Depot
	store   depot.Depot
	clock   *clock.Manual
	service *redistribution.Service
	sweeper *redistribution.Sweeper
	issued  int
	seen    uint64 // events that were looked at
}

const year = 365 * day

// begin is when worlds begin.
var begin = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// onEachStore lets a story happen in the model and on disk.
func onEachStore(t *testing.T, story func(*world)) {
	t.Run("model", func(t *testing.T) { story(newWorld(t)) })
	t.Run("bolt", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "store")
		story(worldOn(t, func() depot.Depot {
			store, err := bolt.Open(dir, bolt.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return store
		}))
	})
}

// newWorld is a world in the model.
func newWorld(t *testing.T) *world {
	t.Helper()
	model := depottest.NewMemory()
	return worldOn(t, func() depot.Depot { return unclosed{model} })
}

// unclosed is a model that outlives a restart.
type unclosed struct{ depot.Depot }

func (unclosed) Close() error { return nil }

func worldOn(t *testing.T, open func() depot.Depot) *world {
	t.Helper()
	w := &world{t: t, open: open, store: open(), clock: clock.NewManual(begin)}
	t.Cleanup(func() { w.must(w.store.Close()) })
	w.serve()
	w.configure("rac1", depot.ConfigurationPolicy{Validity: year})
	return w
}

// restart is the end of a server and the start of another one.
func (w *world) restart() {
	w.t.Helper()
	w.must(w.store.Close())
	w.store = w.open()
	w.serve()
}

func (w *world) serve() {
	w.service = redistribution.New(w.store, w.clock, nil)
	w.sweeper = redistribution.NewSweeper(w.store, w.clock, nil, slog.New(slog.DiscardHandler))
}

// configure adds or changes a configuration.
func (w *world) configure(id string, p depot.ConfigurationPolicy) {
	w.t.Helper()
	c, err := w.store.Configuration(w.t.Context(), id)
	if errors.Is(err, depot.ErrNotFound) {
		w.must(w.store.AddConfiguration(w.t.Context(), depot.Configuration{
			ID: id, Name: "configuration " + id, Revision: 1, Policy: p, CreatedAt: w.clock.Now(),
		}))
		return
	}
	w.must(err)
	c.Policy, c.Revision, c.ChangedAt = p, c.Revision+1, w.clock.Now()
	w.must(w.store.SetConfiguration(w.t.Context(), c, depot.EventConfigurationChanged))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// issue commits a certificate of a device, good from now on for so long.
func (w *world) issue(device string, lifetime time.Duration, more ...func(*depot.Issuance)) string {
	w.t.Helper()
	w.issued++
	serial := fmt.Sprintf("%04x", 0x1000+w.issued)
	hash := sha256.Sum256([]byte(serial))
	now := w.clock.Now()
	i := depot.Issuance{
		Transaction: depot.Transaction{
			ConfigurationID: "rac1", ID: "tx" + serial, MessageType: "19", MessageSHA256: hash, CertificateSerial: serial, At: now,
		},
		Identity: depot.Identity{
			CertificateSerial: serial, SHA256: hash, DER: []byte(serial), TransactionID: "tx" + serial,
			ConfigurationID: "rac1", ConfigurationName: "configuration rac1", IssuedAt: now,
			NotBefore: now.Truncate(time.Second), NotAfter: now.Truncate(time.Second).Add(lifetime),
			Device: depot.DeviceNames{Key: "serial:" + device, DeviceSerial: device, ProfileUUID: "6F96-" + device},
		},
	}
	for _, change := range more {
		change(&i)
	}
	_, err := w.store.Commit(w.t.Context(), i)
	w.must(err)
	return serial
}

func of(configurationID string) func(*depot.Issuance) {
	return func(i *depot.Issuance) {
		i.Transaction.ConfigurationID, i.Identity.ConfigurationID = configurationID, configurationID
	}
}

func heldBack(i *depot.Issuance) { i.HoldBack, i.CSR = true, []byte("csr") }

func (w *world) revoke(serial string, reason depot.RevocationReason) {
	w.t.Helper()
	_, err := w.store.Revoke(w.t.Context(), depot.Revocation{CertificateSerial: serial, Reason: reason, At: w.clock.Now(), By: "admin"})
	w.must(err)
}

func (w *world) sweep() {
	w.t.Helper()
	w.must(w.sweeper.Sweep(w.t.Context()))
}

// announced sweeps and compares what was announced since it was last asked:
// "due 1001, missed 1001".
func (w *world) announced(want string) {
	w.t.Helper()
	w.sweep()
	if got := w.news(); got != want {
		w.t.Errorf("announced %q, want %q", got, want)
	}
}

// news is what was announced since it was last asked for.
func (w *world) news() string {
	w.t.Helper()
	var got []string
	for {
		page, err := w.store.Events(w.t.Context(), depot.EventQuery{After: w.seen})
		w.must(err)
		for _, e := range page.Items {
			w.seen = e.Sequence
			switch e.Type {
			case depot.EventRedistributionDue, depot.EventRedistributionStalled, depot.EventRedistributionMissed,
				depot.EventRedistributionFulfilled, depot.EventCertificateSuperseded:
				_, name, _ := strings.Cut(string(e.Type), ".")
				got = append(got, name+" "+e.CertificateSerial)
			}
		}
		if page.NextCursor == "" {
			return strings.Join(got, ", ")
		}
	}
}

// state compares the state of a certificate, in all the ways there are to ask.
func (w *world) state(serial string, want redistribution.State) {
	w.t.Helper()
	item, err := w.service.Show(w.t.Context(), serial, time.Time{})
	w.must(err)
	if item.State != want {
		w.t.Errorf("%s is %s, want %s", serial, item.State, want)
	}
	for _, state := range redistribution.States() {
		listed := slices.Contains(w.list(redistribution.Query{States: []redistribution.State{state}, Limit: 500}), serial)
		if listed != (state == want) {
			w.t.Errorf("%s is listed as %s: %t, want it as %s", serial, state, listed, want)
		}
	}
}

// list returns the certificate serials of all pages.
func (w *world) list(q redistribution.Query) (serials []string) {
	w.t.Helper()
	for {
		page, err := w.service.List(w.t.Context(), q)
		w.must(err)
		for _, item := range page.Items {
			serials = append(serials, item.Identity.CertificateSerial)
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" {
			return serials
		}
	}
}

func (w *world) acknowledge(serial string) redistribution.Item {
	w.t.Helper()
	item, made, err := w.service.Acknowledge(w.t.Context(), serial, redistribution.Acknowledging{By: "jamf"})
	w.must(err)
	if !made {
		w.t.Errorf("%s was acknowledged already", serial)
	}
	return item
}
