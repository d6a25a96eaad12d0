package lan

import (
	"context"
	"time"

	"pilotlight/drivers/internal/snmp"
)

// reading is one switch as it was read in one visit.
type reading struct {
	at       time.Time
	sysName  string
	sysDescr string
	requests int
	tables   map[*snmp.Definition]snmp.Table
	err      error // why some table is partial

	ports      *ports
	neighbours []neighbour
	phones     []phone
}

// The tables that each visit reads, and those that only make sense after others.
var (
	always = []*snmp.Definition{
		snmp.IfTable, snmp.IfXTable, snmp.CdpCacheTable, snmp.LldpRemTable, snmp.PsePortTable, snmp.VoiceVLANTable,
	}
	withLLDP = []*snmp.Definition{
		snmp.LldpLocPortTable, snmp.LldpRemManAddrTable, snmp.MedCapTable, snmp.MedPolicyTable, snmp.MedInventoryTable, snmp.MedPowerTable,
	}
)

// readSwitch reads all that is wanted of a switch. A table cut short is in the
// reading with what came of it; the error says what was.
func readSwitch(ctx context.Context, s *snmp.Session) (*reading, error) {
	r := &reading{at: time.Now(), tables: map[*snmp.Definition]snmp.Table{}}
	system, err := s.Get(ctx, snmp.SysName, snmp.SysDescr)
	if err != nil {
		return nil, err
	}
	r.sysName, r.sysDescr = system[0].Text(), system[1].Text()
	r.take(ctx, s, always...)
	lldp, pse := len(r.tables[snmp.LldpRemTable].Rows) > 0, len(r.tables[snmp.PsePortTable].Rows) > 0
	if lldp {
		r.take(ctx, s, withLLDP...)
	}
	if lldp || pse {
		r.take(ctx, s, snmp.BasePortTable)
	}
	if pse {
		r.take(ctx, s, snmp.CpePsePortTable)
		if len(r.tables[snmp.CpePsePortTable].Rows) > 0 {
			r.take(ctx, s, snmp.EntPhysicalTable)
		}
	}
	r.requests = s.Requests
	r.ports = portsOf(r.tables)
	r.neighbours = append(cdpNeighbours(r.tables), lldpNeighbours(r.tables, r.ports)...)
	return r, r.err
}

// take reads tables unless the switch has gone silent in this visit.
func (r *reading) take(ctx context.Context, s *snmp.Session, defs ...*snmp.Definition) {
	if gone(r.err) {
		for _, d := range defs {
			r.tables[d] = snmp.Table{Partial: true}
		}
		return
	}
	tables, err := s.Tables(ctx, defs...)
	for d, t := range tables {
		r.tables[d] = t
	}
	if err != nil && (r.err == nil || gone(err)) {
		r.err = err
	}
}

// partial reports whether any table was cut short.
func (r *reading) partial() bool { return r.err != nil }

// listsAll reports whether the tables of neighbours are whole: only then is a
// phone that is not among them gone.
func (r *reading) listsAll() bool {
	return !r.tables[snmp.CdpCacheTable].Partial && !r.tables[snmp.LldpRemTable].Partial
}

// gone reports whether an error means that the switch, not one table, failed.
func gone(err error) bool {
	return err != nil && !snmp.TableOnly(err)
}
