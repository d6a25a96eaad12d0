package sip

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/icholy/digest"
)

// far is a peer with a raw socket that answers each request as a test says. It
// shares no code with the endpoint.
type far struct {
	addr string
	mu   sync.Mutex
	got  []string
}

func (f *far) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.got...)
}

func (f *far) take(req string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, req)
	return len(f.got)
}

// answers make the response to the n-th request, "" for none.
type answers func(n int, req string) string

func farUDP(t *testing.T, answer answers) *far {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &far{addr: pc.LocalAddr().String()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, maxDatagram)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			if res := answer(f.take(string(b[:n])), string(b[:n])); res != "" {
				_, _ = pc.WriteTo([]byte(res), from)
			}
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return f
}

func farTCP(t *testing.T, addr string, answer answers) *far {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return farStream(t, ln, answer)
}

// farStream answers on what a listener accepts.
func farStream(t *testing.T, ln net.Listener, answer answers) *far {
	f := &far{addr: ln.Addr().String()}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				for req := readStream(c); req != ""; req = readStream(c) {
					res := answer(f.take(req), req)
					if res == "" {
						c.Close()
						return
					}
					_, _ = c.Write([]byte(res))
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return f
}

// respond is a response text to a request text.
func respond(req string, status int, fields ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d Whatever\r\n", status)
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		value := headerOf(req, name)
		if name == "To" && !strings.Contains(value, "tag=") {
			value += ";tag=far"
		}
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	for _, f := range fields {
		b.WriteString(f + "\r\n")
	}
	return b.String() + "Content-Length: 0\r\n\r\n"
}

func always(status int, fields ...string) answers {
	return func(_ int, req string) string { return respond(req, status, fields...) }
}

func clientEndpoint(t *testing.T) *Endpoint {
	e, _ := atRest(t, Config{})
	run(t, e)
	return e
}

func do(t *testing.T, e *Endpoint, r *Request) *Response {
	t.Helper()
	res, err := e.Do(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestARequestIsWellMadeAndItsResponseComesBack(t *testing.T) {
	e := clientEndpoint(t)
	hour := time.Hour
	for transport, f := range map[string]*far{"udp": farUDP(t, always(503, "Retry-After: 18 (later)", "Warning: x")), "tcp": farTCP(t, "127.0.0.1:0", always(503, "Retry-After: 18 (later)", "Warning: x"))} {
		res := do(t, e, &Request{Method: "SUBSCRIBE", URI: "sip:1001@example.com", Target: "sip:" + f.addr + ";transport=" + transport,
			From: "sip:me@example.com", Event: "dialog", Accept: []string{"a/b"}, Expires: &hour, ContactUser: "me", CSeq: 7, Header: Header{{"X-Y", "z"}}})
		after, _ := res.RetryAfter()
		if res.Status != 503 || res.Reason != "Whatever" || res.CSeq != 7 || res.ToTag != "far" || after != 18*time.Second || res.RTT <= 0 || res.Source.String() != f.addr {
			t.Errorf("%s: %+v", transport, res)
		}
		req := f.requests()[0]
		for _, want := range []string{"SUBSCRIBE sip:1001@example.com SIP/2.0\r\n", "Via: SIP/2.0/" + strings.ToUpper(transport) + " " + e.Addr(transport).String() + ";branch=z9hG4bK",
			";rport\r\n", "Max-Forwards: 70\r\n", "From: <sip:me@example.com>;tag=" + res.FromTag, "To: <sip:1001@example.com>\r\n", "Call-ID: " + res.CallID,
			"CSeq: 7 SUBSCRIBE", "Contact: <sip:me@" + e.Addr(transport).String(), "Event: dialog", "Accept: a/b", "Expires: 3600", "X-Y: z"} {
			if !strings.Contains(req, want) {
				t.Errorf("%s: no %q in\n%s", transport, want, req)
			}
		}
	}
}

func TestARequestThatIsPassedOnKeepsItsHops(t *testing.T) {
	e, f := clientEndpoint(t), farUDP(t, always(200))
	do(t, e, &Request{Method: "MESSAGE", URI: "sip:1001@example.com", Target: "sip:" + f.addr, MaxForwards: 9})
	if got := headerOf(f.requests()[0], "Max-Forwards"); got != "9" {
		t.Errorf("Max-Forwards: %s", got)
	}
}

func TestProvisionalResponsesAreDrained(t *testing.T) {
	e := clientEndpoint(t)
	f := farUDP(t, func(_ int, req string) string { return respond(req, 100) })
	flood, err := net.Dial("udp", e.Addr("udp").String())
	if err != nil {
		t.Fatal(err)
	}
	defer flood.Close()
	go func() {
		for len(f.requests()) == 0 {
			time.Sleep(time.Millisecond)
		}
		req := f.requests()[0]
		for range 100 {
			_, _ = flood.Write([]byte(respond(req, 180)))
		}
		_, _ = flood.Write([]byte(respond(req, 200)))
	}()
	if res := do(t, e, &Request{Method: "OPTIONS", URI: "sip:" + f.addr}); res.Status != 200 {
		t.Error(res.Status)
	}
}

func TestALostDatagramIsSentAgain(t *testing.T) {
	e := clientEndpoint(t)
	f := farUDP(t, func(n int, req string) string {
		if n == 1 {
			return ""
		}
		return respond(req, 200)
	})
	do(t, e, &Request{Method: "OPTIONS", URI: "sip:" + f.addr})
	if got := f.requests(); len(got) != 2 || got[0] != got[1] {
		t.Errorf("%d requests: %q", len(got), got)
	}
}

func TestWhyNoResponseCameIsTyped(t *testing.T) {
	e := clientEndpoint(t)
	silent := farUDP(t, func(int, string) string { return "" })
	closing := farTCP(t, "127.0.0.1:0", func(int, string) string { return "" })
	free, _ := net.Listen("tcp", "127.0.0.1:0")
	free.Close()
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	tests := []struct {
		name, target    string
		ctx             context.Context
		timeout, refuse bool
	}{
		{"nobody answers", "sip:" + silent.addr, context.Background(), true, false},
		{"nobody listens on UDP", "sip:" + free.Addr().String(), context.Background(), false, true},
		{"nobody listens", "sip:" + free.Addr().String() + ";transport=tcp", context.Background(), false, true},
		{"the stream is closed on it", "sip:" + closing.addr + ";transport=tcp", context.Background(), false, false},
		{"the caller gave up", "sip:" + silent.addr, cancelled, false, false},
		{"no such transport", "sip:127.0.0.1;transport=sctp", context.Background(), false, false},
		{"no SIP target", "tel:+1", context.Background(), false, false},
	}
	for _, tt := range tests {
		_, err := e.Do(tt.ctx, &Request{Method: "OPTIONS", URI: "sip:x@example.com", Target: tt.target, Timeout: 100 * time.Millisecond})
		var ne net.Error
		if err == nil || !errors.As(err, &ne) || ne.Timeout() != tt.timeout || errors.Is(err, syscall.ECONNREFUSED) != tt.refuse {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if s := e.Stats(); s.Sent[Tally{"OPTIONS", "timeout"}] != 1 || s.Sent[Tally{"OPTIONS", "refused"}] != 2 || s.Client != 0 {
		t.Errorf("%+v", s)
	}
}

// Trap 15, and RFC 3261 §18.1.1.
func TestTrapALongRequestGoesByTCPWhenTheTargetAllowsIt(t *testing.T) {
	e := clientEndpoint(t)
	body := []byte(strings.Repeat("x", 2000))
	udp := farUDP(t, always(200))
	send := func(params string) *Response {
		return do(t, e, &Request{Method: "PUBLISH", URI: "sip:a@example.com", Target: "sip:" + udp.addr + params, Event: "presence", ContentType: "text/plain", Body: body})
	}
	if res := send(""); res.Transport != "udp" {
		t.Errorf("with nobody on TCP: %s", res.Transport)
	}
	tcp := farTCP(t, udp.addr, always(200))
	if res := send(""); res.Transport != "tcp" || !strings.Contains(tcp.requests()[0], "Via: SIP/2.0/TCP") {
		t.Errorf("with TCP there: %s", res.Transport)
	}
	if res := send(";transport=udp"); res.Transport != "udp" {
		t.Errorf("with UDP by name: %s", res.Transport)
	}
	if got := udp.requests(); len(got[len(got)-1]) < 2000 {
		t.Errorf("%d octets arrived", len(got[len(got)-1]))
	}
}

func TestAStreamIsUsedAgainAndMadeAnewWhenItEnded(t *testing.T) {
	e := clientEndpoint(t)
	f := farTCP(t, "127.0.0.1:0", func(n int, req string) string {
		if n == 3 {
			return "" // closes
		}
		return respond(req, 200)
	})
	r := &Request{Method: "OPTIONS", URI: "sip:a@example.com", Target: "sip:" + f.addr + ";transport=tcp"}
	do(t, e, r)
	do(t, e, r)
	if n := e.Stats().Connections; n != 1 {
		t.Errorf("%d connections", n)
	}
	if _, err := e.Do(context.Background(), r); err == nil {
		t.Error("the closed one answered")
	}
	do(t, e, r)
}

// verify checks the credentials of a request as a server does (RFC 7616 §3.4.1).
func verify(req, field, password string) (nonce, nc string, ok bool) {
	c, err := digest.ParseCredentials(headerOf(req, field))
	if err != nil {
		return "", "", false
	}
	h := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	if c.Algorithm == "SHA-256" {
		h = func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	}
	method, rest, _ := strings.Cut(req, " ")
	uri, _, _ := strings.Cut(rest, " ")
	nc = fmt.Sprintf("%08x", c.Nc)
	want := h(strings.Join([]string{h(c.Username + ":" + c.Realm + ":" + password), c.Nonce, nc, c.Cnonce, c.QOP, h(method + ":" + uri)}, ":"))
	return c.Nonce, nc, c.Response == want && c.URI == uri
}

func TestDigest(t *testing.T) {
	ask := func(nonce, algorithm, more string) string {
		return `Digest realm="r", nonce="` + nonce + `", algorithm=` + algorithm + `, qop="auth"` + more
	}
	t.Run("each challenge is met once, then credentials go at once with nc rising", func(t *testing.T) {
		for status, fields := range map[int][2]string{401: {"WWW-Authenticate", "Authorization"}, 407: {"Proxy-Authenticate", "Proxy-Authorization"}} {
			e := clientEndpoint(t)
			f := farUDP(t, func(_ int, req string) string {
				if _, _, ok := verify(req, fields[1], "pw"); ok {
					return respond(req, 200)
				}
				// RFC 8760: the first that the client can do. SHA-3 is none.
				return respond(req, status, fields[0]+": "+ask("n0", "SHA3-256", ""), fields[0]+": "+ask("n1", "SHA-256", ""), fields[0]+": "+ask("n1", "MD5", ""))
			})
			r := &Request{Method: "PUBLISH", URI: "sip:a@example.com;x=y", Target: "sip:" + f.addr, Event: "presence", Credentials: Credentials{"u", "pw"}, CSeq: 4}
			if res := do(t, e, r); res.Status != 200 || res.CSeq != 5 {
				t.Errorf("%d: %+v", status, res)
			}
			if res := do(t, e, r); res.Status != 200 || res.CSeq != 4 {
				t.Errorf("%d again: %+v", status, res)
			}
			var ncs []string
			for _, req := range f.requests() {
				if _, nc, ok := verify(req, fields[1], "pw"); ok {
					ncs = append(ncs, nc)
				}
			}
			if len(f.requests()) != 3 || strings.Join(ncs, " ") != "00000001 00000002" {
				t.Errorf("%d requests, nc %v", len(f.requests()), ncs)
			}
			if headerOf(f.requests()[0], "Call-ID") != headerOf(f.requests()[1], "Call-ID") {
				t.Error("another Call-ID on the retry")
			}
		}
	})
	t.Run("a stale nonce is renewed", func(t *testing.T) {
		e := clientEndpoint(t)
		f := farUDP(t, func(n int, req string) string {
			nonce, _, ok := verify(req, "Authorization", "pw")
			switch {
			case ok && nonce == "n2":
				return respond(req, 200)
			case n == 1:
				return respond(req, 401, "WWW-Authenticate: "+ask("n1", "MD5", ""))
			}
			return respond(req, 401, "WWW-Authenticate: "+ask("n2", "MD5", ", stale=TRUE"))
		})
		if res := do(t, e, &Request{Method: "MESSAGE", URI: "sip:" + f.addr, Credentials: Credentials{"u", "pw"}}); res.Status != 200 || len(f.requests()) != 3 {
			t.Errorf("%d after %d requests", res.Status, len(f.requests()))
		}
	})
	t.Run("a wrong password is tried once", func(t *testing.T) {
		e := clientEndpoint(t)
		f := farUDP(t, func(n int, req string) string {
			return respond(req, 401, "WWW-Authenticate: "+ask(fmt.Sprint("n", n), "MD5", ""))
		})
		if res := do(t, e, &Request{Method: "MESSAGE", URI: "sip:" + f.addr, Credentials: Credentials{"u", "bad"}}); res.Status != 401 || len(f.requests()) != 2 {
			t.Errorf("%d after %d requests", res.Status, len(f.requests()))
		}
	})
	t.Run("passwords do not print", func(t *testing.T) {
		c := Credentials{"u", "secret"}
		if s := fmt.Sprintf("%v %+v %#v %s", c, c, &Request{Credentials: c}, c); strings.Contains(s, "secret") {
			t.Error(s)
		}
	})
}

func TestAHeaderValueCannotStartAnotherLine(t *testing.T) {
	e := clientEndpoint(t)
	for _, r := range []*Request{
		{Method: "MESSAGE", URI: "sip:a@127.0.0.1\r\nX: y"}, {Method: "MESSAGE", URI: "sip:a@127.0.0.1", From: "sip:a@b\r\nX: y"},
		{Method: "MESSAGE", URI: "sip:a@127.0.0.1", Header: Header{{"X", "y\nZ: 1"}}}, {Method: "MESSAGE", URI: "sip:a@127.0.0.1", Header: Header{{"X: y", "z"}}},
		{Method: "MES SAGE", URI: "sip:a@127.0.0.1"}, {Method: "MESSAGE", URI: "sip:a@127.0.0.1", Event: "x\r\ny"},
	} {
		if _, err := e.Do(context.Background(), r); err == nil {
			t.Errorf("%+v was sent", r)
		}
	}
}

func TestAnEndpointRunsAgainAndWaitsUntilItDoes(t *testing.T) {
	e, _ := atRest(t, Config{})
	f := farUDP(t, always(200))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := e.Ready(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("at rest: %v", err)
	}
	for range 3 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		sent := make(chan error, 1)
		go func() { // begins before Run does
			_, err := e.Do(ctx, &Request{Method: "OPTIONS", URI: "sip:" + f.addr})
			sent <- err
		}()
		go func() { done <- e.Run(ctx) }()
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if !e.Addr("udp").IsValid() || !e.Addr("tcp").IsValid() {
			t.Error("no address while running")
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if e.Addr("udp") != (netip.AddrPort{}) {
			t.Error("an address at rest")
		}
	}
}

func TestRunSaysWhichAddressItCouldNotOpen(t *testing.T) {
	busy, _ := net.Listen("tcp", "127.0.0.1:0")
	defer busy.Close()
	e, _ := atRest(t, Config{Listen: []string{"udp:127.0.0.1:0", "tcp:" + busy.Addr().String()}})
	if err := e.Run(context.Background()); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), busy.Addr().String()) {
		t.Error(err)
	}
}
