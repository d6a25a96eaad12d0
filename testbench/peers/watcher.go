package peers

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Notification is one NOTIFY as a watcher got it.
type Notification struct {
	At    time.Time
	State string // the Subscription-State header
	CSeq  int
	Type  string // of the body
	Body  string
}

// Watch is one subscription of a raw SIP watcher (RFC 6665 §4.1).
type Watch struct {
	C <-chan Notification // in the order of arrival; what nobody reads after 1,000 is dropped

	agent  *agent
	out    chan Notification
	uri    string
	event  string
	callID string
	tag    string
	remote string // the tag of the notifier
	target string
	routes []string
	cseq   int

	mu   sync.Mutex
	seen map[string]bool // branches of NOTIFYs, so that a retransmission isn't told twice
}

// Watcher subscribes to an event package of uri at server ("127.0.0.1:5060",
// UDP). The subscription ends with the test.
func Watcher(t testing.TB, server, uri, event string, accept ...string) *Watch {
	t.Helper()
	out := make(chan Notification, 1000)
	w := &Watch{C: out, out: out, uri: uri, event: event, callID: token(), tag: token(), target: uri, seen: map[string]bool{}}
	w.agent = newAgent(t, server, w.request)
	head := ""
	if len(accept) > 0 {
		head = "Accept: " + strings.Join(accept, ", ") + "\r\n"
	}
	m, err := w.subscribe(3600, head)
	if err != nil {
		t.Fatal(err)
	}
	if m.status() >= 300 {
		t.Fatalf("SUBSCRIBE %s to %s: %s %s", event, uri, m.first[1], m.first[2])
	}
	w.dialog(m)
	t.Cleanup(func() { _, _ = w.subscribe(0, "") })
	return w
}

// dialog takes the notifier's tag, contact and route set from the answer (RFC 3261 §12.1.2).
func (w *Watch) dialog(m message) {
	w.remote = param(m.head.Get("To"), "tag")
	if c := m.head.Get("Contact"); c != "" {
		w.target = addr(c)
	}
	w.routes = nil
	for _, r := range m.head["Record-Route"] {
		w.routes = append([]string{r}, w.routes...)
	}
}

// Refresh renews the subscription, which earns a NOTIFY with the whole state.
func (w *Watch) Refresh() error {
	m, err := w.subscribe(3600, "")
	if err == nil && m.status() >= 300 {
		err = fmt.Errorf("refresh: %s %s", m.first[1], m.first[2])
	}
	return err
}

func (w *Watch) subscribe(expires int, more string) (message, error) {
	w.cseq++
	to := "<" + w.uri + ">"
	if w.remote != "" {
		to += ";tag=" + w.remote
	}
	head := fmt.Sprintf("From: <sip:watcher@%s>;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nContact: <sip:watcher@%s>\r\nEvent: %s\r\nExpires: %d\r\n%s",
		w.agent.conn.LocalAddr(), w.tag, to, w.callID, w.agent.conn.LocalAddr(), w.event, expires, more)
	for _, r := range w.routes {
		head += "Route: " + r + "\r\n"
	}
	return w.agent.do("SUBSCRIBE", w.target, w.cseq, head, "")
}

// request answers what comes in, and tells of each NOTIFY once.
func (w *Watch) request(a *agent, m message, from net.Addr) {
	if m.first[0] != "NOTIFY" || m.head.Get("Call-Id") != w.callID {
		a.reply(m, from, "481 Subscription does not exist")
		return
	}
	a.reply(m, from, "200 OK")
	branch := param(m.head.Get("Via"), "branch")
	w.mu.Lock()
	again := w.seen[branch]
	w.seen[branch] = true
	w.mu.Unlock()
	if again {
		return
	}
	number, _, _ := strings.Cut(m.head.Get("Cseq"), " ")
	cseq, _ := strconv.Atoi(number)
	select {
	case w.out <- Notification{At: time.Now(), State: m.head.Get("Subscription-State"), CSeq: cseq, Type: m.head.Get("Content-Type"), Body: m.body}:
	default:
	}
}

// Await reads notifications until one satisfies is.
func (w *Watch) Await(t testing.TB, what string, is func(Notification) bool) Notification {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var last Notification
	for {
		select {
		case last = <-w.C:
			if is(last) {
				return last
			}
		case <-ctx.Done():
			t.Fatalf("watcher of %s: no notification with %s; the last was %q", w.uri, what, last.Body)
		}
	}
}

// Publisher is a raw event publication agent (RFC 3903) for one resource.
type Publisher struct {
	agent      *agent
	uri, event string
	tag, call  string
	cseq       int
	ETag       string // of the last answer
}

// Publish makes a publisher to server ("127.0.0.1:5060", UDP).
func Publish(t testing.TB, server, uri, event string) *Publisher {
	t.Helper()
	p := &Publisher{uri: uri, event: event, tag: token(), call: token()}
	p.agent = newAgent(t, server, func(a *agent, m message, from net.Addr) { a.reply(m, from, "501 Not Implemented") })
	return p
}

// Send publishes a body, or refreshes without one, and gives the status.
func (p *Publisher) Send(expires int, contentType, body string) (int, error) {
	p.cseq++
	head := fmt.Sprintf("From: <%s>;tag=%s\r\nTo: <%s>\r\nCall-ID: %s\r\nEvent: %s\r\nExpires: %d\r\n", p.uri, p.tag, p.uri, p.call, p.event, expires)
	if p.ETag != "" {
		head += "SIP-If-Match: " + p.ETag + "\r\n"
	}
	if body != "" {
		head += "Content-Type: " + contentType + "\r\n"
	}
	m, err := p.agent.do("PUBLISH", p.uri, p.cseq, head, body)
	if err != nil {
		return 0, err
	}
	if m.status() < 300 {
		p.ETag = m.head.Get("Sip-Etag")
	}
	return m.status(), nil
}

// param is a parameter of a header value.
func param(value, name string) string {
	for _, part := range strings.Split(value, ";")[1:] {
		if k, v, _ := strings.Cut(strings.TrimSpace(part), "="); strings.EqualFold(k, name) {
			return v
		}
	}
	return ""
}

// addr is the URI of a name-addr or an addr-spec.
func addr(value string) string {
	if _, rest, ok := strings.Cut(value, "<"); ok {
		uri, _, _ := strings.Cut(rest, ">")
		return uri
	}
	uri, _, _ := strings.Cut(value, ";")
	return strings.TrimSpace(uri)
}
