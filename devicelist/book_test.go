package devicelist_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"understudy.example/understudy/depot"
	"understudy.example/understudy/devicelist"
)

// shelf keeps one list, and says how often it was read.
type shelf struct {
	mu    sync.Mutex
	list  *depot.DeviceList
	reads int
	fails error // of the next call, after it did what it does
}

func (s *shelf) fail() error {
	err := s.fails
	s.fails = nil
	return err
}

func (s *shelf) SetDeviceList(_ context.Context, l depot.DeviceList) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = &l
	return s.fail()
}

func (s *shelf) RemoveDeviceList(context.Context, string, string, time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = nil
	return s.fail()
}

func (s *shelf) DeviceList(context.Context, string) (depot.DeviceList, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	switch err := s.fail(); {
	case err != nil:
		return depot.DeviceList{}, err
	case s.list == nil:
		return depot.DeviceList{}, depot.ErrNotFound
	}
	return *s.list, nil
}

// TestBook reads a list once, and anew after each change, also after one of
// which nobody knows whether it happened.
func TestBook(t *testing.T) {
	s := &shelf{}
	b := devicelist.NewBook(s)
	ctx := t.Context()
	device := depot.DeviceNames{Key: "serial:A1", DeviceSerial: "A1"}
	check := func(listed, exists bool, reads int) {
		t.Helper()
		for range 3 {
			l, e, err := b.Has(ctx, "rac", device)
			if err != nil || l != listed || e != exists {
				t.Errorf("listed %t, exists %t, %v; want %t and %t", l, e, err, listed, exists)
			}
		}
		if s.reads != reads {
			t.Errorf("read %d times, want %d", s.reads, reads)
		}
	}
	check(false, false, 1)
	list := depot.DeviceList{ConfigurationID: "rac", Devices: []depot.ListedDevice{{DeviceSerial: "a1"}, {UPN: "jane@lab.example"}}}
	if err := b.SetDeviceList(ctx, list); err != nil {
		t.Fatal(err)
	}
	check(true, true, 2)
	s.fails = depot.ErrUnavailable
	if err := b.SetDeviceList(ctx, depot.DeviceList{ConfigurationID: "rac"}); !errors.Is(err, depot.ErrUnavailable) {
		t.Errorf("set: %v", err)
	}
	check(false, true, 3)
	s.fails = depot.ErrUnavailable
	if err := b.RemoveDeviceList(ctx, "rac", "operator", time.Time{}); !errors.Is(err, depot.ErrUnavailable) {
		t.Errorf("remove: %v", err)
	}
	check(false, false, 4)
	if err := b.SetDeviceList(ctx, list); err != nil {
		t.Fatal(err)
	}
	s.fails = depot.ErrUnavailable
	if _, _, err := b.Has(ctx, "rac", device); !errors.Is(err, depot.ErrUnavailable) {
		t.Errorf("a list that cannot be read: %v", err)
	}
	check(true, true, 6) // the failure was not remembered
	if got, err := b.DeviceList(ctx, "rac"); err != nil || len(got.Devices) != 2 {
		t.Errorf("list: %+v, %v", got, err)
	}
}

// TestBookCompares fields with their own kind, without case and spaces.
func TestBookCompares(t *testing.T) {
	s := &shelf{list: &depot.DeviceList{Devices: []depot.ListedDevice{
		{DeviceSerial: " C02XL0GTJGH5 ", UDID: "8C4F3B1E-6A0D-4E52-9B7C-0F1E2D3C4B5A"}, {UPN: "Jane@Lab.Example"}, {},
	}}}
	b := devicelist.NewBook(s)
	for _, tt := range []struct {
		names  depot.DeviceNames
		listed bool
	}{
		{depot.DeviceNames{DeviceSerial: "c02xl0gtjgh5"}, true},
		{depot.DeviceNames{DeviceSerial: "OTHER", UDID: "8c4f3b1e-6a0d-4e52-9b7c-0f1e2d3c4b5a"}, true},
		{depot.DeviceNames{UPN: "jane@lab.example"}, true},
		{depot.DeviceNames{UDID: "c02xl0gtjgh5"}, false},
		{depot.DeviceNames{DeviceSerial: "jane@lab.example"}, false},
		{depot.DeviceNames{Key: "subject:CN=c02xl0gtjgh5", DeviceID: "c02xl0gtjgh5", ComputerName: "c02xl0gtjgh5"}, false},
		{depot.DeviceNames{}, false},
	} {
		if listed, exists, err := b.Has(t.Context(), "rac", tt.names); listed != tt.listed || !exists || err != nil {
			t.Errorf("%+v: listed %t, %v", tt.names, listed, err)
		}
	}
}

// TestBookRace: a change is never hidden by a reader that was faster.
func TestBookRace(t *testing.T) {
	b := devicelist.NewBook(&shelf{})
	device := depot.DeviceNames{DeviceSerial: "A1"}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 500 {
				if _, _, err := b.Has(t.Context(), "rac", device); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range 200 {
		devices := []depot.ListedDevice{{DeviceSerial: "A1"}}[:n%2]
		if err := b.SetDeviceList(t.Context(), depot.DeviceList{ConfigurationID: "rac", Devices: devices}); err != nil {
			t.Fatal(err)
		}
		if listed, _, err := b.Has(t.Context(), "rac", device); err != nil || listed != (n%2 == 1) {
			t.Fatalf("after change %d: listed %t, %v", n, listed, err)
		}
	}
	group.Wait()
}
