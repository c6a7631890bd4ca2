package depot

import (
	"context"
	"time"
)

// ListedDevice is one line of an allow-list: whoever has one of its values, of
// those that are not empty, is meant.
type ListedDevice struct {
	DeviceSerial string
	UDID         string
	UPN          string
}

// DeviceList says which devices may enrol with a configuration. Without a
// list everybody may who has the challenge; with an empty one nobody.
type DeviceList struct {
	ConfigurationID string
	Devices         []ListedDevice
	ChangedAt       time.Time
	ChangedBy       string
}

// Event returns the event that setting the list is, for a configuration. Its
// sequence is the depot's to give.
func (l DeviceList) Event(c Configuration) Event {
	return Event{Type: EventDevicesListed, At: l.ChangedAt, ConfigurationID: c.ID, ConfigurationName: c.Name}
}

// DeviceLists is the part of a Depot that keeps allow-lists that came over the
// admin API. (Lists in files are read by package configuration.) They are in
// the ledger.
type DeviceLists interface {
	// SetDeviceList stores the list in the place of the one before. ErrNotFound:
	// no such configuration, or a removed one. ErrInvalid: more than fits into
	// one step (1 MiB as stored; a depot without a ledger need not look).
	SetDeviceList(ctx context.Context, l DeviceList) error
	// RemoveDeviceList makes the configuration open again. ErrNotFound: there
	// is no list.
	RemoveDeviceList(ctx context.Context, configurationID, by string, at time.Time) error
	// DeviceList returns the list. ErrNotFound: there is none.
	DeviceList(ctx context.Context, configurationID string) (DeviceList, error)
}
