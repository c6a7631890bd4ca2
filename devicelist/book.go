package devicelist

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"understudy.example/understudy/depot"
)

// Book knows the stored lists by heart, so that no enrolment reads one. It is
// the DeviceLists of a depot, and everybody who changes a list must do so
// through it. It is safe for concurrent use.
type Book struct {
	lists depot.DeviceLists

	mu    sync.RWMutex // held for writing while a list is read or stored
	known map[string]index
}

var _ depot.DeviceLists = (*Book)(nil)

// An index is the list of one configuration, by the values in it; nil: there
// is no list.
type index map[entry]struct{}

// entry is one value of one device: its field and the normal form.
type entry struct {
	field int
	value string
}

// NewBook returns the book of a depot's lists. Nothing is read yet.
func NewBook(lists depot.DeviceLists) *Book {
	return &Book{lists: lists, known: make(map[string]index)}
}

// Has says whether a device is on the configuration's list, and whether there
// is one. A device is on it when its device serial, its UDID or its UPN is, in
// whatever case of letters; one that has none of these is on no list.
func (b *Book) Has(ctx context.Context, configurationID string, d depot.DeviceNames) (listed, exists bool, err error) {
	list, err := b.index(ctx, configurationID)
	if err != nil || list == nil {
		return false, false, err
	}
	for _, e := range entries(depot.ListedDevice{DeviceSerial: d.DeviceSerial, UDID: d.UDID, UPN: d.UPN}) {
		if _, ok := list[e]; ok {
			return true, true, nil
		}
	}
	return false, true, nil
}

// index returns what is known of a list, and reads it first if need be.
func (b *Book) index(ctx context.Context, configurationID string) (index, error) {
	b.mu.RLock()
	list, known := b.known[configurationID]
	b.mu.RUnlock()
	if known {
		return list, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if list, known := b.known[configurationID]; known {
		return list, nil
	}
	stored, err := b.lists.DeviceList(ctx, configurationID)
	switch {
	case errors.Is(err, depot.ErrNotFound):
	case err != nil:
		return nil, err
	default:
		list = make(index, 2*len(stored.Devices))
		for _, d := range stored.Devices {
			for _, e := range entries(d) {
				list[e] = struct{}{}
			}
		}
	}
	b.known[configurationID] = list
	return list, nil
}

// entries returns the values of a device that are not empty.
func entries(d depot.ListedDevice) []entry {
	all := make([]entry, 0, 3)
	for field, value := range [...]string{d.DeviceSerial, d.UDID, d.UPN} {
		if value = strings.ToLower(strings.TrimSpace(value)); value != "" {
			all = append(all, entry{field, value})
		}
	}
	return all
}

// SetDeviceList stores a list, as depot.DeviceLists says.
func (b *Book) SetDeviceList(ctx context.Context, l depot.DeviceList) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.known, l.ConfigurationID) // also when it fails: it may have happened
	return b.lists.SetDeviceList(ctx, l)
}

// RemoveDeviceList removes a list, as depot.DeviceLists says.
func (b *Book) RemoveDeviceList(ctx context.Context, configurationID, by string, at time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.known, configurationID)
	return b.lists.RemoveDeviceList(ctx, configurationID, by, at)
}

// DeviceList returns the stored list.
func (b *Book) DeviceList(ctx context.Context, configurationID string) (depot.DeviceList, error) {
	return b.lists.DeviceList(ctx, configurationID)
}
