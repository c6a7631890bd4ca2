package devicelist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"understudy.example/understudy/clock"
	"understudy.example/understudy/configuration"
	"understudy.example/understudy/depot"
)

// interval is how often Run looks at the files.
const interval = 2 * time.Second

// Files keeps the lists of all configurations that have their list in a file.
// A list that cannot be read any more stays as it was: a configuration with a
// list never becomes open by itself. It is safe for concurrent use.
type Files struct {
	configurations *configuration.Set
	lists          *Book
	clock          clock.Clock
	log            *slog.Logger

	mu    sync.Mutex // held while a file is read and its list stored
	files map[string]file
}

// file is what is known of a configuration's file.
type file struct {
	path          string
	looked, taken state // when it was looked at last, and when its list was taken
	complained    bool  // that it cannot be read
}

// state tells whether a file changed.
type state struct {
	modified time.Time
	size     int64
}

// New returns the files of a set of configurations, whose lists are stored
// through the book that enrolments are judged by. Nothing is read yet.
func New(configurations *configuration.Set, lists *Book, c clock.Clock, log *slog.Logger) *Files {
	return &Files{configurations: configurations, lists: lists, clock: c, log: log, files: make(map[string]file)}
}

// Read reads the list in a file.
func Read(path string) ([]depot.ListedDevice, error) {
	devices, _, err := read(path)
	return devices, err
}

func read(path string) ([]depot.ListedDevice, state, error) {
	info, err := os.Stat(path) // before it is opened: that of a pipe would wait for a writer
	if err != nil {
		return nil, state{}, fmt.Errorf("read list of devices: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, state{}, fmt.Errorf("read list of devices: %s is not a file", path)
	}
	f, err := os.Open(path) //nolint:gosec // whoever may name a file is on this machine and an operator
	if err != nil {
		return nil, state{}, fmt.Errorf("read list of devices: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, state{}, fmt.Errorf("read list of devices: %w", err)
	}
	devices, err := Parse(text)
	if err != nil {
		return nil, state{}, fmt.Errorf("read list of devices %s: %w", path, err)
	}
	return devices, state{info.ModTime(), info.Size()}, nil
}

// Open reads the files of all configurations, as a server does at its start.
// What cannot be read is an error only where no list is stored either, so that
// the configuration would be open to every device.
func (f *Files) Open(ctx context.Context) error {
	var wrong []error
	for _, live := range f.configurations.List() {
		record := live.Record
		if record.Policy.DevicesFile == "" {
			continue
		}
		err := f.Take(ctx, record)
		if err == nil {
			continue
		}
		if _, missing := f.lists.DeviceList(ctx, record.ID); missing != nil {
			wrong = append(wrong, fmt.Errorf("configuration %q would accept every device: %w", record.Name, errors.Join(err, missing)))
			continue
		}
		f.log.Warn("list of devices not read, the one before stays in force", "configuration", record.Name, "error", err)
	}
	return errors.Join(wrong...)
}

// Take stores the list in the file of a configuration, if it is another one
// than the stored.
func (f *Files) Take(ctx context.Context, c depot.Configuration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.take(ctx, c)
}

// take is Take with the lock held.
func (f *Files) take(ctx context.Context, c depot.Configuration) error {
	path := c.Policy.DevicesFile
	devices, now, err := read(path)
	if err != nil {
		return err
	}
	stored, err := f.lists.DeviceList(ctx, c.ID)
	if err != nil && !errors.Is(err, depot.ErrNotFound) {
		return fmt.Errorf("read list of devices: %w", err)
	}
	if err != nil || !slices.Equal(stored.Devices, devices) {
		list := depot.DeviceList{ConfigurationID: c.ID, Devices: devices, ChangedAt: f.clock.Now(), ChangedBy: "file: " + path}
		if err := f.lists.SetDeviceList(ctx, list); err != nil {
			return fmt.Errorf("store list of devices %s: %w", path, err)
		}
		f.log.Info("list of devices read", "configuration", c.Name, "file", path, "devices", len(devices))
	}
	f.files[c.ID] = file{path: path, looked: now, taken: now}
	return nil
}

// Look looks at every file once and takes the list of one that changed and has
// not changed since the last look: who writes it now may not be done.
func (f *Files) Look(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, live := range f.configurations.List() {
		if live.Record.Policy.DevicesFile != "" {
			f.look(ctx, live.Record)
		}
	}
}

func (f *Files) look(ctx context.Context, c depot.Configuration) {
	known := f.files[c.ID]
	if known.path != c.Policy.DevicesFile {
		known = file{path: c.Policy.DevicesFile}
	}
	info, err := os.Stat(known.path)
	var now state
	if err == nil {
		now = state{info.ModTime(), info.Size()}
	}
	settled := now == known.looked
	changed := now != known.taken
	if now != known.looked {
		known.complained = false
	}
	known.looked = now
	f.files[c.ID] = known
	if !settled || !changed {
		return
	}
	if err == nil {
		err = f.take(ctx, c)
	}
	if err != nil && !known.complained {
		known.complained = true
		f.files[c.ID] = known
		f.log.Error("list of devices not read, the one before stays in force", "configuration", c.Name, "error", err)
	}
}

// Run looks at the files until ctx ends.
func (f *Files) Run(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.Look(ctx)
		}
	}
}
