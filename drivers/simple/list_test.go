package simple

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/event"
)

const (
	everybody = "sip:rls@example.com"
	team      = "sip:team@example.com"
	listing   = "Supported: eventlist\r\nAccept: multipart/related, application/rlmi+xml, application/pidf+xml, application/dialog-info+xml\r\n"
)

// listed reads a list's NOTIFY, and holds it to what each must say.
func listed(t testing.TB, m message) event.ListBody {
	t.Helper()
	if m.h.Get("Require") != "eventlist" || m.h.Get("Supported") != "" { // RLS-02
		t.Errorf("Require %q, Supported %q", m.h.Get("Require"), m.h.Get("Supported"))
	}
	kind := m.h.Get("Content-Type")
	if !strings.HasPrefix(kind, `multipart/related;type="application/rlmi+xml";start="<`) { // RLS-03
		t.Errorf("Content-Type %s", kind)
	}
	l, err := event.ParseList(kind, []byte(m.body), false)
	if err != nil {
		t.Fatalf("%v\n%s", err, m.body)
	}
	return l
}

// lookOf is what a list says, a line for each resource.
func lookOf(l event.ListBody) (lines []string) {
	for _, r := range l.List.Resources {
		line := r.URI
		for _, n := range r.Names {
			line += " " + n.Text
		}
		for _, i := range r.Instances {
			line += " " + strings.TrimSpace(string(i.State)+" "+i.Reason)
			if p, ok := l.Part(i.CID); ok {
				word := "open"
				if !strings.Contains(string(p.Body), ">open<") {
					word = "not open"
				}
				line += " " + word
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// table is a list as its watcher has it.
type table struct {
	t       testing.TB
	version int64
	lines   []string
}

// take is a NOTIFY, held to the subscriber's rules (RLS-08): none is missing, none is old.
func (w *table) take(m message) event.ListBody {
	w.t.Helper()
	l := listed(w.t, m)
	switch v := int64(l.List.Version); {
	case l.List.Full && v > w.version:
		w.lines = nil
	case l.List.Full || v != w.version+1:
		w.t.Fatalf("version %d after %d, full %v", v, w.version, l.List.Full)
	}
	w.version = int64(l.List.Version)
	for _, line := range lookOf(l) {
		uri, _, _ := strings.Cut(line, " ")
		if i := slices.IndexFunc(w.lines, func(have string) bool { have, _, _ = strings.Cut(have, " "); return have == uri }); i < 0 {
			w.lines = append(w.lines, line)
		} else {
			if w.lines[i] == line && strings.Contains(line, " ") && !strings.Contains(line, "active") {
				w.t.Errorf("told again: %s", line)
			}
			w.lines[i] = line
		}
	}
	return l
}

// until hears NOTIFYs until the table is so.
func (w *table) until(p *phone, want ...string) {
	w.t.Helper()
	for range 10 {
		if slices.Equal(w.lines, want) {
			return
		}
		m, ok := p.read(time.Second)
		if !ok {
			break
		}
		if w.take(m).List.Full {
			w.t.Error("in full, and nobody asked")
		}
	}
	wantLines(w.t, "the table", w.lines, want...)
}

func wantLines(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func newListServer(t testing.TB, change ...func(*server)) *server {
	return newServer(t, append([]func(*server){func(s *server) {
		s.c.Lists = []List{{Name: "team", Members: []presence.Presentity{"sip:bob@example.com", alice, "sip:1001@example.com", "sip:carol@elsewhere.org", "sip:nobody@example.com"}}}
	}}, change...)...)
}

// RLS-01, RLS-02, RLS-04, RLS-05.
func TestAListIsToldInFullThenByWhatChanged(t *testing.T) {
	s := newListServer(t)
	w, agent := newPhone(s, "watcher"), newPhone(s, "alice")
	if m := w.refused(421, request{method: "SUBSCRIBE", uri: team, event: "presence"}); m.h.Get("Require") != "eventlist" { // RLS-01
		t.Errorf("the 421: %v", m.h)
	}
	w.refused(489, request{method: "SUBSCRIBE", uri: team, event: "message-summary", header: listing + "Accept: */*\r\n"})
	w.refused(406, request{method: "SUBSCRIBE", uri: team, event: "presence", header: "Supported: eventlist\r\nAccept: text/plain\r\n"})
	w.refused(404, request{method: "PUBLISH", uri: team, event: "presence", kind: "application/pidf+xml", body: pidfOf(team, "open", "busy")})

	w.send(request{method: "SUBSCRIBE", uri: team, event: "presence", header: listing})
	ok := w.response()
	if ok.status != 200 || ok.h.Get("Require") != "eventlist" { // RLS-02
		t.Fatalf("%s %v", ok.line, ok.h)
	}
	n := w.notify()
	has := &table{t: t, version: -1}
	first := has.take(n)
	if first.List.URI != team || first.List.Version != 0 || !first.List.Full { // RLS-04, RLS-05
		t.Errorf("the first: %+v", first.List)
	}
	whole := []string{"sip:bob@example.com Bob Bernard active not open", alice + " Alice Martin active open",
		"sip:1001@example.com active open", "sip:carol@elsewhere.org", "sip:nobody@example.com terminated noresource"}
	agent.publish(alice, "", pidfOf(alice, "open", "away"))
	has.until(w, whole...)
	tag := ok.h.Get("To")[strings.Index(ok.h.Get("To"), "tag=")+4:]
	w.send(request{method: "SUBSCRIBE", uri: team, event: "presence", header: listing, callID: ok.h.Get("Call-Id"), toTag: tag, cseq: 2})
	if m := w.response(); m.status != 200 || m.h.Get("Require") != "eventlist" {
		t.Fatalf("refresh: %s", m.line)
	}
	if third := has.take(w.notify()); !third.List.Full {
		t.Error("after a refresh: not in full")
	}
	has.until(w, whole...)
	w.send(request{method: "SUBSCRIBE", uri: team, event: "presence", callID: ok.h.Get("Call-Id"), toTag: tag, cseq: 3, expires: "0"})
	w.response()
	n = w.notify()
	if last := has.take(n); !strings.HasPrefix(n.h.Get("Subscription-State"), "terminated") || !last.List.Full {
		t.Errorf("the last: %s, full %v", n.h.Get("Subscription-State"), last.List.Full)
	}
	fetch := w.subscribe(request{uri: everybody, header: listing, expires: "0"})
	wantLines(t, "everybody, once", lookOf(listed(t, fetch.first)), alice+" Alice Martin active open", "sip:bob@example.com Bob Bernard active not open")
}

// RLS-09: each member is decided for the list's subscriber.
func TestEachMemberOfAListIsAuthorised(t *testing.T) {
	s := newListServer(t, func(s *server) {
		s.static = append(s.static, person("carol", "Carol", "1003"), person("dave", "Dave", "1004"))
		s.rules.List = []access.WatchRule{
			{Of: alice, Watcher: "sip:watcher@example.com", Do: access.PoliteBlock},
			{Of: "sip:carol@example.com", Watcher: "sip:watcher@example.com", Do: access.Block},
			{Of: "sip:dave@example.com", Watcher: "sip:watcher@example.com", Do: access.Confirm},
			{Of: team, Watcher: "sip:watcher@example.com", Do: access.Block},
			{Watcher: "sip:mallory@example.com", Do: access.Block},
			{Watcher: "sip:friend@example.com", Do: access.Block},
			{Of: "sip:bob@example.com", Watcher: "sip:friend@example.com", Do: access.Allow},
		}
	})
	agent, carol := newPhone(s, "alice"), newPhone(s, "carol")
	agent.publish(alice, "", pidfOf(alice, "open", "away"))
	w := newPhone(s, "watcher")
	d := w.subscribe(request{uri: everybody, header: listing})
	wantLines(t, "one whom some block", lookOf(listed(t, d.first)), alice+" active not open", "sip:bob@example.com Bob Bernard active not open",
		"sip:carol@example.com terminated rejected", "sip:dave@example.com pending")
	if strings.Contains(d.first.body, "Alice") || strings.Contains(d.first.body, "Carol") {
		t.Errorf("a name is told to whom it is not for:\n%s", d.first.body)
	}
	agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	carol.publish("sip:carol@example.com", "", pidfOf("sip:carol@example.com", "open", "busy"))
	w.silent(150 * time.Millisecond)
	w.refused(403, request{method: "SUBSCRIBE", uri: team, event: "presence", header: listing})
	newPhone(s, "mallory").refused(403, request{method: "SUBSCRIBE", uri: everybody, event: "presence", header: listing})
	f := newPhone(s, "friend").subscribe(request{uri: everybody, header: listing})
	wantLines(t, "one whom all but Bob block", lookOf(listed(t, f.first)), alice+" terminated rejected",
		"sip:bob@example.com Bob Bernard active not open", "sip:carol@example.com terminated rejected", "sip:dave@example.com terminated rejected")
}

func TestWhoWatchesByAListIsTold(t *testing.T) {
	s := newListServer(t)
	a, w := newPhone(s, "alice"), newPhone(s, "watcher")
	winfo := a.subscribe(request{uri: alice, event: "presence.winfo"})
	if strings.Contains(winfo.first.body, "sip:watcher@example.com") {
		t.Errorf("%s", winfo.first.body)
	}
	w.subscribe(request{uri: team, header: listing})
	if n := a.notify(); !strings.Contains(n.body, "sip:watcher@example.com") || !strings.Contains(n.body, `status="active"`) {
		t.Errorf("%s", n.body)
	}
	w.subscribe(request{uri: alice, expires: "0"}) // a fetch is no news (WI-04)
	a.silent(150 * time.Millisecond)
}

// The parts of a list are full documents under the list's version, so that a
// watcher takes each for newer than the last (RFC 4235 §4.3).
func TestAListOfLines(t *testing.T) {
	s := newListServer(t)
	w := newPhone(s, "watcher")
	d := w.subscribe(request{uri: team, event: "dialog", header: listing})
	first := listed(t, d.first)
	if len(first.Parts) != 3 || !strings.Contains(string(first.Parts[0].Body), `version="0" state="full"`) {
		t.Fatalf("%s", d.first.body)
	}
	talking := presence.Observation{Source: "dialog/pbx", Of: "sip:1001@example.com", Seen: time.Now(), TTL: time.Hour,
		Facts: presence.Facts{Calls: &presence.Calls{Exact: true, Lines: []presence.Line{{Number: "1001", State: presence.LineConfirmed}}}}}
	if err := s.ledger.Observe(t.Context(), talking); err != nil {
		t.Fatal(err)
	}
	var table event.DialogTable
	n := listed(t, w.notify())
	for _, p := range append(first.Parts, n.Parts...) {
		doc, err := event.DecodeDialogs(p.Body)
		if err != nil {
			t.Fatal(err)
		}
		if doc.Entity == "sip:1001@example.com" && table.Apply(doc) {
			t.Error("a gap")
		}
	}
	if n.List.Full || n.List.Version != 1 || table.Line().State != presence.LineConfirmed {
		t.Errorf("%+v, the line is %s", n.List, table.Line().State)
	}
}

// What a datagram has no room for is told by the next ones: all are named at once
// (RLS-05), nobody is left out (RLS-10).
func TestALongListIsToldInPieces(t *testing.T) {
	const many = 240
	s := newListServer(t, func(s *server) {
		for i := range many {
			user := fmt.Sprintf("u%03d", i)
			s.static = append(s.static, person(user, "User "+user, ""))
		}
	})
	read := func(w *phone, n message) {
		has, parts := &table{t: t, version: -1}, 0
		for i := 0; parts < many+2; i++ {
			if i > 0 {
				n = w.notify()
			}
			if len(n.body) > 65_000 {
				t.Fatalf("a NOTIFY of %d octets", len(n.body))
			}
			l := has.take(n)
			parts += len(l.Parts)
			if l.List.Full != (i == 0) || len(has.lines) != many+2 {
				t.Fatalf("piece %d: full %v, %d are named", i, l.List.Full, len(has.lines))
			}
		}
		for _, line := range has.lines {
			if !strings.Contains(line, " active ") {
				t.Errorf("%s", line)
			}
		}
		w.silent(100 * time.Millisecond)
	}
	s.until("it knows everybody", func() bool {
		r, n := s.driver.now.get(), 0
		_ = r.do(t.Context(), func() { n = len(r.everybody.members) })
		return n == many+2
	})
	udp := newPhone(s, "watcher")
	read(udp, udp.subscribe(request{uri: everybody, header: listing}).first)
	tcp := newStream(s, "watcher", "127.0.0.1")
	d := tcp.subscribe(request{uri: everybody, header: listing})
	read(tcp, d.first)
	fetch := tcp.subscribe(request{uri: everybody, header: listing, expires: "0"})
	if l := listed(t, fetch.first); len(l.Parts) != many+2 { // nothing can follow it
		t.Errorf("a fetch by TCP has %d parts", len(l.Parts))
	}
}

func TestAListOutlivesARestart(t *testing.T) {
	s := newListServer(t)
	w, agent := newPhone(s, "watcher"), newPhone(s, "alice")
	d := w.subscribe(request{uri: team, header: listing})
	o := newPhone(s, "other")
	o.subscribe(request{uri: alice})
	s.stop()
	s.start()
	n, has := w.notify(), &table{t: t, version: -1}
	has.take(d.first)
	if l := has.take(n); n.cseq() <= d.first.cseq() || !l.List.Full || len(l.List.Resources) != 5 {
		t.Errorf("CSeq %d, %+v", n.cseq(), l.List)
	}
	o.notify()
	agent.publish(alice, "", pidfOf(alice, "open", "away"))
	has.until(w, "sip:bob@example.com Bob Bernard active not open", alice+" Alice Martin active open",
		"sip:1001@example.com active open", "sip:carol@elsewhere.org", "sip:nobody@example.com terminated noresource")
	o.notify()
	s.stop()
	s.c.Lists = nil
	s.start()
	if n := w.notify(); n.h.Get("Subscription-State") != "terminated;reason=noresource" {
		t.Errorf("a list that is no more: %v", n.h)
	}
	o.notify()
	if s.driver.Stats().Subscriptions["presence"] != 1 {
		t.Errorf("%v", s.driver.Stats().Subscriptions)
	}
}

// A member's document is rendered once for all who see the same, whether by a list
// or by itself.
func TestAListReusesWhatWasRendered(t *testing.T) {
	s := newListServer(t)
	for range 5 {
		newPhone(s, "watcher").subscribe(request{uri: team, header: listing})
		newPhone(s, "watcher").subscribe(request{uri: alice})
	}
	r := s.driver.now.get()
	if err := r.do(t.Context(), func() {
		if n := len(r.of[alice].bodies); n != 1 {
			t.Errorf("%d renderings", n)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if n := s.driver.Stats().Subscriptions["presence"]; n != 10 {
		t.Errorf("%d subscriptions", n)
	}
}

// PR-07 and RLS-09: what a member decides of a list's watcher holds at once.
func TestAMembersDecisionIsObeyedInAList(t *testing.T) {
	s := newListServer(t, func(s *server) { s.rules.Default = access.Confirm })
	w, agent, herself := newPhone(s, "watcher"), newPhone(s, "alice"), newPhone(s, "alice")
	agent.publish(alice, "", pidfOf(alice, "open", "busy"))
	herself.subscribe(request{uri: alice, event: "presence.winfo"})
	has := &table{t: t, version: -1}
	has.take(w.subscribe(request{uri: everybody, header: listing}).first)
	wantLines(t, "nobody has decided", has.lines, alice+" pending", "sip:bob@example.com pending")
	if n := herself.notify(); !strings.Contains(n.body, `status="pending"`) {
		t.Errorf("%s", n.body)
	}
	for _, c := range []struct {
		do   access.Handling
		want string
	}{{access.Allow, " Alice Martin active open"}, {access.Block, " terminated rejected"}, {access.PoliteBlock, " active not open"}} {
		if err := s.access.Decide(t.Context(), access.Decision{Of: alice, Watcher: "sip:watcher@example.com", Do: c.do}); err != nil {
			t.Fatal(err)
		}
		has.until(w, alice+c.want, "sip:bob@example.com pending")
	}
	if n := herself.notify(); !strings.Contains(n.body, `status="active"`) {
		t.Errorf("%s", n.body)
	}
}
