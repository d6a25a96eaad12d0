package supervise_test

import (
	"context"
	"errors"
	"log/slog"
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
