package central

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pilotlight/drivers/internal/sip"
)

// compositor is an event state compositor as RFC 3903 §6 has it, written from
// the text and independent of the product's SIP. It can be asked directly, or
// over UDP and TCP. answer, if set, may answer in its stead.
type compositor struct {
	mu     sync.Mutex
	answer func(q ask) (reply, bool)
	seq    int
	tags   map[string]map[string]standing // by Request-URI, by entity-tag
	log    []ask
	user   string // digest wanted where set
	pass   string
	least  int
	gone   bool // answers nothing
	delay  time.Duration
	now    int            // requests in hand
	most   int            // the most at once
	each   map[string]int // in hand, by Request-URI
	twice  bool           // two of one Request-URI at once were seen
}

type standing struct {
	body string
	ends time.Time
}

type ask struct {
	at          time.Time
	method, uri string
	head        textproto.MIMEHeader
	body        string
}

// kind is the operation of RFC 3903 §4.1.
func (q ask) kind() string {
	switch tag, e := q.head.Get("Sip-If-Match"), q.head.Get("Expires"); {
	case q.method != "PUBLISH":
		return q.method
	case tag == "":
		return "initial"
	case e == "0":
		return "remove"
	case q.body == "":
		return "refresh"
	}
	return "modify"
}

type reply struct {
	status int
	head   map[string]string
}

func newCompositor() *compositor {
	return &compositor{tags: map[string]map[string]standing{}, each: map[string]int{}}
}

// handle answers one request; false: not at all.
func (c *compositor) handle(q ask) (reply, bool) {
	c.mu.Lock()
	q.at = time.Now()
	c.log = append(c.log, q)
	c.now++
	c.most = max(c.most, c.now)
	if q.method == "PUBLISH" {
		c.each[q.uri]++
		c.twice = c.twice || c.each[q.uri] > 1
	}
	gone, delay, answer := c.gone, c.delay, c.answer
	c.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	defer func() {
		c.mu.Lock()
		c.now--
		c.each[q.uri]--
		c.mu.Unlock()
	}()
	if gone {
		return reply{}, false
	}
	if answer != nil {
		if r, ok := answer(q); ok {
			return r, r.status != 0
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.compose(q), true
}

func (c *compositor) compose(q ask) reply {
	if q.method != "PUBLISH" {
		return reply{200, nil}
	}
	if c.user != "" && !c.proven(q) {
		return reply{401, map[string]string{"WWW-Authenticate": `Digest realm="hq", nonce="n1", algorithm=MD5, qop="auth"`}}
	}
	expires, err := strconv.Atoi(q.head.Get("Expires"))
	if err != nil || q.head.Get("Event") != "presence" {
		return reply{400, nil}
	}
	if expires > 0 && expires < c.least {
		return reply{423, map[string]string{"Min-Expires": strconv.Itoa(c.least)}}
	}
	if c.tags[q.uri] == nil {
		c.tags[q.uri] = map[string]standing{}
	}
	old, tag := standing{}, q.head.Get("Sip-If-Match")
	if tag != "" {
		var ok bool
		if old, ok = c.tags[q.uri][tag]; !ok || time.Now().After(old.ends) {
			return reply{412, nil}
		}
		delete(c.tags[q.uri], tag)
	} else if q.body == "" {
		return reply{400, nil}
	}
	if q.body != "" {
		old.body = q.body
	}
	old.ends = time.Now().Add(time.Duration(expires) * time.Second)
	c.seq++
	tag = fmt.Sprintf("e%d", c.seq)
	if expires > 0 {
		c.tags[q.uri][tag] = old
	}
	return reply{200, map[string]string{"SIP-ETag": tag, "Expires": strconv.Itoa(expires)}}
}

// proven checks RFC 7616 digest, MD5 with qop=auth.
func (c *compositor) proven(q ask) bool {
	p := map[string]string{}
	for _, part := range strings.Split(strings.TrimPrefix(q.head.Get("Authorization"), "Digest "), ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		p[k] = strings.Trim(v, `"`)
	}
	h := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	want := h(h(c.user+":hq:"+c.pass) + ":n1:" + p["nc"] + ":" + p["cnonce"] + ":auth:" + h("PUBLISH:"+p["uri"]))
	return p["username"] == c.user && p["response"] == want
}

// standing lists the bodies that stand for a presentity.
func (c *compositor) standing(uri string) (bodies []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.tags[uri] {
		if time.Now().Before(s.ends) {
			bodies = append(bodies, s.body)
		}
	}
	return bodies
}

func (c *compositor) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// kinds are the operations asked for so far, OPTIONS left out.
func (c *compositor) kinds() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.log {
		if q.method == "PUBLISH" {
			all = append(all, q.kind())
		}
	}
	return all
}

// asked is how many requests came so far.
func (c *compositor) asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.log)
}

// Do is the compositor without a wire between, for tests in which time is made.
func (c *compositor) Do(ctx context.Context, r *sip.Request) (*sip.Response, error) {
	q := ask{method: r.Method, uri: r.URI, body: string(r.Body), head: textproto.MIMEHeader{}}
	for _, f := range r.Header {
		q.head.Set(f.Name, f.Value)
	}
	q.head.Set("Event", r.Event)
	if r.Expires != nil {
		q.head.Set("Expires", strconv.Itoa(int(r.Expires.Seconds())))
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	rep, ok := c.handle(q)
	if !ok {
		<-ctx.Done()
		return nil, fmt.Errorf("no answer from %s", r.Target)
	}
	res := &sip.Response{Status: rep.status, Reason: "Test", RTT: time.Millisecond}
	for k, v := range rep.head {
		res.Header.Add(k, v)
	}
	return res, ctx.Err()
}

// listen serves the compositor over UDP and TCP of one port of loopback.
func (c *compositor) listen(t *testing.T) (port int) {
	t.Helper()
	var tcp net.Listener
	var udp net.PacketConn
	for try := 0; ; try++ { // a port free for TCP may be taken for UDP
		var err error
		if tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if udp, err = net.ListenPacket("udp", tcp.Addr().String()); err == nil {
			break
		}
		_ = tcp.Close()
		if try > 20 {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	var conns sync.Map
	all.Go(func() { c.serveUDP(udp) })
	all.Go(func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			conns.Store(conn, true)
			all.Go(func() { c.serveTCP(conn) })
		}
	})
	t.Cleanup(func() {
		_ = udp.Close()
		_ = tcp.Close()
		conns.Range(func(conn, _ any) bool { _ = conn.(net.Conn).Close(); return true })
		all.Wait()
	})
	return tcp.Addr().(*net.TCPAddr).Port
}

// serveUDP answers datagrams, each retransmission as the first (RFC 3261 §17.2.2).
func (c *compositor) serveUDP(conn net.PacketConn) {
	answers := map[string][]byte{}
	buf := make([]byte, 65535)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		q, err := readAsk(bufio.NewReader(bytes.NewReader(buf[:n])))
		if err != nil {
			continue
		}
		via := q.head.Get("Via")
		out, again := answers[via]
		if !again {
			rep, ok := c.handle(q)
			if !ok {
				continue
			}
			out = rep.write(q)
			answers[via] = out
		}
		_, _ = conn.WriteTo(out, from)
	}
}

func (c *compositor) serveTCP(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	var turn sync.Mutex
	for {
		q, err := readAsk(in)
		if err != nil {
			return
		}
		rep, ok := c.handle(q)
		if !ok {
			continue
		}
		turn.Lock()
		_, err = conn.Write(rep.write(q))
		turn.Unlock()
		if err != nil {
			return
		}
	}
}

func readAsk(in *bufio.Reader) (ask, error) {
	tp := textproto.NewReader(in)
	line, err := tp.ReadLine()
	for err == nil && line == "" {
		line, err = tp.ReadLine()
	}
	if err != nil {
		return ask{}, err
	}
	f := strings.Fields(line)
	if len(f) != 3 {
		return ask{}, fmt.Errorf("start line %q", line)
	}
	q := ask{method: f[0], uri: f[1]}
	if q.head, err = tp.ReadMIMEHeader(); err != nil {
		return ask{}, err
	}
	n, _ := strconv.Atoi(q.head.Get("Content-Length"))
	body := make([]byte, min(n, 1<<20))
	_, err = io.ReadFull(in, body)
	q.body = string(body)
	return q, err
}

func (r reply) write(q ask) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d Test\r\n", r.status)
	for _, v := range q.head["Via"] {
		fmt.Fprintf(&b, "Via: %s\r\n", v)
	}
	fmt.Fprintf(&b, "From: %s\r\nTo: %s;tag=far\r\nCall-ID: %s\r\nCSeq: %s\r\n",
		q.head.Get("From"), q.head.Get("To"), q.head.Get("Call-Id"), q.head.Get("Cseq"))
	for k, v := range r.head {
		fmt.Fprintf(&b, "%s: %s\r\n", k, v)
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return []byte(b.String())
}
