package event

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pilotlight/drivers/internal/sip"
)

// streamed has a notifier speak over the first connection that a listener takes.
type streamed struct {
	net.PacketConn // of which nothing is left
	net.Listener
	in *bufio.Reader

	mu   sync.Mutex
	conn net.Conn
}

func (s *streamed) ReadFrom(b []byte) (int, net.Addr, error) {
	if s.in == nil {
		conn, err := s.Accept()
		if err != nil {
			return 0, nil, err
		}
		s.mu.Lock()
		s.conn = conn
		s.mu.Unlock()
		s.in = bufio.NewReader(conn)
	}
	for n := 0; ; {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return 0, nil, err
		}
		if n += copy(b[n:], line); strings.TrimSpace(line) == "" && n > len(line) {
			return n, s.conn.RemoteAddr(), nil // nobody sends it a body
		}
	}
}

func (s *streamed) WriteTo(b []byte, _ net.Addr) (int, error) {
	return s.conn.Write([]byte(strings.ReplaceAll(string(b), "SIP/2.0/UDP ", "SIP/2.0/TLS ")))
}

func (s *streamed) Close() error {
	err := s.Listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		err = errors.Join(err, s.conn.Close())
	}
	return err
}

// A call server by TLS: it proves who it is, and notifies over the stream of the
// SUBSCRIBE.
func TestASubscriptionByTLS(t *testing.T) {
	dir := t.TempDir()
	papers := sip.TLS{CertFile: filepath.Join(dir, "c.pem"), KeyFile: filepath.Join(dir, "k.pem"), Make: "pbx.example.com"}
	papers.CAFile = papers.CertFile // whom it signs for is itself
	e, err := sip.New(sip.Config{Listen: []string{"udp:127.0.0.1:0", "tls:127.0.0.1:0"}, TLS: papers}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(DialogPackage, e, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(papers.CertFile, papers.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	n := &notifier{t: t, pc: &streamed{Listener: l}, addr: l.Addr().String() + ";transport=tls", responses: make(chan string, 100)}
	n.become(func(_ int, q sub) { q.ok(3600, 1, "<one/>") })
	over := make(chan struct{})
	go func() { defer close(over); n.read() }()
	t.Cleanup(func() { n.pc.Close(); <-over })

	x := subscribe(t, s, n.config())
	if got := nextNotice(t, x); string(got.Body) != "<one/>" || n.answer() != 200 {
		t.Errorf("%+v", got)
	}
	if req := n.seen()[0]; !strings.Contains(header(req, "Via"), "SIP/2.0/TLS ") || !strings.Contains(header(req, "Contact"), e.Addr("tls").String()+";transport=tls") {
		t.Errorf("%s", req)
	}
}
