package peers

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Page is one MESSAGE as a pager got it.
type Page struct {
	From, Date, Body string
}

// Pager is a raw user agent that takes and sends messages (RFC 3428), registered at
// a server by UDP.
type Pager struct {
	C <-chan Page // in the order of arrival; what nobody reads after 1,000 is dropped

	agent *agent
	uri   string
	out   chan Page
	cseq  int

	mu   sync.Mutex
	seen map[string]bool // branches, so that a retransmission isn't told twice
}

// NewPager registers one.
func NewPager(t testing.TB, server, uri string) *Pager {
	t.Helper()
	out := make(chan Page, 1000)
	p := &Pager{C: out, out: out, uri: uri, seen: map[string]bool{}}
	p.agent = newAgent(t, server, p.request)
	if err := p.Register(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *Pager) request(a *agent, m message, from net.Addr) {
	if m.first[0] != "MESSAGE" {
		a.reply(m, from, "501 Not Implemented")
		return
	}
	a.reply(m, from, "200 OK")
	branch := param(m.head.Get("Via"), "branch")
	p.mu.Lock()
	again := p.seen[branch]
	p.seen[branch] = true
	p.mu.Unlock()
	if again {
		return
	}
	select {
	case p.out <- Page{From: addr(m.head.Get("From")), Date: m.head.Get("Date"), Body: m.body}:
	default:
	}
}

// Register tells the server where it is, as after a server's restart.
func (p *Pager) Register() error {
	user, _, _ := strings.Cut(strings.TrimPrefix(p.uri, "sip:"), "@")
	head := fmt.Sprintf("Contact: <sip:%s@%s>\r\nExpires: 3600\r\n", user, p.agent.conn.LocalAddr())
	status, err := p.ask("REGISTER", "sip:"+domainOf(p.uri), p.uri, head, "")
	if err == nil && status != 200 {
		err = fmt.Errorf("REGISTER %s: %d", p.uri, status)
	}
	return err
}

// Send sends a message and gives the final status.
func (p *Pager) Send(to, text string) (int, error) {
	return p.ask("MESSAGE", to, to, "Content-Type: text/plain\r\n", text)
}

func (p *Pager) ask(method, uri, to, more, body string) (int, error) {
	p.cseq++
	head := fmt.Sprintf("From: <%s>;tag=%s\r\nTo: <%s>\r\nCall-ID: %s\r\n%s", p.uri, token(), to, token(), more)
	m, err := p.agent.do(method, uri, p.cseq, head, body)
	if err != nil {
		return 0, err
	}
	return m.status(), nil
}

// Await is the next message, which must have that text.
func (p *Pager) Await(t testing.TB, text string) Page {
	t.Helper()
	select {
	case page := <-p.C:
		if page.Body != text {
			t.Fatalf("%s got %.100q, want %.100q", p.uri, page.Body, text)
		}
		return page
	case <-time.After(2 * patience):
		t.Fatalf("%s did not get %.100q", p.uri, text)
	}
	return Page{}
}
