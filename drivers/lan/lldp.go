package lan

import (
	"net/netip"
	"strings"

	"pilotlight/drivers/internal/snmp"
)

// Bits of LldpSystemCapabilitiesMap (IEEE 802.1AB).
const (
	capBridge    = 2
	capWLAN      = 3
	capRouter    = 4
	capTelephone = 5
	capDocsis    = 6
)

// medClassIII is a telephone (ANSI/TIA-1057 §10.2.1).
const medClassIII = 3

// remote is the part of an index that names a neighbour: local port and remote
// index. The time mark before it changes at will (D-Link), so it is left out.
type remote struct{ port, rem uint32 }

// remoteOf takes the index of an lldpRem table apart; rest is what follows.
func remoteOf(index snmp.OID) (r remote, rest snmp.OID, ok bool) {
	switch {
	case len(index) >= 3:
		return remote{index[1], index[2]}, index[3:], true
	case len(index) == 1: // MikroTik: the remote index alone
		return remote{0, index[0]}, nil, true
	}
	return remote{}, nil, false
}

// lldp gathers what the tables beside lldpRemTable say of each neighbour.
type lldp struct {
	local     map[uint32]snmp.Row
	addresses map[remote]netip.Addr
	class     map[remote]uint64
	vlan      map[remote]int
	inventory map[remote]snmp.Row
	watts     map[remote]float64
}

func lldpNeighbours(tables map[*snmp.Definition]snmp.Table, p *ports) []neighbour {
	l := lldpOf(tables)
	var out []neighbour
	for _, r := range tables[snmp.LldpRemTable].Rows {
		at, _, ok := remoteOf(r.Index)
		if !ok {
			continue
		}
		n := l.neighbour(at, r)
		local, known := l.local[at.port]
		n.index, n.port = p.lldp(at.port, local, known)
		out = append(out, n)
	}
	return out
}

func lldpOf(tables map[*snmp.Definition]snmp.Table) *lldp {
	l := &lldp{
		local: map[uint32]snmp.Row{}, addresses: map[remote]netip.Addr{}, class: map[remote]uint64{},
		vlan: map[remote]int{}, inventory: map[remote]snmp.Row{}, watts: map[remote]float64{},
	}
	for _, r := range tables[snmp.LldpLocPortTable].Rows {
		if len(r.Index) == 1 {
			l.local[r.Index[0]] = r
		}
	}
	for _, r := range tables[snmp.LldpRemManAddrTable].Rows {
		if at, rest, ok := remoteOf(r.Index); ok {
			l.address(at, rest)
		}
	}
	for _, r := range tables[snmp.MedCapTable].Rows {
		if at, _, ok := remoteOf(r.Index); ok {
			l.class[at], _ = r.Cell(snmp.MedClass).Uint()
		}
	}
	for _, r := range tables[snmp.MedPolicyTable].Rows {
		at, rest, ok := remoteOf(r.Index)
		if v, is := r.Cell(snmp.MedPolicyVLAN).Uint(); ok && is && isVLAN(v) && isVoice(rest) {
			l.vlan[at] = int(v)
		}
	}
	for _, r := range tables[snmp.MedInventoryTable].Rows {
		if at, _, ok := remoteOf(r.Index); ok {
			l.inventory[at] = r
		}
	}
	for _, r := range tables[snmp.MedPowerTable].Rows {
		if at, _, ok := remoteOf(r.Index); ok {
			if tenths, is := r.Cell(snmp.MedPower).Uint(); is && tenths < 2000 {
				l.watts[at] = float64(tenths) / 10
			}
		}
	}
	return l
}

// address takes a management address from an index: family, length, address.
// IPv4 goes before IPv6.
func (l *lldp) address(at remote, rest snmp.OID) {
	if len(rest) < 2 || int(rest[1]) != len(rest)-2 || len(rest)-2 > 16 {
		return
	}
	octets := make([]byte, 0, 16)
	for _, arc := range rest[2:] {
		if arc > 255 {
			return
		}
		octets = append(octets, byte(arc))
	}
	a, ok := netip.AddrFromSlice(octets)
	if !ok || a.IsUnspecified() || l.addresses[at].Is4() {
		return
	}
	l.addresses[at] = a
}

// isVoice reads the application type at the end of a policy's index: a BITS,
// length first, in which voice is the second bit; IOS 12.2 writes the number 1.
func isVoice(rest snmp.OID) bool {
	return len(rest) >= 2 && (rest[1] == 0x40 || len(rest) == 2 && rest[0] == 1 && rest[1] == 1)
}

func (l *lldp) neighbour(at remote, r snmp.Row) neighbour {
	n := neighbour{by: "lldp", self: r.Cell(snmp.LldpRemSysName).Text(), vlan: l.vlan[at], watts: l.watts[at]}
	descr := r.Cell(snmp.LldpRemSysDescr).Text()
	name, mac, own := ownName(n.self)
	if own {
		n.self, n.mac = name, mac
	}
	if n.mac == "" {
		n.mac = lldpMAC(r)
	}
	n.addr = l.addresses[at]
	// An address that is the chassis id is the neighbour's own; as a management
	// address many a one tells another's (or, recorded, what stands in for it).
	if subtype, _ := r.Cell(snmp.LldpRemChassisSubtype).Uint(); subtype == 5 {
		if a, ok := r.Cell(snmp.LldpRemChassis).Address(); ok && (a.Is4() || !n.addr.Is4()) {
			n.addr = a
		}
	}
	n.model, n.firmware = splitDescr(descr)
	if inv, ok := l.inventory[at]; ok {
		take(&n.model, inv.Cell(snmp.MedModel))
		take(&n.serial, inv.Cell(snmp.MedSerial))
		take(&n.firmware, inv.Cell(snmp.MedSoftware))
	}
	caps := capabilities(r)
	n.bridge = caps(capBridge) && !caps(capTelephone) || caps(capWLAN) || caps(capRouter)
	switch {
	case own, isPhoneText(descr), isPhoneText(n.self):
		n.phone = true
	case l.class[at] == medClassIII, caps(capTelephone):
		n.phone = !caps(capWLAN) && !caps(capRouter) && !caps(capDocsis)
	}
	if n.phone && n.model == "" && strings.Contains(n.self, " ") {
		n.model = n.self // Polycom's system name is its model
	}
	return n
}

func take(to *string, v snmp.Value) {
	if s := v.Text(); s != "" {
		*to = s
	}
}

// lldpMAC looks for a MAC where neighbours put it: a Cisco phone in its port id
// ("AABBCCDDEEFF:P1"), others in the chassis id or the port id.
func lldpMAC(r snmp.Row) string {
	chassis, _ := r.Cell(snmp.LldpRemChassisSubtype).Uint()
	portID, _ := r.Cell(snmp.LldpRemPortSubtype).Uint()
	if mac, ok := r.Cell(snmp.LldpRemChassis).MAC(); ok && chassis == 4 {
		return mac
	}
	if mac, ok := r.Cell(snmp.LldpRemPort).MAC(); ok && portID == 3 {
		return mac
	}
	if id, _, found := strings.Cut(r.Cell(snmp.LldpRemPort).Text(), ":P"); found {
		if mac, ok := snmp.ParseMAC(id); ok {
			return mac
		}
	}
	return ""
}

// capabilities reads what is enabled, or where that is missing what is
// supported. More than four octets are no BITS but a recording's rendering of
// them as text, and would be misread; an INTEGER is in wire order (MikroTik).
func capabilities(r snmp.Row) func(bit int) bool {
	v := r.Cell(snmp.LldpRemCapEnabled)
	if !v.Present() {
		v = r.Cell(snmp.LldpRemCapSupported)
	}
	if n, ok := v.Uint(); ok {
		return func(bit int) bool { return n>>bit&1 == 1 }
	}
	if b, _ := v.Octets(); len(b) > 4 {
		return func(int) bool { return false }
	}
	return v.Bit
}

// splitDescr takes "Cisco IP Phone 7962G,V12, SCCP42.9-3-1ES27S" apart.
func splitDescr(s string) (model, firmware string) {
	if !isPhoneText(s) {
		return "", ""
	}
	parts := strings.Split(s, ",")
	if len(parts) > 1 {
		firmware = strings.TrimSpace(parts[len(parts)-1])
	}
	return strings.TrimSpace(parts[0]), firmware
}
