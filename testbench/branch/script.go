package branch

import (
	"context"
	"math/rand/v2"
	"time"
)

// script lets calls come and go. All its times are drawn from the seed and
// counted from when a thing was due, so the same seed gives the same day.
type script struct {
	b       *Branch
	draw    *rand.Rand
	between time.Duration // between two calls, about
	stopped bool
	mine    map[*call]time.Time // answered calls of the script, and when they end
}

// Script lets calls come and go until ctx is done: they ring for 2 to 6
// seconds, most are answered, talk for 8 to 40 seconds, and some are held. At
// any time at least one phone rings and, most of the time, one call is on hold,
// if enough phones are up. It begins with a few calls at once. Calls that are
// up in the end stay up.
func (b *Branch) Script(ctx context.Context) {
	b.mu.Lock()
	s := b.newScript(time.Now())
	b.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-b.ctx.Done():
	}
	b.mu.Lock()
	s.stopped = true
	b.mu.Unlock()
}

// usualRate is how many calls a minute keep a branch of some phones busy. Up to
// 60 phones half of them talk; beyond, the board is full of life as it is, and
// every call costs the agent beside it: of 1,000 phones about 60 talk.
func usualRate(phones int) float64 {
	const lively, beyond = 60, 0.04
	return 0.6*float64(min(phones, lively)) + beyond*float64(max(phones-lively, 0))
}

// newScript plans the first calls; the caller holds the lock.
func (b *Branch) newScript(now time.Time) *script {
	rate := b.opts.CallRate
	if rate <= 0 {
		rate = usualRate(len(b.phones))
	}
	s := &script{
		b:       b,
		draw:    rand.New(rand.NewPCG(b.opts.Seed, 0x9e3779b97f4a7c15)),
		between: time.Duration(float64(time.Minute) / rate),
		mine:    map[*call]time.Time{},
	}
	for i := range min(len(b.phones)/8, 7+len(b.phones)/40) {
		s.later(now, time.Duration(i)*300*time.Millisecond, func(due time.Time) { s.ring(due) })
	}
	s.later(now, 0, s.callAgain)
	s.later(now, 5*time.Second, s.holdAgain)
	return s
}

func (s *script) later(from time.Time, d time.Duration, do func(due time.Time)) {
	s.b.after(from, d, func(due time.Time) {
		if !s.stopped {
			do(due)
		}
	})
}

// within draws a time between two.
func (s *script) within(low, high time.Duration) time.Duration {
	return low + time.Duration(s.draw.Int64N(int64(high-low)))
}

// callAgain is the beat of the script. Before one call stops ringing the next begins.
func (s *script) callAgain(due time.Time) {
	rings := s.ring(due)
	wait := s.within(s.between/2, s.between*3/2)
	s.later(due, min(wait, max(rings-200*time.Millisecond, 500*time.Millisecond)), s.callAgain)
}

// ring begins a call and plans its life; it tells how long it rings, 0 for no call.
func (s *script) ring(due time.Time) time.Duration {
	free, busy := s.free()
	if len(free) < 2 || busy > 2*len(s.b.phones)/3 {
		return 0
	}
	i := s.draw.IntN(len(free))
	j := s.draw.IntN(len(free) - 1)
	if j >= i {
		j++
	}
	p, q := free[i], free[j]
	rings, talks := s.within(2*time.Second, 6*time.Second), s.within(8*time.Second, 40*time.Second)
	answers, callerEnds := s.draw.IntN(100) < 80, s.draw.IntN(2) == 0
	if s.b.dial(p, q, due) != nil {
		return 0 // the two share a line
	}
	c := p.call
	s.later(due, rings, func(due time.Time) {
		if !s.up(c) {
			return
		}
		if !answers {
			s.b.hangup(p, due)
			return
		}
		if s.b.answer(q, due) != nil {
			return // the bench answered it
		}
		s.mine[c] = due.Add(s.b.scaled(talks))
		s.later(due, talks, func(due time.Time) {
			delete(s.mine, c)
			if !s.up(c) {
				return
			}
			ender := c.callee // who they are by then: it may have been transferred
			if callerEnds {
				ender = c.caller
			}
			s.b.hangup(ender, due)
		})
	})
	return rings
}

// up: the call is still there. Its phones may be unplugged: then they hang up
// without anybody hearing it, and the call server's guard ends the call.
func (s *script) up(c *call) bool {
	return c.caller.call == c && !c.caller.state.Unplugged && !c.callee.state.Unplugged
}

func (s *script) free() (free []*phone, busy int) {
	for _, p := range s.b.phones {
		if p.call != nil {
			busy++
		} else if p.ready() {
			free = append(free, p)
		}
	}
	return free, busy
}

// holdAgain puts one call after the other on hold.
func (s *script) holdAgain(due time.Time) {
	p, left := s.holdable(due)
	if p == nil {
		s.later(due, 500*time.Millisecond, s.holdAgain)
		return
	}
	c := p.call
	lasts := min(s.within(5*time.Second, 12*time.Second), left)
	s.b.hold(p, due) // holdable says that it can
	s.later(due, lasts, func(due time.Time) {
		if s.up(c) && c.heldBy == p {
			s.b.resume(p, due)
		}
	})
	s.later(due, max(lasts-time.Second, time.Second), s.holdAgain)
}

// holdable picks one side of an answered call that lasts for a while yet, in
// the order of the phones so that the seed decides, and not a map.
func (s *script) holdable(due time.Time) (p *phone, left time.Duration) {
	var sides []*phone
	for _, p := range s.b.phones {
		end, mine := s.mine[p.call]
		if p.call != nil && mine && p.call.heldBy == nil && s.up(p.call) && end.Sub(due) > s.b.scaled(3*time.Second) {
			sides = append(sides, p)
		}
	}
	if len(sides) == 0 {
		return nil, 0
	}
	p = sides[s.draw.IntN(len(sides))]
	left = time.Duration(float64(s.mine[p.call].Sub(due)) * s.b.opts.Speed)
	return p, left - time.Second
}
