package simple

import (
	"crypto/md5"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pilotlight/drivers/internal/sip"
)

// keys is what a phone with lamps subscribes to.
const keys = 20

// soon is in how long a watcher that is back is told.
const soon = 100 * time.Millisecond

// blf is a phone by stream that watches alice by so many dialogs, and the bob who
// changes her state.
type blf struct {
	*phone
	s       *server
	agent   *phone
	dialogs map[string]*dialog // by Call-ID
	tag     string
	said    int
}

// herDesk is where nobody listens.
const herDesk = "sip:me@127.0.0.77:9"

func newBLF(s *server, from string, n int) *blf {
	b := &blf{phone: newStream(s, "bob", from), s: s, agent: newPhone(s, "alice"), dialogs: map[string]*dialog{}}
	b.where = herDesk
	for range n {
		d := b.subscribe(request{uri: alice})
		b.dialogs[d.callID] = d
	}
	return b
}

// hangsUp ends the stream; all are missed then, and what changes is told nobody.
func (b *blf) hangsUp() {
	b.s.t.Helper()
	before := b.s.driver.Stats().Unreachable
	b.tcp.Close()
	b.s.unreachable(before + len(b.dialogs))
}

func (b *blf) changes() {
	b.s.t.Helper()
	b.said++
	b.tag = b.agent.publish(alice, b.tag, pidfOf(alice, "open", []string{"away", "busy"}[b.said%2]))
}

func (s *server) unreachable(n int) {
	s.t.Helper()
	s.until(fmt.Sprint(n, " are missed"), func() bool { return s.driver.Stats().Unreachable == n })
}

// comesBack is the same phone by a new stream.
func (b *blf) comesBack(from string) *phone {
	p := newStream(b.s, "bob", from)
	p.tag, p.where = b.phone.tag, herDesk
	return p
}

// hears takes NOTIFYs at p until each dialog had one that says word.
func (b *blf) hears(p *phone, word string) {
	b.s.t.Helper()
	began := time.Now()
	heard := map[string]bool{}
	for len(heard) < len(b.dialogs) {
		m, ok := p.read(patience)
		d := b.dialogs[m.h.Get("Call-Id")]
		switch {
		case !ok:
			b.s.t.Fatalf("%d of %d dialogs are told", len(heard), len(b.dialogs))
		case m.method != "NOTIFY" || d == nil:
			continue
		case m.cseq() <= d.first.cseq() || !strings.Contains(m.body, word):
			b.s.t.Errorf("CSeq %d of %q\n%s", m.cseq(), m.h.Get("Call-Id"), m.body)
		}
		heard[m.h.Get("Call-Id")] = true
	}
	if took := time.Since(began); took > soon {
		b.s.t.Errorf("told within %v", took)
	}
	b.s.unreachable(0)
}

// neighbour is another device at an address, so that nobody guesses there.
func neighbour(s *server, from string) *phone {
	p := newStream(s, "carol", from)
	p.subscribe(request{uri: "sip:bob@example.com"})
	return p
}

// Whatever request names the contact over a new stream brings all its dialogs back.
func TestAPhoneThatIsBackIsToldInAllItsDialogsAtItsFirstRequest(t *testing.T) {
	for name, ask := range map[string]request{
		"OPTIONS":   {method: "OPTIONS", uri: "sip:example.com"},
		"REGISTER":  {method: "REGISTER", uri: "sip:example.com"}, // refused
		"SUBSCRIBE": {method: "SUBSCRIBE", uri: "sip:bob@example.com", event: "presence"},
		"PUBLISH":   {method: "PUBLISH", uri: "sip:bob@example.com", event: "presence", kind: "text/plain", body: "x"},
		"MESSAGE":   {method: "MESSAGE", uri: "sip:nobody@example.com", kind: "text/plain", body: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			neighbour(s, "127.0.0.7")
			b := newBLF(s, "127.0.0.7", keys)
			b.hangsUp()
			b.changes()
			p := b.comesBack("127.0.0.7")
			p.silent(soon / 2)
			p.send(ask)
			p.response()
			b.hears(p, "busy")
		})
	}
}

// Somebody else's contact, or somebody else's address, brings nobody back.
func TestWhoNamesAnotherContactOrComesFromElsewhereIsNotToldOf(t *testing.T) {
	s := newServer(t)
	neighbour(s, "127.0.0.7")
	b := newBLF(s, "127.0.0.7", 2)
	b.hangsUp()
	other := newStream(s, "bob", "127.0.0.7")
	elsewhere := b.comesBack("127.0.0.8")
	for _, p := range []*phone{other, elsewhere} {
		p.send(request{method: "OPTIONS", uri: "sip:example.com"})
		p.response()
		p.silent(soon)
	}
	s.unreachable(2)
}

// A stream that says nothing is its phone's, where nobody else can have opened it.
func TestAPhoneThatIsAloneAtItsAddressIsToldAsSoonAsItIsBack(t *testing.T) {
	s := newServer(t)
	b := newBLF(s, "127.0.0.7", keys)
	b.hangsUp()
	b.changes()
	p := b.comesBack("127.0.0.7")
	b.hears(p, "busy")
	b.changes() // all hang on this stream now
	b.hears(p, "away")
	b.phone = p
	b.hangsUp()
}

// What was guessed wrong is taken back, and ends nothing; nobody guesses again soon.
func TestAWrongGuessEndsNothing(t *testing.T) {
	for _, answer := range []string{"481 Gone", "404 Not Found", "503 Busy", ""} {
		t.Run(answer, func(t *testing.T) {
			s := newServer(t)
			b := newBLF(s, "127.0.0.7", 3)
			b.hangsUp()
			b.changes()
			stranger := b.comesBack("127.0.0.7")
			stranger.mute = true
			n := stranger.notify()
			if answer == "" {
				stranger.tcp.Close()
			} else {
				stranger.answer(n, answer, "")
				stranger.silent(soon)
			}
			s.until("it is known", func() bool { return s.driver.Stats().Failed > 0 })
			s.unreachable(3)
			if n := s.driver.Stats().Subscriptions["presence"]; n != 3 {
				t.Fatalf("%d subscriptions", n)
			}
			stranger.tcp.Close()
			s.until("it is gone", func() bool { return len(s.visitors("127.0.0.7")) == 0 })
			p := b.comesBack("127.0.0.7")
			p.silent(soon)
			p.send(request{method: "OPTIONS", uri: "sip:example.com"})
			p.response()
			b.hears(p, "busy")
		})
	}
}

func (s *server) visitors(from string) []sip.Visitor {
	return s.driver.n.Endpoint.Visitors(netip.MustParseAddr(from))
}

// Nothing is guessed where several devices may be: of two contacts, beside another
// stream, beside a watcher by UDP.
func TestNothingIsGuessedWhereSeveralMayBe(t *testing.T) {
	for name, others := range map[string]func(*server){
		"another stream":  func(s *server) { newStream(s, "carol", "127.0.0.1") },
		"another contact": func(s *server) { neighbour(s, "127.0.0.1").tcp.Close() },
		"a watcher by UDP": func(s *server) {
			newPhone(s, "carol").subscribe(request{uri: alice})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			b := newBLF(s, "127.0.0.1", 2)
			others(s)
			b.tcp.Close()
			s.until("they are missed", func() bool { return s.driver.Stats().Unreachable >= 2 })
			b.comesBack("127.0.0.1").silent(2 * soon)
		})
	}
}

// With a password: neither silence nor a contact says who somebody is, only the
// same password does.
func TestWhoProvedByDigestIsToldWhenSheProvesItAgain(t *testing.T) {
	password := func(user string) (string, bool) { return "secret of " + user, true }
	s := newServer(t, func(s *server) {
		s.c.Peers = nil
		s.guard = sip.NewGuard("example.com", []byte("key"), password)
	})
	digest := func(p *phone, r request) request {
		p.send(r)
		user := strings.TrimSuffix(strings.TrimPrefix(p.from, "sip:"), "@example.com")
		r.header = authorization(p.response(), user, "secret of "+user, "SUBSCRIBE", r.uri)
		return r
	}
	p := newStream(s, "bob", "127.0.0.7")
	p.where = herDesk
	b := &blf{phone: p, s: s, dialogs: map[string]*dialog{}}
	for range 3 {
		d := p.subscribe(digest(p, request{method: "SUBSCRIBE", uri: alice, event: "presence", cseq: 1}))
		b.dialogs[d.callID] = d
	}
	b.hangsUp()
	for range 2 {
		silent := b.comesBack("127.0.0.7")
		silent.silent(soon)
		silent.send(request{method: "OPTIONS", uri: "sip:example.com"})
		silent.response()
		silent.silent(soon)
		carol := b.comesBack("127.0.0.7")
		carol.from = "sip:carol@example.com"
		d := carol.subscribe(digest(carol, request{method: "SUBSCRIBE", uri: alice, event: "presence", cseq: 1, expires: "0"}))
		if carol.silent(soon); d.callID == "" {
			t.Fatal()
		}
		silent.tcp.Close()
		carol.tcp.Close()
		s.stop() // and a restart has not forgotten it
		s.start()
		s.unreachable(3)
	}
	again := b.comesBack("127.0.0.7")
	again.send(digest(again, request{method: "SUBSCRIBE", uri: "sip:bob@example.com", event: "presence", cseq: 1}))
	again.response()
	b.hears(again, "")
}

// authorization answers a challenge by MD5.
func authorization(m message, user, password, method, uri string) string {
	sum := func(parts ...string) string { return fmt.Sprintf("%x", md5.Sum([]byte(strings.Join(parts, ":")))) }
	for _, c := range m.h["Www-Authenticate"] {
		_, nonce, _ := strings.Cut(c, `nonce="`)
		nonce, _, _ = strings.Cut(nonce, `"`)
		if strings.Contains(c, "MD5") {
			answer := sum(sum(user, "example.com", password), nonce, "00000001", "c", "auth", sum(method, uri))
			return fmt.Sprintf(`Authorization: Digest username="%s", realm="example.com", nonce="%s", uri="%s", qop=auth, nc=00000001, cnonce="c", algorithm=MD5, response="%s"`+"\r\n",
				user, nonce, uri, answer)
		}
	}
	return ""
}
