package event

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"pilotlight/agent"
)

// Line is the state of a line, and how long the subscription vouches for it.
type Line struct {
	LineState
	Apart []LineState // by site, where the phones that share it differ
	For   time.Duration
}

// FollowLine subscribes to the dialog package of a line (RFC 4235) for ever. It
// calls tell with the line's state after each document, and lost with the reason
// when a subscription ended, or could not be made: from then on nobody vouches
// for what was told. It subscribes anew after the pause that the reason asks for
// (RFC 6665 §4.1.3). Both are called one at a time; it returns when ctx is done,
// or with an agent.Permanent error.
func (s *Subscriber) FollowLine(ctx context.Context, cfg Config, tell func(Line), lost func(error)) error {
	return s.follow(ctx, cfg, lost, func(sub *Subscription) error {
		reader := lineReader{refresh: sub.Refresh}
		return s.read(ctx, cfg, sub, func(n Notice) error {
			known, err := reader.read(n)
			if known {
				tell(Line{reader.table.Line(), reader.table.Apart(), n.Expires})
			}
			return err
		})
	})
}

// follow makes subscriptions, one after the other, for ever.
func (s *Subscriber) follow(ctx context.Context, cfg Config, lost func(error), read func(*Subscription) error) error {
	pause := firstPause
	for {
		began := time.Now()
		err := s.once(ctx, cfg, read)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if agent.IsPermanent(err) {
			return err
		}
		lost(err)
		lived := time.Since(began)
		if lived >= steady {
			pause = firstPause
		}
		wait := jitter(afterEnd(err, lived, pause))
		s.log.Debug("event: subscription ended", "presentity", cfg.URI, "err", err, "pause", wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		pause = min(2*pause, mostPause)
	}
}

// once makes one subscription and reads it until it ends or ctx is done; then it
// unsubscribes. The error is why it ended.
func (s *Subscriber) once(ctx context.Context, cfg Config, read func(*Subscription) error) error {
	sub, err := s.Subscribe(ctx, cfg)
	if err != nil {
		return err
	}
	// At the end ctx is done as a rule; the farewell has its own bound.
	defer func() { _ = sub.Close(context.WithoutCancel(ctx)) }()
	return read(sub)
}

// read hands each notice over. One that is not understood changes nothing.
func (s *Subscriber) read(ctx context.Context, cfg Config, sub *Subscription, take func(Notice) error) error {
	for {
		n, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if err := take(n); err != nil {
			s.log.Debug("event: document not understood", "presentity", cfg.URI, "err", err)
		}
	}
}

// lineReader makes the state of a line of the notices of one subscription.
type lineReader struct {
	refresh func()
	table   DialogTable
	begun   bool // the notifier has told something
}

// read takes the next notice, and reports whether the line's state is known by
// it. A document that cannot be read changes nothing; a gap has a full one asked
// for. An active subscription's empty NOTIFY is the neutral state, no dialogs: so
// says Kamailio of a line without calls so far.
func (r *lineReader) read(n Notice) (known bool, err error) {
	switch {
	case n.State == Active && len(n.Body) == 0:
		r.table = DialogTable{}
	case n.State == Ended || len(n.Body) == 0 || n.ContentType != DialogInfoType:
		return false, nil
	default:
		doc, err := DecodeDialogs(n.Body)
		if err != nil {
			return false, err
		}
		if r.table.Apply(doc) {
			r.refresh()
			if !r.begun { // partial: of the rest of the line nothing is known yet
				r.begun = true
				return false, nil
			}
		}
	}
	r.begun = true
	return true, nil
}

// The pauses before a new subscription.
const (
	firstPause = time.Second
	mostPause  = 5 * time.Minute  // it doubles until here
	longPause  = 30 * time.Minute // the notifier does not want us; but a line may be made, or a right given, later
	mostAsked  = 24 * time.Hour   // whatever it asks for
	steady     = time.Minute      // a subscription that lived so long was a success
)

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
		asked := min(t.RetryAfter, mostAsked)
		switch t.Reason {
		case "deactivated", "timeout":
			return atOnce
		case "rejected", "noresource", "invariant":
			return max(asked, longPause)
		}
		return max(asked, pause)
	case errors.As(err, &r):
		asked := min(r.RetryAfter, mostAsked)
		switch r.Status {
		case 481:
			return max(asked, atOnce)
		case 403, 489, 501, 603, 604:
			return max(asked, longPause)
		}
		return max(asked, pause)
	}
	return pause
}

// jitter spreads d upward by up to a fifth: never earlier than was asked.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d/5)+1))
}
