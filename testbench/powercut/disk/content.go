package disk

import (
	"slices"
	"syscall"
)

// edit is one change to a file's content. A nil data means a new size; else
// data lands at off, and the file grows when it must.
type edit struct {
	seq  uint64
	off  int64
	data []byte
	size int64
}

// Write puts data at off. The file grows when it must, with zeros in a gap.
func (d *Disk) Write(id ID, off int64, data []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.get(id, File)
	switch {
	case err != nil:
		return err
	case off < 0:
		return syscall.EINVAL
	case off+int64(len(data)) > MaxFile:
		return syscall.EFBIG
	case len(data) == 0:
		return nil
	}
	f.change(edit{seq: d.step(), off: off, data: slices.Clone(data)})
	return nil
}

// Truncate sets the size of a file; a longer one is filled with zeros.
func (d *Disk) Truncate(id ID, size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.get(id, File)
	switch {
	case err != nil:
		return err
	case size < 0:
		return syscall.EINVAL
	case size > MaxFile:
		return syscall.EFBIG
	case size == int64(len(f.now)):
		return nil
	}
	f.change(edit{seq: d.step(), size: size})
	return nil
}

func (n *node) change(e edit) {
	n.now = e.apply(n.now)
	n.pending = append(n.pending, e)
}

// apply returns content with the edit done; it may reuse content's memory.
func (e edit) apply(content []byte) []byte {
	if e.data == nil {
		return resize(content, e.size)
	}
	end := e.off + int64(len(e.data))
	content = resize(content, max(end, int64(len(content))))
	copy(content[e.off:], e.data)
	return content
}

// resize cuts or extends with zeros. The tail is cleared when it is cut off, so
// that growing again into the same memory shows zeros.
func resize(content []byte, size int64) []byte {
	old := int64(len(content))
	if size <= old {
		clear(content[size:])
		return content[:size]
	}
	content = slices.Grow(content, int(size-old))[:size]
	clear(content[old:])
	return content
}

// survivor draws what a cut leaves of a file. Two copies of the file are walked
// through the journal: the view has every edit, the platter gets a sector only
// when the draw says that it was written out at that moment, and then in the
// view's version. So each sector ends as old, as new, or as anything between,
// in no order among sectors; the later version of a sector never loses to an
// earlier one, because a kernel doesn't start a second write of a page before
// the first has ended.
func (n *node) survivor(d draw) []byte {
	view, platter := slices.Clone(n.kept), slices.Clone(n.kept)
	for _, e := range n.pending {
		before := int64(len(view))
		view = e.apply(view)
		write := d.begin(e.seq)
		if int64(len(view)) != before && write.keeps() {
			platter = writeSize(platter, view)
		}
		end := e.off + int64(len(e.data))
		for at := e.off / SectorSize * SectorSize; at < end; at += SectorSize {
			if write.keeps() {
				platter = writeSector(platter, view, at)
			}
		}
	}
	return platter
}

// writeSector copies one sector of the view, with the zeros behind its end.
func writeSector(platter, view []byte, at int64) []byte {
	to := min(at+SectorSize, int64(len(view)))
	platter = resize(platter, max(to, int64(len(platter))))
	copy(platter[at:to], view[at:to])
	clear(platter[to:min(at+SectorSize, int64(len(platter)))])
	return platter
}

// writeSize gives the platter the size of the view. A sector that the new end
// cuts through is written with it, as a kernel does.
func writeSize(platter, view []byte) []byte {
	size := int64(len(view))
	shrinks := size < int64(len(platter))
	platter = resize(platter, size)
	if shrinks && size%SectorSize != 0 {
		platter = writeSector(platter, view, size/SectorSize*SectorSize)
	}
	return platter
}
