package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// Open opens the store at o.Path, or makes one. A file that cannot be trusted
// is set aside whole, which Stats tells; one of a newer version is refused.
// The epoch has grown, on disk, before Open returns.
func Open(o Options) (*Store, error) {
	o = o.withDefaults()
	unlock, err := lockFolder(o.Path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s, err := openSound(o)
	if err != nil {
		return nil, err
	}
	if err := s.begin(); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	if !s.mostlyFree() {
		return s, nil
	}
	return s.compact()
}

// openSound opens the file if it is sound, and else a new one in its place.
func openSound(o Options) (*Store, error) {
	s, err := openFile(o)
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, fs.ErrNotExist):
		return openNew(o)
	case !errors.Is(err, errUnsound):
		return nil, fmt.Errorf("store %s: cannot be opened, and is left as it is: %w", o.Path, err)
	}
	aside, asideErr := setAside(o.Path)
	if asideErr != nil {
		return nil, fmt.Errorf("store %s is broken (%w) and cannot be set aside: %w", o.Path, err, asideErr)
	}
	o.Log.Error("store is broken: set aside, starting with an empty one", "file", o.Path, "aside", aside, "err", err)
	s, newErr := openNew(o)
	if newErr != nil {
		return nil, newErr
	}
	s.stats.SetAside, s.stats.Why = aside, err.Error()
	return s, nil
}

func openFile(o Options) (*Store, error) {
	f, err := os.OpenFile(o.Path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return adopt(o, f)
}

func openNew(o Options) (*Store, error) {
	err := makeFile(o)
	if err != nil {
		return nil, fmt.Errorf("store %s: make: %w", o.Path, err)
	}
	s, err := openFile(o)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", o.Path, err)
	}
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Check == nil {
		o.Check = func(Kind, string, []byte) error { return nil }
	}
	if o.migrations == nil {
		o.migrations = migrations()
	}
	if o.foldBytes == 0 {
		o.foldBytes = foldBytes
	}
	return o
}

// errUnsound marks what only a new file helps against.
var errUnsound = errors.New("not sound")

// unsound marks an error that the bytes of the file are to blame for. A system
// that has no memory, no room or no leave says nothing of the file: a sound
// one must not be set aside for that. What the disk cannot read any more, and
// what makes bbolt panic, is as bad as garbage.
func unsound(err error) error {
	errno, system := errors.AsType[syscall.Errno](err)
	if system && errno != syscall.EIO && errno != syscall.EUCLEAN {
		return err
	}
	return fmt.Errorf("%w: %w", errUnsound, err)
}

// adopt takes an existing, locked file into use if it is sound in every page
// and record, and brings it to the present schema. On an error f is closed.
func adopt(o Options, f *os.File) (*Store, error) {
	if err := verify(f); err != nil {
		return nil, errors.Join(unsound(err), f.Close())
	}
	db, err := openBolt(o, f)
	if err != nil {
		_ = f.Close() // bbolt has closed it, mostly
		return nil, boltFault(err)
	}
	s := &Store{o: o, db: db}
	if err = s.guard(func() error { return upgrade(db, o.migrations) }); err == nil {
		err = s.guard(func() error { return db.View(func(tx *bbolt.Tx) error { return check(tx, o.Check) }) })
	}
	if err == nil {
		return s, nil
	}
	if s.broken { // bbolt may hold its lock; only the file can be let go
		return nil, errors.Join(err, f.Close())
	}
	return nil, errors.Join(err, db.Close())
}

// boltFault marks those of bbolt's errors that are about the bytes. The others,
// some of them without the system's own error inside, are not.
func boltFault(err error) error {
	for _, format := range []error{berrors.ErrInvalid, berrors.ErrVersionMismatch, berrors.ErrChecksum} {
		if errors.Is(err, format) {
			return unsound(err)
		}
	}
	return err
}

func check(tx *bbolt.Tx, record func(Kind, string, []byte) error) error {
	for _, name := range buckets() {
		if tx.Bucket(name) == nil {
			return unsound(fmt.Errorf("no bucket %q", name))
		}
	}
	if err := load(tx, record); err != nil {
		return unsound(err)
	}
	return nil
}

// begin folds what a crash left in the log, and takes the next epoch.
func (s *Store) begin() error {
	err := s.guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			meta := tx.Bucket(bucketMeta)
			s.id = string(meta.Get(keyID))
			if old := meta.Get(keyEpoch); len(old) == 8 {
				s.epoch = binary.BigEndian.Uint64(old)
			}
			if at := meta.Get(keyNewest); len(at) == 8 {
				s.newest = time.Unix(int64(binary.BigEndian.Uint64(at)), 0)
			}
			s.epoch++
			if err := meta.Put(keyEpoch, binary.BigEndian.AppendUint64(nil, s.epoch)); err != nil {
				return err
			}
			return fold(tx)
		})
	})
	if err != nil {
		return fmt.Errorf("store %s: begin: %w", s.o.Path, err)
	}
	s.stats.Commits++
	return nil
}

// makeFile makes an empty store: under another name first, so that a power
// cut leaves a whole one or none (etcd-io/etcd#16596).
func makeFile(o Options) error {
	db, err := openTemporary(o)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if err := migrate(tx, o.migrations); err != nil {
			return err
		}
		return tx.Bucket(bucketMeta).Put(keyID, []byte(newID()))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return install(temporary(o.Path), o.Path)
}

func openTemporary(o Options) (*bbolt.DB, error) {
	f, err := os.OpenFile(temporary(o.Path), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	db, err := openBolt(o, f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return db, nil
}

const compactFrom = 4 << 20

// mostlyFree reports whether more than half of a large file holds nothing.
func (s *Store) mostlyFree() bool {
	st := s.db.Stats()
	free := int64(st.FreePageN+st.PendingPageN) * pageSize
	info, err := os.Stat(s.o.Path)
	return err == nil && info.Size() >= compactFrom && free*2 > info.Size()
}

// compact opens the same in a new file: bbolt's files never shrink.
func (s *Store) compact() (*Store, error) {
	small, err := openTemporary(s.o)
	if err == nil {
		err = sheltered(func() error { return bbolt.Compact(small, s.db, 1<<20) })
		err = errors.Join(err, small.Close())
	}
	if err != nil { // the large one is as good
		s.o.Log.Warn("store not compacted", "file", s.o.Path, "err", err)
		return s, nil
	}
	if err := errors.Join(install(temporary(s.o.Path), s.o.Path), s.db.Close()); err != nil {
		return nil, fmt.Errorf("store %s: compact: %w", s.o.Path, err)
	}
	again, err := openFile(s.o)
	if err != nil {
		return nil, fmt.Errorf("store %s: after compaction: %w", s.o.Path, err)
	}
	again.id, again.epoch, again.newest, again.stats = s.id, s.epoch, s.newest, s.stats
	return again, nil
}

// install gives a synced file its name, durably.
func install(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return syncFolder(to)
}

func setAside(path string) (string, error) {
	aside := fmt.Sprintf("%s.corrupt-%s", path, time.Now().UTC().Format("20060102T150405.000"))
	return aside, install(path, aside)
}

func temporary(path string) string { return path + ".new" }

// openBolt opens f, whatever bbolt does. First it has the kernel drop what it
// keeps of the file: it would keep, and write, pages in groups, where each
// commit changes single ones.
func openBolt(o Options, f *os.File) (db *bbolt.DB, err error) {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM)
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	err = sheltered(func() error { db, err = bbolt.Open(f.Name(), 0o600, options(f, o.NoSync)); return err })
	return db, err
}

func syncFolder(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lock takes the lock that bbolt will take, on the same open file, before the
// file is read: nobody may write while it is verified.
func lock(f *os.File) error {
	for since := time.Now(); ; time.Sleep(lockTimeout / 20) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if time.Since(since) > lockTimeout {
			return ErrHeld
		}
	}
}

// lockFolder keeps a second agent out while files are made and renamed.
func lockFolder(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := lock(d); err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: its folder: %w", path, err), d.Close())
	}
	return func() { _ = d.Close() }, nil
}
