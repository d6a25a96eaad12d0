package sip

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// keepAlive finds a dead peer within two minutes.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 30 * time.Second, Count: 3}

// farEnd is whom a stream goes to.
type farEnd struct {
	addr      netip.AddrPort
	transport string // "tcp", "tls"
}

// stream is one TCP connection, plain or with TLS, accepted or dialled. One goroutine reads it, and
// another writes it while something is queued, each write with a deadline, so
// that a peer that does not read costs its own transactions only.
type stream struct {
	s      *serving
	conn   net.Conn
	raw    net.Conn // what conn is on, for an end without manners
	local  netip.AddrPort
	remote netip.AddrPort

	transport string // "tcp", "tls"
	shaken    bool   // census's: its handshake is over
	// greeting is when an accepted stream must have shown a message; zero for a
	// dialled one, and once it has.
	greeting time.Time
	accepted bool
	over     atomic.Bool   // nothing can be sent any more
	owed     atomic.Int32  // requests that were read and are at their handlers
	paid     chan struct{} // rung when the last of them is answered

	mu      sync.Mutex
	queue   [][]byte
	queued  int // octets in the queue or being written
	writing bool
	words   words // of a visitor
	drains  sync.WaitGroup
}

// acceptLoop survives what accept says while the process is short of files.
func (s *serving) acceptLoop(l *listener) {
	pause := 5 * time.Millisecond
	for {
		conn, err := l.accept.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || s.ctx.Err() != nil {
				return
			}
			s.e.count.readError()
			s.warn("sip: accept error, going on", "listen", l.addr, "err", err)
			if !s.sleep(pause) {
				return
			}
			pause = min(pause*2, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		source := addrPort(conn.RemoteAddr())
		if !s.e.allowed(source.Addr()) {
			s.e.count.drop("source")
			conn.Close()
			continue
		}
		if l.transport == "tls" {
			conn = tls.Server(conn, s.e.papers.server())
		}
		s.adopt(conn, true)
	}
}

// adopt begins to read a connection; false when there are too many.
func (s *serving) adopt(conn net.Conn, accepted bool) (*stream, bool) {
	st := &stream{s: s, conn: conn, raw: conn, transport: "tcp", local: addrPort(conn.LocalAddr()), remote: addrPort(conn.RemoteAddr()), accepted: accepted, paid: make(chan struct{}, 1)}
	if t, ok := conn.(*tls.Conn); ok {
		st.raw, st.transport = t.NetConn(), "tls"
	}
	if accepted {
		st.greeting = time.Now().Add(s.e.cfg.Greeting)
	}
	s.mu.Lock()
	if s.closed || !s.census.room(st, &s.e.cfg) {
		s.mu.Unlock()
		s.e.count.drop("connections")
		st.raw.Close()
		return nil, false
	}
	s.census.add(st)
	if !st.halfOpen() {
		s.streams[st.far()] = st
	}
	s.wg.Go(st.run)
	s.mu.Unlock()
	return st, true
}

func (st *stream) far() farEnd { return farEnd{st.remote, st.transport} }

// halfOpen: its handshake is not over.
func (st *stream) halfOpen() bool { return st.accepted && st.transport == "tls" && !st.shaken }

func (st *stream) run() {
	defer st.end()
	if !st.shake() {
		return
	}
	st.arrive()
	r := bufio.NewReaderSize(st.conn, 4<<10)
	for {
		if !st.awaitMessage(r) || !st.readMessage(r) {
			return
		}
		st.greeting = time.Time{}
	}
}

// readWithin bounds the reads that follow.
func (st *stream) readWithin(d time.Duration) {
	at := time.Now().Add(d)
	if !st.greeting.IsZero() && st.greeting.Before(at) {
		at = st.greeting
	}
	st.conn.SetReadDeadline(at)
}

func (st *stream) end() {
	s := st.s
	s.mu.Lock()
	if s.streams[st.far()] == st {
		delete(s.streams, st.far())
	}
	s.mu.Unlock()
	st.depart()
	st.settle()
	st.flush() // the answer to what ended it
	if s.ctx.Err() == nil {
		st.conn.Close() // with TLS's own goodbye
	}
	st.raw.Close()
	s.failAll(errLost, func(tx *leanTx) bool { return tx.stream == st })
	s.mu.Lock()
	s.census.remove(st)
	var orphans []*clientTx
	for _, c := range s.clients {
		if c.stream == st {
			orphans = append(orphans, c)
		}
	}
	s.mu.Unlock()
	for _, c := range orphans {
		c.lose()
	}
}

// settle waits for the answers to what was read, as long as a far end is waited
// for: it may have ended its own side only, or spoiled what it sent last.
func (st *stream) settle() {
	enough := time.NewTimer(st.s.e.cfg.Patience)
	defer enough.Stop()
	for st.owed.Load() > 0 && !st.over.Load() {
		select {
		case <-st.paid:
		case <-enough.C:
			return
		case <-st.s.ctx.Done():
			return
		}
	}
}

// pay is for each request that was read and is done with.
func (st *stream) pay() {
	if st.owed.Add(-1) == 0 {
		select {
		case st.paid <- struct{}{}:
		default:
		}
	}
}

// awaitMessage waits, as long as an idle stream may, for the first octet of a
// message. CRLFs between messages are skipped (RFC 3261 §7.5), and a pair of
// them is a ping that a single one answers (RFC 5626 §3.5.1): who keeps a stream
// alive so wants to be told over it, however long nothing happens.
func (st *stream) awaitMessage(r *bufio.Reader) bool {
	ends := 0
	st.readWithin(st.s.e.cfg.Idle)
	for {
		c, err := r.ReadByte()
		if err != nil {
			return false
		}
		switch c {
		case '\r':
		case '\n':
			if ends++; ends == 2 {
				ends = 0
				st.readWithin(st.s.e.cfg.Idle)
				if st.post(crlf) != nil {
					return false
				}
			}
		default:
			return r.UnreadByte() == nil
		}
	}
}

// readMessage reads one message; false ends the stream. A message that is
// framed well but says nonsense is answered and the stream goes on; when the
// framing itself is in doubt nothing that follows can be believed.
func (st *stream) readMessage(r *bufio.Reader) bool {
	st.readWithin(st.s.e.cfg.Patience)
	head, ok := readHead(r)
	if !ok || !sane(head) {
		st.s.e.count.drop("rubbish")
		return false
	}
	a := arrival{at: time.Now(), source: st.remote, transport: st.transport, stream: st}
	m, f := readHeadOf(head)
	n, framed, lengthFault := m.contentLength()
	switch {
	case lengthFault != nil:
		f, framed = lengthFault, false
	case !framed:
		f = bad("no Content-Length on a stream") // §18.3
	case n > maxBody:
		f, framed = &fault{status: 413, why: "body too long"}, false
	}
	if framed {
		m.body = make([]byte, n)
		if _, err := io.ReadFull(r, m.body); err != nil {
			st.s.e.count.drop("garbled")
			return false
		}
	}
	if m.status == 0 {
		a.spent = st.s.budget.spend(st.remote.Addr(), a.at)
	}
	st.s.message(m, f, a)
	return framed
}

// readHead reads to the empty line, at most maxHead octets.
func readHead(r *bufio.Reader) ([]byte, bool) {
	var head []byte
	for {
		line, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, false
		}
		if len(head)+len(line) > maxHead {
			return nil, false
		}
		if len(head) == 0 && len(line) > 0 && !tokenByte(line[0]) {
			return nil, false
		}
		whole := err == nil && len(line) == 2 && line[0] == '\r' && len(head) > 0 && head[len(head)-1] == '\n'
		head = append(head, line...)
		if whole {
			return head, true
		}
	}
}

func (st *stream) flow() flow {
	return flow{transport: st.transport, local: st.local, remote: st.remote, write: func(b []byte, _ netip.AddrPort) error { return st.post(b) }}
}
