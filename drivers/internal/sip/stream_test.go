package sip

import (
	"context"
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
