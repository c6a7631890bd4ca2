package bolt

import (
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// replayBatch is how many ledger records share a database transaction when a
// ledger is replayed. It bounds the memory.
const replayBatch = 2000

// A replayer makes a database anew from ledger records, or brings one up to
// them.
type replayer struct {
	db    *bbolt.DB
	tx    *bbolt.Tx // nil between batches
	batch *batch
	count int // records in the batch
}

// apply makes true what a record says. It is the next one after what the
// database has.
func (r *replayer) apply(e Entry) error {
	if r.tx == nil {
		tx, err := r.db.Begin(true)
		if err != nil {
			return fmt.Errorf("replay ledger: %w", err)
		}
		r.tx, r.batch, r.count = tx, &batch{tx: tx}, 0
		if r.batch.head, err = readHead(tx); err != nil {
			return err
		}
	}
	if e.Number != r.batch.number() {
		return fmt.Errorf("replay ledger: record %d follows record %d", e.Number, r.batch.head.number)
	}
	if err := r.batch.replay(e); err != nil {
		return fmt.Errorf("replay ledger record %d (%s) at byte %d: %w", e.Number, e.Type, e.Offset, err)
	}
	r.batch.head = e.after
	if r.count++; r.count == replayBatch {
		return r.flush()
	}
	return nil
}

// flush commits what was applied.
func (r *replayer) flush() error {
	if r.tx == nil {
		return nil
	}
	tx := r.tx
	r.tx = nil
	err := r.batch.put(bucketMeta, []byte(metaHead), r.batch.head.bytes())
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		_ = tx.Rollback() // Commit did, if it came to that
		return fmt.Errorf("replay ledger: %w", err)
	}
	return nil
}

// stop drops what was not committed.
func (r *replayer) stop() {
	if r.tx != nil {
		_ = r.tx.Rollback()
		r.tx = nil
	}
}

// replay stores what a record says and refuses what no store would have taken.
// It writes no ledger record.
func (b *batch) replay(e Entry) error {
	switch depot.EventType(e.Type) {
	case depot.EventCertificateIssued:
		i, err := e.Issuance()
		if err != nil {
			return err
		}
		return b.replayIssuance(i)
	case depot.EventConfigurationAdded, depot.EventConfigurationChanged, depot.EventConfigurationRemoved, depot.EventSecretReset:
		c, err := e.Configuration()
		if err != nil {
			return err
		}
		return b.replayConfiguration(c, depot.EventType(e.Type))
	case EntryAuthority:
		a, err := e.Authority()
		if err != nil {
			return err
		}
		return b.put(bucketMeta, []byte(metaAuthority), authoritySum(a))
	}
	return errors.New("it is of a kind that this version does not know; use the version of Understudy that wrote it, or a newer one")
}

func (b *batch) replayIssuance(i depot.Issuance) error {
	if err := i.Validate(); err != nil {
		return err
	}
	serial, _ := serialBytes(i.Identity.CertificateSerial)
	i.After = lastNumber(b.tx, byTransaction, pair(i.Identity.ConfigurationID, i.Identity.TransactionID))
	device, err := b.look(i, serial)
	if err != nil {
		return err
	}
	_, err = b.keepIssuance(i, serial, device)
	return err
}

func (b *batch) replayConfiguration(c depot.Configuration, cause depot.EventType) error {
	if err := c.Validate(); err != nil {
		return err
	}
	before, err := load(b.tx, bucketConfigurations, []byte(c.ID), configurationFields)
	switch {
	case cause == depot.EventConfigurationAdded && err == nil:
		return depot.ErrExists
	case cause == depot.EventConfigurationAdded && errors.Is(err, depot.ErrNotFound):
		return b.keepConfiguration(c, cause)
	case err != nil:
		return err
	}
	if err := b.remove(bucketNames, []byte(before.record.Name)); err != nil {
		return err
	}
	return b.keepConfiguration(c, cause)
}
