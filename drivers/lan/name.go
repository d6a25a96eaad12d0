package lan

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"

	"pilotlight/drivers/internal/snmp"
)

// phone is a neighbour that is one, under the name it goes by here.
type phone struct {
	neighbour
	name string
	at   *port // nil: the interface is not known
}

// portName is where it is plugged in, in the switch's words.
func (p phone) portName() string {
	if p.at != nil {
		return p.at.name
	}
	switch {
	case p.port != "":
		return p.port
	case p.index != none:
		return "ifIndex " + utoa(p.index)
	}
	return "unknown"
}

func (p phone) up() bool { return p.at == nil || !p.at.linkKnown || p.at.linkUp }

// maxPhones behind one switch: two for each port of a full stack.
const maxPhones = 1024

// name picks the phones out of the neighbours and gives each its name. A phone
// that speaks both CDP and LLDP is one phone; one that was moved is listed on
// its old port too until the hold time is over (180 s).
//
// Some phones call themselves by their model. Of those the first to come has the
// bare name, as long as owner remembers its MAC by it; others add a bit of theirs.
func (r *reading) name(sw string, known Known, owner func(name string) (mac string)) {
	for _, n := range r.neighbours {
		if !n.phone {
			continue
		}
		if len(r.phones) >= maxPhones {
			if r.err == nil {
				r.err = fmt.Errorf("%w: more than %d phones behind one switch", snmp.ErrTooLarge, maxPhones)
			}
			return
		}
		p := phone{neighbour: n, at: r.ports.byIndex[n.index]}
		if n.index == none {
			p.at = nil
		}
		p.name = deviceName(n, known)
		if p.name == "" {
			p.name = nameFrom(sw + "-" + p.portName())
		}
		if mac := owner(p.name); mac != "" && p.mac != "" && mac != p.mac {
			p.name += "-" + p.mac[6:]
		}
		r.add(p)
	}
}

// add merges p into the phone it is, or appends it.
func (r *reading) add(p phone) {
	for i := range r.phones {
		have := &r.phones[i]
		switch {
		case p.mac != "" && p.mac == have.mac, p.name == have.name && (p.mac == "" || have.mac == ""):
			have.merge(p)
			return
		case p.name == have.name: // two phones that call themselves by their model
			p.name += "-" + p.mac[6:]
		}
	}
	r.phones = append(r.phones, p)
}

func (p *phone) merge(q phone) {
	if p.by == q.by && p.portName() != q.portName() {
		if q.up() != p.up() && q.up() || q.up() == p.up() && q.seq > p.seq {
			q.name, *p, q = p.name, q, *p
		}
	}
	p.model, p.firmware, p.serial = cmp.Or(p.model, q.model), cmp.Or(p.firmware, q.firmware), cmp.Or(p.serial, q.serial)
	p.mac, p.vlan, p.watts = cmp.Or(p.mac, q.mac), cmp.Or(p.vlan, q.vlan), cmp.Or(p.watts, q.watts)
	if !p.addr.IsValid() {
		p.addr = q.addr
	}
	p.noAddr = (p.noAddr || q.noAddr) && (!p.addr.IsValid() || p.addr.IsLinkLocalUnicast())
	if p.at == nil {
		p.at, p.index = q.at, q.index
	}
	p.port = cmp.Or(p.port, q.port)
}

// deviceName is the name of a configured phone, else what the phone calls
// itself, else its MAC; "" where there is nothing.
func deviceName(n neighbour, known Known) string {
	if n.mac != "" || n.addr.IsValid() {
		if name, ok := known(n.mac, n.addr); ok {
			return name
		}
	}
	return cmp.Or(nameFrom(n.self), n.mac)
}

// nameFrom makes a device name of letters, digits, dot, dash and underscore.
func nameFrom(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
			b.WriteByte(c)
		default:
			b.WriteByte('-')
		}
	}
	name := strings.Trim(b.String(), "-._")
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	return strings.TrimRight(name[:min(len(name), 64)], "-._") // the cut may have laid a separator bare
}

func netipAddrPort(a netip.Addr, p uint16) netip.AddrPort { return netip.AddrPortFrom(a.Unmap(), p) }
