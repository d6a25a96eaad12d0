package sipwire

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pilotlight/testbench/branch/internal/quiet"
)

const (
	maxStreams  = 256              // TCP connections of one server
	streamIdle  = 10 * time.Minute // without a message
	writeLimit  = 2 * time.Second
	outQueue    = 64               // messages waiting for one TCP peer; more and it is dropped
	answerKept  = 32 * time.Second // 64*T1, RFC 3261 §17.2.2 Timer J
	answersKept = 4096
)

// Handler takes a message. A request is answered with Peer.Reply.
type Handler func(m *Message, p Peer)

// Server speaks SIP on one address, over UDP and TCP.
type Server struct {
	udp    *net.UDPConn
	tcp    *quiet.Listener
	handle Handler
	muted  atomic.Bool
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	streams map[*stream]struct{}
	answers map[string]answer // of requests that came by UDP, for those that come again
}

type answer struct {
	wire []byte
	at   time.Time
}

// Listen opens both sockets on the same port of an address. Nothing is read
// before Serve.
func Listen(address string, port int) (*Server, error) {
	hp := net.JoinHostPort(address, fmt.Sprint(port))
	ip, err := netip.ParseAddrPort(hp)
	if err != nil {
		return nil, fmt.Errorf("sip %s: %w", hp, err)
	}
	udp, tcp, err := pair(ip)
	for range 20 {
		if port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
		udp, tcp, err = pair(ip) // a port that is free for one need not be for the other
	}
	if err != nil {
		return nil, fmt.Errorf("sip %s: %w", hp, err)
	}
	udp.SetReadBuffer(1 << 20) // a branch of 1,000 lines subscribes at once
	return &Server{udp: udp, tcp: tcp, streams: map[*stream]struct{}{}, answers: map[string]answer{}}, nil
}

func pair(at netip.AddrPort) (*net.UDPConn, *quiet.Listener, error) {
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, nil, err
	}
	tcp, err := quiet.Listen(udp.LocalAddr().String())
	if err != nil {
		udp.Close()
	}
	return udp, tcp, err
}

// Serve gives what comes to h, until Close. It returns at once.
func (s *Server) Serve(h Handler) {
	s.handle = h
	s.wg.Go(s.readUDP)
	s.wg.Go(s.accept)
}

// Addr is the address and port of both transports.
func (s *Server) Addr() netip.AddrPort {
	return s.udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

// Mute cuts the wire, or mends it: nothing is read, sent, accepted or refused.
func (s *Server) Mute(on bool) error {
	s.muted.Store(on)
	return s.tcp.Silence(on)
}

// Close ends the server and waits for its goroutines.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for st := range s.streams {
		st.close()
	}
	s.mu.Unlock()
	s.udp.Close()
	s.tcp.Close()
	s.wg.Wait()
}

func (s *Server) readUDP() {
	buf := make([]byte, maxMessage)
	for {
		n, from, err := s.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || s.muted.Load() {
			continue // an ICMP error of an earlier send says nothing about the socket
		}
		m, err := Parse(buf[:n])
		if err != nil {
			continue
		}
		p := Peer{server: s, udp: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}
		if m.Method != "" {
			if wire := s.answered(transaction(m)); wire != nil {
				p.Send(wire)
				continue
			}
		}
		s.handle(m, p)
	}
}

// transaction names the server transaction of a request (RFC 3261 §17.2.3).
func transaction(m *Message) string {
	via := m.Get("Via")
	sentBy, _, _ := strings.Cut(via, ";")
	return Param(via, "branch") + " " + sentBy + " " + m.Method
}

func (s *Server) answered(key string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers[key].wire
}

func (s *Server) remember(key string, wire []byte) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answers) >= answersKept {
		for k, a := range s.answers {
			if now.Sub(a.at) > answerKept {
				delete(s.answers, k)
			}
		}
		if len(s.answers) >= answersKept {
			clear(s.answers) // faster than a bench should be: forget, and do the work twice
		}
	}
	s.answers[key] = answer{wire, now}
}

func (s *Server) accept() {
	for {
		c, err := s.tcp.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors: try again, gently
			continue
		}
		s.open(&stream{server: s, conn: c})
	}
}

// open starts a stream: accepted, or still to be dialled.
func (s *Server) open(st *stream) bool {
	st.out = make(chan []byte, outQueue)
	st.ctx, st.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.streams) >= maxStreams {
		st.close()
		if st.conn != nil {
			st.conn.Close()
		}
		return false
	}
	s.streams[st] = struct{}{}
	s.wg.Go(st.run)
	return true
}

// Dial is a peer reached by its own URI: UDP, or a new TCP connection.
// Only loopback is ever dialled.
func (s *Server) Dial(u URI) (Peer, error) {
	host, err := netip.ParseAddr(u.Host)
	if err != nil || !host.IsLoopback() {
		return Peer{}, fmt.Errorf("sip %s: not a loopback address", u.Host)
	}
	port := u.Port
	if port == "" {
		port = "5060"
	}
	ap, err := netip.ParseAddrPort(u.Host + ":" + port)
	if err != nil {
		return Peer{}, fmt.Errorf("sip %s: %w", u.Host, err)
	}
	if u.Transport != "tcp" {
		return Peer{server: s, udp: ap}, nil
	}
	st := &stream{server: s, dial: ap.String()}
	if !s.open(st) {
		return Peer{}, fmt.Errorf("sip %s: too many connections", u.Host)
	}
	return Peer{server: s, stream: st}, nil
}

// Peer is the other side of an exchange.
type Peer struct {
	server *Server
	udp    netip.AddrPort
	stream *stream
}

// Transport is "UDP" or "TCP".
func (p Peer) Transport() string {
	if p.stream != nil {
		return "TCP"
	}
	return "UDP"
}

// Alive reports whether something can still be sent this way.
func (p Peer) Alive() bool { return p.stream == nil || p.stream.ctx.Err() == nil }

// Send puts bytes on the wire, without waiting.
func (p Peer) Send(wire []byte) {
	switch {
	case p.server.muted.Load():
	case p.stream != nil:
		select {
		case p.stream.out <- wire:
		default:
			p.stream.close() // it does not read
		}
	default:
		p.server.udp.WriteToUDPAddrPort(wire, p.udp) // lost is lost: it is UDP
	}
}

// Reply answers a request, and answers it alike when it comes again.
func (p Peer) Reply(req, resp *Message) {
	if p.stream == nil {
		p.routeBack(resp)
	}
	wire := resp.Bytes()
	if p.stream == nil {
		p.server.remember(transaction(req), wire)
		if via := req.Get("Via"); !hasRport(via) {
			p.udp = sentBy(via, p.udp)
		}
	}
	p.Send(wire)
}

// routeBack says in the top Via where the request came from (RFC 3581 §4).
func (p Peer) routeBack(resp *Message) {
	for i, h := range resp.Headers {
		if h.Name != "Via" {
			continue
		}
		if hasRport(h.Value) {
			v := strings.Replace(h.Value, ";rport", fmt.Sprintf(";rport=%d", p.udp.Port()), 1)
			resp.Headers[i].Value = v + ";received=" + p.udp.Addr().String()
		}
		return
	}
}

func hasRport(via string) bool {
	return strings.Contains(via+";", ";rport;")
}

// sentBy is the port a response goes to without rport (RFC 3261 §18.2.2).
func sentBy(via string, from netip.AddrPort) netip.AddrPort {
	hostport, _, _ := strings.Cut(via, ";")
	if i := strings.LastIndexByte(hostport, ' '); i >= 0 {
		hostport = hostport[i+1:]
	}
	ap, err := netip.ParseAddrPort(hostport)
	if err != nil {
		return from
	}
	return netip.AddrPortFrom(from.Addr(), ap.Port())
}

// stream is one TCP connection. run reads; a second goroutine writes.
type stream struct {
	server *Server
	dial   string // to be dialled first, if set
	conn   net.Conn
	out    chan []byte
	ctx    context.Context
	cancel context.CancelFunc
}

// close asks the stream to end; its goroutines do.
func (st *stream) close() { st.cancel() }

func (st *stream) run() {
	defer func() {
		st.cancel()
		st.server.mu.Lock()
		delete(st.server.streams, st)
		st.server.mu.Unlock()
	}()
	if st.dial != "" {
		d := net.Dialer{Timeout: writeLimit}
		c, err := d.DialContext(st.ctx, "tcp", st.dial)
		if err != nil {
			return
		}
		st.conn = c
	}
	defer context.AfterFunc(st.ctx, func() { st.conn.Close() })()
	defer st.conn.Close()
	st.server.wg.Go(st.write)
	r := bufio.NewReaderSize(st.conn, 4096)
	for {
		st.conn.SetReadDeadline(time.Now().Add(streamIdle))
		m, err := Read(r)
		if err != nil {
			return // a stream that lost its framing cannot be mended
		}
		if !st.server.muted.Load() {
			st.server.handle(m, Peer{server: st.server, stream: st})
		}
	}
}

func (st *stream) write() {
	defer st.close()
	for {
		select {
		case wire := <-st.out:
			st.conn.SetWriteDeadline(time.Now().Add(writeLimit))
			if _, err := st.conn.Write(wire); err != nil {
				return
			}
		case <-st.ctx.Done():
			return
		}
	}
}

// Token is a fresh tag, branch or entity-tag.
func Token() string { return rand.Text()[:16] }
