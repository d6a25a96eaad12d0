package simple

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/sip"
)

const (
	yan = "sip:yan@elsewhere.org"
	bob = presence.Presentity("sip:bob@example.com")
)

// abroad is our server, bob at it, and the server of elsewhere.org by hand.
func abroad(t *testing.T, change ...func(*server)) (s *server, sender, far *phone) {
	t.Helper()
	far = newFar(t)
	s = newServer(t, append([]func(*server){mayMessage, func(s *server) {
		s.c.Peers = append(s.c.Peers, Peer{Name: "centre", From: s.cidr("127.0.0.0/8"), Domains: []string{"Elsewhere.org"},
			Target: "sip:" + far.at + ";transport=udp", May: []string{"message"}})
	}}, change...)...)
	return s, newPhone(s, "bob"), far
}

func (s *server) delivered(to presence.Presentity, n int) {
	s.t.Helper()
	s.until(fmt.Sprintf("%d are delivered to %s", n, to), func() bool {
		got := 0
		for _, m := range s.post.With(bob, to) {
			if m.Delivered {
				got++
			}
		}
		return got == n && len(s.post.Waiting(to)) == 0
	})
}

func TestAMessageGoesToAPeersPerson(t *testing.T) {
	s, sender, far := abroad(t)
	sender.refused(202, text(zoe, "are you there?"))
	sender.refused(202, text("sip:zoe@ELSEWHERE.org;user=phone", "hello? Grüße"))
	m := far.page("are you there?")
	if m.line != "MESSAGE "+zoe+" SIP/2.0" || m.h.Get("Contact") != "" || m.h.Get("Max-Forwards") != "69" || m.h.Get("Date") == "" ||
		!strings.HasPrefix(m.h.Get("From"), "<sip:bob@example.com>;tag=") || m.h.Get("To") != "<"+zoe+">" || m.h.Get("Content-Type") != "text/plain;charset=UTF-8" {
		t.Errorf("%s\n%v", m.line, m.h)
	}
	far.silent(60 * time.Millisecond) // the next only after the last is answered (RFC 3428 §8)
	far.answer(m, "202 Accepted", "")
	m = far.page("hello? Grüße")
	s.stop() // with the answer under way
	far.answer(m, "200 OK", "")
	s.start()
	far.answer(far.page("hello? Grüße"), "200 OK", "") // sooner twice than never
	s.delivered(zoe, 2)
	far.silent(60 * time.Millisecond)
}

func TestAPeersPeopleWriteToOurs(t *testing.T) {
	s, _, far := abroad(t)
	her := desk(s, "alice")
	far.to, far.from, far.tag = net.UDPAddrFromAddrPort(s.addr), zoe, "far"
	far.refused(202, text(alice, "from afar"))
	m := her.page("from afar")
	if !strings.HasPrefix(m.h.Get("From"), "<"+zoe+">") {
		t.Errorf("%v", m.h)
	}
	her.answer(m, "200 OK", "")
	far.refused(404, text("sip:nobody@example.com", "x"))
	far.refused(415, request{method: "MESSAGE", uri: alice, expires: "-", kind: "text/html", body: "x"})
	s.stop()
	s.c.Peers[1].May = nil
	s.start()
	far.refused(403, text(alice, "x"))
}

// An account sends by its own name, wherever it is.
func TestAnAccountWritesToAPeersPerson(t *testing.T) {
	s, _, far := abroad(t, func(s *server) {
		s.c.Peers[0].May = nil
		s.guard = sip.NewGuard("example.com", []byte("secret"), func(user string) (string, bool) { return "pw", user == "bob" })
	})
	stranger := newPhone(s, "x")
	stranger.from = "sip:x@unknown.org"
	m := stranger.refused(401, text(zoe, "x"))
	ch, err := digest.ParseChallenge(m.h.Get("Www-Authenticate"))
	if err != nil {
		t.Fatal(err)
	}
	cred, err := digest.Digest(ch, digest.Options{Method: "MESSAGE", URI: zoe, Count: 1, Username: "bob", Password: "pw"})
	if err != nil {
		t.Fatal(err)
	}
	r := text(zoe, "by password")
	r.header = "Authorization: " + cred.String() + "\r\n"
	stranger.refused(202, r)
	m = far.page("by password")
	if !strings.HasPrefix(m.h.Get("From"), "<sip:bob@example.com>") {
		t.Errorf("%v", m.h)
	}
	far.answer(m, "200 OK", "")
	s.delivered(zoe, 1)
}

func TestNobodyElsesMessageIsPassedOn(t *testing.T) {
	s, sender, far := abroad(t, func(s *server) {
		at := s.c.Peers[1].Target
		s.c.Peers = append(s.c.Peers,
			Peer{Name: "partner", From: s.cidr("127.0.0.0/8"), Domains: []string{"partner.org"}, May: []string{"message"}},
			Peer{Name: "ourselves", From: s.cidr("127.0.0.1/32"), Domains: []string{"single.org"}, Target: at},
			Peer{Name: "both", From: s.cidr("127.0.0.0/8"), Domains: []string{"third.org"}, Target: "sip:127.0.0.9:5060"})
		s.c.Peers[0].Target = "sip:127.0.0.9:5060"
	})
	hops := text(zoe, "x")
	hops.hops = 1
	for _, tc := range []struct {
		name, from string
		r          request
		status     int
	}{
		{"the peer's own user", zoe, text(yan, "x"), 403},
		{"another peer's", "sip:ann@partner.org", text(zoe, "x"), 403},
		{"a stranger's", "sip:x@unknown.org", text(zoe, "x"), 403},
		{"back to its server, by the target", string(bob), text("sip:a@third.org", "x"), 403},
		{"back to its server, by the address", string(bob), text("sip:a@single.org", "x"), 403},
		{"to a domain that nobody has", string(bob), text("sip:a@nowhere.org", "x"), 404},
		{"round and round", string(bob), hops, 483},
		{"to an address in disguise", string(bob), text("sip:zoe%40evil.org%3bx@elsewhere.org", "x"), 404},
		{"of another type", string(bob), request{method: "MESSAGE", uri: zoe, expires: "-", kind: "text/html", body: "x"}, 415},
		{"too long", string(bob), text(zoe, strings.Repeat("x", 5000)), 400},
	} {
		sender.from = tc.from
		sender.send(tc.r)
		if m := sender.response(); m.status != tc.status {
			t.Errorf("%s: %s, want %d", tc.name, m.line, tc.status)
		}
	}
	if n := len(s.post.Recipients()); n != 0 {
		t.Errorf("something is kept for %d all the same", n)
	}
	far.silent(50 * time.Millisecond)
}

// What the far side will never take is told to its sender, and blocks nothing.
func TestARefusedMessageMakesWay(t *testing.T) {
	s, sender, far := abroad(t)
	for _, body := range []string{"one", "two", "three"} {
		sender.refused(202, text(zoe, body))
	}
	far.answer(far.page("one"), "404 Not Found", "")
	far.answer(far.page("two"), "401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n")
	far.answer(far.page("three"), "200 OK", "")
	s.until("the last is delivered", func() bool { return len(s.post.Waiting(zoe)) == 0 })
	far.silent(60 * time.Millisecond)
	s.stop()
	s.start()
	all := s.post.With(bob, "")
	if len(all) != 3 || all[0].Refused != "404 Not Found" || all[1].Refused != "401 Unauthorized" || all[0].Delivered || !all[2].Delivered || all[2].Refused != "" {
		t.Errorf("%+v", all)
	}
}

func TestWhatIsFinal(t *testing.T) {
	for _, tc := range []struct {
		final, temporary []int
		after            string
	}{
		{final: []int{302, 400, 401, 403, 404, 405, 407, 410, 413, 415, 416, 420, 482, 483, 501, 505, 513, 600, 603, 604, 606},
			temporary: []int{408, 480, 486, 491, 500, 502, 503, 504, 580}},
		{final: []int{401, 407, 501, 513}, temporary: []int{404, 413, 480, 500, 503, 600, 603}, after: "60"},
	} {
		var h sip.Header
		if tc.after != "" {
			h.Add("Retry-After", tc.after)
		}
		for want, list := range map[bool][]int{true: tc.final, false: tc.temporary} {
			for _, status := range list {
				if got := final(&sip.Response{Status: status, Header: h}); got != want {
					t.Errorf("%d, Retry-After %q: final is %v", status, tc.after, got)
				}
			}
		}
	}
}

func TestARefusalIsForPeopleToRead(t *testing.T) {
	for reason, want := range map[string]string{"": "404", "Not Found": "404 Not Found", " Nicht\x1b[1m gefunden\xff ": "404 Nicht[1m gefunden", strings.Repeat("ü", 60): "404 " + strings.Repeat("ü", 40)} {
		if got := saying(&sip.Response{Status: 404, Reason: reason}); got != want {
			t.Errorf("%q: %q, want %q", reason, got, want)
		}
	}
}

// A server that is down is left alone for longer each time; nobody else waits for
// it, and when it is there again all arrives in order.
func TestAPeerThatIsDown(t *testing.T) {
	other := newFar(t)
	s, sender, far := abroad(t, func(s *server) {
		s.pause = 50 * time.Millisecond
		s.c.Peers = append(s.c.Peers, Peer{Name: "other", From: s.cidr("127.0.0.0/8"), Domains: []string{"other.org"}, Target: "sip:" + other.at})
	})
	her := desk(s, "alice")
	far.conn.Close()
	for _, body := range []string{"one", "two", "three"} {
		sender.refused(202, text(zoe, body))
	}
	sender.refused(202, text(yan, "you too?"))
	sender.refused(202, text("sip:ann@other.org", "aside"))
	sender.refused(202, text(alice, "at home"))
	other.answer(other.page("aside"), "200 OK", "")
	her.answer(her.page("at home"), "200 OK", "")
	time.Sleep(500 * time.Millisecond)
	conn, err := net.ListenPacket("udp", far.at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	far.conn = conn
	got := map[string][]string{}
	for range 4 {
		m, ok := far.read(patience)
		if !ok || m.method != "MESSAGE" {
			t.Fatalf("%v %s", ok, m.line)
		}
		got[m.h.Get("To")] = append(got[m.h.Get("To")], m.body)
		far.answer(m, "200 OK", "")
	}
	if fmt.Sprint(got) != "map[<sip:yan@elsewhere.org>:[you too?] <sip:zoe@elsewhere.org>:[one two three]]" {
		t.Errorf("%v", got)
	}
	s.delivered(zoe, 3)
	s.delivered(yan, 1)
}

// Silence may be that of one phone behind the server: another's message does not
// wait for it.
func TestSilenceOfOneHoldsUpNobodyElse(t *testing.T) {
	s, sender, far := abroad(t, func(s *server) { s.pause, s.far = 50*time.Millisecond, 100*time.Millisecond })
	sender.refused(202, text(zoe, "into the void"))
	far.page("into the void")
	time.Sleep(150 * time.Millisecond) // is given up
	sender.refused(202, text(yan, "but you?"))
	for {
		m, ok := far.read(patience)
		if !ok {
			t.Fatal("nothing for yan")
		}
		if m.body == "but you?" {
			far.answer(m, "200 OK", "")
			break
		}
	}
	s.delivered(yan, 1)
	if len(s.post.Waiting(zoe)) != 1 {
		t.Error("what is for zoe is gone")
	}
}

func TestAPeersRetryAfterIsKept(t *testing.T) {
	s, sender, far := abroad(t, func(s *server) { s.pause = 20 * time.Millisecond })
	sender.refused(202, text(zoe, "now?"))
	m := far.page("now?")
	at := time.Now()
	far.answer(m, "503 Service Unavailable", "Retry-After: 1\r\n")
	time.Sleep(300 * time.Millisecond)         // it is heard
	sender.refused(202, text(yan, "and you?")) // the whole server wants peace
	for range 2 {
		m, ok := far.read(patience)
		if took := time.Since(at); !ok || took < time.Second {
			t.Fatalf("%s after %v", m.body, took)
		}
		far.answer(m, "200 OK", "")
	}
	s.delivered(zoe, 1)
	s.delivered(yan, 1)
}
