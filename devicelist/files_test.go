package devicelist_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/depottest"
	"understudy.example/understudy/devicelist"
)

// lab is a configuration with its list in a file.
type lab struct {
	t     *testing.T
	path  string
	depot depot.Depot
	set   *configuration.Set
	files *devicelist.Files
	log   strings.Builder
	at    time.Time // of the file's last change
}

func newLab(t *testing.T, wrap func(depot.Depot) depot.Depot) *lab {
	t.Helper()
	c := clock.NewManual(time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC))
	l := &lab{t: t, path: filepath.Join(t.TempDir(), "devices.csv"), at: c.Now(), depot: depottest.NewMemory()}
	if wrap != nil {
		l.depot = wrap(l.depot)
	}
	var err error
	if l.set, err = configuration.Load(t.Context(), l.depot, c, nil); err != nil {
		t.Fatal(err)
	}
	settings := configuration.Defaults()
	settings.Name, settings.DevicesFile = "lab", l.path
	if _, _, err := l.set.Add(t.Context(), settings, nil); err != nil {
		t.Fatal(err)
	}
	l.files = devicelist.New(l.set, devicelist.NewBook(l.depot), c, slog.New(slog.NewTextHandler(&l.log, nil)))
	return l
}

// write changes the file, a second later than the last time.
func (l *lab) write(text string) {
	l.t.Helper()
	l.at = l.at.Add(time.Second)
	if err := os.WriteFile(l.path, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	if err := os.Chtimes(l.path, l.at, l.at); err != nil {
		l.t.Fatal(err)
	}
}

// listed returns the serials in the stored list, "none" when there is no list.
func (l *lab) listed() string {
	l.t.Helper()
	live, _ := l.set.ByName("lab")
	list, err := l.depot.DeviceList(l.t.Context(), live.Record.ID)
	if errors.Is(err, depot.ErrNotFound) {
		return "none"
	}
	if err != nil {
		l.t.Fatal(err)
	}
	var serials []string
	for _, d := range list.Devices {
		serials = append(serials, d.DeviceSerial)
	}
	return strings.Join(serials, " ")
}

func (l *lab) holds(want string) {
	l.t.Helper()
	if got := l.listed(); got != want {
		l.t.Fatalf("list is %q, want %q; log: %s", got, want, &l.log)
	}
}

func TestFiles(t *testing.T) {
	l := newLab(t, nil)
	ctx := t.Context()
	l.write("A1\n")
	if err := l.files.Open(ctx); err != nil {
		t.Fatal(err)
	}
	l.holds("A1")

	// A change is taken when the file has come to rest.
	l.write("A1\nB2\n")
	l.files.Look(ctx)
	l.holds("A1")
	l.write("A1\nB2\nC3\n")
	l.files.Look(ctx)
	l.holds("A1")
	l.files.Look(ctx)
	l.holds("A1 B2 C3")

	// What is no list changes nothing, and is said once.
	l.write("A1,B2\n")
	for range 4 {
		l.files.Look(ctx)
	}
	l.holds("A1 B2 C3")
	if n := strings.Count(l.log.String(), "level=ERROR"); n != 1 || !strings.Contains(l.log.String(), "stays in force") {
		t.Errorf("%d complaints: %s", n, &l.log)
	}
	if err := os.Remove(l.path); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		l.files.Look(ctx)
	}
	l.holds("A1 B2 C3")
	if n := strings.Count(l.log.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d complaints: %s", n, &l.log)
	}
	l.write("D4\n")
	l.files.Look(ctx)
	l.files.Look(ctx)
	l.holds("D4")

	// Another file, and none at all.
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, []byte("E5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.set.Change(ctx, "lab", fmt.Appendf(nil, `{"devices_file":%q}`, other)); err != nil {
		t.Fatal(err)
	}
	l.files.Look(ctx)
	l.files.Look(ctx)
	l.holds("E5")
	if _, err := l.set.Change(ctx, "lab", []byte(`{"devices_file":""}`)); err != nil {
		t.Fatal(err)
	}
	l.write("F6\n")
	l.files.Look(ctx)
	l.files.Look(ctx)
	l.holds("E5")
}

// A configuration with a list never becomes open by itself.
func TestOpenFailsClosed(t *testing.T) {
	l := newLab(t, nil)
	if err := l.files.Open(t.Context()); err == nil || !strings.Contains(err.Error(), `configuration "lab" would accept every device`) {
		t.Errorf("without file and list: %v", err)
	}
	l.write("A1\n")
	if err := l.files.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.write("")
	if err := l.files.Open(t.Context()); err != nil {
		t.Errorf("with a stored list: %v", err)
	}
	l.holds("A1")
	if !strings.Contains(l.log.String(), "level=WARN") {
		t.Errorf("nothing was said: %s", &l.log)
	}
}

// What is stored already is not stored again, and what could not be stored is
// tried again.
func TestStore(t *testing.T) {
	var store *counting
	l := newLab(t, func(d depot.Depot) depot.Depot { store = &counting{Depot: d}; return store })
	l.write("A1\n")
	for range 3 {
		if err := l.files.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if store.writes != 1 {
		t.Errorf("written %d times", store.writes)
	}
	store.fails = depot.ErrUnavailable
	l.write("B2\n")
	for range 3 {
		l.files.Look(t.Context())
	}
	l.holds("A1")
	store.fails = nil
	l.files.Look(t.Context())
	l.holds("B2")
}

// counting counts writes of lists, or fails them.
type counting struct {
	depot.Depot
	writes int
	fails  error
}

func (c *counting) SetDeviceList(ctx context.Context, l depot.DeviceList) error {
	if c.fails != nil {
		return c.fails
	}
	c.writes++
	return c.Depot.SetDeviceList(ctx, l)
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "nothing")} {
		if _, err := devicelist.Read(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
