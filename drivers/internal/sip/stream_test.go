package sip

import (
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func prefixes(ss ...string) (list []netip.Prefix) {
	for _, s := range ss {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

// ended reports that the far end closed within the time.
func (p *peer) ended(within time.Duration) bool {
	p.conn.SetReadDeadline(time.Now().Add(within))
	for {
		if _, err := p.conn.Read(make([]byte, 512)); err != nil {
			nerr, ok := err.(interface{ Timeout() bool })
			return !ok || !nerr.Timeout()
		}
	}
}

// sipgo trap 1: a header folded exactly at the end of a read closes the stream.
func TestAStreamIsReadOctetByOctetAsWellAsWhole(t *testing.T) {
	e, _ := atRest(t, Config{})
	_ = e.Handle(Claim{Method: "MESSAGE"}, func(_ context.Context, in *Incoming) {
		_ = in.Respond(Reply{Status: 200, Reason: in.Header.Get("Subject") + "/" + string(in.Body)})
	})
	run(t, e)
	p := dial(t, e, "tcp")
	msg := strings.Replace(text("MESSAGE", "sip:b@example.com", "BODY:hello"), "Content-Length", "Subject: one\r\n two\r\n\tthree\r\nContent-Length", 1)
	for i := range len(msg) {
		p.send(msg[i : i+1])
	}
	if res := p.receive(); !strings.HasPrefix(res, "SIP/2.0 200 one two three/hello\r\n") {
		t.Errorf("answer: %s", res)
	}
	// Two in one write, with the CRLFs between them that are to be ignored.
	one := text("MESSAGE", "sip:b@example.com", "BODY:1")
	two := text("MESSAGE", "sip:b@example.com", "BODY:2")
	p.send(one + "\r\n" + two)
	a, b := p.receive(), p.receive()
	if !strings.Contains(a+b, "/1\r\n") || !strings.Contains(a+b, "/2\r\n") {
		t.Errorf("answers: %s%s", a, b)
	}
}

func TestAStreamsPingIsAnswered(t *testing.T) {
	e, _ := atRest(t, Config{})
	run(t, e)
	p := dial(t, e, "tcp")
	p.send("\r\n\r\n") // RFC 5626 §3.5.1
	b := make([]byte, 10)
	p.conn.SetReadDeadline(time.Now().Add(wait))
	if n, err := p.conn.Read(b); err != nil || string(b[:n]) != "\r\n" {
		t.Errorf("pong %q, %v", b[:n], err)
	}
}

func TestAStreamThatCannotBeFramedIsAnsweredAndClosed(t *testing.T) {
	e, _ := atRest(t, Config{Patience: 200 * time.Millisecond})
	run(t, e)
	whole := text("OPTIONS", "sip:b@example.com")
	tests := []struct {
		name, msg string
		status    int // 0: none
	}{
		{"no Content-Length", strings.Replace(whole, "Content-Length: 0\r\n", "", 1), 400},
		{"negative Content-Length", strings.Replace(whole, "Length: 0", "Length: -1", 1), 400},
		{"two Content-Length", strings.Replace(whole, "Content-Length: 0", "Content-Length: 0\r\nl: 0", 1), 400},
		{"body of 1 GB", strings.Replace(whole, "Length: 0", "Length: 1000000000", 1), 413},
		{"head without end", "OPTIONS sip:b@example.com SIP/2.0\r\n" + strings.Repeat("X: y\r\n", 20_000), 0},
		{"line without end", "OPTIONS sip:b@example.com SIP/2.0\r\nX: " + strings.Repeat("y", 100_000), 0},
		{"another protocol", "GET / HTTP/1.1\r\n\r\n", 0},
		{"octets that are no text", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0},
		{"half a message, and then nothing", whole[:40], 0},
		{"half a body, and then nothing", strings.Replace(whole, "Length: 0", "Length: 9", 1) + "half", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := dial(t, e, "tcp")
			_, _ = p.conn.Write([]byte(tt.msg))
			if tt.status != 0 {
				if got := statusOf(p.receive()); got != tt.status {
					t.Errorf("status %d", got)
				}
			}
			if !p.ended(wait) {
				t.Error("the stream stays open")
			}
		})
	}
}

func TestABadMessageInGoodFramingDoesNotEndTheStream(t *testing.T) {
	e, _ := atRest(t, Config{})
	run(t, e)
	p := dial(t, e, "tcp")
	if status, _ := p.ask(text("OPTIONS", "sip:b@example.com", "From:")); status != 400 {
		t.Errorf("bad one: %d", status)
	}
	if status, _ := p.ask(text("OPTIONS", "sip:b@example.com")); status != 200 {
		t.Errorf("good one after it: %d", status)
	}
}

func TestStreamsAreBoundedAndIdleOnesEnd(t *testing.T) {
	e, _ := atRest(t, Config{Connections: 2, Idle: 300 * time.Millisecond})
	run(t, e)
	a, b := dial(t, e, "tcp"), dial(t, e, "tcp")
	for _, p := range []*peer{a, b} {
		if status, _ := p.ask(text("OPTIONS", "sip:b@example.com")); status != 200 {
			t.Fatal(status)
		}
	}
	if c := dial(t, e, "tcp"); !c.ended(wait) {
		t.Error("a third stream is let in")
	}
	if !a.ended(wait) || !b.ended(wait) {
		t.Error("idle streams stay")
	}
	if d := dial(t, e, "tcp"); statusOf(func() string { d.send(text("OPTIONS", "sip:b@example.com")); return d.receive() }()) != 200 {
		t.Error("no room again after they ended")
	}
	if e.Stats().Dropped["connections"] != 1 {
		t.Errorf("%+v", e.Stats())
	}
}

// TestAStreamThatIsKeptAliveStays, though no message comes.
func TestAStreamThatIsKeptAliveStays(t *testing.T) {
	const idle = 300 * time.Millisecond
	e, _ := atRest(t, Config{Idle: idle})
	run(t, e)
	p := holders(t, e, "127.0.0.1", 1)[0]
	for began := time.Now(); time.Since(began) < 3*idle; {
		p.send("\r\n\r\n")
		if p.ended(idle / 6) {
			t.Fatalf("it ends after %v", time.Since(began))
		}
	}
	if !p.ended(wait) {
		t.Error("it stays when it is kept alive no more")
	}
}

// holders opens n streams from a source and shows one message on each, so that
// they may stay.
func holders(t *testing.T, e *Endpoint, source string, n int) (held []*peer) {
	t.Helper()
	for range n {
		p := dialFrom(t, e, source)
		if status, _ := p.ask(text("OPTIONS", "sip:b@example.com")); status != 200 {
			t.Fatal(status)
		}
		held = append(held, p)
	}
	return held
}

func dialFrom(t *testing.T, e *Endpoint, source string) *peer {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c, err := d.Dial("tcp", e.Addr("tcp").String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peer{t, c, true}
}

// TestStrangersCannotTakeTheWayOut: as many streams as are let in, and still a
// request of ours finds a stream of its own.
func TestStrangersCannotTakeTheWayOut(t *testing.T) {
	e, _ := atRest(t, Config{Connections: 3})
	run(t, e)
	holders(t, e, "127.0.0.1", 3)
	if p := dialFrom(t, e, "127.0.0.1"); !p.ended(wait) {
		t.Error("a fourth stream is let in")
	}
	far := farTCP(t, "127.0.0.1:0", always(200))
	res := do(t, e, &Request{Method: "OPTIONS", URI: "sip:a@example.com", Target: "sip:" + far.addr + ";transport=tcp"})
	if res.Status != 200 || e.Stats().Connections != 4 {
		t.Errorf("%d, %+v", res.Status, e.Stats())
	}
}

// TestOneSourceCannotTakeAllStreams.
func TestOneSourceCannotTakeAllStreams(t *testing.T) {
	e, _ := atRest(t, Config{PerSource: 2})
	run(t, e)
	held := holders(t, e, "127.0.0.1", 2)
	if p := dialFrom(t, e, "127.0.0.1"); !p.ended(wait) {
		t.Error("a third stream from one source is let in")
	}
	holders(t, e, "127.0.0.2", 2)
	held[0].conn.Close()
	for late := time.Now().Add(wait); e.Stats().Connections > 3; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("the closed one still counts")
		}
	}
	holders(t, e, "127.0.0.1", 1)
	if n := e.Stats().Dropped["connections"]; n != 1 {
		t.Errorf("%d dropped", n)
	}
}

func TestAnIPv6SourceIsItsNetwork(t *testing.T) {
	at := func(s string) netip.Prefix { return (&stream{remote: netip.MustParseAddrPort(s)}).source() }
	if a, b := at("[2001:db8::1]:5060"), at("[2001:db8::2:1]:5061"); a != b {
		t.Errorf("%v and %v", a, b)
	}
	if a, b := at("[2001:db8::1]:5060"), at("[2001:db8:0:1::1]:5060"); a == b {
		t.Errorf("%v twice", a)
	}
	if a, b := at("192.0.2.1:5060"), at("192.0.2.2:5060"); a == b {
		t.Errorf("%v twice", a)
	}
}

// TestAStreamThatShowsNoMessageEndsSoon, whatever drips in; one that has shown
// one may idle, and so may one that we opened.
func TestAStreamThatShowsNoMessageEndsSoon(t *testing.T) {
	const greeting = 300 * time.Millisecond
	e, _ := atRest(t, Config{Greeting: greeting})
	run(t, e)
	far := farTCP(t, "127.0.0.1:0", always(200))
	r := &Request{Method: "OPTIONS", URI: "sip:a@example.com", Target: "sip:" + far.addr + ";transport=tcp"}
	do(t, e, r)
	for name, drip := range map[string]string{"silent": "", "pings": "\r\n\r\n", "drips": "X"} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			p := dial(t, e, "tcp")
			if name == "drips" {
				p.send("OPTIONS sip:b@example.com SIP/2.0\r\nSubject: ")
			}
			over := make(chan struct{})
			defer close(over)
			go func() { // until the other side has had enough
				for tick := time.NewTicker(greeting / 20); ; {
					select {
					case <-over:
						tick.Stop()
						return
					case <-tick.C:
						_, _ = io.WriteString(p.conn, drip)
					}
				}
			}()
			if !p.ended(wait) || time.Since(began) < greeting/2 {
				t.Errorf("ended after %v, or not at all", time.Since(began))
			}
		})
	}
	p := holders(t, e, "127.0.0.1", 1)[0]
	if p.ended(2 * greeting) {
		t.Error("one that has shown a message is cut")
	}
	do(t, e, r)
	if n := e.Stats().Connections; n != 2 {
		t.Errorf("%d streams: the one that we opened was cut", n)
	}
}

// TestRunEndsThoughTwoStreamsLeadToOnePlace: both are closed.
func TestRunEndsThoughTwoStreamsLeadToOnePlace(t *testing.T) {
	e, _ := atRest(t, Config{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	far := farTCP(t, "127.0.0.1:0", always(200))
	for range 2 {
		conn, err := net.Dial("tcp", far.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := e.now().adopt(conn, false); !ok {
			t.Fatal("no room")
		}
	}
	cancel()
	select {
	case <-done:
	case <-time.After(wait):
		t.Fatal("it does not end")
	}
}

// TestAnAnswerIsNotLostWithTheStreamsEnd: who ends its own side, or sends rubbish
// behind a request, is answered what it asked before, though a handler takes its time.
func TestAnAnswerIsNotLostWithTheStreamsEnd(t *testing.T) {
	e, _ := atRest(t, Config{})
	if err := e.Handle(Claim{Method: "MESSAGE"}, func(_ context.Context, in *Incoming) {
		time.Sleep(50 * time.Millisecond)
		in.Respond(Reply{Status: 200})
	}); err != nil {
		t.Fatal(err)
	}
	run(t, e)
	for name, end := range map[string]func(p *peer){
		"its end": func(p *peer) { p.conn.(*net.TCPConn).CloseWrite() },
		"rubbish": func(p *peer) { p.send("\x00\x01 rubbish\r\n\r\n") },
	} {
		p := dial(t, e, "tcp")
		p.send(text("MESSAGE", "sip:b@example.com"))
		end(p)
		if got := statusOf(p.tryReceive(wait)); got != 200 {
			t.Errorf("%s: %d", name, got)
		}
		if rest := p.tryReceive(wait); rest != "" {
			t.Errorf("%s: and then %q", name, rest)
		}
	}
}
