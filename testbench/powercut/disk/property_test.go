package disk

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// history drives a disk through random operations and keeps, in the plainest
// way, what a cut may leave: every content that each file had since its last
// sync, and every holder that each name had since its directory's last sync.
type history struct {
	disk     *Disk
	versions map[ID][][]byte     // of each file since its last sync; the last one is what readers see
	holders  map[string]set      // of each name since the last sync of its directory
	present  map[string]ID       // what readers see
	files    []ID                // all that ever were
	dirs     map[string]ID       // the directories, fixed from the start
	dirOf    map[string]string   // of each name
	names    map[string][]string // of each directory
}

type set map[ID]bool // 0: nobody

func newHistory(t *rapid.T) *history {
	h := &history{disk: New(), versions: map[ID][][]byte{}, holders: map[string]set{}, present: map[string]ID{},
		dirs: map[string]ID{"": Root}, dirOf: map[string]string{}, names: map[string][]string{}}
	info, err := h.disk.Create(Root, "d", Directory, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	h.dirs["d"] = info.ID
	if err := h.disk.Sync(Root); err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct{ dir, name string }{{"", "a"}, {"", "b"}, {"d", "a"}, {"d", "c"}} {
		full := p.dir + "/" + p.name
		h.dirOf[full], h.holders[full] = p.dir, set{0: true}
		h.names[p.dir] = append(h.names[p.dir], full)
	}
	return h
}

func base(full string) string { return full[len(full)-1:] }

func (h *history) anyName(t *rapid.T, label string) string {
	return rapid.SampledFrom([]string{"/a", "/b", "d/a", "d/c"}).Draw(t, label)
}

func (h *history) hold(full string, id ID) {
	h.holders[full][id] = true
	if id == 0 {
		delete(h.present, full)
	} else {
		h.present[full] = id
	}
}

func (h *history) step(t *rapid.T) {
	full := h.anyName(t, "name")
	dir := h.dirs[h.dirOf[full]]
	id := h.present[full]
	var err error
	switch op := rapid.SampledFrom([]string{"create", "write", "write", "truncate", "sync", "syncdir", "rename", "remove"}).Draw(t, "op"); {
	case op == "create" && id == 0:
		var info Info
		info, err = h.disk.Create(dir, base(full), File, 0o600)
		h.hold(full, info.ID)
		h.versions[info.ID] = [][]byte{nil}
		h.files = append(h.files, info.ID)
	case op == "syncdir":
		err = h.disk.Sync(dir)
		for _, name := range h.names[h.dirOf[full]] {
			h.holders[name] = set{h.present[name]: true}
		}
	case id == 0:
		return
	case op == "write":
		off := rapid.Int64Range(0, 3*SectorSize).Draw(t, "off")
		data := bytes.Repeat([]byte{byte(rapid.IntRange(1, 255).Draw(t, "byte"))}, rapid.IntRange(1, 2*SectorSize).Draw(t, "len"))
		err = h.disk.Write(id, off, data)
		h.version(id, func(c []byte) []byte {
			if grow := off + int64(len(data)) - int64(len(c)); grow > 0 {
				c = append(c, make([]byte, grow)...)
			}
			copy(c[off:], data)
			return c
		})
	case op == "truncate":
		size := rapid.IntRange(0, 4*SectorSize).Draw(t, "size")
		err = h.disk.Truncate(id, int64(size))
		h.version(id, func(c []byte) []byte { return append(c, make([]byte, 4*SectorSize)...)[:size] })
	case op == "sync":
		err = h.disk.Sync(id)
		h.versions[id] = h.versions[id][len(h.versions[id])-1:]
	case op == "remove":
		err = h.disk.Remove(dir, base(full), File)
		h.hold(full, 0)
	case op == "rename":
		to := h.anyName(t, "to")
		err = h.disk.Rename(dir, base(full), h.dirs[h.dirOf[to]], base(to))
		if to != full {
			h.hold(full, 0)
			h.hold(to, id)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (h *history) version(id ID, change func([]byte) []byte) {
	all := h.versions[id]
	h.versions[id] = append(all, change(slices.Clone(all[len(all)-1])))
}

// padded is a sector of content, zeros behind its end.
func padded(content []byte, at int) []byte {
	sector := make([]byte, SectorSize)
	if at < len(content) {
		copy(sector, content[at:])
	}
	return sector
}

// explained says whether some version accounts for each sector of content, and
// its size is one that the file had or the end of a sector written beyond it.
func explained(content []byte, versions [][]byte) error {
	for at := 0; at < len(content); at += SectorSize {
		if !slices.ContainsFunc(versions, func(v []byte) bool { return bytes.Equal(padded(v, at), padded(content, at)) }) {
			return fmt.Errorf("the sector at %d was never so", at)
		}
	}
	if !slices.ContainsFunc(versions, func(v []byte) bool {
		return len(v) == len(content) || len(v) > len(content) && len(content)%SectorSize == 0
	}) {
		return fmt.Errorf("it never had %d bytes", len(content))
	}
	return nil
}

func TestEverySectorAndNameAfterACutWasOnceSo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			h.step(t)
		}
		seed := rapid.Uint64().Draw(t, "seed")
		image := h.disk.After(rand.New(rand.NewPCG(seed, 0)))
		if again := h.disk.After(rand.New(rand.NewPCG(seed, 0))); !reflect.DeepEqual(image, again) {
			t.Fatal("the same seed drew another image")
		}
		for full, holders := range h.holders {
			h.checkName(t, image, full, holders)
		}
	})
}

func (h *history) checkName(t *rapid.T, image Image, full string, holders set) {
	name := full
	if full[0] == '/' {
		name = full[1:]
	}
	item, ok := image[name]
	if !ok {
		// A rename takes the file away from its old name even when an
		// earlier step put it there, so absence needs one holder that may be elsewhere.
		for id := range holders {
			if id == 0 || h.mayBeElsewhere(id, full) {
				return
			}
		}
		t.Fatalf("%s: lost, and its directory was synced", name)
	}
	var because []error
	for id := range holders {
		if id == 0 {
			continue
		}
		err := explained(item.Data, h.versions[id])
		if err == nil {
			return
		}
		because = append(because, err)
	}
	t.Fatalf("%s: %v", name, because)
}

func (h *history) mayBeElsewhere(id ID, full string) bool {
	for other, holders := range h.holders {
		if other != full && holders[id] {
			return true
		}
	}
	return false
}

func TestAfterSyncingEverythingACutLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			h.step(t)
		}
		for _, id := range append(slices.Collect(maps.Values(h.dirs)), h.files...) {
			if err := h.disk.Sync(id); err != nil {
				t.Fatal(err)
			}
		}
		if n := h.disk.Volatile(); n != 0 {
			t.Fatalf("%d operations are still volatile", n)
		}
		image := h.disk.After(rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		now := h.disk.Now()
		if len(image) != len(now) {
			t.Fatalf("%d names, want %d", len(image), len(now))
		}
		for name, item := range now {
			if !bytes.Equal(item.Data, image[name].Data) {
				t.Fatalf("%s differs", name)
			}
		}
		for full, id := range h.present {
			name := full
			if full[0] == '/' {
				name = full[1:]
			}
			versions := h.versions[id]
			if !bytes.Equal(now[name].Data, versions[len(versions)-1]) {
				t.Fatalf("readers of %s don't see what was written", name)
			}
		}
	})
}
