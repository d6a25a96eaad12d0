package event

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"pilotlight/agent"
)

// Watch makes one subscription and hands its notices to tell, one at a time,
// until it ends or ctx is done; then it unsubscribes. The error is why it ended.
func (s *Subscriber) Watch(ctx context.Context, cfg Config, tell func(Notice)) error {
	return s.watch(ctx, cfg, func(n Notice, _ *Subscription) { tell(n) })
}

func (s *Subscriber) watch(ctx context.Context, cfg Config, tell func(Notice, *Subscription)) error {
	sub, err := s.Subscribe(ctx, cfg)
	if err != nil {
		return err
	}
	// At the end ctx is done as a rule; the farewell has its own bound.
	defer func() { _ = sub.Close(context.WithoutCancel(ctx)) }()
	for {
		n, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		tell(n, sub)
	}
}

// Line is the state of a line, and how long the subscription vouches for it.
type Line struct {
	LineState
	For time.Duration
}

// WatchLine is Watch for the dialog package: it tells the line's state after
// each document. One that cannot be read is logged and nothing is told; a gap
// has a full one asked for. An active subscription's empty NOTIFY is the
// neutral state, no dialogs: so says Kamailio of a line without calls so far.
func (s *Subscriber) WatchLine(ctx context.Context, cfg Config, tell func(Line)) error {
	var table DialogTable
	begun := false
	return s.watch(ctx, cfg, func(n Notice, sub *Subscription) {
		switch {
		case n.State == Active && len(n.Body) == 0:
			table = DialogTable{}
		case n.State == Ended || len(n.Body) == 0 || n.ContentType != DialogInfoType:
			return
		default:
			doc, err := DecodeDialogs(n.Body)
			if err != nil {
				s.log.Debug("event: document not understood", "presentity", cfg.URI, "err", err)
				return
			}
			refresh := table.Apply(doc)
			if refresh {
				sub.Refresh()
			}
			if refresh && !begun { // partial: of the rest of the line nothing is known yet
				begun = true
				return
			}
		}
		begun = true
		tell(Line{table.Line(), n.Expires})
	})
}

// The pauses of Keep.
const (
	firstPause = time.Second
	mostPause  = 5 * time.Minute
	longPause  = 30 * time.Minute // the notifier does not want us
	steady     = time.Minute      // a subscription that lived so long was a success
)

// Keep subscribes for ever. A subscription that ended is made anew after the
// pause that the reason asks for; trouble, if not nil, is told of each end. It
// returns when ctx is done or on an agent.Permanent error.
func (s *Subscriber) Keep(ctx context.Context, cfg Config, tell func(Notice), trouble func(error)) error {
	pause := firstPause
	for {
		began := time.Now()
		err := s.Watch(ctx, cfg, tell)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if agent.IsPermanent(err) {
			return err
		}
		if trouble != nil {
			trouble(err)
		}
		if time.Since(began) >= steady {
			pause = firstPause
		}
		timer := time.NewTimer(jitter(afterEnd(err, time.Since(began), pause)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		pause = min(2*pause, mostPause)
	}
}

// afterEnd is how long to wait (RFC 6665 §4.1.3, EV-08). What may be made anew
// at once is so only when it had lived for a while, lest two machines that
// misunderstand each other run hot.
func afterEnd(err error, lived, pause time.Duration) time.Duration {
	var t *Termination
	var r *Refusal
	atOnce := pause
	if lived >= steady {
		atOnce = 0
	}
	switch {
	case errors.As(err, &t):
		switch t.Reason {
		case "deactivated", "timeout":
			return atOnce
		case "rejected", "noresource", "invariant":
			return max(t.RetryAfter, longPause)
		}
		return max(t.RetryAfter, pause)
	case errors.As(err, &r):
		switch r.Status {
		case 481:
			return max(r.RetryAfter, atOnce)
		case 403, 489, 501, 603, 604:
			return max(r.RetryAfter, longPause)
		}
		return max(r.RetryAfter, pause)
	}
	return pause
}

// jitter spreads d upward by up to a fifth: never earlier than was asked.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d/5)+1))
}
