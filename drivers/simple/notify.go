package simple

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"syscall"
	"time"

	"pilotlight/agent/access"
	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/sip"
)

// want asks for a NOTIFY, at once if the dialog is free.
func (r *run) want(s *subscription, d due) {
	s.due = max(s.due, d)
	r.kick(s)
}

// kick sends what is due, if it may go now: one NOTIFY of a dialog at a time,
// so that the newest state is told after the last was answered (EV-16), and
// changes no closer than the interval (EV-17).
func (r *run) kick(s *subscription) {
	if s.busy || s.due == nothing || s.ended || s.way == wayShut && s.due < asked {
		return
	}
	if s.Paused && s.due < asked {
		s.due = nothing
		return
	}
	now := time.Now()
	if s.due == last {
		n, _ := r.compose(s, now)
		r.forget(s, s.event)
		r.notify(s, "terminated;reason="+s.closing, n)
		return
	}
	if next := s.toldAt.Add(r.c.Interval[s.Package]); s.due == change && s.heldUntil.Before(next) {
		s.heldUntil = next
	}
	if now.Before(s.heldUntil) {
		r.wake(s)
		return
	}
	if !r.reserve(s) {
		return
	}
	n, ok := r.compose(s, now)
	if !ok {
		s.due = nothing // nobody could tell the difference (COMP-08)
		return
	}
	if s.due == change {
		s.toldAt = now
		r.count.with(func(st *Stats) { st.Lag.add(now.Sub(s.in.seen)) })
	}
	s.due = nothing
	if n.more {
		s.due = rest
	}
	r.notify(s, s.state(now), n)
}

// reserve sees to it that the next CSeq was never used, not even in a life that a
// crash ended. It reports false while that has to be written first. One number is
// left in any case, for the NOTIFY that ends the subscription.
func (r *run) reserve(s *subscription) bool {
	if s.granted-s.cseq > reserveBy/4 {
		return true
	}
	if !s.reserving {
		// The record has the new reserve from now on: whatever is written of it in
		// the meantime, a refresh, must not take it back.
		s.reserving, s.Reserve = true, s.granted+reserveBy
		reserve := s.Reserve
		r.keep.put(s.LocalTag, s.encode(), func(err error) {
			r.inbox.post(func() {
				s.reserving = false
				if err == nil {
					s.granted = reserve
				} else {
					s.heldUntil = time.Now().Add(keepAgain) // the disk is asked again, and not in a circle
				}
				r.kick(s)
			})
		})
	}
	return s.granted-s.cseq > 1
}

// keepAgain is the pause after a write that failed.
const keepAgain = time.Second

// state is the Subscription-State of a subscription that goes on.
func (s *subscription) state(now time.Time) string {
	word := "active"
	if s.how == access.Confirm {
		word = "pending"
	}
	return word + ";expires=" + strconv.FormatInt(int64(s.left(now)/time.Second), 10)
}

// notify sends one NOTIFY.
func (r *run) notify(s *subscription, state string, n notice) {
	s.busy, s.sent = true, n.etag
	s.cseq++
	cseq := s.cseq
	s.awaited = cseq
	_, s.flown = r.on[s.flow()]
	req := sip.InDialog{Method: "NOTIFY", CSeq: s.cseq, Event: event.Header{Package: s.Package, ID: s.EventID}.String(),
		SubscriptionState: state, ContentType: n.kind, Body: n.octets}
	if s.List {
		req.Header.Add("Require", eventlist) // RLS-02
	}
	if n.etag != "" {
		req.Header.Add("SIP-ETag", n.etag) // CN-01
	}
	r.n.Endpoint.Send(s.dialog, req, func(a sip.Answer) {
		r.inbox.post(func() { r.answered(s, cseq, a) })
	})
}

// answered takes what became of a NOTIFY (RFC 6665 §4.2.2, EV-11).
func (r *run) answered(s *subscription, cseq uint32, a sip.Answer) {
	what := s.verdict(a)
	r.count.answered(what == told)
	if s.ended || s.awaited != cseq {
		return
	}
	s.busy, s.awaited = false, 0
	if r.wasWrong(s, what, a) {
		r.takeBack(s)
		return
	}
	switch what {
	case told:
		s.again, s.failures = false, 0
		r.heard(s)
		if !s.met {
			s.met = true
			r.arrived(s)
		}
	case over:
		r.forget(s, event.EventNoResource)
		return
	case lost:
		if s.due == last {
			r.forget(s, s.event)
			return
		}
		s.again, s.due = true, max(s.due, change)
		r.fails(s)
	case failed:
		s.again, s.due = true, max(s.due, change)
		s.heldUntil = time.Now().Add(s.pause(r.pause, a))
	}
	r.kick(s)
}

// verdict is what an answer means for the subscription.
type verdict uint8

const (
	told   verdict = iota
	failed         // this one transaction (RFC 5057): tried again
	lost           // the stream is gone, or nobody takes one
	over           // nobody is there any more
)

func (s *subscription) verdict(a sip.Answer) verdict {
	if a.Err == nil {
		switch a.Status {
		// RFC 6665 §4.2.2; and there is no password that 401 and 407 would get.
		case 404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604, 401, 407:
			return over
		}
		if a.Status/100 == 2 {
			return told
		}
		return failed
	}
	var fault *sip.Error
	var noWay *sip.NoWay
	switch {
	case errors.Is(a.Err, sip.ErrFull):
		return failed // it is us who are too busy
	case s.stream:
		return lost
	case errors.Is(a.Err, syscall.ECONNREFUSED), errors.As(a.Err, &noWay), errors.As(a.Err, &fault) && fault.Timeout():
		return over
	}
	return failed // a name server that is away, an endpoint that stops
}

// pause is how long a subscription rests whose NOTIFY failed: longer each time,
// and as long as the watcher asks for, within reason.
func (s *subscription) pause(first time.Duration, a sip.Answer) time.Duration {
	if errors.Is(a.Err, sip.ErrFull) {
		return first/5 + rand.N(first/5)
	}
	wait := backOff(first, int(s.failures), a.RetryAfter)
	s.failures++
	return wait
}

const (
	minPause = 5 * time.Second
	maxPause = 5 * time.Minute
)

func (r *run) reached(s *subscription, ok bool) {
	if s.unreachable == !ok {
		return
	}
	s.unreachable = !ok
	if ok {
		r.count.reach(1)
	} else {
		r.count.reach(-1)
	}
}

// end tells the watcher that the subscription is over, when the NOTIFY under way
// was answered, and forgets it.
func (r *run) end(s *subscription, reason string, why event.WatcherEvent) {
	if s.ended || s.due == last || r.subs[s.key] != s {
		return
	}
	r.quiet(s)
	r.keep.drop(s.LocalTag) // should this life end first, it does not come back
	s.closing, s.event, s.due = reason, why, last
	r.kick(s)
}

// forget ends a subscription without a word to its watcher.
func (r *run) forget(s *subscription, why event.WatcherEvent) {
	s.ended, s.event = true, why
	r.remove(s)
}
