package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// CatchUp brings a store that nobody has open up to a newer ledger of the same
// store and puts a copy of that ledger in the place of its own. It returns how
// many records it added. It is for a store just restored that is not in use
// yet: after an error the store is to be thrown away.
func CatchUp(ctx context.Context, dir, ledger string) (added uint64, err error) {
	k, err := look(dir)
	if err != nil {
		return 0, err
	}
	k.close()
	if k.err != nil {
		return 0, k.err
	}
	f, err := os.Open(ledger)
	if err != nil {
		return 0, fmt.Errorf("read newer ledger: %w", err)
	}
	defer f.Close()
	db, err := bbolt.Open(filepath.Join(dir, databaseFile), 0o600, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType, NoStatistics: true})
	if err != nil {
		return 0, fmt.Errorf("open restored database: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	if err := upgradeCopy(db); err != nil {
		return 0, err
	}
	replay := &replayer{db: db}
	defer replay.stop()
	report, err := readLedger(ledger, contextReader{ctx, f}, func(e Entry) error {
		switch {
		case e.Number == 1 && e.payload.Store != k.store:
			return fmt.Errorf("ledger %s belongs to store %s, the backup to store %s", ledger, e.payload.Store, k.store)
		case e.Number == k.head.number && e.after.hash != k.head.hash:
			return fmt.Errorf("ledger %s does not go on where the backup ends: record %d is another one there", ledger, e.Number)
		case e.Number <= k.head.number:
			return nil
		case e.Number == k.head.number+1:
			if err := forgetPending(db); err != nil {
				return err
			}
		}
		return replay.apply(e)
	})
	if err != nil && !errors.Is(err, errTorn) { // a torn record was never acknowledged
		return 0, err
	}
	if report.Records < k.head.number {
		return 0, fmt.Errorf("ledger %s is older than the backup: it ends with record %d, the backup with %d", ledger, report.Records, k.head.number)
	}
	if err := replay.flush(); err != nil {
		return 0, err
	}
	if err := db.Sync(); err != nil {
		return 0, err
	}
	return report.Records - k.head.number, copyFile(filepath.Join(dir, ledgerFile), ledger, report.Bytes)
}

// upgradeCopy brings a database to the newest format without keeping a copy of
// it, because the ledger that is to be replayed may tell of what older formats
// have no room for.
func upgradeCopy(db *bbolt.DB) error {
	var from uint64
	err := db.View(func(tx *bbolt.Tx) error {
		from = numberOf(tx.Bucket([]byte(bucketMeta)).Get([]byte(metaFormat)))
		return nil
	})
	if err != nil {
		return err
	}
	if from == 0 || from > format {
		return fmt.Errorf("the backup has format %d and this program knows only %d; use the version of Understudy that wrote it", from, format)
	}
	steps := upgrades(upgradePortion)
	for n := from; n < format; n++ {
		if err := takeStep(db, n, steps[n-1]); err != nil {
			return fmt.Errorf("upgrade restored database from format %d: %w", n, err)
		}
	}
	return nil
}

// forgetPending drops the records that the ledger of the backup has already:
// they would no longer be the last ones.
func forgetPending(db *bbolt.DB) error {
	return db.Update(func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket([]byte(bucketPending)); err != nil {
			return err
		}
		_, err := tx.CreateBucket([]byte(bucketPending))
		return err
	})
}
