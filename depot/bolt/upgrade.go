package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// An upgrade makes the next format of a database. It is called in one
// transaction after another, each with what the one before returned (nil at
// first), and returns nil when it is done, so that a big store needs no big
// transaction and a death costs one of them. Each transaction changes what it
// changes whole, and after is not longer than a key.
type upgrade func(tx *bbolt.Tx, after []byte) (next []byte, err error)

// upgrades are the steps from format 1 to format: the first makes format 2.
// The ledger is never upgraded: its records are read as they were written.
func upgrades(p portions) []upgrade { return []upgrade{p.toFormat2, p.toFormat3} }

// portions is how many records one transaction of an upgrade looks at.
type portions int

const upgradePortion portions = 2000

// toFormat2 makes the buckets of requests, revocations, device lists,
// challenges and deliveries, and the index entries of certificates that carry a revocation already, which no
// version of format 1 gave to any, though its records had room for one.
func (p portions) toFormat2(tx *bbolt.Tx, after []byte) ([]byte, error) {
	for _, name := range []string{bucketRequests, byRequestID, byRequestTransaction, byRequestMessage,
		byIssuer, byUnused, bucketCRLNumbers, bucketDeviceLists,
		bucketGiven, byGivenID, byGivenSHA256, byOutstanding, byUnspent, bucketHeldBack, bucketHeldCSRs} {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return nil, err
		}
	}
	b, c := &batch{tx: tx}, tx.Bucket([]byte(bucketIdentities)).Cursor()
	serial, _ := c.Seek(after)
	for range p {
		if serial == nil {
			return nil, nil
		}
		s, err := load(tx, bucketIdentities, serial, identityFields)
		if err != nil {
			return nil, err
		}
		for _, e := range stateEntries(s.record, serial) {
			if err := b.put(e.bucket, e.key, e.value); err != nil {
				return nil, err
			}
		}
		serial, _ = c.Next()
	}
	return bytes.Clone(serial), nil
}

// toFormat3 makes the buckets of windows, names, tokens, webhooks and the lab,
// and the entries that identities have in them.
func (p portions) toFormat3(tx *bbolt.Tx, after []byte) ([]byte, error) {
	for _, name := range []string{byStanding, bucketCounters, byStall, bucketHistories, bucketWatermarks, bucketRechecks, byRecheck,
		byName, bucketTokens, byTokenSHA256, bucketWebhooks, bucketProgress, bucketNotifications, bucketSeedings} {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return nil, err
		}
	}
	b, c := &batch{tx: tx}, tx.Bucket([]byte(bucketIdentities)).Cursor()
	serial, _ := c.Seek(after)
	for range p {
		if serial == nil {
			break
		}
		s, err := load(tx, bucketIdentities, serial, identityFields)
		if err == nil {
			err = errors.Join(b.upgradeNames(s, serial), b.upgradeStanding(s, serial))
		}
		if err != nil {
			return nil, err
		}
		serial, _ = c.Next()
	}
	return bytes.Clone(serial), b.settleCounts()
}

// formatSuffix is that of the copies that are kept of a store before it is
// upgraded, with its format behind it.
const formatSuffix = ".format-"

// upgrade brings the database to the newest format. The store was looked
// through before.
func (d *Depot) upgrade(from uint64, steps []upgrade) error {
	for n := from; n < 1+uint64(len(steps)); n++ {
		d.log.Info("store is upgraded", "dir", d.dir, "from_format", n, "to_format", n+1)
		if err := d.upgradeOnce(n, steps[n-1]); err != nil {
			return fmt.Errorf("upgrade store %s from format %d to %d: %w; start again to go on, or put %s%s%d back for the version that wrote it",
				d.dir, n, n+1, err, databaseFile, formatSuffix, n)
		}
	}
	return nil
}

// upgradeOnce takes one step, or the rest of one that a death interrupted.
func (d *Depot) upgradeOnce(from uint64, step upgrade) error {
	begun := false
	err := d.db.View(func(tx *bbolt.Tx) error {
		begun = tx.Bucket([]byte(bucketMeta)).Get([]byte(metaUpgrade)) != nil
		return nil
	})
	if err == nil && !begun {
		err = d.keepFormat(from)
	}
	if err != nil {
		return err
	}
	return takeStep(d.db, from, step)
}

// takeStep takes what is left of a step, in one transaction after another.
func takeStep(db *bbolt.DB, from uint64, step upgrade) error {
	for done := false; !done; {
		err := db.Update(func(tx *bbolt.Tx) (err error) {
			done, err = portion(tx, from, step)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// portion takes one part of a step, and notes how far it came.
func portion(tx *bbolt.Tx, from uint64, step upgrade) (done bool, err error) {
	meta := tx.Bucket([]byte(bucketMeta))
	next, err := step(tx, meta.Get([]byte(metaUpgrade)))
	switch {
	case err != nil:
		return false, err
	case next != nil:
		return false, meta.Put([]byte(metaUpgrade), next)
	}
	return true, errors.Join(meta.Delete([]byte(metaUpgrade)), meta.Put([]byte(metaFormat), number(from+1)))
}

// keepFormat copies database and ledger as they are before the first change.
func (d *Depot) keepFormat(from uint64) error {
	for _, name := range []string{ledgerFile, databaseFile} { // who finds the second has both
		path := filepath.Join(d.dir, name)
		kept := fmt.Sprintf("%s%s%d", path, formatSuffix, from)
		err := copyFile(kept+".tmp", path, -1)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a new store whose maker died has no ledger yet
		}
		if err == nil {
			err = os.Rename(kept+".tmp", kept)
		}
		if err != nil {
			return fmt.Errorf("keep a copy: %w", err)
		}
	}
	return syncDir(d.dir)
}
