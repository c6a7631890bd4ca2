// Package datadir prepares a server's data directory and keeps the small files
// in it that are neither the authority's nor the store's.
//
// Everything in the directory is for its owner only. The package must not know
// what a server does with it.
package datadir

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"understudy.example/understudy/cmd/understudy/internal/api"
)

// Dir is a data directory.
type Dir string

// Authority is where the authority's keys and certificates are.
func (d Dir) Authority() string { return filepath.Join(string(d), "authority") }

// Store is where the bbolt file and the ledger are.
func (d Dir) Store() string { return filepath.Join(string(d), "store") }

// Discovery is the file that tells clients of a running server.
func (d Dir) Discovery() string { return filepath.Join(string(d), api.DiscoveryFile) }

// Token is the file that holds the admin token.
func (d Dir) Token() string { return filepath.Join(string(d), api.TokenFile) }

// TLSRoot is the root of --tls-self, for clients to trust.
func (d Dir) TLSRoot() string { return filepath.Join(string(d), "tls-root.pem") }

// TLSRootKey is that root's key.
func (d Dir) TLSRootKey() string { return filepath.Join(string(d), "tls-root.key") }

// Webhooks is the file with the key from which the secrets of webhooks follow.
func (d Dir) Webhooks() string { return filepath.Join(string(d), "webhooks.key") }

// Open makes the directory or checks it: it refuses one that others can read,
// unless it is empty, in which case it is closed to others first.
func Open(path string) (Dir, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("open data directory: %w", err)
	}
	_, missing := os.Stat(absolute)
	if err := os.MkdirAll(absolute, 0o700); err != nil {
		return "", fmt.Errorf("make data directory: %w", err)
	}
	if missing != nil {
		if err := SyncDir(filepath.Dir(absolute)); err != nil {
			return "", fmt.Errorf("make data directory: %w", err)
		}
	}
	info, err := os.Stat(absolute)
	if err != nil {
		return "", fmt.Errorf("open data directory: %w", err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is not a directory", path)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return Dir(absolute), nil
	}
	entries, err := os.ReadDir(absolute)
	if err != nil {
		return "", fmt.Errorf("open data directory: %w", err)
	}
	if len(entries) > 0 {
		return "", fmt.Errorf("data directory %s is open to others (mode %04o): run \"chmod 700 %s\", or name another with --data",
			path, info.Mode().Perm(), path)
	}
	if err := os.Chmod(absolute, 0o700); err != nil {
		return "", fmt.Errorf("close data directory to others: %w", err)
	}
	return Dir(absolute), nil
}

// AdminToken returns the admin token, which is made at the first call.
func (d Dir) AdminToken() (string, error) {
	text, err := ReadPrivate(d.Token())
	switch {
	case err == nil:
		token := strings.TrimSpace(string(text))
		if len(token) < 32 {
			return "", fmt.Errorf("%s holds no admin token: remove it, and the next start makes a new one", d.Token())
		}
		return token, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return "", fmt.Errorf("make admin token: %w", err)
	}
	token := hex.EncodeToString(raw)
	return token, WritePrivate(d.Token(), []byte(token+"\n"))
}

// webhooksKeySize is the size of that key in bytes, as of HMAC-SHA256's output.
const webhooksKeySize = 32

// WebhooksKey returns the key from which the secrets of webhooks follow, which
// is made at the first call.
func (d Dir) WebhooksKey() ([]byte, error) {
	text, err := ReadPrivate(d.Webhooks())
	switch {
	case err == nil:
		key, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil || len(key) != webhooksKeySize {
			return nil, fmt.Errorf("%s holds no key of %d bytes in hex: put the right file back; or remove it, and the next start makes a new one, with which every webhook has a new secret",
				d.Webhooks(), webhooksKeySize)
		}
		return key, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	key := make([]byte, webhooksKeySize)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("make key of webhooks: %w", err)
	}
	return key, WritePrivate(d.Webhooks(), []byte(hex.EncodeToString(key)+"\n"))
}

// Announce writes the discovery file.
func (d Dir) Announce(discovery api.Discovery) error {
	text, err := json.Marshal(discovery)
	if err != nil {
		return fmt.Errorf("announce server: %w", err)
	}
	return WritePrivate(d.Discovery(), append(text, '\n'))
}

// Withdraw removes the discovery file.
func (d Dir) Withdraw() error {
	if err := os.Remove(d.Discovery()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", d.Discovery(), err)
	}
	return nil
}

// ReadPrivate reads a file and refuses one that others can read or write.
func ReadPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read private file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read private file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to others (mode %04o): run \"chmod 600 %s\"; if somebody may have read it, remove it instead", path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("read private file: %w", err)
	}
	return text, nil
}

// WritePrivate writes a file with mode 0600, whole or not at all.
func WritePrivate(path string, text []byte) error {
	return write(path, text, 0o600)
}

// WritePublic writes a file with mode 0644, whole or not at all.
func WritePublic(path string, text []byte) error {
	return write(path, text, 0o644)
}

func write(path string, text []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a directory durable. Windows has no such thing.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
