package sip

import (
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	siplib "github.com/emiago/sipgo/sip"
)

// handlerTime bounds a handler: after 64*T1 nobody waits for its answer.
const handlerTime = 32 * time.Second

// serverTx is a server transaction (RFC 3261 §17.2, run by sipgo) and the
// request that made it.
type serverTx struct {
	tx     *siplib.ServerTx
	m      *message
	in     *Incoming
	flow   flow
	via    via
	from   netip.AddrPort
	handle Handler
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	answered bool
}

// callQueue is the requests of one Call-ID that wait for their turn.
type callQueue struct{ waiting []*serverTx }

// request takes a request that was read, with the fault found while reading.
func (s *serving) request(m *message, f *fault, a arrival) {
	x, g := examine(m)
	if f == nil || g != nil && g.status == 501 || g != nil && g.status == 505 {
		f = g // which method and version it is decides before details do
	}
	if f != nil {
		if f.status == 501 {
			f.header = Header{{"Allow", s.e.claims.allowed()}}
		}
		s.refuse(m, x, f, a)
		return
	}
	switch {
	case m.method == "CANCEL":
		s.cancelled(m, x, a)
	case s.again(m, x, a):
	default:
		claim, f := s.e.claims.find(m, x)
		if f != nil {
			s.refuse(m, x, f, a)
			return
		}
		s.admit(m, x, a, claim.handler)
	}
}

// refuse answers without state: nothing is kept, and a retransmission gets the
// same answer (§8.2.7). An ACK is never answered; what has no Via cannot be;
// and no more go out a second than the gate lets, since a source may be forged.
func (s *serving) refuse(m *message, x *facts, f *fault, a arrival) {
	if m.method == "ACK" || f.status == 0 || x.via.value == "" {
		s.e.count.drop("garbled")
		return
	}
	if ok, _ := s.stateless.pass(a.at); !ok {
		s.e.count.drop("flood")
		return
	}
	s.e.count.answered(m.method, f.status)
	r := Reply{Status: f.status, Header: f.header}
	if f.status == 400 {
		r.Reason = "Bad Request (" + f.why + ")"
	}
	res := s.e.response(m, x.via, a.source, r)
	if err := s.back(a, x.via).WriteMsg(res); err != nil {
		s.warn("sip: answer not sent", "peer", a.source, "err", err)
	}
}

// serverKey is RFC 3261 §17.2.3, for each transport apart; without the magic
// cookie the rules of RFC 2543 hold, which need nearly the whole request.
func serverKey(m *message, x *facts, transport string) string {
	method := m.method
	if method == "ACK" || method == "CANCEL" {
		method = "INVITE"
	}
	if len(x.via.branch) > 7 && x.via.branch[:7] == "z9hG4bK" {
		return fmt.Sprintf("%s %s %s %s:%d", transport, method, x.via.branch, x.via.host, x.via.port)
	}
	return fmt.Sprintf("%s %s %s %s %s %d %s %s", transport, method, m.uri, m.header.Get("Call-ID"), x.from.Params["tag"], x.cseq, x.via.value, x.to.URI)
}

// again hands a retransmission, or an ACK, to the transaction it belongs to.
func (s *serving) again(m *message, x *facts, a arrival) bool {
	s.mu.Lock()
	t, ok := s.servers[serverKey(m, x, a.transport)]
	s.mu.Unlock()
	if ok {
		_ = t.tx.Receive(siplib.NewRequest(siplib.RequestMethod(m.method), siplib.Uri{}))
	}
	return ok
}

// cancelled answers a CANCEL (§9.2): the INVITE's handler sees its context end
// and sipgo sends the 487.
func (s *serving) cancelled(m *message, x *facts, a arrival) {
	s.mu.Lock()
	t, ok := s.servers[serverKey(m, x, a.transport)]
	s.mu.Unlock()
	if !ok {
		s.refuse(m, x, &fault{status: 481, why: "nothing to cancel"}, a)
		return
	}
	s.refuse(m, x, &fault{status: 200}, a)
	t.cancel()
	_ = t.tx.Receive(siplib.NewRequest(siplib.CANCEL, siplib.Uri{}))
}

// admit makes the transaction and puts the request into its queue.
func (s *serving) admit(m *message, x *facts, a arrival, h Handler) {
	way := s.back(a, x.via)
	t := &serverTx{m: m, via: x.via, from: a.source, flow: way, handle: h}
	t.in = incoming(m, x, a.source, s.localFor(way), a.transport)
	t.in.Arrived = a.at
	key := serverKey(m, x, a.transport)
	if !s.enlist(key, t, a) {
		s.e.count.drop("flood")
		s.refuse(m, x, &fault{status: 503, header: Header{{"Retry-After", "5"}}}, a)
	}
}

// enlist reports false when there is no room.
func (s *serving) enlist(key string, t *serverTx, a arrival) bool {
	origin := siplib.NewRequest(siplib.RequestMethod(t.m.method), siplib.Uri{})
	for _, f := range t.m.header {
		origin.AppendHeader(siplib.NewHeader(f.Name, f.Value)) // for the 100 that sipgo makes itself
	}
	origin.SetTransport(map[bool]string{true: "UDP", false: "TCP"}[a.stream == nil])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.servers) >= s.e.cfg.Transactions || s.pending >= s.e.cfg.Pending {
		return false
	}
	t.tx = siplib.NewServerTx(key, origin, t.flow, s.e.txLog)
	if t.m.method == "ACK" { // of a 2xx: no transaction, and no answer (§17)
		t.answered = true
	} else if err := t.tx.Init(); err != nil {
		return false
	} else {
		s.servers[key] = t
		t.tx.OnTerminate(func(string, error) { s.forget(key) })
	}
	t.ctx, t.cancel = context.WithTimeout(s.ctx, handlerTime)
	t.in.Respond = func(r Reply) error { return s.respond(t, r) }
	s.pending++
	callID := t.in.CallID
	if q, ok := s.calls[callID]; ok {
		q.waiting = append(q.waiting, t)
		return true
	}
	q := &callQueue{waiting: []*serverTx{t}}
	s.calls[callID] = q
	s.wg.Go(func() { s.drive(callID, q) })
	return true
}

func (s *serving) forget(key string) {
	s.mu.Lock()
	delete(s.servers, key)
	s.mu.Unlock()
}

// drive hands the requests of one Call-ID over, one after the other, and ends
// with the last.
func (s *serving) drive(callID string, q *callQueue) {
	for {
		s.mu.Lock()
		if len(q.waiting) == 0 {
			delete(s.calls, callID)
			s.mu.Unlock()
			return
		}
		t := q.waiting[0]
		q.waiting = q.waiting[1:]
		s.mu.Unlock()
		s.serve(t)
		s.mu.Lock()
		s.pending--
		s.mu.Unlock()
	}
}

// serve runs the handler. One that panics or forgets to answer costs a 500.
func (s *serving) serve(t *serverTx) {
	defer t.cancel()
	func() {
		defer func() {
			if p := recover(); p != nil {
				s.e.count.panicked()
				s.e.log.Error("sip: handler panicked", "method", t.m.method, "peer", t.from, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
		}()
		t.handle(t.ctx, t.in)
	}()
	t.mu.Lock()
	answered := t.answered
	t.mu.Unlock()
	if !answered {
		_ = s.respond(t, Reply{Status: 500})
	}
	if t.m.method != "INVITE" && t.m.method != "ACK" {
		t.tx.TerminateGracefully() // sipgo keeps it for Timer J on UDP
	}
}

// respond sends a handler's reply through the transaction.
func (s *serving) respond(t *serverTx, r Reply) error {
	if err := r.check(); err != nil {
		return err
	}
	t.mu.Lock()
	if t.answered {
		t.mu.Unlock()
		return ErrAnswered
	}
	t.answered = r.Status >= 200
	t.mu.Unlock()
	if r.Status >= 200 {
		s.e.count.answered(t.m.method, r.Status)
	}
	if err := t.tx.Respond(s.e.response(t.m, t.via, t.from, r)); err != nil {
		return fmt.Errorf("sip: respond %d to %s: %w", r.Status, t.from, err)
	}
	return nil
}
