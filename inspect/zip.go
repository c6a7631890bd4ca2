package inspect

import (
	"encoding/binary"
	"math"
	"time"
)

// The records of a ZIP, as PKWARE's APPNOTE 6.3.10 numbers and lays them out
// (sections 4.3.7, 4.3.12 and 4.3.14 to 4.3.16). All sizes are known before
// they are written, so no data descriptors are needed.
const (
	localSignature     = 0x04034b50
	centralSignature   = 0x02014b50
	end64Signature     = 0x06064b50
	locator64Signature = 0x07064b50
	endSignature       = 0x06054b50

	zip64Extra    = 0x0001 // header id (4.5.3)
	version20     = 20     // deflate
	version45     = 45     // ZIP64
	madeOnUnix    = 3 << 8
	regularFile   = 0o100644 << 16
	methodStore   = 0
	methodDeflate = 8
)

// entry is one file of an archive.
type entry struct {
	name             string // ASCII
	modified         time.Time
	sum              uint32 // CRC-32
	size, compressed uint64
	offset           uint64 // of its local header
	deflated         bool
}

// common returns the fields that both headers have, from "version needed" to
// the lengths of name and extra field.
func (e entry) common(b []byte, extra int) []byte {
	version, method := uint16(version20), uint16(methodStore)
	if extra > 0 {
		version = version45
	}
	if e.deflated {
		method = methodDeflate
	}
	day, clock := dosTime(e.modified)
	le := binary.LittleEndian
	b = le.AppendUint16(b, version)
	b = le.AppendUint16(b, 0) // flags
	b = le.AppendUint16(b, method)
	b = le.AppendUint16(b, clock)
	b = le.AppendUint16(b, day)
	b = le.AppendUint32(b, e.sum)
	b = le.AppendUint32(b, atMost32(e.compressed))
	b = le.AppendUint32(b, atMost32(e.size))
	b = le.AppendUint16(b, uint16(len(e.name)))
	return le.AppendUint16(b, uint16(extra))
}

// local returns the header that stands before the content.
func (e entry) local() []byte {
	le := binary.LittleEndian
	var extra []byte
	if e.size >= math.MaxUint32 || e.compressed >= math.MaxUint32 {
		// Both must be there in a local header.
		extra = le.AppendUint16(extra, zip64Extra)
		extra = le.AppendUint16(extra, 16)
		extra = le.AppendUint64(le.AppendUint64(extra, e.size), e.compressed)
		e.size, e.compressed = math.MaxUint32, math.MaxUint32
	}
	b := le.AppendUint32(nil, localSignature)
	b = e.common(b, len(extra))
	return append(append(b, e.name...), extra...)
}

// central returns the entry of the directory.
func (e entry) central() []byte {
	le := binary.LittleEndian
	var large []byte
	for _, n := range []uint64{e.size, e.compressed, e.offset} {
		if n >= math.MaxUint32 {
			large = le.AppendUint64(large, n)
		}
	}
	var extra []byte
	if len(large) > 0 {
		extra = le.AppendUint16(extra, zip64Extra)
		extra = append(le.AppendUint16(extra, uint16(len(large))), large...)
	}
	b := le.AppendUint32(nil, centralSignature)
	b = le.AppendUint16(b, madeOnUnix|version45)
	b = e.common(b, len(extra))
	b = append(b, make([]byte, 2+2+2)...) // no comment, first disk, no internal attributes
	b = le.AppendUint32(b, regularFile)
	b = le.AppendUint32(b, atMost32(e.offset))
	return append(append(b, e.name...), extra...)
}

// endOfDirectory returns what stands behind the directory: the records of
// ZIP64 when a number needs them, and the last one.
func endOfDirectory(files, size, begin uint64) []byte {
	le := binary.LittleEndian
	var b []byte
	if files >= math.MaxUint16 || size >= math.MaxUint32 || begin >= math.MaxUint32 {
		const rest = 44 // bytes of the record behind its own length
		b = le.AppendUint32(b, end64Signature)
		b = le.AppendUint64(b, rest)
		b = le.AppendUint16(b, madeOnUnix|version45)
		b = le.AppendUint16(b, version45)
		b = append(b, make([]byte, 4+4)...) // one disk
		for _, n := range []uint64{files, files, size, begin} {
			b = le.AppendUint64(b, n)
		}
		b = le.AppendUint32(b, locator64Signature)
		b = le.AppendUint32(b, 0)
		b = le.AppendUint64(b, begin+size)
		b = le.AppendUint32(b, 1)
	}
	b = le.AppendUint32(b, endSignature)
	b = append(b, make([]byte, 2+2)...) // one disk
	b = le.AppendUint16(b, uint16(min(files, math.MaxUint16)))
	b = le.AppendUint16(b, uint16(min(files, math.MaxUint16)))
	b = le.AppendUint32(b, atMost32(size))
	b = le.AppendUint32(b, atMost32(begin))
	return le.AppendUint16(b, 0) // no comment
}

// atMost32 returns n, or the number that says that it stands elsewhere.
func atMost32(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }

// dosTime returns a time as MS-DOS had it: from 1980 to 2107, in steps of two
// seconds.
func dosTime(t time.Time) (day, clock uint16) {
	t = t.UTC()
	switch {
	case t.Year() < 1980:
		t = indexTime
	case t.Year() > 2107:
		t = time.Date(2107, 12, 31, 23, 59, 58, 0, time.UTC)
	}
	day = uint16(t.Day() + int(t.Month())<<5 + (t.Year()-1980)<<9)
	clock = uint16(t.Second()/2 + t.Minute()<<5 + t.Hour()<<11)
	return day, clock
}
