package ledger

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// An op is what the owner is asked to do. It is called once, on the owning
// goroutine; with an error, and from wherever, if the ledger has ended: then it
// does nothing but tell its caller.
type op func(now time.Time, ended error)

// inbox takes ops for the owner. Its length is bounded by the callers: each waits, or
// (Drawer.Write) is a driver that bounds what it has under way.
type inbox struct {
	ready chan struct{}

	mu     sync.Mutex
	list   []op
	closed bool
}

func newInbox() *inbox { return &inbox{ready: make(chan struct{}, 1)} }

// submit hands over an op, and never waits.
func (i *inbox) submit(o op) {
	i.mu.Lock()
	closed := i.closed
	if !closed {
		i.list = append(i.list, o)
	}
	first := len(i.list) == 1
	i.mu.Unlock()
	switch {
	case closed:
		o(time.Time{}, ErrClosed)
	case first:
		select {
		case i.ready <- struct{}{}:
		default:
		}
	}
}

// take gives all that was handed over; spare is reused.
func (i *inbox) take(spare []op) []op {
	i.mu.Lock()
	defer i.mu.Unlock()
	list := i.list
	clear(spare)
	i.list = spare[:0]
	return list
}

// close refuses what waits and what is still to come.
func (i *inbox) close() {
	i.mu.Lock()
	i.closed = true
	list := i.list
	i.list = nil
	i.mu.Unlock()
	for _, o := range list {
		o(time.Time{}, ErrClosed)
	}
}

// do runs f on the owning goroutine, and returns once it has run and what
// follows from it is composed. It gives up with ctx only before f began.
func (l *Ledger) do(ctx context.Context, f func(now time.Time)) error {
	var begun atomic.Bool
	done := make(chan error, 1)
	l.inbox.submit(func(now time.Time, ended error) {
		if !begun.CompareAndSwap(false, true) {
			return
		}
		if ended == nil {
			f(now)
			l.settle(now)
		}
		done <- ended
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		if begun.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		return <-done
	}
}

// durably runs f on the owning goroutine and returns when the disk has what f put,
// or could not take it, or f refused. When ctx is done before that, what f put stands.
func (l *Ledger) durably(ctx context.Context, f func(now time.Time) error) error {
	var begun atomic.Bool
	done := make(chan error, 1)
	tell := func(err error) { done <- err }
	l.inbox.submit(func(now time.Time, ended error) {
		if !begun.CompareAndSwap(false, true) {
			return
		}
		if ended != nil {
			tell(ended)
			return
		}
		err := f(now)
		l.settle(now)
		if err != nil {
			tell(err)
			return
		}
		l.durable(now, tell)
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		begun.Store(true)
		return ctx.Err()
	}
}
