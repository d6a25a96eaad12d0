package peers

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Crowd is many watchers, each of one presentity: by UDP on a few sockets, or by
// TCP each with a connection of its own, from an address of its own, and nobody
// who listens at the address in its Contact.
type Crowd struct {
	Seats []*Seat
	More  string // fields of each SUBSCRIBE, whole lines with their ends

	server, transport, event string

	mu      sync.Mutex
	by      map[string]*Seat // by Call-ID
	strange int              // NOTIFYs of no dialog of ours
	lines   []*Line
}

// Seat is one watcher of a crowd.
type Seat struct {
	URI string // whom it watches

	crowd                            *Crowd
	n                                int
	line                             *Line
	callID, tag, remote, target, key string
	cseq                             int

	mu    sync.Mutex
	heard Heard
}

// Heard is what a watcher was told so far.
type Heard struct {
	Notified int // NOTIFYs, those that were sent again not counted
	CSeq     int // the highest
	Back     int // how often one came that was not above all before it
	Ended    bool
	At       time.Time // of the last
	Bodies   []string  // the last few, the newest at the end
}

// Body is the newest.
func (h Heard) Body() string {
	if len(h.Bodies) == 0 {
		return ""
	}
	return h.Bodies[len(h.Bodies)-1]
}

// bodiesKept is how many a watcher remembers.
const bodiesKept = 4

// sockets is how many a crowd has by UDP.
const sockets = 4

// NewCrowd makes n watchers, of whom says which URI each watches.
func NewCrowd(t testing.TB, server, transport, event string, n int, whom func(int) string) *Crowd {
	t.Helper()
	c := &Crowd{server: server, transport: transport, event: event, by: map[string]*Seat{}}
	t.Cleanup(c.close)
	for i := range n {
		s := &Seat{URI: whom(i), crowd: c, n: i, callID: token(), tag: token()}
		s.target = s.URI
		c.Seats = append(c.Seats, s)
		c.by[s.callID] = s
		if err := s.Connect(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// Connect gives it a line: the first, or after a restart of the server a new one
// where that before was a connection.
func (s *Seat) Connect() error {
	c, from := s.crowd, ""
	switch {
	case c.transport == "tcp": // as phones have: one address each
		from = fmt.Sprintf("127.1.%d.%d", s.n/200, 1+s.n%200)
	case s.n >= sockets:
		s.line = c.Seats[s.n%sockets].line
		return nil
	}
	l, err := dial(c.transport, c.server, from, c.request)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, l)
	s.line = l
	return nil
}

func (c *Crowd) close() {
	c.mu.Lock()
	all := c.lines
	c.mu.Unlock()
	for _, l := range all {
		l.Close()
	}
}

// Subscribe lets all of them subscribe, or renew, some at a time.
func (c *Crowd) Subscribe(atATime int) error {
	work := make(chan *Seat)
	var tasks sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for range atATime {
		tasks.Go(func() {
			for s := range work {
				if err := s.Subscribe(); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	for _, s := range c.Seats {
		work <- s
	}
	close(work)
	tasks.Wait()
	if len(errs) > 10 {
		errs = append(errs[:10], fmt.Errorf("and %d more", len(errs)-10))
	}
	return errors.Join(errs...)
}

// Subscribe sends one SUBSCRIBE, in its dialog if it has one.
func (s *Seat) Subscribe() error {
	s.cseq++
	branch := "z9hG4bK" + token()
	to, transport := "<"+s.URI+">", ""
	if s.remote != "" {
		to += ";tag=" + s.remote
	}
	if s.line.transport == "TCP" {
		transport = ";transport=tcp"
	}
	m, err := s.line.do(fmt.Sprintf("SUBSCRIBE %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=%s\r\nMax-Forwards: 70\r\n"+
		"From: <sip:watcher%d@%s>;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d SUBSCRIBE\r\nContact: <sip:watcher%d@%s%s>\r\n"+
		"Event: %s\r\nExpires: 3600\r\n%sContent-Length: 0\r\n\r\n",
		s.target, s.line.transport, s.line.Local, branch, s.n, domainOf(s.URI), s.tag, to, s.callID, s.cseq, s.n, s.line.Local, transport, s.crowd.event, s.crowd.More), branch)
	if err == nil && m.status() != 200 {
		err = fmt.Errorf("%s %s", m.first[1], m.first[2])
	}
	if err != nil {
		return fmt.Errorf("watcher %d of %s: SUBSCRIBE: %w", s.n, s.URI, err)
	}
	s.remote, s.target = param(m.head.Get("To"), "tag"), addr(m.head.Get("Contact"))
	return nil
}

func domainOf(uri string) string {
	_, domain, _ := strings.Cut(uri, "@")
	return domain
}

// request takes a NOTIFY.
func (c *Crowd) request(l *Line, m message) {
	at := time.Now()
	c.mu.Lock()
	s := c.by[m.head.Get("Call-Id")]
	if s == nil {
		c.strange++
	}
	c.mu.Unlock()
	if s == nil || m.first[0] != "NOTIFY" || param(m.head.Get("To"), "tag") != s.tag {
		_ = l.Send(response(m, "481 Subscription does not exist"))
		return
	}
	_ = l.Send(response(m, "200 OK")) // a lost answer is asked for again
	number, _, _ := strings.Cut(m.head.Get("Cseq"), " ")
	cseq, _ := strconv.Atoi(number)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := param(m.head.Get("Via"), "branch")
	switch {
	case key == s.key: // sent again: there is one at a time
		return
	case cseq <= s.heard.CSeq:
		s.heard.Back++
	}
	s.key = key
	s.heard.Notified++
	s.heard.CSeq = max(s.heard.CSeq, cseq)
	s.heard.At = at
	s.heard.Bodies = append(s.heard.Bodies[max(0, len(s.heard.Bodies)-bodiesKept+1):], m.body)
	s.heard.Ended = strings.HasPrefix(m.head.Get("Subscription-State"), "terminated")
}

// Heard is what the watcher was told.
func (s *Seat) Heard() Heard {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.heard
	h.Bodies = slices.Clone(h.Bodies)
	return h
}

// Heard is what all were told.
func (c *Crowd) Heard() []Heard {
	all := make([]Heard, len(c.Seats))
	for i, s := range c.Seats {
		all[i] = s.Heard()
	}
	return all
}

// Strange is how many NOTIFYs came that belong to nobody.
func (c *Crowd) Strange() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.strange
}
