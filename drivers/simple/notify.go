package simple

import (
	"hash/maphash"
	"strconv"
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
	if s.busy || s.due == nothing || s.ended || s.unreachable && s.due < asked {
		return
	}
	now := time.Now()
	if now.Before(s.heldUntil) {
		r.alarm(s, s.heldUntil)
		return
	}
	if s.due == change {
		if next := s.toldAt.Add(r.c.Interval[s.Package]); now.Before(next) {
			s.heldUntil = next
			r.alarm(s, next)
			return
		}
	}
	if !r.reserve(s) {
		return
	}
	b, ok := r.bodyFor(s, now, s.due == asked)
	if !ok {
		s.due = nothing // nobody could tell the difference (COMP-08)
		return
	}
	if s.due == change {
		s.toldAt = now
		r.count.with(func(st *Stats) { st.Lag.add(now.Sub(s.in.seen)) })
	}
	s.due = nothing
	r.notify(s, s.state(now), b)
}

// reserve sees to it that the next CSeq was never used, not even in a life that a
// crash ended. It reports false while that has to be written first.
func (r *run) reserve(s *subscription) bool {
	if s.Reserve-s.cseq > reserveBy/4 {
		return true
	}
	if !s.reserving {
		s.reserving = true
		next := s.record
		next.Reserve += reserveBy
		r.keep.put(s.LocalTag, next.encode(), func(err error) {
			r.inbox.post(func() {
				s.reserving = false
				if err == nil {
					s.Reserve = next.Reserve
				}
				r.kick(s)
			})
		})
	}
	return s.Reserve-s.cseq > 1
}

// state is the Subscription-State of a subscription that goes on.
func (s *subscription) state(now time.Time) string {
	word := "active"
	if s.how == access.Confirm {
		word = "pending"
	}
	return word + ";expires=" + strconv.FormatInt(int64(s.left(now)/time.Second), 10)
}

// notify sends one NOTIFY.
func (r *run) notify(s *subscription, state string, octets []byte) {
	s.busy = true
	s.cseq++
	name := s.Package
	if s.EventID != "" {
		name += ";id=" + s.EventID
	}
	req := sip.InDialog{Method: "NOTIFY", CSeq: s.cseq, Event: name, SubscriptionState: state, Body: octets}
	if len(octets) > 0 {
		req.ContentType = s.body
	}
	r.n.Endpoint.Send(s.dialog, req, func(a sip.Answer) {
		r.inbox.post(func() { r.answered(s, a) })
	})
}

// answered takes what became of a NOTIFY (RFC 6665 §4.2.2, EV-11).
func (r *run) answered(s *subscription, a sip.Answer) {
	s.busy = false
	ok := a.Status/100 == 2
	r.count.answered(ok)
	switch {
	case s.ended:
		return
	case ok:
		s.again = false
		r.reached(s, true)
	case a.Err != nil && s.Transport != "udp":
		s.again, s.due = true, max(s.due, change)
		r.reached(s, false) // its stream is gone: it may come back, and is told then
		return
	case a.Err != nil, over(a.Status):
		r.forget(s, event.EventNoResource)
		return
	default: // 500, 503 and their like are of this one transaction (RFC 5057)
		s.again, s.due = true, max(s.due, change)
		s.heldUntil = time.Now().Add(max(a.RetryAfter, 5*time.Second))
	}
	r.kick(s)
}

// over: these answers end the subscription (RFC 6665 §4.2.2).
func over(status int) bool {
	switch status {
	case 404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604:
		return true
	}
	return false
}

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

// end tells the watcher that the subscription is over, and forgets it.
func (r *run) end(s *subscription, reason string, why event.WatcherEvent) {
	if s.ended || r.subs[s.key] != s {
		return
	}
	b, _ := r.bodyFor(s, time.Now(), true)
	r.forget(s, why)
	r.notify(s, "terminated;reason="+reason, b)
}

// forget ends a subscription without a word to its watcher.
func (r *run) forget(s *subscription, why event.WatcherEvent) {
	s.ended, s.event = true, why
	r.remove(s)
}

// body is what a NOTIFY carries, and a tag by which two are compared.
type body struct {
	octets []byte
	tag    uint64
}

// bodyKey is what decides a body, beside the document.
type bodyKey struct {
	pkg, kind, entity, agent string
	polite                   bool
}

// bodyFor is what s is told now; false where it has been told just that and was
// not asked.
func (r *run) bodyFor(s *subscription, now time.Time, full bool) ([]byte, bool) {
	if s.how == access.Confirm {
		return nil, full // nothing is told before somebody decides (PRES-03)
	}
	q := question{of: s.in, entity: s.Entity, kind: s.body, agent: s.UserAgent, polite: s.how == access.PoliteBlock, now: now}
	if s.pkg.tell != nil {
		return s.pkg.tell(q, &s.told, full || s.again)
	}
	b := s.in.view(s.pkg, q)
	if !full && !s.again && b.tag == s.sent {
		return nil, false
	}
	s.sent = b.tag
	return b.octets, true
}

// view finds a body that was rendered for another watcher, or renders it.
func (w *watched) view(pkg *eventPackage, q question) body {
	key := bodyKey{pkg.name, q.kind, q.entity, q.agent, q.polite}
	if b, ok := w.bodies[key]; ok {
		return b
	}
	b := body{octets: pkg.view(q)}
	b.tag = maphash.Bytes(seed, b.octets)
	if w.bodies == nil {
		w.bodies = map[bodyKey]body{}
	}
	if len(w.bodies) < maxBodies {
		w.bodies[key] = b
	}
	return b
}

// maxBodies bounds the renderings kept of one document.
const maxBodies = 16

var seed = maphash.MakeSeed()
