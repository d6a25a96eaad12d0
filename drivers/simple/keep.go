package simple

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"pilotlight/agent/ledger"
)

// keyPrefix is before the local tag in the drawer's keys.
const keyPrefix = "sub/"

// keeper hands subscriptions to the drawer, in the order in which they were
// given. It waits for no commit: the ledger gathers what comes before the next.
type keeper struct {
	drawer ledger.Drawer
	log    *slog.Logger
	ready  chan struct{}

	mu   sync.Mutex
	jobs []job
}

// job is one record to write; a nil value deletes.
type job struct {
	key   string
	value []byte
	done  func(error) // may be nil; must not block
}

func newKeeper(d ledger.Drawer, log *slog.Logger) *keeper {
	return &keeper{drawer: d, log: log, ready: make(chan struct{}, 1)}
}

// put writes a record; done is called when it is on disk.
func (k *keeper) put(tag string, value []byte, done func(error)) {
	k.add(job{keyPrefix + tag, value, done})
}

// drop forgets a record. Nobody waits for that: one that comes back is ended again.
func (k *keeper) drop(tag string) { k.add(job{key: keyPrefix + tag}) }

func (k *keeper) add(j job) {
	k.mu.Lock()
	k.jobs = append(k.jobs, j)
	k.mu.Unlock()
	select {
	case k.ready <- struct{}{}:
	default:
	}
}

func (k *keeper) run(ctx context.Context) error {
	for {
		select {
		case <-k.ready:
			k.write(k.take())
		case <-ctx.Done():
			k.finish()
			return ctx.Err()
		}
	}
}

func (k *keeper) take() []job {
	k.mu.Lock()
	defer k.mu.Unlock()
	jobs := k.jobs
	k.jobs = nil
	return jobs
}

// finishWithin bounds the last write.
const finishWithin = time.Second

// finish writes what is left and waits for all that went before, since a
// subscription that ended is not to come back; the ledger outlives its drivers.
func (k *keeper) finish() {
	written := make(chan struct{})
	k.write(k.take())
	k.drawer.Write(nil, func(error) { close(written) })
	select {
	case <-written:
	case <-time.After(finishWithin):
		k.log.Warn("subscriptions may not be on disk: it is slow")
	}
}

func (k *keeper) write(jobs []job) {
	entries, put := make([]ledger.Entry, len(jobs)), false
	for i, j := range jobs {
		entries[i] = ledger.Entry{Key: j.key, Value: j.value}
		put = put || j.value != nil
	}
	if !put {
		k.drawer.Write(entries, nil)
		return
	}
	k.drawer.Write(entries, func(err error) {
		if err != nil {
			k.log.Warn("subscriptions are not on disk", "count", len(jobs), "err", err)
		}
		for _, j := range jobs {
			if j.done != nil {
				j.done(err)
			}
		}
	})
}
