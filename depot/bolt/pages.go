package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// bbolt trusts its file. Over a page that makes no sense it panics, follows a
// pointer out of the file, or goes in a circle until the memory is used up,
// and its own check does so in a goroutine where none of this can be caught.
// So the pages are looked at here first, in plain reads and with every number
// in doubt. The layout is that of bbolt's data file version 2, in the byte order
// of the machine:
//
//	page     id 8, flags 2, count 2, overflow 4, elements
//	branch   pos 4, key size 4, page 8           (pos from the element's start)
//	leaf     flags 4, pos 4, key size 4, value size 4
//	bucket   (value of a leaf element with flag 1) root page 8, sequence 8;
//	         with root page 0 a whole leaf page follows, inline
//	meta     magic 4, version 4, page size 4, flags 4, root bucket 16,
//	         freelist page 8, number of pages 8, transaction 8, checksum 8
//	freelist page ids, 8 each; with count 0xffff the first one is the count
const (
	pageHeader  = 16
	elementSize = 16
	bucketSize  = 16

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
	flagBucket   = 0x01 // of a leaf element

	// noFreelist stands for the freelist's page in a file that was copied out
	// of a transaction or made without one: whatever cannot be reached is free.
	noFreelist = ^uint64(0)
)

// pageCheck goes through all pages that can be reached from one meta page.
type pageCheck struct {
	file  io.ReaderAt
	size  int64  // of a page, bytes
	pages uint64 // in use, the free ones included
	seen  []bool // by page id: reached or free
}

// checkPages returns the first thing that is wrong in a database file, which
// the caller has locked. transaction tells which of the two metas is in force.
func checkPages(path string, pageSize int, transaction uint64) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	c := &pageCheck{file: f, size: int64(pageSize)}
	root, freelist, err := c.meta(transaction)
	if err != nil {
		return err
	}
	if c.pages > uint64(info.Size()/c.size) {
		return errors.New("the file is shorter than it should be")
	}
	c.seen = make([]bool, c.pages)
	if err := errors.Join(c.mark(0, 0), c.mark(1, 0)); err != nil {
		return err
	}
	if freelist != noFreelist {
		if err := c.freelist(freelist); err != nil {
			return err
		}
	}
	if err := c.tree(root, nil, nil); err != nil {
		return err
	}
	for id, seen := range c.seen {
		if !seen && freelist != noFreelist {
			return fmt.Errorf("page %d is neither in use nor free", id)
		}
	}
	return nil
}

// meta reads the meta page of a transaction.
func (c *pageCheck) meta(transaction uint64) (root, freelist uint64, err error) {
	for id := range int64(2) {
		b := make([]byte, pageHeader+64)
		if _, err := c.file.ReadAt(b, id*c.size); err != nil {
			return 0, 0, fmt.Errorf("read meta page %d: %w", id, err)
		}
		b = b[pageHeader:]
		if binary.NativeEndian.Uint64(b[48:]) == transaction {
			c.pages = binary.NativeEndian.Uint64(b[40:])
			return binary.NativeEndian.Uint64(b[16:]), binary.NativeEndian.Uint64(b[32:]), nil
		}
	}
	return 0, 0, errors.New("no meta page of the last transaction")
}

// mark notes that a page and those that it runs over are used, once.
func (c *pageCheck) mark(id uint64, overflow uint32) error {
	if id >= c.pages || uint64(overflow) >= c.pages-id {
		return fmt.Errorf("page %d and %d more are outside of the file", id, overflow)
	}
	for n := id; n <= id+uint64(overflow); n++ {
		if c.seen[n] {
			return fmt.Errorf("page %d is used twice", n)
		}
		c.seen[n] = true
	}
	return nil
}

// page reads a whole page, overflow included, and marks it.
func (c *pageCheck) page(id uint64) (b []byte, flags, count uint16, err error) {
	if id >= c.pages {
		return nil, 0, 0, fmt.Errorf("page %d is outside of the file", id)
	}
	header := make([]byte, pageHeader)
	if _, err := c.file.ReadAt(header, int64(id)*c.size); err != nil {
		return nil, 0, 0, fmt.Errorf("read page %d: %w", id, err)
	}
	if own := binary.NativeEndian.Uint64(header); own != id {
		return nil, 0, 0, fmt.Errorf("page %d says that it is page %d", id, own)
	}
	flags, count = binary.NativeEndian.Uint16(header[8:]), binary.NativeEndian.Uint16(header[10:])
	overflow := binary.NativeEndian.Uint32(header[12:])
	if err := c.mark(id, overflow); err != nil {
		return nil, 0, 0, err
	}
	b = make([]byte, (int64(overflow)+1)*c.size)
	if _, err := c.file.ReadAt(b, int64(id)*c.size); err != nil {
		return nil, 0, 0, fmt.Errorf("read page %d: %w", id, err)
	}
	return b, flags, count, nil
}

func (c *pageCheck) freelist(id uint64) error {
	b, flags, short, err := c.page(id)
	if err != nil {
		return err
	}
	ids, count := b[pageHeader:], uint64(short)
	if count == 0xffff {
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if flags != flagFreelist || count > uint64(len(ids)/8) {
		return fmt.Errorf("page %d is not a list of free pages", id)
	}
	for n := range count {
		if err := c.mark(binary.NativeEndian.Uint64(ids[8*n:]), 0); err != nil {
			return fmt.Errorf("free pages: %w", err)
		}
	}
	return nil
}

// tree goes through the tree below a page, whose keys are in [from, to); nil
// is no limit.
func (c *pageCheck) tree(id uint64, from, to []byte) error {
	b, flags, count, err := c.page(id)
	if err != nil {
		return err
	}
	switch flags {
	case flagLeaf:
		err = c.leaf(b, count, from, to)
	case flagBranch:
		err = c.branch(b, count, from, to)
	default:
		err = errors.New("neither a branch nor a leaf")
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (c *pageCheck) branch(b []byte, count uint16, from, to []byte) error {
	if count == 0 {
		return errors.New("a branch without leaves")
	}
	children := make([]uint64, count)
	keys := make([][]byte, count)
	for n := range int(count) {
		e, err := part(b, pageHeader+n*elementSize, elementSize)
		if err != nil {
			return err
		}
		at := pageHeader + n*elementSize + int(binary.NativeEndian.Uint32(e))
		if keys[n], err = part(b, at, int(binary.NativeEndian.Uint32(e[4:]))); err != nil {
			return err
		}
		children[n] = binary.NativeEndian.Uint64(e[8:])
		if err := inOrder(keys[n], from, to, n > 0); err != nil {
			return err
		}
		from = keys[n]
	}
	for n, child := range children {
		end := to
		if n+1 < len(keys) {
			end = keys[n+1]
		}
		if err := c.tree(child, keys[n], end); err != nil {
			return err
		}
	}
	return nil
}

func (c *pageCheck) leaf(b []byte, count uint16, from, to []byte) error {
	for n := range int(count) {
		e, err := part(b, pageHeader+n*elementSize, elementSize)
		if err != nil {
			return err
		}
		at := pageHeader + n*elementSize + int(binary.NativeEndian.Uint32(e[4:]))
		keySize := int(binary.NativeEndian.Uint32(e[8:]))
		key, err := part(b, at, keySize)
		if err != nil {
			return err
		}
		value, err := part(b, at+keySize, int(binary.NativeEndian.Uint32(e[12:])))
		if err != nil {
			return err
		}
		if err := inOrder(key, from, to, n > 0); err != nil {
			return err
		}
		from = key
		switch flags := binary.NativeEndian.Uint32(e); flags {
		case 0:
		case flagBucket:
			if err := c.bucket(value); err != nil {
				return fmt.Errorf("bucket %q: %w", key, err)
			}
		default:
			return fmt.Errorf("element with flags %#x", flags)
		}
	}
	return nil
}

func (c *pageCheck) bucket(value []byte) error {
	if len(value) < bucketSize {
		return errors.New("bucket is cut short")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return c.tree(root, nil, nil)
	}
	inline, err := part(value, bucketSize, pageHeader)
	if err != nil || binary.NativeEndian.Uint16(inline[8:]) != flagLeaf {
		return errors.New("bucket without its page")
	}
	return c.leaf(value[bucketSize:], binary.NativeEndian.Uint16(inline[10:]), nil, nil)
}

// part returns size bytes of b, if b has them.
func part(b []byte, at, size int) ([]byte, error) {
	if at < 0 || size < 0 || at > len(b) || size > len(b)-at {
		return nil, errors.New("element outside of its page")
	}
	return b[at : at+size], nil
}

// inOrder says whether a key is above the one before, or not below the limit
// when it is the first, and below the upper limit.
func inOrder(key, from, to []byte, above bool) error {
	order := bytes.Compare(key, from)
	if len(key) == 0 || order < 0 || order == 0 && above || to != nil && bytes.Compare(key, to) >= 0 {
		return errors.New("keys are out of order")
	}
	return nil
}
