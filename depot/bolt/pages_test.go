package bolt_test

import (
	"encoding/binary"
	"path/filepath"
	"testing"
	"time"

	"understudy.example/understudy/depot/bolt"
)

// A page of the database as bbolt lays it out; see pages.go.
type rawPage struct {
	b  []byte // from the page to the end of the file
	id uint64
}

func (p rawPage) flags() uint16          { return binary.NativeEndian.Uint16(p.b[8:]) }
func (p rawPage) count() uint16          { return binary.NativeEndian.Uint16(p.b[10:]) }
func (p rawPage) put16(at int, n int)    { binary.NativeEndian.PutUint16(p.b[at:], uint16(n)) }
func (p rawPage) put32(at int, n int)    { binary.NativeEndian.PutUint32(p.b[at:], uint32(n)) }
func (p rawPage) put64(at int, n uint64) { binary.NativeEndian.PutUint64(p.b[at:], n) }

const (
	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
)

// newestPages returns the pages with these flags that have elements. Old
// versions of pages are among them, which nobody reads.
func newestPages(b []byte, flags uint16) (all []rawPage) {
	for at := 2 * pageSize(); at < len(b); at += pageSize() {
		p := rawPage{b[at:], uint64(at / pageSize())}
		if binary.NativeEndian.Uint64(p.b) == p.id && p.flags() == flags && (p.count() > 0 || flags == freelistPage) {
			all = append(all, p)
		}
	}
	return all
}

// Each of these would make bbolt panic, fault, use one page twice, or go in a
// circle until the memory is gone. They are made in every page of the kind, so
// that the ones in use are among them.
func TestPages(t *testing.T) {
	for name, damage := range map[string]struct {
		flags uint16
		do    func(p rawPage)
	}{
		"page with another id":            {leafPage, func(p rawPage) { p.put64(0, p.id+1) }},
		"page of no kind":                 {leafPage, func(p rawPage) { p.put16(8, 0x40) }},
		"page longer than the file":       {leafPage, func(p rawPage) { p.put32(12, 1<<31) }},
		"page over its neighbour":         {leafPage, func(p rawPage) { p.put32(12, 1) }},
		"more elements than fit":          {leafPage, func(p rawPage) { p.put16(10, 0xfff0) }},
		"element outside of its page":     {leafPage, func(p rawPage) { p.put32(16+4, 1<<30) }},
		"key longer than its page":        {leafPage, func(p rawPage) { p.put32(16+8, 1<<30) }},
		"empty key":                       {leafPage, func(p rawPage) { p.put32(16+8, 0) }},
		"value longer than its page":      {leafPage, func(p rawPage) { p.put32(16+12, 1<<30) }},
		"element of no kind":              {leafPage, func(p rawPage) { p.put32(16, 4) }},
		"branch that is its own child":    {branchPage, func(p rawPage) { p.put64(16+8, p.id) }},
		"branch with a child twice":       {branchPage, func(p rawPage) { copy(p.b[16+8:16+16], p.b[32+8:32+16]) }},
		"branch with a child out of file": {branchPage, func(p rawPage) { p.put64(16+8, 1<<40) }},
		"branch with a meta for a child":  {branchPage, func(p rawPage) { p.put64(16+8, 0) }},
		"branch with a key outside":       {branchPage, func(p rawPage) { p.put32(16, 1<<30) }},
		"branch with another key":         {branchPage, func(p rawPage) { p.b[16+binary.NativeEndian.Uint32(p.b[16:])] ^= 0xff }},
		"branch without children":         {branchPage, func(p rawPage) { p.put16(10, 0) }},
		"page in use that is free":        {freelistPage, func(p rawPage) { p.put64(16, p.id) }},
		"free page out of the file":       {freelistPage, func(p rawPage) { p.put64(16, 1<<40) }},
		"free page lost":                  {freelistPage, func(p rawPage) { p.put16(10, int(p.count())-1) }},
		"more free pages than fit":        {freelistPage, func(p rawPage) { p.put16(10, 0xfffe) }},
		"far more free pages than fit":    {freelistPage, func(p rawPage) { p.put16(10, 0xffff); p.put64(16, 1<<40) }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := closed(t, 30)
			found := 0
			edit(t, func(b []byte) []byte {
				for _, p := range newestPages(b, damage.flags) {
					damage.do(p)
					found++
				}
				return b
			}, dir, "store.db")
			if found == 0 {
				t.Fatal("the store has no such page")
			}
			done := make(chan error, 1)
			go func() {
				d, err := bolt.Open(dir, options())
				if err == nil {
					d.Close()
				}
				done <- err
			}()
			select {
			case err := <-done:
				if err == nil {
					t.Error("Open did not refuse")
				}
			case <-time.After(30 * time.Second):
				t.Fatal("Open does not end")
			}
			refuses(t, dir, filepath.Join(dir, "store.db"), "rebuild")
		})
	}
}
