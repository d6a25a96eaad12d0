package sip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(farRole); role != "" {
		farMain(role)
		return
	}
	goleak.VerifyTestMain(m)
}

// wait is long enough for anything that is going to happen.
const wait = 5 * time.Second

// logs is a log to look into.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

var loopback = []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}

// atRest makes an endpoint on free ports of loopback.
func atRest(t testing.TB, cfg Config) (*Endpoint, *logs) {
	t.Helper()
	if cfg.Listen == nil {
		cfg.Listen = loopback
	}
	l := &logs{}
	e, err := New(cfg, l.logger())
	if err != nil {
		t.Fatal(err)
	}
	return e, l
}

// run runs it until the test ends.
func run(t testing.TB, e *Endpoint) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	ready, stop := context.WithTimeout(ctx, wait)
	defer stop()
	if err := e.Ready(ready); err != nil {
		select {
		case err = <-done:
			done <- err
		default:
		}
		t.Fatal(err)
	}
}

// peer speaks raw octets to an endpoint, by UDP or TCP.
type peer struct {
	t    testing.TB
	conn net.Conn
	tcp  bool
}

func dial(t testing.TB, e *Endpoint, transport string) *peer {
	t.Helper()
	c, err := net.Dial(transport, e.Addr(transport).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{t, c, transport == "tcp"}
}

func (p *peer) send(msg string) {
	p.t.Helper()
	if _, err := io.WriteString(p.conn, msg); err != nil {
		p.t.Fatal(err)
	}
}

// tryReceive returns "" when nothing came in time or the stream ended.
func (p *peer) tryReceive(within time.Duration) string {
	p.conn.SetReadDeadline(time.Now().Add(within))
	if !p.tcp {
		b := make([]byte, maxDatagram)
		n, err := p.conn.Read(b)
		if err != nil {
			return ""
		}
		return string(b[:n])
	}
	return readStream(p.conn)
}

// readStream reads one message off a stream, octet by octet.
func readStream(r io.Reader) string {
	var b []byte
	for !bytes.HasSuffix(b, []byte("\r\n\r\n")) {
		one := make([]byte, 1)
		if _, err := io.ReadFull(r, one); err != nil {
			return ""
		}
		b = append(b, one[0])
	}
	n := 0
	for line := range strings.SplitSeq(string(b), "\r\n") {
		fmt.Sscanf(strings.ToLower(line), "content-length: %d", &n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return ""
	}
	return string(b) + string(body)
}

func (p *peer) receive() string {
	p.t.Helper()
	s := p.tryReceive(wait)
	if s == "" {
		p.t.Fatal("no answer")
	}
	return s
}

// ask sends and returns the status of the answer.
func (p *peer) ask(msg string) (int, string) {
	p.t.Helper()
	p.send(msg)
	res := p.receive()
	return statusOf(res), res
}

func statusOf(res string) int {
	status := 0
	fmt.Sscanf(res, "SIP/2.0 %d", &status)
	return status
}

// headerOf is the value of a header in a message text.
func headerOf(msg, name string) string {
	for line := range strings.SplitSeq(msg, "\r\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

var serial struct {
	sync.Mutex
	n int
}

func next() int {
	serial.Lock()
	defer serial.Unlock()
	serial.n++
	return serial.n
}

// text makes a request that is right in all, but for the fields given, which
// replace those of the same name or, when empty, take them away.
func text(method, uri string, fields ...string) string {
	n := next()
	h := []Field{
		{"Via", fmt.Sprintf("SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKt%d;rport", n)}, {"Max-Forwards", "70"},
		{"From", "<sip:a@example.com>;tag=ft"}, {"To", "<sip:b@example.com>"},
		{"Call-ID", fmt.Sprintf("call%d@test", n)}, {"CSeq", "1 " + method},
	}
	body := ""
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ":")
		value = strings.TrimSpace(value)
		if name == "BODY" {
			body = value
			continue
		}
		found := false
		for i := range h {
			if h[i].Name == name && !found {
				h[i].Value, found = value, true
			}
		}
		if !found {
			h = append(h, Field{name, value})
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\n", method, uri)
	for _, f := range h {
		if f.Value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.String()
}

// shared finds the folder of samples beside the module; "" with a printed line
// when it is not there.
func shared(t testing.TB, path string) string {
	dir, _ := os.Getwd()
	for dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			p := filepath.Join(dir, "..", "shared", path)
			if _, err := os.Stat(p); err == nil {
				return p
			}
			break
		}
		dir = filepath.Dir(dir)
	}
	fmt.Printf("%s: no samples at ../shared/%s; this part could not run\n", t.Name(), path)
	return ""
}
