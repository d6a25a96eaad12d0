package peers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Answer is what came back on a request.
type Answer struct {
	Status int
	Reason string
	Header textproto.MIMEHeader
}

// Line is one way to a server: a UDP socket or a TCP connection, written and
// read as it comes. What is sent over it need not be SIP.
type Line struct {
	Local string // "127.0.0.1:PORT"

	conn      net.Conn
	transport string // UDP or TCP, as Via has it
	requests  func(*Line, message)
	over      chan struct{} // closed when nothing comes any more

	mu    sync.Mutex
	waits map[string]chan message // by the branch of what was sent
}

// Dial opens one to server ("127.0.0.1:5060") by "udp" or "tcp", from an address
// of loopback ("" for 127.0.0.1). It closes with the test.
func Dial(t testing.TB, transport, server, from string) *Line {
	t.Helper()
	l, err := dial(transport, server, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func dial(transport, server, from string, requests func(*Line, message)) (*Line, error) {
	far, err := netip.ParseAddrPort(server)
	if err != nil || !far.Addr().IsLoopback() {
		return nil, fmt.Errorf("%s: want an address of loopback (%v)", server, err)
	}
	if from == "" {
		from = "127.0.0.1"
	}
	d := net.Dialer{Timeout: patience}
	if d.LocalAddr, err = net.ResolveUDPAddr("udp", from+":0"); transport == "tcp" {
		d.LocalAddr, err = net.ResolveTCPAddr("tcp", from+":0")
	}
	if err != nil {
		return nil, err
	}
	conn, err := d.Dial(transport, server)
	if err != nil {
		return nil, err
	}
	if u, ok := conn.(*net.UDPConn); ok {
		_ = u.SetReadBuffer(4 << 20) // as much as the kernel gives
	}
	l := &Line{Local: conn.LocalAddr().String(), conn: conn, transport: strings.ToUpper(transport), requests: requests,
		over: make(chan struct{}), waits: map[string]chan message{}}
	go l.read()
	return l, nil
}

// Close ends it.
func (l *Line) Close() {
	_ = l.conn.Close()
	<-l.over
}

func (l *Line) read() {
	defer close(l.over)
	buf := make([]byte, 65535)
	next := func() (message, error) { return l.datagram(buf) }
	if l.transport == "TCP" {
		in := bufio.NewReader(l.conn)
		next = func() (message, error) { return readStream(in) }
	}
	for {
		m, err := next()
		switch {
		case err != nil:
			return
		case m.first == nil:
		case !m.isResponse():
			if l.requests != nil {
				l.requests(l, m)
			}
		default:
			l.answered(m)
		}
	}
}

// datagram is the next message, or an empty one where that is none. A server
// that is gone is no end of a UDP socket.
func (l *Line) datagram(buf []byte) (message, error) {
	n, err := l.conn.Read(buf)
	if errors.Is(err, net.ErrClosed) {
		return message{}, err
	}
	m, err := parseMessage(buf[:n])
	if err != nil {
		m.first = nil
	}
	return m, nil
}

// readStream is the next message of a stream.
func readStream(in *bufio.Reader) (m message, err error) {
	r := textproto.NewReader(in)
	line, err := r.ReadLine()
	if err != nil || line == "" { // a keep-alive (RFC 5626 §3.5.1)
		return m, err
	}
	if m.first = strings.SplitN(line, " ", 3); len(m.first) != 3 {
		return m, fmt.Errorf("start line %q", line)
	}
	if m.head, err = r.ReadMIMEHeader(); err != nil {
		return m, err
	}
	size, err := strconv.ParseUint(m.head.Get("Content-Length"), 10, 20)
	if err != nil {
		return m, err
	}
	body := make([]byte, size)
	_, err = io.ReadFull(in, body)
	m.body = string(body)
	return m, err
}

func (l *Line) answered(m message) {
	if m.status() < 200 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.waits[param(m.head.Get("Via"), "branch")]; c != nil {
		select {
		case c <- m:
		default: // again
		}
	}
}

// expect is told of the final answer to what is sent with a branch; forget ends that.
func (l *Line) expect(branch string) (c <-chan message, forget func()) {
	wait := make(chan message, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits[branch] = wait
	return wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waits, branch)
	}
}

// Ask sends octets once and waits for the final answer to the request with that
// branch in its topmost Via. Without an answer within the time, it reports false.
func (l *Line) Ask(t testing.TB, octets, branch string, within time.Duration) (Answer, bool) {
	t.Helper()
	c, forget := l.expect(branch)
	defer forget()
	if _, err := io.WriteString(l.conn, octets); err != nil {
		return Answer{}, false // a stream that the far end has closed
	}
	select {
	case m := <-c:
		return Answer{m.status(), m.first[2], m.head}, true
	case <-l.over: // what came before may be there all the same
		select {
		case m := <-c:
			return Answer{m.status(), m.first[2], m.head}, true
		default:
			return Answer{}, false
		}
	case <-time.After(within):
		return Answer{}, false
	}
}

// Send writes octets, and waits for nothing.
func (l *Line) Send(octets string) error {
	_, err := io.WriteString(l.conn, octets)
	return err
}

// do sends a request until it is answered.
func (l *Line) do(request, branch string) (message, error) {
	c, forget := l.expect(branch)
	defer forget()
	late := time.After(patience)
	for again := 500 * time.Millisecond; ; again = min(2*again, 4*time.Second) {
		if err := l.Send(request); err != nil && l.transport == "TCP" {
			return message{}, err
		}
		var resend <-chan time.Time
		if l.transport == "UDP" {
			resend = time.After(again)
		}
		select {
		case m := <-c:
			return m, nil
		case <-resend:
		case <-l.over:
			return message{}, errors.New("the connection was closed")
		case <-late:
			return message{}, errors.New("no answer")
		}
	}
}
