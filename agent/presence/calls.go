package presence

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// verdict is what the call evidence about one device comes to.
type verdict struct {
	state   DeviceState // "": nobody ever told
	live    bool
	seen    time.Time
	exact   bool // a source that sees each call says so
	lines   []Line
	because []Evidence
}

// calls weighs all that was told of calls on this device.
//
// Exact sources (dialog events, LineInfo) see ringing, hold and each line.
// Where two exact sources contradict each other, see settle.
// Streams see only that audio flows, and take a page for a call: they count
// where no live exact source speaks for every line. A shared line that is used
// elsewhere is shown, and is no call here (RFC 4235 §4.1.6 tells where).
func (f *fusion) calls() verdict {
	said := f.sayings()
	var live []saying
	for _, s := range said {
		if s.live {
			live = append(live, s)
		}
	}
	if len(live) == 0 {
		if len(said) == 0 {
			return verdict{lines: f.blankLines(false)}
		}
		return f.conclude(newestPerLine(said), false)
	}
	if f.covered(live) {
		live = slices.DeleteFunc(live, func(s saying) bool { return !s.exact })
	}
	return f.conclude(settle(live), true)
}

// Settling is how much later a device must say the contrary of what a call server
// told of a line: the two hear of a call at different moments, and an event is
// right at its own.
const Settling = 5 * time.Second

// settle decides where the device's own exact word (LineInfo, which is polled)
// contradicts a call server's (dialog events). The later one knows better; an
// event, though, holds against a poll for as long as things may be settling. Where
// the two agree the event speaks for both, or each poll after it would be news.
func settle(live []saying) []saying {
	out := make([]saying, 0, len(live))
	for _, s := range live {
		switch {
		case !s.exact:
		case s.whole:
			said := len(s.lines)
			s.lines = slices.DeleteFunc(slices.Clone(s.lines), func(l Line) bool {
				return slices.ContainsFunc(live, func(e saying) bool { return e.tells(l.Number) && !s.corrects(e) })
			})
			if said > 0 && len(s.lines) == 0 {
				continue
			}
		case slices.ContainsFunc(live, func(p saying) bool { return p.exact && p.whole && p.corrects(s) }):
			continue
		}
		out = append(out, s)
	}
	return out
}

// tells reports whether s is a call server's word on that line.
func (s saying) tells(number string) bool {
	return s.exact && !s.whole && len(s.lines) > 0 && s.lines[0].Number == number
}

// corrects reports whether a device's own word s is the contrary of an event, and
// so much later that it knows better.
func (s saying) corrects(event saying) bool {
	if len(event.lines) == 0 || !s.seen.After(event.seen.Add(Settling)) {
		return false
	}
	mine := Idle // a line that it does not name
	for _, l := range s.lines {
		if l.Number == event.lines[0].Number {
			mine = deviceState(l)
		}
	}
	return mine != deviceState(event.lines[0])
}

// newestPerLine keeps, of words that nobody vouches for any more, the last one
// on each line: said is newest first.
func newestPerLine(said []saying) []saying {
	var last []saying
	told := map[string]bool{}
	for i, s := range said {
		fresh := i == 0
		for _, l := range s.lines {
			fresh = fresh || !told[l.Number]
		}
		if !fresh {
			continue
		}
		for _, l := range s.lines {
			told[l.Number] = true
		}
		last = append(last, s)
	}
	return last
}

// A saying is one source's word on the calls of this device.
type saying struct {
	source string
	seen   time.Time
	live   bool
	exact  bool
	whole  bool // it speaks for the device, not for one line
	lines  []Line
}

// sayings collects the words, newest first.
func (f *fusion) sayings() []saying {
	var all []saying
	for _, o := range f.own {
		if o.Calls != nil {
			all = append(all, saying{o.Source, o.Seen, f.counts(o), o.Calls.Exact, true, o.Calls.Lines})
		}
	}
	for _, l := range f.in.Lines {
		for _, o := range l.Seen {
			if o.Calls == nil {
				continue
			}
			all = append(all, saying{o.Source, o.Seen, f.counts(o), o.Calls.Exact, false, []Line{f.mine(l, o.Calls.Lines)}})
		}
	}
	slices.SortStableFunc(all, func(a, b saying) int {
		return cmp.Or(b.seen.Compare(a.seen), cmp.Compare(a.source, b.source))
	})
	return all
}

// mine is what is told of a line, as far as it concerns this device: a shared
// line may do one thing here and another elsewhere.
func (f *fusion) mine(l LineInput, told []Line) Line {
	best := Line{Number: l.Number, State: LineIdle}
	for i, line := range told {
		line.Number = l.Number
		line.Elsewhere = line.Elsewhere || l.Shared && line.State != LineIdle && !f.isHere(line)
		if i == 0 || cmp.Or(strength(deviceState(line))-strength(deviceState(best)), lineStrength(line)-lineStrength(best)) > 0 {
			best = line
		}
	}
	return best
}

// isHere reports whether one of the line's dialogs ends at this device.
func (f *fusion) isHere(l Line) bool {
	for _, o := range f.own {
		if o.Identity != nil && o.Identity.Address.IsValid() && slices.Contains(l.Sites, o.Identity.Address) {
			return true
		}
	}
	return false
}

// covered reports whether live exact sources speak for the whole device.
func (f *fusion) covered(live []saying) bool {
	told := map[string]bool{}
	for _, s := range live {
		if !s.exact {
			continue
		}
		if s.whole {
			return true
		}
		for _, l := range s.lines {
			told[l.Number] = true
		}
	}
	for _, l := range f.in.Lines {
		if !told[l.Number] {
			return false
		}
	}
	return len(f.in.Lines) > 0
}

// conclude makes one state of the words that count; the strongest comes first
// in because, the newest first among equals.
func (f *fusion) conclude(said []saying, live bool) verdict {
	whole := slices.ContainsFunc(said, func(s saying) bool { return s.whole })
	v := verdict{state: Idle, live: live, lines: f.blankLines(whole)}
	slices.SortStableFunc(said, func(a, b saying) int { return cmp.Compare(b.strength(), a.strength()) })
	v.state, v.seen = deviceStates[said[0].strength()], said[0].seen
	for _, s := range said {
		v.exact = v.exact || s.exact && s.strength() == said[0].strength()
		for _, l := range s.lines {
			v.lines = putLine(v.lines, l)
			v.because = append(v.because, Evidence{s.source, f.in.Name + " " + l.text(s.exact), s.seen, s.live})
		}
		if len(s.lines) == 0 {
			v.because = append(v.because, Evidence{s.source, f.in.Name + " no call", s.seen, s.live})
		}
	}
	return v
}

// strength is that of the strongest line.
func (s saying) strength() int {
	n := 0
	for _, l := range s.lines {
		n = max(n, strength(deviceState(l)))
	}
	return n
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// blankLines are the device's lines before anything is said of each: idle where
// somebody speaks for the whole device, else unknown.
func (f *fusion) blankLines(whole bool) []Line {
	state := LineUnknown
	if whole {
		state = LineIdle
	}
	lines := make([]Line, 0, len(f.in.Lines))
	for _, l := range f.in.Lines {
		lines = append(lines, Line{Number: l.Number, State: state})
	}
	return lines
}

// putLine keeps the strongest word on each number, in the order of the keys.
func putLine(lines []Line, l Line) []Line {
	for i := range lines {
		if lines[i].Number != l.Number {
			continue
		}
		if lineStrength(l) > lineStrength(lines[i]) {
			lines[i] = l
		}
		return lines
	}
	return append(lines, l)
}

// deviceState is what a line's state means for the device it is on.
func deviceState(l Line) DeviceState {
	switch {
	case l.Elsewhere || l.State == LineIdle || l.State == LineUnknown || l.State == "":
		return Idle
	case l.State == LineConfirmed && l.Held:
		return OnHold
	case l.State == LineConfirmed:
		return InUse
	case l.Outgoing: // dialling is using the phone (the caller hears ringback)
		return InUse
	}
	return Ringing
}

// deviceStates are the states that calls make, weakest first.
var deviceStates = []DeviceState{Idle, Ringing, OnHold, InUse}

func strength(s DeviceState) int { return slices.Index(deviceStates, s) }

func lineStrength(l Line) int {
	n := 2 * slices.Index([]LineState{LineIdle, LineTrying, LineProceeding, LineEarly, LineConfirmed}, l.State)
	return 2*n + b2i(!l.Elsewhere) + b2i(!l.Held)
}

// text is the line's state as a person reads it.
func (l Line) text(exact bool) string {
	s := string(l.State)
	switch {
	case l.State == LineConfirmed && l.Held:
		s = "on hold"
	case !exact && l.State == LineConfirmed:
		s = "audio flows"
	case !exact && l.State == LineIdle:
		s = "no audio"
	}
	if l.Elsewhere {
		s += " on another phone"
	}
	if l.Number == "" {
		return s
	}
	return fmt.Sprintf("line %s %s", l.Number, s)
}
