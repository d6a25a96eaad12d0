package sip

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Dialog is what the requests of one dialog have in common, as this end sends
// them (RFC 3261 §12.2.1.1). It is not changed once it was given to Send, which
// keeps in it the header block rendered: for a new remote target make a new one
// (Refreshed). Its exported fields are all that there is to store.
type Dialog struct {
	Target      string   // the remote target, a URI
	Route       []string // the route set, first hop first
	From, To    string   // header values with the tags: our end, the far end
	CallID      string
	ContactUser string // Contact: <sip:ContactUser@our address>; no Contact when empty
	// The flow is that of the request that made the dialog, from Incoming.
	// Requests follow it: over the stream on which that came while it is open, by
	// UDP when it came by UDP. All may be zero; then the target alone decides.
	Transport string         // "udp", "tcp", "tls"
	Remote    netip.AddrPort // Incoming.Source
	Local     netip.AddrPort // Incoming.Local

	way     atomic.Pointer[dialogWay]
	retired atomic.Bool
}

// Retire keeps what was given to Send and is still looking for its way, a name or a
// connection, from going out: another dialog took the place of this one. It fails.
func (d *Dialog) Retire() { d.retired.Store(true) }

// InDialog is a request to send in a dialog.
type InDialog struct {
	Method            string
	CSeq              uint32
	Event             string // with its parameters
	SubscriptionState string
	Header            Header // more fields
	ContentType       string
	Body              []byte // may be shared: Send copies it
}

// Answer is what became of a request in a dialog: the status of the final
// response, or the error because of which there is none, an *Error.
type Answer struct {
	Status     int
	RetryAfter time.Duration // 0 without the field
	Header     Header        // of a response that is no 2xx
	Err        error
}

// NewDialog is the dialog that in makes, which is answered with this tag
// (RFC 3261 §12.1.1).
func NewDialog(in *Incoming, tag, contactUser string) (*Dialog, error) {
	target, err := contactOf(in)
	if err != nil {
		return nil, err
	}
	d := &Dialog{Target: target, Route: in.Header.List("Record-Route"), From: in.Header.Get("To"), To: in.Header.Get("From"),
		CallID: in.CallID, ContactUser: contactUser, Transport: in.Transport, Remote: in.Source, Local: in.Local}
	if in.ToTag() == "" {
		d.From += ";tag=" + tag
	}
	return d, nil
}

// Refreshed is the dialog after a target refresh request, such as a SUBSCRIBE:
// with its Contact as target and with its flow, the route set as it was
// (§12.2.2). It is d itself when nothing changed.
func (d *Dialog) Refreshed(in *Incoming) *Dialog {
	target := d.Target
	if t, err := contactOf(in); err == nil {
		target = t
	}
	if target == d.Target && in.Transport == d.Transport && in.Source == d.Remote && in.Local == d.Local {
		return d
	}
	return &Dialog{Target: target, Route: d.Route, From: d.From, To: d.To, CallID: d.CallID, ContactUser: d.ContactUser,
		Transport: in.Transport, Remote: in.Source, Local: in.Local}
}

func contactOf(in *Incoming) (string, error) {
	list := in.Header.List("Contact")
	if len(list) != 1 {
		return "", errors.New("sip: want one Contact") // §8.1.1.8, §12.1.1
	}
	a, err := ParseAddress(list[0])
	return a.URI, err
}

// wayLife is how long a resolved name and a route of the kernel's are believed.
const wayLife = time.Minute

// dialogWay is a way for the requests of a dialog, and what they have in common
// rendered for it. Nobody changes it.
type dialogWay struct {
	s      *serving
	until  time.Time
	listen *listener // udp
	stream *stream   // tcp, tls
	to     netip.AddrPort
	uri    string // of the request line
	via    string // " SIP/2.0", Via up to the branch's mark
	fields string // what follows the branch, up to "CSeq: "
}

// good reports whether the way can still be taken.
func (w *dialogWay) good(s *serving, now time.Time) bool {
	return w != nil && w.s == s && (w.stream == nil && now.Before(w.until) || w.stream != nil && !w.stream.over.Load())
}

// plan is what the dialog says of itself: where to, and with which lines.
type plan struct {
	uri, next URI
	route     []string
}

// plan holds §12.2.1.1: the target is the Request-URI and the route set goes
// into Route, unless its first hop is a strict router (no lr), which takes the
// place of the target, and the target the last one of the route.
func (d *Dialog) plan() (*plan, error) {
	for _, s := range append([]string{d.From, d.To, d.CallID, d.ContactUser}, d.Route...) {
		if !oneLine(s) {
			return nil, errLine
		}
	}
	uri, err := ParseURI(d.Target)
	if err != nil {
		return nil, err
	}
	p := &plan{uri: uri, next: uri, route: d.Route}
	if len(d.Route) == 0 {
		return p, nil
	}
	first, err := ParseAddress(d.Route[0])
	if err != nil {
		return nil, err
	}
	if p.next, err = ParseURI(first.URI); err != nil {
		return nil, err
	}
	if _, loose := p.next.Params["lr"]; !loose {
		p.uri = p.next
		p.route = append(slices.Clone(d.Route[1:]), "<"+d.Target+">")
	}
	return p, nil
}

var errLine = errors.New("line break in a header value")

// transport is the one of the flow, unless the next hop names another.
//
// The length plays no part. RFC 3261 §18.1.1 would have requests of more than
// 1,300 octets go by TCP, but a watcher that subscribed over UDP often listens
// on nothing else, or sits behind a NAT that only knows its UDP flow: deployed
// notifiers (Kamailio, Asterisk, OpenSIPS) follow the subscription's flow, and
// let the network cut the datagram into fragments, up to UDP's 65,507 octets.
func (d *Dialog) transport(next URI) string {
	if d.Transport != "" && next.Scheme == "sip" && next.Params["transport"] == "" {
		return d.Transport
	}
	return next.transport()
}

// flowStream is the stream on which the dialog's request came, while it is
// open. Of a route set the first hop is who sent it (§16.6, step 4).
func (s *serving) flowStream(d *Dialog) *stream {
	if !streams(d.Transport) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[farEnd{d.Remote, d.Transport}]
}

// quickWay is the way if it is at hand: no name to ask for, nothing to dial.
// With neither a way nor an error, slowWay finds it.
func (s *serving) quickWay(d *Dialog, now time.Time) (*dialogWay, error) {
	if w := d.way.Load(); w.good(s, now) {
		return w, nil
	}
	p, err := d.plan()
	if err != nil {
		return nil, err
	}
	transport := d.transport(p.next)
	if streams(transport) && transport == d.Transport {
		if st := s.flowStream(d); st != nil {
			return s.keepWay(d, p, &dialogWay{stream: st, to: st.remote}), nil
		}
	}
	to, ok := p.next.literal(transport)
	if !ok {
		return nil, nil
	}
	if transport == "udp" && p.next.Scheme == "sip" {
		return s.datagramWay(d, p, to, now)
	}
	if !streams(transport) || p.next.Scheme == "sips" && transport != "tls" {
		return nil, nil
	}
	if st := s.openTo(to, transport, p.next.Host); st != nil {
		return s.keepWay(d, p, &dialogWay{stream: st, to: to}), nil
	}
	return nil, nil
}

func (s *serving) datagramWay(d *Dialog, p *plan, to netip.AddrPort, now time.Time) (*dialogWay, error) {
	l := s.listenerTo("udp", to)
	for _, same := range s.listeners { // sooner the socket to which the far end came
		if same.transport == "udp" && same.addr == d.Local && reaches(same.addr.Addr(), to.Addr()) {
			l = same
		}
	}
	if l == nil {
		return nil, noWay(s.e.listen, "udp", to)
	}
	return s.keepWay(d, p, &dialogWay{listen: l, to: to, until: now.Add(wayLife)}), nil
}

// slowWay may ask a name server, and dial.
func (s *serving) slowWay(ctx context.Context, d *Dialog) (*dialogWay, error) {
	p, err := d.plan()
	if err != nil {
		return nil, err
	}
	next := p.next
	next.Params = Params{"transport": d.transport(p.next), "maddr": p.next.Params["maddr"]}
	list, err := s.e.locate(ctx, next)
	if err != nil {
		return nil, err
	}
	for _, h := range s.reachable(list, false) {
		if h.transport == "udp" {
			return s.datagramWay(d, p, h.addr, time.Now())
		}
		var st *stream
		if _, st, err = s.wayTo(ctx, h, h.transport, false); err == nil {
			return s.keepWay(d, p, &dialogWay{stream: st, to: h.addr}), nil
		}
		s.e.failed.note(h.addr, failedFor) // RFC 3263 §4.3: the next one
	}
	return nil, err
}

// literal is where a URI points without asking a name server.
func (u URI) literal(transport string) (netip.AddrPort, bool) {
	host, port := u.Host, uint16(u.Port)
	if maddr := u.Params["maddr"]; maddr != "" {
		host = maddr
	}
	if port == 0 {
		port = defaultPort(transport)
	}
	a, err := netip.ParseAddr(host)
	return netip.AddrPortFrom(a.Unmap(), port), err == nil
}

// keepWay renders the lines for a way and keeps it in the dialog.
func (s *serving) keepWay(d *Dialog, p *plan, w *dialogWay) *dialogWay {
	w.s, w.uri = s, p.uri.Raw
	at, transport := flow{transport: "udp", remote: w.to}, "udp"
	if w.stream != nil {
		at, transport = w.stream.flow(), w.stream.transport
	} else {
		at.local = w.listen.addr
	}
	local := s.localFor(at)
	w.via = " SIP/2.0\r\nVia: SIP/2.0/" + strings.ToUpper(transport) + " " + local.String() + ";branch="
	var b strings.Builder
	line := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	b.WriteString(";rport\r\n")
	for _, r := range p.route {
		line("Route", r)
	}
	line("Max-Forwards", "70")
	line("From", d.From)
	line("To", d.To)
	line("Call-ID", d.CallID)
	if d.ContactUser != "" {
		line("Contact", contactFor(p.uri.Raw, d.ContactUser, local, transport))
	}
	b.WriteString("CSeq: ")
	w.fields = b.String()
	d.way.Store(w)
	return w
}
