package simple

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"pilotlight/agent/presence"
)

// rounds is whom the postman is at, and who is left alone for how long. It knows no
// clock and no wire, and is for one goroutine.
//
// A recipient has one visit at a time (MSG-04). Who did not take a message is left
// alone for longer each time. A server that does not answer may be down, or may wait
// for a phone that is: so it has one visit at a time from then on, at its own pace
// from those who met silence there; what is for somebody else goes there soon all
// the same.
type rounds struct {
	first time.Duration // the pause after a first failure
	steps map[presence.Presentity]*doorstep
	doors map[*Peer]*door // nil: the branch's own devices
}

// doorstep is what is known of a recipient whom something waits for.
type doorstep struct {
	peer    *Peer
	visited bool // now
	tried   time.Time
	fails   int
	until   time.Time // left alone
	had     uint64    // the last message that was tried, where all that waits is set aside
	missed  bool      // a device of hers showed up during the visit
	// refused is which of her devices do not take which message. It is the visit's,
	// and goes with what waits.
	refused map[uint64][]string
}

// door is where messages are brought to: a peer, or the branch.
type door struct {
	visits int
	fails  int // since it last answered; none at the branch
	tried  time.Time
	until  time.Time
	shut   time.Time // for all: it said so itself
}

// How many are visited at a time.
const (
	visitsAtHome = 16
	visitsAtPeer = 4
)

// outcome is how a visit ended.
type outcome struct {
	how   howEnded
	after time.Duration // the far side asks for that much peace; 0: it does not say
	had   uint64        // the last message that was tried
	err   error         // of a silence
}

type howEnded uint8

const (
	brought howEnded = iota // all that waited
	aside                   // but for what no device of hers takes
	nobody                  // she has no device here
	later                   // a temporary answer
	silence                 // none, or a 503
)

func newRounds(first time.Duration) *rounds {
	return &rounds{first: first, steps: map[presence.Presentity]*doorstep{}, doors: map[*Peer]*door{}}
}

// next says who is to be visited now, whoever was visited longest ago first, and when
// to ask again. waiting has, for each recipient, the last message.
func (r *rounds) next(now time.Time, waiting map[presence.Presentity]uint64, peer func(presence.Presentity) *Peer) (visit []presence.Presentity, rest time.Duration) {
	for to, at := range r.steps {
		if _, waits := waiting[to]; !waits && !at.visited {
			delete(r.steps, to)
		}
	}
	rest = deliverAgain
	var due []presence.Presentity
	for to, last := range waiting {
		at := r.steps[to]
		if at == nil {
			at = &doorstep{peer: peer(to), refused: map[uint64][]string{}}
			r.steps[to] = at
		}
		wait := at.until.Sub(now)
		switch {
		case at.visited: // its end is told
		case wait > 0 && (at.had == 0 || at.had == last):
			rest = min(rest, wait)
		default:
			due = append(due, to)
		}
	}
	slices.SortFunc(due, func(a, b presence.Presentity) int {
		return cmp.Or(r.steps[a].tried.Compare(r.steps[b].tried), strings.Compare(string(a), string(b)))
	})
	for _, to := range due {
		at := r.steps[to]
		if wait := r.closed(now, at); wait > 0 {
			rest = min(rest, wait)
			continue
		}
		d := r.doors[at.peer]
		d.visits++
		at.visited, at.missed, at.tried, d.tried = true, false, now, now
		visit = append(visit, to)
	}
	return visit, rest
}

// closed is for how long a recipient can't be visited because of the others there.
func (r *rounds) closed(now time.Time, at *doorstep) time.Duration {
	d := r.doors[at.peer]
	if d == nil {
		d = &door{}
		r.doors[at.peer] = d
	}
	most := visitsAtPeer
	switch {
	case at.peer == nil:
		most = visitsAtHome
	case d.fails > 0:
		most = 1
	}
	switch {
	case d.visits >= most:
		return deliverAgain // or until the end of a visit is told
	case d.fails == 0:
		return 0
	case at.fails == 0: // she has not met the silence
		return max(d.shut.Sub(now), d.tried.Add(r.first).Sub(now))
	}
	return d.until.Sub(now)
}

// done takes the end of a visit.
func (r *rounds) done(now time.Time, to presence.Presentity, o outcome) {
	at := r.steps[to]
	d := r.doors[at.peer]
	d.visits--
	at.visited, at.had = false, 0
	switch {
	case at.peer == nil:
	case o.how != silence:
		d.fails = 0
	default:
		d.until = now.Add(backOff(r.first, d.fails, o.after))
		if o.after > 0 {
			d.shut = d.until
		}
		d.fails++
	}
	switch o.how {
	case brought:
		at.fails, at.until = 0, time.Time{}
	case aside:
		at.fails, at.until, at.had = 0, now.Add(deliverAgain), o.had
	case nobody:
		at.until = now.Add(deliverAgain)
	default:
		at.until = now.Add(backOff(r.first, at.fails, o.after))
		at.fails++
	}
	if at.missed {
		at.until = time.Time{}
	}
}

// silent reports whether a recipient's server has not answered of late.
func (r *rounds) silent(to presence.Presentity) bool { return r.doors[r.steps[to].peer].fails > 0 }

// arrived: a device of somebody's showed up, and is worth a visit at once.
func (r *rounds) arrived(who presence.Presentity) {
	if at := r.steps[who]; at != nil {
		at.missed, at.until = at.visited, time.Time{}
	}
}

// backOff is how long somebody who failed rests: longer each time, and as long as
// was asked for, within reason.
func backOff(first time.Duration, fails int, asked time.Duration) time.Duration {
	return max(min(first<<min(fails, 16), maxPause), min(asked, time.Hour))
}
