package presence

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// darkness is what the evidence of power, link, reachability and registration
// comes to.
type darkness struct {
	state   DeviceState // "": not dark
	why     string      // one sentence
	hint    string      // what is worth saying of a device that is not dark
	seen    time.Time
	because []Evidence
}

// dark decides whether the device is dark, and why. An interface that a device
// has not got, or that is switched off, is never evidence of down: only silence
// where there were answers to expect, a dead port, or the device's own word is.
func (f *fusion) dark(calls verdict) darkness {
	misses, silent := f.silence()
	port, power := f.portDown()
	switch {
	case misses == 0 && f.answering():
		return f.registered(calls)
	case port != nil && (misses > 0 || !f.everReached()):
		return f.unplugged(port, power, silent)
	case misses >= Misses:
		if calls.exact && calls.live && calls.state != Idle && f.portUp() {
			return darkness{because: silent, hint: "on a call, and its web page does not answer"}
		}
		return f.deaf(silent)
	case misses > 0:
		d := f.registered(calls)
		d.because = append(silent, d.because...)
		return d
	}
	return f.registered(calls)
}

// reaches gives, for each way of asking, how the device last answered.
func (f *fusion) reaches() []Observation {
	var last []Observation
	for _, o := range f.own { // newest first
		if o.Reach == nil || !f.counts(o) {
			continue
		}
		if !slices.ContainsFunc(last, func(l Observation) bool { return l.Reach.Via == o.Reach.Via }) {
			last = append(last, o)
		}
	}
	// Who was asked last is no news: in the order of time, evidence would change with each poll.
	slices.SortFunc(last, func(a, b Observation) int { return cmp.Compare(a.Reach.Via, b.Reach.Via) })
	return last
}

// silence is the longest run of unanswered polls of a device that answers on no way.
func (f *fusion) silence() (misses int, because []Evidence) {
	for _, o := range f.reaches() {
		if o.Reach.Outcome != Silent {
			return 0, nil
		}
		if o.Reach.Misses > 0 {
			misses = max(misses, o.Reach.Misses)
			says := " missed a poll"
			if o.Reach.Misses >= Misses { // no number beyond this: it would be news with each poll
				says = " silent"
			}
			because = append(because, Evidence{o.Source, f.in.Name + says, o.Seen, true})
		}
	}
	return misses, because
}

func (f *fusion) answering() bool {
	return slices.ContainsFunc(f.reaches(), func(o Observation) bool { return o.Reach.Outcome != Silent })
}

func (f *fusion) everReached() bool {
	return slices.ContainsFunc(f.own, func(o Observation) bool { return o.Reach != nil && o.Reach.Outcome != Silent })
}

// portDown is the live evidence that the port has no link, unless some switch
// lists the device elsewhere: it was moved.
func (f *fusion) portDown() (port, power *Observation) {
	for i := range f.own {
		o := &f.own[i]
		if o.Port == nil || !f.counts(*o) {
			continue
		}
		if o.Port.Neighbour && (!o.Port.LinkKnown || o.Port.LinkUp) {
			return nil, nil
		}
		if port == nil && o.Port.LinkKnown && !o.Port.LinkUp {
			port = o
		}
	}
	if port != nil && port.Power != nil && port.Power.State != "" && port.Power.State != PowerDelivering {
		power = port
	}
	return port, power
}

func (f *fusion) portUp() bool {
	return slices.ContainsFunc(f.own, func(o Observation) bool {
		return o.Port != nil && f.counts(o) && o.Port.LinkKnown && o.Port.LinkUp
	})
}

func (f *fusion) unplugged(port, power *Observation, silent []Evidence) darkness {
	d := darkness{state: Unreachable, seen: port.Seen}
	where := port.Port.String()
	switch {
	case port.Port.AdminDown:
		d.why = fmt.Sprintf("its port %s is switched off", where)
	case power != nil && power.Power.State == PowerFault:
		d.state, d.why = Unpowered, fmt.Sprintf("its port %s reports a power fault and has no link", where)
	case power != nil && power.Power.State == PowerDisabled:
		d.why = fmt.Sprintf("its port %s has no link (power over Ethernet is switched off there)", where)
	case power != nil:
		d.state, d.why = Unpowered, fmt.Sprintf("its port %s has no link and delivers no power: unplugged, or moved", where)
	default:
		d.why = fmt.Sprintf("its port %s has no link", where)
	}
	d.because = append([]Evidence{{port.Source, fmt.Sprintf("%s %s", f.in.Name, portText(*port)), port.Seen, true}}, silent...)
	return d
}

func portText(o Observation) string {
	s := "port " + o.Port.Name
	switch {
	case o.Port.AdminDown:
		s += " is off"
	case o.Port.LinkUp:
		s += " has link"
	default:
		s += " has no link"
	}
	if o.Power != nil && o.Power.State != "" {
		s += ", power " + string(o.Power.State)
		if o.Power.Known {
			s += fmt.Sprintf(" %.1f W", o.Power.Watts)
		}
	}
	return s
}

func (f *fusion) deaf(silent []Evidence) darkness {
	d := darkness{state: Unreachable, because: silent, why: "answers no poll"}
	for _, e := range silent {
		if e.Seen.After(d.seen) {
			d.seen = e.Seen
		}
	}
	for _, o := range f.own {
		if o.Port != nil && o.Port.LinkUp && f.counts(o) {
			d.why += fmt.Sprintf(", though its port %s has link: hung, or restarting", o.Port)
			d.because = append(d.because, Evidence{o.Source, f.in.Name + " " + portText(o), o.Seen, true})
			break
		}
	}
	return d
}

// registered judges a device that is not cut off: it may still serve nobody.
func (f *fusion) registered(calls verdict) darkness {
	var d darkness
	for _, o := range f.own {
		if r := o.Registration; r != nil && f.counts(o) {
			says := f.in.Name + " registered with " + cmp.Or(r.Server, "a call server")
			switch {
			case !r.Registered && calls.live && strength(calls.state) > strength(Idle): // a call may outlive its registration
				d.hint = "on a call, and registered with no call server"
				says = f.in.Name + " registered nowhere"
			case !r.Registered:
				d.state, d.seen = Unregistered, o.Seen
				d.why = "answers, and is registered with no call server"
				says = f.in.Name + " registered nowhere"
			case r.Survivable:
				d.hint = "runs on the branch's survivable router " + r.Server
				says += " (survivable)"
			}
			d.because = append(d.because, Evidence{o.Source, says, o.Seen, true})
			break
		}
	}
	for _, o := range f.reaches() {
		if o.Reach.Outcome == Answered && o.Reach.Detail != "" { // which is how fast, and would be news with each poll
			d.because = append(d.because, Evidence{o.Source, f.in.Name + " answers over " + o.Reach.Via, o.Seen, true})
		}
		if o.Reach.Outcome == Refused || o.Reach.Outcome == Garbled {
			d.hint = cmp.Or(d.hint, o.Reach.Detail)
			d.because = append(d.because, Evidence{o.Source, f.in.Name + " " + string(o.Reach.Outcome), o.Seen, true})
		}
	}
	for _, o := range f.own {
		if o.Port != nil && f.counts(o) && d.state == "" && calls.state == "" {
			d.because = append(d.because, Evidence{o.Source, f.in.Name + " " + portText(o), o.Seen, true})
			break
		}
	}
	return d
}
