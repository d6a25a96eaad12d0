package sip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

// slowWays bounds the requests that wait for a name server or a connection.
const slowWays = 256

// Send sends a request in a dialog and returns at once: it waits for no name
// server, no connection and no peer. done is called once, from another
// goroutine, with the final answer or the error: nobody answered within 64*T1
// (a timeout), an ICMP error said that nobody listens, the connection was lost,
// too many are without answer ([ErrFull]), the endpoint is at rest. It must not
// block; it may call Send.
func (e *Endpoint) Send(d *Dialog, r InDialog, done func(Answer)) {
	s := e.now()
	if s == nil {
		go e.tell(ended{done: done, method: r.Method, target: d.Target}, Answer{Err: errStopped})
		return
	}
	now := time.Now()
	err := r.check()
	var t ticket
	if err == nil {
		t, err = s.lean.open(r.Method, d.Target, done, now)
	}
	if err != nil {
		go e.tell(ended{done: done, method: r.Method, target: d.Target}, Answer{Err: err})
		return
	}
	w, err := s.quickWay(d, now)
	switch {
	case err != nil:
		s.later(func() { s.fail(t, err) })
	case w == nil:
		s.goSlowWay(d, r, t)
	default:
		if err := s.put(w, &r, t, now); err != nil {
			s.later(func() { s.fail(t, err) })
		}
	}
}

// later runs f in a goroutine of the endpoint's; false when that ends, and
// close tells all that are left.
func (s *serving) later(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(f)
	return true
}

// goSlowWay finds the way elsewhere; so many at a time, and no more.
func (s *serving) goSlowWay(d *Dialog, r InDialog, t ticket) {
	s.later(func() {
		if s.slow.Add(1) > slowWays {
			s.slow.Add(-1)
			s.fail(t, ErrFull)
			return
		}
		defer s.slow.Add(-1)
		ctx, cancel := context.WithTimeout(s.ctx, exchangeTime)
		defer cancel()
		w, err := s.slowWay(ctx, d)
		if d.retired.Load() {
			err = errRetired
		}
		if err == nil {
			err = s.put(w, &r, t, time.Now())
		}
		if err != nil {
			s.fail(t, err)
		}
	})
}

// put renders the request and hands it to the socket's or the stream's writer.
func (s *serving) put(w *dialogWay, r *InDialog, t ticket, now time.Time) error {
	b := w.render(r, t)
	if w.stream == nil && len(b) > maxPacket {
		return errTooLong
	}
	// The transaction knows its way first: the stream may end any time.
	if err := s.lean.sent(t, w, b, now); err != nil {
		return err
	}
	if w.stream != nil {
		return w.stream.post(b)
	}
	w.listen.out.put(datagram{b, w.to, t})
	return nil
}

// render writes the request around the dialog's own lines.
func (w *dialogWay) render(r *InDialog, t ticket) []byte {
	size := len(w.uri) + len(w.via) + len(w.fields) + len(r.Event) + len(r.SubscriptionState) + len(r.ContentType) + len(r.Body) + 160
	for _, f := range r.Header {
		size += len(f.Name) + len(f.Value) + 4
	}
	b := make([]byte, 0, size)
	b = append(append(append(append(b, r.Method...), ' '), w.uri...), w.via...)
	b = append(t.branch(b), w.fields...)
	b = append(append(append(strconv.AppendUint(b, uint64(r.CSeq), 10), ' '), r.Method...), "\r\n"...)
	b = appendField(b, "Event", r.Event)
	b = appendField(b, "Subscription-State", r.SubscriptionState)
	for _, f := range r.Header {
		b = append(append(append(append(b, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
	b = appendField(b, "Content-Type", r.ContentType)
	b = append(b, "Content-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(r.Body)), 10), "\r\n\r\n"...)
	return append(b, r.Body...)
}

// appendField leaves out what is empty.
func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
}

func (r *InDialog) check() error {
	switch r.Method {
	case "INVITE", "ACK", "CANCEL":
		return errors.New("is no request for Send")
	}
	if !isToken(r.Method) {
		return errors.New("bad method")
	}
	if !oneLine(r.Event) || !oneLine(r.SubscriptionState) || !oneLine(r.ContentType) {
		return errLine
	}
	return r.Header.check()
}

// tell calls done. One that panics costs nobody else.
func (e *Endpoint) tell(x ended, a Answer) {
	if a.Err != nil {
		timeout := errors.Is(a.Err, errNoAnswer)
		a.Err = &Error{Method: x.method, Target: x.target, Err: a.Err, timeout: timeout}
		e.count.sent(x.method, outcome(a.Err))
	} else {
		e.count.sent(x.method, class(a.Status))
	}
	defer func() {
		if p := recover(); p != nil {
			e.count.panicked()
			e.log.Error("sip: done panicked", "method", x.method, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
		}
	}()
	x.done(a)
}

// fail ends one transaction without an answer.
func (s *serving) fail(t ticket, err error) {
	if x, ok := s.lean.take(t, ""); ok {
		s.e.tell(x, Answer{Err: err})
	}
}

// failAll ends those that fit.
func (s *serving) failAll(err error, fit func(*leanTx) bool) {
	for _, x := range s.lean.takeAll(fit) {
		s.e.tell(x, Answer{Err: err})
	}
}

// turnWheel is the work of a tick.
func (s *serving) turnWheel(now time.Time) bool {
	resend, late, more := s.lean.turn(now)
	for _, a := range resend {
		a.listen.out.put(a.packet)
	}
	for _, x := range late {
		s.e.tell(x, Answer{Err: errNoAnswer})
	}
	return more
}

// refusedLean ends those whose datagrams an ICMP error answered (§8.1.3.1).
func (s *serving) refusedLean(refused func(tx *leanTx) bool) {
	s.failAll(syscall.ECONNREFUSED, func(tx *leanTx) bool { return tx.packet != nil && refused(tx) })
}

// met is a response to a lean transaction, as far as it is looked at.
type met struct {
	ticket ticket
	method string
	status int
}

// meet looks at a datagram that begins like a response, and reports whether its
// topmost Via bears our mark: then it is ours or nobody's, and nothing else is
// parsed of it.
func meet(b []byte) (m met, ours bool) {
	line, rest, ok := cutLine(b)
	if !ok || len(line) < 12 || !bytes.EqualFold(line[:8], []byte("SIP/2.0 ")) {
		return m, false
	}
	for _, c := range line[8:11] {
		if c < '0' || c > '9' {
			return m, false
		}
		m.status = m.status*10 + int(c-'0')
	}
	vias, cseq := 0, ""
	for len(rest) > 0 && (vias == 0 || cseq == "") {
		if line, rest, ok = cutLine(rest); !ok || len(line) == 0 {
			break
		}
		switch {
		case isField(line, "Via", 'v'):
			for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') { // folded (§7.3.1)
				var more []byte
				if more, rest, ok = cutLine(rest); !ok {
					return m, ours
				}
				line = append(append(line[:len(line):len(line)], ' '), more...)
			}
			if vias++; vias == 1 {
				if m.ticket, ours = findMark(line); !ours {
					return m, false
				}
			}
			if vias > 1 || bytes.IndexByte(line, ',') >= 0 {
				return met{}, ours // went astray (§8.1.3.3)
			}
		case isField(line, "CSeq", 0):
			_, method, err := parseCSeq(trim(string(line[bytes.IndexByte(line, ':')+1:])))
			if err != nil {
				return met{}, ours
			}
			m.method, cseq = method, method
		}
	}
	return m, ours
}

// isField reports whether a line is of this header field, by its name or by its
// compact form.
func isField(line []byte, name string, compact byte) bool {
	n := len(name)
	switch {
	case len(line) > n && (line[0]|0x20) == (name[0]|0x20) && bytes.EqualFold(line[:n], []byte(name)):
	case compact != 0 && len(line) > 1 && (line[0]|0x20) == compact:
		n = 1
	default:
		return false
	}
	for n < len(line) && (line[n] == ' ' || line[n] == '\t') {
		n++
	}
	return n < len(line) && line[n] == ':'
}

// findMark reads the branch that bears our mark in a Via line of one value.
func findMark(line []byte) (ticket, bool) {
	i := bytes.Index(line, []byte(leanMark))
	if i < 0 || len(line) < i+branchSize {
		return ticket{}, false
	}
	if end := i + branchSize; end < len(line) && tokenByte(line[end]) {
		return ticket{}, false
	}
	return ticketOf(string(line[i : i+branchSize]))
}

// meetDatagram takes a response to a lean transaction; false leaves the
// datagram to the ordinary way.
func (s *serving) meetDatagram(b []byte) bool {
	m, ours := meet(b)
	if !ours {
		return false
	}
	var header Header
	if m.status >= 300 {
		if whole, f := readDatagram(b); f == nil {
			header = whole.header
		}
	}
	s.settle(m, header)
	return true
}

// settle hands the answer to its transaction. Whoever names the wrong method or
// nonce finds nothing (§17.1.3).
func (s *serving) settle(m met, header Header) {
	if m.status < 100 || m.status > 699 || m.method == "" {
		s.e.count.drop("response")
		return
	}
	if m.status < 200 {
		if !s.lean.provisional(m.ticket, m.method) {
			s.e.count.drop("response")
		}
		return
	}
	x, ok := s.lean.take(m.ticket, m.method)
	if !ok {
		s.e.count.drop("response")
		return
	}
	a := Answer{Status: m.status, Header: header}
	a.RetryAfter, _ = Seconds(header.Get("Retry-After"))
	s.e.tell(x, a)
}
