package lan

import (
	"context"
	"log/slog"
	"math"
	"time"

	"pilotlight/agent/presence"
)

// source is how observations of a switch are signed.
func source(sw string) string { return "lan/" + sw }

// wattsStep is the least change of power that is news: phones draw a little
// more or less all the time.
const wattsStep = 1.0

// ttl lets one poll fail before what is told is no longer live.
func (d *Driver) ttl() time.Duration { return d.interval * 5 / 2 }

// tell turns a reading into observations, and hands them over.
func (d *Driver) tell(ctx context.Context, p *polled, r *reading) error {
	d.mu.Lock()
	obs, left := d.compose(p.name, r)
	d.mu.Unlock()
	for _, sw := range left {
		d.save(ctx, sw)
	}
	return d.heart.Observe(ctx, slog.String("peer", p.name), obs...)
}

func (d *Driver) compose(sw string, r *reading) (obs []presence.Observation, left []string) {
	here := map[string]bool{}
	ports := map[string]bool{}
	for _, p := range r.phones {
		if d.memory.elsewhere(sw, p, r.at, d.ttl()) {
			continue
		}
		here[p.name], ports[p.portName()] = true, true
		if from := d.memory.put(sw, p, r.at); from != "" {
			obs = append(obs, d.observation(from, p.name, r.at, presence.Facts{})) // it says nothing of it any more
			left = append(left, from)
		}
		obs = append(obs, d.observation(sw, p.name, r.at, d.listed(sw, p)))
	}
	for _, pl := range d.memory.on(sw) {
		if here[pl.Device] {
			continue
		}
		facts, forget, ok := d.missing(sw, pl, r, ports)
		if forget {
			delete(d.memory.places, pl.Device)
		}
		if ok {
			obs = append(obs, d.observation(sw, pl.Device, r.at, facts))
		}
	}
	return obs, left
}

func (d *Driver) observation(sw, device string, at time.Time, f presence.Facts) presence.Observation {
	return presence.Observation{Source: source(sw), Device: device, Seen: at, TTL: d.ttl(), Facts: f}
}

// listed is what a switch tells of a phone that is its neighbour now.
func (d *Driver) listed(sw string, p phone) presence.Facts {
	pl := d.memory.places[p.name]
	f := presence.Facts{
		Identity: &presence.Identity{Model: p.model, Firmware: p.firmware, Serial: p.serial, MAC: p.mac, Address: p.addr},
		Port:     &presence.Port{Switch: sw, Name: p.portName(), VLAN: p.vlan, Neighbour: true, Addressless: p.noAddr},
	}
	if p.at != nil {
		fill(f.Port, p.at)
		f.Power = d.power(p.at, pl, p.watts)
	}
	return f
}

// missing is what a switch tells of a phone that it listed before: the link and
// the power of its last port. Nothing is told (ok is false) where the reading
// was cut short before it could show the phone: what was told grows old. The
// place is forgotten when another phone has it.
func (d *Driver) missing(sw string, pl *place, r *reading, taken map[string]bool) (f presence.Facts, forget, ok bool) {
	if pl.old(r.at) {
		return f, true, true
	}
	at := r.ports.find(pl)
	down := at != nil && at.linkKnown && !at.linkUp
	if !r.listsAll() && !down {
		return f, false, false
	}
	if taken[pl.Port] {
		return f, true, true
	}
	if at == nil && r.ports.partial {
		return f, false, false
	}
	pl.listed, pl.up = false, false
	f.Identity = pl.identity()
	f.Port = &presence.Port{Switch: sw, Name: pl.Port, VLAN: pl.VLAN}
	if at != nil {
		fill(f.Port, at)
		f.Power = d.power(at, pl, 0)
	}
	return f, false, true
}

// find is the port of a place: by name, since an ifIndex may change with a restart.
func (p *ports) find(pl *place) *port {
	if index := p.named(pl.Port); index != none {
		return p.byIndex[index]
	}
	if at := p.byIndex[pl.Index]; at != nil && at.name == pl.Port {
		return at
	}
	return nil
}

func fill(to *presence.Port, at *port) {
	to.LinkUp, to.LinkKnown, to.AdminDown, to.Speed = at.linkUp, at.linkKnown, at.adminDown, at.speed
	if at.voice != 0 {
		to.VLAN = at.voice
	}
}

// power is a port's power; where the switch gives no figure, what the phone
// says it draws stands in. A figure that hardly moved is told as before.
func (d *Driver) power(at *port, pl *place, says float64) *presence.Power {
	if at.power == nil {
		return nil
	}
	p := *at.power
	if p.State == presence.PowerDelivering && !p.Known && says > 0 {
		p.Watts, p.Known = says, true
	}
	if pl == nil {
		return &p
	}
	if p.Known && pl.watts > 0 && math.Abs(pl.watts-p.Watts) < wattsStep {
		p.Watts = pl.watts
	}
	pl.watts = p.Watts
	return &p
}
