package simple

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/ledger"
	"pilotlight/drivers/internal/sip"
)

// EV-05, EV-17: whatever is held back, a SUBSCRIBE is followed by a NOTIFY at once.
func TestARefreshIsToldThoughChangesAreHeld(t *testing.T) {
	s := newServer(t, func(s *server) { s.c.Interval = map[string]time.Duration{"presence": time.Hour} })
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	d := bob.subscribe(request{uri: alice})
	tag := agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	bob.notify() // the first change goes
	agent.publish(alice, tag, pidfOf(alice, "open", "away"))
	bob.silent(100 * time.Millisecond) // the next is held
	began := time.Now()
	bob.send(d.again(2, "", ""))
	bob.response()
	if n := bob.notify(); !strings.Contains(n.body, "away") || time.Since(began) > time.Second {
		t.Errorf("after %v:\n%s", time.Since(began), n.body)
	}
	bob.mute = true
	bob.send(d.again(3, "", ""))
	bob.response()
	bob.answer(bob.notify(), "503 Busy", "Retry-After: 3600\r\n") // EV-11: the next NOTIFY waits, but for a SUBSCRIBE
	s.until("it failed", func() bool { return s.driver.Stats().Failed == 1 })
	bob.mute = false
	bob.send(d.again(4, "", ""))
	bob.response()
	bob.notify()
}

// EV-16: the last NOTIFY, too, waits for the answer to the one before.
func TestTheEndWaitsForTheNotifyUnderWay(t *testing.T) {
	s := newServer(t)
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	d := bob.subscribe(request{uri: alice})
	bob.mute = true
	agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	first := bob.notify()
	bob.send(d.again(2, "0", ""))
	if m := bob.response(); m.status != 200 {
		t.Fatal(m.line)
	}
	if m, ok := bob.read(300 * time.Millisecond); ok && m.cseq() != first.cseq() {
		t.Errorf("beside the one under way: CSeq %d, %s", m.cseq(), m.h.Get("Subscription-State"))
	}
	bob.refused(481, d.again(3, "", "")) // and it is over for whoever refreshes it
	bob.late = nil
	bob.mute = false
	bob.answer(first, "200 OK", "")
	n := bob.notify()
	for n.cseq() == first.cseq() {
		n = bob.notify()
	}
	if n.h.Get("Subscription-State") != "terminated;reason=timeout" || !strings.Contains(n.body, "busy") {
		t.Errorf("%v\n%s", n.h, n.body)
	}
	agent.publish("sip:bob@example.com", "", pidfOf("sip:bob@example.com", "open", "busy"))
	bob.silent(150 * time.Millisecond)
}

func TestWhereNobodyCanBeToldIsRefused(t *testing.T) {
	s := newServer(t)
	bob := newPhone(s, "bob")
	port := strings.TrimPrefix(bob.at, "127.0.0.1:")
	for _, c := range []struct {
		contact string
		status  int
	}{
		{"sip:me@" + s.addr.String(), 482}, // RFC 3261 §16.3: a loop
		{"sip:me@192.0.2.1;maddr=127.0.0.1:" + port, 200},
		{fmt.Sprintf("sip:me@%s;transport=tcp", s.addr), 482},
		{"sip:me@0.0.0.0:5060", 400},
		{"sip:me@224.0.1.75", 400},
		{"sip:me@[::]:5060", 400},
		{"sips:me@" + bob.at, 400},
		{"sip:me@" + bob.at + ";transport=tls", 400},
		{"sip:me@" + bob.at + ";transport=sctp", 400},
		{"mailto:me@example.com", 400},
		{"sip:me@[::1]:5060", 200}, // there is no socket for it: forgotten when that is found out
		{"sip:me@localhost:" + port, 200},
		{"sip:me@" + bob.at, 200},
	} {
		bob.where = c.contact
		r := bob.send(request{method: "SUBSCRIBE", uri: alice, event: "presence"})
		if m := bob.response(); m.status != c.status {
			t.Errorf("%s: %s, want %d", c.contact, m.line, c.status)
		}
		if c.status == 200 && strings.HasSuffix(c.contact, ":"+port) && !strings.Contains(c.contact, "maddr") {
			if n := bob.notify(); n.h.Get("Call-Id") != r.callID {
				t.Errorf("%s: %v", c.contact, n.h)
			}
		}
	}
	bob.where = ""
	s.until("two are left", func() bool { return s.driver.Stats().Subscriptions["presence"] <= 3 })
	bob.refused(400, request{method: "SUBSCRIBE", uri: alice, event: "presence", header: "Contact: <sip:other@" + bob.at + ">\r\n"})
	bob.refused(400, request{method: "SUBSCRIBE", uri: alice, event: "presence", to: "<" + alice + ">;tag="})
	bob.refused(400, request{method: "SUBSCRIBE", uri: alice, event: "presence", to: "<" + alice + ">;tag=a;tag=b"})
	bob.refused(482, request{method: "SUBSCRIBE", uri: alice, event: "presence", header: "Record-Route: <sip:" + s.addr.String() + ";lr>\r\n"})
	bob.refused(513, request{method: "SUBSCRIBE", uri: alice, event: "presence;id=" + strings.Repeat("x", 5000)})
}

// A loopback Contact that comes from elsewhere would have us talk to our own
// machine's services.
func TestALoopbackContactFromElsewhere(t *testing.T) {
	for _, c := range []struct {
		contact, source, local string
		want                   int
	}{
		{"sip:a@127.0.0.1:8080", "10.0.0.9:5060", "10.0.0.1:5060", 400},
		{"sip:a@[::1]:8080", "10.0.0.9:5060", "10.0.0.1:5060", 400},
		{"sip:a@127.0.0.1:8080", "127.0.0.1:5070", "127.0.0.1:5060", 0},
		{"sip:a@10.0.0.1", "10.0.0.9:5060", "10.0.0.1:5060", 482},
		{"sip:a@[::ffff:10.0.0.1]", "10.0.0.9:5060", "10.0.0.1:5060", 482},
		{"sip:a@host.example.com", "10.0.0.9:5060", "10.0.0.1:5060", 0},
		{"sip:a@host.example.com;maddr=10.0.0.1", "10.0.0.9:5060", "10.0.0.1:5060", 482},
		{"sip:a@10.0.0.1:5070", "10.0.0.1:5070", "10.0.0.1:5060", 0},
	} {
		u, err := sip.ParseURI(c.contact)
		if err != nil {
			t.Fatal(err)
		}
		if got := nowhere(u, netip.MustParseAddrPort(c.source), netip.MustParseAddrPort(c.local)); got != c.want {
			t.Errorf("%s from %s: %d, want %d", c.contact, c.source, got, c.want)
		}
	}
}

// A dialog has one subscription: RFC 6665 §4.5.2 discourages another one, and EV-12
// has a 481 for what is not there.
func TestASecondSubscriptionInADialogIsNotMade(t *testing.T) {
	s := newServer(t)
	bob := newPhone(s, "bob")
	d := bob.subscribe(request{uri: alice, event: "presence;id=1"})
	for i, event := range []string{"presence;id=2", "presence", "dialog;id=1"} {
		r := d.again(i+2, "", "")
		r.event = event
		bob.refused(481, r)
	}
	bob.send(d.again(9, "", ""))
	if m := bob.response(); m.status != 200 {
		t.Error(m.line)
	}
	if n := bob.notify(); n.h.Get("Event") != "presence;id=1" { // EV-06
		t.Errorf("Event: %s", n.h.Get("Event"))
	}
}

// There is no password that a 401 would get: the subscription is over. What fails
// otherwise is tried again, ever later.
func TestAWatcherThatWantsAPassword(t *testing.T) {
	s := newServer(t)
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	bob.subscribe(request{uri: alice})
	bob.mute = true
	agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	bob.answer(bob.notify(), "401 Who are you", "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n")
	s.until("it is forgotten", func() bool { return s.driver.Stats().Subscriptions["presence"] == 0 })
	bob.silent(100 * time.Millisecond)

	var sub subscription
	var waits []time.Duration
	for range 9 {
		waits = append(waits, sub.pause(minPause, sip.Answer{Status: 500}))
	}
	if waits[0] != 5*time.Second || waits[1] != 10*time.Second || waits[8] != 5*time.Minute || sub.pause(minPause, sip.Answer{Status: 503, RetryAfter: 1 << 32 * time.Second}) != time.Hour {
		t.Errorf("%v", waits)
	}
}

// Fetches take no room, leave nothing on disk, and are no news to anybody.
func TestAStormOfFetchesLeavesNothing(t *testing.T) {
	s := newServer(t)
	a, bob := newPhone(s, "alice"), newPhone(s, "bob")
	a.subscribe(request{uri: alice, event: "presence.winfo"})
	for range 200 {
		d := bob.subscribe(request{uri: alice, expires: "0"})
		if d.first.h.Get("Subscription-State") != "terminated;reason=timeout" {
			t.Fatal(d.first.h)
		}
	}
	a.silent(50 * time.Millisecond)
	r := s.driver.now.get()
	if err := r.do(t.Context(), func() {
		if len(r.subs) != 1 || len(r.alarms) != 1 || len(r.watchers) != 1 {
			t.Errorf("%d subscriptions, %d alarms, %d watchers", len(r.subs), len(r.alarms), len(r.watchers))
		}
	}); err != nil {
		t.Fatal(err)
	}
	if n := records(s.ledger); n != 1 {
		t.Errorf("%d records", n)
	}
}

// However often it is refreshed, a subscription has one alarm.
func TestRefreshesLeaveNoAlarmsBehind(t *testing.T) {
	s := newServer(t, func(s *server) { s.c.Interval = map[string]time.Duration{"presence": time.Hour} })
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	d := bob.subscribe(request{uri: alice})
	tag := ""
	for i := range 20 {
		tag = agent.publish(alice, tag, pidfOf(alice, "open", []string{"busy", "away"}[i%2]))
		bob.send(d.again(i+2, "", ""))
		bob.response()
	}
	r := s.driver.now.get()
	if err := r.do(t.Context(), func() {
		if len(r.alarms) != 1 {
			t.Errorf("%d alarms", len(r.alarms))
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// After a restart: over UDP a host says that nobody listens any more, and the
// subscription is forgotten; a stream may come back.
func TestAWatcherThatIsGoneAfterARestart(t *testing.T) {
	s := newServer(t)
	udp, tcp, agent := newPhone(s, "bob"), newStream(s, "carol", "127.0.0.1"), newPhone(s, "alice")
	udp.subscribe(request{uri: alice})
	d := tcp.subscribe(request{uri: alice})
	udp.conn.Close()
	s.stop()
	s.start()
	s.until("one is forgotten, one is missed", func() bool {
		st := s.driver.Stats()
		return st.Subscriptions["presence"] == 1 && st.Unreachable == 1
	})
	if n := records(s.ledger); n != 1 {
		t.Errorf("%d records", n)
	}
	agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	again := newStream(s, "carol", "127.0.0.1")
	again.tag = tcp.tag
	again.send(d.again(2, "", ""))
	if m := again.response(); m.status != 200 {
		t.Fatal(m.line)
	}
	began := time.Now()
	n := again.notify()
	if took := time.Since(began); took > 100*time.Millisecond || !strings.Contains(n.body, "busy") || n.cseq() <= d.first.cseq() {
		t.Errorf("after %v: CSeq %d\n%s", took, n.cseq(), n.body)
	}
	if s.driver.Stats().Unreachable != 0 {
		t.Error("still missed")
	}
}

func TestWhoIsBlockedByNowHearsTheEndAfterARestart(t *testing.T) {
	s := newServer(t)
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	bob.subscribe(request{uri: alice})
	agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	bob.notify()
	s.stop()
	s.rules.List = []access.WatchRule{{Of: alice, Watcher: "sip:bob@example.com", Do: access.Block}}
	s.start()
	if n := bob.notify(); n.h.Get("Subscription-State") != "terminated;reason=rejected" || n.body != "" { // EV-08
		t.Errorf("%v\n%s", n.h, n.body)
	}
	bob.silent(100 * time.Millisecond)
}

// The first word after a restart is the present state, not that nobody is known.
func TestAfterARestartNobodySeemsOffline(t *testing.T) {
	s := newServer(t)
	agent := newPhone(s, "alice")
	agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	var all []*phone
	for range 20 {
		p := newPhone(s, "bob")
		p.subscribe(request{uri: alice})
		all = append(all, p)
	}
	s.stop()
	s.start()
	for _, p := range all {
		if n := p.notify(); !strings.Contains(n.body, "busy") {
			t.Fatalf("%s", n.body)
		}
	}
}

// Numbers are reserved on disk while refreshes are written: none takes the reserve back.
func TestARefreshDoesNotTakeAReserveBack(t *testing.T) {
	s := newServer(t)
	bob := newPhone(s, "bob")
	d := bob.subscribe(request{uri: alice})
	last := d.first.cseq()
	for i := range 3 * reserveBy / 2 {
		bob.send(d.again(i+2, "", ""))
		bob.response()
		last = bob.notify().cseq()
	}
	_ = s.ledger.Drawer("simple").Each(keyPrefix, func(_ string, value []byte) error {
		if rec, err := decodeRecord(value); err != nil || int(rec.Reserve) <= last {
			t.Errorf("reserved up to %d, used up to %d: %v", rec.Reserve, last, err)
		}
		return nil
	})
}

func records(l *ledger.Ledger) (n int) {
	_ = l.Drawer("simple").Each(keyPrefix, func(string, []byte) error { n++; return nil })
	return n
}

// An older version's records are read.
func TestRecordsOfTheFirstVersion(t *testing.T) {
	r := record{Of: alice, Watcher: "sip:bob@example.com", Package: "presence", Accept: []string{"*/*"}, Reserve: 128, Expires: time.Unix(1e9, 0), Handling: access.Allow}
	b := r.encode()
	old := append([]byte{1}, b[1:len(b)-1]...)
	for _, b := range [][]byte{b, old} {
		if got, err := decodeRecord(b); err != nil || got.Of != r.Of || !got.Expires.Equal(r.Expires) || got.Handling != access.Allow {
			t.Errorf("%+v %v", got, err)
		}
	}
	for i := range b {
		if _, err := decodeRecord(b[:i]); err == nil {
			t.Errorf("cut at %d it is read", i)
		}
	}
}

// WI-02: a line's watchers are for its owner alone, and not for one who has her name.
func TestANamesakeDoesNotOwnALine(t *testing.T) {
	s := newServer(t)
	line := request{method: "SUBSCRIBE", uri: "sip:1001@example.com", event: "presence.winfo"}
	newPhone(s, "alice").refused(200, line)
	newPhone(s, "bob").refused(403, line)
	s.stop()
	s.static = append(s.static, person("alice2", "Alice Martin", ""))
	s.start()
	newPhone(s, "alice2").refused(403, line)
	newPhone(s, "alice").refused(403, line) // nobody can tell the two apart by the line's document
	newPhone(s, "alice").refused(200, request{method: "SUBSCRIBE", uri: alice, event: "presence.winfo"})
}

// By a host name a loop is found out late: our own 481 to the first NOTIFY ends it.
func TestALoopByAHostNameEndsItself(t *testing.T) {
	s := newServer(t)
	bob, agent := newPhone(s, "bob"), newPhone(s, "alice")
	bob.where = fmt.Sprintf("sip:me@localhost:%d", s.addr.Port())
	bob.refused(200, request{method: "SUBSCRIBE", uri: alice, event: "presence"})
	s.until("it is forgotten", func() bool { return s.driver.Stats().Subscriptions["presence"] == 0 })
	failed := s.driver.Stats().Failed
	agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	time.Sleep(100 * time.Millisecond)
	if st := s.driver.Stats(); st.Failed != failed || failed != 1 {
		t.Errorf("%d NOTIFYs to ourselves", st.Failed)
	}
}
