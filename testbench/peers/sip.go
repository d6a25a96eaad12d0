package peers

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"
)

// message is a SIP message taken apart with the standard library's header reader.
type message struct {
	first []string // the three words of the start line
	head  textproto.MIMEHeader
	body  string
}

func (m message) isResponse() bool { return m.first[0] == "SIP/2.0" }

func (m message) status() int {
	n, _ := strconv.Atoi(m.first[1])
	return n
}

func parseMessage(b []byte) (message, error) {
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(b)))
	line, err := r.ReadLine()
	if err != nil {
		return message{}, err
	}
	m := message{first: strings.SplitN(line, " ", 3)}
	if len(m.first) != 3 {
		return m, fmt.Errorf("start line %q", line)
	}
	if m.head, err = r.ReadMIMEHeader(); err != nil {
		return m, err
	}
	body, err := io.ReadAll(r.R)
	m.body = string(body)
	return m, err
}

func token() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// agent is a UDP socket that sends requests to one server and waits for answers.
type agent struct {
	conn    net.PacketConn
	far     net.Addr
	answers chan message
}

func newAgent(t testing.TB, server string, requests func(*agent, message, net.Addr)) *agent {
	t.Helper()
	far, err := net.ResolveUDPAddr("udp", server)
	if err != nil || !far.IP.IsLoopback() {
		t.Fatalf("%s: want an address of loopback (%v)", server, err)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{conn: conn, far: far, answers: make(chan message, 64)}
	over := make(chan struct{})
	go func() {
		defer close(over)
		a.read(requests)
	}()
	t.Cleanup(func() { _ = conn.Close(); <-over })
	return a
}

func (a *agent) read(requests func(*agent, message, net.Addr)) {
	buf := make([]byte, 65535)
	for {
		n, from, err := a.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		m, err := parseMessage(buf[:n])
		if err != nil {
			continue
		}
		if !m.isResponse() {
			requests(a, m, from)
			continue
		}
		select {
		case a.answers <- m:
		default: // nobody waits
		}
	}
}

// do sends a request until it is finally answered. head holds all fields but
// Via, CSeq's method and Content-Length.
func (a *agent) do(method, uri string, cseq int, head, body string) (message, error) {
	branch := "z9hG4bK" + token()
	msg := fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=%s;rport\r\nMax-Forwards: 70\r\nCSeq: %d %s\r\n%sContent-Length: %d\r\n\r\n%s",
		method, uri, a.conn.LocalAddr(), branch, cseq, method, head, len(body), body)
	late := time.After(patience)
	for again := 500 * time.Millisecond; ; again = min(2*again, 4*time.Second) { // RFC 3261 §17.1.2.2: timer E
		if _, err := a.conn.WriteTo([]byte(msg), a.far); err != nil {
			return message{}, err
		}
		resend := time.After(again)
	wait:
		for {
			select {
			case m := <-a.answers:
				if strings.Contains(m.head.Get("Via"), branch) && m.status() >= 200 {
					return m, nil
				}
			case <-resend:
				break wait
			case <-late:
				return message{}, fmt.Errorf("%s %s: no answer", method, uri)
			}
		}
	}
}

// reply answers a request with no body.
func (a *agent) reply(m message, to net.Addr, status string) {
	_, _ = a.conn.WriteTo([]byte(response(m, status)), to) // a lost answer is asked for again
}

// response is one with no body.
func response(m message, status string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %s\r\n", status)
	for _, name := range []string{"Via", "From", "To", "Call-Id", "Cseq"} {
		for _, v := range m.head[name] {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.String()
}
