package simple

import (
	"strings"
	"testing"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
)

const zoe = "sip:zoe@elsewhere.org"

// federation is our server and another one that has zoe, each the other's peer.
func federation(t *testing.T) (ours, theirs *server) {
	t.Helper()
	theirs = newServer(t, func(s *server) {
		s.c.Domain = "elsewhere.org"
		s.static = []presence.Observation{{Source: "config", Of: zoe, Seen: time.Now(), TTL: presence.Forever, Facts: presence.Facts{Person: &presence.Person{Name: "Zoe"}}}}
		s.c.Peers = append(s.c.Peers, Peer{Name: "branch", From: s.cidr("127.0.0.0/8"), Domains: []string{"example.com"}, May: []string{"subscribe"}})
	})
	ours = newServer(t, func(s *server) {
		s.c.Peers = append(s.c.Peers, Peer{Name: "centre", From: s.cidr("127.0.0.0/8"), Domains: []string{"elsewhere.org"},
			Target: "sip:" + theirs.addr.String() + ";transport=udp", May: []string{"subscribe"}})
	})
	return ours, theirs
}

// until reads NOTIFYs until one has the word.
func (p *phone) until(word string) message {
	p.t.Helper()
	for {
		if n := p.notify(); strings.Contains(n.body, word) {
			return n
		}
	}
}

func TestSomebodyAtAnotherServerIsWatchedThroughOurs(t *testing.T) {
	ours, theirs := federation(t)
	bob, agent := newPhone(ours, "bob"), newPhone(theirs, "zoe")
	agent.from = zoe
	d := bob.subscribe(request{uri: zoe})
	if !strings.HasPrefix(d.first.h.Get("Subscription-State"), "active") || strings.Contains(d.first.body, "open") {
		t.Errorf("before anybody told: %v\n%s", d.first.h, d.first.body)
	}
	tag := agent.publish(zoe, "", pidfOf(zoe, "open", "busy"))
	if n := bob.until("busy"); !strings.Contains(n.body, `entity="`+zoe+`"`) {
		t.Errorf("%s", n.body)
	}
	agent.publish(zoe, tag, pidfOf(zoe, "open", "away"))
	bob.until("away")
	now, err := theirs.driver.Watching(t.Context(), zoe)
	if err != nil || len(now) != 1 || now[0].Watcher != "sip:bob@example.com" {
		t.Errorf("in whose name: %+v, %v", now, err)
	}
	// The other server decides, for each watcher by itself.
	if err := theirs.access.Decide(t.Context(), access.Decision{Of: zoe, Watcher: "sip:bob@example.com", Do: access.Block}); err != nil {
		t.Fatal(err)
	}
	if n := bob.notify(); strings.Contains(n.body, "<basic>open") {
		t.Errorf("what nobody vouches for any more:\n%s", n.body)
	}
	bob.send(request{method: "SUBSCRIBE", uri: zoe, event: "presence", callID: d.callID, toTag: d.toTag, cseq: 2, expires: "0"})
	bob.response()
	bob.notify()
	ours.until("nothing is left", func() bool {
		var left, abroad int
		r := ours.driver.now.get()
		_ = r.do(t.Context(), func() { left, abroad = len(r.subs), r.abroad })
		return left == 0 && abroad == 0
	})
}

func TestSomebodyElsewhereIsWatchedAnewAfterARestart(t *testing.T) {
	ours, theirs := federation(t)
	bob, agent := newPhone(ours, "bob"), newPhone(theirs, "zoe")
	agent.from = zoe
	agent.publish(zoe, "", pidfOf(zoe, "open", "busy"))
	if d := bob.subscribe(request{uri: zoe}); !strings.Contains(d.first.body, "busy") {
		bob.until("busy")
	}
	ours.stop()
	ours.start()
	bob.until("busy")
}

func TestNobodyIsSentRound(t *testing.T) {
	ours, _ := federation(t)
	stranger := newPhone(ours, "x")
	stranger.from = zoe // the peer's own user asks us for the peer's
	stranger.refused(403, request{method: "SUBSCRIBE", uri: "sip:yan@elsewhere.org", event: "presence"})
	bob := newPhone(ours, "bob")
	bob.refused(404, request{method: "SUBSCRIBE", uri: zoe, event: "dialog"})
	bob.refused(404, request{method: "SUBSCRIBE", uri: "sip:a@unknown.org", event: "presence"})
	bob.refused(404, request{method: "PUBLISH", uri: zoe, event: "presence", kind: "application/pidf+xml", body: pidfOf(zoe, "open", "busy")})
}
