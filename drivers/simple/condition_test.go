package simple

import (
	"strings"
	"testing"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
)

func suppress(tag string) string { return "Suppress-If-Match: " + tag + "\r\n" }

func tagIn(t testing.TB, m message) string {
	t.Helper()
	tag := m.h.Get("Sip-Etag")
	if tag == "" || strings.Trim(tag, "0123456789abcdef") != "" { // CN-01: a token, and never *
		t.Errorf("SIP-ETag %q: %v", tag, m.h)
	}
	return tag
}

// CN-02, CN-03: who names what there is, is told nothing, and is told when it changes.
func TestARefreshThatNamesTheStateIsNotTold(t *testing.T) {
	for _, c := range []struct {
		name, uri, event, header string
		change                   bool // of alice's presence changes it
	}{
		{"presence", alice, "presence", "", true},
		{"dialog", "sip:1001@example.com", "dialog", "", false},
		{"message-summary", alice, "message-summary", "", false},
		{"a list", team, "presence", listing, true},
		{"a list of lines", team, "dialog", listing, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newListServer(t)
			bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
			d := bob.subscribe(request{uri: c.uri, event: c.event, header: c.header})
			tag := tagIn(t, d.first)
			bob.send(d.again(2, "600", suppress(tag)+c.header))
			if m := bob.response(); m.status != 204 || m.h.Get("Expires") != "600" || (m.h.Get("Require") == "eventlist") != (c.header != "") {
				t.Fatalf("%s %v", m.line, m.h)
			}
			bob.silent(100 * time.Millisecond)
			bob.send(d.again(3, "", suppress("other")+c.header))
			if m := bob.response(); m.status != 200 {
				t.Fatal(m.line)
			}
			if n := bob.notify(); n.body == "" || tagIn(t, n) != tag { // the same state, the same tag
				t.Errorf("%v\n%s", n.h, n.body)
			}
			if c.change {
				agent.publish(alice, "", pidfOf(alice, "open", "busy"))
				n := bob.notify()
				if n.body == "" || tagIn(t, n) == tag {
					t.Errorf("%v\n%s", n.h, n.body)
				}
				for m, ok := n, true; ok; m, ok = bob.read(200 * time.Millisecond) {
					tag = tagIn(t, m)
				}
			}
			bob.send(d.again(4, "0", suppress(tag)+c.header)) // CN-03
			if m := bob.response(); m.status != 204 || m.h.Get("Expires") != "0" {
				t.Fatalf("the end: %s", m.line)
			}
			bob.silent(100 * time.Millisecond)
			bob.refused(481, d.again(5, "", ""))
			if n := s.driver.Stats().Subscriptions[c.event]; n != 0 {
				t.Errorf("%d subscriptions", n)
			}
		})
	}
}

// CN-02: in a new dialog the state of the subscription is told, and no more.
func TestANewSubscriptionThatNamesTheState(t *testing.T) {
	for _, c := range []struct{ name, uri, event, header string }{
		{"presence", alice, "presence", ""}, {"dialog", "sip:1001@example.com", "dialog", ""}, {"a list", team, "presence", listing},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newListServer(t)
			bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
			tag := tagIn(t, bob.subscribe(request{uri: c.uri, event: c.event, header: c.header, expires: "0"}).first)
			fetch := bob.subscribe(request{uri: c.uri, event: c.event, header: c.header + suppress(tag), expires: "0"}).first
			d := bob.subscribe(request{uri: c.uri, event: c.event, header: c.header + suppress(tag)})
			for _, n := range []message{fetch, d.first} {
				if n.body != "" || n.h.Get("Content-Type") != "" || tagIn(t, n) != tag {
					t.Errorf("%v\n%s", n.h, n.body)
				}
			}
			if !strings.HasPrefix(d.first.h.Get("Subscription-State"), "active") || !strings.HasPrefix(fetch.h.Get("Subscription-State"), "terminated") {
				t.Errorf("%v %v", d.first.h, fetch.h)
			}
			if c.event == "presence" {
				agent.publish(alice, "", pidfOf(alice, "open", "busy"))
				if n := bob.notify(); n.body == "" || tagIn(t, n) == tag {
					t.Errorf("%v", n.h)
				} else if c.header != "" && !listed(t, n).List.Full { // it was never told in this dialog
					t.Error("in part")
				}
			}
		})
	}
}

// CN-04: * pauses, over a restart too, till the next SUBSCRIBE.
func TestAPausedSubscription(t *testing.T) {
	s := newServer(t)
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	d := bob.subscribe(request{uri: alice})
	bob.send(d.again(2, "", suppress("*")))
	if m := bob.response(); m.status != 204 {
		t.Fatal(m.line)
	}
	tag := agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	bob.silent(100 * time.Millisecond)
	s.stop()
	s.start()
	agent.publish(alice, tag, pidfOf(alice, "open", "away"))
	bob.silent(200 * time.Millisecond)
	bob.send(d.again(3, "", suppress(tagIn(t, d.first))))
	if m := bob.response(); m.status != 200 {
		t.Fatal(m.line)
	}
	if n := bob.notify(); !strings.Contains(n.body, "away") || n.cseq() <= d.first.cseq() {
		t.Errorf("%s", n.body)
	}
	if n := bob.subscribe(request{uri: alice, header: suppress("*")}).first; n.body != "" || tagIn(t, n) == "" {
		t.Errorf("%v\n%s", n.h, n.body)
	}
}

// CN-01: a tag is of one presentation, and is good in another life of the server.
func TestTagsAreOfOnePresentation(t *testing.T) {
	s := newListServer(t, func(s *server) {
		s.rules.List = []access.WatchRule{{Of: alice, Watcher: "sip:eve@example.com", Do: access.PoliteBlock}, {Of: alice, Watcher: "sip:new@example.com", Do: access.Confirm}}
	})
	seen := map[string]string{}
	all := []struct {
		who, uri, event, header string
	}{
		{"bob", alice, "presence", ""},
		{"eve", alice, "presence", ""},
		{"new", alice, "presence", ""},
		{"bob", "sip:1001@example.com", "presence", ""},
		{"bob", alice, "presence", "Accept: application/cpim-pidf+xml\r\n"},
		{"bob", alice, "presence", "User-Agent: Cisco-CP7961G\r\n"},
		{"bob", alice, "dialog", ""},
		{"bob", alice, "message-summary", ""},
		{"bob", team, "presence", listing},
		{"eve", team, "presence", listing},
		{"bob", team, "dialog", listing},
		{"bob", everybody, "presence", listing},
	}
	for i, c := range all {
		first := newPhone(s, c.who).subscribe(request{uri: c.uri, event: c.event, header: c.header, expires: "0"}).first
		again := newPhone(s, c.who).subscribe(request{uri: c.uri, event: c.event, header: c.header, expires: "0"}).first
		tag := tagIn(t, first)
		if tagIn(t, again) != tag {
			t.Errorf("%v: another tag for the same", c)
		}
		if other := seen[tag]; other != "" {
			t.Errorf("%d has the tag of %s", i, other)
		}
		seen[tag] = c.uri + " " + c.event + " " + c.who
	}
	s.stop()
	s.start()
	for _, c := range all {
		if n := newPhone(s, c.who).subscribe(request{uri: c.uri, event: c.event, header: c.header, expires: "0"}).first; seen[tagIn(t, n)] == "" {
			t.Errorf("%v: another tag after a restart", c)
		}
	}
}

// A dialog's partial documents go on from what a condition confirmed.
func TestDialogsGoOnFromWhatAConditionConfirmed(t *testing.T) {
	s := newServer(t)
	bob := newPhone(s, "bob")
	talk := func(state presence.LineState) {
		t.Helper()
		if err := s.ledger.Observe(t.Context(), presence.Observation{Source: "dialog/pbx", Of: "sip:1001@example.com", Seen: time.Now(), TTL: time.Hour,
			Facts: presence.Facts{Calls: &presence.Calls{Exact: true, Lines: []presence.Line{{Number: "1001", State: state}}}}}); err != nil {
			t.Fatal(err)
		}
	}
	d := bob.subscribe(request{uri: "sip:1001@example.com", event: "dialog"})
	talk(presence.LineEarly)
	n := bob.notify()
	bob.send(d.again(2, "", suppress(tagIn(t, n))))
	if m := bob.response(); m.status != 204 {
		t.Fatal(m.line)
	}
	talk(presence.LineConfirmed)
	if n := bob.notify(); !strings.Contains(n.body, `version="2" state="partial"`) || !strings.Contains(n.body, "confirmed") {
		t.Errorf("%s", n.body)
	}
}

// A NOTIFY under way may change what the watcher has: then a condition is not believed.
func TestAConditionThatANotifyCrosses(t *testing.T) {
	s := newServer(t)
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	tag := agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	d := bob.subscribe(request{uri: alice})
	has := tagIn(t, d.first)
	bob.mute = true
	tag = agent.publish(alice, tag, pidfOf(alice, "open", "away"))
	crossing := bob.notify()
	agent.publish(alice, tag, pidfOf(alice, "open", "busy"))
	bob.send(d.again(2, "", suppress(has)))
	if m := bob.response(); m.status != 200 {
		t.Fatalf("%s, while another state is on its way", m.line)
	}
	bob.mute = false
	bob.answer(crossing, "200 OK", "")
	bob.until("busy")
}
