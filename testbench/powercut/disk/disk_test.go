package disk

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"
)

const seeds = 300 // enough for every shape of cut to be drawn many times

func rng(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 1)) }

func create(t *testing.T, d *Disk, dir ID, name string, kind Kind) ID {
	t.Helper()
	info, err := d.Create(dir, name, kind, 0o600)
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return info.ID
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// durableFile is a file whose name and content are on the platter.
func durableFile(t *testing.T, d *Disk, name, content string) ID {
	t.Helper()
	id := create(t, d, Root, name, File)
	must(t, d.Write(id, 0, []byte(content)))
	must(t, d.Sync(id))
	must(t, d.Sync(Root))
	return id
}

// outcomes draws many cuts and counts what each says of the disk.
func outcomes(d *Disk, say func(Image) string) map[string]int {
	seen := map[string]int{}
	for seed := range seeds {
		seen[say(d.After(rng(seed)))]++
	}
	return seen
}

// content says what one file holds; "absent" when it has no name.
func content(name string) func(Image) string {
	return func(im Image) string {
		item, ok := im[name]
		if !ok {
			return "absent"
		}
		return string(item.Data)
	}
}

// Each row: what a program did since all was durable, and exactly the set of
// states in which a cut may leave the file.
func TestACutLeavesExactlyTheStatesThatAreAllowed(t *testing.T) {
	rows := []struct {
		name string
		do   func(t *testing.T, d *Disk, f ID)
		look string
		may  []string
	}{
		{"nothing since the sync: kept", func(*testing.T, *Disk, ID) {}, "f", []string{"old"}},
		{"a write and no sync: either", func(t *testing.T, d *Disk, f ID) {
			must(t, d.Write(f, 0, []byte("new")))
		}, "f", []string{"old", "new"}},
		{"a write and a sync: kept", func(t *testing.T, d *Disk, f ID) {
			must(t, d.Write(f, 0, []byte("new")))
			must(t, d.Sync(f))
		}, "f", []string{"new"}},
		{"two writes in one sector: never the second without the first", func(t *testing.T, d *Disk, f ID) {
			must(t, d.Write(f, 0, []byte("N")))
			must(t, d.Write(f, 2, []byte("W")))
		}, "f", []string{"old", "Nld", "NlW"}},
		{"a write that grows: old, grown with zeros, new", func(t *testing.T, d *Disk, f ID) {
			must(t, d.Write(f, 3, []byte("er")))
		}, "f", []string{"old", "old\x00\x00", "older"}},
		{"truncated and not synced: either", func(t *testing.T, d *Disk, f ID) {
			must(t, d.Truncate(f, 1))
		}, "f", []string{"old", "o"}},
		{"syncing the directory keeps no content", func(t *testing.T, d *Disk, f ID) {
			must(t, d.Write(f, 0, []byte("new")))
			must(t, d.Sync(Root))
		}, "f", []string{"old", "new"}},
		{"syncing the file keeps no name", func(t *testing.T, d *Disk, _ ID) {
			g := create(t, d, Root, "g", File)
			must(t, d.Write(g, 0, []byte("g")))
			must(t, d.Sync(g))
		}, "g", []string{"absent", "g"}},
		{"created and the directory synced: there, perhaps empty", func(t *testing.T, d *Disk, _ ID) {
			g := create(t, d, Root, "g", File)
			must(t, d.Sync(Root))
			must(t, d.Write(g, 0, []byte("g")))
		}, "g", []string{"", "\x00", "g"}},
		{"removed and the directory not synced: either", func(t *testing.T, d *Disk, _ ID) {
			must(t, d.Remove(Root, "f", File))
		}, "f", []string{"old", "absent"}},
		{"removed and the directory synced: gone", func(t *testing.T, d *Disk, _ ID) {
			must(t, d.Remove(Root, "f", File))
			must(t, d.Sync(Root))
		}, "f", []string{"absent"}},
		{"replaced by temp, sync, rename: old or new, never less", func(t *testing.T, d *Disk, _ ID) {
			g := create(t, d, Root, "f.tmp", File)
			must(t, d.Write(g, 0, []byte("new")))
			must(t, d.Sync(g))
			must(t, d.Rename(Root, "f.tmp", Root, "f"))
		}, "f", []string{"old", "new"}},
		{"the same with the directory synced: new", func(t *testing.T, d *Disk, _ ID) {
			g := create(t, d, Root, "f.tmp", File)
			must(t, d.Write(g, 0, []byte("new")))
			must(t, d.Sync(g))
			must(t, d.Rename(Root, "f.tmp", Root, "f"))
			must(t, d.Sync(Root))
		}, "f", []string{"new"}},
		{"renamed over without syncing the file: it may be empty", func(t *testing.T, d *Disk, _ ID) {
			g := create(t, d, Root, "f.tmp", File)
			must(t, d.Write(g, 0, []byte("new")))
			must(t, d.Rename(Root, "f.tmp", Root, "f"))
			must(t, d.Sync(Root))
		}, "f", []string{"", "\x00\x00\x00", "new"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			d := New()
			f := durableFile(t, d, "f", "old")
			row.do(t, d, f)
			seen := outcomes(d, content(row.look))
			for _, state := range row.may {
				if seen[state] == 0 {
					t.Errorf("never drawn: %q", state)
				}
				delete(seen, state)
			}
			for state, n := range seen {
				t.Errorf("drawn %d times and not allowed: %q", n, state)
			}
		})
	}
}

func TestAWriteTearsAtSectorsAndNowhereElse(t *testing.T) {
	d := New()
	old := bytes.Repeat([]byte("o"), 8*SectorSize)
	f := durableFile(t, d, "f", string(old))
	must(t, d.Write(f, 0, bytes.Repeat([]byte("n"), len(old))))
	torn := 0
	for seed := range seeds {
		got := d.After(rng(seed))["f"].Data
		for at := 0; at < len(got); at += SectorSize {
			if sector := got[at : at+SectorSize]; bytes.Count(sector, sector[:1]) != SectorSize {
				t.Fatalf("seed %d: a mixture within the sector at %d", seed, at)
			}
		}
		if n := bytes.Count(got, []byte("n")); n > 0 && n < len(got) {
			torn++
		}
	}
	if torn < seeds/10 {
		t.Errorf("only %d of %d cuts tore the write", torn, seeds)
	}
}

func TestLaterSectorsMayLandBeforeEarlierOnes(t *testing.T) {
	d := New()
	f := durableFile(t, d, "f", string(make([]byte, 2*SectorSize)))
	must(t, d.Write(f, 0, []byte("first")))
	must(t, d.Write(f, SectorSize, []byte("second")))
	seen := outcomes(d, func(im Image) string {
		data := im["f"].Data
		return string([]byte{data[0], data[SectorSize]})
	})
	for _, state := range []string{"\x00\x00", "f\x00", "\x00s", "fs"} {
		if seen[state] == 0 {
			t.Errorf("never drawn: %q", state)
		}
	}
}

func TestARenameAcrossDirectoriesNeverLosesTheFile(t *testing.T) {
	d := New()
	a, b := create(t, d, Root, "a", Directory), create(t, d, Root, "b", Directory)
	must(t, d.Sync(Root))
	f := create(t, d, a, "f", File)
	must(t, d.Sync(f))
	must(t, d.Sync(a))
	must(t, d.Rename(a, "f", b, "f"))
	seen := outcomes(d, func(im Image) string { return content("a/f")(im) + "," + content("b/f")(im) })
	if len(seen) != 2 || seen[",absent"] == 0 || seen["absent,"] == 0 {
		t.Errorf("want it in exactly one of the two, each drawn: %v", seen)
	}
	must(t, d.Sync(b))
	if seen := outcomes(d, content("b/f")); seen["absent"] != 0 {
		t.Errorf("lost %d times after its directory was synced", seen["absent"])
	}
}

func TestAFrozenDiskAnswersNothingMore(t *testing.T) {
	d := New()
	f := durableFile(t, d, "f", "kept")
	must(t, d.Write(f, 0, []byte("lost")))
	d.Freeze()
	_, statErr := d.Stat(f)
	_, readErr := d.Read(f, 0, 4)
	_, listErr := d.List(Root)
	_, createErr := d.Create(Root, "g", File, 0)
	for name, err := range map[string]error{
		"stat": statErr, "read": readErr, "list": listErr, "create": createErr,
		"write": d.Write(f, 0, []byte("x")), "sync": d.Sync(f), "truncate": d.Truncate(f, 0),
		"rename": d.Rename(Root, "f", Root, "g"), "remove": d.Remove(Root, "f", File), "chmod": d.Chmod(f, 0),
	} {
		if !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v, want EIO", name, err)
		}
	}
	if seen := outcomes(d, content("f")); seen["kept"] == 0 {
		t.Error("a sync that failed with EIO made something durable")
	}
}

func TestThePowerCanGoAtAnyStep(t *testing.T) {
	program := func(d *Disk) error {
		info, err := d.Create(Root, "f", File, 0o600)
		return errors.Join(err, d.Write(info.ID, 0, []byte("x")), d.Sync(info.ID), d.Sync(Root))
	}
	whole := New()
	must(t, program(whole))
	if whole.Steps() != 4 {
		t.Fatalf("%d steps, want 4", whole.Steps())
	}
	for n := 1; n <= whole.Steps(); n++ {
		d := New()
		d.FreezeAfter(n)
		err := program(d)
		if d.Steps() != n || (err == nil) != (n == whole.Steps()) {
			t.Errorf("frozen after step %d: did %d, %v", n, d.Steps(), err)
		}
		select {
		case <-d.Frozen():
		default:
			t.Errorf("frozen after step %d, and nobody is told", n)
		}
	}
}

func TestWhatAFileSystemRefuses(t *testing.T) {
	d := New()
	f := durableFile(t, d, "f", "x")
	dir := create(t, d, Root, "dir", Directory)
	create(t, d, dir, "sub", Directory)
	lookup := func(dir ID, name string) error { _, err := d.Lookup(dir, name); return err }
	created := func(dir ID, name string) error { _, err := d.Create(dir, name, File, 0); return err }
	rows := map[string]struct {
		got  error
		want syscall.Errno
	}{
		"no such name":               {lookup(Root, "g"), syscall.ENOENT},
		"a file is no directory":     {lookup(f, "g"), syscall.ENOTDIR},
		"the name is taken":          {created(Root, "f"), syscall.EEXIST},
		"unlink of a directory":      {d.Remove(Root, "dir", File), syscall.EISDIR},
		"rmdir of a file":            {d.Remove(Root, "f", Directory), syscall.ENOTDIR},
		"rmdir with something in it": {d.Remove(Root, "dir", Directory), syscall.ENOTEMPTY},
		"write to a directory":       {d.Write(dir, 0, []byte("x")), syscall.EISDIR},
		"a directory into itself":    {d.Rename(Root, "dir", dir, "dir"), syscall.EINVAL},
		"a file over a directory":    {d.Rename(Root, "f", Root, "dir"), syscall.EISDIR},
		"a directory over a file":    {d.Rename(Root, "dir", Root, "f"), syscall.ENOTDIR},
		"renaming nothing":           {d.Rename(Root, "g", Root, "h"), syscall.ENOENT},
		"a file without end":         {d.Write(f, MaxFile, []byte("x")), syscall.EFBIG},
		"a negative offset":          {d.Write(f, -1, []byte("x")), syscall.EINVAL},
		"a negative size":            {d.Truncate(f, -1), syscall.EINVAL},
	}
	for name, row := range rows {
		if !errors.Is(row.got, row.want) {
			t.Errorf("%s: %v, want %v", name, row.got, row.want)
		}
	}
}

func TestAnImageSurvivesTheWayThroughAFolderAndADisk(t *testing.T) {
	d := New()
	durableFile(t, d, "f", "content")
	dir := create(t, d, Root, "dir", Directory)
	sub := create(t, d, dir, "sub", Directory)
	must(t, d.Write(create(t, d, sub, "g", File), 5, []byte("x")))
	folder := t.TempDir()
	must(t, d.Now().WriteTo(folder))
	read, err := ReadImage(folder)
	must(t, err)
	again := Load(read)
	if again.Volatile() != 0 {
		t.Error("a loaded image is not wholly durable")
	}
	for _, name := range []string{"f", "dir/sub/g"} {
		if want, got := content(name)(d.Now()), content(name)(again.After(rng(1))); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
