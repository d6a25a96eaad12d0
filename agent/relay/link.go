package relay

import (
	"sync"
	"time"
)

// Mode is how an uplink is.
type Mode string

// The modes. Degraded: it answers badly, or an answer is missing. Island: it
// does not answer. Resync: it answers again, and is being caught up.
const (
	Connected Mode = "connected"
	Degraded  Mode = "degraded"
	Island    Mode = "island"
	Resync    Mode = "resync"
)

// How many answers in a row it takes: one is chance.
const (
	missesToIsland  = 3
	answersToReturn = 2
)

// Status is what is told of an uplink.
type Status struct {
	Name             string
	Kind             string
	Mode             Mode
	Since            time.Time
	Pending          int
	LastAcknowledged time.Time
	RoundTrip        time.Duration
	Why              string
}

// Link is the mode of one uplink, made from what happens on it:
//
//	connected  an answer is missing, or a refusal for the moment  degraded
//	degraded   2 answers in a row                                 connected
//	degraded   3 answers in a row missing                         island
//	island     an answer, a refusal for the moment included       resync
//	resync     nothing is pending any more                        connected
//	resync     2 answers in a row missing                         island
//
// A link begins degraded, and its first answer leads to resync.
type Link struct {
	now func() time.Time

	mu      sync.Mutex
	st      Status
	fresh   bool // no answer yet since the start
	misses  int  // in a row
	answers int  // in a row
}

// NewLink makes the link of one uplink.
func NewLink(name, kind string, now func() time.Time) *Link {
	return &Link{now: now, fresh: true, st: Status{
		Name: name, Kind: kind, Mode: Degraded, Since: now(), Why: "no answer yet",
	}}
}

// Answered reports that the far side answered, and how fast.
func (l *Link) Answered(rtt time.Duration) Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.misses, l.st.RoundTrip = 0, rtt
	l.answers++
	switch {
	case l.st.Mode == Island, l.fresh:
		l.to(Resync, "it answers; catching up")
	case l.st.Mode == Degraded && l.answers >= answersToReturn:
		l.to(Connected, "")
	}
	l.fresh = false
	return l.st
}

// Missed reports that an answer did not come.
func (l *Link) Missed(why string) Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = 0
	l.misses++
	switch {
	case l.st.Mode == Connected:
		l.to(Degraded, why)
	case l.st.Mode == Degraded && l.misses >= missesToIsland,
		l.st.Mode == Resync && l.misses >= answersToReturn:
		l.to(Island, why)
	default:
		l.st.Why = why
	}
	return l.st
}

// Strained reports that the far side answered, and asked to be left alone: it
// lives, so that this never makes an island.
func (l *Link) Strained(why string) Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers, l.misses = 0, 0
	switch {
	case l.st.Mode == Connected:
		l.to(Degraded, why)
	case l.st.Mode == Island, l.fresh:
		l.to(Resync, why)
	default:
		l.st.Why = why
	}
	l.fresh = false
	return l.st
}

// Lost says that the uplink is given up, such as for a refused password.
func (l *Link) Lost(why string) Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to(Island, why)
	return l.st
}

// Acknowledged reports that the far side keeps a change.
func (l *Link) Acknowledged() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.st.LastAcknowledged = l.now()
}

// Pending reports what has still to be handed over. With nothing left, a link in
// resync is connected.
func (l *Link) Pending(n int) Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.st.Pending = n
	if n == 0 && l.st.Mode == Resync && l.misses == 0 {
		l.to(Connected, "")
	}
	return l.st
}

// Status is how the link is now.
func (l *Link) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.st
}

func (l *Link) to(m Mode, why string) {
	if l.st.Mode != m {
		l.st.Mode, l.st.Since = m, l.now()
	}
	l.st.Why = why
}
