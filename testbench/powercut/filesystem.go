package powercut

import (
	"os"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"pilotlight/testbench/powercut/disk"
)

// fileSystem translates FUSE requests to a disk. Node numbers are the disk's
// IDs, and nothing is kept per open file.
type fileSystem struct {
	fuse.RawFileSystem // answers ENOSYS to what is not here: links, xattrs, locks
	disk               *disk.Disk
	delay              func() time.Duration
}

// cached is how long the kernel may remember names and attributes. It changes
// them itself, so any time would do.
const cached = time.Second

func status(err error) fuse.Status { return fuse.ToStatus(err) }

var types = map[disk.Kind]uint32{disk.File: syscall.S_IFREG, disk.Directory: syscall.S_IFDIR, disk.Socket: syscall.S_IFSOCK}

func attributes(info disk.Info, out *fuse.Attr) {
	*out = fuse.Attr{
		Ino: uint64(info.ID), Size: uint64(info.Size), Blocks: uint64(info.Size+511) / 512,
		Mode: types[info.Kind] | info.Mode, Nlink: 1, Blksize: 4096,
		Owner: fuse.Owner{Uid: uint32(os.Getuid()), Gid: uint32(os.Getgid())},
	}
}

func entry(info disk.Info, err error, out *fuse.EntryOut) fuse.Status {
	if err != nil {
		return status(err)
	}
	out.NodeId = uint64(info.ID)
	out.SetEntryTimeout(cached)
	out.SetAttrTimeout(cached)
	attributes(info, &out.Attr)
	return fuse.OK
}

func (fs *fileSystem) Lookup(_ <-chan struct{}, h *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	info, err := fs.disk.Lookup(disk.ID(h.NodeId), name)
	return entry(info, err, out)
}

func (fs *fileSystem) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	info, err := fs.disk.Stat(disk.ID(in.NodeId))
	if err != nil {
		return status(err)
	}
	out.SetTimeout(cached)
	attributes(info, &out.Attr)
	return fuse.OK
}

// SetAttr takes sizes and modes; owners and times are accepted and forgotten.
func (fs *fileSystem) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	id := disk.ID(in.NodeId)
	if size, ok := in.GetSize(); ok {
		if err := fs.disk.Truncate(id, int64(size)); err != nil {
			return status(err)
		}
	}
	if mode, ok := in.GetMode(); ok {
		if err := fs.disk.Chmod(id, mode); err != nil {
			return status(err)
		}
	}
	return fs.GetAttr(nil, &fuse.GetAttrIn{InHeader: in.InHeader}, out)
}

func (fs *fileSystem) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	kind := disk.File
	switch in.Mode & syscall.S_IFMT {
	case syscall.S_IFREG, 0:
	case syscall.S_IFSOCK:
		kind = disk.Socket
	default:
		return fuse.EPERM
	}
	info, err := fs.disk.Create(disk.ID(in.NodeId), name, kind, in.Mode)
	return entry(info, err, out)
}

func (fs *fileSystem) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	info, err := fs.disk.Create(disk.ID(in.NodeId), name, disk.Directory, in.Mode)
	return entry(info, err, out)
}

func (fs *fileSystem) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	info, err := fs.disk.Create(disk.ID(in.NodeId), name, disk.File, in.Mode)
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return entry(info, err, &out.EntryOut)
}

func (fs *fileSystem) Unlink(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return status(fs.disk.Remove(disk.ID(h.NodeId), name, disk.File))
}

func (fs *fileSystem) Rmdir(_ <-chan struct{}, h *fuse.InHeader, name string) fuse.Status {
	return status(fs.disk.Remove(disk.ID(h.NodeId), name, disk.Directory))
}

func (fs *fileSystem) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	if in.Flags != 0 { // RENAME_EXCHANGE and its kin
		return fuse.EINVAL
	}
	return status(fs.disk.Rename(disk.ID(in.NodeId), oldName, disk.ID(in.Newdir), newName))
}

func (fs *fileSystem) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE // O_TRUNC comes as a SetAttr of its own
	_, err := fs.disk.Stat(disk.ID(in.NodeId))
	return status(err)
}

func (fs *fileSystem) Read(_ <-chan struct{}, in *fuse.ReadIn, _ []byte) (fuse.ReadResult, fuse.Status) {
	data, err := fs.disk.Read(disk.ID(in.NodeId), int64(in.Offset), int(in.Size))
	if err != nil {
		return nil, status(err)
	}
	return fuse.ReadResultData(data), fuse.OK
}

func (fs *fileSystem) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if err := fs.disk.Write(disk.ID(in.NodeId), int64(in.Offset), data); err != nil {
		return 0, status(err)
	}
	return uint32(len(data)), fuse.OK
}

// Fallocate reserves space by growing the file; no other mode is known.
func (fs *fileSystem) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if in.Mode != 0 {
		return fuse.Status(syscall.EOPNOTSUPP)
	}
	id := disk.ID(in.NodeId)
	info, err := fs.disk.Stat(id)
	if err != nil {
		return status(err)
	}
	return status(fs.disk.Truncate(id, max(info.Size, int64(in.Offset+in.Length))))
}

func (fs *fileSystem) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK } // close promises nothing

func (fs *fileSystem) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if fs.delay != nil {
		time.Sleep(fs.delay())
	}
	return status(fs.disk.Sync(disk.ID(in.NodeId)))
}

func (fs *fileSystem) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	return fs.Fsync(cancel, in)
}

func (fs *fileSystem) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, _ *fuse.OpenOut) fuse.Status {
	_, err := fs.disk.Stat(disk.ID(in.NodeId))
	return status(err)
}

func (fs *fileSystem) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	entries, err := fs.disk.List(disk.ID(in.NodeId))
	if err != nil {
		return status(err)
	}
	for i := int(in.Offset); i < len(entries); i++ {
		e := entries[i]
		if !out.AddDirEntry(fuse.DirEntry{Name: e.Name, Mode: types[e.Kind], Ino: uint64(e.ID)}) {
			break
		}
	}
	return fuse.OK
}

func (fs *fileSystem) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	const blocks = disk.MaxFile / 4096
	*out = fuse.StatfsOut{Blocks: blocks, Bfree: blocks / 2, Bavail: blocks / 2, Files: 1 << 16, Ffree: 1 << 15, Bsize: 4096, Frsize: 4096, NameLen: 255}
	return fuse.OK
}
