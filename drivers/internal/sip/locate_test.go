package sip

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// names is a name server on loopback.
type names struct {
	conn net.PacketConn

	mu    sync.Mutex
	srv   map[string][]dnsmessage.SRVResource // by owner, with the last dot
	hosts map[string][]string
	asked []string // "SRV _sip._udp.example.com."
}

func nameServer(t *testing.T) *names {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{conn: pc, srv: map[string][]dnsmessage.SRVResource{}, hosts: map[string][]string{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			k, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:k]) == nil && len(m.Questions) == 1 {
				out, err := n.answer(m)
				if err != nil {
					t.Error(err)
				}
				_, _ = pc.WriteTo(out, from)
			}
		}
	}()
	t.Cleanup(func() { pc.Close(); <-done })
	return n
}

func (n *names) answer(m dnsmessage.Message) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := m.Questions[0]
	name := strings.ToLower(q.Name.String())
	n.asked = append(n.asked, strings.TrimPrefix(q.Type.String(), "Type")+" "+name)
	m.Response, m.Answers, m.Additionals = true, nil, nil
	head := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}
	switch q.Type {
	case dnsmessage.TypeSRV:
		for _, r := range n.srv[name] {
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &r})
		}
	case dnsmessage.TypeA, dnsmessage.TypeAAAA:
		for _, h := range n.hosts[name] {
			if a := netip.MustParseAddr(h); a.Is4() && q.Type == dnsmessage.TypeA {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: a.As4()}})
			} else if a.Is6() && q.Type == dnsmessage.TypeAAAA {
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
			}
		}
	}
	if len(m.Answers) == 0 && len(n.hosts[name]) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	return m.Pack()
}

// server adds a record for a far end, or for any HOST:PORT.
func (n *names) server(owner string, priority uint16, addr string) {
	host, port, _ := net.SplitHostPort(addr)
	r := dnsmessage.SRVResource{Priority: priority, Weight: 1, Target: dnsmessage.MustNewName(fmt.Sprintf("h%s.example.com.", strings.NewReplacer(".", "-", ":", "-").Replace(host)))}
	_, _ = fmt.Sscan(port, &r.Port)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.srv[owner] = append(n.srv[owner], r)
	n.hosts[r.Target.String()] = []string{host}
}

func (n *names) questions() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.asked)
}

func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", n.conn.LocalAddr().String())
	}}
}

func TestWhereATargetIs(t *testing.T) {
	n := nameServer(t)
	n.hosts["example.com."] = []string{"::1", "127.0.0.9"}
	n.hosts["pbx.example.com."] = []string{"127.0.0.8"}
	n.server("_sip._udp.both.example.com.", 20, "127.0.0.2:5072")
	n.server("_sip._udp.both.example.com.", 10, "127.0.0.1:5071")
	n.server("_sip._tcp.both.example.com.", 10, "127.0.0.3:5073")
	n.server("_sips._tcp.both.example.com.", 10, "127.0.0.4:5074")
	n.server("_sip._tcp.tcp.example.com.", 10, "127.0.0.3:5073")
	n.server("_sips._tcp.tls.example.com.", 10, "127.0.0.4:5074")
	n.srv["_sip._udp.none.example.com."] = []dnsmessage.SRVResource{{Target: dnsmessage.MustNewName(".")}}
	n.srv["_sip._udp.lost.example.com."] = []dnsmessage.SRVResource{{Target: dnsmessage.MustNewName("nowhere.example.com."), Port: 5060}}
	for i := range 12 {
		n.server("_sip._udp.many.example.com.", uint16(i), fmt.Sprintf("127.0.1.%d:5060", i+1))
	}
	e, _ := atRest(t, Config{Resolver: n.resolver()})
	for target, want := range map[string]string{
		"sip:127.0.0.5":                                "udp 127.0.0.5:5060",
		"sips:127.0.0.5":                               "tls 127.0.0.5:5061",
		"sip:[::1]:5070;transport=tcp":                 "tcp [::1]:5070",
		"sip:example.com":                              "udp 127.0.0.9:5060, udp [::1]:5060",
		"sips:pbx.example.com":                         "tls 127.0.0.8:5061",
		"sip:pbx.example.com;transport=tls":            "tls 127.0.0.8:5061",
		"sip:both.example.com":                         "udp 127.0.0.1:5071, udp 127.0.0.2:5072",
		"sip:both.example.com;transport=tcp":           "tcp 127.0.0.3:5073",
		"sip:both.example.com;transport=TLS":           "tls 127.0.0.4:5074",
		"sips:both.example.com":                        "tls 127.0.0.4:5074",
		"sip:tcp.example.com":                          "tcp 127.0.0.3:5073",
		"sip:tls.example.com":                          "tls 127.0.0.4:5074",
		"sip:x@foo.invalid;maddr=pbx.example.com":      "udp 127.0.0.8:5060",
		"sip:x@foo.invalid;maddr=127.0.0.7":            "udp 127.0.0.7:5060",
		"sip:none.example.com":                         errNoService.Error(),
		"sip:lost.example.com":                         "no such host",
		"sip:foo.invalid":                              "no such host",
		"sip:pbx.example.com:5080":                     "udp 127.0.0.8:5080",
		"sips:pbx.example.com:5080;transport=udp":      "is not built",
		"sip:pbx.example.com;transport=sctp":           "is not built",
		"sip:both.example.com:5080":                    "no such host",
		"sip:many.example.com":                         "8 of them",
		"tel:112":                                      "is not built",
		"sip:pbx.example.com:5080;transport=tcp":       "tcp 127.0.0.8:5080",
		"sips:user@pbx.example.com:5080;transport=tcp": "tls 127.0.0.8:5080",
	} {
		u, err := ParseURI(target)
		if err != nil {
			t.Fatal(target, err)
		}
		list, err := e.locate(t.Context(), u)
		var got []string
		for _, h := range list {
			got = append(got, h.transport+" "+h.addr.String())
			if h.domain != u.Host {
				t.Errorf("%s: %s must prove to be %s", target, h.addr, h.domain)
			}
		}
		is := strings.Join(got, ", ")
		if len(list) > 4 {
			is = fmt.Sprintf("%d of them", len(list))
		}
		if err != nil {
			is = err.Error()
		}
		if is != want && !(err != nil && strings.Contains(is, want)) {
			t.Errorf("%s: %s, want %s", target, is, want)
		}
	}
	for _, q := range n.questions() {
		if strings.Contains(q, "127.0.0") || strings.Contains(q, "_sip._udp.pbx.example.com. ") {
			t.Error("asked for", q)
		}
	}
	before := len(n.questions())
	u, _ := ParseURI("sip:localhost")
	if list, err := e.locate(t.Context(), u); err != nil || !list[0].addr.Addr().IsLoopback() || len(n.questions()) > before {
		t.Errorf("localhost: %v %v %v", list, err, n.questions()[before:])
	}
}

// located is an endpoint that finds these far ends as the servers of example.com.
func located(t *testing.T, cfg Config, owner string, addrs ...string) (*Endpoint, *names) {
	t.Helper()
	n := nameServer(t)
	for i, addr := range addrs {
		n.server(owner, uint16(i), addr)
	}
	cfg.Resolver = n.resolver()
	e, _ := atRest(t, cfg)
	run(t, e)
	return e, n
}

// TestTheNextServerIsTried when one says 503, when nobody listens there, and when
// it says nothing: a new transaction, of the same Call-ID (RFC 3263 §4.3).
func TestTheNextServerIsTried(t *testing.T) {
	closed := func(network string) string {
		if network == "udp" {
			pc, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer pc.Close()
			return pc.LocalAddr().String()
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		return ln.Addr().String()
	}
	silent := func(int, string) string { return "" }
	for name, c := range map[string]struct {
		owner  string
		first  *far // nil: nobody
		second *far
	}{
		"503 by UDP":     {"_sip._udp.example.com.", farUDP(t, always(503, "Retry-After: 60")), farUDP(t, always(200))},
		"503 by TCP":     {"_sip._tcp.example.com.", farTCP(t, "127.0.0.1:0", always(503)), farTCP(t, "127.0.0.1:0", always(200))},
		"silence by UDP": {"_sip._udp.example.com.", farUDP(t, silent), farUDP(t, always(200))},
		"lost by TCP":    {"_sip._tcp.example.com.", farTCP(t, "127.0.0.1:0", silent), farTCP(t, "127.0.0.1:0", always(200))},
		"nobody by UDP":  {"_sip._udp.example.com.", nil, farUDP(t, always(200))},
		"nobody by TCP":  {"_sip._tcp.example.com.", nil, farTCP(t, "127.0.0.1:0", always(200))},
	} {
		at := closed(strings.ToLower(name[len(name)-3:]))
		if c.first != nil {
			at = c.first.addr
		}
		e, _ := located(t, Config{}, c.owner, at, c.second.addr)
		for range 2 {
			res, err := e.Do(t.Context(), &Request{Method: "OPTIONS", URI: "sip:example.com", Timeout: 2 * time.Second})
			if err != nil || res.Status != 200 {
				t.Fatalf("%s: %+v %v", name, res, err)
			}
		}
		got := c.second.requests()
		if len(got) != 2 {
			t.Errorf("%s: the second had %d requests", name, len(got))
		}
		if c.first == nil {
			continue
		}
		had := c.first.requests()
		if headerOf(had[0], "Call-ID") != headerOf(got[0], "Call-ID") || headerOf(had[0], "Via") == headerOf(got[0], "Via") || headerOf(had[0], "CSeq") != headerOf(got[0], "CSeq") {
			t.Errorf("%s: another request, or the same transaction:\n%s\n%s", name, had[0], got[0])
		}
		for _, again := range had { // it is left alone, and the next request goes to the second at once
			if headerOf(again, "Call-ID") != headerOf(had[0], "Call-ID") {
				t.Errorf("%s: the first is asked again", name)
			}
		}
	}
}

// TestWhoIsAtWorkIsWaitedFor: a 100 says that somebody is there.
func TestWhoIsAtWorkIsWaitedFor(t *testing.T) {
	first := farTCP(t, "127.0.0.1:0", func(_ int, req string) string { return respond(req, 100) })
	second := farTCP(t, "127.0.0.1:0", always(200))
	e, _ := located(t, Config{}, "_sip._tcp.example.com.", first.addr, second.addr)
	_, err := e.Do(t.Context(), &Request{Method: "OPTIONS", URI: "sip:example.com", Timeout: time.Second})
	var timeout *Error
	if !errors.As(err, &timeout) || !timeout.Timeout() || len(second.requests()) > 0 {
		t.Errorf("%v; the second had %d requests", err, len(second.requests()))
	}
}

// TestWhenNoServerHelps a 503 is told sooner than an error, and nobody is asked twice.
func TestWhenNoServerHelps(t *testing.T) {
	busy := farTCP(t, "127.0.0.1:0", always(503))
	gone := farTCP(t, "127.0.0.1:0", func(int, string) string { return "" })
	e, _ := located(t, Config{}, "_sip._tcp.example.com.", busy.addr, gone.addr)
	for range 2 {
		if res, err := e.Do(t.Context(), &Request{Method: "OPTIONS", URI: "sip:example.com", Timeout: wait}); err != nil || res.Status != 503 {
			t.Errorf("%+v %v", res, err)
		}
	}
	if a, b := len(busy.requests()), len(gone.requests()); a != 2 || b != 2 {
		t.Errorf("asked %d and %d times", a, b)
	}
}

// TestADialogFindsItsServer, too, when the first takes no connection.
func TestADialogFindsItsServer(t *testing.T) {
	second := farTCP(t, "127.0.0.1:0", always(200))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	e, _ := located(t, Config{}, "_sip._tcp.example.com.", ln.Addr().String(), second.addr)
	if got := sendWait(t, e, dialogTo("sip:w@example.com;transport=tcp"), notify(1)); got.Status != 200 {
		t.Errorf("%+v", got)
	}
}

// TestASecureServerProvesTheDomain, not the name that SRV has for it (RFC 5922 §7.3).
func TestASecureServerProvesTheDomain(t *testing.T) {
	a := newAuthority(t)
	for name, good := range map[string]bool{"example.com": true, "h127-0-0-1.example.com": false} {
		cfg := a.files()
		a.write(cfg, func(c *x509.Certificate) { c.DNSNames = []string{name} })
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
		if err != nil {
			t.Fatal(err)
		}
		f := farStream(t, ln, always(200))
		e, _ := located(t, Config{TLS: TLS{CAFile: a.file}}, "_sips._tcp.example.com.", f.addr)
		if res, err := e.Do(t.Context(), &Request{Method: "OPTIONS", URI: "sips:example.com", Timeout: wait}); (err == nil) != good {
			t.Errorf("%s: %+v %v", name, res, err)
		}
	}
}
