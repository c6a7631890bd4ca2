// Package upkeep joins what backing up, restoring, rebuilding and verifying a
// data directory need: its layout, the store's files, the authority's
// certificates and the form of a backup.
//
// It must not know how the store is written or how anything is printed.
package upkeep

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"understudy.example/understudy/backup"
	"understudy.example/understudy/cmd/understudy/internal/datadir"
	"understudy.example/understudy/depot/bolt"
)

// Content says what goes into a backup.
type Content struct {
	Keys    bool      // private keys too
	Version string    // of Understudy
	Now     time.Time // noted in the backup
}

// Backup writes a backup of a data directory whose store is open. It may be in
// use: what is written is the state of one moment. The admin token, the
// discovery file and a certificate for HTTPS that somebody else made are never
// part of it.
func Backup(ctx context.Context, w io.Writer, dir datadir.Dir, store *bolt.Depot, c Content) (err error) {
	// The authority comes first: an RA that is made afterwards is not missed,
	// but certificates without their authority would be.
	files, err := authorityFiles(dir, c.Keys)
	if err != nil {
		return fmt.Errorf("back up authority: %w", err)
	}
	beside, err := filesBeside(dir, c.Keys)
	if err != nil {
		return fmt.Errorf("back up TLS root and the key of webhooks: %w", err)
	}
	snapshot, err := store.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	database, databaseSize := snapshot.Database()
	ledger, ledgerSize := snapshot.Ledger()
	files = append(append(files, beside...),
		backup.File{Name: backup.DatabaseName, Size: databaseSize, Content: database},
		backup.File{Name: backup.LedgerName, Size: ledgerSize, Content: ledger},
	)
	return backup.Write(w, backup.Manifest{
		Version:   c.Version,
		CreatedAt: c.Now.UTC().Truncate(time.Second),
		Keys:      c.Keys,
		Store: backup.Store{
			ID: snapshot.Store, Format: snapshot.Format, Records: snapshot.Records,
			LedgerHead: hex.EncodeToString(snapshot.Head[:]),
		},
	}, files)
}

// tries is how often the authority's files are read again because the RA was
// replaced meanwhile, or a rollover came a step further, which happens once in a
// year or so.
const tries = 3

var errReplaced = errors.New("it is being changed; try again")

// authorityFiles reads the authority's files, which are small. Its state file
// names the others, so it must be the same before and after.
func authorityFiles(dir datadir.Dir, keys bool) ([]backup.File, error) {
	state := filepath.Join(dir.Authority(), "authority.json")
	for range tries {
		before, err := os.ReadFile(state)
		if err != nil {
			return nil, err
		}
		files, err := filesIn(dir.Authority(), keys)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		after, err2 := os.ReadFile(state)
		if err == nil && err2 == nil && bytes.Equal(before, after) {
			return files, nil
		}
	}
	return nil, errReplaced
}

func filesIn(authority string, keys bool) ([]backup.File, error) {
	entries, err := os.ReadDir(authority)
	if err != nil {
		return nil, err
	}
	var files []backup.File
	for _, e := range entries {
		name := e.Name()
		isKey := strings.HasSuffix(name, ".key.pem")
		if !e.Type().IsRegular() || isKey && !keys || !strings.HasSuffix(name, ".pem") && name != "authority.json" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(authority, name))
		if err != nil {
			return nil, err
		}
		files = append(files, file(backup.AuthorityDir+"/"+name, text))
	}
	return files, nil
}

// filesBeside reads the root of --tls-self and the key of webhooks, as far as
// they are there. Devices may trust the root, and receivers know the secrets
// that follow from the key, so a restored server should have the same.
func filesBeside(dir datadir.Dir, keys bool) ([]backup.File, error) {
	var files []backup.File
	for _, kept := range []struct {
		name, path string
		private    bool
	}{
		{backup.TLSRootName, dir.TLSRoot(), false},
		{backup.TLSKeyName, dir.TLSRootKey(), true},
		{backup.WebhooksName, dir.Webhooks(), true},
	} {
		if kept.private && !keys {
			continue
		}
		text, err := os.ReadFile(kept.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		files = append(files, file(kept.name, text))
	}
	return files, nil
}

func file(name string, text []byte) backup.File {
	return backup.File{Name: name, Size: int64(len(text)), Content: bytes.NewReader(text)}
}
