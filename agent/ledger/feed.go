package ledger

import (
	"context"
	"sync"

	"pilotlight/agent/presence"
)

// A Feed is one follower's mailbox: at most one value for each key, so that a
// slow follower costs itself freshness and nobody anything else.
type Feed[T any] struct {
	key   func(T) string
	sel   func(T) bool
	ready chan struct{}

	mu     sync.Mutex
	over   bool         // closed by the follower: what waits is gone
	ended  bool         // ended by the ledger: what waits is still told
	latest map[string]T // what waits
	queue  []string     // its keys, in the order in which they began to wait
	head   int          // where the queue begins
}

func newFeed[T any](key func(T) string, sel func(T) bool) *Feed[T] {
	return &Feed[T]{key: key, sel: sel, ready: make(chan struct{}, 1), latest: map[string]T{}}
}

// offer never waits. It reports false once the follower has closed the feed.
func (f *Feed[T]) offer(v T) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return false
	}
	if f.sel != nil && !f.sel(v) {
		return true
	}
	key := f.key(v)
	if _, waits := f.latest[key]; !waits {
		f.queue = append(f.queue, key)
	}
	f.latest[key] = v
	f.wake()
	return true
}

func (f *Feed[T]) wake() {
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

// Next waits for the next change; what has waited longest comes first. It is
// for one goroutine at a time, and answers ErrClosed when the feed is over. Whoever
// takes changes by TryNext beside it may hold a newer one than Next returns.
func (f *Feed[T]) Next(ctx context.Context) (T, error) {
	for {
		v, ok, over := f.take()
		switch {
		case ok:
			return v, nil
		case over:
			return v, ErrClosed
		}
		select {
		case <-f.ready:
		case <-ctx.Done():
			return v, ctx.Err()
		}
	}
}

// TryNext is Next without the wait.
func (f *Feed[T]) TryNext() (T, bool) {
	v, ok, _ := f.take()
	return v, ok
}

func (f *Feed[T]) take() (v T, ok, over bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head == len(f.queue) {
		if f.over || f.ended {
			f.wake() // for the next call
		}
		return v, false, f.over || f.ended
	}
	key := f.queue[f.head]
	v = f.latest[key]
	delete(f.latest, key)
	if f.head++; f.head == len(f.queue) || f.head > 1024 {
		f.queue = append(f.queue[:0], f.queue[f.head:]...)
		f.head = 0
	}
	return v, true, false
}

// Waiting is how many values wait.
func (f *Feed[T]) Waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.latest)
}

// Close ends the feed. It never waits, so that a driver can close up after the
// ledger has gone; the ledger forgets the feed at its next offer.
func (f *Feed[T]) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over, f.latest, f.queue, f.head = true, nil, nil, 0
	f.wake()
}

func (f *Feed[T]) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	f.wake()
}

func (l *Ledger) endFeeds() {
	for f := range l.feeds {
		f.end()
	}
	for f := range l.deviceFeeds {
		f.end()
	}
}

// offerAll offers v to all feeds and forgets those that are closed.
func offerAll[T any](feeds map[*Feed[T]]struct{}, v T) {
	for f := range feeds {
		if !f.offer(v) {
			delete(feeds, f)
		}
	}
}

func documentKey(d presence.Document) string { return string(d.Of) }
func deviceKey(d presence.Device) string     { return d.Name }
