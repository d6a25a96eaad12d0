// Package tell hands what a driver saw to the heart, and keeps a refusal from
// being more than it is.
//
// The heart may refuse an observation (ledger.ErrInvalid, ledger.ErrFull): a
// device said more than fits, or there are more devices than are held. That is
// one device's trouble. It is logged once, and once more when the heart takes
// its observations again; the driver goes on with all others. Only the end of
// the driver or of the ledger is an error.
package tell

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
)

// Observer is the heart, as far as it is told.
type Observer interface {
	Observe(context.Context, ...presence.Observation) error
}

// Teller tells the heart. It is safe for concurrent use.
type Teller struct {
	heart Observer
	log   *slog.Logger

	mu      sync.Mutex
	refused map[place]bool // only what is refused now: no more than there are subjects
}

type place struct{ source, about string }

// New makes a Teller.
func New(heart Observer, log *slog.Logger) *Teller {
	return &Teller{heart: heart, log: log, refused: map[place]bool{}}
}

// Observe hands all over. They are of one source, and about says whom the log
// is to name.
func (t *Teller) Observe(ctx context.Context, about slog.Attr, all ...presence.Observation) error {
	if len(all) == 0 {
		return nil
	}
	err := t.heart.Observe(ctx, all...)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ledger.ErrClosed):
		return err
	}
	was := t.turn(place{all[0].Source, about.String()}, err != nil)
	switch {
	case err != nil && !was:
		n, first := split(err)
		t.log.Warn("refused by the heart: not shown", about, "source", all[0].Source, "refused", n, "err", first)
	case err == nil && was:
		t.log.Info("taken by the heart again", about, "source", all[0].Source)
	}
	return nil
}

// turn remembers whether a place is refused, and returns whether it was before.
func (t *Teller) turn(p place, refused bool) (was bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was = t.refused[p]
	if refused {
		t.refused[p] = true
	} else {
		delete(t.refused, p)
	}
	return was
}

// split tells how many errors are joined, and the first of them: a thousand
// phones that are one too many must not be a thousand lines.
func split(err error) (n int, first error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		if all := joined.Unwrap(); len(all) > 0 {
			return len(all), all[0]
		}
	}
	return 1, err
}
