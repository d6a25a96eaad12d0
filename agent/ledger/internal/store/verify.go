package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// verify walks a bbolt file, format version 2, with plain reads. It finds what
// would make bbolt panic or fault once the file is mapped: pages out of the
// file, of the wrong type, or referred to twice; elements out of their page;
// keys out of order.
func verify(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return verifyPages(f, uint64(info.Size()))
}

func verifyPages(r io.ReaderAt, size uint64) error {
	m, err := readMeta(r)
	if err != nil {
		return err
	}
	if m.pages > size/pageSize {
		return fmt.Errorf("cut short: %d pages in %d bytes", m.pages, size)
	}
	w := walker{r: r, pages: m.pages, seen: map[uint64]bool{}}
	return w.page(m.root, nil, nil, 0)
}

type meta struct {
	root, freelist, pages, tx uint64
}

const (
	headerSize  = 16 // of a page
	elementSize = 16 // of a branch and of a leaf element, and of a bucket header
	metaSize    = 64
	flagBranch  = 0x01
	flagLeaf    = 0x02
	flagMeta    = 0x04
	magic       = 0xED0CDAED
	noFreelist  = 1<<64 - 1
	maxDepth    = 32
)

// bbolt writes numbers in the machine's own order.
var order = binary.NativeEndian

// readMeta is the valid meta page with the higher transaction.
func readMeta(r io.ReaderAt) (meta, error) {
	var best meta
	found := false
	for i := range int64(2) {
		var b [headerSize + metaSize]byte
		if _, err := r.ReadAt(b[:], i*pageSize); err != nil {
			return meta{}, fmt.Errorf("meta page %d: %w", i, err)
		}
		m, ok := parseMeta(b[:])
		if ok && (!found || m.tx > best.tx) {
			best, found = m, true
		}
	}
	if !found {
		return meta{}, errors.New("no valid meta page")
	}
	if best.freelist != noFreelist {
		return meta{}, errors.New("it has a list of free pages: not a store of ours")
	}
	return best, nil
}

func parseMeta(b []byte) (meta, bool) {
	if order.Uint16(b[8:])&flagMeta == 0 {
		return meta{}, false
	}
	b = b[headerSize:]
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaSize-8])
	ok := order.Uint32(b) == magic && order.Uint32(b[4:]) == 2 && order.Uint32(b[8:]) == pageSize &&
		order.Uint64(b[56:]) == sum.Sum64()
	return meta{root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]), pages: order.Uint64(b[40:]), tx: order.Uint64(b[48:])}, ok
}

type walker struct {
	r     io.ReaderAt
	pages uint64
	seen  map[uint64]bool
}

// page checks the tree below page id, whose keys lie in [low, high).
func (w *walker) page(id uint64, low, high []byte, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("page %d: nested too deep", id)
	}
	b, err := w.read(id)
	if err != nil {
		return err
	}
	elements, err := parsePage(b)
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	if err := ordered(elements, low, high); err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	for i, e := range elements {
		switch {
		case e.branch:
			upper := high
			if i+1 < len(elements) {
				upper = elements[i+1].key
			}
			err = w.page(e.child, e.key, upper, depth+1)
		case e.bucket:
			err = w.bucket(e.value, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket checks a bucket: a page of its own, or, while small, one inside the value.
func (w *walker) bucket(value []byte, depth int) error {
	if len(value) < elementSize {
		return errors.New("bucket header cut short")
	}
	if root := order.Uint64(value); root != 0 {
		return w.page(root, nil, nil, depth)
	}
	elements, err := parsePage(value[elementSize:])
	if err != nil {
		return fmt.Errorf("inline bucket: %w", err)
	}
	for _, e := range elements {
		if e.branch || e.bucket {
			return errors.New("inline bucket: not a plain leaf")
		}
	}
	return ordered(elements, nil, nil)
}

func (w *walker) read(id uint64) ([]byte, error) {
	var head [headerSize]byte
	if id < 2 || id >= w.pages {
		return nil, fmt.Errorf("page %d: out of the file", id)
	}
	if _, err := w.r.ReadAt(head[:], int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	n := uint64(order.Uint32(head[12:])) + 1
	if order.Uint64(head[:]) != id || id+n > w.pages {
		return nil, fmt.Errorf("page %d: not itself", id)
	}
	for i := range n {
		if w.seen[id+i] {
			return nil, fmt.Errorf("page %d: referred to twice", id+i)
		}
		w.seen[id+i] = true
	}
	b := make([]byte, n*pageSize)
	if _, err := w.r.ReadAt(b, int64(id)*pageSize); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return b, nil
}

type element struct {
	key, value     []byte
	child          uint64
	branch, bucket bool
}

func parsePage(b []byte) ([]element, error) {
	if len(b) < headerSize {
		return nil, errors.New("cut short")
	}
	flags, count := order.Uint16(b[8:]), int(order.Uint16(b[10:]))
	if flags != flagBranch && flags != flagLeaf {
		return nil, fmt.Errorf("type %#x", flags)
	}
	if headerSize+count*elementSize > len(b) || flags == flagBranch && count == 0 {
		return nil, fmt.Errorf("%d elements", count)
	}
	elements := make([]element, count)
	for i := range elements {
		at := headerSize + i*elementSize
		if err := elements[i].parse(b[at:], flags == flagBranch); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return elements, nil
}

// parse reads the element that b begins with; its data lies further on in b.
func (e *element) parse(b []byte, branch bool) error {
	var pos, ksize, vsize uint64
	if e.branch = branch; branch {
		pos, ksize = uint64(order.Uint32(b)), uint64(order.Uint32(b[4:]))
		e.child = order.Uint64(b[8:])
	} else {
		e.bucket = order.Uint32(b)&1 != 0
		pos, ksize, vsize = uint64(order.Uint32(b[4:])), uint64(order.Uint32(b[8:])), uint64(order.Uint32(b[12:]))
	}
	if ksize == 0 || pos < elementSize || pos+ksize+vsize > uint64(len(b)) {
		return errors.New("out of its page")
	}
	e.key, e.value = b[pos:pos+ksize], b[pos+ksize:pos+ksize+vsize]
	return nil
}

func ordered(elements []element, low, high []byte) error {
	for i, e := range elements {
		if i == 0 && low != nil && bytes.Compare(e.key, low) < 0 ||
			i > 0 && bytes.Compare(e.key, elements[i-1].key) <= 0 ||
			high != nil && bytes.Compare(e.key, high) >= 0 {
			return fmt.Errorf("element %d: key out of order", i)
		}
	}
	return nil
}
