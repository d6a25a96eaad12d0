package relay

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
)

// Uplinks is where uplinks report how they are, and where the board looks.
type Uplinks struct {
	mu      sync.Mutex
	by      map[string]Status
	version uint64
	changed chan struct{} // closed at the next change
}

// NewUplinks makes an empty hub.
func NewUplinks() *Uplinks {
	return &Uplinks{by: map[string]Status{}, changed: make(chan struct{})}
}

// Report takes the status of one uplink. It never waits.
func (u *Uplinks) Report(s Status) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by[s.Name] == s {
		return
	}
	u.by[s.Name] = s
	u.version++
	close(u.changed)
	u.changed = make(chan struct{})
}

// All is the status of each uplink, by name.
func (u *Uplinks) All() []Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.all()
}

func (u *Uplinks) all() []Status {
	return slices.SortedFunc(maps.Values(u.by), func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
}

// Follow tells of changes: next gives all uplinks at once at its first call, and
// then waits for a change. Changes that nobody asked for meanwhile are one. next
// is for one goroutine; after done it returns context.Canceled.
func (u *Uplinks) Follow() (next func(context.Context) ([]Status, error), done func()) {
	var seen uint64
	first := true
	over := make(chan struct{})
	next = func(ctx context.Context) ([]Status, error) {
		for {
			u.mu.Lock()
			version, all, changed := u.version, u.all(), u.changed
			u.mu.Unlock()
			if first || version != seen {
				first, seen = false, version
				return all, nil
			}
			select {
			case <-changed:
			case <-over:
				return nil, context.Canceled
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	return next, sync.OnceFunc(func() { close(over) })
}
