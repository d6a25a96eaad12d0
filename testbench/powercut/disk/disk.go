// Package disk is a model of a disk with a volatile cache, as a value in
// memory: what programs see of it, and what a power cut may leave of it.
//
// Every operation is seen at once by every reader, as the page cache of a
// kernel promises. What is *durable* is less: the content of a file as of its
// last Sync, and the names in a directory as of the last Sync of that
// directory. All that came later is held as a journal of operations, and After
// draws one of the states that a cut may leave: any subset of the journal,
// sector by sector of 512 bytes, each sector old or in any version that it has
// had since the last Sync, and never a mixture within one sector.
//
// The model is pure: no clock, no file, no goroutine, and chance comes from a
// generator that the caller hands in, so a seed names a cut. It is stricter
// than most file systems on purpose (see the README beside the parent package
// for what is modelled and what is not).
package disk

import (
	"slices"
	"strings"
	"sync"
	"syscall"
)

// SectorSize is the unit that is written whole or not at all.
const SectorSize = 512

// MaxFile bounds one file, so that a stray offset can't take the memory.
const MaxFile = 1 << 30

// ID names a file, directory or socket for its whole life.
type ID uint64

// Root is the directory that always exists.
const Root ID = 1

// Kind is what an ID stands for.
type Kind uint8

// A Socket has a name and no content; it is here because programs bind them.
const (
	File Kind = iota + 1
	Directory
	Socket
)

// Info describes one ID.
type Info struct {
	ID   ID
	Kind Kind
	Mode uint32 // permission bits; durable at once (not modelled further)
	Size int64
}

// Entry is a name in a directory.
type Entry struct {
	Name string
	Info
}

// Disk is safe for concurrent use. Errors are syscall.Errno values, as a file
// system answers them.
type Disk struct {
	mu     sync.Mutex
	frozen chan struct{} // closed when the power is gone
	left   int           // how many changes until then; 0: no limit
	last   ID
	seq    uint64
	nodes  map[ID]*node
	now    names  // what readers see
	kept   names  // what is durable
	moves  []move // between kept and now, in order
}

type node struct {
	kind    Kind
	mode    uint32
	now     []byte // what readers see
	kept    []byte // what is durable
	pending []edit // between kept and now, in order
}

// New returns an empty disk.
func New() *Disk {
	d := &Disk{frozen: make(chan struct{}), last: Root, nodes: map[ID]*node{}, now: newNames(), kept: newNames()}
	d.nodes[Root] = &node{kind: Directory, mode: 0o755}
	return d
}

// Freeze cuts the power: every operation from now on fails with EIO, and what
// After may return is settled but for chance.
func (d *Disk) Freeze() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.dark() {
		close(d.frozen)
	}
}

// FreezeAfter cuts the power when n more changes and syncs have been done; n is
// at least 1.
func (d *Disk) FreezeAfter(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = n
}

// Frozen is closed when the power is gone, before any operation fails for it.
func (d *Disk) Frozen() <-chan struct{} { return d.frozen }

// Steps counts the changes and syncs so far.
func (d *Disk) Steps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int(d.seq)
}

func (d *Disk) dark() bool {
	select {
	case <-d.frozen:
		return true
	default:
		return false
	}
}

// step counts one change or sync that is being done, and freezes behind the
// last one that may be.
func (d *Disk) step() uint64 {
	d.seq++
	if d.left > 0 {
		if d.left--; d.left == 0 && !d.dark() {
			close(d.frozen)
		}
	}
	return d.seq
}

// Stat describes an ID.
func (d *Disk) Stat(id ID) (Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.get(id, 0)
	if err != nil {
		return Info{}, err
	}
	return n.info(id), nil
}

// Lookup finds a name in a directory.
func (d *Disk) Lookup(dir ID, name string) (Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.get(dir, Directory); err != nil {
		return Info{}, err
	}
	id, ok := d.now.at[place{dir, name}]
	if !ok {
		return Info{}, syscall.ENOENT
	}
	return d.nodes[id].info(id), nil
}

// List returns the entries of a directory, sorted by name.
func (d *Disk) List(dir ID) ([]Entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.get(dir, Directory); err != nil {
		return nil, err
	}
	var entries []Entry
	for at, id := range d.now.at {
		if at.dir == dir {
			entries = append(entries, Entry{at.name, d.nodes[id].info(id)})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries, nil
}

// Read returns a copy of up to n bytes at off; fewer at the end of the file.
func (d *Disk) Read(id ID, off int64, n int) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.get(id, File)
	if err != nil {
		return nil, err
	}
	if off < 0 || n < 0 {
		return nil, syscall.EINVAL
	}
	from := min(off, int64(len(f.now)))
	to := min(from+int64(n), int64(len(f.now)))
	return slices.Clone(f.now[from:to]), nil
}

// Chmod sets the permission bits.
func (d *Disk) Chmod(id ID, mode uint32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.get(id, 0)
	if err != nil {
		return err
	}
	n.mode = mode & 0o7777
	return nil
}

// Sync makes durable what was done to one file, or the names in one directory.
// For a file that is its content and size (fsync and fdatasync are the same
// here), and not its name.
func (d *Disk) Sync(id ID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.get(id, 0)
	if err != nil {
		return err
	}
	d.step()
	if n.kind == Directory {
		d.syncNames(id)
		return nil
	}
	for _, e := range n.pending {
		n.kept = e.apply(n.kept)
	}
	n.pending = nil
	return nil
}

// Volatile tells how many operations a cut could still lose.
func (d *Disk) Volatile() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	total := len(d.moves)
	for _, n := range d.nodes {
		total += len(n.pending)
	}
	return total
}

// get finds a node and checks its kind (0: any). The caller holds the lock.
func (d *Disk) get(id ID, kind Kind) (*node, error) {
	if d.dark() {
		return nil, syscall.EIO
	}
	n, ok := d.nodes[id]
	switch {
	case !ok:
		return nil, syscall.ENOENT
	case kind == 0 || n.kind == kind:
		return n, nil
	case kind == Directory:
		return nil, syscall.ENOTDIR
	case n.kind == Directory:
		return nil, syscall.EISDIR
	}
	return nil, syscall.EINVAL
}

func (n *node) info(id ID) Info {
	return Info{ID: id, Kind: n.kind, Mode: n.mode, Size: int64(len(n.now))}
}
