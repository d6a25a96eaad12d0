package simple

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/textproto"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pilotlight/agent/access"
	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/pidf"
	"pilotlight/drivers/internal/sip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is long enough for anything that is going to happen.
const patience = 5 * time.Second

// server is the driver over a real ledger and a real endpoint.
type server struct {
	t      testing.TB
	path   string
	listen []string
	c      Config
	rules  access.Rules
	static []presence.Observation
	guard  *sip.Guard
	pause  time.Duration // after a first failure; 0: as ever
	far    time.Duration // for an answer of a peer; 0: as ever
	tls    sip.TLS
	ready  func() // when the sockets are open, and nobody serves yet

	endpoint *sip.Endpoint
	ledger   *ledger.Ledger
	access   *access.Watchers
	post     *relay.Post
	driver   *Driver
	addr     netip.AddrPort
	stop     func()
}

func person(user, name, line string, phones ...string) presence.Observation {
	p := &presence.Person{Name: name, Devices: phones}
	if line != "" {
		p.Lines = []string{line}
	}
	return presence.Observation{Source: "config", Of: presence.At(user, "example.com"), Seen: time.Now(), TTL: presence.Forever, Facts: presence.Facts{Person: p}}
}

// newServer knows alice with a phone and a line, and bob; anybody on loopback
// may watch, and publishes as a peer.
func newServer(t testing.TB, change ...func(*server)) *server {
	t.Helper()
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	s := &server{t: t, path: filepath.Join(t.TempDir(), "store"), listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"},
		c:      Config{Domain: "example.com", Peers: []Peer{{Name: "bench", From: loopback, May: []string{"subscribe", "publish"}}}},
		rules:  access.Rules{Default: access.Allow},
		static: []presence.Observation{person("alice", "Alice Martin", "1001", "SEP0011AABBCC01"), person("bob", "Bob Bernard", "1002")}}
	for _, f := range change {
		f(s)
	}
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *server) start() {
	s.t.Helper()
	log := slog.New(slog.DiscardHandler)
	check := func(err error) {
		if err != nil {
			s.t.Helper()
			s.t.Fatal(err)
		}
	}
	l, err := ledger.Open(ledger.Config{Path: s.path, Domain: s.c.Domain, Static: s.static, Log: log})
	check(err)
	e, err := sip.New(sip.Config{Listen: s.listen, TLS: s.tls}, log)
	check(err)
	w, err := access.NewWatchers(s.rules, l.Drawer("watchers"))
	check(err)
	post, err := relay.NewPost(l.Drawer("messages"), time.Now, func() (bool, string) { return true, "" })
	check(err)
	elsewhere, err := event.New(event.PresencePackage, e, log)
	check(err)
	d, err := New(s.c, Needs{Elsewhere: elsewhere, Post: post, Heart: l, Endpoint: e, Drawer: l.Drawer("simple"), Access: w, Guard: s.guard}, log)
	check(err)
	d.pause, d.farWithin = cmp.Or(s.pause, d.pause), cmp.Or(s.far, d.farWithin)
	var stops []func()
	s.endpoint = e
	for i, run := range []func(context.Context) error{l.Run, e.Run, d.Run} {
		if i == 2 && s.ready != nil {
			check(e.Ready(s.t.Context()))
			s.ready()
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		stops = append(stops, func() {
			cancel()
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				s.t.Errorf("run: %v", err)
			}
		})
	}
	s.stop = func() {
		for i := range stops {
			stops[len(stops)-1-i]()
		}
		s.stop = func() {}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	check(e.Ready(ctx))
	s.ledger, s.access, s.post, s.driver, s.addr = l, w, post, d, e.Addr("udp")
	s.listen = append([]string{"udp:" + e.Addr("udp").String(), "tcp:" + e.Addr("tcp").String()}, s.listen[2:]...)
	s.until("it serves the first", func() bool {
		r := d.now.get()
		known := false
		return r != nil && r.do(ctx, func() { w := r.of[s.static[0].Of]; known = w != nil && w.known }) == nil && known
	})
}

func (s *server) until(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("not in time: %s", what)
		}
	}
}

// message is what came off the wire.
type message struct {
	line   string
	status int
	method string
	h      textproto.MIMEHeader
	body   string
	from   net.Addr
}

func readMessage(b []byte) (m message, err error) {
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(b)))
	if m.line, err = r.ReadLine(); err != nil {
		return m, err
	}
	if m.h, err = r.ReadMIMEHeader(); err != nil {
		return m, err
	}
	rest, err := io.ReadAll(r.R)
	m.body = string(rest)
	word, after, _ := strings.Cut(m.line, " ")
	if word == "SIP/2.0" {
		m.status, _ = strconv.Atoi(after[:3])
	} else {
		m.method = word
	}
	return m, err
}

// phone is a user agent by hand, over UDP or a stream.
type phone struct {
	t         testing.TB
	conn      net.PacketConn // or
	tcp       net.Conn
	in        *bufio.Reader // of tcp
	at        string        // its address
	to        net.Addr
	where     string // its Contact; empty: sip:me@ its address
	transport string // of a stream; empty: TCP
	from      string // URI
	tag       string
	calls     int
	mute      bool // answers no NOTIFY
	late      []message
}

func newPhone(s *server, user string) *phone {
	s.t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return &phone{t: s.t, conn: conn, at: conn.LocalAddr().String(), to: net.UDPAddrFromAddrPort(s.addr), from: "sip:" + user + "@example.com", tag: sip.Random(4)}
}

// newFar is another server, by hand.
func newFar(t testing.TB) *phone {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &phone{t: t, conn: conn, at: conn.LocalAddr().String()}
}

// newStream is a phone by TCP, from an address of loopback.
func newStream(s *server, user, from string) *phone {
	s.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	conn, err := d.Dial("tcp", strings.TrimPrefix(s.listen[1], "tcp:"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return &phone{t: s.t, tcp: conn, in: bufio.NewReader(conn), at: conn.LocalAddr().String(), to: conn.RemoteAddr(), from: "sip:" + user + "@example.com", tag: sip.Random(4)}
}

func (p *phone) write(b []byte, to net.Addr) (err error) {
	if p.tcp != nil {
		_, err = p.tcp.Write(b)
	} else {
		_, err = p.conn.WriteTo(b, to)
	}
	return err
}

// receive is the octets of the next message.
func (p *phone) receive(within time.Duration) ([]byte, net.Addr, error) {
	until := time.Now().Add(within)
	if p.tcp == nil {
		buf := make([]byte, 65535)
		p.conn.SetReadDeadline(until)
		n, from, err := p.conn.ReadFrom(buf)
		return buf[:n], from, err
	}
	p.tcp.SetReadDeadline(until)
	var head []byte
	length := 0
	for {
		line, err := p.in.ReadBytes('\n')
		if err != nil {
			return nil, nil, err
		}
		if len(head) == 0 && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		head = append(head, line...)
		if v, ok := strings.CutPrefix(string(line), "Content-Length:"); ok {
			length, _ = strconv.Atoi(strings.TrimSpace(v))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	body := make([]byte, length)
	_, err := io.ReadFull(p.in, body)
	return append(head, body...), p.to, err
}

// request is one to send; zero values mean the usual.
type request struct {
	method, uri, event, callID, toTag string
	cseq                              int
	expires                           string // "-": no header
	header                            string // lines
	kind, body                        string
	to                                string // the To field; empty: uri and toTag
	hops                              int    // Max-Forwards
}

func (p *phone) send(r request) request {
	p.t.Helper()
	p.calls++
	if r.callID == "" {
		r.callID = fmt.Sprintf("c%d-%s", p.calls, p.tag)
	}
	if r.cseq == 0 {
		r.cseq = 1
	}
	to := "<" + r.uri + ">"
	if r.toTag != "" {
		to += ";tag=" + r.toTag
	}
	transport, contact := "UDP", p.where
	if contact == "" {
		contact = "sip:me@" + p.at
	}
	if p.tcp != nil {
		transport = cmp.Or(p.transport, "TCP")
		contact += ";transport=" + strings.ToLower(transport)
	}
	if r.to != "" {
		to = r.to
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;rport;branch=z9hG4bK%s\r\nMax-Forwards: %d\r\nFrom: <%s>;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <%s>\r\n",
		r.method, r.uri, transport, p.at, sip.Random(6), cmp.Or(r.hops, 70), p.from, p.tag, to, r.callID, r.cseq, r.method, contact)
	if r.event != "" {
		fmt.Fprintf(&b, "Event: %s\r\n", r.event)
	}
	if r.expires != "-" {
		fmt.Fprintf(&b, "Expires: %s\r\n", map[bool]string{true: r.expires, false: "3600"}[r.expires != ""])
	}
	if r.body != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", r.kind)
	}
	fmt.Fprintf(&b, "%sContent-Length: %d\r\n\r\n%s", r.header, len(r.body), r.body)
	if err := p.write([]byte(b.String()), p.to); err != nil {
		p.t.Fatal(err)
	}
	return r
}

// read is the next message, a NOTIFY already answered.
func (p *phone) read(within time.Duration) (message, bool) {
	p.t.Helper()
	if len(p.late) > 0 {
		m := p.late[0]
		p.late = p.late[1:]
		return m, true
	}
	b, from, err := p.receive(within)
	if err != nil {
		return message{}, false
	}
	m, err := readMessage(b)
	if err != nil {
		p.t.Fatalf("%v\n%s", err, b)
	}
	m.from = from
	if m.method == "NOTIFY" && !p.mute {
		p.answer(m, "200 OK", "")
	}
	return m, true
}

func (p *phone) answer(m message, status, header string) {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %s\r\n", status)
	for _, name := range []string{"Via", "From", "To", "Call-Id", "Cseq"} {
		for _, v := range m.h[name] {
			fmt.Fprintf(&b, "%s: %s\r\n", map[string]string{"Call-Id": "Call-ID", "Cseq": "CSeq"}[name]+map[bool]string{true: name}[name != "Call-Id" && name != "Cseq"], v)
		}
	}
	fmt.Fprintf(&b, "%sContent-Length: 0\r\n\r\n", header)
	_ = p.write([]byte(b.String()), m.from)
}

// response waits for the answer to what was sent last; NOTIFYs wait for later.
func (p *phone) response() message {
	p.t.Helper()
	var others []message
	defer func() { p.late = append(others, p.late...) }()
	for {
		m, ok := p.read(patience)
		if !ok {
			p.t.Fatal("no answer")
		}
		if m.status >= 200 {
			return m
		}
		others = append(others, m)
	}
}

// notify waits for the next NOTIFY.
func (p *phone) notify() message {
	p.t.Helper()
	m, ok := p.read(patience)
	if !ok || m.method != "NOTIFY" {
		p.t.Fatalf("no NOTIFY: %q", m.line)
	}
	return m
}

// silent holds that nothing comes.
func (p *phone) silent(d time.Duration) {
	p.t.Helper()
	if m, ok := p.read(d); ok {
		p.t.Fatalf("a message nobody waited for: %s\n%v\n%s", m.line, m.h, m.body)
	}
}

// dialog is a subscription as the watcher sees it.
type dialog struct {
	request
	first message // the first NOTIFY
}

func (p *phone) subscribe(r request) *dialog {
	p.t.Helper()
	r.method = "SUBSCRIBE"
	if r.event == "" {
		r.event = "presence"
	}
	r = p.send(r)
	res := p.response()
	if res.status != 200 {
		p.t.Fatalf("SUBSCRIBE %s: %s", r.uri, res.line)
	}
	_, r.toTag, _ = strings.Cut(res.h.Get("To"), "tag=")
	return &dialog{r, p.notify()}
}

// again is a SUBSCRIBE in the dialog.
func (d *dialog) again(cseq int, expires, header string) request {
	r := d.request
	r.cseq, r.expires, r.header, r.to = cseq, expires, header, ""
	return r
}

// refused sends a request and holds it to a status.
func (p *phone) refused(status int, r request) message {
	p.t.Helper()
	p.send(r)
	m := p.response()
	if m.status != status {
		p.t.Fatalf("%s %s: %s, want %d", r.method, r.uri, m.line, status)
	}
	return m
}

func (m message) cseq() int {
	n, _ := strconv.Atoi(strings.Fields(m.h.Get("CSeq"))[0])
	return n
}

func pidfOf(entity, basic, activity string) string {
	return `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" ` +
		`xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="` + entity + `"><tuple id="t1"><status><basic>` + basic + `</basic></status></tuple>` +
		`<dm:person id="p1"><rpid:activities><rpid:` + activity + `/></rpid:activities></dm:person></presence>`
}

// publish says something and gives the entity-tag.
func (p *phone) publish(uri, etag, body string) string {
	p.t.Helper()
	r := request{method: "PUBLISH", uri: uri, event: "presence", kind: pidf.ContentType, body: body}
	if etag != "" {
		r.header = "SIP-If-Match: " + etag + "\r\n"
	}
	p.send(r)
	m := p.response()
	if m.status != 200 || m.h.Get("Sip-Etag") == "" {
		p.t.Fatalf("PUBLISH: %s", m.line)
	}
	return m.h.Get("Sip-Etag")
}

func (s *server) cidr(p string) netip.Prefix { return netip.MustParsePrefix(p) }
