package access

import (
	"net/netip"
	"sync"
	"time"
)

// A brake slows down whoever guesses passwords: a source has a few attempts,
// and gets one back every ten seconds. An attempt is taken before the password is
// looked at, so that those made at once count, and one that succeeds is given
// back: that one only, or whoever has an account could guess for ever. It counts by source and not by account,
// so that nobody can lock anybody else out.
type brake struct {
	now func() time.Time

	mu      sync.Mutex
	sources map[string]*attempts
}

type attempts struct {
	left float64
	at   time.Time
}

const (
	brakeBurst   = 5
	brakeRefill  = 10 * time.Second
	brakeSources = 4096
)

func newBrake(now func() time.Time) *brake {
	return &brake{now: now, sources: map[string]*attempts{}}
}

// take takes one attempt of a source.
func (b *brake) take(source string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := group(source)
	if _, known := b.sources[key]; !known && len(b.sources) >= brakeSources {
		b.sweep()
	}
	a := b.at(key)
	b.sources[key] = a
	if a.left < 1 {
		return &SlowDown{Wait: time.Duration((1 - a.left) * float64(brakeRefill))}
	}
	a.left--
	return nil
}

// giveBack gives it back.
func (b *brake) giveBack(source string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := group(source)
	a := b.at(key)
	if a.left = a.left + 1; a.left >= brakeBurst {
		delete(b.sources, key)
	}
}

// at is a source's account as of now.
func (b *brake) at(key string) *attempts {
	now := b.now()
	a := b.sources[key]
	if a == nil {
		return &attempts{left: brakeBurst, at: now}
	}
	a.left = min(brakeBurst, a.left+float64(now.Sub(a.at))/float64(brakeRefill))
	a.at = now
	return a
}

// sweep forgets those who have their attempts back and, if nobody has, all:
// memory is bounded, and somebody with thousands of addresses gets no more than
// the bound on concurrent hashes allows.
func (b *brake) sweep() {
	for key := range b.sources {
		if b.at(key).left >= brakeBurst {
			delete(b.sources, key)
		}
	}
	if len(b.sources) >= brakeSources {
		clear(b.sources)
	}
}

// group takes a whole IPv6 /64 for one source: whoever has one address there
// has them all.
func group(source string) string {
	a, err := netip.ParseAddr(source)
	if err != nil || a.Unmap().Is4() {
		return source
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return source
	}
	return p.String()
}
