// Package store keeps the ledger's records in one bbolt file.
//
// A record is a kind, a key and some bytes; what they mean is the ledger's
// business. There is a bucket for each kind, sorted by key, and one bucket
// "log". A commit appends one record to the log, which holds all mutations of
// the commit: commits wear flash, and an append touches four pages where a
// change in place touches four for each bucket. The log is folded into the
// kinds' buckets when it has grown, and at each start and close. Loading is
// reading the buckets and then the log, in order.
//
// bbolt trusts its file: a bad page is a panic, in a goroutine of its own when
// it rebuilds the list of free pages. So the file is walked with plain reads
// before bbolt maps it (verify.go), each value carries a checksum, and a file
// that fails is set aside whole.
//
// A Store is for one goroutine at a time.
package store

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
)

// Kind is a kind of record. The numbers are on disk and never change.
type Kind uint8

// The kinds of record.
const (
	Observations Kind = 1
	Seen         Kind = 2 // when observations were last repeated, by their numbers
	Publications Kind = 3
	Since        Kind = 4
	History      Kind = 5
	Drawers      Kind = 6
)

var bucketOf = map[Kind][]byte{
	Observations: []byte("observations"),
	Seen:         []byte("seen"),
	Publications: []byte("publications"),
	Since:        []byte("since"),
	History:      []byte("history"),
	Drawers:      []byte("drawers"),
}

var (
	bucketMeta = []byte("meta")
	bucketLog  = []byte("log")
	keySchema  = []byte("schema")
	keyID      = []byte("id")
	keyEpoch   = []byte("epoch")
	keyNewest  = []byte("newest") // Unix seconds
)

// A Mutation puts a value under a key, or, with a nil value, deletes it.
type Mutation struct {
	Kind  Kind
	Key   string
	Value []byte
}

// Why a store cannot be opened.
var (
	ErrHeld  = errors.New("another agent holds it")
	ErrNewer = errors.New("written by a newer version of pilotlight")
)

// errBroken is set right only by a restart: bbolt panicked in a transaction.
var errBroken = errors.New("the store failed and takes no more until the next start")

// Options say how to open a store.
type Options struct {
	Path   string
	Check  func(Kind, string, []byte) error // whether a record can be read; it decides if a file is sound
	Log    *slog.Logger
	NoSync bool // for the drill that shows what a missing fdatasync costs; never otherwise

	migrations []migration // nil: the package's own list
	foldBytes  int         // 0: foldBytes
}

// Stats is what a store did since it was opened.
type Stats struct {
	Commits  uint64
	Folds    uint64
	Bytes    uint64 // pages handed to the operating system
	FileSize int64
	SetAside string // the file that was found broken at Open, if any
	Why      string // what was wrong with it
}

// Store is an open store.
type Store struct {
	o      Options
	db     *bbolt.DB
	id     string
	epoch  uint64
	newest time.Time // as of Open
	date   time.Time // of the next commits
	broken bool
	stats  Stats

	deflater deflater
	logged   int // bytes in the log bucket
	records  int // records in the log bucket
}

// The log is folded when it has grown to one of these.
const (
	foldBytes   = 2 << 20
	foldRecords = 4096
)

const pageSize = 4096

// ID is the random name of this store, made anew when it is made or restored.
func (s *Store) ID() string { return s.id }

// Epoch grows by one at each Open.
func (s *Store) Epoch() uint64 { return s.epoch }

// Newest is the date that was last given, before Open; zero if none ever was.
func (s *Store) Newest() time.Time { return s.newest }

// Date is what the commits to come are dated with; zero: not at all. It is in
// the page that each commit writes anyway.
func (s *Store) Date(at time.Time) { s.date = at }

// Load visits all records: each with its latest value, in no order of kinds.
func (s *Store) Load(visit func(Kind, string, []byte) error) error {
	return s.guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error { return load(tx, visit) })
	})
}

// Commit appends the mutations to the log: all or none of them are on disk
// when it returns. A later mutation of the same key wins.
func (s *Store) Commit(batch []Mutation) error {
	if len(batch) == 0 {
		return nil
	}
	record := s.deflater.appendLog(nil, batch)
	err := s.guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			if !s.date.IsZero() {
				date := binary.BigEndian.AppendUint64(nil, uint64(s.date.Unix()))
				if err := tx.Bucket(bucketMeta).Put(keyNewest, date); err != nil {
					return err
				}
			}
			return appendRecord(tx, record)
		})
	})
	if err != nil {
		return fmt.Errorf("store %s: commit: %w", s.o.Path, err)
	}
	s.stats.Commits++
	s.logged += len(record)
	s.records++
	if s.logged >= s.o.foldBytes || s.records >= foldRecords {
		return s.Fold()
	}
	return nil
}

// Fold moves what the log holds into the buckets of the kinds.
func (s *Store) Fold() error {
	if s.records == 0 {
		return nil
	}
	err := s.guard(func() error { return s.db.Update(fold) })
	if err != nil {
		return fmt.Errorf("store %s: fold: %w", s.o.Path, err)
	}
	s.logged, s.records = 0, 0
	s.stats.Folds++
	return nil
}

// Close folds the log and lets go of the file.
func (s *Store) Close() error {
	err := s.Fold()
	if s.broken { // bbolt would wait for the transaction that panicked
		return err
	}
	if cerr := s.db.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("store %s: close: %w", s.o.Path, cerr)
	}
	return err
}

// Stats tells what the store did.
func (s *Store) Stats() Stats {
	st := s.stats
	tx := s.db.Stats().TxStats
	st.Bytes = uint64(tx.GetPageAlloc()) + (st.Commits+st.Folds)*pageSize // each ends with a meta page, which bbolt does not count
	if info, err := os.Stat(s.o.Path); err == nil {
		st.FileSize = info.Size()
	}
	return st
}

// Snapshot copies the store, as it is now, to an unnamed temporary file beside
// it, so that nobody who takes a copy over a network holds a transaction.
func (s *Store) Snapshot() (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(s.o.Path), ".backup-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	err = s.guard(func() error {
		return s.db.View(func(tx *bbolt.Tx) error { _, err := tx.WriteTo(f); return err })
	})
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store %s: copy: %w", s.o.Path, err), f.Close())
	}
	return f, nil
}

// guard runs a transaction so that a panic of bbolt, or a page that cannot be
// read (a fault in the mapped file), is an error. After that the store takes
// no more: the transaction may still hold bbolt's lock.
func (s *Store) guard(do func() error) error {
	if s.broken {
		return errBroken
	}
	err := sheltered(do)
	if _, panicked := errors.AsType[*panicError](err); panicked {
		s.broken = true
	}
	return err
}

type panicError struct{ value any }

func (p *panicError) Error() string { return fmt.Sprintf("bbolt panicked: %v", p.value) }

// Unwrap makes a panic at open a fault of the file: bbolt panics at bytes that
// it cannot make sense of.
func (p *panicError) Unwrap() error { return errUnsound }

func sheltered(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p}
		}
	}()
	return do()
}

func options(f *os.File, noSync bool) *bbolt.Options {
	return &bbolt.Options{
		Timeout:        lockTimeout,
		NoFreelistSync: true, // the list is found again by a walk: one page less in each commit
		FreelistType:   bbolt.FreelistArrayType,
		PageSize:       pageSize,
		NoSync:         noSync,
		OpenFile:       func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	}
}

const lockTimeout = time.Second

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
