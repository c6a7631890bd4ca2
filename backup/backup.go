// Package backup is the form of a backup: one tar whose members have the names
// that they have in a data directory, and behind them, as the last member,
// manifest.json with the hash of each. A tar that ends before its manifest is
// no backup.
//
// What may be in a backup is a closed list; everything else is refused on
// reading, because a backup may come from anywhere. The package must not know
// where members come from or what they mean; it imports nothing of ours.
package backup

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"time"
)

// The members of a backup, by their paths in a data directory.
const (
	ManifestName = "manifest.json"
	DatabaseName = "store/store.db"
	LedgerName   = "store/ledger"
	AuthorityDir = "authority"
	TLSRootName  = "tls-root.pem"
	TLSKeyName   = "tls-root.key"
	WebhooksName = "webhooks.key"
)

// Format is the number of this form.
const Format = 1

// Limits of what is read. A database and a ledger may have any size: a tar
// without compression or holes cannot claim more than it has.
const (
	maxSmall   = 64 << 10 // bytes of a certificate, a key, a state file
	maxMembers = 256
)

// Manifest says what a backup is.
type Manifest struct {
	Format    int       `json:"format"`
	Version   string    `json:"version"`    // of Understudy
	CreatedAt time.Time `json:"created_at"` // UTC, whole seconds
	Store     Store     `json:"store"`
	Keys      bool      `json:"keys"` // whether private keys are in it
	Members   []Member  `json:"members"`
}

// Store is the store in a backup.
type Store struct {
	ID         string `json:"id"`
	Format     uint64 `json:"format"`
	Records    uint64 `json:"records"`     // of the ledger: the high-water mark
	LedgerHead string `json:"ledger_head"` // hash of the last of them, hex
}

// Member is one file in a backup.
type Member struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // hex
}

// File is a member to be written. Its content has the size that it says.
type File struct {
	Name    string
	Size    int64
	Content io.Reader
}

// smallName is the shape of the authority's files. No name in it is another
// one where upper and lower case are the same.
var smallName = regexp.MustCompile(`^authority/[a-z0-9][a-z0-9-]*(\.key)?\.(pem|json)$`)

// mayBe says whether a member of this name and size belongs in a backup.
func mayBe(name string, size int64) error {
	switch {
	case size < 0:
		return fmt.Errorf("member %q has a size below zero", name)
	case name == DatabaseName, name == LedgerName:
		return nil
	case name == ManifestName, name == TLSRootName, name == TLSKeyName, name == WebhooksName, smallName.MatchString(name):
		if size > maxSmall {
			return fmt.Errorf("member %q has %d bytes, more than such a file ever has", name, size)
		}
		return nil
	}
	return fmt.Errorf("member %q does not belong in a backup", name)
}

// Write writes a backup. The manifest's Format and Members are filled in.
func Write(w io.Writer, m Manifest, files []File) error {
	if len(files) > maxMembers {
		return fmt.Errorf("write backup: %d members, and reading takes %d", len(files), maxMembers)
	}
	out := tar.NewWriter(w)
	m.Format, m.Members = Format, nil
	for _, f := range files {
		hash := sha256.New()
		if err := add(out, f, m.CreatedAt, hash); err != nil {
			return fmt.Errorf("back up %s: %w", f.Name, err)
		}
		m.Members = append(m.Members, Member{f.Name, f.Size, hex.EncodeToString(hash.Sum(nil))})
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	text = append(text, '\n')
	if err := add(out, small(ManifestName, text), m.CreatedAt, io.Discard); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write backup: %w", err)
	}
	return nil
}

func add(out *tar.Writer, f File, at time.Time, hash io.Writer) error {
	if err := mayBe(f.Name, f.Size); err != nil {
		return err
	}
	err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.Name, Size: f.Size, Mode: 0o600, ModTime: at})
	if err != nil {
		return err
	}
	n, err := io.Copy(io.MultiWriter(out, hash), io.LimitReader(f.Content, f.Size))
	if err == nil && n != f.Size {
		err = fmt.Errorf("it has %d bytes instead of %d", n, f.Size)
	}
	return err
}
