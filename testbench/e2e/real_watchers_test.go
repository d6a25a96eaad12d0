package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pilotlight/testbench/branch"
	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

// softPhone is a real program that shows who is on the phone.
type softPhone interface{ Buddy(uri string) string }

// TestASoftPhoneSeesAColleagueOnThePhone: one that watches a colleague by way of the
// agent shows her busy while her desk phone is in use, and back; by TCP after a kill
// of the agent, too.
func TestASoftPhoneSeesAColleagueOnThePhone(t *testing.T) {
	for _, c := range []struct {
		program, domain, onTheCall string
		start                      func(testing.TB, ...peers.PhoneOption) softPhone
	}{
		{"baresip", "example.com", "Busy", func(t testing.TB, o ...peers.PhoneOption) softPhone { return peers.Baresip(t, o...) }},
		{"linphonec", "127.0.0.1", "On the phone", func(t testing.TB, o ...peers.PhoneOption) softPhone { return peers.Linphone(t, o...) }},
	} {
		t.Run(c.program, func(t *testing.T) {
			if !peers.Need(t, c.program) {
				return
			}
			s := tell(t, branch.Options{Phones: 4, Domain: c.domain}, nil)
			alice, bob := "sip:alice@"+c.domain, "sip:bob@"+c.domain
			buddies := peers.WithBuddies(c.domain, s.b.AgentSIP(), alice, bob)
			soft := map[string]softPhone{"UDP": c.start(t, peers.WithAccount("carol"), buddies), "TCP": c.start(t, peers.WithAccount("dora"), buddies, peers.OverTCP())}
			shows := func(when, is string) {
				t.Helper()
				for by, p := range soft {
					s.a.Until(toldWithin, fmt.Sprintf("%s %s by %s shows both %s; now %q, %q", when, c.program, by, is, p.Buddy(alice), p.Buddy(bob)), func() bool {
						return strings.Contains(p.Buddy(alice), is) && strings.Contains(p.Buddy(bob), is)
					})
				}
			}
			shows("at first", "Online")
			s.play("call alice bob\nanswer bob")
			shows("on the call", c.onTheCall)
			s.play("hangup alice")
			shows("after it", "Online")
			s.a.Kill()
			s.a.Again()
			s.a.Ready()
			s.play("call alice bob\nanswer bob")
			shows("on a call after a kill", c.onTheCall)
			s.a.Until(soon, "nobody is missed", func() bool { return s.a.Metric("pilotlight_subscriptions_unreachable") == "0" })
			s.play("hangup alice")
			shows("after that", "Online")
		})
	}
}

// TestSIPpPublishesAndWatches: an independent generator's PUBLISH, change and
// removal, and its SUBSCRIBE with the first NOTIFY, without a failure.
func TestSIPpPublishesAndWatches(t *testing.T) {
	folder, shared := product.Shared(t, "bench/peers/sipp")
	if !shared || !peers.Need(t, "sipp") {
		return
	}
	const calls = 100
	var people strings.Builder
	for i := range calls {
		fmt.Fprintf(&people, "  - {user: s%d}\n", i+1)
	}
	// The scenarios know nobody's domain: their people are at the server's address.
	a, addr := presenceServer(t, "127.0.0.1", people.String()+"  - {user: p}\n")
	for _, transport := range []string{"udp", "tcp"} {
		peers.SIPp(t, filepath.Join(folder, "publish.xml"), addr, transport, calls)
		peers.SIPp(t, filepath.Join(folder, "watch.xml"), addr, transport, calls)
		if n := a.Metric("pilotlight_publications"); n != "0" {
			t.Errorf("%s: %s publications stand, and all were taken back", transport, n)
		}
	}
	if n := a.Metric(`pilotlight_subscriptions{package="presence"}`); n != fmt.Sprint(2*calls) {
		t.Errorf("%s subscriptions, want %d", n, 2*calls)
	}
}

// TestKamailioWatches: a Kamailio that serves lists, and watches those on them at
// the agent, as another domain's server would. After a kill -9 it is told on,
// though it has not subscribed again.
func TestKamailioWatches(t *testing.T) {
	if !peers.Need(t, "kamailio", "sqlite3") {
		return
	}
	a, addr := presenceServer(t, "example.com", "  - {user: alice}\n  - {user: bob}\n")
	const team = "sip:team@example.com"
	k := peers.Kamailio(t, peers.WithList(addr, "watcher0", team, "sip:alice@example.com", "sip:bob@example.com"))
	c := peers.NewCrowd(t, k.Addr, "udp", "presence", 1, func(int) string { return team })
	c.More = "Supported: eventlist\r\nAccept: application/pidf+xml, application/rlmi+xml, multipart/related\r\n"
	must(t, c.Subscribe(1))
	standing := func(when string) {
		t.Helper()
		a.Until(soon, when+": Kamailio's two subscriptions stand", func() bool { return a.Metric(`pilotlight_subscriptions{package="presence"}`) == "2" })
	}
	hears := func(who, availability, note string) {
		t.Helper()
		must(t, a.Act("PUT", "/api/v1/presence/"+who+"/manual", map[string]string{"availability": availability, "note": note}))
		a.Until(soon, fmt.Sprintf("the list's watcher hears that %s is %s", who, availability), func() bool {
			return slices.ContainsFunc(c.Seats[0].Heard().Bodies, func(b string) bool { return strings.Contains(b, who+"@example.com") && strings.Contains(b, note) })
		})
	}
	standing("at first")
	hears("alice", "busy", "budget")
	hears("bob", "away", "lunch")
	a.Kill()
	a.Again()
	a.Ready()
	standing("after the kill")
	hears("alice", "do-not-disturb", "board meeting")
}
