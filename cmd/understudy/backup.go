package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"understudy.example/understudy/backup"
	"understudy.example/understudy/cmd/understudy/internal/datadir"
	"understudy.example/understudy/cmd/understudy/internal/output"
	"understudy.example/understudy/cmd/understudy/internal/upkeep"
	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/lab"
)

type backupCmd struct {
	clientFlags `embed:""`
	storeFlag   `embed:""`
	NoKeys      bool   `from:"flag" help:"Leave the private keys out. Such a backup tells everything and can issue nothing."`
	File        string `arg:"" help:"File to write, which must not be there yet; - is standard output."`
}

// Help shows what to type.
func (backupCmd) Help() string {
	return `
One tar with the store, the ledger, the authority and the root of --tls-self, as of one moment. The
admin token is never in it. The private keys are: whoever has the file is the authority. It is written
with mode 0600, read back and compared before it gets its name.

    understudy backup lab-2026-11-22.tar
    understudy backup --no-keys - | ssh archive "cat > lab.tar"`
}

// Run writes the backup.
func (c *backupCmd) Run(a *app) error {
	ctx, stop := interruptible()
	defer stop()
	if c.File == "-" {
		_, err := c.write(ctx, a, a.stdout)
		return offline(err)
	}
	if _, err := os.Lstat(c.File); !errors.Is(err, fs.ErrNotExist) {
		return &exitError{code: exitRefused, err: fmt.Errorf("%s is there already", c.File)}
	}
	m, err := c.writeFile(ctx, a)
	if err != nil {
		return offline(err)
	}
	if a.json {
		return output.Line(a.stdout, m)
	}
	keys := ", private keys and all: keep it like the authority's own"
	if !m.Keys {
		keys = ", without private keys"
	}
	a.note("Wrote %s: %d records of the ledger%s.", c.File, m.Store.Records, keys)
	return nil
}

// writeFile writes the file, whole or not at all.
func (c *backupCmd) writeFile(ctx context.Context, a *app) (m backup.Manifest, err error) {
	f, err := os.CreateTemp(filepath.Dir(c.File), "."+filepath.Base(c.File)+"-*") // with mode 0600
	if err != nil {
		return m, fmt.Errorf("write backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	m, err = c.write(ctx, a, f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return m, err
	}
	if err = os.Rename(f.Name(), c.File); err != nil {
		return m, err
	}
	if unsynced := datadir.SyncDir(filepath.Dir(c.File)); unsynced != nil {
		a.note("%s is whole, but its name may not outlive a power cut: %v", c.File, unsynced)
	}
	return m, nil
}

// write writes a backup and reads it on the way, as a restore would.
func (c *backupCmd) write(ctx context.Context, a *app, w io.Writer) (backup.Manifest, error) {
	from, err := c.source(ctx, a)
	if err != nil {
		return backup.Manifest{}, err
	}
	defer from.Close()
	passing := io.TeeReader(from, w)
	m, err := backup.Verify(passing)
	if err != nil {
		return m, err
	}
	_, err = io.Copy(io.Discard, passing) // what fills up the last block
	return m, err
}

// source is the running server or, when there is none, the files.
func (c *backupCmd) source(ctx context.Context, a *app) (io.ReadCloser, error) {
	client, err := c.client()
	if err == nil {
		var stream io.ReadCloser
		stream, err = client.Stream(ctx, "/api/v1/backup", map[string][]string{"keys": {fmt.Sprint(!c.NoKeys)}})
		if err == nil {
			return stream, nil
		}
	}
	if c.Server != "" || !noServer(err) {
		return nil, err
	}
	dir, where, err := c.files(c.Data)
	if err != nil {
		return nil, err
	}
	store, err := bolt.Open(where, bolt.Options{MustExist: true, Log: a.quietLog()})
	if err != nil {
		return nil, err
	}
	moved, err := store.LabClock(ctx)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	r, w := io.Pipe()
	go func() {
		err := upkeep.Backup(ctx, w, dir, store, upkeep.Content{Keys: !c.NoKeys, Version: version(), Now: lab.Stored(moved).At(time.Now())})
		w.CloseWithError(errors.Join(err, store.Close()))
	}()
	return r, nil
}
