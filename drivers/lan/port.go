package lan

import (
	"strconv"
	"strings"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/snmp"
)

// port is one interface of a switch.
type port struct {
	index     uint32
	name      string
	linkUp    bool
	linkKnown bool
	adminDown bool
	speed     uint64
	voice     int // voice VLAN, 0: none or not told
	power     *presence.Power
}

// ports are a switch's interfaces, and the ways to find one. A switch numbers a
// port in four ways: ifIndex (CDP), bridge port, LLDP local port, PoE group and
// port. Names join them; numbers do only where no name does.
type ports struct {
	byIndex map[uint32]*port
	names   map[string]uint32 // normalised ifName
	descrs  map[string]uint32 // normalised ifDescr, where unique
	macs    map[string]uint32 // ifPhysAddress, where unique
	base    map[uint32]uint32 // bridge port to ifIndex
	partial bool
}

// none marks a name that two interfaces share.
const none = 0

func portsOf(tables map[*snmp.Definition]snmp.Table) *ports {
	p := &ports{
		byIndex: map[uint32]*port{}, names: map[string]uint32{}, descrs: map[string]uint32{},
		macs: map[string]uint32{}, base: map[uint32]uint32{},
		partial: tables[snmp.IfTable].Partial || tables[snmp.IfXTable].Partial,
	}
	for _, r := range tables[snmp.IfTable].Rows {
		if len(r.Index) == 1 && r.Index[0] != none {
			p.addIf(r)
		}
	}
	for _, r := range tables[snmp.IfXTable].Rows {
		if len(r.Index) == 1 && r.Index[0] != none {
			p.addIfX(r)
		}
	}
	for _, r := range tables[snmp.BasePortTable].Rows {
		if index, ok := r.Cell(snmp.BasePortIfIndex).Uint(); ok && len(r.Index) == 1 {
			p.base[r.Index[0]] = uint32(index)
		}
	}
	for _, r := range tables[snmp.VoiceVLANTable].Rows {
		// 4095 is untagged and 4096 none: neither is a VLAN.
		if v, ok := r.Cell(snmp.VoiceVLAN).Uint(); ok && len(r.Index) == 1 && isVLAN(v) {
			if at := p.byIndex[r.Index[0]]; at != nil {
				at.voice = int(v)
			}
		}
	}
	p.addPower(tables)
	return p
}

func isVLAN(v uint64) bool { return v >= 1 && v <= 4094 }

func (p *ports) get(index uint32) *port {
	if p.byIndex[index] == nil {
		p.byIndex[index] = &port{index: index, name: "ifIndex " + utoa(index)}
	}
	return p.byIndex[index]
}

// addIf takes a row of ifTable (RFC 2863). What is neither clearly up nor
// clearly down is not known: testing(3), unknown(4).
func (p *ports) addIf(r snmp.Row) {
	at := p.get(r.Index[0])
	oper, _ := r.Cell(snmp.IfOperStatus).Uint()
	switch oper {
	case 1, 5: // up, dormant: the link is there, and waits for 802.1X for instance
		at.linkUp, at.linkKnown = true, true
	case 2, 6, 7: // down, notPresent, lowerLayerDown
		at.linkKnown = true
	}
	admin, _ := r.Cell(snmp.IfAdminStatus).Uint()
	at.adminDown = admin == 2
	if at.linkUp {
		at.speed, _ = r.Cell(snmp.IfSpeed).Uint()
	}
	unique(p.descrs, shortName(r.Cell(snmp.IfDescr).Text()), at.index)
	if mac, ok := r.Cell(snmp.IfPhysAddress).MAC(); ok {
		unique(p.macs, mac, at.index)
	}
	if d := r.Cell(snmp.IfDescr).Text(); d != "" && p.descrs[shortName(d)] == at.index {
		at.name = d
	}
}

func (p *ports) addIfX(r snmp.Row) {
	at := p.get(r.Index[0])
	if name := r.Cell(snmp.IfName).Text(); name != "" {
		at.name = name
		unique(p.names, shortName(name), at.index)
	}
	if mbit, ok := r.Cell(snmp.IfHighSpeed).Uint(); ok && at.linkUp && mbit > 0 {
		at.speed = mbit * 1_000_000
	}
}

// unique enters key, or marks it as shared.
func unique(m map[string]uint32, key string, index uint32) {
	if key == "" {
		return
	}
	if have, twice := m[key]; twice && have != index {
		index = none
	}
	m[key] = index
}

// Long names of Cisco's interfaces, longest first, and the short forms that
// other tables of the same switch use ("GigabitEthernet1/0/3", "Gi1/0/3").
var shortForms = []struct{ long, short string }{
	{"twentyfivegigabitethernet", "twe"}, {"twentyfivegige", "twe"}, {"hundredgigabitethernet", "hu"}, {"hundredgige", "hu"},
	{"fortygigabitethernet", "fo"}, {"twogigabitethernet", "tw"}, {"fivegigabitethernet", "fi"}, {"tengigabitethernet", "te"},
	{"gigabitethernet", "gi"}, {"fastethernet", "fa"}, {"port-channel", "po"},
}

// shortName is a name in the form that names are compared in.
func shortName(s string) string {
	s = strings.ToLower(strings.ReplaceAll(s, " ", ""))
	for _, f := range shortForms {
		if rest, ok := strings.CutPrefix(s, f.long); ok {
			return f.short + rest
		}
	}
	return s
}

// named finds a port by what some table calls it.
func (p *ports) named(s string) uint32 {
	s = shortName(s)
	if s == "" {
		return none
	}
	if index := p.names[s]; index != none {
		return index
	}
	if _, shared := p.names[s]; shared {
		return none
	}
	return p.descrs[s]
}

// lldp finds the port that lldpRemLocalPortNum means, by its row of
// lldpLocPortTable first: IOS counts bridge ports, NX-OS uses the ifIndex,
// OmniSwitch a number of its own with the ifIndex as text in the port id.
func (p *ports) lldp(num uint32, local snmp.Row, known bool) (index uint32, name string) {
	if known {
		id := local.Cell(snmp.LldpPortID)
		subtype, _ := local.Cell(snmp.LldpPortSubtype).Uint()
		if subtype == 3 { // macAddress
			if mac, ok := id.MAC(); ok {
				index = p.macs[mac]
			}
		} else {
			name = id.Text()
			index = p.named(name)
		}
		if index == none {
			index = p.named(local.Cell(snmp.LldpPortDescr).Text())
		}
		if index == none && p.byIndex[number(name)] != nil {
			index = number(name)
		}
		if name == "" || subtype == 3 {
			name = local.Cell(snmp.LldpPortDescr).Text()
		}
	}
	if index == none {
		index = p.base[num]
	}
	if index == none && p.byIndex[num] != nil {
		index = num
	}
	return index, name
}

func utoa(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func number(s string) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return none
	}
	return uint32(n)
}
