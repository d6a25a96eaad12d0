package presence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// darkness is what the evidence of power, link, reachability and registration
// comes to.
type darkness struct {
	state   DeviceState // "": not dark
	cause   Cause       // of the darkness, or of the hint
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
	lost := misses > 0 || !f.everReached() || f.displaced()
	switch {
	case misses == 0 && f.answering():
		return f.registered(calls)
	case port != nil && lost:
		return f.unplugged(port, power, silent)
	case calls.exact && calls.live && calls.state != Idle && f.portUp():
		if misses >= Misses {
			return darkness{because: silent, cause: NoAnswer, hint: "on a call, and its web page does not answer"}
		}
	case f.addressless() != nil && lost:
		return f.withoutAddress(silent)
	case misses >= Misses:
		return f.deaf(silent)
	}
	d := f.registered(calls)
	d.because = append(silent, d.because...)
	return d
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
		if o.Reach.heard() {
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
	return slices.ContainsFunc(f.reaches(), func(o Observation) bool { return o.Reach.heard() })
}

// displaced reports that another device answers at the address: of this one nothing is
// heard there, and what its port says counts.
func (f *fusion) displaced() bool {
	return slices.ContainsFunc(f.reaches(), func(o Observation) bool { return o.Reach.Outcome == Other })
}

func (f *fusion) everReached() bool {
	return slices.ContainsFunc(f.own, func(o Observation) bool { return o.Reach.heard() })
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
	d := darkness{state: Unreachable, cause: NoLink, seen: port.Seen}
	where := port.Port.String()
	switch {
	case port.Port.AdminDown:
		d.why = fmt.Sprintf("its port %s is switched off", where)
	case power != nil && power.Power.State == PowerFault:
		d.state, d.cause, d.why = Unpowered, NoPower, fmt.Sprintf("its port %s reports a power fault and has no link", where)
	case power != nil && power.Power.State == PowerDisabled:
		d.why = fmt.Sprintf("its port %s has no link (power over Ethernet is switched off there)", where)
	case power != nil:
		d.state, d.cause, d.why = Unpowered, NoPower, fmt.Sprintf("its port %s has no link and delivers no power: unplugged, or moved", where)
	default:
		d.why = fmt.Sprintf("its port %s has no link", where)
	}
	d.because = append([]Evidence{{port.Source, fmt.Sprintf("%s %s", f.in.Name, portText(*port)), port.Seen, true}}, silent...)
	return d
}

// addressless is the live word of a switch whose neighbour table has the device
// and no address of it. It is evidence only beside silence: a device that answers
// has one, whatever it announces.
func (f *fusion) addressless() *Observation {
	for i, o := range f.own {
		if o.Port != nil && f.counts(o) && o.Port.Addressless && o.Port.Neighbour && (!o.Port.LinkKnown || o.Port.LinkUp) {
			return &f.own[i]
		}
	}
	return nil
}

func (f *fusion) withoutAddress(silent []Evidence) darkness {
	o := f.addressless()
	d := darkness{state: Unreachable, cause: NoAddress, seen: o.Seen,
		why: fmt.Sprintf("linked at %s, and has no address: no DHCP lease, or another VLAN than the phones'", o.Port)}
	d.because = append([]Evidence{{o.Source, fmt.Sprintf("%s %s, and announces no address", f.in.Name, portText(*o)), o.Seen, true}}, silent...)
	return d
}

func newest(all []Evidence) (at time.Time) {
	for _, e := range all {
		if e.Seen.After(at) {
			at = e.Seen
		}
	}
	return at
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
	d := darkness{state: Unreachable, cause: NoAnswer, because: silent, why: "answers no poll"}
	d.seen = newest(silent)
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
				d.hint, d.cause = "on a call, and registered with no call server", NoRegistrar
				says = f.in.Name + " registered nowhere"
			case !r.Registered:
				d.state, d.cause, d.seen = Unregistered, NoRegistrar, o.Seen
				d.why = "answers, and is registered with no call server"
				says = f.in.Name + " registered nowhere"
			case r.Survivable:
				d.hint, d.cause = strings.TrimSpace("runs on the branch's survivable router "+r.Server), OnSRST
				says += " (survivable)"
			}
			d.because = append(d.because, Evidence{o.Source, says, o.Seen, true})
			d.because = append(d.because, f.logged(d.cause)...)
			break
		}
	}
	for _, o := range f.reaches() {
		if o.Reach.Outcome == Answered && o.Reach.Detail != "" { // which is how fast, and would be news with each poll
			d.because = append(d.because, Evidence{o.Source, f.in.Name + " answers over " + o.Reach.Via, o.Seen, true})
		}
		if o.Reach.Outcome == Refused || o.Reach.Outcome == Garbled {
			if d.state == "" && d.cause == "" && o.Reach.Outcome == Refused && o.Reach.Via == "web" {
				d.cause = WebDisabled
			}
			d.hint = cmp.Or(d.hint, o.Reach.Detail, "its answers over "+o.Reach.Via+" are "+string(o.Reach.Outcome))
			d.because = append(d.because, Evidence{o.Source, f.in.Name + " " + string(o.Reach.Outcome), o.Seen, true})
		}
		if o.Reach.Outcome == Other {
			d.hint = cmp.Or(d.hint, o.Reach.Detail, "another device answers at its address")
			d.because = append(d.because, Evidence{o.Source, f.in.Name + " not at its address: another device is", o.Seen, true})
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

// logged is the last line of the device's own log beside a registration that is
// not the usual one: the device says why itself.
func (f *fusion) logged(cause Cause) []Evidence {
	if cause != NoRegistrar && cause != OnSRST {
		return nil
	}
	for _, o := range f.own {
		if o.Log != nil && len(o.Log.Lines) > 0 {
			return []Evidence{{o.Source, f.in.Name + " logged: " + o.Log.Lines[len(o.Log.Lines)-1], o.Seen, o.LiveAt(f.now)}}
		}
	}
	return nil
}
