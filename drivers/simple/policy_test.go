package simple

import (
	"strings"
	"testing"
	"time"

	"pilotlight/agent/access"
)

// PR-07: what is decided while a subscription stands holds for it at once.
func TestADecisionIsObeyedWhileTheSubscriptionStands(t *testing.T) {
	s := newServer(t, func(s *server) { s.rules.Default = access.Confirm })
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	bob.subscribe(request{uri: alice})
	agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	decide := func(do access.Handling) {
		t.Helper()
		if err := s.access.Decide(t.Context(), access.Decision{Of: alice, Watcher: "sip:bob@example.com", Do: do}); err != nil {
			t.Fatal(err)
		}
	}
	decide(access.Allow)
	if n := bob.notify(); !strings.HasPrefix(n.h.Get("Subscription-State"), "active") || !strings.Contains(n.body, "busy") {
		t.Errorf("allowed: %v\n%s", n.h, n.body)
	}
	decide(access.PoliteBlock)
	if n := bob.notify(); !strings.Contains(n.body, "closed") || strings.Contains(n.body, "busy") {
		t.Errorf("blocked politely:\n%s", n.body)
	}
	decide(access.Block)
	if n := bob.notify(); n.h.Get("Subscription-State") != "terminated;reason=rejected" || strings.Contains(n.body, "busy") {
		t.Errorf("blocked: %v\n%s", n.h, n.body)
	}
	bob.refused(403, request{method: "SUBSCRIBE", uri: alice, event: "presence"})
	bob.silent(100 * time.Millisecond)
}

func TestAPresentitySeesWhoWatchesHer(t *testing.T) {
	s := newServer(t, func(s *server) { s.rules.Default = access.Confirm })
	bob, herself := newPhone(s, "bob"), newPhone(s, "alice")
	herself.subscribe(request{uri: alice, event: "presence.winfo"})
	bob.subscribe(request{uri: alice})
	if n := herself.notify(); !strings.Contains(n.body, `status="pending"`) || !strings.Contains(n.body, "sip:bob@example.com") || !strings.Contains(n.body, `version="1"`) {
		t.Errorf("%s", n.body)
	}
	now, err := s.driver.Watching(t.Context(), alice)
	if err != nil || len(now) != 2 || now[1].Watcher != "sip:bob@example.com" || !now[1].Pending || now[1].Packages[0] != "presence" {
		t.Errorf("%+v, %v", now, err)
	}
}
