package sip

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// budget is how many requests one source may send. What is past it is answered
// 503 once a second and else not at all, before it is parsed: an answer to each
// would double the load, and a forged source must not draw a flood of them.
type budget struct {
	each  int64 // ns between requests at the rate; 0: no limit
	free  []netip.Prefix
	burst int64 // ns of requests that may come at once
	began time.Time

	mu      sync.Mutex
	rotated int64
	// spent is by source. Whoever was quiet for a burst has spent nothing, so two
	// maps that take turns forget the others by themselves.
	spent, before map[netip.Addr]spending
}

// spending is two times in ns since began: until when the source has spent its
// rate, and when it may be told so.
type spending struct{ until, tell int64 }

const maxSources = 1 << 14

type verdict int

const (
	within verdict = iota
	tell           // 503
	silence
)

func newBudget(perSecond int, free []netip.Prefix) *budget {
	b := &budget{free: free, began: time.Now(), spent: map[netip.Addr]spending{}, before: map[netip.Addr]spending{}}
	if perSecond > 0 {
		b.each = int64(time.Second) / int64(perSecond)
		b.burst = 2 * int64(time.Second)
	}
	return b
}

// spend counts a request of a source.
func (b *budget) spend(a netip.Addr, at time.Time) verdict {
	if b.each == 0 || slices.ContainsFunc(b.free, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return within
	}
	a, now := sourceOf(a), int64(at.Sub(b.began))
	b.mu.Lock()
	defer b.mu.Unlock()
	// Too many sources at once (a flood of forged ones) make it forget sooner.
	full := len(b.spent) >= maxSources
	if now-b.rotated >= b.burst || full {
		b.before, b.spent, b.rotated = b.spent, map[netip.Addr]spending{}, now
	}
	s, known := b.spent[a]
	if !known {
		s = b.before[a]
	}
	s.until = max(s.until, now)
	v := within
	switch {
	case s.until+b.each <= now+b.burst:
		s.until += b.each
	case now >= s.tell:
		s.tell, v = now+int64(time.Second), tell
	default:
		v = silence
	}
	b.spent[a] = s
	return v
}

// sourceOf is whom a request is counted with: whoever has one address of an
// IPv6 /64 has them all.
func sourceOf(a netip.Addr) netip.Addr {
	if a = a.WithZone(""); !a.Is6() {
		return a
	}
	p, _ := a.Prefix(64) // no error: bits are in range
	return p.Addr()
}
