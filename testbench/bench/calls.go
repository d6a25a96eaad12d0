package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// calls lets phones of a branch call each other. A call changes the state of a
// phone five times: the caller is in use and the callee rings; she answers;
// both hang up. Calls begin at random, as they do (Poisson), from a fixed seed.
type calls struct {
	branch  *pair
	changes float64       // a second, on average
	rings   time.Duration // until it is answered
	lasts   time.Duration // from then on
	expect  func(phone, state string)
	finish  bool // calls that are up in the end go on to theirs: not all hang up at once
}

const changesPerCall = 5

// made is what was done, for the figures.
type made struct {
	changes atomic.Int64
	refused atomic.Int64 // commands that the branch would not obey
}

// begin lets calls come and go until the returned function is called. That
// returns once the last call is over, and tells what was done.
func (c calls) begin(ctx context.Context) (end func() (*made, error)) {
	ctx, stop := context.WithCancel(ctx)
	var m made
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		failed = c.run(ctx, &m)
	}()
	return func() (*made, error) {
		stop()
		<-done
		if failed == nil && m.refused.Load() > 0 {
			failed = fmt.Errorf("the branch refused %d commands", m.refused.Load())
		}
		return &m, failed
	}
}

func (c calls) run(ctx context.Context, m *made) error {
	free := make(chan string, len(c.branch.phones)) // who was used last comes last
	for _, p := range c.branch.phones {
		free <- p.Name
	}
	draw := rand.New(rand.NewPCG(1, uint64(len(c.branch.phones))))
	life := ctx
	if c.finish {
		life = context.WithoutCancel(ctx) // for seconds
	}
	mean := float64(time.Second) * changesPerCall / c.changes
	var up sync.WaitGroup
	defer up.Wait()
	for next := time.Now(); ; {
		next = next.Add(time.Duration(draw.ExpFloat64() * mean))
		if sleep(ctx, time.Until(next)) != nil {
			return nil
		}
		if len(free) < 2 {
			return errors.New("all phones are busy: too many changes for this branch")
		}
		from, to := <-free, <-free
		up.Go(func() {
			c.call(life, m, from, to)
			free <- from
			free <- to
		})
	}
}

// call is the life of one call. The end of ctx ends it early.
func (c calls) call(ctx context.Context, m *made, from, to string) {
	c.do(m, []string{"call", from, to}, from, "in-use", to, "ringing")
	if sleep(ctx, c.rings) == nil {
		c.do(m, []string{"answer", to}, to, "in-use")
		_ = sleep(ctx, c.lasts)
	}
	c.do(m, []string{"hangup", from}, from, "idle", to, "idle")
}

// do gives the branch a command that makes phones be in states.
func (c calls) do(m *made, command []string, becomes ...string) {
	announce := func() {
		for i := 0; c.expect != nil && i < len(becomes); i += 2 {
			c.expect(becomes[i], becomes[i+1])
		}
	}
	if _, err := c.branch.commandAfter(announce, command...); err != nil {
		m.refused.Add(1)
		return
	}
	m.changes.Add(int64(len(becomes) / 2))
}
