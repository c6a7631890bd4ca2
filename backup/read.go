package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// InvalidError: what was read is not a whole, unharmed backup.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return "not a good backup: " + e.Reason }

func invalid(format string, args ...any) error {
	return &InvalidError{fmt.Sprintf(format, args...)}
}

func small(name string, content []byte) File {
	return File{name, int64(len(content)), bytes.NewReader(content)}
}

// Verify reads a backup to its end and compares every member with the
// manifest. The error is an *InvalidError, or one of r.
func Verify(r io.Reader) (Manifest, error) {
	return scan(r, func(string) (io.WriteCloser, error) { return discard{io.Discard}, nil })
}

type discard struct{ io.Writer }

func (discard) Close() error { return nil }

// Extract does the same and writes the members, each with mode 0600 in
// directories of mode 0700, to a directory that exists and is empty. They are
// on the disk when it returns. After an error the directory is to be thrown
// away.
func Extract(r io.Reader, dir string) (Manifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Manifest{}, fmt.Errorf("restore to %s: %w", dir, err)
	}
	defer root.Close()
	m, err := scan(r, func(name string) (io.WriteCloser, error) {
		if parent, _, nested := strings.Cut(name, "/"); nested {
			if err := root.Mkdir(parent, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
				return nil, err
			}
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		return synced{f}, nil
	})
	if err != nil {
		return m, err
	}
	return m, syncDirs(dir)
}

// synced is on the disk when it is closed.
type synced struct{ *os.File }

func (s synced) Close() error { return errors.Join(s.Sync(), s.File.Close()) }

// syncDirs makes the names durable. Windows has no such thing.
func syncDirs(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	for _, d := range []string{filepath.Join(dir, "store"), filepath.Join(dir, AuthorityDir), dir} {
		f, err := os.Open(d)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			return fmt.Errorf("restore to %s: %w", dir, err)
		}
	}
	return nil
}

// scan reads a backup and gives each member to what create returns.
func scan(r io.Reader, create func(name string) (io.WriteCloser, error)) (Manifest, error) {
	in := tar.NewReader(r)
	var found []Member
	for {
		h, err := in.Next()
		if err == io.EOF {
			return Manifest{}, invalid("it ends before its manifest: it is not complete, or something else")
		}
		if err != nil {
			return Manifest{}, reading(err)
		}
		if err := plain(h); err != nil {
			return Manifest{}, err
		}
		if slices.ContainsFunc(found, func(m Member) bool { return m.Name == h.Name }) {
			return Manifest{}, invalid("member %q is there twice", h.Name)
		}
		if h.Name == ManifestName {
			return finish(in, found)
		}
		if len(found) == maxMembers {
			return Manifest{}, invalid("it has more than %d members", maxMembers)
		}
		m, err := receive(in, h, create)
		if err != nil {
			return Manifest{}, err
		}
		found = append(found, m)
	}
}

// plain refuses everything but a file of a known name that takes as much room
// as the tar holds of it: no links, no holes, no paths out of the directory.
func plain(h *tar.Header) error {
	if h.Typeflag != tar.TypeReg {
		return invalid("member %q is no plain file", h.Name)
	}
	for key := range h.PAXRecords {
		if key != "size" && key != "mtime" {
			return invalid("member %q has the attribute %q", h.Name, key)
		}
	}
	if err := mayBe(h.Name, h.Size); err != nil {
		return invalid("%v", err)
	}
	return nil
}

func receive(in *tar.Reader, h *tar.Header, create func(string) (io.WriteCloser, error)) (Member, error) {
	out, err := create(h.Name)
	if err != nil {
		return Member{}, fmt.Errorf("restore %s: %w", h.Name, err)
	}
	hash := sha256.New()
	into := &writer{w: out}
	_, err = io.Copy(io.MultiWriter(into, hash), in)
	into.err = errors.Join(into.err, out.Close())
	switch {
	case into.err != nil:
		return Member{}, fmt.Errorf("restore %s: %w", h.Name, into.err)
	case err != nil:
		return Member{}, reading(err)
	}
	return Member{h.Name, h.Size, hex.EncodeToString(hash.Sum(nil))}, nil
}

// writer remembers its error, to tell it from one of reading.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.err = errors.Join(w.err, err)
	return n, err
}

// reading names an error of the tar.
func reading(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid("%v", err)
	}
	return fmt.Errorf("read backup: %w", err)
}

// finish reads the manifest and compares what was found with it.
func finish(in *tar.Reader, found []Member) (Manifest, error) {
	var m Manifest
	text, err := io.ReadAll(in)
	if err != nil {
		return m, reading(err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, invalid("manifest: %v", err)
	}
	if m.Format != Format {
		return m, invalid("it has format %d and this program knows %d; use the version of Understudy that wrote it (%.40q)", m.Format, Format, m.Version)
	}
	if next, err := in.Next(); err == nil {
		return m, invalid("member %q follows the manifest", next.Name)
	} else if err != io.EOF {
		return m, reading(err)
	}
	byName := func(a, b Member) int { return strings.Compare(a.Name, b.Name) }
	listed := slices.SortedFunc(slices.Values(m.Members), byName)
	slices.SortFunc(found, byName)
	for _, f := range found {
		i, there := slices.BinarySearchFunc(listed, f, byName)
		switch {
		case !there:
			return m, invalid("member %q is not in the manifest", f.Name)
		case listed[i] != f:
			return m, invalid("member %q is not what the manifest says: it was changed or damaged", f.Name)
		}
	}
	if len(listed) != len(found) {
		return m, invalid("the manifest lists %d members, there are %d", len(listed), len(found))
	}
	for _, name := range []string{DatabaseName, LedgerName} {
		if !slices.ContainsFunc(found, func(f Member) bool { return f.Name == name }) {
			return m, invalid("member %q is missing", name)
		}
	}
	return m, nil
}
