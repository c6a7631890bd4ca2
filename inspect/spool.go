package inspect

import (
	"bufio"
	"compress/flate"
	"hash/crc32"
	"io"
	"os"
)

// spool is a temporary file that is written and then read once.
type spool struct {
	file    *os.File
	w       *bufio.Writer
	written int64 // through w and out of it
	name    string
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, "understudy-export-*")
	if err != nil {
		return nil, err
	}
	s := &spool{file: f, name: f.Name()}
	s.w = bufio.NewWriterSize(countingWriter{s}, 32<<10)
	// Where the system allows it, the file goes with the process, however that
	// ends.
	if os.Remove(s.name) == nil {
		s.name = ""
	}
	return s, nil
}

// countingWriter is the file of a spool.
type countingWriter struct{ s *spool }

func (c countingWriter) Write(b []byte) (int, error) {
	n, err := c.s.file.Write(b)
	c.s.written += int64(n)
	return n, err
}

// size returns how many bytes were written.
func (s *spool) size() int64 { return s.written + int64(s.w.Buffered()) }

// copy writes all of it.
func (s *spool) copy(w io.Writer) error {
	if err := s.w.Flush(); err != nil {
		return err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(w, s.file)
	return err
}

// remove closes and removes the file. It is safe to call twice.
func (s *spool) remove() {
	_ = s.file.Close()
	if s.name != "" {
		_ = os.Remove(s.name)
		s.name = ""
	}
}

// deflated is a spool of compressed text.
type deflated struct {
	spool *spool
	w     *flate.Writer
	sum   uint32 // CRC-32 of the text
	size  uint64 // of the text
}

func newDeflated(dir string) (*deflated, error) {
	s, err := newSpool(dir)
	if err != nil {
		return nil, err
	}
	// The quickest compression: it makes the tables a third of their size, and
	// the best would take twice the time for a tenth more.
	w, err := flate.NewWriter(s.w, flate.BestSpeed)
	if err != nil {
		s.remove()
		return nil, err
	}
	return &deflated{spool: s, w: w}, nil
}

func (d *deflated) Write(b []byte) (int, error) {
	d.sum = crc32.Update(d.sum, crc32.IEEETable, b)
	d.size += uint64(len(b))
	return d.w.Write(b)
}

// finish ends the compressed text.
func (d *deflated) finish() error { return d.w.Close() }
