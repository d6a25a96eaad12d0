package ledger

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"pilotlight/agent/ledger/internal/store"
)

// disk is the store as the ledger needs it.
type disk interface {
	ID() string
	Epoch() uint64
	Load(func(store.Kind, string, []byte) error) error
	Commit([]store.Mutation) error
	Date(time.Time)
	Newest() time.Time
	Snapshot() (*os.File, error)
	Stats() store.Stats
	Close() error
}

const (
	gather     = 5 * time.Millisecond   // between two commits that answers wait for: the promise is 10 ms
	company    = 500 * time.Microsecond // how long the first answer after a pause waits for others
	touchEvery = time.Minute            // how long a repeat waits for a commit to ride with
	retryMin   = time.Second            // after a disk error, doubled up to retryMax
	retryMax   = 30 * time.Second
)

type place struct {
	kind store.Kind
	key  string
}

// A batch is what one commit writes. Nobody changes it once it is handed over.
type batch struct {
	records map[place]record // nil: deleted
	waiters []func(error)    // called by the file goroutine: they must not block
	copies  []chan snapshot
	wall    time.Time // zero: the clock is not trusted
}

type snapshot struct {
	file *os.File
	err  error
}

type outcome struct {
	of  *batch
	err error
}

// keeper is the owner's side of the disk, and with file the other side.
// The owner puts records into the next batch, the latest of each place, and
// hands it over when it is due and none is in flight.
type keeper struct {
	disk     disk
	dial     time.Duration
	early    bool // Drill.AnswerEarly
	flushLog *slog.Logger

	next     batch
	inFlight *batch
	due      time.Time // when next must go; zero: it is empty
	began    time.Time // when the last one went
	failures int
	failing  time.Time // no soft commit before that

	jobs chan *batch
	done chan outcome

	mu     sync.Mutex
	report Stats
}

func newKeeper(d disk, cfg Config) *keeper {
	k := &keeper{disk: d, dial: cfg.Commit, early: cfg.Drill.AnswerEarly, flushLog: cfg.Log, jobs: make(chan *batch, 1), done: make(chan outcome, 1)}
	k.renew()
	k.tell(nil)
	return k
}

func (k *keeper) renew() {
	k.next = batch{records: map[place]record{}}
	k.due = time.Time{}
}

// put writes r by the dial; nil deletes.
func (k *keeper) put(now time.Time, kind store.Kind, key string, r record) {
	k.next.records[place{kind, key}] = r
	k.within(now, k.dial)
}

// ride writes r with the next commit, and asks for one only after a while.
func (k *keeper) ride(now time.Time, kind store.Kind, key string, r record) {
	k.next.records[place{kind, key}] = r
	k.within(now, max(touchEvery, k.dial))
}

// durable makes the next batch due at once; tell is called with its fate.
func (k *keeper) durable(now time.Time, tell func(error)) {
	if k.early {
		tell(nil)
	} else {
		k.next.waiters = append(k.next.waiters, tell)
	}
	k.within(now, max(company, gather-now.Sub(k.began)))
}

func (k *keeper) within(now time.Time, d time.Duration) {
	if at := now.Add(d); k.due.IsZero() || at.Before(k.due) {
		k.due = at
	}
}

// flushAt is when the owner must call flush, or zero.
func (k *keeper) flushAt() time.Time {
	if k.inFlight != nil || k.due.IsZero() {
		return time.Time{}
	}
	if k.urgent() || k.due.After(k.failing) {
		return k.due
	}
	return k.failing
}

func (k *keeper) urgent() bool { return len(k.next.waiters)+len(k.next.copies) > 0 }

// flush hands the next batch to the file goroutine. None may be in flight.
func (k *keeper) flush(wall time.Time) {
	b := k.next
	b.wall = wall
	k.inFlight, k.began = &b, time.Now()
	k.renew()
	k.jobs <- &b // never waits: one in flight, and room for one
}

// committed takes the outcome of the batch in flight. What could not be
// written goes back, under what has changed since.
func (k *keeper) committed(o outcome) {
	k.inFlight = nil
	if o.err == nil {
		if k.failures > 0 {
			k.flushLog.Info("store writes again", "failures", k.failures)
		}
		k.failures, k.failing = 0, time.Time{}
		return
	}
	if k.failures == 0 {
		k.flushLog.Error("store does not write: state goes on in memory", "err", o.err)
	}
	pause := min(retryMin<<min(k.failures, 10), retryMax)
	k.failures++
	now := time.Now()
	k.failing = now.Add(pause)
	newer := k.next
	k.next.records = o.of.records
	maps.Copy(k.next.records, newer.records)
	k.within(now, pause)
}

// finish writes what is left and lets the file goroutine end.
func (k *keeper) finish(wall time.Time) error {
	if k.inFlight != nil {
		k.committed(<-k.done)
	}
	defer close(k.jobs)
	if len(k.next.records) == 0 && !k.urgent() {
		return nil
	}
	k.flush(wall)
	return (<-k.done).err
}

// file is the goroutine that owns the disk.
func (k *keeper) file() error {
	for b := range k.jobs {
		k.disk.Date(b.wall)
		err := k.disk.Commit(b.mutations())
		for _, tell := range b.waiters {
			tell(err)
		}
		for _, c := range b.copies {
			var s snapshot
			if s.err = err; err == nil {
				s.file, s.err = k.disk.Snapshot()
			}
			c <- s
		}
		k.tell(err)
		k.done <- outcome{b, err}
	}
	err := k.disk.Close()
	k.tell(err)
	return err
}

func (b *batch) mutations() []store.Mutation {
	all := make([]store.Mutation, 0, len(b.records))
	for at, r := range b.records {
		m := store.Mutation{Kind: at.kind, Key: at.key}
		if r != nil {
			m.Value = encode(r)
		}
		all = append(all, m)
	}
	// Neighbours have names in common: sorted, the log deflates better.
	slices.SortFunc(all, func(a, b store.Mutation) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
	return all
}

// Backup writes a consistent copy of the store, with all that was told before.
// A slow reader holds nobody up: it is sent from a temporary file.
func (l *Ledger) Backup(ctx context.Context, w io.Writer) error {
	copied := make(chan snapshot, 1)
	err := l.do(ctx, func(now time.Time) {
		l.next.copies = append(l.next.copies, copied)
		l.within(now, gather)
	})
	if err != nil {
		return err
	}
	var s snapshot
	select {
	case s = <-copied:
	case <-ctx.Done():
		go func() { // the copy comes all the same, and is closed
			if s := <-copied; s.file != nil {
				_ = s.file.Close()
			}
		}()
		return ctx.Err()
	}
	if s.err != nil {
		return s.err
	}
	defer func() { _ = s.file.Close() }()
	if _, err := io.Copy(w, s.file); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}
