package branch

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"pilotlight/testbench/branch/internal/snmpd"
)

const (
	portsPerMember   = 48
	membersPerSwitch = 8
	phonesPerSwitch  = (portsPerMember - 1) * membersPerSwitch // there is always a free port

	voiceVLAN = 110
	dataVLAN  = 10

	upBefore = 41 * 24 * time.Hour // the switch was up before the bench began
)

// SwitchInfo is how to reach a switch.
type SwitchInfo struct {
	Name      string
	Address   string
	Port      int
	Community string
}

// accessSwitch is a stack of Catalyst switches with 48 ports each.
type accessSwitch struct {
	SwitchInfo
	b       *Branch
	agent   *snmpd.Agent
	members int
	ports   []outlet
	record  *snmpd.Table
	table   atomic.Pointer[snmpd.Table] // nil: to be made anew
}

// outlet is a port as the switch has it. Whoever was unplugged keeps it.
type outlet struct {
	phone *phone    // nil: nobody's
	label string    // ifAlias, as it was configured
	since time.Time // when its last phone left
	ghost *neighbor // whom CDP still lists there, after a move
}

// neighbor is a phone as CDP and LLDP list it.
type neighbor struct {
	*phone
	joined int
	heard  time.Time
}

// port is a place on a switch.
type port struct {
	sw    *accessSwitch
	index int // from 0, over all members
	since time.Time
}

func (a port) member() int { return a.index/portsPerMember + 1 }
func (a port) number() int { return a.index%portsPerMember + 1 }

// ifIndex as a stack of 2960X counts: 10101 for Gi1/0/1, 500 more for each member.
func (a port) ifIndex() uint32 { return uint32(10100 + 500*(a.member()-1) + a.number()) }

func (a port) bridgePort() uint32 { return uint32(a.index + 1) }
func (a port) entity() uint32     { return uint32(1000*a.member() + a.number()) }
func (a port) short() string      { return fmt.Sprintf("Gi%d/0/%d", a.member(), a.number()) }
func (a port) long() string       { return fmt.Sprintf("GigabitEthernet%d/0/%d", a.member(), a.number()) }

// newSwitches makes as many switches as the phones need, and plugs them in.
func (b *Branch) newSwitches() error {
	n := (len(b.phones) + phonesPerSwitch - 1) / phonesPerSwitch
	for i := range n {
		here := b.phones[i*phonesPerSwitch : min((i+1)*phonesPerSwitch, len(b.phones))]
		s := &accessSwitch{b: b, members: len(here)/portsPerMember + 1}
		s.SwitchInfo = SwitchInfo{Name: fmt.Sprintf("sw%d", i+1), Address: b.block.sw(i).String(),
			Port: b.block.snmp, Community: b.opts.Community}
		s.ports = make([]outlet, s.members*portsPerMember)
		for at := range s.ports {
			s.ports[at].since = b.start
		}
		for at, p := range here {
			s.ports[at].phone, s.ports[at].label = p, p.DisplayName
			p.at = port{sw: s, index: at, since: b.start}
			p.Switch, p.SwitchPort = s.Name, p.at.short()
		}
		b.switches = append(b.switches, s)
	}
	if b.opts.SNMPRec == "" {
		return nil
	}
	f, err := os.Open(b.opts.SNMPRec)
	if err != nil {
		return err
	}
	defer f.Close()
	b.switches[0].record, err = snmpd.ReadRec(f)
	if err != nil {
		return fmt.Errorf("%s: %w", b.opts.SNMPRec, err)
	}
	return nil
}

// stale lets the table be made anew; the caller holds the lock.
func (s *accessSwitch) stale() { s.table.Store(nil) }

// free finds a free port by its name.
func (s *accessSwitch) free(name string) (int, error) {
	if s.record != nil {
		return 0, fmt.Errorf("%s answers from a recording", s.Name)
	}
	for i, o := range s.ports {
		at := port{sw: s, index: i}
		switch named := strings.EqualFold(name, at.short()) || strings.EqualFold(name, at.long()); {
		case o.phone == nil && (named || name == FreePort):
			return i, nil
		case named:
			return 0, fmt.Errorf("%s is the port of %s", at.short(), o.phone.Name)
		}
	}
	return 0, fmt.Errorf("no port %q on %s", name, s.Name)
}

// move lets a phone hang on another port. Where it was, CDP lists it for a while
// yet, if it did: until forget is called. The caller holds the lock for both.
func (s *accessSwitch) move(p *phone, to int, now time.Time) (forget func()) {
	was := &s.ports[p.at.index]
	var ghost *neighbor
	if p.neighbor {
		ghost = &neighbor{p, p.joined, p.heard}
		p.neighbor = false
	}
	was.phone, was.since, was.ghost = nil, now, ghost
	s.ports[to].phone, s.ports[to].ghost = p, nil
	p.at = port{sw: s, index: to, since: now}
	p.SwitchPort = p.at.short()
	s.stale()
	return func() {
		if was.ghost == ghost {
			was.ghost = nil
			s.stale()
		}
	}
}

// neighbors are the phones that CDP lists on a port.
func (o outlet) neighbors() []neighbor {
	var list []neighbor
	if o.ghost != nil {
		list = append(list, *o.ghost)
	}
	if p := o.phone; p != nil && p.neighbor {
		list = append(list, neighbor{p, p.joined, p.heard})
	}
	return list
}

// view is the table of now.
func (s *accessSwitch) view() *snmpd.Table {
	if s.record != nil {
		return s.record
	}
	if t := s.table.Load(); t != nil {
		return t
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	t := snmpd.NewTable(s.rows())
	s.table.Store(t)
	return t
}

// ticks is sysUpTime at a time.
func (s *accessSwitch) ticks(at time.Time) uint32 {
	return uint32((at.Sub(s.b.start) + upBefore) / (10 * time.Millisecond))
}

// rows collects the rows of a table.
type rows struct {
	list []snmpd.Row
}

func (r *rows) add(below snmpd.OID, column uint32, v snmpd.Value, index ...uint32) {
	r.list = append(r.list, snmpd.Row{OID: below.Sub(column).Sub(index...), Value: v})
}

func (r *rows) live(below snmpd.OID, column uint32, v func() snmpd.Value, index ...uint32) {
	r.list = append(r.list, snmpd.Row{OID: below.Sub(column).Sub(index...), Live: v})
}

// rows is all that the switch can tell; the caller holds the lock.
func (s *accessSwitch) rows() []snmpd.Row {
	r := &rows{list: make([]snmpd.Row, 0, 64+len(s.ports)*30)}
	s.system(r)
	for i, o := range s.ports {
		at := port{sw: s, index: i, since: o.since}
		if o.phone != nil {
			at = o.phone.at
		}
		s.interfaces(r, at, o)
		s.power(r, at, o.phone)
		for _, n := range o.neighbors() {
			s.cdp(r, at, n)
			if n.med {
				s.lldp(r, at, n)
			}
		}
	}
	s.uplink(r)
	for m := 1; m <= s.members; m++ {
		s.supply(r, m)
	}
	return r.list
}

func (s *accessSwitch) system(r *rows) {
	r.add(oidSystem, 1, snmpd.Octets("Cisco IOS Software, C2960X Software (C2960X-UNIVERSALK9-M), Version 15.2(7)E4, "+
		"RELEASE SOFTWARE (fc2)\r\nTechnical Support: http://www.cisco.com/techsupport"), 0)
	r.add(oidSystem, 2, snmpd.ObjectID(oidStack), 0)
	r.live(oidSystem, 3, func() snmpd.Value { return snmpd.Ticks(s.ticks(time.Now())) }, 0)
	r.add(oidSystem, 4, snmpd.Octets(""), 0)
	r.add(oidSystem, 5, snmpd.Octets(s.Name+"."+s.b.opts.Domain), 0)
	r.add(oidSystem, 6, snmpd.Octets("Wiring closet"), 0)
	r.add(oidSystem, 7, snmpd.Int(6), 0)
	r.add(oidInterfaces, 1, snmpd.Int(int64(len(s.ports)+1)), 0)
	changed := s.b.start
	for _, o := range s.ports {
		if o.phone != nil && o.phone.heard.After(changed) {
			changed = o.phone.heard
		}
	}
	r.add(oidCDPGlobal, 1, snmpd.Int(1), 0)
	r.add(oidCDPGlobal, 2, snmpd.Int(60), 0)
	r.add(oidCDPGlobal, 3, snmpd.Int(180), 0)
	r.add(oidCDPGlobal, 5, snmpd.Ticks(s.ticks(changed)), 0)
	r.add(oidLLDPStats, 1, snmpd.Ticks(s.ticks(changed)), 0)
}

// Values of IF-MIB and POWER-ETHERNET-MIB.
const (
	up, down                     = 1, 2
	ethernet                     = 6
	gigabit                      = 1_000_000_000
	poeSearching, poeDelivering  = 2, 3
	phoneIdleRate, phoneTalkRate = 200, 11_000 // octets in a second
)

func (s *accessSwitch) interfaces(r *rows, at port, o outlet) {
	x, oper, p := at.ifIndex(), int64(down), o.phone
	if p != nil && !p.state.Unplugged {
		oper = up
	}
	r.add(oidIfEntry, 1, snmpd.Int(int64(x)), x)
	r.add(oidIfEntry, 2, snmpd.Octets(at.long()), x)
	r.add(oidIfEntry, 3, snmpd.Int(ethernet), x)
	r.add(oidIfEntry, 5, snmpd.Gauge(gigabit), x)
	r.add(oidIfEntry, 6, snmpd.Octets(string([]byte{0x0c, 0x11, 0x67, 0xff, byte(at.index >> 8), byte(at.index)})), x)
	r.add(oidIfEntry, 7, snmpd.Int(up), x)
	r.add(oidIfEntry, 8, snmpd.Int(oper), x)
	r.add(oidIfEntry, 9, snmpd.Ticks(s.ticks(at.since)), x)
	r.add(oidIfXEntry, 1, snmpd.Octets(at.short()), x)
	r.add(oidIfXEntry, 15, snmpd.Gauge(gigabit/1_000_000), x)
	r.add(oidIfXEntry, 18, snmpd.Octets(o.label), x)
	if p != nil {
		for _, column := range []uint32{10, 16} {
			r.live(oidIfEntry, column, func() snmpd.Value { return snmpd.Counter(s.octets(p)) }, x)
		}
		for _, column := range []uint32{6, 10} {
			r.live(oidIfXEntry, column, func() snmpd.Value { return snmpd.Counter64(s.octets(p)) }, x)
		}
	}
	r.add(oidBasePort, 2, snmpd.Int(int64(x)), at.bridgePort())
	r.add(oidVMMembership, 2, snmpd.Int(dataVLAN), x)
	r.add(oidVoiceVLAN, 1, snmpd.Int(voiceVLAN), x)
	r.add(oidEntity, 2, snmpd.Octets(at.long()), at.entity())
	r.add(oidEntity, 5, snmpd.Int(10), at.entity()) // port
	r.add(oidEntity, 7, snmpd.Octets(at.long()), at.entity())
	r.add(oidLLDPLocal, 2, snmpd.Int(5), at.bridgePort()) // interfaceName
	r.add(oidLLDPLocal, 3, snmpd.Octets(at.short()), at.bridgePort())
	r.add(oidLLDPLocal, 4, snmpd.Octets(at.long()), at.bridgePort())
}

// octets that a phone's port has carried: a little always, more in a call.
func (s *accessSwitch) octets(p *phone) uint64 {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	now := time.Now()
	_, packets := p.sound.counts(now, s.b.opts.Speed)
	return uint64(now.Sub(s.b.start).Seconds()*phoneIdleRate) + packets*phoneTalkRate/packetsPerSecond
}

func (s *accessSwitch) power(r *rows, at port, p *phone) {
	group, x := uint32(at.member()), uint32(at.number())
	state, class, allocated := int64(poeSearching), int64(1), 0
	if p != nil && !p.state.Unplugged {
		state, class, allocated = poeDelivering, int64(p.class+1), classMilliwatts[p.class]
	}
	r.add(oidPsePort, 3, snmpd.Int(1), group, x)
	r.add(oidPsePort, 6, snmpd.Int(state), group, x)
	r.add(oidPsePort, 7, snmpd.Int(3), group, x)
	r.add(oidPsePort, 10, snmpd.Int(class), group, x)
	r.add(oidExtPsePort, 7, snmpd.Gauge(uint32(allocated)), group, x)
	r.add(oidExtPsePort, 8, snmpd.Gauge(uint32(allocated)), group, x)
	r.live(oidExtPsePort, 9, func() snmpd.Value { return snmpd.Gauge(s.drawn(p)) }, group, x)
	r.add(oidExtPsePort, 11, snmpd.Int(int64(at.entity())), group, x)
}

// classMilliwatts is what a switch sets aside for a class (IEEE 802.3af/at).
var classMilliwatts = [5]int{15400, 4000, 7000, 15400, 30000}

// drawn is what a phone takes now, in mW: more while it talks.
func (s *accessSwitch) drawn(p *phone) uint32 {
	if p == nil {
		return 0
	}
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	switch {
	case p.state.Unplugged:
		return 0
	case p.call != nil || p.state.Paged:
		return uint32(p.talkMW)
	}
	return uint32(p.idleMW)
}

func (s *accessSwitch) supply(r *rows, member int) {
	used := 0
	for _, o := range s.ports[(member-1)*portsPerMember : member*portsPerMember] {
		if p := o.phone; p != nil && !p.state.Unplugged {
			used += p.idleMW
		}
	}
	r.add(oidMainPse, 2, snmpd.Gauge(740), uint32(member))
	r.add(oidMainPse, 3, snmpd.Int(1), uint32(member))
	r.add(oidMainPse, 4, snmpd.Gauge(uint32(used/1000)), uint32(member))
}

// Columns and bits of CISCO-CDP-MIB.
const (
	cdpIP         = 1
	cdpPhone      = 0x490 // phone, host, two-port relay: a phone with a PC port
	cdpRouter     = 0x29
	duplexFull    = 3
	uplinkIfIndex = 14001
)

func (s *accessSwitch) cdp(r *rows, at port, p neighbor) {
	s.cdpRow(r, []uint32{at.ifIndex(), uint32(p.joined + 1)}, cdpNeighbor{
		address: p.announced(), version: p.loaded(), id: p.Name, port: "Port 1", platform: p.platform,
		capabilities: cdpPhone, milliwatts: p.asksMW, heard: p.heard,
	})
}

// announced is the address in the phone's CDP messages: zeros where it has no lease.
func (p *phone) announced() netip.Addr {
	if p.state.NoAddress {
		return netip.IPv4Unspecified()
	}
	return p.addr
}

// uplink is the port to the branch's router, whose CDP is no phone's.
func (s *accessSwitch) uplink(r *rows) {
	const x = uplinkIfIndex
	r.add(oidIfEntry, 1, snmpd.Int(x), x)
	r.add(oidIfEntry, 2, snmpd.Octets("TenGigabitEthernet1/1/1"), x)
	r.add(oidIfEntry, 3, snmpd.Int(ethernet), x)
	r.add(oidIfEntry, 7, snmpd.Int(up), x)
	r.add(oidIfEntry, 8, snmpd.Int(up), x)
	r.add(oidIfXEntry, 1, snmpd.Octets("Te1/1/1"), x)
	r.add(oidIfXEntry, 15, snmpd.Gauge(10_000), x)
	r.add(oidIfXEntry, 18, snmpd.Octets("to the router"), x)
	s.cdpRow(r, []uint32{x, 1}, cdpNeighbor{
		address: netip.MustParseAddr(srstRouter), id: "branch-gw." + s.b.opts.Domain, port: "TenGigabitEthernet0/0/0",
		version:  "Cisco IOS Software [Cupertino], c8000be Software, Version 17.9.4a,\nRELEASE SOFTWARE (fc3)",
		platform: "cisco C8300-1N1S-4T2X", capabilities: cdpRouter, heard: s.b.start,
	})
}

type cdpNeighbor struct {
	address                     netip.Addr
	version, id, port, platform string
	capabilities                uint32
	milliwatts                  int
	heard                       time.Time
}

func (s *accessSwitch) cdpRow(r *rows, x []uint32, n cdpNeighbor) {
	c := n.capabilities
	r.add(oidCDPCache, 3, snmpd.Int(cdpIP), x...)
	r.add(oidCDPCache, 4, snmpd.Octets(string(n.address.AsSlice())), x...)
	r.add(oidCDPCache, 5, snmpd.Octets(n.version), x...)
	r.add(oidCDPCache, 6, snmpd.Octets(n.id), x...)
	r.add(oidCDPCache, 7, snmpd.Octets(n.port), x...)
	r.add(oidCDPCache, 8, snmpd.Octets(n.platform), x...)
	r.add(oidCDPCache, 9, snmpd.Octets(string([]byte{byte(c >> 24), byte(c >> 16), byte(c >> 8), byte(c)})), x...)
	r.add(oidCDPCache, 11, snmpd.Int(0), x...)
	r.add(oidCDPCache, 12, snmpd.Int(duplexFull), x...)
	if n.milliwatts > 0 {
		r.add(oidCDPCache, 15, snmpd.Gauge(uint32(n.milliwatts)), x...)
	}
	r.add(oidCDPCache, 24, snmpd.Ticks(s.ticks(n.heard)), x...)
}
