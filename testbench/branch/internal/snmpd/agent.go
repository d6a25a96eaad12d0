// Package snmpd is an SNMP v2c agent (RFC 3416) over a sorted table of objects:
// GET, GETNEXT and GETBULK. The table is invented by its owner, or read from an
// .snmprec recording of a real device.
//
// Its BER is its own, so that the product's library is checked against the RFC
// and not against itself. Like a real agent it keeps silent on a community it
// does not know, on versions it does not speak, and on rubbish; it refuses SET;
// and its responses stay within one Ethernet frame of 1,472 octets.
package snmpd

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

const (
	maxRequest  = 4096
	maxResponse = 1472 // 1500 less the headers of IP and UDP
	maxBindings = 128
	version2c   = 1

	errTooBig      = 1
	errNotWritable = 17
)

// Agent answers on one UDP socket.
type Agent struct {
	community string
	view      func() *Table
	conn      *net.UDPConn
	muted     atomic.Bool
	requests  atomic.Uint64
	wg        sync.WaitGroup
}

// Listen opens the agent and serves it until Close. view gives the table for
// each request.
func Listen(address string, port int, community string, view func() *Table) (*Agent, error) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return nil, fmt.Errorf("snmp agent %s: %w", address, err)
	}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port))))
	if err != nil {
		return nil, fmt.Errorf("snmp agent %s: %w", address, err)
	}
	a := &Agent{community: community, view: view, conn: conn}
	a.wg.Go(a.serve)
	return a, nil
}

// Addr is where it listens.
func (a *Agent) Addr() netip.AddrPort { return a.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Mute makes it silent, or lets it answer again.
func (a *Agent) Mute(on bool) { a.muted.Store(on) }

// Requests counts what came in with the right community.
func (a *Agent) Requests() uint64 { return a.requests.Load() }

// Close ends the agent.
func (a *Agent) Close() {
	a.conn.Close()
	a.wg.Wait()
}

func (a *Agent) serve() {
	buf := make([]byte, maxRequest)
	for {
		n, from, err := a.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || a.muted.Load() {
			continue
		}
		if resp := a.answer(buf[:n]); resp != nil {
			a.conn.WriteToUDPAddrPort(resp, from) // the manager asks again when it is lost
		}
	}
}

// request is a decoded PDU. For GETBULK, a and b are non-repeaters and
// max-repetitions (RFC 3416 §3).
type request struct {
	pdu   byte
	id    int64
	a, b  int64
	names []OID
}

// answer is the response to one datagram, or nil for silence.
func (a *Agent) answer(datagram []byte) []byte {
	req, err := decode(datagram, a.community)
	if err != nil {
		return nil
	}
	a.requests.Add(1)
	t := a.view()
	switch req.pdu {
	case pduGet, pduGetNext:
		return a.answerEach(t, req)
	case pduGetBulk:
		return a.response(req.id, 0, 0, a.bulk(t, req))
	case pduSet:
		return a.response(req.id, errNotWritable, 1, nil)
	}
	return nil
}

func (a *Agent) answerEach(t *Table, req request) []byte {
	var binds []byte
	for _, name := range req.names {
		if req.pdu == pduGet {
			binds = get(binds, t, name)
		} else {
			binds, _ = next(binds, t, name)
		}
	}
	resp := a.response(req.id, 0, 0, binds)
	if len(resp) > maxResponse {
		return a.response(req.id, errTooBig, 0, nil) // RFC 3416 §4.2.1
	}
	return resp
}

// bulk is RFC 3416 §4.2.3: as many bindings as fit.
func (a *Agent) bulk(t *Table, req request) []byte {
	room := maxResponse - len(a.response(req.id, 0, 0, nil)) - 8 // 8: length octets that grow
	var binds []byte
	once := min(max(req.a, 0), int64(len(req.names)))
	for _, name := range req.names[:once] {
		binds, _ = next(binds, t, name)
	}
	walk := req.names[once:]
	if len(binds) > room {
		return nil
	}
	for range max(req.b, 0) {
		if len(walk) == 0 {
			break
		}
		ended := 0
		for i, name := range walk {
			more, found := next(binds, t, name)
			if len(more) > room {
				return binds
			}
			binds = more
			if found == "" {
				ended++
			} else {
				walk[i] = found
			}
		}
		if ended == len(walk) {
			break
		}
	}
	return binds
}

func get(binds []byte, t *Table, name OID) []byte {
	i, found := t.find(name)
	if found {
		return bind(binds, name, t.rows[i].value())
	}
	// No instance if the object has others, else no object (RFC 3416 §4.2.1);
	// the object is guessed as the name without its last part.
	missing := byte(noSuchObject)
	if object := name[:len(name)-4]; t.below(i, object) || t.below(i-1, object) {
		missing = noSuchInstance
	}
	return bind(binds, name, Value{missing, 0})
}

// next appends the object behind name, and tells which it is; "" at the end.
func next(binds []byte, t *Table, name OID) ([]byte, OID) {
	i := t.after(name)
	if i == len(t.rows) {
		return bind(binds, name, Value{endOfMibView, 0}), ""
	}
	return bind(binds, t.rows[i].OID, t.rows[i].value()), t.rows[i].OID
}

func bind(binds []byte, name OID, v Value) []byte {
	content := appendOID(make([]byte, 0, 64+len(v)), tagOID, name)
	return appendTLV(binds, tagSequence, append(content, v...))
}

func (a *Agent) response(id int64, status, index int64, binds []byte) []byte {
	pdu := appendInt(nil, tagInteger, id)
	pdu = appendInt(pdu, tagInteger, status)
	pdu = appendInt(pdu, tagInteger, index)
	pdu = appendTLV(pdu, tagSequence, binds)
	msg := appendInt(nil, tagInteger, version2c)
	msg = appendTLV(msg, tagOctets, []byte(a.community))
	msg = appendTLV(msg, pduResponse, pdu)
	return appendTLV(nil, tagSequence, msg)
}

func decode(datagram []byte, community string) (request, error) {
	outer := reader{datagram}
	msg, err := outer.want(tagSequence)
	if err != nil {
		return request{}, err
	}
	in := reader{msg}
	version, err := in.int()
	if err != nil || version != version2c {
		return request{}, errors.Join(errBER, err)
	}
	said, err := in.want(tagOctets)
	if err != nil || string(said) != community {
		return request{}, errors.Join(errBER, err)
	}
	tag, pdu, err := in.next()
	if err != nil {
		return request{}, err
	}
	req := request{pdu: tag}
	in = reader{pdu}
	for _, p := range []*int64{&req.id, &req.a, &req.b} {
		if *p, err = in.int(); err != nil {
			return request{}, err
		}
	}
	binds, err := in.want(tagSequence)
	if err != nil {
		return request{}, err
	}
	req.names, err = decodeNames(binds)
	return req, err
}

func decodeNames(binds []byte) ([]OID, error) {
	var names []OID
	for in := (reader{binds}); len(in.b) > 0; {
		content, err := in.want(tagSequence)
		if err != nil {
			return nil, err
		}
		one := reader{content}
		name, err := one.oid()
		if err != nil {
			return nil, err
		}
		if names = append(names, name); len(names) > maxBindings {
			return nil, errBER
		}
	}
	return names, nil
}
