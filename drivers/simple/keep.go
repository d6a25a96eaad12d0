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

// keeper writes subscriptions to the drawer, in the order in which they were
// given and as many in one commit as wait for it: all but the last of a batch are
// put softly, and the commit that the last one waits for takes them along.
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
		case <-ctx.Done():
			k.finish(ctx, nil)
			return ctx.Err()
		}
		jobs := k.take()
		err := k.write(ctx, jobs)
		if err != nil && ctx.Err() != nil {
			k.finish(ctx, jobs)
			return ctx.Err()
		}
		if err != nil {
			k.log.Warn("subscriptions are not on disk", "count", len(jobs), "err", err)
		}
		for _, j := range jobs {
			if j.done != nil {
				j.done(err)
			}
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

// finish writes what is left, since a subscription that ended is not to come back;
// the ledger outlives its drivers.
func (k *keeper) finish(ctx context.Context, begun []job) {
	if jobs := append(begun, k.take()...); len(jobs) > 0 {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishWithin)
		defer cancel()
		if err := k.write(ctx, jobs); err != nil {
			k.log.Warn("subscriptions are not on disk", "count", len(jobs), "err", err)
		}
	}
}

func (k *keeper) write(ctx context.Context, jobs []job) error {
	last := -1 // of those that are waited for
	for i, j := range jobs {
		if j.value != nil {
			last = i
		}
	}
	for i, j := range jobs {
		var err error
		switch {
		case j.value == nil:
			err = k.drawer.DeleteSoft(ctx, j.key)
		case i == last:
			err = k.drawer.Put(ctx, j.key, j.value)
		default:
			err = k.drawer.PutSoft(ctx, j.key, j.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
