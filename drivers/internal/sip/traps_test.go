package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// One test for each trap that sipgo sets (reference: torture/sipgo.md).

// Trap 17: a request without From crashes a handler that reads it.
func TestTrapARequestWithoutFromNeverReachesAHandler(t *testing.T) {
	e, _ := atRest(t, Config{})
	if err := e.Handle(Claim{Method: "MESSAGE"}, func(_ context.Context, in *Incoming) {
		if in.FromTag() == "" {
			t.Error("a handler sees a request without From")
		}
		_ = in.Respond(Reply{Status: 200})
	}); err != nil {
		t.Fatal(err)
	}
	run(t, e)
	p := dial(t, e, "udp")
	if status, _ := p.ask(text("MESSAGE", "sip:b@example.com", "From:")); status != 400 {
		t.Errorf("answered %d", status)
	}
	if status, _ := p.ask(text("MESSAGE", "sip:b@example.com")); status != 200 {
		t.Errorf("after it: %d", status)
	}
}

// Trap 17: no recover around handlers.
func TestTrapAPanicInAHandlerCostsA500AndNothingElse(t *testing.T) {
	e, l := atRest(t, Config{})
	_ = e.Handle(Claim{Method: "MESSAGE"}, func(context.Context, *Incoming) { panic("oops") })
	_ = e.Handle(Claim{Method: "INFO"}, func(context.Context, *Incoming) {}) // forgets to answer
	run(t, e)
	for _, transport := range []string{"udp", "tcp"} {
		p := dial(t, e, transport)
		for _, method := range []string{"MESSAGE", "INFO"} {
			if status, _ := p.ask(text(method, "sip:b@example.com")); status != 500 {
				t.Errorf("%s by %s: %d", method, transport, status)
			}
		}
	}
	if e.Stats().Panics != 2 || !strings.Contains(l.String(), "oops") {
		t.Errorf("panics %d, log %s", e.Stats().Panics, l)
	}
}

// Trap 17: each message runs in its own goroutine, so order is lost.
func TestTrapRequestsOfOneCallIDReachTheHandlerInOrder(t *testing.T) {
	const n = 2000
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			e, _ := atRest(t, Config{Pending: 2 * n})
			var mu sync.Mutex
			var got []uint32
			all := make(chan struct{})
			_ = e.Handle(Claim{Method: "INFO"}, func(_ context.Context, in *Incoming) {
				mu.Lock()
				got = append(got, in.CSeq)
				if len(got) == n {
					close(all)
				}
				mu.Unlock()
				_ = in.Respond(Reply{Status: 200})
			})
			run(t, e)
			p := dial(t, e, transport)
			go func() { // read the answers, or TCP would stall
				for p.tryReceive(wait) != "" {
				}
			}()
			for i := 1; i <= n; i++ {
				p.send(text("INFO", "sip:b@example.com", "Call-ID: one", fmt.Sprintf("CSeq: %d INFO", i), "To: <sip:b@example.com>;tag=x"))
			}
			select {
			case <-all:
			case <-time.After(4 * wait):
				t.Fatalf("%d of %d arrived", len(got), n)
			}
			for i, c := range got {
				if c != uint32(i+1) {
					t.Fatalf("number %d came as %d", c, i+1)
				}
			}
			p.conn.Close()
		})
	}
}

func TestASlowHandlerHoldsUpItsOwnCallIDOnly(t *testing.T) {
	e, _ := atRest(t, Config{})
	release := make(chan struct{})
	_ = e.Handle(Claim{Method: "MESSAGE"}, func(_ context.Context, in *Incoming) {
		if in.CallID == "slow" {
			<-release
		}
		_ = in.Respond(Reply{Status: 200})
	})
	run(t, e)
	p := dial(t, e, "udp")
	p.send(text("MESSAGE", "sip:b@example.com", "Call-ID: slow"))
	if _, res := p.ask(text("MESSAGE", "sip:b@example.com", "Call-ID: fast")); headerOf(res, "Call-ID") != "fast" {
		t.Errorf("first answer: %s", res)
	}
	close(release)
	if headerOf(p.receive(), "Call-ID") != "slow" {
		t.Error("the slow one is not answered")
	}
}

// Trap 15: sends over 1,300 octets are refused, responses too.
func TestTrapALongResponseGoesOutOverUDP(t *testing.T) {
	e, _ := atRest(t, Config{})
	body := []byte(strings.Repeat("x", 20_000))
	_ = e.Handle(Claim{Method: "MESSAGE"}, func(_ context.Context, in *Incoming) {
		if err := in.Respond(Reply{Status: 200, ContentType: "text/plain", Body: body}); err != nil {
			t.Error(err)
		}
	})
	run(t, e)
	p := dial(t, e, "udp")
	if _, res := p.ask(text("MESSAGE", "sip:b@example.com")); len(res) < 20_000 {
		t.Errorf("%d octets came", len(res))
	}
}

// faulty is a socket that fails now and then, as one does after an ICMP error.
type faulty struct {
	net.PacketConn
	mu   sync.Mutex
	errs []error
}

func (f *faulty) ReadFrom(b []byte) (int, net.Addr, error) {
	f.mu.Lock()
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		f.mu.Unlock()
		return 0, nil, err
	}
	f.mu.Unlock()
	return f.PacketConn.ReadFrom(b)
}

// Trap 14 and D1: a read error ends the listener.
func TestTrapAReadErrorDoesNotEndTheListener(t *testing.T) {
	e, l := atRest(t, Config{Listen: []string{"udp:127.0.0.1:0"}})
	bind := e.bind
	e.bind = func(ctx context.Context, network, addr string) (net.PacketConn, error) {
		pc, err := bind(ctx, network, addr)
		return &faulty{PacketConn: pc, errs: []error{syscall.ECONNREFUSED, syscall.ENOBUFS, errors.New("what else"), syscall.ENETDOWN}}, err
	}
	run(t, e)
	if status, _ := dial(t, e, "udp").ask(text("OPTIONS", "sip:b@example.com")); status != 200 {
		t.Errorf("deaf: %d", status)
	}
	if e.Stats().ReadErrors != 4 || !strings.Contains(l.String(), "going on") {
		t.Errorf("%d read errors counted; log %s", e.Stats().ReadErrors, l)
	}
}

// crowd is a socket on which each datagram comes from another address.
type crowd struct {
	net.PacketConn
	packet func(i int) string
	n, i   int
	mu     sync.Mutex
	sent   int
	over   chan struct{}
}

func (c *crowd) ReadFrom(b []byte) (int, net.Addr, error) {
	if c.i == c.n {
		close(c.over)
		c.i++
	}
	if c.i > c.n {
		return c.PacketConn.ReadFrom(b)
	}
	c.i++
	from := &net.UDPAddr{IP: net.IPv4(10, byte(c.i>>16), byte(c.i>>8), byte(c.i)), Port: 5060}
	return copy(b, c.packet(c.i)), from, nil
}

func (c *crowd) WriteTo(b []byte, _ net.Addr) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	return len(b), nil
}

// flooded runs an endpoint through n datagrams of n sources and returns it
// with the heap's growth.
func flooded(t *testing.T, cfg Config, n int, packet func(i int) string) (*Endpoint, *logs, *crowd, int64) {
	t.Helper()
	cfg.Listen = []string{"udp:127.0.0.1:0"}
	e, l := atRest(t, cfg)
	_ = e.Handle(Claim{Method: "MESSAGE"}, answer200)
	c := &crowd{n: n, packet: packet, over: make(chan struct{})}
	bind := e.bind
	e.bind = func(ctx context.Context, network, addr string) (net.PacketConn, error) {
		pc, err := bind(ctx, network, addr)
		c.PacketConn = pc
		return c, err
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	run(t, e)
	select {
	case <-c.over:
	case <-time.After(6 * wait):
		t.Fatal("the flood does not end")
	}
	return e, l, c, heap() - before
}

// D1: sipgo keeps every source address until the listener closes.
func TestTrapForgedSourcesLeaveNothingBehind(t *testing.T) {
	const n = 100_000
	e, _, c, grown := flooded(t, Config{}, n, func(i int) string {
		return fmt.Sprintf("OPTIONS sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: %d\r\nCSeq: 1 OPTIONS\r\n\r\n", i, i)
	})
	if grown > 2<<20 {
		t.Errorf("the heap grew by %d octets", grown)
	}
	// And it is no amplifier: so many answers a second, and no more.
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent == 0 || c.sent > n/4 || e.Stats().Dropped["flood"] == 0 {
		t.Errorf("%d answers to %d requests", c.sent, n)
	}
}

func TestTransactionsAreBounded(t *testing.T) {
	e, _, _, _ := flooded(t, Config{Transactions: 4096}, 10_000, func(i int) string {
		return fmt.Sprintf("MESSAGE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: %d\r\nCSeq: 1 MESSAGE\r\n\r\n", i, i)
	})
	if s := e.Stats(); s.Server > 4096 || s.Dropped["flood"] == 0 {
		t.Errorf("%d transactions alive", s.Server)
	}
}

// D1: failed parses are logged whole, at error level, each.
func TestTrapRubbishIsCountedAndNotLogged(t *testing.T) {
	const n = 50_000
	kinds := []string{
		"GET / HTTP/1.1\r\nHost: secret\r\n\r\n",
		"\x00\x01\x00\x08!\x12\xa4Bsecretsecret0000",
		"INVITE  sip:secret@example.com SIP/2.0\r\nsecret\r\n\r\n",
		"SIP/2.0 999 secret\r\n\r\n",
		"OPTIONS sip:secret@example.com SIP/2.0\r\nVia: secret\r\n\r\n",
	}
	e, l, c, grown := flooded(t, Config{}, n, func(i int) string { return kinds[i%len(kinds)] })
	if strings.Contains(l.String(), "secret") || strings.Count(l.String(), "\n") > 10 {
		t.Errorf("log: %.2000s", l)
	}
	var dropped uint64
	for _, d := range e.Stats().Dropped {
		dropped += d
	}
	if dropped != n || c.sent != 0 || grown > 2<<20 {
		t.Errorf("dropped %d of %d, sent %d, heap +%d: %+v", dropped, n, c.sent, grown, e.Stats())
	}
}

func TestSipgosOwnLogIsCutShortRareAndWithoutMessages(t *testing.T) {
	l := &logs{}
	q := newQuiet(l.logger()).With("caller", "x")
	for range 1000 {
		q.Error("fail\r\nto parse "+strings.Repeat("y", 500), "data", "INVITE secret", "error", errors.New(strings.Repeat("z", 500)))
	}
	q.Debug("secret")
	lines := strings.Split(strings.TrimSpace(l.String()), "\n")
	if len(lines) != quietBurst {
		t.Errorf("%d lines", len(lines))
	}
	if strings.Contains(l.String(), "secret") || strings.Contains(l.String(), "ERROR") || len(lines[0]) > 500 {
		t.Errorf("line: %s", lines[0])
	}
}

// Sources outside Allow are not read.
func TestSourcesOutsideAllowAreNotRead(t *testing.T) {
	e, _ := atRest(t, Config{Allow: prefixes("127.0.0.2/32")})
	run(t, e)
	p := dial(t, e, "udp") // from 127.0.0.1
	p.send(text("OPTIONS", "sip:b@example.com"))
	from2, err := (&net.Dialer{LocalAddr: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("udp", e.Addr("udp").String())
	if err != nil {
		t.Fatal(err)
	}
	defer from2.Close()
	if status, _ := (&peer{t: t, conn: from2}).ask(text("OPTIONS", "sip:b@example.com")); status != 200 {
		t.Errorf("allowed source: %d", status)
	}
	if res := p.tryReceive(50 * time.Millisecond); res != "" || e.Stats().Dropped["source"] != 1 {
		t.Errorf("other source got %q; %+v", res, e.Stats().Dropped)
	}
	tcp := dial(t, e, "tcp")
	if res := tcp.tryReceive(wait); res != "" {
		t.Errorf("TCP from elsewhere: %q", res)
	}
}
