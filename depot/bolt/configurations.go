package bolt

import (
	"context"
	"fmt"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// AddConfiguration stores a new configuration.
func (d *Depot) AddConfiguration(ctx context.Context, c depot.Configuration) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Revision != 1 {
		return fmt.Errorf("%w: revision %d of a new configuration", depot.ErrInvalid, c.Revision)
	}
	c = c.Clone()
	err := d.submit(ctx, func(b *batch) error {
		if b.get(bucketConfigurations, []byte(c.ID)) != nil || b.get(bucketNames, []byte(c.Name)) != nil {
			return depot.ErrExists
		}
		return b.configure(c, depot.EventConfigurationAdded)
	})
	if err != nil {
		return fmt.Errorf("add configuration %s: %w", c.ID, err)
	}
	return nil
}

// SetConfiguration replaces a configuration.
func (d *Depot) SetConfiguration(ctx context.Context, c depot.Configuration, cause depot.EventType) error {
	if err := c.ValidateChange(cause); err != nil {
		return err
	}
	c = c.Clone()
	err := d.submit(ctx, func(b *batch) error {
		before, err := load(b.tx, bucketConfigurations, []byte(c.ID), configurationFields)
		if err != nil {
			return err
		}
		if !before.record.RemovedAt.IsZero() {
			return depot.ErrNotFound
		}
		if c.Revision != before.record.Revision+1 {
			return depot.ErrTransactionConflict
		}
		if holder := b.get(bucketNames, []byte(c.Name)); holder != nil && string(holder) != c.ID {
			return depot.ErrExists
		}
		if err := b.remove(bucketNames, []byte(before.record.Name)); err != nil {
			return err
		}
		return b.configure(c, cause)
	})
	if err != nil {
		return fmt.Errorf("set configuration %s: %w", c.ID, err)
	}
	return nil
}

// configure stores a configuration, its name, the event and the ledger record.
func (b *batch) configure(c depot.Configuration, cause depot.EventType) error {
	n := b.number()
	if err := b.keepConfiguration(c, cause); err != nil {
		return err
	}
	return b.record(objectPayload(n, string(cause), c.Event(cause).At, "configuration", configurationFields(&c)))
}

// keepConfiguration stores a configuration, without the ledger record.
func (b *batch) keepConfiguration(c depot.Configuration, cause depot.EventType) error {
	n := b.number()
	if c.RemovedAt.IsZero() {
		if err := b.put(bucketNames, []byte(c.Name), []byte(c.ID)); err != nil {
			return err
		}
	}
	if err := b.put(bucketConfigurations, []byte(c.ID), encode(withSequence(configurationFields(&c), &n))); err != nil {
		return err
	}
	return b.event(c.Event(cause))
}

// event stores the event of the step in hand.
func (b *batch) event(e depot.Event) error {
	n := b.number()
	b.last = n
	return b.put(bucketEvents, number(n), encode(withSequence(eventFields(&e), &n)))
}

// Configuration finds by id.
func (d *Depot) Configuration(ctx context.Context, id string) (depot.Configuration, error) {
	var found stored[depot.Configuration]
	err := d.view(func(tx *bbolt.Tx) (err error) {
		found, err = load(tx, bucketConfigurations, []byte(id), configurationFields)
		return err
	})
	if err == nil {
		err = d.settled(ctx, found.sequence)
	}
	if err != nil {
		return depot.Configuration{}, fmt.Errorf("find configuration %q: %w", id, err)
	}
	return found.record, nil
}

// Configurations returns those that are not removed. There are few. It waits
// for what the ledger lacks, because one that was removed is seen only by its
// absence.
func (d *Depot) Configurations(ctx context.Context) ([]depot.Configuration, error) {
	var all []depot.Configuration
	err := d.viewSettled(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketNames)).ForEach(func(name, id []byte) error {
			c, err := load(tx, bucketConfigurations, id, configurationFields)
			if err != nil {
				return fmt.Errorf("configuration named %q: %w", name, dangling(err))
			}
			all = append(all, c.record)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list configurations: %w", err)
	}
	return all, nil
}
