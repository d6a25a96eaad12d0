package powercut

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"pilotlight/testbench/powercut/disk"
)

// The bench is tested with bbolt itself, used rightly and in two wrong ways.
// The wrong ways are the point: a bench that never fails proves nothing.

func TestBoltKeepsWhatItAcknowledgedThroughPowerCuts(t *testing.T) {
	cuts := 25
	if os.Getenv("PILOTLIGHT_DRILL") == "full" {
		cuts = 200
	}
	r := cutRepeatedly(t, "bolt", cuts)
	if r.fault != nil {
		t.Fatalf("cut %d of %d: %v", r.cuts, cuts, r.fault)
	}
	if !r.unavailable && r.acknowledged < cuts/2 {
		t.Errorf("only %d acknowledged in %d cuts: too few to say anything", r.acknowledged, cuts)
	}
}

func TestTheBenchFindsAMissingFdatasync(t *testing.T) { mustBeFound(t, "bolt-nosync") }

func TestTheBenchFindsAnAnswerBeforeTheCommit(t *testing.T) { mustBeFound(t, "bolt-early") }

func mustBeFound(t *testing.T, role string) {
	const cuts = 30
	r := cutRepeatedly(t, role, cuts)
	switch {
	case r.unavailable:
	case r.fault == nil:
		t.Fatalf("%s went through %d cuts unnoticed", role, cuts)
	default:
		t.Logf("%s found at cut %d: %v", role, r.cuts, firstLine(r.fault))
	}
}

type result struct {
	cuts, acknowledged int
	fault              error
	unavailable        bool // no FUSE here
}

// cutRepeatedly runs a program on one disk, cuts the power at a random moment,
// looks at what is left, and goes on from there, until something acknowledged
// is missing, the store is broken, or n cuts are done.
func cutRepeatedly(t *testing.T, role string, n int) (r result) {
	folder, seed := t.TempDir(), rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	image, acked := disk.Image{}, tally{}
	began := time.Now()
	for r.cuts = 1; r.cuts <= n && r.fault == nil; r.cuts++ {
		m := start(t, folder, image)
		if m == nil {
			r.unavailable = true
			return r
		}
		session, err := startSession(program(role, folder), acked)
		if err != nil {
			t.Fatal(err)
		}
		if rng.IntN(5) > 0 { // one cut in five may fall into the opening
			session.awaitAnswer()
		}
		limit := time.Duration(rng.Int64N(int64(100 * time.Millisecond)))
		if rng.IntN(2) == 0 { // a moment told by the disk, between two writes
			m.CutAfter(1 + rng.IntN(60))
			limit = time.Second
		}
		select {
		case <-m.Dark():
		case <-time.After(limit):
		}
		image, err = m.Cut(rng, session.kill)
		if err != nil {
			t.Fatalf("cut %d: %v", r.cuts, err)
		}
		r.acknowledged += session.acknowledged
		if r.fault = compare(t, image, acked); r.fault != nil {
			break
		}
	}
	t.Logf("%s: cuts %d, acknowledged %d, fault %t, %.1f s", role, min(r.cuts, n), r.acknowledged, r.fault != nil, time.Since(began).Seconds())
	return r
}

// tally is the last number of each writer.
type tally map[string]uint64

// session is one life of a writer program, and the listener to its answers.
type session struct {
	cmd          *exec.Cmd
	answered     chan struct{} // closed at the first answer
	done         chan struct{} // closed when the program says nothing more
	acknowledged int           // read it after kill
}

// awaitAnswer returns at the first answer, or when the program has ended.
func (s *session) awaitAnswer() {
	select {
	case <-s.answered:
	case <-s.done:
	}
}

func startSession(cmd *exec.Cmd, acked tally) (*session, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s := &session{cmd: cmd, answered: make(chan struct{}), done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var writer string
			var seq uint64
			if _, err := fmt.Sscanf(lines.Text(), "ack %s %d", &writer, &seq); err == nil {
				acked[writer] = seq
				if s.acknowledged++; s.acknowledged == 1 {
					close(s.answered)
				}
			}
		}
	}()
	return s, nil
}

// kill ends the program and reads what it had still said.
func (s *session) kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.done // the pipe must be read out before Wait closes it
	var exit *exec.ExitError
	if err := s.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// compare opens the store in a process of its own, because bbolt panics on
// some broken files.
func compare(t *testing.T, image disk.Image, acked tally) error {
	folder := t.TempDir()
	if err := image.WriteTo(folder); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	if _, ok := image["store.db"]; !ok && len(acked) == 0 {
		return nil // cut before there was anything
	}
	var stderr bytes.Buffer
	cmd := program("bolt-verify", folder)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("the store is broken: %w: %.300s", err, stderr.String())
	}
	have := tally{}
	for line := range strings.Lines(string(out)) {
		var writer string
		var seq uint64
		if _, err := fmt.Sscanf(line, "have %s %d", &writer, &seq); err == nil {
			have[writer] = seq
		}
	}
	for writer, seq := range acked {
		if have[writer] < seq {
			return fmt.Errorf("%s: acknowledged %d, and %d is there", writer, seq, have[writer])
		}
	}
	return nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// --- the programs ---

var bucket = []byte("b")

// openStore makes the store as the product must: under another name, synced,
// renamed, the directory synced.
func openStore(folder string) (*bbolt.DB, error) {
	path := filepath.Join(folder, "store.db")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		db, err := bbolt.Open(path+".new", 0o600, nil)
		if err != nil {
			return nil, err
		}
		err = db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucketIfNotExists(bucket); return err })
		if err := errors.Join(err, db.Close(), os.Rename(path+".new", path)); err != nil {
			return nil, err
		}
		dir, err := os.Open(folder)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
			return nil, err
		}
	}
	return bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
}

// An order is how a writer puts committing and telling.
type order func(db *bbolt.DB, change func(*bbolt.Tx) error, tell func()) error

func commitThenTell(db *bbolt.DB, change func(*bbolt.Tx) error, tell func()) error {
	if err := db.Update(change); err != nil {
		return err
	}
	tell()
	return nil
}

func tellWithoutSync(db *bbolt.DB, change func(*bbolt.Tx) error, tell func()) error {
	db.NoSync = true
	return commitThenTell(db, change, tell)
}

func tellThenCommit(db *bbolt.DB, change func(*bbolt.Tx) error, tell func()) error {
	return db.Update(func(tx *bbolt.Tx) error {
		defer tell()
		return change(tx)
	})
}

// boltWriter counts up under three keys, as fast as it can, until the disk fails.
func boltWriter(folder string, commit order) error {
	db, err := openStore(folder)
	if err != nil {
		return err
	}
	have, err := contents(db)
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	for _, writer := range []string{"ann", "bob", "cy"} {
		group.Go(func() {
			for seq := have[writer] + 1; err == nil; seq++ {
				put := func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put([]byte(writer), value(seq)) }
				if commit(db, put, func() { fmt.Printf("ack %s %d\n", writer, seq) }) != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return db.Close()
}

// value carries a number and a filling that follows from it, of many sizes, so
// that pages are torn, split, freed and used again.
func value(seq uint64) []byte {
	v := binary.BigEndian.AppendUint64(nil, seq)
	return append(v, bytes.Repeat([]byte{byte(seq)}, int(seq*2654435761%20000))...)
}

func contents(db *bbolt.DB) (tally, error) {
	have := tally{}
	err := db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket).ForEach(func(k, v []byte) error {
			if len(v) < 8 {
				return fmt.Errorf("%s: %d bytes", k, len(v))
			}
			seq := binary.BigEndian.Uint64(v)
			if !bytes.Equal(v, value(seq)) {
				return fmt.Errorf("%s: the value of %d is damaged", k, seq)
			}
			have[string(k)] = seq
			return nil
		})
	})
	return have, err
}

func boltVerify(folder string) error {
	path := filepath.Join(folder, "store.db")
	if _, err := os.Stat(path); err != nil {
		return err // bbolt would make a new one
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	defer db.Close()
	have, err := contents(db)
	if err != nil {
		return err
	}
	for writer, seq := range have {
		fmt.Printf("have %s %d\n", writer, seq)
	}
	return db.View(func(tx *bbolt.Tx) error {
		var faults []error
		for err := range tx.Check() {
			faults = append(faults, err)
		}
		return errors.Join(faults...)
	})
}
