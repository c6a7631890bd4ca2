package bolt_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"understudy.example/understudy/depot/bolt"
	"understudy.example/understudy/depot/depottest"
)

// line writes a ledger record as anybody can who has read how they are made.
func line(before [32]byte, payload []byte) (record []byte, hash [32]byte) {
	hash = sha256.Sum256(append(before[:], payload...))
	tail := append([]byte(" "+hex.EncodeToString(hash[:])+" "), payload...)
	length := fmt.Appendf(nil, "%08x ", len(payload))
	sum := crc32.Checksum(append(bytes.Clone(length), tail...), crc32.MakeTable(crc32.Castagnoli))
	return slices.Concat(length, fmt.Appendf(nil, "%08x", sum), tail, []byte("\n")), hash
}

const recordHeader = 83 // bytes before the payload

// resealed makes lengths, checksums and, if told to, the chain right again
// from record number n on.
func resealed(lines [][]byte, n int, chain bool) []byte {
	var before [32]byte
	if n > 1 {
		_, _ = hex.Decode(before[:], lines[n-2][18:82])
	}
	for i := n - 1; i < len(lines); i++ {
		payload := lines[i][recordHeader : len(lines[i])-1]
		was := bytes.Clone(lines[i][18:82])
		lines[i], before = line(before, payload)
		if !chain { // only the checksum
			copy(lines[i][18:82], was)
			sum := crc32.Checksum(slices.Concat(lines[i][:9], lines[i][17:len(lines[i])-1]), crc32.MakeTable(crc32.Castagnoli))
			copy(lines[i][9:17], fmt.Sprintf("%08x", sum))
		}
	}
	return bytes.Join(lines, nil)
}

// TestVerifyNamesThePlace: whatever is done to a ledger is found, and the
// first record that is not what was written is named, with its offset and with
// the time of the one before.
func TestVerifyNamesThePlace(t *testing.T) {
	const certificates = 8 // records 2 to 9
	dir := closed(t, certificates)
	whole := read(t, dir, "ledger")
	database := read(t, dir, "store.db")
	split := func() [][]byte { return bytes.SplitAfter(bytes.Clone(whole), []byte("\n"))[:certificates+1] }
	edited := func(n int) [][]byte {
		lines := split()
		lines[n-1] = bytes.Replace(lines[n-1], []byte("text"), []byte("tEXt"), 1)
		return lines
	}
	join := func(lines [][]byte) []byte { return bytes.Join(lines, nil) }
	for _, test := range []struct {
		name   string
		ledger func() []byte
		record int
		want   string
	}{
		{"a byte", func() []byte { return join(edited(5)) }, 5, "checksum"},
		{"a byte, checksum mended", func() []byte { return resealed(edited(5), 5, false) }, 5, "hash does not follow"},
		{"the last record, checksum mended", func() []byte { return resealed(edited(9), 9, false) }, 9, "hash does not follow"},
		{"the first record, checksum mended", func() []byte {
			lines := split()
			lines[0] = bytes.Replace(lines[0], fmt.Appendf(nil, `"format":%d`, bolt.Format), []byte(`"format":9`), 1)
			return resealed(lines, 1, false)
		}, 1, "hash does not follow"},
		{"edited and the chain made anew", func() []byte { return resealed(edited(5), 5, true) }, 5, "the database has another record"},
		{"the last edited and the chain made anew", func() []byte { return resealed(edited(9), 9, true) }, 9, "the database has another record"},
		{"removed", func() []byte { return join(slices.Delete(split(), 3, 5)) }, 4, "it says that it is record 6"},
		{"the first removed", func() []byte { return join(split()[1:]) }, 1, "it says that it is record 2"},
		{"reordered", func() []byte { l := split(); l[3], l[4] = l[4], l[3]; return join(l) }, 4, "it says that it is record 5"},
		{"inserted", func() []byte { l := split(); return join(slices.Insert(l, 4, l[2])) }, 5, "it says that it is record 3"},
		{"inserted and chained", func() []byte {
			l := split()
			return resealed(slices.Insert(l, 4, bytes.Clone(l[4])), 5, true)
		}, 6, "it says that it is record 5"},
		{"cut", func() []byte { return join(split()[:7]) }, 8, "the end was cut off"},
		{"cut within a record", func() []byte { return whole[:len(whole)-20] }, 9, "torn"},
		{"empty", func() []byte { return nil }, 1, "the end was cut off"},
		{"gone", nil, 1, "missing"},
		{"added", func() []byte {
			l := split()
			payload := bytes.Replace(l[8][recordHeader:len(l[8])-1], []byte(`{"n":9`), []byte(`{"n":10`), 1)
			return resealed(append(l, slices.Concat(make([]byte, recordHeader), payload, []byte("\n"))), 10, true)
		}, 10, "records were added"},
		{"of another store", func() []byte { return read(t, closed(t, 8), "ledger") }, 1, "belongs to store"},
		{"nonsense", func() []byte { return append(bytes.Clone(whole[:4000]), make([]byte, 5000)...) }, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			must(t, os.Mkdir(dir, 0o700))
			write(t, database, dir, "store.db")
			if test.ledger != nil {
				write(t, test.ledger(), dir, "ledger")
			}
			report, err := bolt.VerifyStore(t.Context(), dir)
			must(t, err)
			if report.Holds() || report.Break == nil {
				t.Fatalf("it holds: %+v", report)
			}
			if test.record == 0 {
				return
			}
			b := report.Break
			if b.Record != uint64(test.record) || !strings.Contains(b.Detail, test.want) {
				t.Errorf("record %d: %s, want record %d: %s", b.Record, b.Detail, test.record, test.want)
			}
			offset := int64(len(bytes.Join(split()[:test.record-1], nil)))
			if test.name == "inserted and chained" {
				offset = int64(len(bytes.Join(split()[:4], nil)) + len(split()[4]))
			}
			if b.Offset != offset {
				t.Errorf("byte %d, want %d", b.Offset, offset)
			}
			var last time.Time
			if test.record > 2 && test.name != "inserted and chained" {
				last = depottest.Issuance(test.record - 3).Identity.IssuedAt
			}
			if test.record > 2 && test.name != "inserted and chained" && test.name != "added" && !b.LastGoodAt.Equal(last) {
				t.Errorf("last good record of %v, want %v", b.LastGoodAt, last)
			}
		})
	}
}

// A ledger that is what was written holds, to its last record, whether the
// store was closed in order or not, and nothing is changed by looking.
func TestVerifyHolds(t *testing.T) {
	for name, dir := range map[string]string{"closed": closed(t, 5), "died": died(t, 5)} {
		before := files(t, dir)
		report, err := bolt.VerifyStore(t.Context(), dir)
		must(t, err)
		if !report.Holds() || report.Records != 6 || report.Bytes != int64(len(before["ledger"])) ||
			!report.LastAt.Equal(depottest.Issuance(4).Identity.IssuedAt) || report.Store == "" {
			t.Errorf("%s: %+v", name, report)
		}
		if after := files(t, dir); len(after) != len(before) || after["store.db"] != before["store.db"] || after["ledger"] != before["ledger"] {
			t.Errorf("%s: changed", name)
		}
	}
}

// Without its database a ledger can be followed but not be said to be whole.
func TestVerifyWithoutDatabase(t *testing.T) {
	for name, damage := range map[string]func(dir string){
		"missing": func(dir string) { must(t, os.Remove(filepath.Join(dir, "store.db"))) },
		"empty":   func(dir string) { write(t, nil, dir, "store.db") },
		"half":    func(dir string) { edit(t, func(b []byte) []byte { return b[:5000] }, dir, "store.db") },
		"zeros":   func(dir string) { edit(t, func(b []byte) []byte { return make([]byte, len(b)) }, dir, "store.db") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := closed(t, 3)
			damage(dir)
			report, err := bolt.VerifyStore(t.Context(), dir)
			must(t, err)
			if report.Holds() || report.Break != nil || report.NotCompared == "" || report.Records != 4 {
				t.Errorf("%+v", report)
			}
		})
	}
}

// The store that is open verifies its ledger while it is written, and finds
// what was done to the file meanwhile.
func TestVerifyOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	d := open(t, dir)
	commit(t, d, 0, 5)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 5; n < 60; n++ {
			if _, err := d.Commit(t.Context(), depottest.Issuance(n)); err != nil {
				t.Error(err)
			}
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		report, err := d.VerifyLedger(t.Context())
		if err != nil || !report.Holds() || report.Records < 6 {
			t.Fatalf("%+v, %v", report, err)
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, "ledger"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	at := bytes.Index(read(t, dir, "ledger"), []byte(`{"n":30,`))
	_, err = f.WriteAt([]byte("X"), int64(at)+200)
	must(t, err)
	report, err := d.VerifyLedger(t.Context())
	if err != nil || report.Break == nil || report.Break.Record != 30 {
		t.Errorf("edited: %+v, %v", report.Break, err)
	}
	must(t, f.Truncate(int64(at)-recordHeader))
	report, err = d.VerifyLedger(t.Context())
	if err != nil || report.Break == nil || report.Break.Record != 30 || !strings.Contains(report.Break.Detail, "cut off") {
		t.Errorf("cut: %+v, %v", report.Break, err)
	}
}
