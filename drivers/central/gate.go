package central

import (
	"context"
	"sync"
	"time"
)

// gate holds the whole lane back: shut on an island, and for a time after a
// return or when the far side asks for patience.
type gate struct {
	mu      sync.Mutex
	shut    bool
	until   time.Time
	changed chan struct{}
}

func newGate() *gate { return &gate{shut: true, changed: make(chan struct{})} }

func (g *gate) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	close(g.changed)
	g.changed = make(chan struct{})
}

// close shuts the gate until open.
func (g *gate) close() { g.change(func() { g.shut = true }) }

// open opens the gate, in d.
func (g *gate) open(d time.Duration) {
	g.change(func() {
		g.shut = false
		g.delay(d)
	})
}

// hold keeps it from being open before d has passed.
func (g *gate) hold(d time.Duration) { g.change(func() { g.delay(d) }) }

func (g *gate) delay(d time.Duration) {
	if t := time.Now().Add(d); t.After(g.until) {
		g.until = t
	}
}

func (g *gate) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.shut && time.Until(g.until) <= 0
}

// wait waits until the gate is open.
func (g *gate) wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		shut, left, changed := g.shut, time.Until(g.until), g.changed
		g.mu.Unlock()
		if !shut && left <= 0 {
			return ctx.Err()
		}
		if shut {
			left = time.Hour // it takes a change
		}
		if err := sleep(ctx, left, changed); err != nil {
			return err
		}
	}
}

// sleep waits for d, or until wake, or until ctx is done, which is an error.
func sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-wake:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
