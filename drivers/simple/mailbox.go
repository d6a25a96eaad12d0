package simple

import (
	"context"
	"errors"
	"sync"
)

// mailbox takes functions for the loop. To post never waits: what is posted is
// bounded by the requests under way at the endpoint.
type mailbox struct {
	ready chan struct{}
	mu    sync.Mutex
	list  []func()
}

func newMailbox() *mailbox { return &mailbox{ready: make(chan struct{}, 1)} }

func (m *mailbox) post(f func()) {
	m.mu.Lock()
	m.list = append(m.list, f)
	first := len(m.list) == 1
	m.mu.Unlock()
	if first {
		select {
		case m.ready <- struct{}{}:
		default:
		}
	}
}

// take gives all that was posted; spare is reused.
func (m *mailbox) take(spare []func()) []func() {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.list
	clear(spare)
	m.list = spare[:0]
	return list
}

var errStopped = errors.New("the presence server is stopping")

// do runs f in the loop and waits for it.
func (r *run) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	r.inbox.post(func() { f(); close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ctx.Done():
		return errStopped
	}
}

// guarded is a value that two goroutines share.
type guarded[T any] struct {
	mu sync.Mutex
	v  T
}

func (g *guarded[T]) get() T {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.v
}

func (g *guarded[T]) set(v T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.v = v
}
