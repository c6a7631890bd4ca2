package upkeep

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"understudy.example/understudy/backup"
	"understudy.example/understudy/ca"
	"understudy.example/understudy/clock"
	"understudy.example/understudy/cmd/understudy/internal/datadir"
	"understudy.example/understudy/depot"
	"understudy.example/understudy/depot/bolt"
)

// Restored says what Restore made.
type Restored struct {
	Manifest backup.Manifest
	Added    uint64 // records from the newer ledger
	// Withdrawn is how many one-time challenges were outstanding in the
	// backup and are worthless now: without the newer ledger nobody knows which
	// of them were spent since.
	Withdrawn int
}

// Restore makes a data directory from a backup, whole or not at all. The
// directory must be missing or empty. With a newer ledger of the same store,
// what happened after the backup is there as well. The store was opened and
// looked through, and the authority is the one that issued from it, when
// Restore returns.
func Restore(ctx context.Context, r io.Reader, path, ledger string) (restored Restored, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return restored, fmt.Errorf("restore: %w", err)
	}
	there, err := mayFill(path)
	if err != nil {
		return restored, err
	}
	// Beside the directory, so that one renaming makes it; inside of it when
	// it is there, because it may be a file system of its own.
	where := filepath.Dir(path)
	if there {
		where = path
	}
	if err := os.MkdirAll(where, 0o700); err != nil {
		return restored, fmt.Errorf("restore: %w", err)
	}
	stage, err := os.MkdirTemp(where, ".restore-*")
	if err != nil {
		return restored, fmt.Errorf("restore: %w", err)
	}
	defer func() {
		if remove := os.RemoveAll(stage); remove != nil {
			err = errors.Join(err, fmt.Errorf("restore: %w", remove))
		}
	}()
	if restored.Manifest, err = backup.Extract(r, stage); err != nil {
		return restored, err
	}
	if restored.Added, err = prove(ctx, datadir.Dir(stage), restored.Manifest, ledger); err != nil {
		return restored, err
	}
	if ledger == "" {
		if restored.Withdrawn, err = withdraw(ctx, datadir.Dir(stage), restored.Manifest.CreatedAt); err != nil {
			return restored, err
		}
	}
	return restored, move(stage, path, there)
}

// mayFill refuses a path at which there is something already.
func mayFill(path string) (there bool, err error) {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("restore: %w", err)
	case len(entries) == 0:
		_, err := datadir.Open(path) // closes it to others
		return true, err
	}
	if err := bolt.InUse(datadir.Dir(path).Store()); err != nil {
		return true, err
	}
	return true, fmt.Errorf("%s is not empty (it holds %s): restore to another directory, or move that one away first", path, entries[0].Name())
}

// prove looks through what was extracted, and catches up with a newer ledger.
func prove(ctx context.Context, dir datadir.Dir, m backup.Manifest, ledger string) (added uint64, err error) {
	report, err := bolt.VerifyStore(ctx, dir.Store())
	switch {
	case err != nil:
		return 0, err
	case report.Break != nil:
		return 0, &backup.InvalidError{Reason: fmt.Sprintf("its ledger does not hold at record %d: %s", report.Break.Record, report.Break.Detail)}
	case report.NotCompared != "":
		return 0, &backup.InvalidError{Reason: report.NotCompared}
	case report.Store != m.Store.ID, report.Records != m.Store.Records, hex.EncodeToString(report.Head[:]) != m.Store.LedgerHead:
		return 0, &backup.InvalidError{Reason: "its store is not the one that its manifest describes"}
	}
	if ledger != "" {
		if added, err = bolt.CatchUp(ctx, dir.Store(), ledger); err != nil {
			return 0, err
		}
	}
	if err := proveAuthority(dir, m); err != nil {
		return 0, err
	}
	store, err := bolt.Open(dir.Store(), bolt.Options{MustExist: true})
	if err != nil {
		return 0, err
	}
	findings, err := store.Check(ctx)
	if err = errors.Join(err, store.Close()); err != nil {
		return 0, err
	}
	if len(findings) > 0 {
		return 0, &backup.InvalidError{Reason: "its store is not sound: " + findings[0]}
	}
	return added, nil
}

// withdraw makes the challenges worthless that could be spent at a time, and
// returns how many there were.
func withdraw(ctx context.Context, dir datadir.Dir, at time.Time) (count int, err error) {
	store, err := bolt.Open(dir.Store(), bolt.Options{MustExist: true})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	for q := (depot.ChallengeQuery{OutstandingAt: at, Limit: 500}); ; {
		page, err := store.Challenges(ctx, q)
		if err != nil {
			return count, err
		}
		for _, c := range page.Items {
			if err := store.WithdrawChallenge(ctx, c.ID, "restore", at); err != nil {
				return count, err
			}
			count++
		}
		if q.Cursor = page.NextCursor; q.Cursor == "" { // a page can be empty and not the last
			return count, nil
		}
	}
}

// proveAuthority refuses an authority that is not the store's, or whose keys
// are not those of its certificates.
func proveAuthority(dir datadir.Dir, m backup.Manifest) error {
	known, err := recorded(dir.Store())
	if err != nil {
		return err
	}
	if err := known.holds(dir); err != nil {
		return &backup.InvalidError{Reason: "its authority is not the one that issued from its store"}
	}
	if !m.Keys {
		return nil
	}
	// As of then: that its certificates may have expired since is for serve to
	// say.
	if _, err := ca.Open(dir.Authority(), ca.Options{Clock: clock.NewManual(m.CreatedAt)}); err != nil {
		return &backup.InvalidError{Reason: strings.ReplaceAll(err.Error(), string(dir)+string(filepath.Separator), "")}
	}
	return nil
}

// move puts what was made where it belongs. Into a directory that is there the
// parts go one by one, the store last: without it a server refuses to start.
func move(stage, path string, there bool) error {
	if !there {
		if err := os.Rename(stage, path); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		return durable(filepath.Dir(path))
	}
	entries, err := os.ReadDir(stage)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.Name() != "store" {
			names = append(names, e.Name())
		}
	}
	for _, name := range slices.Concat(names, []string{"store"}) {
		if name == "store" {
			if err := durable(path); err != nil {
				return err
			}
		}
		if err := os.Rename(filepath.Join(stage, name), filepath.Join(path, name)); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	return durable(path)
}

// durable returns when the names in a directory are on the disk.
func durable(dir string) error {
	if err := datadir.SyncDir(dir); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}
