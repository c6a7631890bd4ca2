package ca

import (
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"understudy.example/understudy/clock"
)

var errPowerCut = errors.New("the power is gone")

// What a power cut does with names that were not synced yet.
const (
	keepsAll     = "everything reached the disk"
	losesAll     = "nothing unsynced reached the disk"
	losesCreated = "a renaming reached the disk before new files did"
)

// failingDisk works for a number of steps. At the next one the power goes: a
// file that is being written stays half-way.
type failingDisk struct {
	osDisk
	left     int
	unsynced []undo // what a power cut may take back, oldest first
}

type undo struct {
	created bool
	back    func()
}

func (d *failingDisk) step() error {
	if d.left == 0 {
		return errPowerCut
	}
	d.left--
	return nil
}

func (d *failingDisk) create(path string, data []byte) error {
	err := d.step()
	if err != nil {
		data = data[:len(data)/2]
	}
	d.unsynced = append(d.unsynced, undo{created: true, back: func() { _ = os.Remove(path) }})
	return errors.Join(err, d.osDisk.create(path, data))
}

func (d *failingDisk) rename(from, to string) error {
	if err := d.step(); err != nil {
		return err
	}
	before, err := os.ReadFile(to)
	if err != nil {
		return err
	}
	d.unsynced = append(d.unsynced, undo{back: func() { _ = os.WriteFile(to, before, 0o600) }})
	return d.osDisk.rename(from, to)
}

func (d *failingDisk) remove(path string) error {
	if err := d.step(); err != nil {
		return err
	}
	if before, err := os.ReadFile(path); err == nil {
		d.unsynced = append(d.unsynced, undo{back: func() { _ = os.WriteFile(path, before, 0o600) }})
	}
	return d.osDisk.remove(path)
}

func (d *failingDisk) sync(dir string) error {
	if err := d.step(); err != nil {
		return err
	}
	d.unsynced = nil
	return d.osDisk.sync(dir)
}

// cut takes back what a power cut would.
func (d *failingDisk) cut(kind string) {
	slices.Reverse(d.unsynced)
	for _, u := range d.unsynced {
		if kind == losesAll || kind == losesCreated && u.created {
			u.back()
		}
	}
}

// TestPowerCut cuts the power at every step of everything that a rollover
// writes. Whatever is left opens, is the state before or the one after, and the
// same call brings it to its end.
func TestPowerCut(t *testing.T) {
	keys := newPool(t)
	for _, shape := range []Shape{ShapeChain, ShapeSingle} {
		for _, op := range operations {
			if shape == ShapeSingle && op.onlyChain {
				continue
			}
			t.Run(string(shape)+"/"+op.name, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "authority")
				copyDir(t, filepath.Join("testdata/format-1", string(shape)), dir)
				before := clock.NewManual(cutAt)
				op.before(t, openAt(t, dir, before, keys))
				op := trial{op, dir, keys}
				cuts := 0
				for _, kind := range []string{keepsAll, losesAll, losesCreated} {
					n := 0
					for ; !op.cutPower(t, n, kind); n++ {
					}
					if cuts += n; n == 0 {
						t.Error("it writes nothing")
					}
				}
				t.Logf("%d power cuts", cuts)
			})
		}
	}
}

// cutAt is in the first year of the authorities in testdata.
var cutAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

type operation struct {
	name      string
	before    func(t *testing.T, a *Authority)
	later     time.Duration // from before to do
	do        func(a *Authority) error
	onlyChain bool
}

var operations = []operation{
	{name: "prepare", before: func(*testing.T, *Authority) {}, do: prepareIt},
	{name: "activate", before: prepareBefore, do: activateIt},
	{name: "activate late", before: prepareBefore, later: 2 * 365 * 24 * time.Hour, do: activateIt, onlyChain: true},
	{name: "cancel", before: prepareBefore, do: (*Authority).CancelRollover},
	{name: "new RA", before: prepareBefore, later: 2 * 365 * 24 * time.Hour, onlyChain: true, do: func(a *Authority) error {
		_, err := a.RotateRA()
		return err
	}},
}

func prepareIt(a *Authority) error {
	_, err := a.PrepareRollover()
	return err
}

func activateIt(a *Authority) error {
	_, err := a.ActivateRollover()
	return err
}

func prepareBefore(t *testing.T, a *Authority) {
	t.Helper()
	if err := prepareIt(a); err != nil {
		t.Fatal(err)
	}
}

// pool has RSA keys ready: making them would take most of the time.
type pool struct {
	keys []crypto.Signer
	next atomic.Uint32
}

func newPool(t *testing.T) *pool {
	t.Helper()
	p := &pool{keys: make([]crypto.Signer, 8)}
	for i := range p.keys {
		var err error
		if p.keys[i], err = newRSAKey(); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func (p *pool) key() (crypto.Signer, error) {
	return p.keys[int(p.next.Add(1))%len(p.keys)], nil
}

// openAt opens an authority that takes its keys from the pool.
func openAt(t *testing.T, dir string, c clock.Clock, keys *pool) *Authority {
	t.Helper()
	a, err := Open(dir, Options{Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	a.rsaKey = keys.key
	return a
}

// copyDir copies the files of a directory, with the modes of an authority.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Mkdir(to, 0o700); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// looks is what matters of what is in force.
func looks(a *Authority) string {
	f := a.inForce.Load()
	text := fmt.Sprintf("issuer %s, %d former, RA %s, next %t", FormatSerial(f.current.issuer.SerialNumber), len(f.former), FormatSerial(f.ra.Certificate.SerialNumber), f.next != nil)
	for _, r := range f.recipients(a.clock.Now()) {
		text += ", opens " + FormatSerial(r.Certificate.SerialNumber)
	}
	return text
}

// trial is an operation on a directory as it is before.
type trial struct {
	operation
	original string
	keys     *pool
}

// cutPower does the operation on a copy of the directory, cuts the power after
// n steps, and has the next start bring it to its end. It says whether the
// operation came to its end before the cut.
func (op trial) cutPower(t *testing.T, n int, kind string) (whole bool) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "authority")
	copyDir(t, op.original, dir)
	c := clock.NewManual(cutAt.Add(op.later))
	a := openAt(t, dir, c, op.keys)
	before := looks(a)
	d := &failingDisk{left: n}
	a.disk = d
	err := op.do(a)
	if err == nil {
		d.cut(kind) // what is not synced when it says that it is done
		if after := openAt(t, dir, c, op.keys); looks(after) != looks(a) {
			t.Errorf("%s: lost after it was done: %s, want %s", kind, looks(after), looks(a))
		}
		return true
	}
	if !errors.Is(err, errPowerCut) {
		t.Fatalf("%d steps, %s: %v", n, kind, err)
	}
	d.cut(kind)

	a = openAt(t, dir, c, op.keys)
	undone := looks(a) == before
	err = op.do(a)
	done := errors.Is(err, ErrRolloverPrepared) || errors.Is(err, ErrNoRollover)
	if undone && err != nil || !undone && err != nil && !done {
		t.Errorf("%d steps, %s: found %s, and the next call says %v", n, kind, looks(a), err)
	}
	if again := openAt(t, dir, c, op.keys); looks(again) != looks(a) {
		t.Errorf("%d steps, %s: another start finds %s, want %s", n, kind, looks(again), looks(a))
	}
	return false
}

// TestDiskFault has one step of everything that a rollover writes fail, and the
// server goes on: it looks after its RA, as it does from time to time, and
// what it finds at its next start is what it had.
func TestDiskFault(t *testing.T) {
	keys := newPool(t)
	for _, shape := range []Shape{ShapeChain, ShapeSingle} {
		for _, op := range operations {
			if shape == ShapeSingle && op.onlyChain {
				continue
			}
			t.Run(string(shape)+"/"+op.name, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "authority")
				copyDir(t, filepath.Join("testdata/format-1", string(shape)), dir)
				op.before(t, openAt(t, dir, clock.NewManual(cutAt), keys))
				for n, whole := 0, false; !whole; n++ {
					whole = trial{op, dir, keys}.fault(t, n)
				}
			})
		}
	}
}

// fault does the operation on a copy of the directory, in which step n fails.
// It says whether the operation came to its end before that.
func (op trial) fault(t *testing.T, n int) (whole bool) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "authority")
	copyDir(t, op.original, dir)
	c := clock.NewManual(cutAt.Add(op.later))
	a := openAt(t, dir, c, op.keys)
	d := &failingDisk{left: n}
	a.disk = d
	err := op.do(a)
	d.left = -1 // the disk works again
	if _, rotateErr := a.RotateRA(); rotateErr != nil {
		t.Errorf("step %d failed (%v), and then the RA cannot be looked after: %v", n, err, rotateErr)
	}
	again, openErr := Open(dir, Options{Clock: c})
	switch {
	case openErr != nil:
		t.Errorf("step %d failed (%v), and the next start says %v", n, err, openErr)
	case looks(again) != looks(a):
		t.Errorf("step %d failed (%v): the next start finds %s, want %s", n, err, looks(again), looks(a))
	}
	return err == nil
}

// As many rollovers as are allowed, all of them within a day, leave no more
// files than a backup takes, which is 256 with those of the store.
func TestManyRollovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	copyDir(t, "testdata/chain-p256", dir)
	c := clock.NewManual(cutAt)
	a := openAt(t, dir, c, newPool(t))
	for range maxFormer {
		if err := errors.Join(prepareIt(a), activateIt(a)); err != nil {
			t.Fatal(err)
		}
	}
	if err := prepareIt(a); err == nil || !strings.Contains(err.Error(), "no more have a place") {
		t.Errorf("one more: %v", err)
	}
	if _, err := a.RotateRA(); err != nil {
		t.Error(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) > 240 {
		t.Errorf("%d files, %v", len(files), err)
	}
	if again, err := Open(dir, Options{Clock: c}); err != nil || len(again.Generations()) != maxFormer+1 {
		t.Errorf("not opened: %v", err)
	}
}
