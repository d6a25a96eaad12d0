package supervise_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pilotlight/agent"
	"pilotlight/agent/supervise"
)

type driver func(context.Context) error

func (d driver) Run(ctx context.Context) error { return d(ctx) }

func TestADriverIsKeptRunning(t *testing.T) {
	for _, tc := range []struct {
		name string
		run  driver
		want int // restarts in five minutes
		down bool
	}{
		{"well", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 0, false},
		{"refused password", func(context.Context) error { return agent.Permanent(errors.New("49")) }, 0, true},
		{"unreachable", func(context.Context) error { return errors.New("refused") }, 9, false}, // 1 2 4 8 16 32 60 60 60 s
		{"panics", func(context.Context) error { panic("oh") }, 9, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithTimeout(t.Context(), 5*time.Minute)
				defer stop()
				s := supervise.New(slog.New(slog.DiscardHandler))
				s.Run(ctx, supervise.Task{Name: "d", Driver: tc.run})
				if st := s.Status("d"); st.Restarts != tc.want || st.Down != tc.down {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// Everybody who may see the panel sees the error; the stack is for the log.
func TestTheStackOfAPanicIsLoggedOnceAndShownToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer stop()
		s := supervise.New(slog.New(slog.NewTextHandler(&log, nil)))
		s.Run(ctx, supervise.Task{Name: "d", Driver: driver(func(context.Context) error {
			err := supervise.Guard(func() error { panic("index out of range\nof what a wire said") })
			return fmt.Errorf("a goroutine of d: %w", err)
		})})
		if st := s.Status("d"); st.Err == nil || st.Err.Error() != "a goroutine of d: panic: index out of range" {
			t.Errorf("shown: %v", st.Err)
		}
		if n := strings.Count(log.String(), "stack="); n != 1 || !strings.Contains(log.String(), "supervise_test.go") {
			t.Errorf("the stack is in the log %d times:\n%s", n, log.String())
		}
	})
}
