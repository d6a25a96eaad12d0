package presence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// DeviceInput is all that is known about one device.
type DeviceInput struct {
	Name  string
	Owner Presentity
	Own   []Observation // about the device itself
	Lines []LineInput   // about the numbers on it, in the order of its keys
}

// LineInput is what call servers say about one number.
type LineInput struct {
	Number string
	Shared bool // it is on more than one device
	Seen   []Observation
}

// Misses is how many polls in a row must go unanswered before silence alone
// means unreachable; with evidence of link or power, one is enough.
const Misses = 3

// Fuse makes one device of all that was seen of it. The time is when the
// result may change by ageing alone; zero: never.
func Fuse(in DeviceInput, now time.Time) (Device, time.Time) {
	f := fusion{in: in, now: now, own: slices.Clone(in.Own)}
	slices.SortFunc(f.own, newestFirst)
	d := Device{Name: in.Name, Owner: in.Owner, State: StateUnknown, Freshness: NeverSeen}
	f.describe(&d)
	f.judge(&d)
	return d, f.ageing()
}

type fusion struct {
	in   DeviceInput
	now  time.Time
	own  []Observation // newest first
	then bool          // judge as things were when last seen: nothing has grown old
}

// counts reports whether an observation is evidence for this judgement.
func (f *fusion) counts(o Observation) bool { return f.then || o.LiveAt(f.now) }

// lastSeen is when a live state was last vouched for: a source that saw the
// device since then, and nothing that changes the state, confirms it.
func (f *fusion) lastSeen(at time.Time) time.Time {
	for _, o := range f.own {
		if o.TTL != Forever && o.LiveAt(f.now) && o.Seen.After(at) && (o.Reach == nil || o.Reach.heard()) {
			at = o.Seen
		}
	}
	return at
}

// refuted reports whether something live speaks against a darkness of before.
// That no call server knows of a call does not prove that the phone is there.
func (f *fusion) refuted(was DeviceState) bool {
	return slices.ContainsFunc(f.own, func(o Observation) bool {
		switch {
		case !o.LiveAt(f.now):
			return false
		case o.Registration != nil, o.Calls != nil:
			return true
		case was == Unregistered:
			return false
		}
		return o.Reach.heard() || o.Port != nil && o.Port.LinkUp
	})
}

// newestFirst orders observations so that equal sets are always read alike.
func newestFirst(a, b Observation) int {
	return cmp.Or(b.Seen.Compare(a.Seen), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Key().Subject, b.Key().Subject))
}

func (f *fusion) ageing() time.Time {
	var next time.Time
	for _, o := range f.in.Own {
		next = sooner(next, o, f.now)
	}
	for _, l := range f.in.Lines {
		for _, o := range l.Seen {
			next = sooner(next, o, f.now)
		}
	}
	return next
}

func sooner(next time.Time, o Observation, now time.Time) time.Time {
	if o.TTL == Forever || !o.LiveAt(now) {
		return next
	}
	return Earlier(next, o.Seen.Add(o.TTL))
}

// Earlier is the earlier of two moments, of which zero is never.
func Earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// describe takes over what does not decide the state.
func (f *fusion) describe(d *Device) {
	for _, o := range f.byAuthority() {
		if o.Identity != nil {
			d.Identity = mergeIdentity(d.Identity, *o.Identity)
		}
	}
	for _, o := range f.own { // the newest word on each
		if d.Registration == nil {
			d.Registration = o.Registration
		}
		if d.Messages == nil {
			d.Messages = o.Messages
		}
		if d.Power == nil {
			d.Power = o.Power
		}
		if d.Neighbour == nil {
			d.Neighbour = o.Neighbour
		}
		if d.Ethernet == nil {
			d.Ethernet = o.Ethernet
		}
		if d.Log == nil {
			d.Log = o.Log
		}
		if d.Screen == nil {
			d.Screen = o.Screen
		}
		if d.Streams == nil && o.Streams != nil && o.LiveAt(f.now) {
			d.Streams = o.Streams.List
		}
		if a := o.Abilities; a != nil && o.LiveAt(f.now) {
			d.Abilities = d.Abilities.or(*a)
		}
	}
	if at := f.place(); at != nil {
		d.Port, d.Power = at.Port, at.Power // the power of another port is not its own
	}
}

// byAuthority orders the observations by who knows best what the device is: the
// device itself first, and then who is live. The order does not depend
// on who spoke last, or two names for one model would take turns.
func (f *fusion) byAuthority() []Observation {
	return slices.SortedStableFunc(slices.Values(f.own), func(a, b Observation) int {
		return cmp.Or(
			b2i(isItself(b.Source))-b2i(isItself(a.Source)),
			b2i(b.LiveAt(f.now))-b2i(a.LiveAt(f.now)),
			b2i(b.TTL != Forever)-b2i(a.TTL != Forever),
			cmp.Compare(a.Source, b.Source),
		)
	})
}

// isItself reports whether a source is the device's own word.
func isItself(source string) bool { return strings.HasPrefix(source, "phone/") }

// place is where the device is plugged in: the port on which a switch lists it
// now, else the last one that did.
func (f *fusion) place() *Observation {
	var last *Observation
	for i, o := range f.own {
		if o.Port == nil {
			continue
		}
		if o.Port.Neighbour && o.LiveAt(f.now) {
			return &f.own[i]
		}
		if last == nil {
			last = &f.own[i]
		}
	}
	return last
}

func mergeIdentity(a, b Identity) Identity {
	a.Model = cmp.Or(a.Model, b.Model)
	a.Serial = cmp.Or(a.Serial, b.Serial)
	a.Firmware = cmp.Or(a.Firmware, b.Firmware)
	a.MAC = cmp.Or(a.MAC, b.MAC)
	a.Description = cmp.Or(a.Description, b.Description)
	if !a.Address.IsValid() {
		a.Address = b.Address
	}
	if len(a.Lines) == 0 {
		a.Lines = b.Lines
	}
	return a
}

func (a Abilities) or(b Abilities) Abilities {
	return Abilities{a.Audio || b.Audio, a.Video || b.Video, a.IM || b.IM, a.WebCollaboration || b.WebCollaboration}
}

// judge decides the state. Calls come first, since only they say what a person
// does; evidence that the device is dark overrules them where no call server
// vouches for the call.
func (f *fusion) judge(d *Device) {
	calls := f.calls()
	d.Lines = calls.lines
	dark := f.dark(calls)
	before := f.before(calls)
	switch {
	case dark.state != "":
		d.State, d.Cause, d.Diagnosis, d.Freshness, d.AsOf = dark.state, dark.cause, dark.why, Live, dark.seen
		d.Because = append(dark.because, calls.because...)
	case before.state != "":
		d.State, d.Cause, d.Diagnosis, d.Freshness, d.AsOf = before.state, before.cause, before.why, LastKnown, before.seen
		d.Because = append(before.because, calls.because...)
	case calls.state != "" && calls.live:
		d.State, d.Freshness, d.AsOf = calls.state, Live, f.lastSeen(calls.seen)
		d.Because = append(calls.because, dark.because...)
	case calls.state != "":
		d.State, d.Freshness, d.AsOf = calls.state, LastKnown, calls.seen
		d.Because = append(calls.because, dark.because...)
	default:
		d.Because = dark.because
		f.unseen(d)
	}
	if d.Diagnosis == "" {
		d.Diagnosis = dark.hint
	}
	if d.Diagnosis == "" && d.State == StateUnknown {
		d.Diagnosis = f.whyUnknown(d)
	}
	if d.Cause == "" {
		d.Cause = dark.cause
	}
	if d.Cause == "" {
		d.Cause = Fine
		if d.State == StateUnknown {
			d.Cause = CauseNotKnown
		}
	}
}

// before is how dark the device was when last seen, where nothing live speaks
// against that and no call is going on: what was dark stays so, as last known,
// until somebody sees it again.
func (f *fusion) before(calls verdict) darkness {
	if calls.live && calls.state != Idle {
		return darkness{}
	}
	then := *f
	then.then = true
	was := then.dark(then.calls())
	if was.state == "" || f.refuted(was.state) {
		return darkness{}
	}
	for i := range was.because {
		was.because[i].Live = false
	}
	return was
}

// unseen dates a state that nothing decides.
func (f *fusion) unseen(d *Device) {
	for _, o := range f.own {
		switch {
		case o.TTL == Forever: // configured, which is not seen
		case o.LiveAt(f.now):
			d.Freshness, d.AsOf = Live, o.Seen
			return
		case d.Freshness == NeverSeen:
			d.Freshness, d.AsOf = LastKnown, o.Seen
		}
	}
}

func (f *fusion) whyUnknown(d *Device) string {
	switch {
	case d.Freshness == NeverSeen:
		return "not seen yet by any poll"
	case d.Freshness == LastKnown:
		return "no source tells of it any more"
	case d.Port != nil:
		return fmt.Sprintf("plugged in at %s, and no source tells of its calls", d.Port)
	}
	return "no source tells of its calls"
}

// String is the port as an administrator names it.
func (p *Port) String() string { return strings.TrimSpace(p.Switch + " " + p.Name) }
