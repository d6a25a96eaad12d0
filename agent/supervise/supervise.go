// Package supervise keeps drivers running and knows how each of them is.
//
// A driver that returns is started again after a pause that grows from one
// second to a minute; one that fails for good ([agent.Permanent]) is left down,
// and said so. A panic counts as a failure, never as the end of the agent.
package supervise

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"pilotlight/agent"
)

// A Task is one driver by name.
type Task struct {
	Name   string
	Driver agent.Driver
}

// Status is how one task is, for the panel.
type Status struct {
	Name     string
	Err      error // nil: running
	Since    time.Time
	Restarts int
	Down     bool // not to be started again
}

// Supervisor runs tasks and remembers how they are.
type Supervisor struct {
	log *slog.Logger
	mu  sync.Mutex
	by  map[string]Status
}

// New makes a supervisor that logs transitions.
func New(log *slog.Logger) *Supervisor { return &Supervisor{log: log, by: map[string]Status{}} }

// Run runs all tasks until ctx is done and every one of them has returned.
func (s *Supervisor) Run(ctx context.Context, tasks ...Task) error {
	var wg sync.WaitGroup
	for _, t := range tasks {
		wg.Go(func() { s.keep(ctx, t) })
	}
	wg.Wait()
	return ctx.Err()
}

func (s *Supervisor) keep(ctx context.Context, t Task) {
	pause := time.Second
	for n := 0; ; n++ {
		start := time.Now()
		s.note(Status{Name: t.Name, Since: start, Restarts: n})
		err := Guard(func() error { return t.Driver.Run(ctx) })
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("returned without being told to")
		}
		if p, ok := errors.AsType[*Panic](err); ok {
			s.log.Error("driver panicked", "driver", t.Name, "err", err, "stack", string(p.Stack))
		}
		down := agent.IsPermanent(err)
		s.note(Status{t.Name, err, time.Now(), n, down})
		if down {
			s.log.Error("driver is down for good", "driver", t.Name, "err", err)
			return
		}
		if time.Since(start) > time.Minute {
			pause = time.Second
		}
		s.log.Warn("driver failed, will be started again", "driver", t.Name, "err", err, "in", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			pause = min(2*pause, time.Minute)
		}
	}
}

// A Panic is the error that Guard makes of one. Its text is one line, since
// everybody who may see the panel sees it; the stack is for the log alone.
type Panic struct {
	Value any
	Stack []byte
}

func (p *Panic) Error() string {
	first, _, _ := strings.Cut(fmt.Sprint(p.Value), "\n")
	return fmt.Sprintf("panic: %.200s", first)
}

// Guard runs f and makes a [Panic] of a panic. Goroutines that a driver starts
// begin with it, so that none of them takes the agent down.
func Guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panic{v, debug.Stack()}
		}
	}()
	return f()
}

func (s *Supervisor) note(st Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by[st.Name] = st
}

// Status reports how the named task is.
func (s *Supervisor) Status(name string) Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.by[name]
}

// Statuses reports how all tasks are, by name.
func (s *Supervisor) Statuses() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, 0, len(s.by))
	for _, st := range s.by {
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
