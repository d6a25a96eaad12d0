package simple

import (
	"strings"
	"testing"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/pidf"
)

const alice = "sip:alice@example.com"

func TestAWatcherHearsThePresentStateThenEachChange(t *testing.T) {
	s := newServer(t)
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	d := bob.subscribe(request{uri: alice})
	if got := d.first.h.Get("Subscription-State"); !strings.HasPrefix(got, "active;expires=3") || d.first.h.Get("Event") != "presence" || d.first.h.Get("Contact") == "" {
		t.Errorf("the first NOTIFY: %s\n%v", got, d.first.h)
	}
	tag := agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	n := bob.notify()
	if !strings.Contains(n.body, "busy") || n.cseq() <= d.first.cseq() || n.h.Get("Content-Type") != pidf.ContentType {
		t.Errorf("after the PUBLISH: CSeq %d\n%s", n.cseq(), n.body)
	}
	tag = agent.publish(alice, tag, "") // a refresh changes nothing, and tells nobody
	bob.silent(150 * time.Millisecond)
	agent.publish(alice, tag, pidfOf(alice, "open", "away"))
	if n := bob.notify(); !strings.Contains(n.body, "away") {
		t.Errorf("after the change:\n%s", n.body)
	}
}

// A call that is answered moves the line's dialogs, and the time; it tells nothing
// new to who watches the person.
func TestWhatDiffersInItsTimestampsAloneTellsNobody(t *testing.T) {
	s := newServer(t)
	bob := newPhone(s, "bob")
	bob.subscribe(request{uri: alice})
	for i, state := range []presence.LineState{presence.LineEarly, presence.LineConfirmed} {
		err := s.ledger.Observe(t.Context(), presence.Observation{Source: "dialog/pbx", Of: "sip:1001@example.com", Seen: time.Now().Add(time.Duration(i) * time.Second), TTL: time.Hour,
			Facts: presence.Facts{Calls: &presence.Calls{Exact: true, Lines: []presence.Line{{Number: "1001", State: state, Outgoing: true}}}}})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			bob.until("on-the-phone")
		}
	}
	bob.silent(200 * time.Millisecond)
	a, b := timeless([]byte("<a><timestamp>1</timestamp><dm:timestamp>2</dm:timestamp></a>")), timeless([]byte("<a><timestamp>3</timestamp><dm:timestamp/></a>"))
	if string(a) != "<a><timestamp></timestamp><dm:timestamp></dm:timestamp></a>" || string(b) == string(a) {
		t.Errorf("%s and %s", a, b)
	}
}

func TestASubscriptionIsRefreshedFetchedAndEnded(t *testing.T) {
	s := newServer(t)
	bob := newPhone(s, "bob")
	d := bob.subscribe(request{uri: alice, expires: "600"})
	refresh := request{method: "SUBSCRIBE", uri: alice, event: "presence", callID: d.callID, toTag: d.toTag, cseq: 2}
	bob.send(refresh)
	if m := bob.response(); m.status != 200 || m.h.Get("Expires") != "3600" {
		t.Fatalf("refresh: %s, Expires %s", m.line, m.h.Get("Expires"))
	}
	if n := bob.notify(); n.cseq() != d.first.cseq()+1 || !strings.HasPrefix(n.h.Get("Subscription-State"), "active") {
		t.Errorf("after the refresh: CSeq %d, %v", n.cseq(), n.h)
	}
	refresh.cseq = 2 // again, as another transaction
	bob.refused(500, refresh)
	refresh.cseq, refresh.expires = 3, "0"
	bob.send(refresh)
	if m := bob.response(); m.status != 200 || m.h.Get("Expires") != "0" {
		t.Fatalf("unsubscribe: %s", m.line)
	}
	if n := bob.notify(); n.h.Get("Subscription-State") != "terminated;reason=timeout" || n.body == "" {
		t.Errorf("at the end: %v", n.h)
	}
	refresh.cseq, refresh.expires = 4, "600"
	bob.refused(481, refresh)

	fetch := bob.subscribe(request{uri: alice, expires: "0"})
	if fetch.first.h.Get("Subscription-State") != "terminated;reason=timeout" || fetch.first.body == "" {
		t.Errorf("a fetch: %v\n%s", fetch.first.h, fetch.first.body)
	}
	s.until("nothing is left", func() bool { return s.driver.Stats().Subscriptions["presence"] == 0 })
}

func TestASubscribeThatCannotBeServed(t *testing.T) {
	s := newServer(t, func(s *server) {
		s.rules.List = []access.WatchRule{{Of: alice, Watcher: "sip:mallory@example.com", Do: access.Block}}
	})
	bob := newPhone(s, "bob")
	for _, tc := range []struct {
		name   string
		r      request
		status int
		header string
		value  string
	}{
		{"to no one", request{uri: "sip:nobody@example.com", event: "presence"}, 404, "", ""},
		{"too short", request{uri: alice, event: "presence", expires: "5"}, 423, "Min-Expires", "60"},
		{"too long", request{uri: alice, event: "presence", expires: "4294967296"}, 200, "Expires", "86400"},
		{"no number", request{uri: alice, event: "presence", expires: "soon"}, 400, "", ""},
		{"a package that is not served", request{uri: alice, event: "moon-phase"}, 489, "Allow-Events", "presence, dialog, message-summary"},
		{"no package", request{uri: alice}, 489, "", ""},
		{"accepts nothing of it", request{uri: alice, event: "presence", header: "Accept: text/plain\r\n"}, 406, "", ""},
		{"an unknown dialog", request{uri: alice, event: "presence", toTag: "abc"}, 481, "", ""},
		{"requires the moon", request{uri: alice, event: "presence", header: "Require: moon\r\n"}, 420, "Unsupported", "moon"},
		{"somebody else's watchers", request{uri: alice, event: "presence.winfo"}, 403, "", ""},
	} {
		tc.r.method = "SUBSCRIBE"
		m := bob.refused(tc.status, tc.r)
		if tc.header != "" && m.h.Get(tc.header) != tc.value {
			t.Errorf("%s: %s: %q, want %q", tc.name, tc.header, m.h.Get(tc.header), tc.value)
		}
	}
	newPhone(s, "mallory").refused(403, request{method: "SUBSCRIBE", uri: alice, event: "presence"})
}

// At most one NOTIFY is under way; what came meanwhile is told by the next.
func TestASlowWatcherHearsTheNewestStateOnce(t *testing.T) {
	s := newServer(t)
	slow, agent := newPhone(s, "bob"), newPhone(s, "alice")
	d := slow.subscribe(request{uri: alice})
	slow.mute = true
	tag := agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	first := slow.notify()
	for _, activity := range []string{"away", "meal", "vacation"} {
		tag = agent.publish(alice, tag, pidfOf(alice, "open", activity))
	}
	// A retransmission of the first, and nothing else.
	if m, ok := slow.read(2 * time.Second); !ok || m.cseq() != first.cseq() || m.h.Get("Via") != first.h.Get("Via") {
		t.Fatalf("beside the NOTIFY under way: %q, CSeq %v", m.line, m.h["Cseq"])
	}
	slow.mute = false
	slow.answer(first, "200 OK", "")
	n := slow.notify()
	for n.cseq() == first.cseq() { // one that was on its way
		n = slow.notify()
	}
	if n.cseq() != first.cseq()+1 || !strings.Contains(n.body, "out") && !strings.Contains(n.body, "vacation") {
		t.Errorf("CSeq %d after %d:\n%s", n.cseq(), first.cseq(), n.body)
	}
	slow.silent(150 * time.Millisecond)
	_ = d
}

func TestWhatANotifyIsAnsweredDecides(t *testing.T) {
	for _, tc := range []struct {
		answer string
		goesOn bool
	}{{"481 Gone", false}, {"404 Not Found", false}, {"489 Bad Event", false}, {"500 Oops", true}, {"503 Busy\r\nRetry-After: 1", true}} {
		s := newServer(t)
		bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
		bob.subscribe(request{uri: alice})
		bob.mute = true
		agent.publish(alice, "", pidfOf(alice, "open", "busy"))
		bob.answer(bob.notify(), tc.answer, "")
		s.until(tc.answer, func() bool { return s.driver.Stats().Failed == 1 })
		if n := s.driver.Stats().Subscriptions["presence"]; (n == 1) != tc.goesOn {
			t.Errorf("%q: %d subscriptions", tc.answer, n)
		}
		s.stop()
	}
}

func TestARestartTellsTheSameDialogsWithHigherNumbers(t *testing.T) {
	s := newServer(t)
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	d := bob.subscribe(request{uri: alice, event: "presence;id=7"})
	agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	last := bob.notify()
	s.stop()
	s.start()
	n := bob.notify()
	if n.cseq() <= last.cseq() || n.h.Get("Call-Id") != d.callID || n.h.Get("Event") != "presence;id=7" || !strings.Contains(n.body, "busy") {
		t.Errorf("after the restart: CSeq %d after %d, Event %s\n%s", n.cseq(), last.cseq(), n.h.Get("Event"), n.body)
	}
	bob.send(request{method: "SUBSCRIBE", uri: alice, event: "presence;id=7", callID: d.callID, toTag: d.toTag, cseq: 2})
	if m := bob.response(); m.status != 200 {
		t.Errorf("a refresh after the restart: %s", m.line)
	}
}

func TestAPublicationIsHeldToRFC3903(t *testing.T) {
	s := newServer(t)
	a := newPhone(s, "alice")
	pub := func(etag, expires, kind, body string) request {
		r := request{method: "PUBLISH", uri: alice, event: "presence", expires: expires, kind: kind, body: body}
		if etag != "" {
			r.header = "SIP-If-Match: " + etag + "\r\n"
		}
		return r
	}
	busy := pidfOf(alice, "open", "busy")
	a.refused(404, request{method: "PUBLISH", uri: "sip:nobody@example.com", event: "presence", kind: pidf.ContentType, body: busy})
	a.refused(489, request{method: "PUBLISH", uri: alice, event: "moon-phase", kind: pidf.ContentType, body: busy})
	a.refused(412, pub("unknown", "", pidf.ContentType, busy))
	a.refused(400, pub("a, b", "", pidf.ContentType, busy))
	a.refused(423, pub("", "5", pidf.ContentType, busy))
	if m := a.refused(415, pub("", "", "text/plain", "hello")); m.h.Get("Accept") != pidf.ContentType {
		t.Errorf("Accept: %s", m.h.Get("Accept"))
	}
	a.refused(400, pub("", "", pidf.ContentType, "<presence"))
	a.refused(400, pub("", "", pidf.ContentType, `<!DOCTYPE x [<!ENTITY e "boom">]><presence xmlns="urn:ietf:params:xml:ns:pidf">&e;</presence>`))
	a.refused(400, pub("", "", "", ""))
	seen := map[string]bool{}
	tag := ""
	for _, body := range []string{busy, "", pidfOf(alice, "open", "away"), ""} {
		if tag = a.publish(alice, tag, body); seen[tag] {
			t.Errorf("the tag %s is given twice", tag)
		}
		seen[tag] = true
	}
	m := a.refused(200, pub(tag, "0", "", ""))
	if m.h.Get("Expires") != "0" || m.h.Get("Sip-Etag") == "" {
		t.Errorf("removed: %v", m.h)
	}
	a.refused(412, pub(tag, "", "", ""))
}

func TestWhoMayDoWhat(t *testing.T) {
	s := newServer(t, func(s *server) {
		s.c.Peers, s.c.Trusted = nil, nil
		s.c.Peers = []Peer{{Name: "elsewhere", From: s.cidr("192.0.2.0/24"), May: []string{"subscribe"}}}
	})
	a := newPhone(s, "bob")
	a.refused(403, request{method: "SUBSCRIBE", uri: alice, event: "presence"})
	a.refused(403, request{method: "PUBLISH", uri: alice, event: "presence", kind: pidf.ContentType, body: pidfOf(alice, "open", "busy")})
	s.stop()
	s.c.Trusted = append(s.c.Trusted, s.cidr("127.0.0.0/8"))
	s.start()
	a.subscribe(request{uri: alice})
	a.refused(403, request{method: "PUBLISH", uri: alice, event: "presence", kind: pidf.ContentType, body: pidfOf(alice, "open", "busy")})
}

func TestAPolitelyBlockedWatcherSeesSomebodyOffline(t *testing.T) {
	s := newServer(t, func(s *server) {
		s.rules.List = []access.WatchRule{{Of: alice, Watcher: "sip:bob@example.com", Do: access.PoliteBlock}}
	})
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	d := bob.subscribe(request{uri: alice})
	if !strings.Contains(d.first.body, "closed") || strings.Contains(d.first.body, "Alice") {
		t.Errorf("%s", d.first.body)
	}
	agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	bob.silent(150 * time.Millisecond)
}

func TestAPendingWatcherHearsNothing(t *testing.T) {
	s := newServer(t, func(s *server) { s.rules.Default = access.Confirm })
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	d := bob.subscribe(request{uri: alice})
	if !strings.HasPrefix(d.first.h.Get("Subscription-State"), "pending;expires=") || d.first.body != "" {
		t.Errorf("%v\n%s", d.first.h, d.first.body)
	}
	agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	bob.silent(150 * time.Millisecond)
}

func TestALinesDialogsAreTold(t *testing.T) {
	s := newServer(t)
	bob := newPhone(s, "bob")
	d := bob.subscribe(request{uri: "sip:1001@example.com", event: "dialog"})
	if !strings.Contains(d.first.body, `version="0"`) || !strings.Contains(d.first.body, `state="full"`) {
		t.Errorf("%s", d.first.body)
	}
	talking := presence.Observation{Source: "dialog/pbx", Of: "sip:1001@example.com", Seen: time.Now(), TTL: time.Hour,
		Facts: presence.Facts{Calls: &presence.Calls{Exact: true, Lines: []presence.Line{{Number: "1001", State: presence.LineConfirmed}}}}}
	if err := s.ledger.Observe(t.Context(), talking); err != nil {
		t.Fatal(err)
	}
	n := bob.notify()
	if !strings.Contains(n.body, `version="1"`) || !strings.Contains(n.body, "confirmed") {
		t.Errorf("%s", n.body)
	}
}
