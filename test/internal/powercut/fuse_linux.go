package powercut

import (
	"context"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// An inode lets the kernel at a node.
type inode struct {
	fs.Inode
	disk *disk
	node *node
}

// renameNoReplace is RENAME_NOREPLACE of renameat2(2).
const renameNoReplace = 1

// mount shows the disk in a directory.
func mount(d *disk, dir string) (*fuse.Server, error) {
	return fs.Mount(dir, &inode{disk: d, node: d.root}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "powercut", Name: "powercut", DisableXAttrs: true},
	})
}

func (i *inode) attributes(out *fuse.Attr) {
	out.Mode, out.Nlink = i.node.mode|syscall.S_IFREG, 1
	if i.node.dir {
		out.Mode = i.node.mode | syscall.S_IFDIR
	}
	out.Size = uint64(len(i.node.current))
	out.Blocks = (out.Size + sector - 1) / sector
}

// Getattr tells size and mode.
func (i *inode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	i.disk.mu.Lock()
	defer i.disk.mu.Unlock()
	i.attributes(&out.Attr)
	return fs.OK
}

// Setattr changes size and mode. The mode is durable at once.
func (i *inode) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	i.disk.operation(func() {
		if size, ok := in.GetSize(); ok {
			i.disk.truncate(i.node, int64(size))
		}
		if mode, ok := in.GetMode(); ok {
			i.node.mode = mode & 0o7777
		}
		i.attributes(&out.Attr)
	})
	return fs.OK
}

// Open needs no handle.
func (i *inode) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, fs.OK
}

func (i *inode) Read(_ context.Context, _ fs.FileHandle, dest []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	i.disk.mu.Lock()
	defer i.disk.mu.Unlock()
	n := 0
	if offset < int64(len(i.node.current)) {
		n = copy(dest, i.node.current[offset:])
	}
	return fuse.ReadResultData(dest[:n]), fs.OK
}

func (i *inode) Write(_ context.Context, _ fs.FileHandle, data []byte, offset int64) (uint32, syscall.Errno) {
	i.disk.operation(func() { i.disk.write(i.node, offset, data) })
	return uint32(len(data)), fs.OK
}

// Flush is close, which makes nothing durable.
func (i *inode) Flush(context.Context, fs.FileHandle) syscall.Errno { return fs.OK }

// Fsync is for files and directories.
func (i *inode) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	i.disk.operation(func() { i.disk.sync(i.node) })
	return fs.OK
}

// Statfs says that there is room.
func (i *inode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	const plenty = 1 << 20
	out.Bsize, out.Frsize, out.NameLen = 4096, 4096, 255
	out.Blocks, out.Bfree, out.Bavail, out.Files, out.Ffree = plenty, plenty, plenty, plenty, plenty
	return fs.OK
}

func (i *inode) add(ctx context.Context, name string, dir bool, mode uint32, out *fuse.EntryOut) *fs.Inode {
	child := &inode{disk: i.disk, node: newNode(name, dir, mode)}
	stable := fs.StableAttr{Mode: syscall.S_IFREG}
	if dir {
		stable.Mode = syscall.S_IFDIR
	}
	i.disk.operation(func() {
		i.disk.change(edit{i.node, name, child.node})
		child.attributes(&out.Attr)
	})
	return i.NewPersistentInode(ctx, child, stable)
}

func (i *inode) Create(ctx context.Context, name string, _ uint32, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return i.add(ctx, name, false, mode, out), nil, 0, fs.OK
}

func (i *inode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return i.add(ctx, name, true, mode, out), fs.OK
}

func (i *inode) Unlink(_ context.Context, name string) syscall.Errno {
	i.disk.operation(func() { i.disk.change(edit{i.node, name, nil}) })
	return fs.OK
}

func (i *inode) Rmdir(_ context.Context, name string) syscall.Errno {
	errno := fs.OK
	i.disk.operation(func() {
		if child := i.node.entries[name]; child != nil && len(child.entries) > 0 {
			errno = syscall.ENOTEMPTY
			return
		}
		i.disk.change(edit{i.node, name, nil})
	})
	return errno
}

// Rename moves a name; a crash sees all of it or nothing.
func (i *inode) Rename(_ context.Context, name string, newParent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*inode)
	if !ok || flags&^renameNoReplace != 0 {
		return syscall.ENOTSUP
	}
	errno := fs.OK
	i.disk.operation(func() {
		moved := i.node.entries[name]
		if moved == nil {
			errno = syscall.ENOENT
			return
		}
		if flags&renameNoReplace != 0 && to.node.entries[newName] != nil {
			errno = syscall.EEXIST
			return
		}
		moved.name = newName
		i.disk.change(edit{i.node, name, nil}, edit{to.node, newName, moved})
	})
	return errno
}

// Readdir lists what is there.
func (i *inode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	i.disk.mu.Lock()
	defer i.disk.mu.Unlock()
	var list []fuse.DirEntry
	for name, child := range i.node.entries {
		mode := uint32(syscall.S_IFREG)
		if child.dir {
			mode = syscall.S_IFDIR
		}
		list = append(list, fuse.DirEntry{Name: name, Mode: mode})
	}
	slices.SortFunc(list, func(a, b fuse.DirEntry) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) })
	return fs.NewListDirStream(list), fs.OK
}
