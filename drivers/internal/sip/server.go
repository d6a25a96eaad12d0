package sip

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	siplib "github.com/emiago/sipgo/sip"
)

// handlerTime bounds a handler: after 64*T1 nobody waits for its answer.
const handlerTime = 32 * time.Second

// serverTx is a request at its handler, or on its way there.
type serverTx struct {
	tx     *siplib.ServerTx // of an INVITE (RFC 3261 §17.2.1, run by sipgo)
	kept   *keptTx          // of any other (§17.2.2); nil for an ACK, as tx
	m      *message
	in     *Incoming
	back   back
	via    via
	from   netip.AddrPort
	handle Handler
	ctx    handlerContext

	mu       sync.Mutex
	answered bool
}

// callQueue is the requests of one Call-ID that wait for their turn.
type callQueue struct {
	id      string
	waiting []*serverTx
}

// request takes a request that was read, with the fault found while reading.
func (s *serving) request(m *message, f *fault, a arrival) {
	if a.spent != within {
		s.overspent(m, a)
		return
	}
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
	if a.stream != nil {
		a.stream.show(m, a.at)
	}
	switch {
	case m.method == "CANCEL":
		s.cancelled(m, x, a)
	default:
		key := s.e.serverKey(m, x, a.transport)
		if s.again(m, key) {
			return
		}
		claim, f := s.e.claims.find(m, x)
		if f != nil {
			s.refuse(m, x, f, a)
			return
		}
		s.admit(m, x, a, key, claim.handler)
	}
}

// overspent answers a request that is past its source's budget, once a second.
func (s *serving) overspent(m *message, a arrival) {
	s.e.count.drop("budget")
	if a.spent == silence {
		return
	}
	if x, f := examine(m); f == nil {
		s.refuse(m, x, &fault{status: 503, header: Header{{"Retry-After", "1"}}}, a)
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
	if err := s.backTo(a, x.via).send(s.e.answer(m, x.via, a.source, r).render()); err != nil {
		s.warn("sip: answer not sent", "peer", a.source, "err", err)
	}
}

// txKey is a server transaction's, hashed: 128 bits under seeds that nobody
// outside knows, so that a table of them costs little and cannot be aimed at.
type txKey [2]uint64

// serverKey is RFC 3261 §17.2.3, for each transport apart; without the magic
// cookie the rules of RFC 2543 hold, which need nearly the whole request.
func (e *Endpoint) serverKey(m *message, x *facts, transport string) txKey {
	method := m.method
	if method == "ACK" || method == "CANCEL" {
		method = "INVITE"
	}
	b := make([]byte, 0, 256)
	part := func(s string) { b = append(append(b, s...), 0) }
	part(transport)
	part(method)
	if len(x.via.branch) > 7 && x.via.branch[:7] == "z9hG4bK" {
		part(x.via.branch)
		part(x.via.host)
		b = strconv.AppendInt(b, int64(x.via.port), 10)
	} else {
		for _, s := range []string{m.uri, m.header.Get("Call-ID"), x.from.Params["tag"], m.header.Get("CSeq"), x.via.value, x.to.URI} {
			part(s)
		}
	}
	return txKey{maphash.Bytes(e.seed, b), maphash.Bytes(e.seed2, b)}
}

// again hands a retransmission, or an ACK, to the transaction it belongs to.
func (s *serving) again(m *message, key txKey) bool {
	if m.method != "INVITE" && m.method != "ACK" {
		return s.kept.again(key)
	}
	s.mu.Lock()
	t, ok := s.invites[key]
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
	t, ok := s.invites[s.e.serverKey(m, x, a.transport)]
	s.mu.Unlock()
	if !ok {
		s.refuse(m, x, &fault{status: 481, why: "nothing to cancel"}, a)
		return
	}
	s.refuse(m, x, &fault{status: 200}, a)
	t.ctx.end()
	_ = t.tx.Receive(siplib.NewRequest(siplib.CANCEL, siplib.Uri{}))
}

// admit makes the transaction and puts the request into its queue.
func (s *serving) admit(m *message, x *facts, a arrival, key txKey, h Handler) {
	t := &serverTx{m: m, via: x.via, from: a.source, back: s.backTo(a, x.via), handle: h}
	t.in = incoming(m, x, a.source, s.localFor(t.back.flow()), a.transport)
	t.in.Arrived = a.at
	t.in.Respond = func(r Reply) error { return s.respond(t, r) }
	t.ctx.begin(s.ctx, a.at.Add(handlerTime))
	if !s.enlist(key, t, a) {
		s.e.count.drop("flood")
		s.refuse(m, x, &fault{status: 503, header: Header{{"Retry-After", "5"}}}, a)
	}
}

// enlist reports false when there is no room.
func (s *serving) enlist(key txKey, t *serverTx, a arrival) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.pending >= s.e.cfg.Pending {
		return false
	}
	switch t.m.method {
	case "ACK": // of a 2xx: no transaction, and no answer (§17)
		t.answered = true
	case "INVITE":
		if !s.invite(key, t, a) {
			return false
		}
	default:
		if t.kept = s.kept.add(key, t, a.at); t.kept == nil {
			return false
		}
	}
	s.pending++
	if t.back.stream != nil {
		t.back.stream.owed.Add(1)
	}
	callID := t.in.CallID
	if q, ok := s.calls[callID]; ok {
		q.waiting = append(q.waiting, t)
		return true
	}
	q := &callQueue{id: callID, waiting: []*serverTx{t}}
	s.calls[callID] = q
	select {
	case s.work <- q: // somebody rests
	default:
		s.wg.Go(func() { s.worker(q) })
	}
	return true
}

// invite makes sipgo's transaction of an INVITE.
func (s *serving) invite(key txKey, t *serverTx, a arrival) bool {
	if len(s.invites) >= s.e.cfg.Transactions {
		return false
	}
	origin := siplib.NewRequest(siplib.INVITE, siplib.Uri{})
	for _, f := range t.m.header {
		origin.AppendHeader(siplib.NewHeader(f.Name, f.Value)) // for the 100 that sipgo makes itself
	}
	origin.SetTransport(strings.ToUpper(a.transport))
	t.tx = siplib.NewServerTx(t.m.header.Get("Call-ID"), origin, t.back.flow(), s.e.txLog)
	if t.tx.Init() != nil {
		return false
	}
	s.invites[key] = t
	t.tx.OnTerminate(func(string, error) {
		s.mu.Lock()
		delete(s.invites, key)
		s.mu.Unlock()
	})
	return true
}

// restingWorkers wait for the next request; those beyond end.
const restingWorkers = 64

// worker drives one queue after the other. Each busy Call-ID has one of its
// own, so that a slow handler holds up nobody else.
func (s *serving) worker(q *callQueue) {
	for {
		s.drive(q)
		if s.resting.Add(1) > restingWorkers {
			s.resting.Add(-1)
			return
		}
		select {
		case q = <-s.work:
			s.resting.Add(-1)
		case <-s.ctx.Done():
			return
		}
	}
}

// drive hands the requests of one Call-ID over, one after the other, and ends
// with the last.
func (s *serving) drive(q *callQueue) {
	for served := false; ; served = true {
		s.mu.Lock()
		if served {
			s.pending--
		}
		if len(q.waiting) == 0 {
			delete(s.calls, q.id)
			s.mu.Unlock()
			return
		}
		t := q.waiting[0]
		q.waiting = q.waiting[1:]
		s.mu.Unlock()
		s.serve(t)
	}
}

// serve runs the handler. One that panics or forgets to answer costs a 500.
func (s *serving) serve(t *serverTx) {
	defer t.ctx.end()
	if st := t.back.stream; st != nil {
		defer st.pay()
	}
	func() {
		defer func() {
			if p := recover(); p != nil {
				s.e.count.panicked()
				s.e.log.Error("sip: handler panicked", "method", t.m.method, "peer", t.from, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			}
		}()
		t.handle(&t.ctx, t.in)
	}()
	t.mu.Lock()
	answered := t.answered
	t.mu.Unlock()
	if !answered {
		_ = s.respond(t, Reply{Status: 500})
	}
}

// respond sends a handler's reply through the transaction.
func (s *serving) respond(t *serverTx, r Reply) error {
	if err := r.check(); err != nil {
		return err
	}
	final := r.Status >= 200
	if t.tx == nil {
		if r.Status == 408 || !final && r.Status != 100 {
			return fmt.Errorf("sip: respond %d to %s: not for this method (RFC 4320 §4)", r.Status, t.m.method)
		}
		if !final {
			return nil // the endpoint sends the 100 when it is due
		}
	}
	t.mu.Lock()
	if t.answered {
		t.mu.Unlock()
		return ErrAnswered
	}
	t.answered = final
	if t.in.URI.Scheme == "sips" {
		r.Contact = secured(r.Contact)
	}
	t.mu.Unlock()
	if final {
		s.e.count.answered(t.m.method, r.Status)
	}
	err := s.pass(t, s.e.answer(t.m, t.via, t.from, r))
	if err != nil {
		return fmt.Errorf("sip: respond %d to %s: %w", r.Status, t.from, err)
	}
	return nil
}

func (s *serving) pass(t *serverTx, a *answer) error {
	if t.tx != nil {
		return t.tx.Respond(a.sipgo())
	}
	b := a.render()
	s.kept.final(t.kept, b)
	return t.back.send(b)
}

// trying is the 100 for a request that is not answered yet.
func (e *Endpoint) trying(t *serverTx) []byte {
	return e.answer(t.m, t.via, t.from, Reply{Status: 100}).render()
}
