package lan

import (
	"strings"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/snmp"
)

// addPower reads what each PoE port delivers, and finds the interface it is.
func (p *ports) addPower(tables map[*snmp.Definition]snmp.Table) {
	parts := map[uint32]string{}
	for _, r := range tables[snmp.EntPhysicalTable].Rows {
		if len(r.Index) == 1 {
			parts[r.Index[0]] = r.Cell(snmp.EntPhysicalName).Text()
		}
	}
	extended := map[[2]uint32]snmp.Row{}
	for _, r := range tables[snmp.CpePsePortTable].Rows {
		if len(r.Index) == 2 {
			extended[[2]uint32{r.Index[0], r.Index[1]}] = r
		}
	}
	groups := map[uint32]bool{}
	for _, r := range tables[snmp.PsePortTable].Rows {
		if len(r.Index) == 2 {
			groups[r.Index[0]] = true
		}
	}
	slots := p.slots()
	for _, r := range tables[snmp.PsePortTable].Rows {
		if len(r.Index) != 2 {
			continue
		}
		at := [2]uint32{r.Index[0], r.Index[1]}
		ext := extended[at]
		part, _ := ext.Cell(snmp.CpeEntPhysical).Uint()
		index := p.named(parts[uint32(part)])
		if index == none {
			index = slots[at]
		}
		if index == none && len(groups) == 1 {
			index = p.onlyGroup(at[1])
		}
		if found := p.byIndex[index]; index != none && found != nil {
			found.power = power(r, ext)
		}
	}
}

// slots finds ports by the numbers in their names: group and port of
// "Gi1/0/3" (a stack's member, its fixed ports) and of "2/11" (a module) are
// 1.3 and 2.11. A pair that two names give is left out, and so is slot 0, which
// is no group: on such switches PoE counts bridge ports (C3560).
func (p *ports) slots() map[[2]uint32]uint32 {
	found := map[[2]uint32]uint32{}
	for name, index := range p.names {
		if index == none || strings.HasPrefix(name, "ap") { // the app hosting port of a C9300, no PoE
			continue
		}
		at, ok := slotOf(name)
		if !ok {
			continue
		}
		if _, twice := found[at]; twice {
			index = none
		}
		found[at] = index
	}
	return found
}

func slotOf(name string) (at [2]uint32, ok bool) {
	parts := strings.Split(strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz"), "/")
	switch {
	case len(parts) == 3 && parts[1] == "0":
		at = [2]uint32{number(parts[0]), number(parts[2])}
	case len(parts) == 2:
		at = [2]uint32{number(parts[0]), number(parts[1])}
	}
	return at, at[0] != 0 && at[1] != 0
}

// onlyGroup is the port of a switch that has one group: its bridge port of that
// number, or the interface that bears the number as its name or index.
func (p *ports) onlyGroup(n uint32) uint32 {
	if index := p.base[n]; index != none {
		return index
	}
	if index := p.named(utoa(n)); index != none {
		return index
	}
	if len(p.base) == 0 && p.byIndex[n] != nil {
		return n
	}
	return none
}

// power is what a PoE port does, in RFC 3621's words. The figures are Cisco's,
// drawn before allocated; its "device detected" column is not asked, being wrong.
func power(r, ext snmp.Row) *presence.Power {
	out := &presence.Power{}
	detection, _ := r.Cell(snmp.PseDetection).Uint()
	switch detection {
	case 1:
		out.State = presence.PowerDisabled
	case 2:
		out.State = presence.PowerSearching
	case 3:
		out.State = presence.PowerDelivering
	case 4, 6: // fault, otherFault
		out.State = presence.PowerFault
	default: // test, or nothing
		return nil
	}
	if out.State != presence.PowerDelivering {
		return out
	}
	for _, column := range []uint32{snmp.CpeConsumption, snmp.CpeAllocated} {
		if mw, ok := ext.Cell(column).Uint(); ok && mw > 0 && mw < 200_000 {
			out.Watts, out.Known = float64(mw)/1000, true
			break
		}
	}
	return out
}
