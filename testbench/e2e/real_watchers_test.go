package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pilotlight/testbench/branch"
	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

var listensAt = regexp.MustCompile(`udp:(127\.0\.0\.1:[0-9]+)`)

// TestASoftPhoneSeesAColleagueOnThePhone: a baresip that watches a colleague by
// way of the agent shows her busy while her desk phone is in use, and back.
func TestASoftPhoneSeesAColleagueOnThePhone(t *testing.T) {
	if !peers.Need(t, "baresip") {
		return
	}
	addr := ""
	s := tell(t, branch.Options{Phones: 4}, func(_ *branch.Branch, yaml string) string {
		addr = listensAt.FindStringSubmatch(yaml)[1]
		return yaml
	})
	const alice, bob = "sip:alice@example.com", "sip:bob@example.com"
	soft := peers.Baresip(t, peers.WithAccount("carol"), peers.WithBuddies("example.com", addr, alice, bob))
	shows := func(when, ofAlice, ofBob string) {
		t.Helper()
		s.a.Until(toldWithin, fmt.Sprintf("%s baresip shows alice %s and bob %s; now %q, %q", when, ofAlice, ofBob, soft.Buddy(alice), soft.Buddy(bob)), func() bool {
			return strings.Contains(soft.Buddy(alice), ofAlice) && strings.Contains(soft.Buddy(bob), ofBob)
		})
	}
	shows("at first", "Online", "Online")
	s.play("call alice bob\nanswer bob")
	shows("on the call", "Busy", "Busy")
	s.play("hangup alice")
	shows("after it", "Online", "Online")
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
