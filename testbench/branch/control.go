package branch

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// What the bench does to a phone takes this long to show, in script time.
const (
	cdpHold   = 3 * time.Second // a real switch: at link down or after 180 s
	cdpHello  = 2 * time.Second // from link to the first CDP message
	bootTime  = 4 * time.Second // a real phone: one to three minutes
	callGuard = 5 * time.Second // until the call server gives up a phone that vanished
	pageTime  = 10 * time.Second
)

// Unplug pulls a phone's cable. The link and the power go at once, the CDP row
// three seconds later, its call after five. The phone answers nothing any more:
// connects time out, open connections stay open and silent, datagrams vanish.
func (b *Branch) Unplug(name string) error {
	return b.change(name, "unplug", func(p *phone, now time.Time) error {
		if p.state.Unplugged {
			return fmt.Errorf("unplug: %s is unplugged", p.Name)
		}
		b.pull(p, now)
		return nil
	})
}

// Plug plugs the cable in again, or turns a phone off and on. It boots for four
// seconds; the switch hears its CDP after two.
func (b *Branch) Plug(name string) error {
	return b.change(name, "plug", func(p *phone, now time.Time) error {
		if !p.state.Unplugged && !p.state.NoAddress {
			return fmt.Errorf("plug: %s is plugged in", p.Name)
		}
		b.power(p, now)
		return nil
	})
}

// FreePort is the word for the first free port of a phone's switch.
const FreePort = "free"

// Move pulls a phone out, if it is plugged in, and plugs it in at another port of
// its switch, named as the switch names it, such as Gi1/0/30, or FreePort.
func (b *Branch) Move(name, port string) error {
	return b.change(name, "move", func(p *phone, now time.Time) error {
		to, err := p.at.sw.free(port)
		if err != nil {
			return fmt.Errorf("move: %s: %w", p.Name, err)
		}
		if !p.state.Unplugged {
			b.pull(p, now)
		}
		forget := p.at.sw.move(p, to, now)
		b.after(now, cdpHold, func(time.Time) { forget() })
		b.power(p, now)
		return nil
	})
}

// pull is the cable's end: the caller holds the lock.
func (b *Branch) pull(p *phone, now time.Time) {
	p.state.Unplugged, p.state.Booting, p.state.Frozen, p.state.Paged = true, false, false, false
	p.page.run(false, false, now, b.opts.Speed)
	p.at.since = now
	p.at.sw.stale()
	joined, c := p.joined, p.call
	b.after(now, cdpHold, func(time.Time) {
		if p.state.Unplugged && p.joined == joined {
			p.neighbor = false
			p.at.sw.stale()
		}
	})
	if c != nil {
		b.after(now, callGuard, func(due time.Time) {
			if p.call == c {
				b.vanish(p, due)
			}
		})
	}
}

// power lets a phone boot; the caller holds the lock.
func (b *Branch) power(p *phone, now time.Time) {
	p.state.Unplugged, p.state.NoAddress, p.state.Booting = false, false, true
	p.notes = nil
	p.note(now, "Booting")
	p.joined++
	p.at.since = now
	p.at.sw.stale()
	joined := p.joined
	b.after(now, cdpHello, func(due time.Time) {
		if !p.state.Unplugged && p.joined == joined {
			p.neighbor, p.heard = true, due
			p.at.sw.stale()
		}
	})
	b.afterUnlocked(now, bootTime, func(time.Time) {
		b.mu.Lock()
		up := p.state.Booting && p.joined == joined
		if up {
			p.state.Booting = false
		}
		b.mu.Unlock()
		if up {
			b.settled(p)
		}
	})
}

// Freeze makes a phone accept connections and answer nothing.
func (b *Branch) Freeze(name string) error { return b.frozen(name, "freeze", true) }

// Thaw ends a freeze.
func (b *Branch) Thaw(name string) error { return b.frozen(name, "thaw", false) }

func (b *Branch) frozen(name, kind string, on bool) error {
	return b.change(name, kind, func(p *phone, _ time.Time) error {
		p.state.Frozen = on
		return nil
	})
}

// WebDisabled closes a phone's web port, which then refuses, or opens it again.
func (b *Branch) WebDisabled(name string, off bool) error {
	kind := "web on"
	if off {
		kind = "web off"
	}
	return b.change(name, kind, func(p *phone, _ time.Time) error {
		p.state.WebDisabled = off
		return nil
	})
}

// ToSRST registers phones with the branch's router; none named: all of them.
func (b *Branch) ToSRST(names ...string) error { return b.register(WithSRST, names) }

// Unregister leaves phones without call processing; their calls end.
func (b *Branch) Unregister(names ...string) error { return b.register(Nowhere, names) }

// Register brings phones back to the call server.
func (b *Branch) Register(names ...string) error { return b.register(WithCallServer, names) }

func (b *Branch) register(r Registration, names []string) error {
	if len(names) == 0 {
		for _, p := range b.phones {
			names = append(names, p.Name)
		}
	}
	for _, name := range names {
		err := b.change(name, "register "+string(r), func(p *phone, now time.Time) error {
			was := p.state.Registration
			p.state.Registration = r
			p.noteRegistration(now, was)
			switch {
			case r == Nowhere:
				b.vanish(p, now)
			case r != was:
				p.leg.kept = p.leg.up
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// noteRegistration is what the phone's log says of where it went.
func (p *phone) noteRegistration(at time.Time, was Registration) {
	if was == WithCallServer && p.state.Registration != was {
		p.note(at, "TCP timeout "+primaryServer)
	}
	switch p.state.Registration {
	case WithCallServer:
		p.note(at, "Registered "+primaryServer)
	case WithSRST:
		p.note(at, "Failback "+srstRouter)
	case Nowhere:
		p.note(at, "Unregistered")
	}
}

// NoAddress takes a phone's lease away: it has link and power, and the switch
// hears CDP without an address from it. Plug it in again to mend that.
func (b *Branch) NoAddress(name string) error {
	return b.change(name, "no address", func(p *phone, now time.Time) error {
		if p.state.quietNow() {
			return fmt.Errorf("no-address: %s is %s", p.Name, p.state.Word())
		}
		b.vanish(p, now)
		p.state.NoAddress = true
		p.at.sw.stale()
		return nil
	})
}

// Firmware has a phone run another load than its model's; "": its own again.
func (b *Branch) Firmware(name, load string) error {
	return b.change(name, "firmware", func(p *phone, now time.Time) error {
		p.other = load
		p.note(now, "Upgraded to "+cmp.Or(load, p.load))
		p.at.sw.stale()
		return nil
	})
}

// CutAuthentication makes the phones' Authentication URL unreachable, as in a WAN
// outage: no phone lets any user in then.
func (b *Branch) CutAuthentication(cut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.authDown = cut
}

// Page plays a page on a phone for ten seconds: a stream without a call.
func (b *Branch) Page(name string) error {
	return b.change(name, "page", func(p *phone, now time.Time) error {
		if p.state.Paged || p.state.quietNow() {
			return fmt.Errorf("page: %s is %s", p.Name, p.state.Word())
		}
		p.state.Paged = true
		p.page = stream{}
		p.page.run(true, false, now, b.opts.Speed)
		b.after(now, pageTime, func(due time.Time) {
			p.state.Paged = false
			p.page.run(false, false, due, b.opts.Speed)
		})
		return nil
	})
}

// change does something to a phone, tells it, and settles its ports.
func (b *Branch) change(name, kind string, do func(*phone, time.Time) error) error {
	p, err := b.phone(name)
	if err != nil {
		return err
	}
	b.mu.Lock()
	now := time.Now()
	if err = do(p, now); err == nil {
		b.event(Event{At: now, Kind: kind, Phone: p.Name})
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	return b.settle(p)
}

// settled is settle where nobody waits for an error.
func (b *Branch) settled(p *phone) {
	if err := b.settle(p); err != nil && b.ctx.Err() == nil {
		b.log.Error("branch: phone did not come up", "device", p.Name, "err", err)
	}
}

// after plans something under the lock, in script time from a moment.
func (b *Branch) after(from time.Time, d time.Duration, do func(due time.Time)) {
	b.afterUnlocked(from, d, func(due time.Time) {
		b.mu.Lock()
		defer b.mu.Unlock()
		do(due)
	})
}

func (b *Branch) afterUnlocked(from time.Time, d time.Duration, do func(due time.Time)) {
	b.agenda.At(from.Add(b.scaled(d)), do)
}

// scaled turns script time into wall time.
func (b *Branch) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / b.opts.Speed)
}

// CutCentral cuts the way to the central presence server, or mends it: it is
// silent then, as behind a dead WAN.
func (b *Branch) CutCentral(cut bool) error { return b.central.server.Mute(cut) }

// CutCallServer does the same to the call server.
func (b *Branch) CutCallServer(cut bool) error { return b.lines.server.Mute(cut) }

// CutSwitches makes the switches' SNMP silent, or lets it answer again.
func (b *Branch) CutSwitches(cut bool) {
	for _, s := range b.switches {
		s.agent.Mute(cut)
	}
}

// hangups ends the calls of some phones; none named: all calls.
func (b *Branch) hangups(names ...string) error {
	for _, name := range names {
		if err := b.Hangup(name); err != nil {
			return err
		}
	}
	if len(names) > 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.phones {
		if p.call != nil {
			b.hangup(p, time.Now()) // it has a call: it can
		}
	}
	return nil
}

// Heal makes everything well: no call, every phone up with its own firmware and
// on the call server, nothing cut. A phone that was dark boots first.
func (b *Branch) Heal() error {
	b.CutAuthentication(false)
	b.CutSwitches(false)
	b.CentralBusy(0)
	err := errors.Join(b.CutCentral(false), b.CutCallServer(false), b.hangups())
	for _, p := range b.phones {
		err = errors.Join(err, b.change(p.Name, "heal", func(p *phone, now time.Time) error {
			p.state.Frozen, p.state.WebDisabled, p.other = false, false, ""
			if was := p.state.Registration; was != WithCallServer {
				p.state.Registration = WithCallServer
				p.noteRegistration(now, was)
			}
			if p.state.Unplugged || p.state.NoAddress {
				b.power(p, now)
			}
			p.at.sw.stale()
			return nil
		}))
	}
	return err
}
