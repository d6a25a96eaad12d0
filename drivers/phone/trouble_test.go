package phone

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pilotlight/agent/presence"
)

const login = "<html><body>Log in</body></html>"

// A page of the keys that is rubbish is that page's fault: the phone is read by
// its open pages, as one without a user, and what is wrong is said.
func TestABadPageOfTheKeysSpoilsNoOther(t *testing.T) {
	half := string(golden(t, "8845", "lines-connected.xml")[:300])
	for name, bad := range map[string]func(*fakePhone){
		"a login page":           func(f *fakePhone) { f.sends(pathLines, 200, login) },
		"half a page":            func(f *fakePhone) { f.sends(pathLines, 200, half) },
		"half a page, by length": func(f *fakePhone) { f.sends(pathLines, 200, half, "Content-Length", "4000") },
		"nothing":                func(f *fakePhone) { f.sends(pathLines, 200, "") },
		"an error of its own":    func(f *fakePhone) { f.sends(pathLines, 500, "oops") },
		"a redirect elsewhere":   func(f *fakePhone) { f.sends(pathLines, 302, "", "Location", "http://127.0.0.2:80/login") },
		"no answer, as its Authentication URL cannot be reached": func(f *fakePhone) {
			f.odd.Store(pathLines, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := visiting(t, "8845", "SEP0C1167AA0002", ours)
			v.timeout = 300 * time.Millisecond
			bad(v.f)
			v.f.talking.Store(true)
			for range 2 {
				facts, _ := v.visit()
				if c := facts[sourceWeb].Calls; c == nil || c.Exact || len(c.Lines) != 1 || c.Lines[0].State != presence.LineConfirmed {
					t.Errorf("calls %+v, want those of the streams", c)
				}
				if v.trouble == nil || v.trouble.Reach != presence.Garbled || !strings.HasPrefix(v.trouble.Detail, pathLines+": ") {
					t.Errorf("the trouble is %+v", v.trouble)
				}
				if v.a.device.Model != "CP-8845" || !v.a.reg.Registered {
					t.Errorf("known: %+v, %+v", v.a.device, v.a.reg)
				}
			}
			v.f.odd.Delete(pathLines)
			v.later(time.Minute)
			if facts, _ := v.visit(); !facts[sourceWeb].Calls.Exact || v.trouble != nil {
				t.Errorf("mended, and told %+v; %v", facts[sourceWeb].Calls, v.trouble)
			}
		})
	}
}

// The calls of one line are a second opinion: without them the keys count.
func TestABadPageOfCallsLeavesTheKeys(t *testing.T) {
	v := visiting(t, "8845", "SEP0C1167AA0002", ours)
	v.f.sends(pathLines, 200, strings.Replace(string(golden(t, "8845", "lines-connected.xml")), "CONNECTED", "WHISPER", 1))
	v.f.sends(callPath(1), 200, login)
	facts, _ := v.visit()
	if c := facts[sourceWeb].Calls; c == nil || !c.Exact || !busy(c) {
		t.Errorf("calls %+v, want the keys'", c)
	}
	if v.trouble == nil || !strings.HasPrefix(v.trouble.Detail, callPath(1)) {
		t.Errorf("the trouble is %+v", v.trouble)
	}
}

// Silence is the page's only while the phone answers on others.
func TestAPhoneThatIsSilentIsSoWithAUserToo(t *testing.T) {
	v := visiting(t, "8845", "SEP0C1167AA0002", ours)
	v.visit()
	v.timeout = 200 * time.Millisecond
	v.f.hangs(pathLines, "/CGI/LineInfo", streamPath(1), pathDevice, pathNetwork)
	_, _, err := v.try()
	if f, ok := errors.AsType[*Fault](err); !ok || f.Reach != presence.Silent {
		t.Errorf("%v", err)
	}
}

// A request that was broken off is over before the next is made: a phone's server
// bears one at a time.
func TestARequestThatWasBrokenOffIsOverBeforeTheNext(t *testing.T) {
	v := visiting(t, "8845", "SEP0C1167AA0002", ours)
	v.timeout = 200 * time.Millisecond
	ended := make(chan time.Time, 1)
	v.f.odd.Store(pathLines, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		time.Sleep(breath / 2) // which a phone may need
		ended <- time.Now()
	}))
	next := make(chan time.Time, 1)
	v.f.odd.Store(streamPath(1), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		next <- time.Now()
		_, _ = w.Write(golden(t, "8845", "stream-idle.xml"))
	}))
	v.visit()
	if over, began := <-ended, <-next; began.Before(over) {
		t.Errorf("the next request came %v before the last was over", over.Sub(began))
	}
}

// What the driver makes of it: the phone answers, its calls are known, and one
// observation and one line of the log say what is wrong with which page.
func TestATroubleIsToldBesideTheFacts(t *testing.T) {
	f := &fakePhone{folder: "8845", user: "pilot:flight"}
	p := serve(t, f)
	p.Name = "SEP0C1167AA0002"
	f.sends(pathNetwork, 200, login)
	b := run(t, Config{Phones: []Phone{p}, Web: 50 * time.Millisecond, Domain: "example.com", Credentials: ours}, nil)
	o := b.Wait(t, 5*time.Second, from(sourceReachWeb))
	if o.Reach.Outcome != presence.Garbled || o.Reach.Misses != 0 || !strings.HasPrefix(o.Reach.Detail, pathNetwork) {
		t.Errorf("reach %+v", o.Reach)
	}
	o = b.Wait(t, 5*time.Second, from(sourceWeb))
	if o.Calls == nil || !o.Calls.Exact {
		t.Errorf("calls %+v", o.Calls)
	}
	f.sends(pathNetwork, 0, "")
	b.Wait(t, 5*time.Second, func(o presence.Observation) bool {
		return o.Source == sourceReachWeb && o.Reach.Outcome == presence.Answered
	})
	if l := b.log.lines(); len(l) != 2 || !strings.Contains(l[0], pathNetwork) {
		t.Errorf("logged %q", l)
	}
}

// What each status means for a page that the phone can be read without: how long
// it is left alone after the first, second and third in a row.
func TestWhatAStatusMeansForAPage(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		status int
		retry  string
		waits  [3]time.Duration
	}{
		{404, "", [3]time.Duration{0, time.Minute, day}},
		{410, "", [3]time.Duration{0, time.Minute, day}},
		{501, "", [3]time.Duration{0, time.Minute, day}},
		{401, "", [3]time.Duration{deniedFor, deniedFor, deniedFor}},
		{403, "", [3]time.Duration{deniedFor, deniedFor, deniedFor}},
		{400, "", [3]time.Duration{}},
		{408, "", [3]time.Duration{}},
		{500, "", [3]time.Duration{}},
		{429, "", [3]time.Duration{15 * time.Second, 30 * time.Second, time.Minute}},
		{503, "", [3]time.Duration{15 * time.Second, 30 * time.Second, time.Minute}},
		{503, "40", [3]time.Duration{40 * time.Second, 40 * time.Second, 40 * time.Second}},
		{429, "86400", [3]time.Duration{maxWait, maxWait, maxWait}},
		{503, "-5", [3]time.Duration{15 * time.Second, 30 * time.Second, time.Minute}},
		{503, "Thu, 01 Jan 1998 00:00:00 GMT", [3]time.Duration{15 * time.Second, 30 * time.Second, time.Minute}},
	} {
		for _, path := range []string{streamPath(1), pathNetwork} {
			t.Run(strconv.Itoa(c.status)+" "+c.retry+" "+path, func(t *testing.T) {
				v := visiting(t, "7962", "SEP0C1167AA0005", Credentials{})
				v.visit()
				v.f.sends(path, c.status, "", "Retry-After", c.retry)
				for n, want := range c.waits {
					v.later(max(want, time.Minute)) // whatever was waited for is over
					if _, asked := v.visit(); !slices.Contains(asked, path) {
						t.Fatalf("not asked for the %d. time: %q", n+1, asked)
					}
					got := max(0, time.Until(v.a.troubles[path].until))
					if got > want || got < want-5*time.Second {
						t.Errorf("left alone for %v after %d, want %v", got, n+1, want)
					}
					if want == 0 {
						continue
					}
					if _, asked := v.visit(); slices.Contains(asked, path) {
						t.Errorf("asked again at once: %q", asked)
					}
				}
			})
		}
	}
}

// One page that is not there now costs neither the day nor what was told before.
func TestOne404IsNoVerdict(t *testing.T) {
	v := visiting(t, "7962", "SEP0C1167AA0005", Credentials{})
	v.f.talking.Store(true)
	v.visit()
	v.f.sends(streamPath(1), 404, "")
	v.f.sends(pathNetwork, 404, "")
	v.later(time.Minute)
	if facts, _ := v.visit(); facts[sourceWeb].Calls != nil || facts[sourceWeb].Reach != nil || v.a.streams == 0 {
		t.Errorf("told %+v: what was told last holds", facts[sourceWeb])
	}
	v.f.sends(streamPath(1), 0, "")
	v.f.sends(pathNetwork, 0, "")
	facts, _ := v.visit()
	if c := facts[sourceWeb].Calls; c == nil || len(c.Lines) != 1 || facts[sourceNetwork].Registration == nil {
		t.Errorf("told %+v", facts)
	}
}

// A page that is missing for good costs one request a day, and is no trouble. That
// the phone answers is still seen at each visit, and never supposed.
func TestAMissingPageIsRemembered(t *testing.T) {
	v := visiting(t, "8865", "SEP0C1167AA0004", Credentials{})
	for _, path := range []string{streamPath(1), pathNetwork} {
		v.f.sends(path, 404, "")
	}
	for range goneTries {
		v.visit()
		v.later(2 * time.Minute)
	}
	v.visit() // its identity is due
	facts, asked := v.visit()
	if !slices.Equal(asked, []string{pathDevice}) || facts[sourceWeb].Reach == nil || facts[sourceWeb].Calls != nil || v.trouble != nil {
		t.Errorf("asked for %q, told %+v, %v", asked, facts[sourceWeb], v.trouble)
	}
	v.f.sends(pathDevice, 503, "")
	if _, _, err := v.try(); err == nil {
		t.Error("a phone of which no page was read is told of as one that answers")
	}
	v.f.sends(pathDevice, 0, "")
	v.later(25 * time.Hour)
	if _, asked = v.visit(); !slices.Contains(asked, streamPath(1)) {
		t.Errorf("after a day: %q", asked)
	}
}

// A refused open page is said, as that page's trouble: web access is on, or no other
// page would be read.
func TestARefusedOpenPageIsSaid(t *testing.T) {
	v := visiting(t, "7962", "SEP0C1167AA0005", Credentials{})
	v.f.sends(streamPath(1), 403, "")
	for range 2 {
		facts, _ := v.visit()
		if v.trouble == nil || v.trouble.Reach != presence.Garbled || !strings.HasPrefix(v.trouble.Detail, streamPath(1)) || !strings.Contains(v.trouble.Detail, "Read Only") || facts[sourceWeb].Calls != nil {
			t.Errorf("%+v, %+v", v.trouble, facts[sourceWeb])
		}
	}
}

// A phone that refuses all its pages has web access off, whichever of them is due.
func TestAPhoneThatRefusesEachPageIsRefused(t *testing.T) {
	v := visiting(t, "7962", "SEP0C1167AA0005", Credentials{})
	v.visit()
	for _, path := range []string{pathDevice, pathNetwork, streamPath(1), pathPort + "?1"} {
		v.f.sends(path, 403, "")
	}
	for n := range 4 {
		_, asked, err := v.try()
		if f := faultIn(err); f == nil || f.Reach != presence.Refused {
			t.Errorf("visit %d: %v after %q", n, err, asked)
		}
		v.later(20 * time.Second)
	}
}

// A phone that asks to be left alone is asked less often, and at its pace again
// once it answers.
func TestABusyPhoneIsAskedLessOften(t *testing.T) {
	f := &fakePhone{folder: "7962"}
	p := serve(t, f)
	p.Name = "SEP0C1167AA0005"
	f.sends(pathDevice, 503, "", "Retry-After", "1")
	b := run(t, Config{Phones: []Phone{p}, Web: 50 * time.Millisecond, Domain: "example.com"}, nil)
	b.Wait(t, 5*time.Second, from(sourceReachWeb))
	time.Sleep(500 * time.Millisecond)
	if n := f.requests.Load(); n > 2 {
		t.Errorf("%d requests in half a second", n)
	}
	f.sends(pathDevice, 0, "")
	b.Wait(t, 5*time.Second, from(sourceWeb))
	time.Sleep(300 * time.Millisecond)
	if n := f.requests.Load(); n < 8 {
		t.Errorf("%d requests since it answers", n)
	}
}

// A user is not shown to where a phone redirects, and its pages are then no refusal.
func TestAfterARedirectNoUserIsRefused(t *testing.T) {
	v := visiting(t, "8845", "SEP0C1167AA0002", ours)
	other := httptest.NewServer(v.f)
	t.Cleanup(other.Close)
	v.f.sends(pathDevice, 302, "", "Location", other.URL+"/page")
	v.f.sends("/page", 200, string(golden(t, "8845", "device.xml")))
	if _, asked := v.visit(); slices.ContainsFunc(asked, func(p string) bool { return strings.HasPrefix(p, "/CGI/") }) || v.refused() {
		t.Errorf("asked for %q, refused: %v", asked, v.refused())
	}
}

// Another path of the phone's own is no other place: the user is shown there, and the
// keys of the visit are read. Another port is one.
func TestARedirectToAnotherPathKeepsTheKeys(t *testing.T) {
	lines := string(golden(t, "8845", "lines-connected.xml"))
	for _, absolute := range []bool{false, true} {
		v := visiting(t, "8845", "SEP0C1167AA0002", ours)
		base := ""
		if absolute {
			base = "http://" + net.JoinHostPort(v.p.Address, strconv.Itoa(v.p.WebPort))
		}
		v.f.sends(pathDevice, 302, "", "Location", base+"/page")
		v.f.sends("/page", 200, string(golden(t, "8845", "device.xml")))
		v.f.sends(pathLines, 302, "", "Location", base+"/CGI/lines")
		shown := false
		v.f.odd.Store("/CGI/lines", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _, shown = r.BasicAuth()
			_, _ = io.WriteString(w, lines)
		}))
		facts, _ := v.visit()
		if c := facts[sourceWeb].Calls; c == nil || !c.Exact || !shown {
			t.Errorf("absolute %v: the user was shown: %v; calls %+v", absolute, shown, c)
		}
		other := httptest.NewServer(v.f)
		v.f.sends(pathLines, 302, "", "Location", other.URL+"/CGI/lines")
		if _, asked := v.visit(); shown || !slices.Contains(asked, "/CGI/lines") {
			t.Errorf("the user was shown elsewhere: %v, %q", shown, asked)
		}
		v.f.sends("/CGI/lines", 401, "")
		if _, asked := v.visit(); v.refused() || !slices.Contains(asked, "/CGI/lines") {
			t.Errorf("where it was not shown it was refused: %v, %q", v.refused(), asked)
		}
		other.Close()
	}
}
