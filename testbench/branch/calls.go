package branch

import (
	"fmt"
	"slices"
	"time"
)

// call is one call: who waits or talks at one end, and who was called at the
// other. A transfer changes the ends and leaves the call.
type call struct {
	number         uint64
	caller, callee *phone
	ringing        []*phone // all phones that ring for the callee's number; none once it is answered
	answered       bool
	heldBy         *phone
}

// leg is a phone's end of its call, which is what a dialog tells of.
type leg struct {
	id, callID uint64 // names of the dialog, and of the call it belongs to
	initiator  bool
	up         bool   // confirmed; a call that was handed on rings at one end only
	kept       bool   // the phone has lost its call server meanwhile, and keeps the call
	by         *phone // who transferred the call to this phone
}

func (c *call) other(p *phone) *phone {
	if p == c.caller {
		return c.callee
	}
	return c.caller
}

// phones are all that take part.
func (c *call) phones() []*phone {
	if c.answered {
		return []*phone{c.caller, c.callee}
	}
	return append([]*phone{c.caller}, c.ringing...)
}

// Event is one thing that happened to a phone, told to Options.OnEvent.
type Event struct {
	At    time.Time // when it was due; a little before when it was done
	Kind  string    // call, answer, hold, resume, transfer, hangup, unplug, …
	Phone string
	Peer  string
}

// Call lets one phone ring another, and with it all that share its number. Both
// must be idle and up.
func (b *Branch) Call(from, to string) error {
	return b.with2(from, to, b.dial)
}

// Answer picks up a ringing phone.
func (b *Branch) Answer(name string) error { return b.with(name, b.answer) }

// Hold puts a phone's call on hold.
func (b *Branch) Hold(name string) error { return b.with(name, b.hold) }

// Resume takes up a call that this phone holds.
func (b *Branch) Resume(name string) error { return b.with(name, b.resume) }

// Transfer hands the far side of a phone's answered call on to another phone,
// which rings for it; the first phone is free at once (a blind transfer).
func (b *Branch) Transfer(name, to string) error { return b.with2(name, to, b.transfer) }

// Hangup ends a phone's call, answered or not.
func (b *Branch) Hangup(name string) error { return b.with(name, b.hangup) }

// with does something to a phone under the lock.
func (b *Branch) with(name string, do func(*phone, time.Time) error) error {
	p, err := b.phone(name)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return do(p, time.Now())
}

func (b *Branch) with2(one, two string, do func(p, q *phone, now time.Time) error) error {
	q, err := b.phone(two)
	if err != nil {
		return err
	}
	return b.with(one, func(p *phone, now time.Time) error { return do(p, q, now) })
}

// The following run under Branch.mu.

func (b *Branch) dial(p, q *phone, now time.Time) error {
	switch {
	case p == q:
		return fmt.Errorf("call: %s to itself", p.Name)
	case p.Number == q.Number:
		return fmt.Errorf("call: %s and %s share the number %s", p.Name, q.Name, p.Number)
	case !p.ready():
		return fmt.Errorf("call: %s is %s", p.Name, p.state.Word())
	case !q.ready():
		return fmt.Errorf("call: %s is %s", q.Name, q.state.Word())
	}
	b.calls++
	c := &call{number: b.calls, caller: p}
	b.join(c, p, leg{callID: c.number, initiator: true}, Dialing)
	b.ring(c, q, leg{callID: c.number})
	p.state.Peer = q.Name
	b.told(c, "call", p, now)
	return nil
}

// join makes a phone part of a call.
func (b *Branch) join(c *call, p *phone, l leg, doing Doing) {
	b.legs++
	l.id = b.legs
	p.call, p.leg, p.state.Doing = c, l, doing
}

// ring lets all phones ring that have the number of q and can.
func (b *Branch) ring(c *call, q *phone, l leg) {
	c.callee, c.ringing = q, nil
	for _, r := range b.byNumber[q.Number] {
		if r.ready() {
			b.join(c, r, l, Ringing)
			r.state.Peer = c.caller.Name
			c.ringing = append(c.ringing, r)
		}
	}
}

func (b *Branch) answer(p *phone, now time.Time) error {
	c := p.call
	if c == nil || p.state.Doing != Ringing {
		return fmt.Errorf("answer: %s does not ring", p.Name)
	}
	for _, q := range c.ringing {
		if q != p {
			b.leave(q, p, now)
		}
	}
	c.callee, c.ringing, c.answered = p, nil, true
	c.caller.state.Peer = p.Name
	for _, q := range c.phones() {
		q.state.Doing, q.leg.up = InUse, true
		b.sit(c, q, now)
	}
	b.media(c, now)
	b.told(c, "answer", p, now)
	return nil
}

func (b *Branch) hold(p *phone, now time.Time) error {
	c := p.call
	if c == nil || !c.answered || c.heldBy != nil {
		return fmt.Errorf("hold: %s has no call to hold", p.Name)
	}
	c.heldBy = p
	p.state.Doing = OnHold
	b.media(c, now)
	b.told(c, "hold", p, now)
	return nil
}

func (b *Branch) resume(p *phone, now time.Time) error {
	c := p.call
	if c == nil || c.heldBy != p {
		return fmt.Errorf("resume: %s holds no call", p.Name)
	}
	c.heldBy = nil
	p.state.Doing = InUse
	b.media(c, now)
	b.told(c, "resume", p, now)
	return nil
}

func (b *Branch) transfer(p, q *phone, now time.Time) error {
	c := p.call
	switch {
	case c == nil || !c.answered || c.heldBy != nil && c.heldBy != p:
		return fmt.Errorf("transfer: %s has no call to hand on", p.Name)
	case q.Number == p.Number, q.Number == c.other(p).Number:
		return fmt.Errorf("transfer: %s is on the call's own line", q.Name)
	case !q.ready():
		return fmt.Errorf("transfer: %s is %s", q.Name, q.state.Word())
	}
	far := c.other(p)
	b.leave(p, p, now)
	c.caller, c.answered, c.heldBy = far, false, nil
	far.state.Doing, far.state.Peer = InUse, q.Name
	b.calls++ // the far side keeps its dialog; the new one is of another Call-ID
	b.ring(c, q, leg{callID: b.calls, by: p})
	b.media(c, now)
	b.lines.changed(p, far, q)
	b.event(Event{At: now, Kind: "transfer", Phone: p.Name, Peer: q.Name})
	return nil
}

func (b *Branch) hangup(p *phone, now time.Time) error {
	c := p.call
	if c == nil {
		return fmt.Errorf("hang up: %s has no call", p.Name)
	}
	for _, q := range c.phones() {
		b.leave(q, p, now)
	}
	if !c.answered { // the caller leaves a message, which waits for the number
		for _, q := range b.byNumber[c.callee.Number] {
			q.messages++
		}
	}
	b.told(c, "hangup", p, now)
	return nil
}

// vanish ends a phone's part in its call, if it has one, without its doing.
// Where others ring for the same number, they ring on.
func (b *Branch) vanish(p *phone, now time.Time) {
	c := p.call
	if c == nil {
		return
	}
	if c.answered || p == c.caller || len(c.ringing) < 2 {
		b.hangup(p, now) // it has a call: it can
		return
	}
	c.ringing = slices.DeleteFunc(c.ringing, func(r *phone) bool { return r == p })
	b.leave(p, p, now)
	c.callee = c.ringing[0]
	c.caller.state.Peer = c.callee.Name
	b.lines.changed(p, c.caller)
}

// leave takes a phone out of its call, which somebody ended for it.
func (b *Branch) leave(p, by *phone, now time.Time) {
	b.lines.ended(p, by)
	if p.leg.up {
		p.seat.left = now
	}
	p.call, p.leg = nil, leg{}
	p.state.Doing, p.state.Peer = Idle, ""
	p.sound.run(false, false, now, b.opts.Speed)
	p.picture.run(false, false, now, b.opts.Speed)
}

// media starts and stops the streams of a call. The side that holds has none;
// the other one hears music from the call server and sends nothing, as does who
// waits for a call to be transferred.
func (b *Branch) media(c *call, now time.Time) {
	talk := c.answered && c.heldBy == nil
	for _, q := range []*phone{c.caller, c.callee} {
		q.sound.run(q.leg.up && c.heldBy != q, talk, now, b.opts.Speed)
		q.picture.run(talk && c.caller.video && c.callee.video, true, now, b.opts.Speed)
	}
}

// elsewhere: its line is used on another phone, and not on this one.
func (b *Branch) elsewhere(p *phone) bool {
	return p.call == nil && slices.ContainsFunc(b.byNumber[p.Number], func(q *phone) bool {
		return q.call != nil && q.state.Doing != Ringing
	})
}

// told passes on that something happened in a call.
func (b *Branch) told(c *call, kind string, by *phone, at time.Time) {
	b.lines.changed(c.caller, c.callee)
	b.event(Event{At: at, Kind: kind, Phone: by.Name, Peer: c.other(by).Name})
}

func (b *Branch) event(e Event) {
	b.log.Debug("branch", "event", e.Kind, "device", e.Phone, "peer", e.Peer)
	if b.opts.OnEvent != nil {
		b.opts.OnEvent(e)
	}
}
