package simple

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pilotlight/agent/presence"
)

// town is recipients at the branch and at two peers, in a time of its own, and what
// they do when they are visited.
type town struct {
	t       *testing.T
	now     time.Time
	r       *rounds
	peers   [2]*Peer
	waiting map[presence.Presentity]uint64
	since   map[presence.Presentity]time.Time // waits
	open    map[presence.Presentity]*visited
	took    map[presence.Presentity]time.Duration // the longest wait
	starts  map[*Peer][]time.Time
	ids     uint64
}

type visited struct {
	last uint64 // all up to that are brought
	ends time.Time
	o    outcome
}

func newTown(t *testing.T) *town {
	return &town{t: t, now: time.Now(), r: newRounds(minPause), peers: [2]*Peer{{Name: "down"}, {Name: "up"}}, waiting: map[presence.Presentity]uint64{},
		since: map[presence.Presentity]time.Time{}, open: map[presence.Presentity]*visited{}, took: map[presence.Presentity]time.Duration{}, starts: map[*Peer][]time.Time{}}
}

func (w *town) peer(to presence.Presentity) *Peer {
	for _, p := range w.peers {
		if to.Domain() == p.Name+".org" {
			return p
		}
	}
	return nil
}

func (w *town) write(to presence.Presentity) {
	w.ids++
	w.waiting[to] = w.ids
	if _, waits := w.since[to]; !waits {
		w.since[to] = w.now
	}
}

// live goes on until then: does says how a visit ends, and how long it takes.
func (w *town) live(until time.Time, does func(presence.Presentity) (outcome, time.Duration)) {
	w.t.Helper()
	for w.now.Before(until) {
		visits, rest := w.r.next(w.now, w.waiting, w.peer)
		if rest <= 0 {
			w.t.Fatalf("asks again after %v", rest)
		}
		for _, to := range visits {
			if w.open[to] != nil {
				w.t.Fatalf("two visits to %s", to)
			}
			p := w.peer(to)
			w.starts[p] = append(w.starts[p], w.now)
			o, takes := does(to)
			o.had = w.waiting[to]
			w.open[to] = &visited{w.waiting[to], w.now.Add(takes), o}
		}
		at := map[*Peer]int{}
		next := w.now.Add(rest)
		for to, v := range w.open {
			if at[w.peer(to)]++; v.ends.Before(next) {
				next = v.ends
			}
		}
		if d := w.r.doors[w.peers[0]]; at[w.peers[0]] > visitsAtPeer || at[nil] > visitsAtHome || len(visits) > 0 && d != nil && d.fails > 0 && w.peer(visits[0]) == w.peers[0] && at[w.peers[0]] > 1 {
			w.t.Fatalf("%d visits at once", at[w.peers[0]])
		}
		w.now = next
		for to, v := range w.open {
			if v.ends.After(w.now) {
				continue
			}
			delete(w.open, to)
			if v.o.how == brought {
				w.took[to] = max(w.took[to], w.now.Sub(w.since[to]))
				if w.waiting[to] == v.last {
					delete(w.waiting, to)
					delete(w.since, to)
				} else {
					w.since[to] = w.now // the rest goes on its own
				}
			}
			w.r.done(w.now, to, v.o)
		}
	}
}

func brings(presence.Presentity) (outcome, time.Duration) { return outcome{}, 20 * time.Millisecond }

// For a day a server is down, with fifty recipients: it is asked once in a while,
// and what goes elsewhere does not notice.
func TestADownServerIsNotHammered(t *testing.T) {
	w := newTown(t)
	begin := w.now
	for i := range 50 {
		w.write(presence.At(fmt.Sprint("u", i), "down.org"))
	}
	late := time.Duration(0) // of those who are new
	silent := func(to presence.Presentity) (outcome, time.Duration) {
		if w.r.steps[to].fails == 0 {
			late = max(late, w.now.Sub(w.since[to]))
		}
		if w.peer(to) == w.peers[0] {
			return outcome{how: silence}, farWithin
		}
		return brings(to)
	}
	for hour := range 24 {
		w.write(alice)
		w.write("sip:zoe@up.org")
		if hour == 0 {
			w.live(begin.Add(time.Hour), silent)
			late = 0
			continue
		}
		w.write(presence.At(fmt.Sprint("new", hour), "down.org"))
		w.live(begin.Add(time.Duration(hour+1)*time.Hour), silent)
	}
	// All are asked once, for 37 s each; then every five minutes somebody is.
	if n := len(w.starts[w.peers[0]]); n > 50+24*12+24+10 || n < 200 {
		t.Errorf("a server that is down was asked %d times", n)
	}
	if late > minPause+farWithin { // for all that is known it is others' phones that are silent
		t.Errorf("somebody new there was tried after %v", late)
	}
	if w.took[alice] > time.Second || w.took["sip:zoe@up.org"] > time.Second {
		t.Errorf("others waited %v and %v", w.took[alice], w.took["sip:zoe@up.org"])
	}
	up := w.now
	w.live(up.Add(maxPause+time.Minute), brings)
	if len(w.waiting) != 0 {
		t.Errorf("it is up again, and still waited for: %v", w.waiting)
	}
}

// Random lives: nobody has two visits at a time (live holds it), whoever can take a
// message has it soon, and in the end everybody has.
func TestRoundsEndForEverybody(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := newTown(t)
		all := []presence.Presentity{alice, "sip:bob@example.com", "sip:a@down.org", "sip:b@down.org", "sip:c@down.org", "sip:a@up.org", "sip:b@up.org"}
		down, dead := false, map[presence.Presentity]howEnded{}
		does := func(to presence.Presentity) (outcome, time.Duration) {
			takes := time.Duration(rnd.IntN(3000)) * time.Millisecond
			switch how := dead[to]; {
			case down && w.peer(to) == w.peers[0]:
				return outcome{how: silence, after: time.Duration(rnd.IntN(2)*rnd.IntN(100)) * time.Second}, farWithin
			case how != brought && (w.peer(to) == nil || how >= later):
				return outcome{how: how, after: time.Duration(rnd.IntN(2)*rnd.IntN(100)) * time.Second}, takes
			}
			return outcome{}, takes
		}
		for range 40 {
			to := all[rnd.IntN(len(all))]
			switch rnd.IntN(6) {
			case 0:
				down = !down
			case 1:
				dead[to] = howEnded(rnd.IntN(int(silence + 1)))
			case 2:
				w.r.arrived(to)
			default:
				w.write(to)
			}
			w.live(w.now.Add(time.Duration(rnd.IntN(60))*time.Second), does)
		}
		down = false
		clear(dead)
		w.live(w.now.Add(2*maxPause+time.Hour), does)
		if len(w.waiting)+len(w.open) != 0 {
			t.Fatalf("seed %d: %v wait, %v are visited", seed, w.waiting, w.open)
		}
		if w.r.next(w.now, nil, w.peer); len(w.r.steps) != 0 {
			t.Fatalf("seed %d: %d are remembered", seed, len(w.r.steps))
		}
	}
}

// A device that shows up during a visit is not missed.
func TestWhoArrivesDuringAVisitIsVisited(t *testing.T) {
	for _, how := range []howEnded{nobody, aside, later} {
		r, now := newRounds(minPause), time.Now()
		waiting := map[presence.Presentity]uint64{alice: 1}
		home := func(presence.Presentity) *Peer { return nil }
		next := func(want int) {
			t.Helper()
			if visit, _ := r.next(now, waiting, home); len(visit) != want {
				t.Fatalf("%d: %v", how, visit)
			}
		}
		next(1)
		r.arrived(alice)
		next(0)
		r.done(now, alice, outcome{how: how, had: 1})
		next(1)
		r.done(now, alice, outcome{how: how, had: 1})
		next(0)
		waiting[alice] = 2 // another message finds a device that does not take the first
		if how == aside {
			next(1)
			r.done(now, alice, outcome{how: how, had: 2})
		}
		next(0)
		r.arrived(alice)
		next(1)
	}
}
