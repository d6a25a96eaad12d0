package simple

import (
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/sip"
)

// A watcher by stream is told over the stream of its SUBSCRIBE. When that ends, and
// nobody takes another at its Contact, its subscription is kept, and is told when
// the watcher is back: by its next SUBSCRIBE, or over a stream of which it is safe to
// say that it is hers. README.md has what counts as safe, and why.

// way is how the watcher of a subscription is told.
type way uint8

const (
	wayOpen    way = iota // by UDP, or by the stream of its SUBSCRIBE
	wayDial               // by a stream that is opened to it
	wayGone               // its stream ended; the next NOTIFY tries to open one
	wayShut               // nobody takes one
	wayClaimed            // by a stream on which its contact was named
	wayGuessed            // by one that may be its own
)

// lost: nobody knows a way.
func (w way) lost() bool { return w == wayGone || w == wayShut }

// sought: its watcher may be found on another stream.
func (w way) sought() bool { return w.lost() || w == wayGuessed }

// flown: by a stream that its watcher opened.
func (w way) flown() bool { return w == wayOpen || w == wayClaimed || w == wayGuessed }

// flow is one stream, origin is where streams come from.
type (
	flow struct {
		transport string
		from      netip.AddrPort
	}
	origin struct {
		transport string
		from      netip.Addr
	}
)

// sought are those at one place, with one hop, whose stream is gone, or guessed.
type sought struct {
	subs     []*subscription
	guessing bool      // one of them is told over a stream that may be theirs
	again    time.Time // nothing is guessed before
}

// guessAgain is the pause after a guess that was wrong.
const guessAgain = time.Minute

// moorings know which subscriptions hang on which stream. But for adrift they are
// the loop's.
type moorings struct {
	on      map[flow][]*subscription
	missed  map[origin]map[string]*sought // by hop
	from    map[netip.Addr]int            // subscriptions by where their SUBSCRIBE came from
	vouched map[flow]presence.Presentity  // who proved by digest to be at the other end
	adrift  atomic.Int32                  // how many are in missed
}

func newMoorings() moorings {
	return moorings{on: map[flow][]*subscription{}, missed: map[origin]map[string]*sought{}, from: map[netip.Addr]int{}, vouched: map[flow]presence.Presentity{}}
}

func flowOf(v sip.Visitor) flow        { return flow{v.Transport, v.Remote} }
func (f flow) origin() origin          { return origin{f.transport, f.from.Addr()} }
func (s *subscription) flow() flow     { return flow{s.Transport, s.Peer} }
func (s *subscription) origin() origin { return origin{s.by, s.Peer.Addr()} }
func (s *subscription) hop() string    { return sip.Hop(s.Target, s.Route) }

// moor enters a subscription under its stream, or among those who are sought, or
// both. What these go by does not change until unmoor.
func (r *run) moor(s *subscription) {
	r.from[s.Peer.Addr()]++
	if !s.stream {
		return
	}
	if s.way.sought() {
		at := r.missed[s.origin()]
		if at == nil {
			at = map[string]*sought{}
			r.missed[s.origin()] = at
		}
		m := at[s.hop()]
		if m == nil {
			m = &sought{}
			at[s.hop()] = m
		}
		m.subs = append(m.subs, s)
		r.adrift.Add(1)
	}
	if s.way.flown() && s.Transport == s.by {
		r.on[s.flow()] = append(r.on[s.flow()], s)
	}
}

func (r *run) unmoor(s *subscription) {
	if r.from[s.Peer.Addr()]--; r.from[s.Peer.Addr()] <= 0 {
		delete(r.from, s.Peer.Addr())
	}
	if !s.stream {
		return
	}
	if s.way.sought() {
		at, hop := r.missed[s.origin()], s.hop()
		m := at[hop]
		m.subs = without(m.subs, s)
		m.guessing = m.guessing && s.way != wayGuessed
		r.adrift.Add(-1)
		if len(m.subs) == 0 {
			delete(at, hop)
		}
		if len(at) == 0 {
			delete(r.missed, s.origin())
		}
	}
	if s.way.flown() {
		if list := without(r.on[s.flow()], s); len(list) > 0 {
			r.on[s.flow()] = list
		} else {
			delete(r.on, s.flow())
		}
	}
}

// without takes s out of a list whose order says nothing.
func without(list []*subscription, s *subscription) []*subscription {
	i := slices.Index(list, s)
	if i < 0 {
		return list
	}
	end := len(list) - 1
	list[i], list[end] = list[end], nil
	return list[:end]
}

// takes puts a subscription on a way that its watcher showed. A NOTIFY on its way by
// another stream is not waited for, since that may be dead: what it says is said again.
func (r *run) takes(s *subscription, w way, change func()) {
	d, by, at, stream := s.dialog, s.way, s.flow(), s.stream
	r.unmoor(s)
	s.way = w
	change()
	s.open()
	r.moor(s)
	s.since = time.Now()
	if s.awaited != 0 && stream && (!by.flown() || at != s.flow()) {
		d.Retire()
		s.awaited, s.busy, s.again = 0, false, true
	}
}

// loses: its stream is gone. It may come back, and is told then.
func (r *run) loses(s *subscription, w way) {
	r.unmoor(s)
	s.way = w
	s.open()
	r.moor(s)
	r.reached(s, false)
}

// fails: a NOTIFY was lost. Where it went by its watcher's own stream one is tried
// that we open, and else nothing more before there is a way again.
func (r *run) fails(s *subscription) {
	w := wayShut
	if s.flown {
		w = wayGone
	}
	r.loses(s, w)
	r.look(s.origin())
}

// heard: a NOTIFY was answered.
func (r *run) heard(s *subscription) {
	switch {
	case s.way == wayGuessed:
		r.guessedRight(s)
	case s.way.lost():
		r.unmoor(s)
		s.way = wayDial
		r.moor(s)
	}
	r.reached(s, true)
}

// board has a subscription told over a visitor's stream.
func (r *run) board(s *subscription, v sip.Visitor, w way) {
	r.takes(s, w, func() { s.Transport, s.Peer, s.ContactAt = v.Transport, v.Remote, v.Local })
	s.failures, s.heldUntil = 0, time.Time{}
	r.wake(s)
	if s.Paused {
		r.reached(s, true) // nothing is told that could be answered
		return
	}
	r.want(s, asked)
}

// visits hears of the endpoint's streams.
func (d *Driver) visits(v sip.Visitor, over bool) {
	r := d.now.get()
	switch {
	case r == nil:
	case over:
		r.inbox.post(func() { r.left(v) })
	case r.adrift.Load() > 0:
		r.inbox.post(func() { r.visited(v) })
	}
}

// left: a stream is over. A proxy's is not missed before nobody takes another: it
// listens, and closes what is idle.
func (r *run) left(v sip.Visitor) {
	f := flowOf(v)
	delete(r.vouched, f)
	subs := r.on[f]
	delete(r.on, f)
	for _, s := range subs {
		switch {
		case s.way == wayGuessed && r.sought(s).guessing:
			r.takeBack(s)
		case len(s.Route) > 0 && s.way != wayGuessed:
			s.way = wayDial
			s.open()
		default:
			r.loses(s, wayGone)
		}
	}
	if len(subs) > 0 {
		r.look(f.origin())
	}
}

// sought are those with whom s is.
func (r *run) sought(s *subscription) *sought { return r.missed[s.origin()][s.hop()] }

// look finds those who are back already: the end of a stream is often noticed long
// after its far end opened another.
func (r *run) look(p origin) {
	if len(r.missed[p]) == 0 {
		return
	}
	for _, v := range r.n.Endpoint.Visitors(p.from) {
		if v.Transport == p.transport {
			r.visited(v)
		}
	}
}

// lookForAll is for those who came while nobody looked.
func (r *run) lookForAll() {
	for _, p := range slices.Collect(maps.Keys(r.missed)) {
		r.look(p)
	}
}

// visited: a stream was opened, or a request on it said whose it is.
func (r *run) visited(v sip.Visitor) {
	f := flowOf(v)
	at := r.missed[f.origin()]
	if v.Hop == "" {
		for _, m := range at {
			if len(at) == 1 {
				r.guess(m, v)
			}
		}
		return
	}
	for _, s := range slices.Clone(r.on[f]) {
		switch {
		case s.way != wayGuessed:
		case s.hop() != v.Hop:
			r.takeBack(s)
		default:
			r.unmoor(s)
			s.way = wayClaimed
			r.moor(s)
		}
	}
	if m := at[v.Hop]; m != nil {
		for _, s := range slices.Clone(m.subs) {
			if v.Shown.After(s.since) && (s.ByAddress || s.Watcher == r.vouched[f]) {
				r.board(s, v, wayClaimed)
			}
		}
	}
}

// guess tells one of those who are missed over a stream that says nothing, where
// nobody else is known at its address. If she takes it the others follow.
func (r *run) guess(m *sought, v sip.Visitor) {
	from := v.Remote.Addr()
	if m.guessing || time.Now().Before(m.again) || r.from[from] != len(m.subs) || len(r.n.Endpoint.Visitors(from)) != 1 {
		return
	}
	for _, s := range m.subs {
		if s.way.lost() && s.ByAddress && !s.Paused && s.due != last && len(s.Route) == 0 {
			s.was = s.way
			r.board(s, v, wayGuessed)
			r.sought(s).guessing = true
			return
		}
	}
}

// wasWrong reports whether an answer shows that a guess was wrong. What fails for a
// moment shows nothing, of one who has taken a NOTIFY or where it is us who are busy.
func (r *run) wasWrong(s *subscription, what verdict, a sip.Answer) bool {
	return s.way == wayGuessed && what != told && (what != failed || a.Err == nil && r.sought(s).guessing)
}

// guessedRight: whoever took a NOTIFY of one dialog has the others of that contact.
// It stays a guess until a request names that, or another.
func (r *run) guessedRight(s *subscription) {
	m := r.sought(s)
	if !m.guessing {
		return
	}
	m.guessing = false
	for _, other := range slices.Clone(m.subs) {
		if other.way.lost() && other.ByAddress {
			other.was = other.way
			r.board(other, sip.Visitor{Transport: s.Transport, Remote: s.Peer, Local: s.ContactAt}, wayGuessed)
		}
	}
}

// takeBack: the guess was wrong, which ends nothing.
func (r *run) takeBack(s *subscription) {
	s.awaited, s.busy = 0, false // it is not busy with a SUBSCRIBE, which would make it no guess
	r.loses(s, s.was)
	r.sought(s).again = time.Now().Add(guessAgain)
	s.again, s.due = true, max(s.due, change)
	r.kick(s)
}

// vouch: a request with digest says who is at the other end of a stream.
func (r *run) vouch(in *sip.Incoming, who caller) {
	if !who.account || in.Transport == "udp" {
		return
	}
	r.inbox.post(func() {
		for _, v := range r.n.Endpoint.Visitors(in.Source.Addr()) {
			if f := flowOf(v); f == (flow{in.Transport, in.Source}) {
				r.vouched[f] = who.as
				r.visited(v)
			}
		}
	})
}

// isOpen reports whether the stream of a subscription's SUBSCRIBE is there.
func (r *run) isOpen(s *subscription) bool {
	return slices.ContainsFunc(r.n.Endpoint.Visitors(s.Peer.Addr()), func(v sip.Visitor) bool {
		return flowOf(v) == s.flow()
	})
}
