// Package powercut is a file system that remembers what a power cut could
// leave of it, and a process that runs on it.
//
// Everything that was not synced is kept apart: the bytes of a file until
// fsync of the file, the names in a directory until fsync of the directory. A
// test can ask at any moment for an image: what might be on the disk if the
// power failed now. The file system (go-fuse) runs in a process of its own,
// because a page fault on a mount of the same process stops the Go runtime.
// It needs Linux, /dev/fuse and root.
//
// The package knows files and processes, and must not know what is kept in
// them.
package powercut

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// A Mode is how much of what was not synced an image has.
type Mode string

// All has everything: what kill -9 of the program would leave. None has only what was synced. Prefix has, of each file, the first
// operations since then, and so of the names. Sectors has every sector of
// every write, every truncation and every change of a name with probability
// one half.
const (
	All     Mode = "all"
	None    Mode = "none"
	Prefix  Mode = "prefix"
	Sectors Mode = "sectors"
)

const sector = 512 // bytes that a disk writes whole

// A disk is the state of the file system.
type disk struct {
	// deaf are the base names of files whose fsync does nothing, "." for
	// directories: a program that forgot it.
	deaf []string

	mu      sync.Mutex
	root    *node
	changes []change // of names, since they were synced
	order   *order   // an image that is wanted
	goOn    sync.Cond
	free    bool // nothing is held up any more
}

// A node is a file or a directory.
type node struct {
	name string // the first one that it had
	dir  bool
	mode uint32

	current, durable []byte
	pending          []write

	entries, lasting map[string]*node
}

// A write is bytes at an offset, or a truncation when there are none.
type write struct {
	offset int64
	data   []byte
	size   int64
}

// A change is edits of directories that happen together or not at all.
type change []edit

type edit struct {
	dir  *node
	name string
	node *node // nil: the name goes
}

// An order is for an image after some more operations.
type order struct {
	image Image
	count int
	done  chan error
}

// Image says what an image is to have and where it is to be written.
type Image struct {
	Dir        string
	Mode       Mode
	Seed       uint64
	Operations int // that are waited for, but not when there are none for a second
}

func newDisk(deaf []string) *disk {
	d := &disk{deaf: deaf, root: newNode("", true, 0o755)}
	d.goOn.L = &d.mu
	return d
}

func newNode(name string, dir bool, mode uint32) *node {
	n := &node{name: name, dir: dir, mode: mode & 0o7777}
	if dir {
		n.entries, n.lasting = map[string]*node{}, map[string]*node{}
	}
	return n
}

// operation frames everything that changes the disk or syncs it. Between two
// images the disk stands still, so that a test has its time to look.
func (d *disk) operation(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.order == nil && !d.free {
		d.goOn.Wait()
	}
	do()
	if d.order == nil {
		return
	}
	if d.order.count--; d.order.count <= 0 {
		d.fulfil()
	}
}

// fulfil takes the image that is wanted, if it was not taken yet.
func (d *disk) fulfil() {
	if d.order != nil {
		d.order.done <- d.take(d.order.image)
		d.order = nil
	}
}

func (d *disk) write(n *node, offset int64, data []byte) {
	w := write{offset: offset, data: slices.Clone(data)}
	n.current = w.on(n.current)
	n.pending = append(n.pending, w)
}

func (d *disk) truncate(n *node, size int64) {
	w := write{size: size}
	n.current = w.on(n.current)
	n.pending = append(n.pending, w)
}

// on returns what a file becomes. It may use the same memory.
func (w write) on(b []byte) []byte {
	end := w.size
	if w.data != nil {
		end = max(int64(len(b)), w.offset+int64(len(w.data)))
	}
	if grow := end - int64(len(b)); grow > 0 {
		b = append(b, make([]byte, grow)...)
	}
	b = b[:end]
	copy(b[min(w.offset, end):], w.data)
	return b
}

// change edits directories; it is durable when one of them is synced.
func (d *disk) change(edits ...edit) {
	for _, e := range edits {
		e.on(e.dir.entries)
	}
	d.changes = append(d.changes, edits)
}

func (e edit) on(entries map[string]*node) {
	if e.node == nil {
		delete(entries, e.name)
	} else {
		entries[e.name] = e.node
	}
}

// sync makes a file's content or a directory's names durable.
func (d *disk) sync(n *node) {
	if n.dir {
		if !slices.Contains(d.deaf, ".") {
			d.changes = slices.DeleteFunc(d.changes, func(c change) bool {
				if !slices.ContainsFunc(c, func(e edit) bool { return e.dir == n }) {
					return false
				}
				for _, e := range c {
					e.on(e.dir.lasting)
				}
				return true
			})
		}
		return
	}
	if slices.Contains(d.deaf, n.name) {
		return
	}
	for _, w := range n.pending {
		n.durable = w.on(n.durable)
	}
	n.pending = nil
}

// take writes an image.
func (d *disk) take(i Image) error {
	random := rand.New(rand.NewPCG(i.Seed, 0))
	names := map[*node]map[string]*node{}
	for _, c := range chosen(d.changes, i.Mode, random) {
		for _, e := range c {
			if names[e.dir] == nil {
				names[e.dir] = clone(e.dir.lasting)
			}
			e.on(names[e.dir])
		}
	}
	return writeTree(d.root, i.Dir, names, func(n *node) []byte { return n.image(i.Mode, random) })
}

func clone(m map[string]*node) map[string]*node {
	c := make(map[string]*node, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

func chosen[T any](all []T, mode Mode, random *rand.Rand) []T {
	switch mode {
	case All:
		return all
	case Prefix:
		return all[:random.IntN(len(all)+1)]
	case Sectors:
		var some []T
		for _, one := range all {
			if random.IntN(2) == 0 {
				some = append(some, one)
			}
		}
		return some
	}
	return nil
}

// image returns what a file could have after a power cut.
func (n *node) image(mode Mode, random *rand.Rand) []byte {
	b := slices.Clone(n.durable)
	if mode == Prefix || mode == All {
		for _, w := range chosen(n.pending, mode, random) {
			b = w.on(b)
		}
	}
	if mode != Sectors {
		return b
	}
	for _, w := range n.pending {
		if w.data == nil {
			if random.IntN(2) == 0 {
				b = w.on(b)
			}
			continue
		}
		for from := int64(0); from < int64(len(w.data)); {
			to := min(int64(len(w.data)), (w.offset+from)/sector*sector+sector-w.offset)
			if random.IntN(2) == 0 {
				b = write{offset: w.offset + from, data: w.data[from:to]}.on(b)
			}
			from = to
		}
	}
	return b
}

// writeTree writes a directory and everything in it to an ordinary one.
func writeTree(n *node, dir string, names map[*node]map[string]*node, content func(*node) []byte) error {
	if err := os.Mkdir(dir, os.FileMode(n.mode&0o777)); err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	entries, changed := names[n]
	if !changed {
		entries = n.lasting
	}
	for name, child := range entries {
		path := filepath.Join(dir, name)
		var err error
		if child.dir {
			err = writeTree(child, path, names, content)
		} else {
			err = os.WriteFile(path, content(child), os.FileMode(child.mode&0o777))
		}
		if err != nil {
			return fmt.Errorf("write image: %w", err)
		}
	}
	return nil
}
