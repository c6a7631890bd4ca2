package bolt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// SetDeviceList stores a list.
func (d *Depot) SetDeviceList(ctx context.Context, l depot.DeviceList) error {
	list := deviceList{DeviceList: l.Clone()}
	err := d.submit(ctx, func(b *batch) error {
		c, err := load(b.tx, bucketConfigurations, []byte(list.ConfigurationID), configurationFields)
		if err != nil {
			return err
		}
		if !c.record.RemovedAt.IsZero() {
			return depot.ErrNotFound
		}
		return b.listDevices(list, c.record)
	})
	if err != nil {
		return fmt.Errorf("list devices of configuration %q: %w", l.ConfigurationID, err)
	}
	return nil
}

// RemoveDeviceList removes a list.
func (d *Depot) RemoveDeviceList(ctx context.Context, configurationID, by string, at time.Time) error {
	err := d.submit(ctx, func(b *batch) error {
		before, err := load(b.tx, bucketDeviceLists, []byte(configurationID), deviceListFields)
		if err != nil {
			return err
		}
		if before.record.removed {
			return depot.ErrNotFound
		}
		c, err := load(b.tx, bucketConfigurations, []byte(configurationID), configurationFields)
		if err != nil {
			return dangling(err)
		}
		return b.listDevices(deviceList{depot.DeviceList{ConfigurationID: configurationID, ChangedAt: at, ChangedBy: by}, true}, c.record)
	})
	if err != nil {
		return fmt.Errorf("remove device list of configuration %q: %w", configurationID, err)
	}
	return nil
}

// listDevices stores a list, or that there is none any more, and the ledger
// record.
func (b *batch) listDevices(l deviceList, c depot.Configuration) error {
	n, event := b.number(), l.event(c)
	if err := b.keepDeviceList(l, event); err != nil {
		return err
	}
	return b.record(objectPayload(n, string(event.Type), l.ChangedAt, "device_list", deviceListFields(&l)))
}

// keepDeviceList stores a list and its event, without the ledger record.
func (b *batch) keepDeviceList(l deviceList, e depot.Event) error {
	n := b.number()
	if err := b.put(bucketDeviceLists, []byte(l.ConfigurationID), encode(withSequence(deviceListFields(&l), &n))); err != nil {
		return err
	}
	return b.event(e)
}

func (l deviceList) event(c depot.Configuration) depot.Event {
	e := l.DeviceList.Event(c)
	if l.removed {
		e.Type = depot.EventDevicesUnlisted
	}
	return e
}

// DeviceList returns the list.
func (d *Depot) DeviceList(ctx context.Context, configurationID string) (depot.DeviceList, error) {
	var found stored[deviceList]
	err := d.view(func(tx *bbolt.Tx) (err error) {
		found, err = load(tx, bucketDeviceLists, []byte(configurationID), deviceListFields)
		return err
	})
	if err == nil {
		err = d.settled(ctx, found.sequence)
	}
	if err == nil && found.record.removed {
		err = depot.ErrNotFound
	}
	if err != nil {
		return depot.DeviceList{}, fmt.Errorf("device list of configuration %q: %w", configurationID, err)
	}
	return found.record.DeviceList, nil
}

// deviceLists looks at whether each belongs to a configuration.
func (c *checker) deviceLists() error {
	return c.each(bucketDeviceLists, func(id, _ []byte) error {
		l, err := load(c.tx, bucketDeviceLists, id, deviceListFields)
		if err != nil {
			return c.found("device list of configuration %s: %v", id, err)
		}
		if _, err := load(c.tx, bucketConfigurations, id, configurationFields); errors.Is(err, depot.ErrNotFound) || l.record.ConfigurationID != string(id) {
			return c.found("device list of configuration %s: there is no such configuration, or it is another's", id)
		}
		return nil
	})
}
