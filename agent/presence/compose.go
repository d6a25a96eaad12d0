package presence

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Input is all that a document is composed of.
type Input struct {
	Of      Presentity
	Kind    Kind
	Name    string
	Devices []Device    // that belong to it
	Bare    []LineInput // numbers it owns that are on no device known
	Said    []Standing  // what is published, by herself and by agents of hers
}

// Compose is the composition policy (RFC 4479 §2): from all that is known of a
// presentity to the one document that watchers are told. Strongest first:
//
//	manual do-not-disturb, manual offline or out-of-office, on the phone,
//	in a meeting, manual busy or away, busy, away, available, offline, unknown
//
// What is live goes before what is last known, and nothing that is last known
// makes anybody available. The time is when the result may change by ageing
// alone; zero: never.
func Compose(in Input, now time.Time) (Document, time.Time) {
	d := Document{Of: in.Of, Kind: in.Kind, Name: in.Name}
	in.Devices = slices.SortedFunc(slices.Values(in.Devices), func(a, b Device) int { return cmp.Compare(a.Name, b.Name) })
	c := composer{in: in, now: now}
	words := c.words()
	slices.SortStableFunc(words, compareWords)
	best := words[0]
	d.Availability, d.Freshness, d.AsOf, d.Manual = best.word, best.fresh, best.seen, best.manual
	d.Because = c.because(words)
	c.say(&d, best)
	c.devices(&d)
	return d, c.next
}

// A word is one source's idea of the availability.
type word struct {
	word    Availability
	manual  bool
	fresh   Freshness
	seen    time.Time
	key     string // breaks ties, so that the order of arrival never shows
	because []Evidence
}

// rank is the place in the order of the contract; the smaller is the stronger.
func (w word) rank() int {
	switch {
	case w.manual && w.word == DoNotDisturb:
		return 0
	case w.manual && (w.word == Offline || w.word == OutOfOffice):
		return 1
	case w.word == OnThePhone:
		return 2
	case w.word == InAMeeting:
		return 3
	case w.manual && (w.word == Busy || w.word == Away):
		return 4
	case w.word == DoNotDisturb:
		return 5
	case w.word == Busy:
		return 6
	case w.word == OutOfOffice:
		return 7
	case w.word == Away:
		return 8
	case w.word == Available:
		return 9
	case w.word == Offline:
		return 10
	}
	return 11
}

// compareWords: live before last known before never seen, then the contract's
// order; unknown is weaker than anything that was ever known.
func compareWords(a, b word) int {
	return cmp.Or(
		cmp.Compare(b2i(a.fresh != Live || a.word == Unknown), b2i(b.fresh != Live || b.word == Unknown)),
		cmp.Compare(a.rank(), b.rank()),
		cmp.Compare(b2i(b.manual), b2i(a.manual)),
		cmp.Compare(freshRank(a.fresh), freshRank(b.fresh)),
		b.seen.Compare(a.seen),
		cmp.Compare(a.key, b.key),
	)
}

func freshRank(f Freshness) int { return slices.Index([]Freshness{Live, LastKnown, NeverSeen}, f) }

type composer struct {
	in   Input
	now  time.Time
	next time.Time
}

func (c *composer) words() []word {
	words := []word{{word: Unknown, fresh: NeverSeen, key: "~"}}
	for _, s := range c.in.Said {
		if !s.Expires.IsZero() && !c.now.Before(s.Expires) {
			continue
		}
		c.next = Earlier(c.next, s.Expires)
		words = append(words, saidWord(s))
	}
	for _, d := range c.in.Devices {
		if w, ok := deviceWord(d); ok {
			words = append(words, w)
		}
	}
	for _, l := range c.in.Bare {
		words = append(words, c.lineWords(l)...)
	}
	return append(words, c.allDark()...)
}

func saidWord(s Standing) word {
	says := "says " + string(s.Said.Availability)
	source := "published by " + s.By
	if s.Manual {
		source = "manual"
	}
	return word{s.Said.Availability, s.Manual, Live, s.At, "said " + s.By + string(s.ETag), []Evidence{{source, says, s.At, true}}}
}

// deviceWord is what one device says of its owner. A dark one says nothing by
// itself: see allDark.
func deviceWord(d Device) (word, bool) {
	w := word{fresh: d.Freshness, seen: d.AsOf, key: "device " + d.Name, because: d.Because}
	switch d.State {
	case InUse, OnHold: // hold counts as on the phone
		w.word = OnThePhone
	case Idle, Ringing: // ringing is not busy yet
		w.word = Available
	default:
		return w, false
	}
	if d.Freshness != Live && w.word == Available {
		w.word = Unknown // a stale device never makes a person available
	}
	return w, true
}

// lineWords is what call servers say of a number without a device.
func (c *composer) lineWords(l LineInput) []word {
	var words []word
	for _, o := range l.Seen {
		if o.Calls == nil {
			continue
		}
		c.next = sooner(c.next, o, c.now)
		w := word{word: Available, fresh: LastKnown, seen: o.Seen, key: "line " + l.Number + o.Source}
		line := Line{Number: l.Number, State: LineIdle}
		for _, told := range o.Calls.Lines {
			told.Number = l.Number
			if lineStrength(told) >= lineStrength(line) {
				line = told
			}
			if st := deviceState(told); st == InUse || st == OnHold {
				w.word = OnThePhone
			}
		}
		live := o.LiveAt(c.now)
		switch {
		case live:
			w.fresh = Live
		case w.word == Available:
			w.word = Unknown
		}
		w.because = []Evidence{{o.Source, line.text(true), o.Seen, live}}
		words = append(words, w)
	}
	return words
}

// allDark makes a presentity offline when each of its devices is known to be
// dark; one of which nothing is known leaves it open.
func (c *composer) allDark() []word {
	if len(c.in.Devices) == 0 {
		return nil
	}
	w := word{word: Offline, fresh: Live, key: "dark"}
	for _, d := range c.in.Devices {
		if !d.State.Dark() || d.State == StateUnknown {
			w.word = Unknown
		}
		if d.AsOf.After(w.seen) {
			w.seen = d.AsOf
		}
		if freshRank(d.Freshness) > freshRank(w.fresh) {
			w.fresh = d.Freshness
		}
		if d.State.Dark() {
			if len(d.Because) > 0 {
				w.because = append(w.because, d.Because...)
			} else {
				w.because = append(w.because, Evidence{Source: "agent", Says: d.Name + " " + cmp.Or(d.Diagnosis, string(d.State)), Live: true})
			}
		}
	}
	return []word{w}
}

// maxBecause bounds the reasons that a document carries.
const maxBecause = 16

// because gives the reasons, those that decide first.
func (c *composer) because(words []word) []Evidence {
	var all []Evidence
	for _, w := range words {
		for _, e := range w.because {
			if !slices.ContainsFunc(all, func(have Evidence) bool { return have.Source == e.Source && have.Says == e.Says }) && len(all) < maxBecause {
				all = append(all, e)
			}
		}
	}
	return all
}

// say takes over what is told in words: the person's own note goes before that
// of an agent.
func (c *composer) say(d *Document, best word) {
	var manual, noted *Standing
	for i := range c.in.Said {
		s := &c.in.Said[i]
		if !s.Expires.IsZero() && !c.now.Before(s.Expires) {
			continue
		}
		if s.Manual {
			manual = s
		}
		if s.Said.Note != "" && (noted == nil || s.At.After(noted.At) || s.At.Equal(noted.At) && s.By < noted.By) {
			noted = s
		}
		if a := s.Said.Abilities; a != nil {
			d.Capabilities.Abilities = d.Capabilities.or(*a)
		}
	}
	switch {
	case manual != nil && (manual.Said.Note != "" || best.manual):
		d.Note = manual.Said.Note
	case noted != nil:
		d.Note = noted.Said.Note
	}
	if manual != nil && best.manual {
		d.Until = manual.Expires
	}
}

// bareLines are the lines without a device, as the newest live word of a call
// server has them.
func (c *composer) bareLines() (all []Line) {
	for _, l := range c.in.Bare {
		if slices.ContainsFunc(c.in.Devices, func(d Device) bool {
			return slices.ContainsFunc(d.Lines, func(on Line) bool { return on.Number == l.Number })
		}) {
			continue // they tell of it, each as far as it concerns them
		}
		var newest *Observation
		for i, o := range l.Seen {
			if o.Calls != nil && o.LiveAt(c.now) && (newest == nil || o.Seen.After(newest.Seen)) {
				newest = &l.Seen[i]
			}
		}
		if newest == nil {
			continue
		}
		for _, told := range newest.Calls.Lines {
			told.Number = l.Number
			all = append(all, told)
		}
	}
	return all
}

// devices lists what belongs to the presentity, and what can reach it there.
func (c *composer) devices(d *Document) {
	d.Lines = c.bareLines()
	for _, dev := range c.in.Devices {
		d.Devices = append(d.Devices, DeviceView{dev.Name, dev.State, dev.Lines, dev.Freshness, dev.Identity.Address})
		if dev.Freshness == Live && (!dev.State.Dark() || dev.State == StateUnknown) { // it answers, though nobody tells of its calls
			d.Capabilities.Abilities = d.Capabilities.or(dev.Abilities)
		}
		if m := dev.Messages; m != nil && m.Waiting {
			d.Capabilities.VoiceMessages = max(d.Capabilities.VoiceMessages, m.New, 1)
		}
	}
	if d.Manual && d.Availability == Offline { // who says offline is not to be reached
		d.Capabilities.Abilities = Abilities{}
	}
}

// SameDevice reports whether nobody could tell a from b but by their ages.
func SameDevice(a, b Device) bool {
	return a.Name == b.Name && a.State == b.State && a.Diagnosis == b.Diagnosis && a.Freshness == b.Freshness &&
		a.Owner == b.Owner && a.Abilities == b.Abilities && sameIdentity(a.Identity, b.Identity) &&
		sameLines(a.Lines, b.Lines) && same(a.Registration, b.Registration) && same(a.Port, b.Port) &&
		same(a.Power, b.Power) && same(a.Messages, b.Messages) && a.Cause == b.Cause &&
		same(a.Neighbour, b.Neighbour) && same(a.Screen, b.Screen) && sameLog(a.Log, b.Log) && sameEthernet(a.Ethernet, b.Ethernet) &&
		slices.Equal(a.Streams, b.Streams) && sameEvidence(a.Because, b.Because)
}

// SameDocument reports whether no watcher could tell a from b but by their ages.
func SameDocument(a, b Document) bool {
	return a.Of == b.Of && a.Kind == b.Kind && a.Name == b.Name && a.Availability == b.Availability &&
		a.Note == b.Note && a.Manual == b.Manual && a.Until.Equal(b.Until) && a.Freshness == b.Freshness &&
		a.Capabilities == b.Capabilities && sameEvidence(a.Because, b.Because) && sameLines(a.Lines, b.Lines) &&
		slices.EqualFunc(a.Devices, b.Devices, func(x, y DeviceView) bool {
			return x.Name == y.Name && x.State == y.State && x.Freshness == y.Freshness && x.Address == y.Address && sameLines(x.Lines, y.Lines)
		})
}

func same[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func sameLog(a, b *Log) bool {
	return a == b || a != nil && b != nil && slices.Equal(a.Lines, b.Lines)
}

func sameEthernet(a, b *Ethernet) bool {
	return a == b || a != nil && b != nil && slices.Equal(a.Ports, b.Ports)
}

func sameIdentity(a, b Identity) bool {
	return a.Model == b.Model && a.Serial == b.Serial && a.Firmware == b.Firmware && a.MAC == b.MAC &&
		a.Address == b.Address && a.Description == b.Description && slices.Equal(a.Lines, b.Lines)
}

func sameLines(a, b []Line) bool {
	return slices.EqualFunc(a, b, func(x, y Line) bool {
		return x.Number == y.Number && x.State == y.State && x.Held == y.Held && x.Outgoing == y.Outgoing &&
			x.Elsewhere == y.Elsewhere && slices.Equal(x.Sites, y.Sites)
	})
}

func sameEvidence(a, b []Evidence) bool {
	return slices.EqualFunc(a, b, func(x, y Evidence) bool {
		return x.Source == y.Source && x.Says == y.Says && x.Live == y.Live
	})
}

// String is the line as a person reads it.
func (l Line) String() string { return fmt.Sprint(l.text(true)) }
