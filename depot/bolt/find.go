package bolt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"
	"understudy.example/understudy/depot"
)

// errDangling: an index names a record that is not there. It is not
// depot.ErrNotFound, which would be an answer.
var errDangling = errors.New("index entry without its record: the store is inconsistent")

func dangling(err error) error {
	if errors.Is(err, depot.ErrNotFound) {
		return errDangling
	}
	return err
}

func hashOf(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

// Transaction returns the last one of that id.
func (d *Depot) Transaction(ctx context.Context, configurationID, transactionID string) (depot.Transaction, error) {
	if len(configurationID) > maxPart || len(transactionID) > maxPart {
		return depot.Transaction{}, fmt.Errorf("find transaction: %w", depot.ErrNotFound)
	}
	prefix := pair(configurationID, transactionID)
	return d.transaction(ctx, func(tx *bbolt.Tx) uint64 {
		return lastNumber(tx, byTransaction, prefix)
	})
}

// maxPart is the longest part of a pair. No record has a longer one.
const maxPart = 1<<16 - 1

// TransactionOfMessage returns the transaction that a pkiMessage began.
func (d *Depot) TransactionOfMessage(ctx context.Context, sha256 [32]byte) (depot.Transaction, error) {
	return d.transaction(ctx, func(tx *bbolt.Tx) uint64 {
		return numberOf(tx.Bucket([]byte(byMessage)).Get(sha256[:]))
	})
}

func (d *Depot) transaction(ctx context.Context, find func(*bbolt.Tx) uint64) (t depot.Transaction, err error) {
	err = d.view(func(tx *bbolt.Tx) (err error) {
		n := find(tx)
		if n == 0 {
			return depot.ErrNotFound
		}
		t, err = loadTransaction(tx, n)
		return dangling(err)
	})
	if err == nil {
		err = d.settled(ctx, t.Sequence)
	}
	if err != nil {
		return depot.Transaction{}, fmt.Errorf("find transaction: %w", err)
	}
	return t, nil
}

// Identity finds by certificate serial.
func (d *Depot) Identity(ctx context.Context, certificateSerial string) (depot.Identity, error) {
	serial, ok := serialBytes(certificateSerial)
	if !ok || certificateSerial != strings.ToLower(certificateSerial) {
		return depot.Identity{}, fmt.Errorf("find certificate %q: %w", certificateSerial, depot.ErrNotFound)
	}
	return d.identity(ctx, certificateSerial, func(tx *bbolt.Tx) (stored[depot.Identity], error) {
		return loadIdentity(tx, serial)
	})
}

// IdentityBySHA256 finds by the SHA-256 of the certificate.
func (d *Depot) IdentityBySHA256(ctx context.Context, sha256 [32]byte) (depot.Identity, error) {
	return d.identity(ctx, fmt.Sprintf("with SHA-256 %x", sha256), func(tx *bbolt.Tx) (s stored[depot.Identity], err error) {
		serial := tx.Bucket([]byte(bySHA256)).Get(sha256[:])
		if serial == nil {
			return s, depot.ErrNotFound
		}
		s, err = loadIdentity(tx, serial)
		return s, dangling(err)
	})
}

func (d *Depot) identity(ctx context.Context, what string, find func(*bbolt.Tx) (stored[depot.Identity], error)) (depot.Identity, error) {
	var found stored[depot.Identity]
	err := d.view(func(tx *bbolt.Tx) (err error) {
		found, err = find(tx)
		return err
	})
	if err == nil {
		err = d.settled(ctx, found.latest())
	}
	if err != nil {
		return depot.Identity{}, fmt.Errorf("find certificate %s: %w", what, err)
	}
	return found.record, nil
}

// Device finds one.
func (d *Depot) Device(ctx context.Context, configurationID, key string) (depot.Device, error) {
	var found stored[depot.Device]
	err := d.view(func(tx *bbolt.Tx) (err error) {
		found, err = load(tx, bucketDevices, deviceKey(configurationID, key), deviceFields)
		return err
	})
	if err == nil {
		err = d.settled(ctx, found.sequence)
	}
	if err != nil {
		return depot.Device{}, fmt.Errorf("find device %q: %w", key, err)
	}
	return found.record, nil
}
