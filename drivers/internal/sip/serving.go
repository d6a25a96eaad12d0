package sip

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	siplib "github.com/emiago/sipgo/sip"
)

// serving is the endpoint between one call of Run and its end: its sockets,
// streams, transactions and queues. Whatever it starts, wait waits for.
type serving struct {
	e         *Endpoint
	ctx       context.Context
	wg        sync.WaitGroup
	listeners []*listener
	stateless gate // answers without state
	complain  gate // our own warnings about strangers
	lean      *lean
	slow      atomic.Int32 // requests in dialogs that wait for a name or a connection
	routes    routes
	budget    *budget

	mu      sync.Mutex
	closed  bool
	streams map[farEnd]*stream // the latest to each
	census  census             // all that are open
	// visitors are those that were accepted, and are neither new nor over.
	visitors map[netip.Addr][]*stream
	invites  map[txKey]*serverTx
	clients  map[string]*clientTx
	calls    map[string]*callQueue
	pending  int // requests in queues

	kept    *keptTable
	work    chan *callQueue // taken by whoever rests
	resting atomic.Int32
}

// listener is one socket that listens.
type listener struct {
	transport string
	addr      netip.AddrPort
	packets   net.PacketConn // udp
	out       *outbox        // udp
	heard     func()         // udp: an ICMP error came
	accept    net.Listener   // tcp, tls
}

func newServing(ctx context.Context, e *Endpoint) *serving {
	return &serving{e: e, ctx: ctx,
		stateless: gate{n: e.cfg.StatelessPerSec, interval: time.Second},
		complain:  gate{n: quietBurst, interval: quietInterval},
		streams:   map[farEnd]*stream{}, census: newCensus(), visitors: map[netip.Addr][]*stream{}, invites: map[txKey]*serverTx{},
		kept: newKeptTable(e.cfg.Transactions, e.trying), work: make(chan *callQueue), clients: map[string]*clientTx{}, calls: map[string]*callQueue{}, lean: newLean(e.cfg.InFlight), budget: newBudget(e.cfg.SourcePerSec, e.cfg.Unmetered)}
}

func (s *serving) open() error {
	if slices.ContainsFunc(s.e.listen, func(at listenAt) bool { return at.transport == "tls" }) {
		s.e.papers.prepare(s.e.listen)
	}
	for _, at := range s.e.listen {
		l, err := s.bind(at)
		if err != nil {
			return fmt.Errorf("sip: listen %s:%s: %w", at.transport, at.addr, err)
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}

func (s *serving) bind(at listenAt) (*listener, error) {
	l := &listener{transport: at.transport}
	if streams(at.transport) {
		cfg := net.ListenConfig{KeepAliveConfig: keepAlive}
		ln, err := cfg.Listen(s.ctx, "tcp", at.addr)
		if err != nil {
			return nil, err
		}
		l.accept, l.addr = ln, addrPort(ln.Addr())
		return l, nil
	}
	pc, err := s.e.bind(s.ctx, "udp", at.addr)
	if err != nil {
		return nil, err
	}
	l.packets, l.addr = pc, addrPort(pc.LocalAddr())
	l.heard = func() { s.refused(l) }
	l.out = newOutbox(pc, s.fail, l.heard, func() { s.e.count.drop("outbox") })
	s.widen(pc, l.addr)
	return l, nil
}

// widen asks for a receive buffer that holds a burst: one goroutine reads the
// socket, so the buffer is the queue. The kernel grants at most net.core.rmem_max.
func (s *serving) widen(pc net.PacketConn, at netip.AddrPort) {
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		return
	}
	wantRefusals(udp)
	err := udp.SetReadBuffer(s.e.cfg.ReadBuffer)
	if got := readBuffer(udp); err != nil || got > 0 && got < s.e.cfg.ReadBuffer {
		s.e.log.Info("sip: the kernel grants a smaller receive buffer than asked; bursts may be lost (net.core.rmem_max)",
			"listen", at, "asked", s.e.cfg.ReadBuffer, "granted", got)
	}
}

func (s *serving) start() {
	for _, l := range s.listeners {
		s.e.log.Info("sip: listening", "transport", l.transport, "listen", l.addr)
		if l.accept != nil {
			s.wg.Go(func() { s.acceptLoop(l) })
		} else {
			s.wg.Go(func() { s.packetLoop(l) })
			l.out.begun = true
			s.wg.Go(l.out.run)
		}
	}
	s.wg.Go(func() { s.lean.pulse.beat(s.ctx.Done(), tick, s.turnWheel) })
	s.wg.Go(func() { s.kept.pulse.beat(s.ctx.Done(), keptTick, s.kept.sweep) })
}

// close ends what wait waits for.
func (s *serving) close() {
	s.mu.Lock()
	s.closed = true
	var txs []interface{ Terminate() }
	for _, t := range s.invites {
		txs = append(txs, t.tx)
	}
	for _, t := range s.clients {
		txs = append(txs, t.tx)
	}
	streams := slices.Collect(maps.Keys(s.census.open))
	s.mu.Unlock()
	for _, l := range s.listeners {
		if l.accept != nil {
			l.accept.Close()
		} else {
			l.out.close()
			l.packets.Close()
		}
	}
	s.lean.close()
	s.failAll(errStopped, func(*leanTx) bool { return true })
	for _, tx := range txs {
		tx.Terminate()
	}
	for _, st := range streams {
		st.raw.Close()
	}
}

func (s *serving) wait() { s.wg.Wait() }

func (s *serving) sizes() (streams, servers, clients, calls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.census.open), len(s.invites) + s.kept.size(), len(s.clients) + s.lean.size(), len(s.calls)
}

// packetLoop reads one UDP socket. A read error is counted and waited off: only
// the closed socket ends the loop, or a single ICMP error would deafen the branch.
func (s *serving) packetLoop(l *listener) {
	in := newBatchReader(l.packets)
	pause := time.Millisecond
	take := func(b []byte, from netip.AddrPort) {
		s.e.count.datagram(len(b))
		s.datagram(l, b, from)
	}
	for {
		err := in.read(take)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil {
				return
			}
			if s.refused(l) {
				continue
			}
			s.e.count.readError()
			s.warn("sip: read error, going on", "listen", l.addr, "err", err)
			if !s.sleep(pause) {
				return
			}
			pause = min(pause*2, time.Second)
			continue
		}
		pause = time.Millisecond
	}
}

// oneReader reads one datagram after the other.
type oneReader struct {
	pc  net.PacketConn
	buf []byte
}

func (r *oneReader) read(each func(b []byte, from netip.AddrPort)) error {
	n, from, err := r.pc.ReadFrom(r.buf)
	if err == nil {
		each(r.buf[:n], addrPort(from))
	}
	return err
}

func (s *serving) datagram(l *listener, b []byte, source netip.AddrPort) {
	if len(b) <= 4 {
		return // CRLF keep-alive (RFC 5626 §3.5.1), which wants no answer here
	}
	if !sane(b) {
		s.e.count.drop("rubbish")
		return
	}
	// Responses come from wherever we sent requests to; their branch is the proof.
	response := isResponse(b)
	if response && s.meetDatagram(b) {
		return
	}
	if !response && !s.e.allowed(source.Addr()) {
		s.e.count.drop("source")
		return
	}
	a := arrival{at: time.Now(), source: source, transport: "udp", packets: l}
	if !response {
		if a.spent = s.budget.spend(source.Addr(), a.at); a.spent == silence {
			s.e.count.drop("budget")
			return
		}
	}
	m, f := readDatagram(b)
	s.message(m, f, a)
}

func isResponse(b []byte) bool { return b[0] == 'S' && string(b[:4]) == "SIP/" }

// arrival is how a message came, and thereby how its answer goes.
type arrival struct {
	at        time.Time
	source    netip.AddrPort
	transport string
	packets   *listener // udp
	stream    *stream   // tcp, tls
	spent     verdict   // of the source's budget
}

// back is the way for a response: over the stream the request came on, or by
// UDP as RFC 3261 §18.2.2 says.
type back struct {
	stream *stream
	listen *listener
	to     netip.AddrPort
}

// backTo is the way for the response to a request with that topmost Via.
func (s *serving) backTo(a arrival, v via) back {
	if a.stream != nil {
		return back{stream: a.stream, to: a.stream.remote}
	}
	return back{listen: a.packets, to: answerTo(v, a.source)}
}

// send queues it. Longer than the path's MTU goes in fragments: a response
// follows the request's transport whatever its length (§18.1.1 limits requests
// only).
func (w back) send(b []byte) error {
	if w.stream != nil {
		return w.stream.post(b)
	}
	if len(b) > maxPacket {
		return errTooLong
	}
	w.listen.out.put(datagram{b: b, to: w.to})
	return nil
}

// flow is the same as a sipgo Connection.
func (w back) flow() flow {
	if w.stream != nil {
		return w.stream.flow()
	}
	return flow{transport: "udp", local: w.listen.addr, remote: w.to, write: w.listen.send}
}

func (l *listener) send(b []byte, to netip.AddrPort) error {
	var err error
	for range 3 {
		// The kernel may report here that an earlier datagram was refused.
		if _, err = l.packets.WriteTo(b, net.UDPAddrFromAddrPort(to)); !errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		l.heard()
	}
	return err
}

// refused ends the transactions with the far ends that refused a datagram; it
// reports whether that explains the read error.
func (s *serving) refused(l *listener) bool {
	list := refusals(l.packets)
	if len(list) == 0 {
		return false
	}
	s.mu.Lock()
	for _, c := range s.clients {
		if c.stream == nil && slices.Contains(list, c.to) {
			c.refuse()
		}
	}
	s.mu.Unlock()
	s.refusedLean(func(tx *leanTx) bool { return tx.listen == l && slices.Contains(list, tx.to) })
	return true
}

// message is the crossroads for what sockets read.
func (s *serving) message(m *message, f *fault, a arrival) {
	switch {
	case m.status != 0:
		if f != nil {
			s.e.count.drop("response")
			return
		}
		s.response(m, a)
	case m.method == "":
		s.e.count.drop("garbled")
	default:
		s.request(m, f, a)
	}
}

// warn is for what strangers can cause: a few lines a minute.
func (s *serving) warn(text string, args ...any) {
	if ok, held := s.complain.pass(time.Now()); ok {
		if held > 0 {
			args = append(args, "suppressed", held)
		}
		s.e.log.Warn(text, args...)
	}
}

// sleep waits, and reports whether there is a reason to go on.
func (s *serving) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// addrPort is a, an IPv4 address as such.
func addrPort(a net.Addr) netip.AddrPort {
	var p netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		p = a.AddrPort()
	case *net.TCPAddr:
		p = a.AddrPort()
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// flow is the way one transaction's messages take. It is a sipgo Connection
// that knows its far end, so that sipgo need not resolve, pool or limit.
type flow struct {
	transport     string
	local, remote netip.AddrPort
	write         func([]byte, netip.AddrPort) error
	// origin, when set, goes out as packet: a request is rendered once and its
	// retransmissions are the same octets.
	origin *siplib.Request
	packet []byte
}

// WriteMsg implements sipgo's Connection.
func (f flow) WriteMsg(msg siplib.Message) error {
	if f.origin != nil && msg == siplib.Message(f.origin) {
		return f.write(f.packet, f.remote)
	}
	return f.write([]byte(msg.String()), f.remote)
}

// LocalAddr implements sipgo's Connection.
func (f flow) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(f.local) }

// Ref implements sipgo's Connection; the sockets are not counted by reference.
func (f flow) Ref(int) int { return 1 }

// TryClose implements sipgo's Connection.
func (f flow) TryClose() (int, error) { return 1, nil }

// Close implements sipgo's Connection.
func (f flow) Close() error { return nil }
