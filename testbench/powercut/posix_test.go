package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pilotlight/testbench/powercut/disk"
)

// A program must not notice that the disk is a model: what bbolt and an agent
// use works as on any file system, shared mappings and locks included.
func TestAProgramFindsAnOrdinaryFileSystem(t *testing.T) {
	folder := t.TempDir()
	m := start(t, folder, disk.Image{})
	if m == nil {
		return
	}
	out, err := program("posix", folder).CombinedOutput()
	image, stopErr := m.Stop()
	if err != nil || stopErr != nil {
		t.Fatalf("%v, %v\n%s", err, stopErr, out)
	}
	if len(image) != 1 || image["dir"].Kind != disk.Directory {
		t.Errorf("want the empty directory alone to be left, got %d names", len(image))
	}
}

// posix is the program of that test: each step is a promise of POSIX or Linux.
func posix(folder string) error {
	steps := []struct {
		name string
		do   func(folder string) error
	}{
		{"mmap sees pwrite, growth and truncation", mappingIsCoherent},
		{"flock excludes", lockExcludes},
		{"names", namesWork},
		{"a socket can be bound and reached", socketWorks},
		{"a big write comes back", bigWrite},
	}
	for _, step := range steps {
		if err := step.do(folder); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func mappingIsCoherent(folder string) error {
	f, err := os.Create(filepath.Join(folder, "mapped"))
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	const page, pages = 4096, 64
	if err := f.Truncate(page * 8); err != nil {
		return err
	}
	view, err := unix.Mmap(int(f.Fd()), 0, page*pages, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(view)
	if err := unix.Madvise(view, unix.MADV_RANDOM); err != nil {
		return err
	}
	if err := f.Truncate(page * pages); err != nil {
		return err
	}
	for round := range 200 {
		at := round % pages * page
		data := bytes.Repeat([]byte{byte(round + 1)}, page)
		if _, err := f.WriteAt(data, int64(at)); err != nil {
			return err
		}
		if round%7 == 0 {
			if err := unix.Fdatasync(int(f.Fd())); err != nil {
				return err
			}
		}
		if !bytes.Equal(view[at:at+page], data) {
			return fmt.Errorf("round %d: the mapping shows %d", round, view[at])
		}
	}
	if err := f.Truncate(page + 1); err != nil {
		return err
	}
	if err := f.Truncate(page * 2); err != nil {
		return err
	}
	if view[page] == 0 || view[page+1] != 0 {
		return errors.New("the mapping shows what was truncated away")
	}
	return nil
}

func lockExcludes(folder string) error {
	a, err := os.Create(filepath.Join(folder, "locked"))
	if err != nil {
		return err
	}
	defer os.Remove(a.Name())
	defer a.Close()
	b, err := os.Open(a.Name())
	if err != nil {
		return err
	}
	defer b.Close()
	if err := unix.Flock(int(a.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return err
	}
	if err := unix.Flock(int(b.Fd()), unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("a second lock: %v", err)
	}
	return nil
}

func namesWork(folder string) error {
	dir, old := filepath.Join(folder, "dir"), filepath.Join(folder, "old")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(old, []byte("replaced"), 0o600); err != nil {
		return err
	}
	temp := filepath.Join(dir, "temp")
	if err := os.WriteFile(temp, []byte("content"), 0o640); err != nil {
		return err
	}
	if err := os.Rename(temp, old); err != nil {
		return err
	}
	if data, err := os.ReadFile(old); err != nil || string(data) != "content" {
		return fmt.Errorf("after the rename: %q, %v", data, err)
	}
	if info, err := os.Stat(old); err != nil || info.Mode() != 0o640 {
		return fmt.Errorf("after the rename: %v, %v", info.Mode(), err)
	}
	if err := os.Chmod(old, 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(old, []byte("x"), 0); err != nil { // O_TRUNC
		return err
	}
	if data, err := os.ReadFile(old); err != nil || string(data) != "x" {
		return fmt.Errorf("after truncating: %q, %v", data, err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 2 {
		return fmt.Errorf("entries: %v, %v", entries, err)
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer d.Close()
	return errors.Join(d.Sync(), os.Remove(old))
}

func socketWorks(folder string) error {
	path := filepath.Join(folder, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	defer l.Close() // unlinks it
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	return c.Close()
}

func bigWrite(folder string) error {
	path := filepath.Join(folder, "big")
	data := bytes.Repeat([]byte("0123456789abcdef"), 3<<20/16)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return err
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, data) {
		return fmt.Errorf("%d bytes came back: %v", len(got), err)
	}
	return os.Remove(path)
}

func TestAfterTheCutAProgramGetsOnlyErrors(t *testing.T) {
	folder := t.TempDir()
	m := start(t, folder, disk.Image{"f": {Kind: disk.File, Mode: 0o600, Data: []byte("durable")}})
	if m == nil {
		return
	}
	f, err := os.OpenFile(filepath.Join(folder, "f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	image, err := m.Cut(rand.New(rand.NewPCG(1, 0)), func() error {
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Errorf("sync: %v, want EIO", err)
		}
		if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, syscall.EIO) {
			t.Errorf("write: %v, want EIO", err)
		}
		return f.Close()
	})
	if err != nil || string(image["f"].Data) != "durable" {
		t.Errorf("%q, %v", image["f"].Data, err)
	}
	if _, err := os.Stat(filepath.Join(folder, "f")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still mounted: %v", err)
	}
}
