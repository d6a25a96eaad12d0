package sip

import (
	"net/netip"
	"testing"
	"time"
)

func TestASourcesBudget(t *testing.T) {
	b := newBudget(100, nil)
	now := time.Now()
	one, other := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	spend := func(a netip.Addr, n int) (got [3]int) {
		for range n {
			got[b.spend(a, now)]++
		}
		return got
	}
	if got := spend(one, 300); got != [3]int{200, 1, 99} { // two seconds' worth, one answer
		t.Errorf("at once: %v", got)
	}
	if got := spend(other, 10); got != [3]int{10, 0, 0} {
		t.Errorf("another: %v", got)
	}
	now = now.Add(time.Second)
	if got := spend(one, 150); got != [3]int{100, 1, 49} {
		t.Errorf("a second later: %v", got)
	}
	total := 0
	for range 1000 { // steadily at twice the rate, for 5 s
		now = now.Add(5 * time.Millisecond)
		total += spend(one, 1)[within]
	}
	if total < 490 || total > 510 {
		t.Errorf("%d pass in 5 s", total)
	}
	now = now.Add(2 * time.Second)
	if got := spend(one, 200); got != [3]int{200, 0, 0} {
		t.Errorf("rested: %v", got)
	}
	if newBudget(-1, nil).spend(one, now) != within {
		t.Error("no limit is one")
	}
	six := newBudget(1, nil)
	six.spend(netip.MustParseAddr("2001:db8::1"), now)
	six.spend(netip.MustParseAddr("2001:db8::2%eth0"), now)
	if six.spend(netip.MustParseAddr("2001:db8::3"), now) != tell {
		t.Error("a /64 is many sources")
	}
}

func TestBudgetsAreBounded(t *testing.T) {
	b := newBudget(100, nil)
	a := netip.MustParseAddr("10.0.0.0")
	for range 10 * maxSources {
		a = a.Next()
		b.spend(a, time.Now())
	}
	if n := len(b.spent) + len(b.before); n > 2*maxSources {
		t.Errorf("%d sources", n)
	}
}

func TestWhoAsksTooMuchIsToldOnceASecond(t *testing.T) {
	e, _ := atRest(t, Config{SourcePerSec: 10})
	_ = e.Handle(Claim{Method: "MESSAGE"}, answer200)
	run(t, e)
	for _, transport := range []string{"udp", "tcp"} {
		p := dial(t, e, transport)
		for range 40 {
			p.send(text("MESSAGE", "sip:b@example.com"))
		}
		got := map[int]int{}
		for s := p.tryReceive(time.Second); s != ""; s = p.tryReceive(200 * time.Millisecond) {
			if got[statusOf(s)]++; statusOf(s) == 503 && headerOf(s, "Retry-After") == "" {
				t.Error(s)
			}
		}
		if got[200] < 20 || got[200] > 25 || got[503] != 1 {
			t.Errorf("%s: %v", transport, got)
		}
		time.Sleep(2 * time.Second) // all is earned again
	}
	if n := e.Stats().Dropped["budget"]; n < 30 {
		t.Errorf("%d counted", n)
	}
}

// A peer that is known by its address may send a burst for a whole branch.
func TestAPeerIsNotMetered(t *testing.T) {
	b := newBudget(10, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")})
	peer, other := netip.MustParseAddr("192.0.2.5"), netip.MustParseAddr("198.51.100.5")
	for i := range 1000 {
		if v := b.spend(peer, b.began); v != within {
			t.Fatalf("request %d: %v", i, v)
		}
	}
	for range 21 {
		b.spend(other, b.began)
	}
	if v := b.spend(other, b.began); v == within {
		t.Error("somebody else is not metered")
	}
}
