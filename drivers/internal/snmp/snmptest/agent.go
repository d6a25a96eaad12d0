// Package snmptest is an SNMP version 2c agent for tests. It speaks BER of its
// own, so that one codec's mistake is not on both sides; it serves rows, for
// instance those of an .snmprec file, on a loopback address, and a test may
// twist its answers: drop, cut, repeat or forge them.
package snmptest

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// Var is one variable: its OID, and its value in BER, without tag and length.
type Var struct {
	OID   []uint32
	Tag   byte
	Value []byte
}

// Request is what came in.
type Request struct {
	Community    string
	PDU          byte
	ID           int64
	NonRepeaters int
	Repetitions  int
	OIDs         [][]uint32
}

// Bulk reports whether it is a GETBULK.
func (r Request) Bulk() bool { return r.PDU == pduBulk }

// Answer is what is about to go out; a twist may change all of it.
type Answer struct {
	ID            int64
	Status, Index int
	Vars          []Var
	Drop          bool
	Elsewhere     bool   // from another port
	Raw           []byte // instead of all the above
	Before        [][]byte
}

// Encode gives the answer's datagram, for twists that want to spoil it.
func (a *Answer) Encode(community string) []byte { return a.encode(community) }

// Agent serves until the test ends.
type Agent struct {
	Addr      netip.AddrPort
	community string
	conn      *net.UDPConn

	mu       sync.Mutex
	vars     []Var
	twist    func(Request, *Answer)
	requests []Request
}

// maxVars is the most that one answer holds, as with snmpsim.
const maxVars = 64

// Start serves vars under the community on a free port of 127.0.0.1.
func Start(t testing.TB, community string, vars []Var) *Agent {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	a := &Agent{Addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), community: community, conn: conn}
	a.Set(vars)
	var done sync.WaitGroup
	done.Go(a.serve)
	t.Cleanup(func() {
		conn.Close()
		done.Wait()
	})
	return a
}

// Set replaces all that is served.
func (a *Agent) Set(vars []Var) {
	vars = slices.Clone(vars)
	slices.SortStableFunc(vars, func(x, y Var) int { return slices.Compare(x.OID, y.OID) })
	a.mu.Lock()
	defer a.mu.Unlock()
	a.vars = vars
}

// Twist sets what may change answers; nil ends it.
func (a *Agent) Twist(f func(Request, *Answer)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.twist = f
}

// Requests is what has come in so far.
func (a *Agent) Requests() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

func (a *Agent) serve() {
	buf := make([]byte, 65535)
	for {
		n, from, err := a.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		r, err := parse(buf[:n])
		if err != nil || r.Community != a.community {
			continue
		}
		a.reply(r, from)
	}
}

func (a *Agent) reply(r Request, to netip.AddrPort) {
	a.mu.Lock()
	a.requests = append(a.requests, r)
	answer := &Answer{ID: r.ID, Vars: a.find(r)}
	if a.twist != nil {
		a.twist(r, answer)
	}
	a.mu.Unlock()
	if answer.Drop {
		return
	}
	for _, b := range answer.Before {
		a.conn.WriteToUDPAddrPort(b, to)
	}
	b := answer.encode(r.Community)
	if answer.Elsewhere {
		other, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
		if err == nil {
			other.Write(b)
			other.Close()
		}
		return
	}
	a.conn.WriteToUDPAddrPort(b, to)
}

func (a *Agent) find(r Request) []Var {
	var out []Var
	switch r.PDU {
	case pduGet:
		for _, oid := range r.OIDs {
			out = append(out, a.exact(oid))
		}
	case pduGetNext:
		for _, oid := range r.OIDs {
			out = append(out, a.after(oid))
		}
	case pduBulk:
		at := slices.Clone(r.OIDs)
		for range r.Repetitions {
			for i, oid := range at {
				if len(out) == maxVars {
					return out
				}
				v := a.after(oid)
				out, at[i] = append(out, v), v.OID
			}
		}
	}
	return out
}

func (a *Agent) exact(oid []uint32) Var {
	i, found := slices.BinarySearchFunc(a.vars, oid, func(v Var, o []uint32) int { return slices.Compare(v.OID, o) })
	if found {
		return a.vars[i]
	}
	return Var{OID: oid, Tag: TagNoInstance}
}

func (a *Agent) after(oid []uint32) Var {
	i, found := slices.BinarySearchFunc(a.vars, oid, func(v Var, o []uint32) int { return slices.Compare(v.OID, o) })
	if found {
		i++
	}
	if i >= len(a.vars) {
		return Var{OID: oid, Tag: TagEndOfView}
	}
	return a.vars[i]
}
