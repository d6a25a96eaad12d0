package lan

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pilotlight/agent/presence"
	"pilotlight/agent/schedule"
)

// place is where a phone is, or was last.
type place struct {
	Device   string     `json:"device"`
	Port     string     `json:"port"`
	Index    uint32     `json:"index,omitempty"`
	VLAN     int        `json:"vlan,omitempty"`
	Model    string     `json:"model,omitempty"`
	Firmware string     `json:"firmware,omitempty"`
	Serial   string     `json:"serial,omitempty"`
	MAC      string     `json:"mac,omitempty"`
	Address  netip.Addr `json:"address,omitzero"`
	Day      string     `json:"day"` // when it was last listed; a day is fine enough, and wears no flash

	on     string    // the switch
	listed bool      // at the last reading
	up     bool      // its port had link then
	seen   time.Time // the last reading that listed it; zero after a restart
	watts  float64   // as last told
}

// memory holds one place for each phone.
type memory struct {
	places map[string]*place
	saved  map[string][]byte // by switch, what is in the drawer
}

const (
	maxPlaces  = 4096
	forgetDays = 30
	day        = "2006-01-02"
)

func newMemory() memory {
	return memory{places: map[string]*place{}, saved: map[string][]byte{}}
}

func (m memory) switchOf(device string) string {
	if p := m.places[device]; p != nil {
		return p.on
	}
	return ""
}

// owner is the MAC of the phone that is remembered under a name.
func (d *Driver) owner(name string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.memory.places[name]; p != nil {
		return p.MAC
	}
	return ""
}

// on gives the places on a switch, by device.
func (m memory) on(sw string) []*place {
	var out []*place
	for _, p := range m.places {
		if p.on == sw {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *place) int { return strings.Compare(a.Device, b.Device) })
	return out
}

// put keeps a phone's place, and returns the switch that it left, if any.
func (m memory) put(sw string, p phone, now time.Time) (left string) {
	old := m.places[p.name]
	if old == nil && len(m.places) >= maxPlaces {
		return ""
	}
	if old != nil && old.on != sw {
		left = old.on
	}
	n := &place{
		Device: p.name, Port: p.portName(), Index: p.index, VLAN: p.vlan, Model: p.model, Firmware: p.firmware,
		Serial: p.serial, MAC: p.mac, Address: p.addr, Day: now.UTC().Format(day),
		on: sw, listed: true, up: p.up(), seen: now,
	}
	if old != nil {
		n.watts = old.watts
	}
	m.places[p.name] = n
	return left
}

// elsewhere reports whether another switch has a better claim to list the
// phone: the old switch may list it until its hold time is over, and a switch
// that speaks no CDP hands the phone's announcements on to the next.
func (m memory) elsewhere(sw string, p phone, now time.Time, fresh time.Duration) bool {
	have := m.places[p.name]
	return have != nil && have.on != sw && have.listed && have.up && !have.seen.IsZero() && now.Sub(have.seen) < fresh
}

func (p *place) identity() *presence.Identity {
	return &presence.Identity{Model: p.Model, Firmware: p.Firmware, Serial: p.Serial, MAC: p.MAC, Address: p.Address}
}

// old reports whether a phone has not been listed for so long that its place
// says nothing any more. A clock that was not set yet finds nothing old.
func (p *place) old(now time.Time) bool {
	t, err := time.Parse(day, p.Day)
	return err != nil || now.Sub(t) > forgetDays*24*time.Hour
}

func drawerKey(sw string) string { return "places/" + sw }

// restore reads the last places of the switches that are polled.
func (d *Driver) restore(targets []schedule.Target) {
	for _, t := range targets {
		b, err := d.needs.Drawer.Get(drawerKey(t.Key))
		if err != nil || len(b) == 0 {
			continue // none yet
		}
		var places []*place
		if err := json.Unmarshal(b, &places); err != nil {
			d.log.Warn("last places are not readable, and forgotten", "peer", t.Key, "err", err)
			continue
		}
		d.mu.Lock()
		for _, p := range places {
			if p != nil && p.Device != "" && d.memory.places[p.Device] == nil && len(d.memory.places) < maxPlaces {
				p.on = t.Key
				d.memory.places[p.Device] = p
			}
		}
		d.memory.saved[t.Key] = b
		d.mu.Unlock()
	}
}

// save writes the places on a switch where they have changed.
func (d *Driver) save(ctx context.Context, sw string) {
	d.mu.Lock()
	b, err := json.Marshal(d.memory.on(sw))
	same := bytes.Equal(b, d.memory.saved[sw])
	d.memory.saved[sw] = b
	d.mu.Unlock()
	if same && err == nil {
		return
	}
	if err == nil {
		err = d.needs.Drawer.PutSoft(ctx, drawerKey(sw), b)
	}
	if err != nil && ctx.Err() == nil {
		d.log.Warn("last places are not saved", "peer", sw, "err", err)
		d.mu.Lock()
		delete(d.memory.saved, sw)
		d.mu.Unlock()
	}
}
