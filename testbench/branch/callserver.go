package branch

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pilotlight/testbench/branch/internal/agenda"
	"pilotlight/testbench/branch/internal/sipwire"
)

// Times of a notifier. The retransmissions are those of a non-INVITE client
// transaction (RFC 3261 §17.1.2.2).
const (
	defaultExpires = time.Hour
	maxExpires     = 2 * time.Hour
	t1             = 500 * time.Millisecond
	t2             = 4 * time.Second
	giveUp         = 64 * t1
	maxEnded       = 8 // dialogs that ended between two NOTIFYs
)

// callServer is the notifier for "Event: dialog" of every line of the branch
// (RFC 6665, RFC 4235). It sends full state, one NOTIFY at a time for each
// subscription; what changes meanwhile goes into the next. Branch.mu guards it.
type callServer struct {
	b      *Branch
	server *sipwire.Server

	subscriptions map[string]*subscription // by Call-ID and both tags
	byLine        map[string]map[*subscription]struct{}
	flying        map[string]*notify // by branch
	taken         uint64             // subscriptions taken, ever
}

type subscription struct {
	key           string
	line          string
	peer          sipwire.Peer
	contact       string // the subscriber's, the target of our requests
	local, remote string // From and To of our requests
	callID        string
	theirs        uint32 // their CSeq
	cseq          uint32
	version       uint32
	until         time.Time
	expiry        *agenda.Item
	flight        *notify
	dirty         bool
	over          string // why it ends, when it does
	ended         []dialog
}

type notify struct {
	sub    *subscription
	branch string
	wire   []byte
	began  time.Time
	wait   time.Duration
	again  *agenda.Item
	last   bool // it says that the subscription is over
}

func newCallServer(b *Branch) *callServer {
	return &callServer{b: b, subscriptions: map[string]*subscription{},
		byLine: map[string]map[*subscription]struct{}{}, flying: map[string]*notify{}}
}

func (s *callServer) listen(at netip.Addr, port int) (err error) {
	if s.server, err = sipwire.Listen(at.String(), port); err == nil {
		s.server.Serve(s.handle)
	}
	return err
}

func (s *callServer) handle(m *sipwire.Message, p sipwire.Peer) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	switch {
	case m.Status != 0:
		s.answered(m)
	case m.Method == "SUBSCRIBE":
		p.Reply(m, s.subscribe(m, p))
		s.flush(keyOf(m))
	case m.Method == "OPTIONS":
		ok := sipwire.Answer(m, 200, "OK", sipwire.Token())
		ok.Add("Allow", "OPTIONS, SUBSCRIBE")
		ok.Add("Allow-Events", "dialog")
		ok.Add("Accept", dialogInfoType)
		p.Reply(m, ok)
	case m.Method == "ACK":
	default:
		no := sipwire.Answer(m, 405, "Method Not Allowed", sipwire.Token())
		no.Add("Allow", "OPTIONS, SUBSCRIBE")
		p.Reply(m, no)
	}
}

// keyOf names the dialog of a request by the subscriber's side, which a first
// SUBSCRIBE knows too. Our tag is checked apart.
func keyOf(m *sipwire.Message) string {
	return m.Get("Call-ID") + " " + sipwire.Param(m.Get("From"), "tag")
}

// subscribe is RFC 6665 §4.2.1.
func (s *callServer) subscribe(m *sipwire.Message, p sipwire.Peer) *sipwire.Message {
	event, _, _ := strings.Cut(m.Get("Event"), ";")
	if !strings.EqualFold(strings.TrimSpace(event), "dialog") {
		bad := sipwire.Answer(m, 489, "Bad Event", sipwire.Token())
		bad.Add("Allow-Events", "dialog")
		return bad
	}
	if a := m.Get("Accept"); m.Has("Accept") && !strings.Contains(a, dialogInfoType) && !strings.Contains(a, "*/*") {
		return sipwire.Answer(m, 406, "Not Acceptable", sipwire.Token())
	}
	expires := defaultExpires
	if n, ok := m.Seconds("Expires"); ok {
		expires = min(time.Duration(n)*time.Second, maxExpires)
	}
	sub := s.subscriptions[keyOf(m)]
	tag := sipwire.Param(m.Get("To"), "tag")
	cseq, _ := m.CSeq()
	switch {
	case tag != "" && (sub == nil || sub.over != "" || sipwire.Param(sub.local, "tag") != tag):
		return sipwire.Answer(m, 481, "Subscription does not exist", "")
	case tag != "" && cseq <= sub.theirs:
		return sipwire.Answer(m, 500, "CSeq out of order", "") // RFC 3261 §12.2.2
	case tag == "":
		var no *sipwire.Message
		if sub, no = s.create(m); no != nil {
			return no
		}
	}
	sub.peer, sub.theirs, sub.dirty = p, cseq, true
	if c := m.Get("Contact"); c != "" {
		sub.contact = sipwire.AddrSpec(c)
	}
	if expires == 0 {
		s.end(sub, "timeout")
	} else {
		s.extend(sub, expires)
	}
	ok := sipwire.Answer(m, 200, "OK", sipwire.Param(sub.local, "tag"))
	ok.Add("Contact", s.contact(p))
	ok.Add("Expires", fmt.Sprint(int(expires/time.Second)))
	return ok
}

// create opens a subscription, or tells why not.
func (s *callServer) create(m *sipwire.Message) (*subscription, *sipwire.Message) {
	u, err := sipwire.ParseURI(m.URI)
	line := u.User
	if err != nil || s.b.byNumber[line] == nil {
		return nil, sipwire.Answer(m, 404, "Not Found", sipwire.Token())
	}
	if m.Get("Contact") == "" {
		return nil, sipwire.Answer(m, 400, "No Contact", sipwire.Token())
	}
	if old := s.subscriptions[keyOf(m)]; old != nil {
		s.remove(old) // the subscriber began anew
	}
	s.taken++
	sub := &subscription{
		key: keyOf(m), line: line, callID: m.Get("Call-ID"), cseq: 0,
		local:  m.Get("To") + ";tag=" + sipwire.Token(),
		remote: m.Get("From"),
	}
	s.subscriptions[sub.key] = sub
	if s.byLine[line] == nil {
		s.byLine[line] = map[*subscription]struct{}{}
	}
	s.byLine[line][sub] = struct{}{}
	return sub, nil
}

func (s *callServer) contact(p sipwire.Peer) string {
	return fmt.Sprintf("<sip:callserver@%s;transport=%s>", s.server.Addr(), strings.ToLower(p.Transport()))
}

// extend lets a subscription live on for a time.
func (s *callServer) extend(sub *subscription, d time.Duration) {
	s.b.agenda.Cancel(sub.expiry)
	sub.until = time.Now().Add(d)
	sub.expiry = s.b.agenda.At(sub.until, func(due time.Time) {
		s.b.mu.Lock()
		defer s.b.mu.Unlock()
		if s.subscriptions[sub.key] == sub && !due.Before(sub.until) {
			s.end(sub, "timeout")
			s.flush(sub.key)
		}
	})
}

// end lets a subscription end with its next NOTIFY.
func (s *callServer) end(sub *subscription, reason string) {
	s.b.agenda.Cancel(sub.expiry)
	sub.over, sub.dirty = reason, true
}

// remove forgets a subscription.
func (s *callServer) remove(sub *subscription) {
	s.b.agenda.Cancel(sub.expiry)
	s.landed(sub)
	if s.subscriptions[sub.key] == sub {
		delete(s.subscriptions, sub.key)
	}
	delete(s.byLine[sub.line], sub)
}

// landed ends the NOTIFY in flight.
func (s *callServer) landed(sub *subscription) {
	if n := sub.flight; n != nil {
		s.b.agenda.Cancel(n.again)
		delete(s.flying, n.branch)
		sub.flight = nil
	}
}

// changed notifies the subscribers of some phones' lines.
func (s *callServer) changed(phones ...*phone) {
	for i, p := range phones {
		if slices.ContainsFunc(phones[:i], func(q *phone) bool { return q.Number == p.Number }) {
			continue
		}
		for sub := range s.byLine[p.Number] {
			sub.dirty = true
			s.flush(sub.key)
		}
	}
}

// ended notes for each subscriber that a phone's dialog is over; changed tells it.
func (s *callServer) ended(p, by *phone) {
	for sub := range s.byLine[p.Number] {
		if len(sub.ended) < maxEnded {
			sub.ended = append(sub.ended, s.b.ended(p, by))
		}
	}
}

// flush sends what a subscriber does not know yet, unless a NOTIFY is in flight.
func (s *callServer) flush(key string) {
	sub := s.subscriptions[key]
	if sub == nil || !sub.dirty || sub.flight != nil {
		return
	}
	if !sub.peer.Alive() {
		u, err := sipwire.ParseURI(sub.contact)
		if err == nil {
			sub.peer, err = s.server.Dial(u)
		}
		if err != nil {
			s.b.log.Debug("branch: subscriber is gone", "peer", sub.contact, "err", err)
			s.remove(sub)
			return
		}
	}
	sub.dirty = false
	n := &notify{sub: sub, branch: "z9hG4bK" + sipwire.Token(), began: time.Now(), wait: t1, last: sub.over != ""}
	n.wire = s.notification(sub, n.branch).Bytes()
	sub.flight = n
	s.flying[n.branch] = n
	sub.peer.Send(n.wire)
	s.resend(n, n.began)
}

func (s *callServer) notification(sub *subscription, branch string) *sipwire.Message {
	dialogs := sub.ended
	sub.ended = nil
	for _, p := range s.b.byNumber[sub.line] {
		if p.call != nil {
			dialogs = append(dialogs, s.b.dialogOf(p))
		}
	}
	sub.cseq++
	m := &sipwire.Message{Method: "NOTIFY", URI: sub.contact}
	m.Add("Via", fmt.Sprintf("SIP/2.0/%s %s;branch=%s", sub.peer.Transport(), s.server.Addr(), branch))
	m.Add("Max-Forwards", "70")
	m.Add("From", sub.local)
	m.Add("To", sub.remote)
	m.Add("Call-ID", sub.callID)
	m.Add("CSeq", fmt.Sprintf("%d NOTIFY", sub.cseq))
	m.Add("Contact", s.contact(sub.peer))
	m.Add("Event", "dialog")
	m.Add("User-Agent", "Cisco-CUCM12.5")
	if sub.over != "" {
		m.Add("Subscription-State", "terminated;reason="+sub.over)
	} else {
		m.Add("Subscription-State", fmt.Sprintf("active;expires=%d", max(int(time.Until(sub.until)/time.Second), 0)))
	}
	m.Add("Content-Type", dialogInfoType)
	m.Body = s.b.dialogInfo(sub.line, sub.version, dialogs)
	sub.version++
	return m
}

// resend plans the next retransmission, or the end of a subscriber that is silent.
func (s *callServer) resend(n *notify, from time.Time) {
	n.again = s.b.agenda.At(from.Add(n.wait), func(due time.Time) {
		s.b.mu.Lock()
		defer s.b.mu.Unlock()
		switch {
		case n.sub.flight != n:
		case due.Sub(n.began) >= giveUp:
			s.remove(n.sub) // RFC 6665 §4.2.2
		default:
			if n.sub.peer.Transport() == "UDP" {
				n.sub.peer.Send(n.wire)
			}
			n.wait = min(2*n.wait, t2)
			s.resend(n, due)
		}
	})
}

// answered takes the response to a NOTIFY.
func (s *callServer) answered(m *sipwire.Message) {
	n := s.flying[sipwire.Param(m.Get("Via"), "branch")]
	if n == nil || m.Status < 200 {
		return
	}
	sub := n.sub
	s.landed(sub)
	if m.Status >= 300 || n.last {
		s.remove(sub)
		return
	}
	s.flush(sub.key)
}

// Subscriptions is how many dialog subscriptions the call server holds, and
// how many it has ever taken.
func (b *Branch) Subscriptions() (held int, taken uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.lines.subscriptions), b.lines.taken
}

// DropSubscriptions ends all dialog subscriptions with "deactivated": a
// subscriber is to subscribe again at once (RFC 6665 §4.1.3). With silently
// it says nothing, like a call server that was restarted.
func (b *Branch) DropSubscriptions(silently bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	subs := slices.SortedFunc(maps.Values(b.lines.subscriptions), func(x, y *subscription) int {
		return cmp.Compare(x.key, y.key)
	})
	for _, sub := range subs {
		if silently {
			b.lines.remove(sub)
			continue
		}
		b.lines.end(sub, "deactivated")
		b.lines.flush(sub.key)
	}
}
