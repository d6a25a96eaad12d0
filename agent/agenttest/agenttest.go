// Package agenttest is the contract that every driver keeps, as one test
// suite, and a recording heart for drivers' own tests.
package agenttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pilotlight/agent"
	"pilotlight/agent/presence"
)

// Recorder is a heart that only listens.
type Recorder struct {
	mu  sync.Mutex
	got []presence.Observation
	new chan struct{}
}

// maxText is the ledger's limit for one text of an observation.
const maxText = 1024

// ErrRefused is the recorder's answer to what the ledger would not take.
var ErrRefused = errors.New("the heart does not take it")

// Observe records obs; what the ledger would refuse, it refuses.
func (r *Recorder) Observe(_ context.Context, obs ...presence.Observation) error {
	for _, o := range obs {
		if fault := faultOf(o); fault != "" {
			return fmt.Errorf("%w: %s", ErrRefused, fault)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, obs...)
	if r.new != nil {
		close(r.new)
		r.new = nil
	}
	return nil
}

// All is what was recorded so far.
func (r *Recorder) All() []presence.Observation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]presence.Observation(nil), r.got...)
}

// Wait waits until some recorded observation satisfies is, and returns it.
func (r *Recorder) Wait(t testing.TB, within time.Duration, is func(presence.Observation) bool) presence.Observation {
	t.Helper()
	late := time.After(within)
	for next := 0; ; {
		r.mu.Lock()
		for ; next < len(r.got); next++ {
			if is(r.got[next]) {
				defer r.mu.Unlock()
				return r.got[next]
			}
		}
		if r.new == nil {
			r.new = make(chan struct{})
		}
		more := r.new
		r.mu.Unlock()
		select {
		case <-more:
		case <-late:
			t.Fatalf("nothing like it among %d observations in %v", next, within)
		}
	}
}

// Suite runs the contract. make builds a fresh driver over r, at rest; what it
// talks to may be dead, slow or babbling.
func Suite(t *testing.T, make func(t *testing.T, r *Recorder) agent.Driver) {
	t.Run("NewStartsNothing", func(t *testing.T) {
		before := goleak.IgnoreCurrent()
		make(t, &Recorder{})
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
	})
	t.Run("StopsWhenToldAndRunsAgain", func(t *testing.T) {
		r := &Recorder{}
		d := make(t, r)
		before := goleak.IgnoreCurrent()
		for range 2 {
			stopped(t, d)
		}
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
		for _, o := range r.All() {
			CheckObservation(t, o)
		}
	})
}

// stopped runs d for a moment, ends it, and holds it to that.
func stopped(t *testing.T, d agent.Driver) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	select {
	case err := <-done:
		t.Errorf("Run returned on its own: %v", err)
		return
	case <-time.After(200 * time.Millisecond):
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want context.Canceled", err)
		}
	case <-time.After(2 * time.Second):
		t.Error("Run did not return within 2 s of cancel")
	}
}

// CheckObservation holds an observation to what each must have: somebody who
// saw it, somebody it is about, when, and for how long.
func CheckObservation(t testing.TB, o presence.Observation) {
	t.Helper()
	if fault := faultOf(o); fault != "" {
		t.Errorf("%s: %+v", fault, o)
	}
	if o.Seen == o.Seen.Round(0) { // a wall clock that is set would make it older, or newer, than it is
		t.Errorf("dated, and without a monotonic reading: %+v", o)
	}
}

func faultOf(o presence.Observation) string {
	switch {
	case o.Source == "" || o.Seen.IsZero():
		return "seen by nobody, or never"
	case o.TTL < 0:
		return "a life that is negative"
	case (o.Device == "") == (o.Of == ""):
		return "about nobody, or about two"
	}
	if id := o.Identity; id != nil {
		for _, s := range append([]string{id.Model, id.Serial, id.Firmware, id.MAC, id.Description}, id.Lines...) {
			if len(s) > maxText {
				return fmt.Sprintf("a text of %d bytes", len(s))
			}
		}
	}
	return ""
}
