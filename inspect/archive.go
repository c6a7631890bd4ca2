package inspect

import (
	"bufio"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"
)

// archive is a ZIP with one file for each certificate and then the tables
// index.csv and index.jsonl.
//
// A ZIP is written from its beginning to its end and ends with a directory of
// all that is in it; archive/zip holds that in memory, 300 MB for a million.
// Here the directory and the tables wait in temporary files. The other way, to
// ask the depot twice, would need no files; but then the tables could tell of
// other certificates than those that were written.
type archive struct {
	w      *bufio.Writer
	offset int64 // of the next byte
	files  uint64

	directory  *spool
	csv, jsonl *deflated
	csvLine    func([]byte, Row) ([]byte, error)
	line       []byte
}

// indexTime is when the tables were last changed, as far as the archive tells:
// two exports of the same certificates are the same.
var indexTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func newArchive(w *bufio.Writer, tempDir string) (*archive, error) {
	a := &archive{w: w, csvLine: csvLine(columns())}
	var err error
	if a.directory, err = newSpool(tempDir); err == nil {
		if a.csv, err = newDeflated(tempDir); err == nil {
			a.jsonl, err = newDeflated(tempDir)
		}
	}
	if err == nil {
		_, err = a.csv.Write(csvHeader(columns()))
	}
	if err != nil {
		a.Abort()
		return nil, fmt.Errorf("export: %w", err)
	}
	return a, nil
}

// Write adds a certificate.
func (a *archive) Write(r Row) error {
	if err := a.write(r); err != nil {
		return fmt.Errorf("export certificate %s: %w", r.Identity.CertificateSerial, err)
	}
	return nil
}

func (a *archive) write(r Row) (err error) {
	name := r.Identity.CertificateSerial
	if name == "" || strings.Trim(name, "0123456789abcdef") != "" {
		return errors.New("its serial is no name of a file")
	}
	if a.line, err = a.csvLine(a.line[:0], r); err != nil {
		return err
	}
	if _, err = a.csv.Write(a.line); err != nil {
		return err
	}
	if a.line, err = jsonLine(a.line[:0], r); err != nil {
		return err
	}
	if _, err = a.jsonl.Write(a.line); err != nil {
		return err
	}
	der := r.Identity.DER
	return a.add(entry{
		name: name + ".cer", modified: r.Identity.IssuedAt, sum: crc32.ChecksumIEEE(der),
		size: uint64(len(der)), compressed: uint64(len(der)),
	}, func(w io.Writer) error { _, err := w.Write(der); return err })
}

// add writes one file of the archive.
func (a *archive) add(e entry, content func(io.Writer) error) error {
	e.offset = uint64(a.offset)
	header := e.local()
	if _, err := a.w.Write(header); err != nil {
		return err
	}
	if err := content(a.w); err != nil {
		return err
	}
	a.offset += int64(len(header)) + int64(e.compressed)
	a.files++
	_, err := a.directory.w.Write(e.central())
	return err
}

// Close adds the tables and the directory.
func (a *archive) Close() error {
	defer a.Abort()
	for _, table := range []struct {
		name string
		of   *deflated
	}{{"index.csv", a.csv}, {"index.jsonl", a.jsonl}} {
		if err := table.of.finish(); err != nil {
			return fmt.Errorf("export: %w", err)
		}
		e := entry{
			name: table.name, modified: indexTime, sum: table.of.sum, deflated: true,
			size: table.of.size, compressed: uint64(table.of.spool.size()),
		}
		if err := a.add(e, table.of.spool.copy); err != nil {
			return fmt.Errorf("export %s: %w", table.name, err)
		}
	}
	begin := a.offset
	err := a.directory.copy(a.w)
	if err == nil {
		_, err = a.w.Write(endOfDirectory(a.files, uint64(a.directory.size()), uint64(begin)))
	}
	if err = errors.Join(err, a.w.Flush()); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// Abort removes the temporary files.
func (a *archive) Abort() {
	if a.directory != nil {
		a.directory.remove()
	}
	for _, d := range []*deflated{a.csv, a.jsonl} {
		if d != nil {
			d.spool.remove()
		}
	}
}
