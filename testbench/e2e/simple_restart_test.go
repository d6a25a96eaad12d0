package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pilotlight/testbench/drill"
	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

// presenceServer is an agent with people in a domain whom anybody on loopback may
// watch, and publish for, as a peer; and where it takes SIP.
func presenceServer(t *testing.T, domain, people string) (a *product.Agent, addr string) {
	t.Helper()
	addr = fmt.Sprint("127.0.0.1:", product.FreePort(t))
	a = product.Start(t, product.Options{YAML: fmt.Sprintf(`
branch: {id: lyon-12, name: Lyon, domain: %q}
data_dir: @DATA@
panel: {listen: "@PANEL@"}
sip:
  listen: ["udp:%s", "tcp:%s"]
  peers: [{name: bench, address: 127.0.0.0/8, domains: [%q], may: [subscribe, publish]}]
people:
%s`, domain, addr, addr, domain, people)})
	return a, addr
}

// users is how many are watched in the test of a restart; all of them are busy.
const users = 100

// toldAll is what all watchers were told last, or all that they were told since
// before, a lamp that blinks included.
func toldAll(c *peers.Crowd, before []peers.Heard) (told []string) {
	for i, h := range c.Heard() {
		n := 1
		if before != nil {
			n = h.Notified - before[i].Notified
		}
		told = append(told, h.Bodies[max(0, len(h.Bodies)-n):]...)
	}
	return told
}

func notBusy(body string) bool { return !strings.Contains(body, "budget") }

// watchedPeople are that many in a configuration.
func watchedPeople(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  - {user: u%03d}\n", i)
	}
	return b.String()
}

// TestSubscriptionsOutliveAKill: the field's most repeated pain is lamps that are
// stuck after a restart. Watchers by UDP subscribe once; after kill -9 and a start
// each is told in its dialog, by a number above all before. Watchers by TCP whose
// connection is gone, and who do not listen, are told when they subscribe next.
func TestSubscriptionsOutliveAKill(t *testing.T) {
	udp, tcp := 500, 50
	if drill.Full() {
		udp, tcp = 5000, 500
	}
	a, addr := presenceServer(t, "example.com", watchedPeople(users))
	whom := func(i int) string { return fmt.Sprintf("sip:u%03d@example.com", i%users) }
	byUDP := peers.NewCrowd(t, addr, "udp", "presence", udp, whom)
	byTCP := peers.NewCrowd(t, addr, "tcp", "presence", tcp, whom)
	must(t, byUDP.Subscribe(32))
	must(t, byTCP.Subscribe(32))
	a.Until(soon, "everybody is told at first", func() bool { return toldSince(byUDP, nil) == udp && toldSince(byTCP, nil) == tcp })
	standing := func(when string) {
		t.Helper()
		if n := a.Metric(`pilotlight_subscriptions{package="presence"}`); n != fmt.Sprint(udp+tcp) {
			t.Errorf("%s: %s subscriptions stand, want %d", when, n, udp+tcp)
		}
	}
	standing("before")

	for who := range users {
		must(t, a.Act("PUT", fmt.Sprintf("/api/v1/presence/u%03d/manual", who), map[string]string{"availability": "busy", "note": "budget"}))
	}
	a.Until(soon, "everybody sees that all are busy", func() bool { return !slices.ContainsFunc(toldAll(byUDP, nil), notBusy) })

	before := byUDP.Heard()
	a.Kill()
	delay := delays()
	start := time.Now()
	a.Again()
	a.Ready()
	ready := time.Since(start)
	a.Until(soon, "everybody by UDP is told after the start", func() bool { return toldSince(byUDP, before) == udp })
	var took []time.Duration
	twice := 0
	for i, h := range byUDP.Heard() {
		took = append(took, h.At.Sub(start))
		if h.Back > 0 || h.Ended {
			t.Errorf("watcher %d: %+v, and before the kill %+v", i, h, before[i])
		}
		if h.Notified > before[i].Notified+1 {
			twice++
		}
	}
	t.Logf("ready after %v; %d watchers were told more than once", ready, twice)
	slow := max(0, ready-time.Second/2) // a start that others on the machine hold up
	within(t, fmt.Sprintf("%d watchers by UDP told after the start", udp), took, 2*time.Second, slow+delay())
	standing("after")

	if all := toldAll(byUDP, before); slices.ContainsFunc(all, notBusy) {
		t.Errorf("after the start somebody was told of a busy person:\n%s", all[slices.IndexFunc(all, notBusy)])
	}
	must(t, a.Act("DELETE", "/api/v1/presence/u003/manual", nil))
	a.Until(soon, "whoever watches u003 sees her change", func() bool {
		for i := 3; i < udp; i += users {
			if h := byUDP.Seats[i].Heard(); !notBusy(h.Body()) || h.Back > 0 {
				return false
			}
		}
		return true
	})
	missed := func(when string, n int) {
		t.Helper()
		a.Until(soon, fmt.Sprint(when, ": ", n, " are counted as unreachable"), func() bool { return a.Metric("pilotlight_subscriptions_unreachable") == fmt.Sprint(n) })
	}
	missed("after the start", tcp)
	theyComeBack(t, a, byTCP)
	missed("in the end", 0)
	standing("in the end")
	if n := byUDP.Strange() + byTCP.Strange(); n > 0 {
		t.Errorf("%d NOTIFYs in dialogs that nobody knows", n)
	}
}

// theyComeBack lets watchers by TCP connect anew and renew, and holds the agent
// to telling each of them at once.
func theyComeBack(t *testing.T, a *product.Agent, c *peers.Crowd) {
	t.Helper()
	before := c.Heard()
	var took []time.Duration
	delay := delays()
	for i, s := range c.Seats {
		must(t, s.Connect())
		asked := time.Now()
		must(t, s.Subscribe())
		a.Until(soon, "who comes back is told", func() bool { return s.Heard().Notified > before[i].Notified })
		h := s.Heard()
		took = append(took, h.At.Sub(asked))
		if h.Back > 0 || h.Ended {
			t.Errorf("watcher %d by TCP: %+v, and before the kill %+v", i, h, before[i])
		}
	}
	within(t, fmt.Sprintf("%d watchers by TCP told after their SUBSCRIBE", len(took)), took, 100*time.Millisecond, delay())
}

// toldSince is how many were told something with a higher number than before.
func toldSince(c *peers.Crowd, before []peers.Heard) (n int) {
	for i, h := range c.Heard() {
		least := 0
		if before != nil {
			least = before[i].CSeq
		}
		if h.Notified > 0 && h.CSeq > least {
			n++
		}
	}
	return n
}

// within holds the slowest of all to a time; what the machine added (the most
// that a timer of 5 ms came late meanwhile, and what held up the start) does not
// count. The short form runs beside all other tests, and is patient.
func within(t *testing.T, what string, took []time.Duration, limit, late time.Duration) {
	t.Helper()
	slices.Sort(took)
	n := len(took)
	most := took[n-1]
	if !drill.Full() {
		limit = max(time.Second, limit*5/2)
	}
	t.Logf("%s: p50 %v, p99 %v, most %v; of that at most %v the machine's", what, took[n/2], took[n*99/100], most, late)
	if most > limit+late {
		t.Errorf("%s: %v, want at most %v and %v for the machine", what, most, limit, late)
	}
}

// delays tells, when it is called, the most that a timer was late since.
func delays() func() time.Duration {
	stop, most := make(chan struct{}), make(chan time.Duration)
	go func() {
		const step = 5 * time.Millisecond
		var worst time.Duration
		for {
			before := time.Now()
			select {
			case <-time.After(step):
				worst = max(worst, time.Since(before)-step)
			case <-stop:
				most <- worst
				return
			}
		}
	}()
	return func() time.Duration { close(stop); return <-most }
}
