package ledger

import (
	"time"

	"pilotlight/agent/ledger/internal/store"
)

// leastStep is the least difference between the wall clock and the course of time
// that is taken for a clock that was set. Little steps add up to it.
const leastStep = 5 * time.Second

// A clock that is trusted may be set all the same: by a person, or by NTP after
// days without. Nothing in memory changes, since that is counted in durations. But
// the disk has dates of the clock as it was, and a later start would take them for
// what they say: a publication would be over before its time, and a phone seen
// after all others that was seen first. So they are written anew.

// stepped dates anew what is on disk if the clock was set since it was last asked.
func (l *Ledger) stepped(now time.Time) {
	off := l.offset(now)
	by := off - l.off
	if !l.believed || by.Abs() < leastStep {
		return
	}
	l.off = off
	l.log.Info("the clock was set: what is on disk is dated anew", "by", by.Round(time.Second).String())
	for _, d := range l.devices {
		l.restampSeen(now, d.seen)
		l.redateDevice(now, d)
		d.since.at = l.past(now, d.since.at)
		d.mark(l.state)
	}
	for _, e := range l.entities {
		l.restampSeen(now, e.seen)
		l.restampSaid(now, e)
		e.since.at = l.past(now, e.since.at)
		e.mark(l.state)
	}
}

// offset is how far the wall clock has gone since the start beyond the time that passed.
func (l *Ledger) offset(now time.Time) time.Duration {
	return now.Round(0).Sub(l.opened.Round(0)) - now.Sub(l.opened)
}

// restampSeen leaves alone what nobody has told since the start: by which clock
// that is dated is not known.
func (l *Ledger) restampSeen(now time.Time, seen []held) {
	for i := range seen {
		if h := &seen[i]; !h.restored && !h.static {
			h.Seen = restamp(now, h.Seen)
			l.repeats.touch(h.number, h.Seen)
			l.put(now, store.Observations, observationKey(h.Observation), h.observationRecord)
		}
	}
}

func (l *Ledger) restampSaid(now time.Time, e *entity) {
	for i := range e.said {
		s := &e.said[i]
		s.Expires = restamp(now, s.Expires)
		if stamped(s.At) {
			s.At = restamp(now, s.At)
		}
		l.put(now, store.Publications, publicationKey(s.Of, s.slot), s.standingRecord)
	}
	l.redateSince(now, e)
}

func (l *Ledger) redateSince(now time.Time, e *entity) {
	if stamped(e.since.at) {
		e.since.at = restamp(now, e.since.at)
		l.put(now, store.Since, sincePresentity+string(e.of), e.since)
	}
}

// past holds a date from the disk to before the start: by a clock that was ahead,
// what is now would have begun tomorrow.
func (l *Ledger) past(now, at time.Time) time.Time {
	if opened := restamp(now, l.opened); !stamped(at) && at.After(opened.Round(0)) {
		return opened
	}
	return at
}
