package simple

import (
	"strings"
	"testing"
	"time"

	"pilotlight/agent/presence"
)

// mayMessage makes the bench a peer that may send messages.
func mayMessage(s *server) { s.c.Peers[0].May = append(s.c.Peers[0].May, "message") }

func TestAMessageIsKeptUntilItsRecipientIsThere(t *testing.T) {
	s := newServer(t, mayMessage)
	bob := newPhone(s, "bob")
	text := func(body string) request {
		return request{method: "MESSAGE", uri: alice, expires: "-", kind: "text/plain;charset=UTF-8", body: body}
	}
	m := bob.refused(202, text("are you there?"))
	if m.h.Get("Contact") != "" || m.body != "" {
		t.Errorf("a 202 to MESSAGE with %v", m.h) // RFC 3428 §7
	}
	bob.refused(202, text("hello?"))
	s.stop() // it is on disk
	s.start()
	her := newPhone(s, "alice")
	her.mute = true
	d := her.subscribe(request{uri: "sip:bob@example.com"}) // a device of hers shows up
	her.answer(d.first, "200 OK", "")
	for _, want := range []string{"are you there?", "hello?"} {
		got, ok := her.read(patience)
		if !ok || got.method != "MESSAGE" || got.body != want || !strings.HasPrefix(got.h.Get("From"), "<sip:bob@example.com>") && !strings.Contains(got.h.Get("From"), "sip:bob@example.com") || got.h.Get("Contact") != "" {
			t.Fatalf("%v %v\n%q, want %q", got.line, got.h, got.body, want)
		}
		her.silent(60 * time.Millisecond) // the next only after the last is answered (RFC 3428 §8)
		her.answer(got, "200 OK", "")
	}
	s.until("both are delivered", func() bool { return len(s.post.Waiting(alice)) == 0 })
	if all := s.post.With(alice, presence.Presentity("sip:bob@example.com")); len(all) != 2 || !all[1].Delivered {
		t.Errorf("%+v", all)
	}
}

func TestAMessageThatIsNotTaken(t *testing.T) {
	s := newServer(t, mayMessage)
	bob := newPhone(s, "bob")
	send := func(uri, kind, body string) request {
		return request{method: "MESSAGE", uri: uri, expires: "-", kind: kind, body: body}
	}
	for _, tc := range []struct {
		name   string
		r      request
		status int
	}{
		{"to nobody", send("sip:nobody@example.com", textType, "x"), 404},
		{"to a line", send("sip:1001@example.com", textType, "x"), 404},
		{"of another type", send(alice, "application/im-iscomposing+xml", "<x/>"), 415},
		{"in another charset", send(alice, "text/plain;charset=koi8-r", "x"), 415},
		{"too long", send(alice, textType, strings.Repeat("x", 5000)), 400},
		{"no UTF-8", send(alice, textType, "\xff\xfe"), 400},
	} {
		if m := bob.refused(tc.status, tc.r); tc.status == 415 && m.h.Get("Accept") != textType {
			t.Errorf("%s: Accept %q", tc.name, m.h.Get("Accept"))
		}
	}
	s.stop()
	s.c.Peers, s.c.Trusted = nil, append(s.c.Trusted, s.cidr("127.0.0.0/8"))
	s.start()
	bob.refused(403, send(alice, textType, "x")) // who is trusted may SUBSCRIBE, and nothing else
	if len(s.post.Waiting(alice)) != 0 {
		t.Error("something is kept all the same")
	}
}

// Whoever merely says that she is alice is not told what was written to her.
func TestAMessageGoesToNoDeviceThatOnlyClaimsToBeHers(t *testing.T) {
	s := newServer(t, mayMessage)
	newPhone(s, "bob").refused(202, request{method: "MESSAGE", uri: alice, expires: "-", kind: textType, body: "secret"})
	s.stop()
	s.c.Peers, s.c.Trusted = nil, append(s.c.Trusted, s.cidr("127.0.0.0/8"))
	s.start()
	claims := newPhone(s, "alice")
	claims.subscribe(request{uri: "sip:bob@example.com"})
	claims.silent(200 * time.Millisecond)
}

// text is a message to somebody.
func text(to, body string) request {
	return request{method: "MESSAGE", uri: to, expires: "-", kind: "text/plain;charset=UTF-8", body: body}
}

// page waits for a MESSAGE, and leaves the answer to the test.
func (p *phone) page(body string) message {
	p.t.Helper()
	m, ok := p.read(patience)
	if !ok || m.method != "MESSAGE" || m.body != body {
		p.t.Fatalf("%s\n%v\n%q, want %q", m.line, m.h, m.body, body)
	}
	return m
}

// desk is a device of hers that watches, and so can be brought messages.
func desk(s *server, user string) *phone {
	p := newPhone(s, user)
	p.subscribe(request{uri: "sip:bob@example.com"})
	return p
}

// A phone that takes no text holds nobody up, and loses nothing.
func TestWhatADeviceNeverTakesIsSetAside(t *testing.T) {
	s := newServer(t, mayMessage)
	bob := newPhone(s, "bob")
	bob.refused(202, text(alice, "one"))
	bob.refused(202, text(alice, "two"))
	her := desk(s, "alice")
	her.answer(her.page("one"), "415 Unsupported Media Type", "")
	her.answer(her.page("two"), "200 OK", "")
	s.until("the second is delivered", func() bool { return len(s.post.Waiting(alice)) == 1 })
	bob.refused(202, text(alice, "three"))
	her.answer(her.page("three"), "405 Method Not Allowed", "Allow: OPTIONS\r\n")
	her.silent(100 * time.Millisecond) // is asked once
	if all := s.post.Waiting(alice); len(all) != 2 || all[0].Text != "one" || all[1].Text != "three" || all[0].Refused != "" {
		t.Fatalf("%+v", all)
	}
	other := desk(s, "alice")
	other.answer(other.page("one"), "200 OK", "")
	other.answer(other.page("three"), "200 OK", "")
	s.until("all are delivered", func() bool { return len(s.post.Waiting(alice)) == 0 })
	her.silent(50 * time.Millisecond)
}

// A device that can't for the moment is asked again, later each time, and what is
// behind waits: order holds. Nobody else waits for it.
func TestADeviceThatIsBusyIsAskedAgain(t *testing.T) {
	s := newServer(t, mayMessage, func(s *server) { s.pause = 100 * time.Millisecond })
	her, bob, carol := desk(s, "alice"), newPhone(s, "bob"), desk(s, "bob")
	carol.from = alice
	bob.refused(202, text(alice, "one"))
	bob.refused(202, text(alice, "two"))
	first := her.page("one")
	carol.refused(202, text("sip:bob@example.com", "and I?")) // while she has not answered
	carol.answer(carol.page("and I?"), "200 OK", "")
	for i, answer := range []string{"480 Temporarily Unavailable", "486 Busy Here", "503 Service Unavailable"} {
		at := time.Now()
		her.answer(first, answer, "")
		first = her.page("one")
		if took, least := time.Since(at), 100*time.Millisecond<<i; took < least {
			t.Errorf("asked again after %v, want %v", took, least)
		}
	}
	her.answer(first, "200 OK", "")
	her.answer(her.page("two"), "200 OK", "")
	s.until("both are delivered", func() bool { return len(s.post.Waiting(alice)) == 0 })
}
