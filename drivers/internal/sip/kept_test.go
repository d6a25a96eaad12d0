package sip

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// What is kept for Timer J is the answer's octets, not the request.
func TestKeptTransactionsAreSmall(t *testing.T) {
	const n = 16384
	e, _, _, grown := flooded(t, Config{}, n, func(i int) string {
		return fmt.Sprintf("MESSAGE sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK%d\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: %d\r\nCSeq: 1 MESSAGE\r\nContent-Length: 2000\r\n\r\n%s",
			i, i, strings.Repeat("x", 2000))
	})
	if kept := e.Stats().Server; kept < n*9/10 {
		t.Fatalf("%d of %d are kept", kept, n)
	}
	if grown > 20<<20 {
		t.Errorf("%d octets for %d transactions", grown, n)
	}
	t.Logf("%d octets each", grown/n)
}

// table is a kept table with one transaction at work, on UDP unless st is given.
func table(t *testing.T, st *stream) (*keptTable, *keptTx, *outbox, time.Time) {
	t.Helper()
	out := newOutbox(nil, nil, nil, func() { t.Error("full") })
	tb := newKeptTable(2, func(*serverTx) []byte { return []byte("trying") })
	now := time.Now()
	w := back{listen: &listener{out: out}, to: netip.MustParseAddrPort("127.0.0.1:5060")}
	if st != nil {
		w = back{stream: st}
	}
	return tb, tb.add(txKey{1}, &serverTx{back: w}, now), out, now
}

func sentBy(o *outbox) (list []string) {
	for _, d := range o.queue {
		list = append(list, string(d.b))
	}
	o.queue = nil
	return list
}

// RFC 4320 §4 and RFC 3261 §17.2.2.
func TestAKeptTransactionsLife(t *testing.T) {
	tb, k, out, now := table(t, nil)
	if tb.again(txKey{2}) || !tb.again(txKey{1}) {
		t.Error("known and unknown are mixed up")
	}
	tb.sweep(now.Add(3400 * time.Millisecond))
	if got := sentBy(out); len(got) != 0 {
		t.Errorf("before 3.5 s: %q", got)
	}
	tb.sweep(now.Add(3500 * time.Millisecond))
	tb.sweep(now.Add(3750 * time.Millisecond))
	if tb.again(txKey{1}); fmt.Sprint(sentBy(out)) != "[trying trying]" { // once by itself, once asked again
		t.Errorf("after 3.5 s: %q", sentBy(out))
	}
	tb.final(k, []byte("final"))
	if tb.again(txKey{1}); fmt.Sprint(sentBy(out)) != "[final]" {
		t.Error("the answer is not repeated")
	}
	if k.work != nil {
		t.Error("the request is kept")
	}
	if tb.sweep(time.Now().Add(timerJ - time.Second)); tb.size() != 1 {
		t.Error("let go too soon")
	}
	if more := tb.sweep(time.Now().Add(timerJ)); more || tb.size() != 0 || tb.done.first != nil || tb.working.first != nil {
		t.Error("kept beyond Timer J")
	}
}

func TestOnAStreamNothingIsKept(t *testing.T) {
	tb, k, _, now := table(t, &stream{})
	tb.final(k, []byte("final"))
	if more := tb.sweep(now); more || tb.size() != 0 || tb.working.first != nil {
		t.Error("something is left")
	}
}

func TestTheTableOfTransactionsHasAnEnd(t *testing.T) {
	tb, k, _, now := table(t, nil)
	tb.add(txKey{2}, &serverTx{back: k.back}, now)
	if tb.add(txKey{3}, &serverTx{back: k.back}, now) != nil {
		t.Error("one more than the limit")
	}
	tb.final(k, []byte("final"))
	soon, late := time.Now().Add(keptFor-time.Second), time.Now().Add(keptFor+time.Second)
	if tb.add(txKey{3}, &serverTx{back: k.back}, soon) != nil || !tb.again(k.key) {
		t.Error("an answer that may still be asked for makes way")
	}
	if tb.add(txKey{3}, &serverTx{back: k.back}, late) == nil || tb.again(k.key) {
		t.Error("an old answer does not make way")
	}
}

func TestARequestAtItsHandlerIsNotHandledAgain(t *testing.T) {
	e, _ := atRest(t, Config{})
	release, handled := make(chan struct{}), make(chan struct{}, 10)
	_ = e.Handle(Claim{Method: "MESSAGE"}, func(ctx context.Context, in *Incoming) {
		handled <- struct{}{}
		if in.Respond(Reply{Status: 408}) == nil || in.Respond(Reply{Status: 180}) == nil || in.Respond(Reply{Status: 100}) != nil {
			t.Error("RFC 4320 does not hold")
		}
		<-release
		_ = in.Respond(Reply{Status: 200})
	})
	run(t, e)
	p := dial(t, e, "udp")
	msg := text("MESSAGE", "sip:b@example.com")
	for range 3 {
		p.send(msg)
	}
	<-handled
	if status, _ := p.ask(text("OPTIONS", "sip:b@example.com")); status != 200 || len(handled) != 0 {
		t.Errorf("%d, handled again %d times", status, len(handled))
	}
	close(release)
	if status := statusOf(p.receive()); status != 200 {
		t.Error(status)
	}
	if s := p.tryReceive(50 * time.Millisecond); s != "" {
		t.Errorf("answered again: %s", s)
	}
}

type someKey struct{}

// A handler's context ends with the endpoint, whenever it was asked for.
func TestAHandlersContext(t *testing.T) {
	parent, cancel := context.WithCancel(context.WithValue(context.Background(), someKey{}, "v"))
	var early, late, over handlerContext
	for _, c := range []*handlerContext{&early, &late, &over} {
		c.begin(parent, time.Now().Add(time.Hour))
	}
	derived, stop := context.WithTimeout(&early, time.Minute)
	defer stop()
	over.end()
	if early.Err() != nil || derived.Err() != nil || over.Err() == nil || early.Value(someKey{}) != "v" {
		t.Error("ended too soon, or not at all")
	}
	cancel()
	<-derived.Done()
	<-late.Done()
	if _, ok := late.Deadline(); !ok || late.Err() == nil {
		t.Error("not ended")
	}
	var short handlerContext
	short.begin(context.Background(), time.Now().Add(time.Millisecond))
	<-short.Done()
	short.end()
}

// INVITE is sipgo's: 100, final, ACK, CANCEL.
func TestAnInviteIsAnsweredAndCancelled(t *testing.T) {
	e, _ := atRest(t, Config{})
	cancelled := make(chan struct{})
	_ = e.Handle(Claim{Method: "INVITE"}, func(ctx context.Context, in *Incoming) {
		if in.CallID == "busy" {
			_ = in.Respond(Reply{Status: 180})
			_ = in.Respond(Reply{Status: 486})
			return
		}
		<-ctx.Done()
		close(cancelled)
	})
	run(t, e)
	for _, transport := range []string{"udp", "tcp"} {
		p := dial(t, e, transport)
		branch := "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKinv" + transport + ";rport"
		p.send(text("INVITE", "sip:b@example.com", "Call-ID: busy", branch))
		if one, two := statusOf(p.receive()), statusOf(p.receive()); one != 180 || two != 486 {
			t.Errorf("%s: %d, %d", transport, one, two)
		}
		p.send(text("ACK", "sip:b@example.com", "Call-ID: busy", branch, "CSeq: 1 ACK"))
		if s := p.tryReceive(700 * time.Millisecond); s != "" {
			t.Errorf("%s: after the ACK: %s", transport, s)
		}
	}
	p := dial(t, e, "udp")
	branch := "Via: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKinv2;rport"
	p.send(text("INVITE", "sip:b@example.com", branch))
	if status := statusOf(p.receive()); status != 100 {
		t.Errorf("trying: %d", status)
	}
	p.send(text("CANCEL", "sip:b@example.com", branch))
	<-cancelled
	got := map[int]bool{statusOf(p.receive()): true}
	got[statusOf(p.receive())] = true
	if !got[200] || !got[487] {
		t.Errorf("after CANCEL: %v", got)
	}
}
