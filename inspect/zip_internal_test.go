package inspect

import (
	"archive/zip"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"understudy.example/understudy/depot"
)

// An archive of more than 4 GiB, of which a hole in the file is the most.
func TestZIPBeyond4GiB(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e, err := NewExporter(FormatZIP, f, ExportOptions{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	a := e.(*archive)
	row := func(serial, der string) Row {
		return Row{JSON: []byte("{}"), Identity: depot.Identity{CertificateSerial: serial, DER: []byte(der), IssuedAt: time.Unix(0, 0)}}
	}
	write := func(r Row) {
		t.Helper()
		if err := e.Write(r); err != nil {
			t.Fatal(err)
		}
		if err := a.w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	write(row("0a", "first"))
	a.offset = 5 << 30
	if _, err := f.Seek(a.offset, io.SeekStart); err != nil {
		t.Fatalf("make a file with a hole: %v", err)
	}
	write(row("0b", "second"))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, want := range map[string]string{"0a.cer": "first", "0b.cer": "second", "index.jsonl": "{}\n{}\n"} {
		f, err := r.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f); string(got) != want || err != nil {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
}

// The old format counts to 65534: one more says that the number is elsewhere.
func TestZIPCounts(t *testing.T) {
	const small, large = 22, 56 + 20 + 22
	for files, want := range map[uint64]int{0: small, 65534: small, 65535: large, 65536: large} {
		if got := len(endOfDirectory(files, 1, 1)); got != want {
			t.Errorf("%d files: the end has %d bytes, want %d", files, got, want)
		}
	}
}

// A file of 5 GiB in the archive, as its headers tell.
func TestZIPHeadersOfLargeFiles(t *testing.T) {
	e := entry{name: "index.csv", modified: indexTime, size: 5 << 30, compressed: 4<<30 + 7, offset: 6 << 30, deflated: true}
	local, central := e.local(), e.central()
	if len(local) != 30+9+20 || len(central) != 46+9+28 {
		t.Fatalf("headers of %d and %d bytes", len(local), len(central))
	}
	// The directory alone says what the reader shows.
	path := filepath.Join(t.TempDir(), "x.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	begin := int64(12 << 30)
	if _, err := f.WriteAt(append(central, endOfDirectory(1, uint64(len(central)), uint64(begin))...), begin); err != nil {
		t.Fatalf("make a file with a hole: %v", err)
	}
	r, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := r.File[0]; got.UncompressedSize64 != 5<<30 || got.CompressedSize64 != 4<<30+7 || got.Method != zip.Deflate {
		t.Errorf("archive/zip reads %+v", got.FileHeader)
	}
}
