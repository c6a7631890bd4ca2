package bolt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// A file is what the ledger needs of its file; tests put a failing disk
// between.
type file interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Truncate(size int64) error
	Close() error
}

// ledger appends to the ledger file. Only the writer uses it.
type ledger struct {
	path string
	file file
	end  int64 // where the synced records end
}

// openLedger opens or makes the ledger file.
func openLedger(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return f, nil
}

// append writes records and returns when they are on the disk. After an error
// the file ends where it did before, as far as the disk allows, and the same
// records are to be given again: they are then written again and not only
// synced, because a failed fsync may have thrown the pages away.
func (l *ledger) append(records []byte) error {
	_, err := l.file.WriteAt(records, l.end)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		if cut := l.file.Truncate(l.end); cut != nil {
			err = errors.Join(err, cut)
		}
		return fmt.Errorf("append to ledger %s: %w", l.path, err)
	}
	l.end += int64(len(records))
	return nil
}

// lineAt reads the record at an offset.
func (l *ledger) lineAt(offset int64) ([]byte, error) {
	return readLine(bufio.NewReader(io.NewSectionReader(l.file, offset, math.MaxInt64-offset)))
}

// bytesBetween reads [from, to).
func (l *ledger) bytesBetween(from, to int64) ([]byte, error) {
	b := make([]byte, to-from)
	n, err := l.file.ReadAt(b, from)
	if err != nil && !(errors.Is(err, io.EOF) && n == len(b)) {
		return nil, fmt.Errorf("read ledger %s: %w", l.path, err)
	}
	return b, nil
}
