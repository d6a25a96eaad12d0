package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func opened(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func at(t testing.TB) Options { return Options{Path: filepath.Join(t.TempDir(), "data", "store")} }

func contents(t testing.TB, s *Store) map[place]string {
	t.Helper()
	all := map[place]string{}
	err := s.Load(func(kind Kind, key string, value []byte) error {
		if _, twice := all[place{kind, key}]; twice {
			t.Errorf("%d %q visited twice", kind, key)
		}
		all[place{kind, key}] = string(value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func closed(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// crash is the file as a killed process leaves it.
func crash(t testing.TB, s *Store) Options {
	t.Helper()
	raw, err := os.ReadFile(s.o.Path)
	if err != nil {
		t.Fatal(err)
	}
	o := s.o
	o.Path = filepath.Join(t.TempDir(), "store")
	if err := os.WriteFile(o.Path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

// Whatever was committed, folded, closed or cut off: what is loaded is what a
// plain map would hold.
func TestAStoreIsAMapThatSurvives(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		o := at(t)
		o.foldBytes = rapid.IntRange(200, 20000).Draw(r, "fold")
		s := opened(t, o)
		defer func() { closed(t, s) }()
		model := map[place]string{}
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			switch rapid.SampledFrom([]string{"commit", "commit", "commit", "close", "crash", "fold"}).Draw(r, "step") {
			case "commit":
				batch := rapid.SliceOfN(mutations(), 1, 30).Draw(r, "batch")
				if err := s.Commit(batch); err != nil {
					r.Fatal(err)
				}
				for _, m := range batch {
					if delete(model, place{m.Kind, m.Key}); m.Value != nil {
						model[place{m.Kind, m.Key}] = string(m.Value)
					}
				}
			case "close":
				closed(t, s)
				s = opened(t, s.o)
			case "crash":
				o := crash(t, s)
				closed(t, s)
				s = opened(t, o)
			case "fold":
				if err := s.Fold(); err != nil {
					r.Fatal(err)
				}
			}
			if st := s.Stats(); st.SetAside != "" {
				r.Fatalf("set aside: %s", st.Why)
			}
			if got := contents(t, s); !maps.Equal(got, model) {
				r.Fatalf("loaded %v, want %v", got, model)
			}
		}
	})
}

func mutations() *rapid.Generator[Mutation] {
	return rapid.Custom(func(r *rapid.T) Mutation {
		m := Mutation{
			Kind: Kind(rapid.IntRange(1, 6).Draw(r, "kind")),
			Key:  rapid.StringMatching(`[a-d]{1,3}`).Draw(r, "key"),
		}
		if rapid.IntRange(0, 3).Draw(r, "put") > 0 {
			m.Value = bytes.Repeat([]byte{byte(rapid.IntRange(0, 255).Draw(r, "byte"))}, rapid.IntRange(0, 3000).Draw(r, "length"))
		}
		return m
	})
}

func TestTheEpochGrowsAndTheIDStays(t *testing.T) {
	s := opened(t, at(t))
	id := s.ID()
	if len(id) != 16 || s.Epoch() != 1 {
		t.Fatalf("fresh: id %q, epoch %d", id, s.Epoch())
	}
	after := crash(t, s) // the epoch is on disk before Open returns
	closed(t, s)
	for want := uint64(2); want < 5; want++ {
		s = opened(t, after)
		if s.ID() != id || s.Epoch() != want {
			t.Fatalf("id %q, epoch %d, want %q, %d", s.ID(), s.Epoch(), id, want)
		}
		closed(t, s)
	}
	other := opened(t, at(t))
	if other.ID() == id {
		t.Error("two stores have one id")
	}
	closed(t, other)
}

func TestAHeldStoreIsRefusedByName(t *testing.T) {
	o := at(t)
	s := opened(t, o)
	_, err := Open(o)
	if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), o.Path) {
		t.Fatalf("second agent: %v", err)
	}
	if err := Restore(o, strings.NewReader(""), nil); !errors.Is(err, ErrHeld) {
		t.Fatalf("restore: %v", err)
	}
	closed(t, s)
	closed(t, opened(t, o))
}

func TestANewerStoreIsRefusedAndLeftAlone(t *testing.T) {
	o := at(t)
	newer := o
	newer.migrations = append(migrations(), func(*bbolt.Tx) error { return nil })
	closed(t, opened(t, newer))
	before, _ := os.ReadFile(o.Path)
	_, err := Open(o)
	if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), o.Path) {
		t.Fatalf("newer store: %v", err)
	}
	if after, _ := os.ReadFile(o.Path); !bytes.Equal(before, after) {
		t.Error("the newer store was changed")
	}
}

func TestMigrationsRunOnceInOrderOverWhatIsThere(t *testing.T) {
	o := at(t)
	s := opened(t, o) // schema 1
	if err := s.Commit([]Mutation{{Drawers, "a", []byte("kept")}}); err != nil {
		t.Fatal(err)
	}
	o = crash(t, s) // with the record still in the log
	closed(t, s)
	var ran []int
	step := func(n int) migration {
		return func(tx *bbolt.Tx) error {
			ran = append(ran, n)
			_, err := tx.CreateBucket(fmt.Appendf(nil, "step %d", n))
			return err
		}
	}
	o.migrations = append(migrations(), step(2), step(3))
	for range 2 {
		s = opened(t, o)
		if got := contents(t, s); got[place{Drawers, "a"}] != "kept" || s.Stats().SetAside != "" {
			t.Fatalf("after migration: %v, %+v", got, s.Stats())
		}
		closed(t, s)
	}
	if !slices.Equal(ran, []int{2, 3}) {
		t.Fatalf("ran %v", ran)
	}
}

// A fault of the system, or of a migration, says nothing of the file: a sound
// store is not set aside for it.
func TestAFailedMigrationLeavesTheFileWhereItIs(t *testing.T) {
	for _, fault := range []error{errors.New("no"), syscall.ENOSPC, syscall.ENOMEM, fmt.Errorf("file resize error: %s", syscall.ENOSPC)} {
		o := at(t)
		s := opened(t, o)
		if err := s.Commit([]Mutation{{Drawers, "a", []byte("kept")}}); err != nil {
			t.Fatal(err)
		}
		closed(t, s)
		bad := o
		bad.migrations = append(migrations(), func(tx *bbolt.Tx) error {
			return errors.Join(tx.DeleteBucket(bucketOf[Drawers]), fault)
		})
		if _, err := Open(bad); err == nil || !strings.Contains(err.Error(), fault.Error()) || !strings.Contains(err.Error(), "left as it is") {
			t.Fatalf("%v: opened, or refused for another reason: %v", fault, err)
		}
		s = opened(t, o)
		if contents(t, s)[place{Drawers, "a"}] != "kept" || s.Stats().SetAside != "" {
			t.Errorf("%v: the record is lost: %+v", fault, s.Stats())
		}
		closed(t, s)
	}
}

func TestOnlyBytesMakeAFileUnsound(t *testing.T) {
	mapping := func(errno error) error { return fmt.Errorf("mmap: %w", errno) }
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{boltFault(berrors.ErrChecksum), true},
		{boltFault(berrors.ErrInvalid), true},
		{boltFault(&panicError{"freelist"}), true},
		{boltFault(mapping(syscall.ENOMEM)), false},
		{boltFault(mapping(syscall.EACCES)), false},
		{boltFault(berrors.ErrTimeout), false},
		{unsound(errChecksum), true},
		{unsound(io.ErrUnexpectedEOF), true},
		{unsound(&fs.PathError{Op: "read", Err: syscall.EIO}), true},
		{unsound(&fs.PathError{Op: "read", Err: syscall.EMFILE}), false},
		{unsound(&fs.PathError{Op: "read", Err: syscall.ENOMEM}), false},
	} {
		if got := errors.Is(tc.err, errUnsound); got != tc.want {
			t.Errorf("%v: unsound %v", tc.err, got)
		}
	}
}

func TestAMostlyFreeFileIsCompacted(t *testing.T) {
	o := at(t)
	s := opened(t, o)
	big := make([]byte, 64<<10)
	for i := range big {
		big[i] = byte(rand.IntN(256))
	}
	for i := range 200 {
		if err := s.Commit([]Mutation{{Drawers, fmt.Sprint("big", i), big}}); err != nil {
			t.Fatal(err)
		}
	}
	batch := []Mutation{{Drawers, "small", []byte("kept")}}
	for i := range 200 {
		batch = append(batch, Mutation{Drawers, fmt.Sprint("big", i), nil})
	}
	if err := s.Commit(batch); err != nil {
		t.Fatal(err)
	}
	id, epoch, size := s.ID(), s.Epoch(), s.Stats().FileSize
	closed(t, s)
	s = opened(t, o)
	defer closed(t, s)
	if st := s.Stats(); st.FileSize > size/10 || st.SetAside != "" {
		t.Errorf("%d bytes, once %d", st.FileSize, size)
	}
	if got := contents(t, s); len(got) != 1 || got[place{Drawers, "small"}] != "kept" || s.ID() != id || s.Epoch() != epoch+1 {
		t.Errorf("after compaction: %v, id %s, epoch %d", got, s.ID(), s.Epoch())
	}
	if err := s.Commit([]Mutation{{Drawers, "b", []byte("c")}}); err != nil {
		t.Error(err)
	}
}

func TestARestoredStoreHasANewIDAndLacksWhatIsDropped(t *testing.T) {
	s := opened(t, at(t))
	err := s.Commit([]Mutation{{Drawers, "tokens\x00a", []byte("kept")}, {Drawers, "dialogs\x00a", []byte("dropped")}, {Since, "x", []byte("kept")}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	id := s.ID()
	closed(t, s)
	o := at(t)
	drop := func(kind Kind, key string) bool { return kind == Drawers && strings.HasPrefix(key, "dialogs\x00") }
	for range 2 { // onto nothing, then onto a store
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		if err := Restore(o, f, drop); err != nil {
			t.Fatal(err)
		}
		s = opened(t, o)
		want := map[place]string{{Drawers, "tokens\x00a"}: "kept", {Since, "x"}: "kept"}
		if got := contents(t, s); !maps.Equal(got, want) || s.ID() == id || s.Stats().SetAside != "" {
			t.Errorf("restored %v, id %s", got, s.ID())
		}
		id = s.ID()
		closed(t, s)
	}
}

func TestABadBackupLeavesTheStoreAlone(t *testing.T) {
	o := at(t)
	s := opened(t, o)
	id := s.ID()
	closed(t, s)
	for _, bad := range []string{"", "rubbish", strings.Repeat("x", 100000)} {
		if err := Restore(o, strings.NewReader(bad), func(Kind, string) bool { return false }); err == nil {
			t.Errorf("restored from %.10q", bad)
		}
	}
	s = opened(t, o)
	defer closed(t, s)
	if s.ID() != id {
		t.Error("the store was replaced")
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(o.Path), "*"))
	if len(left) != 1 {
		t.Errorf("files left: %v", left)
	}
}
