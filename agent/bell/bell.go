// Package bell wakes those who wait for something to change.
package bell

import (
	"context"
	"sync"
)

// Bell is rung at each change of something. Who hears it looks at the thing
// itself: rings that nobody waited for meanwhile are one. The zero value is ready.
type Bell struct {
	mu   sync.Mutex
	rung uint64
	next chan struct{} // closed at the next ring; nil while nobody waits
}

// Ring wakes all who wait. It never waits itself.
func (b *Bell) Ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rung++
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// Wait waits for a ring after the one with that number, and gives the number of
// the last. Who begins with 0, and goes on with what it was given, misses none.
func (b *Bell) Wait(ctx context.Context, since uint64) (uint64, error) {
	for {
		rung, next := b.after(since)
		if next == nil {
			return rung, nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return rung, ctx.Err()
		}
	}
}

// after gives the number of the last ring, and what to wait for where that is not
// after since.
func (b *Bell) after(since uint64) (uint64, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung > since {
		return b.rung, nil
	}
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.rung, b.next
}
