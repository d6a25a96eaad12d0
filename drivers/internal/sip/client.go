package sip

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	siplib "github.com/emiago/sipgo/sip"
)

// exchangeTime is 64*T1, the life of a non-INVITE transaction (§17.1.2.2).
const exchangeTime = 32 * time.Second

var errNoAnswer = errors.New("no answer in time")

// clientTx is a client transaction (§17.1, run by sipgo).
type clientTx struct {
	tx      *siplib.ClientTx
	stream  *stream        // nil on UDP
	to      netip.AddrPort // where it goes
	final   chan received  // the first final response
	lost    chan struct{}  // closed when the stream is
	refused chan struct{}  // rung when an ICMP error says that nobody listens
	busy    atomic.Int32   // provisional responses on their way through sipgo
}

type received struct {
	m *message
	a arrival
}

func (c *clientTx) lose() { close(c.lost) }

func (c *clientTx) refuse() {
	select {
	case c.refused <- struct{}{}:
	default:
	}
}

// Do sends r and waits for the final response, whatever its status. The error,
// an *Error, says that there was none: nobody answered in time, nobody was
// there, nothing of sip.listen reaches it ([*NoWay]), or ctx ended. With Credentials a digest challenge is answered.
func (e *Endpoint) Do(ctx context.Context, r *Request) (*Response, error) {
	out, err := newOutgoing(r)
	if err != nil {
		return nil, &Error{Method: r.Method, Target: r.URI, Err: err}
	}
	limit := r.Timeout
	if limit <= 0 {
		limit = exchangeTime
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errNoAnswer)
	defer cancel()
	res, err := e.do(ctx, out)
	if err != nil {
		err = out.fail(ctx, err)
		e.count.sent(r.Method, outcome(err))
		return nil, err
	}
	e.count.sent(r.Method, class(res.Status))
	return res, nil
}

func (e *Endpoint) do(ctx context.Context, out *outgoing) (*Response, error) {
	s, err := e.running(ctx)
	if err != nil {
		return nil, err
	}
	list, err := e.locate(ctx, out.target)
	if err != nil {
		return nil, err
	}
	return s.eachHop(ctx, out, list)
}

// fail turns whatever ended the exchange into an *Error.
func (o *outgoing) fail(ctx context.Context, err error) error {
	timeout := errors.Is(err, siplib.ErrTransactionTimeout)
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		timeout = true
	}
	if timeout {
		err = errNoAnswer
	}
	return &Error{Method: o.r.Method, Target: o.target.Raw, Err: err, timeout: timeout}
}

func outcome(err error) string {
	var e *Error
	switch {
	case errors.As(err, &e) && e.timeout:
		return "timeout"
	case refused(err):
		return "refused"
	}
	return "error"
}

// exchange is one client transaction. A request of more than 1,300 octets
// goes by TCP unless UDP was asked for by name, and by UDP after all when
// nobody takes TCP there (RFC 3261 §18.1.1).
func (s *serving) exchange(ctx context.Context, out *outgoing, h hop) (*Response, error) {
	if h.transport == "udp" && !h.pinned && out.size() > maxUDPRequest {
		res, err := s.transact(ctx, out, h, "tcp")
		var d *dialError
		if !errors.As(err, &d) {
			return res, err
		}
	}
	return s.transact(ctx, out, h, h.transport)
}

const maxUDPRequest = 1300

func (s *serving) transact(ctx context.Context, out *outgoing, h hop, transport string) (*Response, error) {
	way, st, err := s.wayTo(ctx, h, transport, out.r.ContactUser != "")
	if err != nil {
		return nil, err
	}
	branch := "z9hG4bK" + Random(10)
	req := siplib.NewRequest(siplib.RequestMethod(out.r.Method), siplib.Uri{})
	req.SetTransport(strings.ToUpper(transport))
	way.origin, way.packet = req, out.render(branch, transport, s.localFor(way))
	key := clientKey(branch, out.r.Method)
	c := &clientTx{tx: siplib.NewClientTx(key, req, way, s.e.txLog), stream: st,
		to: h.addr, final: make(chan received, 1), lost: make(chan struct{}), refused: make(chan struct{}, 1)}
	if !s.register(key, c) {
		return nil, context.Canceled
	}
	defer s.unregister(key)
	defer c.tx.Terminate()
	began := time.Now()
	if err := c.tx.Init(); err != nil {
		return nil, err
	}
	return c.await(ctx, out.patience, func(got received) *Response {
		return &Response{Status: got.m.status, Reason: got.m.reason, Header: got.m.header, Body: got.m.body,
			RTT: got.a.at.Sub(began), Source: got.a.source, Local: s.localFor(way), Transport: transport,
			CallID: out.callID, FromTag: out.fromTag, ToTag: tagOf(got.m.header.Get("To")), CSeq: out.cseq}
	})
}

// await drains provisional responses until a final one. Who has not even sent one
// of these is given up after patience, if that is not 0.
func (c *clientTx) await(ctx context.Context, patience time.Duration, final func(received) *Response) (*Response, error) {
	var enough <-chan time.Time
	if patience > 0 {
		t := time.NewTimer(patience)
		defer t.Stop()
		enough = t.C
	}
	for {
		select {
		case got := <-c.final:
			return final(got), nil
		case <-c.tx.Responses(): // provisional
			enough = nil
		case <-enough:
			return nil, errSilent
		case <-c.tx.Done():
			return nil, c.tx.Err()
		case <-c.refused:
			return nil, syscall.ECONNREFUSED // §8.1.3.1: as good as a 503
		case <-c.lost:
			return nil, errors.New("connection lost")
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (s *serving) register(key string, c *clientTx) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.clients[key] = c
	return true
}

func (s *serving) unregister(key string) {
	s.mu.Lock()
	delete(s.clients, key)
	s.mu.Unlock()
}

func clientKey(branch, method string) string { return branch + " " + method }

// response takes a response that was read. It belongs to a transaction of ours
// by branch and method (§17.1.3) or to nobody; one with several Via values went
// astray (§8.1.3.3).
func (s *serving) response(m *message, a arrival) {
	v, err := topVia(m.header)
	_, method, err2 := parseCSeq(m.header.Get("CSeq"))
	if err != nil || err2 != nil || len(m.header.List("Via")) != 1 {
		s.e.count.drop("response")
		return
	}
	if t, ours := ticketOf(v.branch); ours {
		s.settle(met{t, method, m.status}, m.header)
		return
	}
	s.mu.Lock()
	c := s.clients[clientKey(v.branch, method)]
	known := c != nil && !s.closed
	if known && m.status < 200 && c.busy.Load() < 8 {
		// sipgo slows its retransmissions down (§17.1.2.2). A final response need
		// not pass there: it ends the transaction.
		c.busy.Add(1)
		res := siplib.NewResponse(m.status, m.reason)
		s.wg.Go(func() {
			defer c.busy.Add(-1)
			c.tx.Receive(res) // blocks until await has seen it
		})
	}
	s.mu.Unlock()
	if !known {
		s.e.count.drop("response")
	} else if m.status >= 200 {
		select {
		case c.final <- received{m, a}:
		default: // a retransmission
		}
	}
}

// outgoing is a request on its way, with everything that has a default filled in.
type outgoing struct {
	r       *Request
	target  URI
	callID  string
	fromTag string
	cseq    uint32
	// authorization is the field that answers a challenge.
	authorization Field
	nonces        []string      // answered already
	patience      time.Duration // with a far end that says nothing while there are others; 0: to the end
}

func newOutgoing(r *Request) (*outgoing, error) {
	o := &outgoing{r: r, callID: r.CallID, fromTag: r.FromTag, cseq: max(r.CSeq, 1)}
	switch r.Method {
	case "INVITE", "ACK", "CANCEL":
		return nil, errors.New("is no request for Do")
	}
	if !isToken(r.Method) {
		return nil, errors.New("bad method")
	}
	if _, err := ParseURI(r.URI); err != nil {
		return nil, err
	}
	target := r.Target
	if target == "" && len(r.Route) > 0 {
		a, err := ParseAddress(r.Route[0])
		if err != nil {
			return nil, err
		}
		target = a.URI
	}
	if target == "" {
		target = r.URI
	}
	var err error
	if o.target, err = ParseURI(target); err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	if o.callID == "" {
		o.callID = Random(16)
	}
	if o.fromTag == "" {
		o.fromTag = Random(8)
	}
	return o, o.check()
}

// check refuses what would break out of its line.
func (o *outgoing) check() error {
	r := o.r
	all := []string{r.From, r.To, r.ToTag, o.callID, o.fromTag, r.ContactUser, r.Event, r.ContentType}
	all = append(append(all, r.Route...), r.Accept...)
	for _, s := range all {
		if !oneLine(s) {
			return errors.New("line break in a header value")
		}
	}
	return r.Header.check()
}

// size is that of the packet, by a Via of usual length.
func (o *outgoing) size() int {
	return len(o.render("z9hG4bK0123456789abcdef0123", "udp", netip.AddrPortFrom(netip.IPv4Unspecified(), 65535)))
}

// render writes the request (§8.1.1). Transport and local address are known
// late: a long request goes by TCP.
func (o *outgoing) render(branch, transport string, local netip.AddrPort) []byte {
	r := o.r
	b := make([]byte, 0, 512+len(r.Body))
	line := func(name, value string) { b = append(append(append(append(b, name...), ": "...), value...), "\r\n"...) }
	b = append(append(append(append(b, r.Method...), ' '), r.URI...), " SIP/2.0\r\n"...)
	line("Via", "SIP/2.0/"+strings.ToUpper(transport)+" "+local.String()+";branch="+branch+";rport")
	for _, route := range r.Route {
		line("Route", route)
	}
	line("Max-Forwards", strconv.Itoa(cmp.Or(r.MaxForwards, 70)))
	from, to := r.From, r.To
	if from == "" {
		from = "sip:pilotlight@" + hostOf(local)
	}
	if to == "" {
		to = r.URI
	}
	line("From", nameAddr(from)+";tag="+o.fromTag)
	if to = nameAddr(to); r.ToTag != "" {
		to += ";tag=" + r.ToTag
	}
	line("To", to)
	line("Call-ID", o.callID)
	line("CSeq", strconv.FormatUint(uint64(o.cseq), 10)+" "+r.Method)
	if r.ContactUser != "" {
		line("Contact", contactFor(first(r), r.ContactUser, local, transport))
	}
	if r.Event != "" {
		line("Event", r.Event)
	}
	if len(r.Accept) > 0 {
		line("Accept", strings.Join(r.Accept, ", "))
	}
	if r.Expires != nil {
		line("Expires", strconv.FormatInt(int64(*r.Expires/time.Second), 10))
	}
	if o.authorization.Name != "" {
		line(o.authorization.Name, o.authorization.Value)
	}
	for _, f := range r.Header {
		line(f.Name, f.Value)
	}
	if r.ContentType != "" {
		line("Content-Type", r.ContentType)
	}
	line("Content-Length", strconv.Itoa(len(r.Body)))
	return append(append(b, "\r\n"...), r.Body...)
}

// Contact is the header value by which local can be reached as user.
func Contact(user string, local netip.AddrPort, transport string) string {
	uri := "<sip:" + user + "@" + local.String()
	if streams(transport) {
		uri += ";transport=" + transport
	}
	return uri + ">"
}

// contactFor is Contact in a request to uri: who is asked by sips must be able to
// answer so (RFC 3261 §8.1.1.8).
func contactFor(uri, user string, local netip.AddrPort, transport string) string {
	if len(uri) > 5 && strings.EqualFold(uri[:5], "sips:") {
		return secured(Contact(user, local, transport))
	}
	return Contact(user, local, transport)
}

// secured is a Contact of ours as a SIPS URI.
func secured(contact string) string {
	if rest, ok := strings.CutPrefix(contact, "<sip:"); ok {
		return "<sips:" + strings.Replace(rest, ";transport=tls>", ">", 1)
	}
	return contact
}

// first is the URI of the first hop.
func first(r *Request) string {
	if len(r.Route) > 0 {
		if a, err := ParseAddress(r.Route[0]); err == nil {
			return a.URI
		}
	}
	return r.URI
}

// nameAddr puts a bare URI into <>.
func nameAddr(s string) string {
	if i, err := angle(s); err == nil && i < 0 && !strings.Contains(s, "<") {
		return "<" + s + ">"
	}
	return s
}

func hostOf(a netip.AddrPort) string {
	if a.Addr().Is6() {
		return "[" + a.Addr().String() + "]"
	}
	return a.Addr().String()
}

func tagOf(value string) string {
	a, _ := ParseAddress(value)
	return a.Params["tag"]
}

// Random is n random octets in hex, for tags, branches and Call-IDs.
func Random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
