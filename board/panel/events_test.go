package panel

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

// sse is one event of a stream.
type sse struct{ id, kind, data string }

// stream is an open event stream.
type stream struct {
	t      *testing.T
	res    *http.Response
	events chan sse
	stop   func()
}

func (h *house) follow(query string, headers ...string) *stream {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "GET", h.url+"/api/v1/events"+query, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		cancel()
		h.t.Fatal(err)
	}
	s := &stream{t: h.t, res: res, events: make(chan sse, 10000)}
	var wg sync.WaitGroup
	wg.Go(func() { s.read() })
	s.stop = sync.OnceFunc(func() { cancel(); wg.Wait(); _ = res.Body.Close() })
	h.t.Cleanup(s.stop)
	return s
}

func (s *stream) read() {
	defer close(s.events)
	var e sse
	for lines := bufio.NewScanner(s.res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			e.data = value
		case "":
			if e.kind != "" {
				s.events <- e
			}
			e = sse{}
		}
	}
}

// next waits for the next event.
func (s *stream) next() sse {
	s.t.Helper()
	select {
	case e, ok := <-s.events:
		if !ok {
			s.t.Fatal("the stream ended")
		}
		return e
	case <-time.After(10 * time.Second):
		s.t.Fatal("no event")
	}
	return sse{}
}

// until waits for an event whose data holds part.
func (s *stream) until(part string) sse {
	s.t.Helper()
	for {
		if e := s.next(); strings.Contains(e.data, part) {
			return e
		}
	}
}

// mark makes a change that a stream can wait for, and drains it up to there.
func (h *house) mark(s *stream, name string) (seen []sse) {
	h.t.Helper()
	h.heart.setPhone(presence.Device{Name: name, State: presence.Idle})
	for {
		e := s.next()
		if strings.Contains(e.data, `"name":"`+name+`"`) {
			return seen
		}
		seen = append(seen, e)
	}
}

func TestAStreamBeginsWithThePresentState(t *testing.T) {
	h := newHouse(t)
	h.uplinks.Report(relay.Status{Name: "hq", Mode: relay.Connected})
	for len(h.panel.keeper.snap.Load().uplinks) == 0 {
		time.Sleep(time.Millisecond)
	}
	s := h.follow("")
	if ct := s.res.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("Content-Type %s", ct)
	}
	if at := s.res.Header.Get("Last-Event-ID"); !strings.HasPrefix(at, "5a5a5a5a.3.") { // whose stream it is
		t.Errorf("Last-Event-ID %q", at)
	}
	counts := map[string]int{}
	var last presence.Rev
	for _, e := range h.mark(s, "marker") {
		counts[e.kind]++
		if e.kind == kindUplink {
			continue
		}
		rest, found := strings.CutPrefix(e.id, "5a5a5a5a.")
		rev, err := presence.ParseRev(rest)
		if !found || err != nil || rev.Compare(last) < 0 {
			t.Errorf("id %q after %v", e.id, last)
		}
		last = rev
	}
	if counts[kindPhone] != 3 || counts[kindPresence] != 3 || counts[kindUplink] < 1 {
		t.Errorf("events: %v", counts)
	}
	h.uplinks.Report(relay.Status{Name: "hq", Mode: relay.Island})
	if e := s.until(`"mode":"island"`); e.kind != kindUplink {
		t.Errorf("%+v", e)
	}
}

func TestTheDataIsTheAPIs(t *testing.T) {
	h := newHouse(t)
	s := h.follow("?kinds=phone")
	e := s.until(`"name":"SEP0011AABBCC00"`)
	_, body := h.ask("GET", "/api/v1/phones/SEP0011AABBCC00", "")
	strip := func(s string) string { s, _, _ = strings.Cut(s, `"because"`); return s } // ages move on
	if strip(e.data) != strip(body) {
		t.Errorf("\nevent %s\n  API %s", e.data, body)
	}
}

func TestOnlyWhatIsNewerIsSentToWhoComesBack(t *testing.T) {
	h := newHouse(t)
	s := h.follow("")
	h.heart.setPhone(presence.Device{Name: "one", State: presence.Idle})
	seen := s.until(`"name":"one"`).id
	s.stop()
	for range 50 {
		h.heart.setPhone(presence.Device{Name: "two", State: presence.InUse})
	}
	h.heart.setDoc(presence.Document{Of: "sip:zoe@example.com", Kind: presence.KindPerson, Availability: presence.Away})
	for h.panel.keeper.snap.Load().doc("sip:zoe@example.com") == nil {
		time.Sleep(time.Millisecond)
	}
	for _, how := range [][]string{{"", "Last-Event-ID", seen}, {"?after=" + seen}} {
		s = h.follow(how[0], how[1:]...)
		got := h.mark(s, "marker"+how[0][:min(1, len(how[0]))])
		var names []string
		for _, e := range got {
			if e.kind != kindUplink && !strings.Contains(e.data, "marker") {
				names = append(names, e.kind)
			}
		}
		if fmt.Sprint(names) != "[phone presence]" {
			t.Errorf("%v: sent %v", how, got)
		}
		s.stop()
	}
}

func TestWhoMayHaveSeenWhatNeverReachedTheDiskIsToldEverything(t *testing.T) {
	h := newHouse(t)
	for name, id := range map[string]string{
		"another store": "0000.3.999", "another epoch": "5a5a5a5a.2.999", "the future": "5a5a5a5a.3.99999999", "rubbish": "x", "half": "5a5a5a5a.3",
	} {
		s := h.follow("?kinds=phone,presence", "Last-Event-ID", id)
		if got := h.mark(s, "marker "+name); len(got) < 6 {
			t.Errorf("%s: %d events", name, len(got))
		}
		s.stop()
	}
}

func TestKindsAndAll(t *testing.T) {
	h := newHouse(t)
	s := h.follow("?kinds=phone")
	for _, e := range h.mark(s, "m1") {
		if e.kind != kindPhone {
			t.Errorf("%+v", e)
		}
	}
	s = h.follow("?all=true")
	lines := 0
	for _, e := range h.mark(s, "m2") {
		if strings.Contains(e.data, `"presentity":"sip:100`) {
			lines++
		}
	}
	if lines != 3 {
		t.Errorf("%d lines with all", lines)
	}
	res, body := h.ask("GET", "/api/v1/events?kinds=phone,weather", "")
	problemIn(t, res, body, 422)
}

func TestASlowViewerCostsItselfOnly(t *testing.T) {
	h := newHouse(t)
	slow, err := http.Get(h.url + "/api/v1/events") // never read
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	quick := h.follow("?kinds=phone")
	for i := range 20000 {
		h.heart.setPhone(presence.Device{Name: fmt.Sprint("busy", i%100), State: presence.InUse, Diagnosis: strings.Repeat("x", 200)})
	}
	h.mark(quick, "end")
	if n := len(h.panel.keeper.snap.Load().order); n > 250 {
		t.Errorf("%d items are kept for whoever is slow", n)
	}
}

func TestTheOrderNeverRunsBackwards(t *testing.T) {
	h := newHouse(t)
	k := h.panel.keeper
	base := k.snap.Load().rev
	at := func(d uint64) presence.Rev { return presence.Rev{Epoch: base.Epoch, Seq: base.Seq + d} }
	k.apply([]*item{deviceItem(presence.Device{Name: "a", State: presence.Idle, Rev: at(2)})})
	place := k.snap.Load().rev
	k.apply([]*item{docItem(presence.Document{Of: "sip:late@example.com", Kind: presence.KindPerson, Rev: at(1)})}) // the other feed was quicker
	snap := k.snap.Load()
	late := snap.since(snap.after(place))
	if len(late) != 1 || late[0].key != "sip:late@example.com" || late[0].rev != place {
		t.Errorf("after %v: %v", place, late)
	}
	k.apply([]*item{deviceItem(presence.Device{Name: "a", State: presence.Ringing, Rev: at(1)})})
	if got := k.snap.Load().phone("a").device.State; got != presence.Idle {
		t.Errorf("an older version won: %s", got)
	}
	k.apply([]*item{deviceItem(presence.Device{Name: "a", Rev: at(5)})})
	k.apply([]*item{deviceItem(presence.Device{Name: "a", State: presence.Idle, Rev: at(2)})})
	if k.snap.Load().phone("a") != nil {
		t.Error("what is forgotten came back by an older word")
	}
	if got := k.snap.Load().since(k.snap.Load().after(at(2))); len(got) == 0 || !got[len(got)-1].gone {
		t.Error("nobody is told that it is gone")
	}
}

func TestMoreViewersThanThereMayBeAreTurnedAway(t *testing.T) {
	h := newHouse(t)
	for range maxViewers {
		h.panel.viewers <- struct{}{}
	}
	res, body := h.ask("GET", "/api/v1/events", "")
	problemIn(t, res, body, 503)
	if res.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	<-h.panel.viewers
	h.follow("").next()
}

func TestStreamsEndWithThePanel(t *testing.T) {
	h := newHouse(t)
	s := h.follow("", "Authorization", "Bearer "+h.token(access.Viewer, ""))
	s.next()
	start := time.Now()
	h.stop()
	for range s.events {
	}
	if took := time.Since(start); took > farewell {
		t.Errorf("it took %s", took)
	}
}
