package branch

import (
	"fmt"
	"time"
)

// call is one call between two phones of the branch.
type call struct {
	number         uint64
	caller, callee *phone
	answered       bool
	heldBy         *phone
	start          time.Time
}

func (c *call) other(p *phone) *phone {
	if p == c.caller {
		return c.callee
	}
	return c.caller
}

// Event is one thing that happened to a phone, told to Options.OnEvent.
type Event struct {
	At    time.Time // when it was due; a little before when it was done
	Kind  string    // call, answer, hold, resume, hangup, unplug, …
	Phone string
	Peer  string
}

// Call lets one phone ring another. Both must be idle and up.
func (b *Branch) Call(from, to string) error {
	return b.with2(from, to, func(p, q *phone, now time.Time) error { return b.dial(p, q, now) })
}

// Answer picks up a ringing phone.
func (b *Branch) Answer(name string) error { return b.with(name, b.answer) }

// Hold puts a phone's call on hold.
func (b *Branch) Hold(name string) error { return b.with(name, b.hold) }

// Resume takes up a call that this phone holds.
func (b *Branch) Resume(name string) error { return b.with(name, b.resume) }

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
	case !p.ready():
		return fmt.Errorf("call: %s is %s", p.Name, p.state.Word())
	case !q.ready():
		return fmt.Errorf("call: %s is %s", q.Name, q.state.Word())
	}
	b.calls++
	c := &call{number: b.calls, caller: p, callee: q, start: now}
	p.call, q.call = c, c
	p.state.Doing, p.state.Peer = Dialing, q.Name
	q.state.Doing, q.state.Peer = Ringing, p.Name
	b.told(c, "call", p, now)
	return nil
}

func (b *Branch) answer(p *phone, now time.Time) error {
	c := p.call
	if c == nil || c.callee != p || c.answered {
		return fmt.Errorf("answer: %s does not ring", p.Name)
	}
	c.answered = true
	p.state.Doing, c.caller.state.Doing = InUse, InUse
	for _, q := range []*phone{c.caller, c.callee} {
		q.sound, q.picture = stream{}, stream{} // the counters of a new stream
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

func (b *Branch) hangup(p *phone, now time.Time) error {
	c := p.call
	if c == nil {
		return fmt.Errorf("hang up: %s has no call", p.Name)
	}
	b.lines.callEnded(c, p)
	for _, q := range []*phone{c.caller, c.callee} {
		q.call = nil
		q.state.Doing, q.state.Peer = Idle, ""
		q.sound.run(false, false, now, b.opts.Speed)
		q.picture.run(false, false, now, b.opts.Speed)
		if !c.answered && q == c.callee {
			q.messages++ // the caller leaves a message
		}
	}
	b.told(c, "hangup", p, now)
	return nil
}

// media starts and stops the streams of an answered call. The side that holds
// has none; the other one hears music from the call server and sends nothing.
func (b *Branch) media(c *call, now time.Time) {
	video := c.caller.video && c.callee.video && c.heldBy == nil
	for _, q := range []*phone{c.caller, c.callee} {
		q.sound.run(c.heldBy != q, c.heldBy == nil, now, b.opts.Speed)
		q.picture.run(video, true, now, b.opts.Speed)
	}
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
