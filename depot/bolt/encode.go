package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"understudy.example/understudy/depot"
)

// A record in the database is
//
//	version (1 byte) | fields | CRC-32C of all that precedes it (4 bytes)
//
// and a field is its tag, its length and its bytes, the first two as uvarint.
// Zero values are left out. bbolt has no checksums of its own on data pages,
// so this one is what notices a flipped bit in a record.
const recordVersion = 1

var (
	errChecksum = errors.New("checksum does not match")
	errVersion  = errors.New("written by a newer version of Understudy")
	errCut      = errors.New("record is cut short")
)

func castagnoli(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// seal adds the checksum to a record that begins with its version.
func seal(b []byte) []byte { return binary.BigEndian.AppendUint32(b, castagnoli(b)) }

// unseal returns what is between version and checksum. It still lies in b.
func unseal(b []byte) ([]byte, error) {
	if len(b) < 5 {
		return nil, errCut
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if castagnoli(body) != sum {
		return nil, errChecksum
	}
	if body[0] != recordVersion {
		return nil, errVersion
	}
	return body[1:], nil
}

// encode returns the record that holds the fields, and those that are not in
// their list.
func encode(fields []field, more ...field) []byte {
	const versionAndSum = 1 + 4
	b := append(make([]byte, 0, versionAndSum+room(fields)+room(more)), recordVersion)
	return seal(appendFields(appendFields(b, fields), more))
}

// appendFields appends the fields that are not zero.
func appendFields(b []byte, fields []field) []byte {
	for _, f := range fields {
		b = appendField(b, f)
	}
	return b
}

// appendField appends a field, and nothing for a zero one.
func appendField(b []byte, f field) []byte {
	switch v := f.value.(type) { // their length is known, so they need no copy
	case *string:
		if *v != "" {
			b = binary.AppendUvarint(binary.AppendUvarint(b, f.tag), uint64(len(*v)))
			b = append(b, *v...)
		}
		return b
	case *[]byte:
		if len(*v) > 0 {
			b = binary.AppendUvarint(binary.AppendUvarint(b, f.tag), uint64(len(*v)))
			b = append(b, *v...)
		}
		return b
	}
	var scratch [512]byte
	var v []byte
	if within, ok := f.value.([]field); ok { // not by encodeValue, or scratch would have to be on the heap
		v = appendFields(nil, within)
	} else {
		v = encodeValue(scratch[:0], f.value)
	}
	if len(v) == 0 {
		return b
	}
	b = binary.AppendUvarint(binary.AppendUvarint(b, f.tag), uint64(len(v)))
	return append(b, v...)
}

// room is about what the fields take in a record, bytes. Too little costs a
// copy, nothing else.
func room(fields []field) (size int) {
	for _, f := range fields {
		if isZero(f.value) {
			continue
		}
		switch v := f.value.(type) {
		case *string:
			size += len(*v)
		case *[]byte:
			size += len(*v)
		case *[32]byte:
			size += len(v)
		case []field:
			size += room(v)
		default:
			size += 12
		}
		size += 4 // tag and length
	}
	return size
}

// isZero says whether v points to a value that records leave out.
func isZero(v any) bool {
	switch v := v.(type) {
	case *string:
		return *v == ""
	case *[]byte:
		return len(*v) == 0
	case *[32]byte:
		return *v == [32]byte{}
	case *time.Time:
		return v.IsZero()
	case *time.Duration:
		return *v == 0
	case *int:
		return *v == 0
	case *uint64:
		return *v == 0
	case *bool:
		return !*v
	case *[]string:
		return len(*v) == 0
	case *[]int:
		return len(*v) == 0
	case []field:
		return !slices.ContainsFunc(v, func(f field) bool { return !isZero(f.value) })
	}
	return len(encodeValue(nil, v)) == 0
}

// decode reads a record into the fields, copying everything.
func decode(b []byte, fields []field) error {
	b, err := unseal(b)
	if err != nil {
		return err
	}
	return decodeFields(b, fields)
}

// decodeFields reads what appendFields wrote.
func decodeFields(b []byte, fields []field) error {
	for next := 0; len(b) > 0; next++ {
		tag, value, rest, err := splitField(b)
		if err != nil {
			return err
		}
		for next < len(fields) && fields[next].tag != tag {
			next++
		}
		if next == len(fields) {
			return fmt.Errorf("field %d: %w", tag, errVersion)
		}
		if err := decodeValue(fields[next].value, value); err != nil {
			return fmt.Errorf("field %s: %w", fields[next].name, err)
		}
		b = rest
	}
	return nil
}

func splitField(b []byte) (tag uint64, value, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, nil, errCut
	}
	value, rest, err = splitBytes(b[n:])
	return tag, value, rest, err
}

func splitBytes(b []byte) (value, rest []byte, err error) {
	size, n := binary.Uvarint(b)
	if n <= 0 || size > uint64(len(b)-n) {
		return nil, nil, errCut
	}
	return b[n : n+int(size)], b[n+int(size):], nil
}

// encodeValue appends the value that v points to, and nothing for a zero one.
func encodeValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case *string:
		return append(b, *v...)
	case *[]byte:
		return append(b, *v...)
	case *[32]byte:
		if *v != [32]byte{} {
			return append(b, v[:]...)
		}
	case *time.Time:
		if !v.IsZero() {
			b = binary.AppendVarint(b, v.Unix())
			return binary.AppendUvarint(b, uint64(v.Nanosecond()))
		}
	case *time.Duration:
		return appendNonZero(b, int64(*v))
	case *int:
		return appendNonZero(b, int64(*v))
	case *uint64:
		if *v != 0 {
			return binary.AppendUvarint(b, *v)
		}
	case *bool:
		if *v {
			return append(b, 1)
		}
	case *[]string:
		for _, s := range *v {
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	case *[]int:
		for _, n := range *v {
			b = binary.AppendVarint(b, int64(n))
		}
	case *[]depot.ListedDevice:
		for _, d := range *v {
			for _, s := range []string{d.DeviceSerial, d.UDID, d.UPN} {
				b = binary.AppendUvarint(b, uint64(len(s)))
				b = append(b, s...)
			}
		}
	}
	return b
}

// normalize makes the value that v points to what decoding its encoding would
// give.
func normalize(v any) {
	switch v := v.(type) {
	case *time.Time:
		if v.IsZero() {
			*v = time.Time{}
		} else {
			*v = time.Unix(v.Unix(), int64(v.Nanosecond())).UTC()
		}
	case *[]byte:
		if len(*v) == 0 {
			*v = nil
		}
	case *[]string:
		if len(*v) == 0 {
			*v = nil
		}
	case *[]int:
		if len(*v) == 0 {
			*v = nil
		}
	case []field:
		normalizeAll(v)
	}
}

func normalizeAll(fields []field) {
	for _, f := range fields {
		normalize(f.value)
	}
}

func appendNonZero(b []byte, n int64) []byte {
	if n == 0 {
		return b
	}
	return binary.AppendVarint(b, n)
}

// decodeValue reads b, which is not empty, into what v points to.
func decodeValue(v any, b []byte) error {
	switch v := v.(type) {
	case *string:
		*v = string(b)
	case *[]byte:
		*v = append([]byte(nil), b...)
	case *[32]byte:
		if len(b) != len(v) {
			return errCut
		}
		copy(v[:], b)
	case *time.Time:
		return decodeTime(v, b)
	case *time.Duration:
		n, err := decodeInts(b, 1)
		if err == nil {
			*v = time.Duration(n[0])
		}
		return err
	case *int:
		n, err := decodeInts(b, 1)
		if err == nil {
			*v = n[0]
		}
		return err
	case *uint64:
		n, size := binary.Uvarint(b)
		if size != len(b) {
			return errCut
		}
		*v = n
	case *bool:
		*v = true
	case *[]string:
		list, err := decodeStrings(b)
		*v = list
		return err
	case *[]int:
		n, err := decodeInts(b, -1)
		*v = n
		return err
	case *[]depot.ListedDevice:
		list, err := decodeStrings(b)
		if err != nil || len(list)%3 != 0 {
			return errCut
		}
		*v = nil
		for s := range slices.Chunk(list, 3) {
			*v = append(*v, depot.ListedDevice{DeviceSerial: s[0], UDID: s[1], UPN: s[2]})
		}
	case []field:
		return decodeFields(b, v)
	}
	return nil
}

func decodeStrings(b []byte) (list []string, err error) {
	for len(b) > 0 {
		s, rest, err := splitBytes(b)
		if err != nil {
			return nil, err
		}
		list, b = append(list, string(s)), rest
	}
	return list, nil
}

func decodeTime(v *time.Time, b []byte) error {
	seconds, n := binary.Varint(b)
	if n <= 0 {
		return errCut
	}
	nanoseconds, m := binary.Uvarint(b[n:])
	if m <= 0 || n+m != len(b) {
		return errCut
	}
	*v = time.Unix(seconds, int64(nanoseconds)).UTC()
	return nil
}

// decodeInts reads want numbers, or any number of them when want is -1.
func decodeInts(b []byte, want int) ([]int, error) {
	var all []int
	for len(b) > 0 {
		n, size := binary.Varint(b)
		if size <= 0 {
			return nil, errCut
		}
		all, b = append(all, int(n)), b[size:]
	}
	if want >= 0 && len(all) != want {
		return nil, errCut
	}
	return all, nil
}
