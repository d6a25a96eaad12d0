package tell_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/tell"
)

type heart struct{ answer error }

func (h *heart) Observe(context.Context, ...presence.Observation) error { return h.answer }

func TestARefusalIsLoggedAtEachTurnAndEndsNothing(t *testing.T) {
	h, log := &heart{}, &bytes.Buffer{}
	x := tell.New(h, slog.New(slog.NewTextHandler(log, nil)))
	o := presence.Observation{Source: "phone/web", Device: "SEP1", Seen: time.Now(), TTL: time.Minute}
	full := errors.Join(fmt.Errorf("device SEP1: %w", ledger.ErrFull), fmt.Errorf("device SEP2: %w", ledger.ErrFull))
	for _, step := range []struct {
		answer error
		device string
		lines  int // in the log, so far
	}{
		{nil, "SEP1", 0},
		{fmt.Errorf("%w: too large", ledger.ErrInvalid), "SEP1", 1},
		{fmt.Errorf("%w: too large", ledger.ErrInvalid), "SEP1", 1},
		{full, "SEP1", 1},
		{full, "SEP2", 2}, // each for itself
		{nil, "SEP1", 3},
		{nil, "SEP1", 3},
		{full, "SEP1", 4},
	} {
		h.answer = step.answer
		if err := x.Observe(t.Context(), slog.String("device", step.device), o); err != nil {
			t.Errorf("%v: %v", step.answer, err)
		}
		if n := strings.Count(log.String(), "\n"); n != step.lines {
			t.Errorf("%d lines, want %d:\n%s", n, step.lines, log)
		}
	}
	if !strings.Contains(log.String(), "device=SEP2 source=phone/web refused=2 err=\"device SEP1") {
		t.Error(log)
	}
}

func TestOnlyTheEndIsAnError(t *testing.T) {
	h := &heart{answer: ledger.ErrClosed}
	x := tell.New(h, slog.New(slog.DiscardHandler))
	o := presence.Observation{Source: "phone/web", Device: "SEP1"}
	if err := x.Observe(t.Context(), slog.String("device", "SEP1"), o); !errors.Is(err, ledger.ErrClosed) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.answer = ctx.Err()
	if err := x.Observe(ctx, slog.String("device", "SEP1"), o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := x.Observe(t.Context(), slog.String("device", "SEP1")); err != nil {
		t.Errorf("nothing to tell: %v", err)
	}
}
