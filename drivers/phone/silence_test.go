package phone

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pilotlight/agent/presence"
)

// hangs has pages taken and never answered.
func (f *fakePhone) hangs(paths ...string) {
	for _, path := range paths {
		f.odd.Store(path, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	}
}

// A phone that answers on others and hangs on one page is not silent, whichever
// page that is and whichever is asked for first.
func TestAPageThatHangsIsNotASilentPhone(t *testing.T) {
	for path, told := range map[string]bool{
		pathDevice: true, pathNetwork: true, streamPath(1): true, pathPort + "?1": false, pathEthernet: false, pathLog + "?0": false,
	} {
		t.Run(path, func(t *testing.T) {
			v := visiting(t, "7962", "SEP0C1167AA0005", Credentials{})
			v.visit()
			v.timeout = 200 * time.Millisecond
			v.f.hangs(path)
			for n := range 3 {
				v.later(2 * time.Hour) // each page is due, and is asked for
				v.a.news = true
				facts, asked := v.visit()
				if (facts[sourceDevice].Identity != nil) != (path != pathDevice) || (facts[sourceNetwork].Registration != nil) != (path != pathNetwork) {
					t.Errorf("visit %d told %+v after %q", n, facts, asked)
				}
				if known := facts[sourceWeb].Calls != nil; known != (path != streamPath(1)) {
					t.Errorf("visit %d: calls %+v", n, facts[sourceWeb].Calls)
				}
				if (v.trouble != nil) != told {
					t.Errorf("visit %d: trouble %v", n, v.trouble)
				}
				if told && (v.trouble.Reach != presence.Garbled || !strings.Contains(v.trouble.Detail, path+": ")) {
					t.Errorf("visit %d: trouble %+v", n, v.trouble)
				}
			}
			v.visit() // nothing is due but what is asked for each time, which is left alone
		})
	}
}

// A phone that is met for the first time and hangs on the page that it is known by
// lives, if another page of its is answered.
func TestAStrangerThatHangsOnItsIdentityLives(t *testing.T) {
	for _, hung := range [][]string{{pathDevice}, {pathStatus}} {
		v := visiting(t, "8865", "SEP0C1167AA0004", Credentials{})
		v.timeout = 200 * time.Millisecond
		v.f.sends(pathDevice, 404, "")
		v.f.hangs(hung...)
		_, _, err := v.try()
		if f := faultIn(err); f == nil || f.Reach != presence.Garbled {
			t.Errorf("%q: %v", hung, err)
		}
	}
}

// What is told of a phone that hangs on a page: its other pages, that page's
// trouble, and no miss.
func TestAHungPageIsNoMiss(t *testing.T) {
	f := &fakePhone{folder: "7962"}
	p := serve(t, f)
	p.Name = "SEP0C1167AA0005"
	f.hangs(streamPath(1))
	b := run(t, Config{Phones: []Phone{p}, Web: 50 * time.Millisecond, Timeout: 200 * time.Millisecond, Domain: "example.com"}, nil)
	var last time.Time
	for range 5 {
		last = b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Source == sourceDevice && o.Seen.After(last) }).Seen
	}
	for _, o := range b.All() {
		if o.Reach != nil && (o.Reach.Outcome == presence.Silent || o.Reach.Misses > 0) {
			t.Fatalf("told %+v", o.Reach)
		}
	}
	o := b.Wait(t, 5*time.Second, from(sourceReachWeb))
	if !strings.HasPrefix(o.Reach.Detail, streamPath(1)+": ") || b.doubt.n.Load() != 0 {
		t.Errorf("%+v, %d doubts", o.Reach, b.doubt.n.Load())
	}
}

// What was read in a visit is told, though the phone is gone before its end.
func TestWhatWasReadIsToldThoughTheVisitFails(t *testing.T) {
	f := &fakePhone{folder: "7962"}
	s := httptest.NewUnstartedServer(f)
	f.odd.Store(pathNetwork, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = s.Listener.Close()
		w.Header().Set("Connection", "close")
		_, _ = w.Write(golden(t, "7962", "network.xml"))
	}))
	s.Start()
	t.Cleanup(s.Close)
	p := phoneAt(t, s.URL)
	p.Name = "SEP0C1167AA0005"
	b := run(t, Config{Phones: []Phone{p}, Web: time.Second, Domain: "example.com"}, nil)
	o := b.Wait(t, 5*time.Second, from(sourceReachWeb))
	if o.Reach.Outcome == presence.Refused && strings.Contains(o.Reach.Detail, "Read Only") {
		t.Errorf("web access is off, says %+v, and pages were read", o.Reach)
	}
	b.Wait(t, time.Second, from(sourceDevice))
	if o = b.Wait(t, time.Second, from(sourceNetwork)); o.Registration == nil || !o.Registration.Registered {
		t.Errorf("%+v", o.Facts)
	}
	for _, o := range b.All() {
		if o.Source == sourceWeb {
			t.Errorf("told %+v", o.Facts)
		}
	}
}

// Another phone that answers at the address ends no misses, and makes none.
func TestAnotherPhoneIsNoAnswer(t *testing.T) {
	f := &fakePhone{folder: "8865"}
	p := serve(t, f) // which is listed as another
	f.hangs(pathDevice, pathNetwork)
	b := run(t, Config{Phones: []Phone{p}, Web: 50 * time.Millisecond, Timeout: 100 * time.Millisecond, Domain: "example.com"}, nil)
	b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Reach != nil && o.Reach.Misses == 1 })
	f.odd.Clear()
	o := b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Reach != nil && o.Reach.Outcome == presence.Other })
	again := b.Wait(t, 5*time.Second, func(a presence.Observation) bool { return a.Seen.After(o.Seen) })
	if o.Reach.Misses < 1 || again.Reach.Misses != o.Reach.Misses || !strings.Contains(o.Reach.Detail, "SEP0C1167AA0004") {
		t.Errorf("%+v, then %+v", o.Reach, again.Reach)
	}
	for _, o := range b.All() {
		if o.Source != sourceReachWeb {
			t.Errorf("of another phone is told %+v", o)
		}
	}
}

// Whatever hangs, no page is judged by less than half the configured patience.
func TestPatienceIsHalvedOnce(t *testing.T) {
	v := visiting(t, "8845", "SEP0C1167AA0002", ours)
	v.visit()
	v.f.hangs(pathLines, "/CGI/LineInfo", pathNetwork)
	v.slow(streamPath(1), 300*time.Millisecond, "stream-active.xml")
	v.later(time.Minute)
	v.doubted = true // it has missed a poll, and is given half already
	v.timeout = 800 * time.Millisecond
	facts, asked := v.visit()
	if c := facts[sourceWeb].Calls; c == nil || !busy(c) {
		t.Errorf("calls %+v after %q; %v", c, asked, v.trouble)
	}
}

// slow has a page answered after a while.
func (v *visited) slow(path string, after time.Duration, file string) {
	body := golden(v.t, v.f.folder, file)
	v.f.odd.Store(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(after):
			_, _ = w.Write(body)
		case <-r.Context().Done():
		}
	}))
}

// A phone whose whole server hangs for a while on one page is asked for that page less
// and less often: the silence that the page itself made is no new beginning.
func TestTheSilenceThatAPageMadeIsNoNewBeginning(t *testing.T) {
	f := &fakePhone{folder: "7962"}
	var ill atomic.Bool
	var ills atomic.Int32
	var hung atomic.Int64 // until when it answers nothing
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() == streamPath(1) && ill.Load() {
			hung.Store(time.Now().Add(700 * time.Millisecond).UnixNano())
			ills.Add(1)
		}
		if time.Now().UnixNano() < hung.Load() {
			<-r.Context().Done()
			return
		}
		f.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	p := phoneAt(t, s.URL)
	p.Name = "SEP0C1167AA0005"
	b := run(t, Config{Phones: []Phone{p}, Web: 100 * time.Millisecond, Timeout: 100 * time.Millisecond, Domain: "example.com", Pace: Pace{Device: time.Hour, Network: time.Hour}}, nil)
	b.Wait(t, 5*time.Second, from(sourceWeb))
	ill.Store(true)
	time.Sleep(5 * time.Second)
	if n := ills.Load(); n != 1 {
		t.Errorf("asked %d times in five seconds for a page that hangs", n)
	}
	for _, o := range b.All() {
		if o.Reach != nil && o.Reach.Misses >= presence.Misses {
			t.Errorf("out of reach: %+v", o.Reach)
		}
	}
}
