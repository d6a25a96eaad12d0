package ledger

import (
	"time"

	"pilotlight/agent/ledger/internal/store"
	"pilotlight/agent/presence"
)

// A branch box may boot in 1970, or in 2099, and be told the time later. So the
// ledger counts durations, and dates only what goes to the disk. What comes
// from the disk has nothing but dates: until the clock is trusted, observations
// keep their order and count as seen before the start, and a publication holds
// for all the time that it was granted. When the clock proves true, the dates
// are turned into distances, and what was written meanwhile is dated anew.

// doubtEvery is how often a clock that is not trusted is asked again.
const doubtEvery = 5 * time.Second

// Trust has the ledger ask, before it believes the wall clock, whether it may,
// and why not; else it does. It is called before Run.
func (l *Ledger) Trust(trusted func() (bool, string)) { l.trusted = trusted }

// Newest is the wall time of the last commit that the store had when it was
// opened: a moment that has passed. Zero if there is none.
func (l *Ledger) Newest() time.Time { return l.newest }

// consider believes the wall clock once it is trusted, and reports whether it does.
func (l *Ledger) consider(now time.Time) bool {
	ok, why := true, ""
	if l.trusted != nil {
		ok, why = l.trusted()
	}
	switch {
	case ok && l.doubted:
		l.log.Info("the clock is trusted now")
		l.believe(now)
	case ok:
		l.believe(now)
	case !l.doubted:
		l.doubted = true
		l.log.Warn("the clock is not trusted: nothing is dropped because of it", "why", why)
	}
	return ok
}

// wall is what a commit is dated with; zero: not at all.
func (l *Ledger) wall() time.Time {
	if !l.believed {
		return time.Time{}
	}
	return time.Now().Round(0)
}

// recall turns a date on disk into a moment before the start, in the order of dates.
func (l *Ledger) recall(date time.Time) time.Time {
	return l.opened.Add(date.Sub(l.opened) - l.ahead)
}

// dateOf is the reverse of recall.
func (l *Ledger) dateOf(t time.Time) time.Time {
	return l.opened.Round(0).Add(t.Sub(l.opened) + l.ahead)
}

// believe turns dates into distances from now, as the wall clock shows it.
func (l *Ledger) believe(now time.Time) {
	l.believed, l.off = true, l.offset(now)
	for _, d := range l.devices {
		l.redateSeen(now, d.seen)
		if l.doubted {
			l.redateDevice(now, d)
		}
		d.since.at = l.past(now, d.since.at)
		d.mark(l.state)
	}
	for _, e := range l.entities {
		l.redateSeen(now, e.seen)
		for i := range e.said {
			l.redateStanding(now, &e.said[i])
		}
		if l.doubted {
			l.redateSince(now, e)
		}
		e.since.at = l.past(now, e.since.at)
		e.mark(l.state)
	}
}

func (l *Ledger) redateSeen(now time.Time, seen []held) {
	for i := range seen {
		switch h := &seen[i]; {
		case h.restored:
			if h.Seen = now.Add(l.dateOf(h.Seen).Sub(now.Round(0))); h.Seen.After(l.opened) {
				h.Seen = l.opened // dated by a clock that was ahead
			}
		case l.doubted && !h.static:
			h.Seen = restamp(now, h.Seen)
			l.repeats.touch(h.number, h.Seen)
			l.put(now, store.Observations, observationKey(h.Observation), h.observationRecord)
		}
	}
}

func (l *Ledger) redateDevice(now time.Time, d *device) {
	if stamped(d.since.at) {
		d.since.at = restamp(now, d.since.at)
		l.put(now, store.Since, sinceDevice+d.name, d.since)
	}
	first := d.events - uint64(len(d.ring))
	for i := range d.ring {
		if e := &d.ring[i]; stamped(e.At) {
			e.At = restamp(now, e.At)
			n := first + uint64(i)
			l.put(now, store.History, historyKey(d.name, n), eventRecord{*e, n})
		}
	}
}

// redateStanding ends a restored publication when its date says so, if that is
// before the time that it was granted is over.
func (l *Ledger) redateStanding(now time.Time, s *standing) {
	if !s.until.IsZero() {
		s.Expires = presence.Earlier(s.Expires, now.Add(s.until.Sub(now.Round(0))))
		s.until = time.Time{}
	}
	if s.unsure {
		s.unsure = false
		s.Expires = restamp(now, s.Expires)
		if stamped(s.At) {
			s.At = restamp(now, s.At)
		}
		l.put(now, store.Publications, publicationKey(s.Of, s.slot), s.standingRecord)
	}
}

// stamped reports whether t was taken from the clock by this process, and not
// read from the disk.
func stamped(t time.Time) bool { return t != t.Round(0) }

// restamp is the same moment with the date that it has by the clock of now.
func restamp(now, t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return now.Add(t.Sub(now))
}
