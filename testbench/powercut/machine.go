// Package powercut gives a program a file system whose power can be cut.
//
// Start serves a disk over FUSE. A program that works on it is held to what it
// synced: Cut ends the world at once (every later operation fails with EIO),
// and draws what a real disk might hold when the power returns; the next Start
// begins there. The layer is thin: it translates requests to the model in
// powercut/disk, and holds each fsync back for a while, as flash does, so that
// cuts fall inside them too.
//
// Reads, mmap included, go through the kernel's page cache, writes go through
// it at once (no writeback cache), so the disk sees every pwrite in order and a
// shared mapping sees it too. flock stays in the kernel.
//
// README.md says what is modelled and what is not; the tests beside it prove
// with bbolt that the bench passes what is right and fails what is wrong.
package powercut

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"pilotlight/testbench/powercut/disk"
)

// ErrUnavailable says that this system lets us mount nothing: no /dev/fuse, or
// no right to use it.
var ErrUnavailable = errors.New("no FUSE here")

// Options of a machine.
type Options struct {
	// SyncDelay, when set, is asked before each fsync how long it takes. A
	// cut within that time finds nothing of it promised.
	SyncDelay func() time.Duration
}

// Machine is a disk served at a folder, for programs to run on.
type Machine struct {
	folder string
	disk   *disk.Disk
	server *fuse.Server
}

// Start serves an image, all of it durable, at an existing folder. The calling
// process must not mmap files of that folder: a page fault would block a thread
// that the server may need.
func Start(folder string, image disk.Image, o Options) (*Machine, error) {
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err := device.Close(); err != nil {
		return nil, err
	}
	m := &Machine{folder: folder, disk: disk.Load(image)}
	fs := &fileSystem{RawFileSystem: fuse.NewDefaultRawFileSystem(), disk: m.disk, delay: o.SyncDelay}
	m.server, err = fuse.NewServer(fs, folder, &fuse.MountOptions{
		FsName: "powercut", Name: "powercut",
		DirectMount:   true, // no fusermount needed where we are root
		DisableXAttrs: true,
		MaxWrite:      1 << 20,
		// All changes come through this mount, so the kernel's cache is
		// never out of date and must not guess from times that it is.
		ExplicitDataCacheControl: true,
		DisableReadDirPlus:       true,
	})
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", folder, err)
	}
	go m.server.Serve() // ends when the folder is unmounted
	if err := m.server.WaitMount(); err != nil {
		return nil, fmt.Errorf("mount %s: %w", folder, err)
	}
	return m, nil
}

// CutAfter lets the power go when n more changes and syncs have been done on
// the disk: a moment chosen by what the programs do, and not by a clock. Cut
// then finds it gone.
func (m *Machine) CutAfter(n int) { m.disk.FreezeAfter(n) }

// Dark is closed when the power is gone, before any program can notice.
func (m *Machine) Dark() <-chan struct{} { return m.disk.Frozen() }

// Steps counts the changes and syncs on the disk so far.
func (m *Machine) Steps() int { return m.disk.Steps() }

// Cut takes the power away: the disk freezes, then kill ends the programs that
// run on it (and returns when they are gone), and the drawn image is what the
// next Start finds. From the freeze on nothing more becomes durable, so what a
// program acknowledges between the two it acknowledges at its own risk.
func (m *Machine) Cut(rng *rand.Rand, kill func() error) (disk.Image, error) {
	m.disk.Freeze()
	err := errors.Join(kill(), m.unmount())
	return m.disk.After(rng), err
}

// Stop is a clean shutdown, once the programs have ended: nothing is lost.
func (m *Machine) Stop() (disk.Image, error) {
	err := m.unmount()
	return m.disk.Now(), err
}

// unmount takes the folder away. Where a program still holds it, it is
// detached, so that the folder is not left unusable, and the error says so.
func (m *Machine) unmount() error {
	err := m.server.Unmount()
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("unmount %s: %w", m.folder, err), syscall.Unmount(m.folder, syscall.MNT_DETACH))
}
