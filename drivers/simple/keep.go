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
	jobs []ledger.Entry
}

func newKeeper(d ledger.Drawer, log *slog.Logger) *keeper {
	return &keeper{drawer: d, log: log, ready: make(chan struct{}, 1)}
}

// put writes a record; done is called when it is on disk.
func (k *keeper) put(tag string, value []byte, done func(error)) {
	k.add(ledger.Entry{Key: keyPrefix + tag, Value: value, Done: done})
}

// drop forgets a record. Nobody waits for that: one that comes back is ended again.
func (k *keeper) drop(tag string) { k.add(ledger.Entry{Key: keyPrefix + tag}) }

func (k *keeper) add(j ledger.Entry) {
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
			k.drawer.Write(k.take()...)
		case <-ctx.Done():
			k.finish()
			return ctx.Err()
		}
	}
}

func (k *keeper) take() []ledger.Entry {
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
	ctx, stop := context.WithTimeout(context.Background(), finishWithin)
	defer stop()
	k.drawer.Write(k.take()...)
	if err := k.drawer.Delete(ctx, keyPrefix+"none"); err != nil { // the last in line
		k.log.Warn("subscriptions may not be on disk", "err", err)
	}
}
