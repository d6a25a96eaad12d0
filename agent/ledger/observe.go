package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pilotlight/agent/ledger/internal/store"
	"pilotlight/agent/presence"
)

// driftEvery is how often numbers that drift by themselves are written.
const driftEvery = 10 * time.Minute

// What one observation may hold at most; a wire is behind most of them.
const (
	maxName  = 300
	maxText  = 1024
	maxItems = 256
)

// Observe tells what was seen. It returns once that is merged and composed,
// and waits neither for the disk nor for a follower. What is not an
// observation is refused by itself; the others are taken.
func (l *Ledger) Observe(ctx context.Context, observations ...presence.Observation) error {
	var refused []error
	for _, o := range observations {
		if err := checkObservation(o); err != nil {
			refused = append(refused, err)
		}
	}
	err := l.do(ctx, func(now time.Time) {
		for _, o := range observations {
			if checkObservation(o) != nil {
				l.refuse("invalid")
			} else if err := l.observe(now, o); err != nil {
				refused = append(refused, err)
			}
		}
	})
	if err != nil {
		return err
	}
	return errors.Join(refused...)
}

func checkObservation(o presence.Observation) error {
	switch {
	case o.Source == "" || len(o.Source) > maxName || strings.ContainsRune(o.Source, 0):
		return fmt.Errorf("%w: source %.40q", ErrInvalid, o.Source)
	case (o.Device == "") == (o.Of == ""):
		return fmt.Errorf("%w: from %s: wants a device or a presentity, and not both", ErrInvalid, o.Source)
	case len(o.Device) > maxName || strings.ContainsAny(o.Device, ":\x00"):
		return fmt.Errorf("%w: from %s: device %.40q", ErrInvalid, o.Source, o.Device)
	case len(o.Of) > maxName || o.Of != "" && !strings.HasPrefix(string(o.Of), "sip:") || strings.ContainsRune(string(o.Of), 0):
		return fmt.Errorf("%w: from %s: presentity %.40q", ErrInvalid, o.Source, o.Of)
	case o.Seen.IsZero() || o.TTL <= 0:
		return fmt.Errorf("%w: from %s of %s: without time or TTL", ErrInvalid, o.Source, o.Key().Subject)
	case !bounded(o.Facts):
		return fmt.Errorf("%w: from %s of %s: too large", ErrInvalid, o.Source, o.Key().Subject)
	}
	return nil
}

// bounded holds the lists and texts that come from a wire to a size.
func bounded(f presence.Facts) bool {
	ok := true
	text := func(all ...string) {
		for _, s := range all {
			ok = ok && len(s) <= maxText
		}
	}
	items := func(n int) { ok = ok && n <= maxItems }
	if v := f.Identity; v != nil {
		text(v.Model, v.Serial, v.Firmware, v.MAC, v.Description)
		text(v.Lines...)
		items(len(v.Lines))
	}
	if v := f.Calls; v != nil {
		items(len(v.Lines))
		for _, l := range v.Lines {
			text(l.Number, string(l.State))
			items(len(l.Sites))
		}
	}
	if v := f.Reach; v != nil {
		text(v.Via, v.Detail, string(v.Outcome))
	}
	if v := f.Registration; v != nil {
		text(v.Server)
	}
	if v := f.Port; v != nil {
		text(v.Switch, v.Name)
	}
	if v := f.Streams; v != nil {
		items(len(v.List))
		for _, s := range v.List {
			text(s.Codec)
		}
	}
	if v := f.Person; v != nil {
		text(v.Name)
		text(v.Devices...)
		text(v.Lines...)
		items(len(v.Devices) + len(v.Lines))
	}
	if v := f.Neighbour; v != nil {
		text(v.Switch, v.Port)
	}
	if v := f.Ethernet; v != nil {
		items(len(v.Ports))
		for _, p := range v.Ports {
			text(p.Name, p.Speed)
		}
	}
	if v := f.Log; v != nil {
		ok = ok && len(v.Lines) <= presence.MaxLogLines
		text(v.Lines...)
	}
	if v := f.Screen; v != nil {
		text(v.Title, v.Prompt, v.Notify)
	}
	return ok
}

// observe merges one observation.
func (l *Ledger) observe(now time.Time, o presence.Observation) error {
	if o.Seen.After(now) { // or nothing its source says would count before then
		o.Seen = now
	}
	if o.Device != "" {
		d, ok := l.device(o.Device)
		if !ok {
			return fmt.Errorf("device %s: %w", o.Device, ErrFull)
		}
		taken, err := l.merge(now, &d.seen, o)
		if taken {
			l.renumber(d)
			d.mark(l.state)
		}
		return err
	}
	e, ok := l.entity(o.Of)
	if !ok {
		return fmt.Errorf("presentity %s: %w", o.Of, ErrFull)
	}
	taken, err := l.merge(now, &e.seen, o)
	if taken {
		l.recount(e)
	}
	return err
}

// recount brings the roster in line with what was seen of a person or a line.
func (l *Ledger) recount(e *entity) {
	line := false
	for _, h := range e.seen {
		line = line || h.Calls != nil
	}
	if line != e.line {
		e.line = line
		l.roster.SetLine(e.of.User(), line)
	}
	l.rename(e)
	e.mark(l.state)
	l.markNumber(e.of.User())
}

// merge puts o in its place among what was seen of one subject. An older one
// than is there changes nothing, so that the order of arrival does not matter.
func (l *Ledger) merge(now time.Time, seen *[]held, o presence.Observation) (taken bool, err error) {
	for i := range *seen {
		old := &(*seen)[i]
		if old.Source != o.Source {
			continue
		}
		if old.static || !old.restored && o.Seen.Before(old.Seen) {
			return false, nil
		}
		l.replace(now, old, o)
		return true, nil
	}
	if len(*seen) >= maxSources {
		l.refuse("sources")
		return false, fmt.Errorf("observation from %s of %s: %w", o.Source, o.Key().Subject, ErrFull)
	}
	h := held{observationRecord: observationRecord{o, l.repeats.take()}, written: now}
	l.put(now, store.Observations, observationKey(o), h.observationRecord)
	*seen = append(*seen, h)
	return true, nil
}

// replace takes the later word of a source, and sees to it that the disk has
// what matters of it.
func (l *Ledger) replace(now time.Time, h *held, o presence.Observation) {
	same := sameFacts(h.Facts, o.Facts)
	drifted := same && !sameNumbers(h.Facts, o.Facts)
	backwards := o.Seen.Before(h.Seen) // the wall clock, over a restart
	h.Observation, h.restored = o, false
	l.repeats.touch(h.number, o.Seen)
	if l.repeats.since.IsZero() {
		l.repeats.since = now
	}
	switch {
	case !same:
		l.put(now, store.Observations, observationKey(o), h.observationRecord)
		h.written = now
	case drifted && now.Sub(h.written) >= driftEvery:
		l.ride(now, store.Observations, observationKey(o), h.observationRecord)
		h.written = now
	case backwards: // the disk must not tell the later time of before
		l.repeats.since = now.Add(-touchEvery)
	}
}

// unwrite forgets an observation on disk.
func (l *Ledger) unwrite(now time.Time, h held) {
	l.put(now, store.Observations, observationKey(h.Observation), nil)
	l.repeats.free(h.number)
}
