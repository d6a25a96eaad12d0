package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func dialogTo(target string) *Dialog {
	return &Dialog{Target: target, From: "<sip:alice@example.com>;tag=ours", To: `"W" <sip:w@example.com>;tag=theirs`, CallID: "call-1", ContactUser: "alice"}
}

func notify(n uint32) InDialog {
	return InDialog{Method: "NOTIFY", CSeq: n, Event: "presence;id=1", SubscriptionState: "active;expires=60", ContentType: "text/plain", Body: []byte("body")}
}

// sendWait sends and waits until it is told.
func sendWait(t *testing.T, e *Endpoint, d *Dialog, r InDialog) Answer {
	t.Helper()
	told := make(chan Answer, 2)
	e.Send(d, r, func(a Answer) { told <- a })
	select {
	case a := <-told:
		return a
	case <-time.After(wait):
		t.Fatal("never told")
	}
	return Answer{}
}

func TestARequestInADialogIsWellMade(t *testing.T) {
	e := clientEndpoint(t)
	for transport, f := range map[string]*far{"udp": farUDP(t, always(200)), "tcp": farTCP(t, "127.0.0.1:0", always(200))} {
		d := dialogTo("sip:w@" + f.addr + ";transport=" + transport)
		for n := range uint32(2) {
			if a := sendWait(t, e, d, notify(n+1)); a.Status != 200 || a.Err != nil {
				t.Errorf("%s: %+v", transport, a)
			}
		}
		at := e.Addr(transport).String()
		req := f.requests()[1]
		for _, want := range []string{"NOTIFY " + d.Target + " SIP/2.0\r\n", "Via: SIP/2.0/" + strings.ToUpper(transport) + " " + at + ";branch=z9hG4bKpl1", ";rport\r\n", "Max-Forwards: 70\r\n",
			"From: " + d.From + "\r\n", "To: " + d.To + "\r\n", "Call-ID: call-1\r\n", "CSeq: 2 NOTIFY\r\n", "Contact: <sip:alice@" + at, "Event: presence;id=1\r\n",
			"Subscription-State: active;expires=60\r\n", "Content-Type: text/plain\r\n", "Content-Length: 4\r\n\r\nbody"} {
			if !strings.Contains(req, want) {
				t.Errorf("%s: no %q in\n%s", transport, want, req)
			}
		}
		if headerOf(f.requests()[0], "Via") == headerOf(req, "Via") {
			t.Error("the branch comes twice")
		}
	}
	if s := e.Stats(); s.Client != 0 || s.Sent[Tally{"NOTIFY", "2xx"}] != 4 {
		t.Errorf("%+v", s)
	}
}

func TestARefusalInADialogBringsItsHeaders(t *testing.T) {
	e := clientEndpoint(t)
	for transport, f := range map[string]*far{"udp": farUDP(t, always(503, "Retry-After: 9 (soon)")), "tcp": farTCP(t, "127.0.0.1:0", always(503, "Retry-After: 9 (soon)"))} {
		a := sendWait(t, e, dialogTo("sip:w@"+f.addr+";transport="+transport), notify(1))
		if a.Status != 503 || a.RetryAfter != 9*time.Second || a.Header.Get("CSeq") != "1 NOTIFY" {
			t.Errorf("%s: %+v", transport, a)
		}
	}
}

func TestTheRouteSetOfADialog(t *testing.T) {
	e := clientEndpoint(t)
	f := farUDP(t, always(200))
	target := "sip:w@192.0.2.1"
	for _, tt := range []struct{ name, hop, uri, route string }{
		{"loose", "<sip:" + f.addr + ";lr>", target, "<sip:" + f.addr + ";lr>"},
		{"strict", "<sip:" + f.addr + ">", "sip:" + f.addr, "<sip:second;lr>"},
	} {
		d := dialogTo(target)
		d.Route = []string{tt.hop, "<sip:second;lr>"}
		if a := sendWait(t, e, d, notify(1)); a.Status != 200 {
			t.Fatal(a)
		}
		req := f.requests()[len(f.requests())-1]
		if !strings.HasPrefix(req, "NOTIFY "+tt.uri+" SIP/2.0\r\n") || headerOf(req, "Route") != tt.route {
			t.Errorf("%s:\n%s", tt.name, req)
		}
		if last := "Route: <" + target + ">\r\nMax"; tt.name == "strict" && !strings.Contains(req, last) {
			t.Errorf("the target is not last:\n%s", req)
		}
	}
}

func TestANameIsAskedForOffThePath(t *testing.T) {
	e := clientEndpoint(t)
	f := farUDP(t, always(200))
	_, port, _ := net.SplitHostPort(f.addr)
	if a := sendWait(t, e, dialogTo("sip:w@localhost:"+port), notify(1)); a.Status != 200 {
		t.Error(a)
	}
	var dns *net.DNSError
	slowly := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no name server") }}
	none, _ := atRest(t, Config{Resolver: slowly})
	run(t, none)
	if a := sendWait(t, none, dialogTo("sip:w@nowhere.example.com"), notify(1)); !errors.As(a.Err, &dns) {
		t.Error(a)
	}
}

// One in ten is lost, either way, and all are told in the end.
func TestLostRequestsInDialogsAreSentAgain(t *testing.T) {
	const n = 200
	e := clientEndpoint(t)
	var mu sync.Mutex
	seen := map[string]string{}
	f := farUDP(t, func(i int, req string) string {
		mu.Lock()
		defer mu.Unlock()
		branch := headerOf(req, "Via")
		first, again := seen[branch]
		seen[branch] = req
		if again && first != req {
			t.Error("sent again with other octets")
		}
		if !again && i%10 == 0 {
			return ""
		}
		return respond(req, 200)
	})
	told := make(chan Answer, n)
	d := dialogTo("sip:w@" + f.addr)
	for i := range n {
		e.Send(d, notify(uint32(i+1)), func(a Answer) { told <- a })
	}
	for range n {
		select {
		case a := <-told:
			if a.Status != 200 {
				t.Error(a)
			}
		case <-time.After(wait):
			t.Fatal("not all are told")
		}
	}
	if got := len(f.requests()); got < n+n/10 {
		t.Errorf("%d requests", got)
	}
}

func TestWhyARequestInADialogGotNoAnswer(t *testing.T) {
	e := clientEndpoint(t)
	closing := farTCP(t, "127.0.0.1:0", func(int, string) string { return "" })
	free, _ := net.Listen("tcp", "127.0.0.1:0")
	free.Close()
	long := notify(1)
	long.Body = make([]byte, 66_000)
	broken := notify(1)
	broken.Event = "x\r\ny"
	for _, tt := range []struct {
		name, target string
		r            InDialog
		want         error
	}{
		{"nobody listens on UDP", "sip:" + free.Addr().String(), notify(1), syscall.ECONNREFUSED},
		{"nobody listens on TCP", "sip:" + free.Addr().String() + ";transport=tcp", notify(1), syscall.ECONNREFUSED},
		{"the stream is closed on it", "sip:" + closing.addr + ";transport=tcp", notify(1), errLost},
		{"no such transport", "sip:127.0.0.1;transport=sctp", notify(1), nil},
		{"no SIP target", "tel:+1", notify(1), nil},
		{"line break in the target", "sip:a@127.0.0.1\r\nX: y", notify(1), nil},
		{"line break in a field", "sip:a@127.0.0.1", broken, errLine},
		{"longer than a datagram", "sip:a@127.0.0.1", long, errTooLong},
		{"not a method for it", "sip:a@127.0.0.1", InDialog{Method: "INVITE"}, nil},
	} {
		a := sendWait(t, e, dialogTo(tt.target), tt.r)
		var typed *Error
		if !errors.As(a.Err, &typed) || tt.want != nil && !errors.Is(a.Err, tt.want) || typed.Timeout() {
			t.Errorf("%s: %v", tt.name, a.Err)
		}
	}
	if n := e.Stats().Client; n != 0 {
		t.Errorf("%d left", n)
	}
	asleep, _ := atRest(t, Config{})
	if a := sendWait(t, asleep, dialogTo("sip:127.0.0.1"), notify(1)); !errors.Is(a.Err, errStopped) {
		t.Error(a)
	}
}

func TestALongRequestFollowsTheFlowOfItsDialog(t *testing.T) {
	e := clientEndpoint(t)
	f := farUDP(t, always(200))
	long := notify(1)
	long.Body = []byte(strings.Repeat("x", 20_000))
	if a := sendWait(t, e, dialogTo("sip:w@"+f.addr), long); a.Status != 200 || len(f.requests()[0]) < 20_000 {
		t.Error(a)
	}
}

func TestRequestsInDialogsAreBounded(t *testing.T) {
	e, _ := atRest(t, Config{InFlight: 3})
	silent := farUDP(t, func(int, string) string { return "" })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	told := make(chan Answer, 10)
	for i := range 4 {
		e.Send(dialogTo("sip:w@"+silent.addr), notify(uint32(i+1)), func(a Answer) { told <- a })
	}
	if a := <-told; !errors.Is(a.Err, ErrFull) || e.Stats().Client != 3 {
		t.Error(a)
	}
	cancel()
	<-done
	for range 3 { // whoever waits is told when the endpoint ends
		if a := <-told; !errors.Is(a.Err, errStopped) {
			t.Error(a)
		}
	}
}

// subscriber is a peer on TCP that subscribed, with the dialog that this made.
func subscriber(t *testing.T, e *Endpoint, dialogs <-chan *Dialog, contact string) (*peer, *Dialog) {
	t.Helper()
	p := dial(t, e, "tcp")
	if status, res := p.ask(text("SUBSCRIBE", "sip:alice@example.com", "Event: presence", "Contact: <"+contact+">")); status != 200 {
		t.Fatal(res)
	}
	return p, <-dialogs
}

func presenceServer(t *testing.T, cfg Config) (*Endpoint, <-chan *Dialog) {
	t.Helper()
	e, _ := atRest(t, cfg)
	dialogs := make(chan *Dialog, 1)
	_ = e.Handle(Claim{Method: "SUBSCRIBE", Event: "presence"}, func(_ context.Context, in *Incoming) {
		d, err := NewDialog(in, "ours", "alice")
		if err != nil {
			t.Error(err)
		}
		_ = in.Respond(Reply{Status: 200, ToTag: "ours"})
		dialogs <- d
	})
	run(t, e)
	return e, dialogs
}

func TestADialogsRequestsGoOverTheStreamOfItsSubscription(t *testing.T) {
	e, dialogs := presenceServer(t, Config{})
	f := farTCP(t, "127.0.0.1:0", always(200))
	p, d := subscriber(t, e, dialogs, "sip:w@"+f.addr+";transport=tcp")
	told := make(chan Answer, 1)
	e.Send(d, notify(1), func(a Answer) { told <- a })
	req := p.receive()
	if headerOf(req, "From") != "<sip:b@example.com>;tag=ours" || headerOf(req, "To") != "<sip:a@example.com>;tag=ft" {
		t.Errorf("not the dialog:\n%s", req)
	}
	p.send(respond(req, 100))
	p.send(respond(req, 200))
	if a := <-told; a.Status != 200 {
		t.Error(a)
	}
	e.Send(d, notify(2), func(a Answer) { told <- a })
	p.receive()
	p.conn.Close()
	if a := <-told; !errors.Is(a.Err, errLost) {
		t.Error(a)
	}
	// Without that stream: a new one, to the target.
	if a := sendWait(t, e, d, notify(3)); a.Status != 200 || len(f.requests()) != 1 {
		t.Error(a)
	}
}

func TestAStuckStreamCostsOnlyItself(t *testing.T) {
	e, dialogs := presenceServer(t, Config{Patience: time.Second})
	stuck, d := subscriber(t, e, dialogs, "sip:w@127.0.0.1:9;transport=tcp")
	_ = stuck.conn.(*net.TCPConn).SetReadBuffer(4096)
	big := notify(1)
	big.Body = make([]byte, 60_000)
	const n = 400
	told := make(chan Answer, n)
	began := time.Now()
	for range n {
		e.Send(d, big, func(a Answer) { told <- a })
	}
	if took := time.Since(began); took > wait/5 {
		t.Errorf("waited for a stuck stream: %v", took)
	}
	f := farUDP(t, always(200))
	if a := sendWait(t, e, dialogTo("sip:w@"+f.addr), notify(1)); a.Status != 200 {
		t.Error(a)
	}
	full := 0
	for range n {
		select {
		case a := <-told:
			if errors.Is(a.Err, errStuck) {
				full++
			} else if a.Err == nil {
				t.Error(a)
			}
		case <-time.After(wait):
			t.Fatal("not all are told")
		}
	}
	if full == 0 || e.Stats().Connections != 0 {
		t.Errorf("%d refused; %d streams", full, e.Stats().Connections)
	}
}

func TestAForgedAnswerFindsNothing(t *testing.T) {
	e := clientEndpoint(t)
	requests := make(chan string, 10)
	f := farUDP(t, func(_ int, req string) string { requests <- req; return "" })
	told := make(chan Answer, 2)
	e.Send(dialogTo("sip:w@"+f.addr), notify(1), func(a Answer) { told <- a })
	req := <-requests
	good := respond(req, 200)
	via := headerOf(req, "Via")
	nonce := via[strings.Index(via, leanMark)+len(leanMark)+8:][:16]
	forger := dial(t, e, "udp")
	for name, forged := range map[string]string{
		"another nonce":  strings.Replace(good, nonce, "0123456789abcdef", 1),
		"another slot":   strings.Replace(good, leanMark+"00000000", leanMark+"00000001", 1),
		"a slot beyond":  strings.Replace(good, leanMark+"00000000", leanMark+"ffffffff", 1),
		"another method": strings.Replace(good, "1 NOTIFY", "1 PUBLISH", 1),
		"no method":      strings.Replace(good, "CSeq:", "X:", 1),
		"two Via":        strings.Replace(good, "Via:", "Via: "+via+"\r\nVia:", 1),
		"two in one":     strings.Replace(good, ";rport", ";rport, SIP/2.0/UDP x", 1),
		"a longer one":   strings.Replace(good, ";rport", "a;rport", 1),
	} {
		before := e.Stats().Dropped["response"]
		forger.send(forged)
		for end := time.Now().Add(wait); e.Stats().Dropped["response"] == before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not dropped", name)
			}
		}
	}
	if len(told) != 0 {
		t.Fatal("told:", <-told)
	}
	// Unusual, and right.
	forger.send(strings.NewReplacer("Via: ", "v  :\r\n ", "CSeq: 1 NOTIFY", "cseq :  1\tNOTIFY").Replace(good))
	if a := <-told; a.Status != 200 {
		t.Error(a)
	}
}

func TestADoneThatPanicsCostsNobodyElse(t *testing.T) {
	e := clientEndpoint(t)
	f := farUDP(t, always(200))
	e.Send(dialogTo("sip:w@"+f.addr), notify(1), func(Answer) { panic("oops") })
	for range 2 {
		if a := sendWait(t, e, dialogTo("sip:w@"+f.addr), notify(2)); a.Status != 200 {
			t.Error(a)
		}
	}
	if e.Stats().Panics != 1 {
		t.Error(e.Stats().Panics)
	}
}

// schedule is when a lean transaction sends again and ends, in ms after its start.
func schedule(t *testing.T, before func(l *lean, tk ticket, at time.Duration)) (sends []time.Duration, end time.Duration) {
	l := newLean(10)
	tk, err := l.open("NOTIFY", "sip:x", func(Answer) {}, l.began)
	if err == nil {
		err = l.sent(tk, &dialogWay{listen: &listener{}}, []byte("packet"), l.began)
	}
	if err != nil {
		t.Fatal(err)
	}
	for at := time.Duration(0); at < 40*time.Second; at += tick {
		before(l, tk, at)
		resend, late, more := l.turn(l.began.Add(at))
		for range resend {
			sends = append(sends, at)
		}
		if len(late) > 0 {
			if more || l.octets != 0 {
				t.Error("something is left")
			}
			return sends, at
		}
	}
	t.Fatal("never ends")
	return nil, 0
}

// RFC 3261 §17.1.2.2: E is 500 ms, doubled up to 4 s, or 4 s after a provisional
// response; F is 32 s. A tick later is as good, sooner is not.
func TestTheTimersOfALeanTransaction(t *testing.T) {
	for _, tt := range []struct {
		name     string
		trying   time.Duration // when a 100 comes
		sends    string
		expected time.Duration
	}{
		{"silence", 0, "[550ms 1.55s 3.55s 7.55s 11.55s 15.55s 19.55s 23.55s 27.55s 31.55s]", 32050 * time.Millisecond},
		{"a 100 at once", tick, "[4s 8s 12s 16s 20s 24s 28s 32s]", 32050 * time.Millisecond},
		{"a 100 later", 2 * time.Second, "[550ms 1.55s 5.95s 9.95s 13.95s 17.95s 21.95s 25.95s 29.95s]", 32050 * time.Millisecond},
	} {
		sends, end := schedule(t, func(l *lean, tk ticket, at time.Duration) {
			if tt.trying != 0 && at == tt.trying {
				l.provisional(tk, "NOTIFY")
			}
		})
		if fmt.Sprint(sends) != tt.sends || end != tt.expected {
			t.Errorf("%s: %v, end %v", tt.name, sends, end)
		}
	}
}

// However the kernel tells of it, while others are being sent.
func TestAllThatAreRefusedAreTold(t *testing.T) {
	const n = 100
	e := clientEndpoint(t)
	free, _ := net.ListenPacket("udp", "127.0.0.1:0")
	free.Close()
	f := farUDP(t, always(200))
	told := make(chan Answer, 2*n)
	began := time.Now()
	for i := range n {
		for _, to := range []string{free.LocalAddr().String(), f.addr} {
			e.Send(dialogTo("sip:w@"+to), notify(uint32(i+1)), func(a Answer) { told <- a })
		}
	}
	refused := 0
	for range 2 * n {
		select {
		case a := <-told:
			if errors.Is(a.Err, syscall.ECONNREFUSED) {
				refused++
			} else if a.Status != 200 {
				t.Error(a)
			}
		case <-time.After(wait):
			t.Fatal("not all are told")
		}
	}
	if took := time.Since(began); refused != n || took > wait {
		t.Errorf("%d of %d refused, after %v", refused, n, took)
	}
}
