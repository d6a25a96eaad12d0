package phone

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pilotlight/agent"
	"pilotlight/agent/agenttest"
	"pilotlight/agent/presence"
	"pilotlight/agent/schedule"
)

// A fakePhone serves the golden bodies of a family, as far as there are any, in
// a state that a test chooses.
type fakePhone struct {
	folder   string
	talking  atomic.Bool
	files    sync.Map     // path with query → file name, in place of the usual one; "" for 404
	user     string       // name and password that /CGI pages want; "": they are not there
	open     atomic.Int32 // connections now
	most     atomic.Int32 // the most there ever were at a time
	requests atomic.Int32
	bytes    atomic.Int64
	mu       sync.Mutex
	asked    []string
}

// usual are the pages of an idle phone, and which file has them.
var usual = map[string]string{
	pathDevice: "device.xml", pathNetwork: "network.xml", pathStream + "?1": "stream-idle.xml", pathStream + "?2": "stream-idle.xml", pathStream + "?3": "stream-idle.xml",
	pathPort + "?1": "port-cdp.xml", pathEthernet: "ethernet.xml", pathLog + "?0": "log.xml",
	pathLines: "lines-idle.xml", pathMode: "mode.xml", pathStatus: "status-idle.xml",
}

func (f *fakePhone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests.Add(1)
	path := r.URL.RequestURI()
	f.mu.Lock()
	f.asked = append(f.asked, path)
	f.mu.Unlock()
	file := usual[path]
	if path == pathStream+"?1" && f.talking.Load() {
		file = "stream-active.xml"
	}
	if v, ok := f.files.Load(path); ok {
		file = v.(string)
	}
	if strings.HasPrefix(path, "/CGI/") {
		user, password, _ := r.BasicAuth()
		switch {
		case f.user == "":
			file = ""
		case user+":"+password != f.user:
			w.Header().Set("WWW-Authenticate", `Basic realm="phone"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
	}
	body, err := os.ReadFile(filepath.Join("testdata", f.folder, file))
	if file == "" || err != nil {
		http.NotFound(w, r)
		return
	}
	f.bytes.Add(int64(len(body)))
	w.Header().Set("Content-Type", `text/xml; charset="utf-8"`)
	_, _ = w.Write(body)
}

// took gives what was asked for since the last time.
func (f *fakePhone) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

func (f *fakePhone) track(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		f.most.Store(max(f.most.Load(), f.open.Add(1)))
	case http.StateClosed, http.StateHijacked:
		f.open.Add(-1)
	}
}

// serve starts a phone on a free loopback port.
func serve(t *testing.T, f *fakePhone) Phone {
	t.Helper()
	s := httptest.NewUnstartedServer(f)
	s.Config.ConnState = f.track
	s.Start()
	t.Cleanup(s.Close)
	return phoneAt(t, s.URL)
}

func phoneAt(t *testing.T, rawURL string) Phone {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return Phone{Name: "SEP0C1167AA0001", Address: u.Hostname(), WebPort: port, WebScheme: u.Scheme}
}

// raw starts a phone that does to each connection what it likes.
func raw(t *testing.T, do func(net.Conn)) Phone {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				stop := context.AfterFunc(ctx, func() { c.Close() })
				defer stop()
				defer c.Close()
				do(c)
			})
		}
	})
	t.Cleanup(func() { cancel(); l.Close(); wg.Wait() })
	return phoneAt(t, "http://"+l.Addr().String())
}

// says answers each request on a connection with the same bytes.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		buf := make([]byte, 4096)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
		}
	}
}

type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBook) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(l.buf.String()), "\n")
}

type doubts struct{ n atomic.Int32 }

func (d *doubts) Doubt(string) { d.n.Add(1) }

// A bench is a driver at work, with all that it told and logged.
type bench struct {
	*agenttest.Recorder
	log   logBook
	doubt doubts
	web   *schedule.Queue
	sip   *schedule.Queue
}

// run starts a driver and holds it, at the end of the test, to stop and leave nothing.
// Every page is due at every visit, unless the test says otherwise.
func run(t *testing.T, c Config, asker Asker) *bench {
	t.Helper()
	if c.Pace == (Pace{}) {
		c.Pace = Pace{Network: 1, Device: 1}
	}
	b := &bench{Recorder: &agenttest.Recorder{}, web: schedule.New("phone-web", schedule.Options{Every: c.Web}), sip: schedule.New("phone-sip", schedule.Options{Every: c.SIP})}
	d, err := New(c, Needs{Heart: b, Web: b.web, SIP: b.sip, Asker: asker, Doubt: &b.doubt}, slog.New(slog.NewTextHandler(&b.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(2 * time.Second):
			t.Error("Run does not end")
		}
		if err := goleak.Find(append(httpServers, before)...); err != nil {
			t.Error(err)
		}
		for _, o := range b.All() {
			agenttest.CheckObservation(t, o)
		}
	})
	return b
}

// httpServers are the goroutines of the fake phones, which end with their own cleanup.
var httpServers = []goleak.Option{
	goleak.IgnoreAnyFunction("net/http.(*conn).serve"),
	goleak.IgnoreAnyFunction("pilotlight/drivers/internal/sip.(*serving).packetLoop"), // of a test's endpoint, which outlives the driver
	goleak.IgnoreAnyFunction("net/http.(*connReader).backgroundRead"),
	goleak.IgnoreAnyFunction("pilotlight/drivers/phone.raw.func1"),
	goleak.IgnoreAnyFunction("pilotlight/drivers/phone.raw.func1.1"),
	goleak.IgnoreAnyFunction("pilotlight/drivers/phone.says.func1"),
}

func from(source string) func(presence.Observation) bool {
	return func(o presence.Observation) bool { return o.Source == source }
}

func TestContract(t *testing.T) {
	deaf := raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	babbling := raw(t, says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	babbling.Name = "SEP0C1167AA0002"
	agenttest.Suite(t, func(t *testing.T, r *agenttest.Recorder) agent.Driver {
		d, err := New(Config{Phones: []Phone{deaf, babbling}, Web: 50 * time.Millisecond, Domain: "example.com"},
			Needs{Heart: r, Web: schedule.New("phone-web", schedule.Options{})}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

func TestAPhoneIsToldOf(t *testing.T) {
	f := &fakePhone{folder: "7841"}
	b := run(t, Config{Phones: []Phone{serve(t, f)}, Web: 100 * time.Millisecond, Domain: "example.com"}, nil)

	o := b.Wait(t, 5*time.Second, from(sourceWeb))
	if o.Device != "SEP0C1167AA0001" || o.TTL != 250*time.Millisecond+500*time.Millisecond {
		t.Errorf("observation %+v", o)
	}
	if o.Calls == nil || o.Calls.Exact || len(o.Calls.Lines) != 0 {
		t.Errorf("calls %+v, want an inexact none", o.Calls)
	}
	if o.Reach.Outcome != presence.Answered || o.Reach.Via != "web" {
		t.Errorf("reach %+v", o.Reach)
	}
	device := b.Wait(t, 5*time.Second, from(sourceDevice))
	if id := device.Identity; id.Model != "CP-7841" || id.Address.String() != "127.0.0.1" || len(id.Lines) != 1 || id.Lines[0] != "4001" {
		t.Errorf("identity %+v", id)
	}
	if device.Messages.Waiting || !device.Abilities.Audio || device.Abilities.Video {
		t.Errorf("facts %+v", device.Facts)
	}
	network := b.Wait(t, 5*time.Second, from(sourceNetwork))
	if !network.Registration.Registered || network.Registration.Server != "10.0.0.5" {
		t.Errorf("registration %+v", network.Registration)
	}

	f.talking.Store(true)
	o = b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Calls != nil && len(o.Calls.Lines) == 1 })
	if l := o.Calls.Lines[0]; l.Number != "4001" || l.State != presence.LineConfirmed {
		t.Errorf("line %+v", l)
	}
	if len(o.Streams.List) != 2 || !o.Streams.List[0].Active || o.Streams.List[0].Codec != "G.711u" {
		t.Errorf("streams %+v: stream 2 is asked for while 1 is active", o.Streams)
	}
	if n := f.most.Load(); n != 1 {
		t.Errorf("%d connections to one phone at a time", n)
	}
}

func TestAPhoneThatClosesAfterEachAnswerIsRead(t *testing.T) {
	body := golden(t, "7841", "device.xml")
	p := raw(t, func(c net.Conn) { // as HTTP/1.1, without a word on closing
		buf := make([]byte, 4096)
		if _, err := c.Read(buf); err == nil {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	})
	s := newSession(p, time.Second, &pins{}, Credentials{})
	defer s.close()
	for range 3 {
		if _, err := s.page(t.Context(), pathDevice); err != nil {
			t.Fatal(err)
		}
	}
}

// What a phone may do to us, what is told of it, and that it is said once.
func TestHostilePhones(t *testing.T) {
	closed := raw(t, func(net.Conn) {})
	elsewhere := httptest.NewServer(http.RedirectHandler("http://127.0.0.2:80/DeviceInformationX", http.StatusFound))
	t.Cleanup(elsewhere.Close)
	round := httptest.NewServer(http.RedirectHandler("/again", http.StatusFound))
	t.Cleanup(round.Close)
	device := golden(t, "7841", "device.xml")
	ok := func(body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	gone, err := net.Listen("tcp", "127.93.41.7:0") // nobody else takes a port of this address meanwhile
	if err != nil {
		t.Fatal(err)
	}
	refusing := phoneAt(t, "http://"+gone.Addr().String())
	gone.Close()

	for _, c := range []struct {
		name   string
		phone  Phone
		reach  presence.ReachOutcome
		detail string
	}{
		{"refuses", refusing, presence.Refused, "Read Only"},
		{"asks for a password", raw(t, says("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")), presence.Refused, "password"},
		{"answers nothing", raw(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), presence.Silent, "answers nothing"},
		{"closes at once", closed, presence.Garbled, "closes the connection"},
		{"half a page, by its length", raw(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(device), device[:len(device)/2])
		}), presence.Garbled, "half a page"},
		{"half a page, by its elements", raw(t, says(ok(string(device[:len(device)/2])))), presence.Garbled, "half a page"},
		{"drips", raw(t, func(c net.Conn) {
			for _, b := range []byte("HTTP/1.1 200 OK\r\nX: ") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
			}
			_, _ = io.Copy(io.Discard, c)
		}), presence.Garbled, "did not end in time"},
		{"10 MB", raw(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 10<<20)
			block := bytes.Repeat([]byte("<a/>"), 4096)
			for range 10 << 20 / len(block) {
				if _, err := c.Write(block); err != nil {
					return
				}
			}
		}), presence.Garbled, "more than 128 kB"},
		{"a header without end", raw(t, func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "X: "+strings.Repeat("x", 4000)+"\r\n"); err != nil {
					return
				}
			}
		}), presence.Garbled, "more than 128 kB"},
		{"a wrong charset", raw(t, says(ok("<?xml version=\"1.0\" encoding=\"UTF-16\"?>\xff\xfeD\x00e\x00v\x00"))), presence.Garbled, "not XML"},
		{"an XML bomb", raw(t, says(ok(`<!DOCTYPE l [<!ENTITY a "lol">]><DeviceInformation>&a;</DeviceInformation>`))), presence.Garbled, "document type declaration"},
		{"redirects elsewhere", phoneAt(t, elsewhere.URL), presence.Garbled, "another host (127.0.0.2:80)"},
		{"redirects in a circle", phoneAt(t, round.URL), presence.Garbled, "redirects twice"},
		{"speaks no HTTP", raw(t, says("SSH-2.0-dropbear\r\n")), presence.Garbled, "not sense"},
		{"is another phone", raw(t, says(ok(strings.ReplaceAll(string(device), "0C1167AA0001", "0C1167AAFFFF")))), presence.Garbled, "SEP0C1167AAFFFF"},
		{"is no phone", raw(t, says(ok("<html><body/></html>"))), presence.Garbled, "root is html"},
		{"fails", raw(t, says("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")), presence.Garbled, "HTTP 503"},
		{"has no such page", raw(t, says("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")), presence.Garbled, "3PCC firmware"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := run(t, Config{Phones: []Phone{c.phone}, Web: 100 * time.Millisecond, Timeout: 200 * time.Millisecond, Domain: "example.com"}, nil)
			o := b.Wait(t, 5*time.Second, from(sourceReachWeb))
			for range 2 { // and again: it is still said only once
				seen := o.Seen
				o = b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Seen.After(seen) })
			}
			if o.Reach.Outcome != c.reach || !strings.Contains(o.Reach.Detail, c.detail) || o.Reach.Via != "web" {
				t.Errorf("reach %+v, want %s, %q", o.Reach, c.reach, c.detail)
			}
			if (o.Reach.Misses > 0) != (c.reach == presence.Silent) || (b.doubt.n.Load() > 0) != (c.reach == presence.Silent) {
				t.Errorf("%d misses, %d doubts: only silence is a miss", o.Reach.Misses, b.doubt.n.Load())
			}
			if n := b.web.Stats().Outcomes["ok"]; n > 0 {
				t.Errorf("%d polls count as ok", n)
			}
			for _, o := range b.All() {
				if o.Source != sourceReachWeb || o.Calls != nil || o.Registration != nil {
					t.Errorf("a failed poll tells %+v", o)
				}
			}
			if l := b.log.lines(); len(l) != 1 || !strings.Contains(l[0], c.phone.Name) {
				t.Errorf("logged %d lines: %q", len(l), l)
			}
		})
	}
}

func TestThreeMissesComeWithinSecondsAtAnyPollInterval(t *testing.T) {
	f := &fakePhone{folder: "7841"}
	var frozen atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if frozen.Load() {
			<-r.Context().Done()
			return
		}
		f.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	b := run(t, Config{Phones: []Phone{phoneAt(t, s.URL)}, Web: time.Minute, Timeout: 200 * time.Millisecond, Domain: "example.com"}, nil)
	b.web.Hasten("SEP0C1167AA0001", 0)
	b.Wait(t, 5*time.Second, from(sourceWeb))
	frozen.Store(true)
	b.web.Hasten("SEP0C1167AA0001", 0)
	first := b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Reach != nil && o.Reach.Misses == 1 })
	third := b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Reach != nil && o.Reach.Misses == 3 })
	if took := third.Seen.Sub(first.Seen); took < 2*time.Second || took > 8*time.Second {
		t.Errorf("third miss %v after the first", took)
	}
	if b.doubt.n.Load() != 3 {
		t.Errorf("the switch was asked %d times", b.doubt.n.Load())
	}
	frozen.Store(false)
	b.web.Hasten("SEP0C1167AA0001", 0)
	back := b.Wait(t, 5*time.Second, func(o presence.Observation) bool {
		return o.Source == sourceReachWeb && o.Reach.Outcome == presence.Answered
	})
	if back.Reach.Misses != 0 {
		t.Errorf("reach %+v", back.Reach)
	}
	if l := b.log.lines(); len(l) != 2 { // does not, and does again
		t.Errorf("logged %q", l)
	}
}

func TestARedirectInsideThePhoneIsFollowedAndItsCertificatePinned(t *testing.T) {
	f := &fakePhone{folder: "7841"}
	secure := httptest.NewTLSServer(f)
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secure.URL+r.URL.RequestURI(), http.StatusFound)
	}))
	t.Cleanup(plain.Close)
	p := phoneAt(t, plain.URL)
	kept := &pins{keys: map[string][32]byte{}}
	s := newSession(p, 2*time.Second, kept, Credentials{})
	if err := sweepOnce(t, s); err != nil {
		t.Fatal(err)
	}
	s.close()
	kept.keys[p.Name] = [32]byte{1}
	s = newSession(p, 2*time.Second, kept, Credentials{})
	defer s.close()
	err := sweepOnce(t, s)
	if fault, ok := errors.AsType[*Fault](err); !ok || fault.Reach != presence.Garbled || !strings.Contains(fault.Detail, "another certificate") {
		t.Errorf("another certificate: %v", err)
	}
}

func TestTroubleOfOursProvesNothing(t *testing.T) {
	// The kernel has no route for TCP to the broadcast address: no packet leaves.
	p := Phone{Name: "SEP0C1167AA0001", Address: "255.255.255.255", WebPort: 80, WebScheme: "http"}
	b := run(t, Config{Phones: []Phone{p}, Web: 50 * time.Millisecond, Domain: "example.com"}, nil)
	for late := time.Now().Add(5 * time.Second); b.web.Stats().Count < 3 && time.Now().Before(late); {
		time.Sleep(10 * time.Millisecond)
	}
	if all := b.All(); len(all) != 0 {
		t.Errorf("told %+v", all)
	}
	if l := b.log.lines(); len(l) != 1 {
		t.Errorf("logged %q", l)
	}
}

func TestFaultyConfigurations(t *testing.T) {
	ok := Phone{Name: "SEP0C1167AA0001", Address: "10.1.1.20", WebPort: 80, WebScheme: "http"}
	for _, c := range []struct {
		name string
		c    Config
		want string
	}{
		{"no name", Config{Phones: []Phone{{Address: "10.1.1.20", WebScheme: "http"}}}, "want a device name"},
		{"a URI for a name", Config{Phones: []Phone{{Name: "sip:a@b", Address: "10.1.1.20", WebScheme: "http"}}}, "want a device name"},
		{"twice", Config{Phones: []Phone{ok, ok}}, "listed twice"},
		{"a URL for an address", Config{Phones: []Phone{{Name: "SEP1", Address: "http://10.1.1.20", WebScheme: "http"}}}, "without scheme"},
		{"an address with port", Config{Phones: []Phone{{Name: "SEP1", Address: "10.1.1.20:80", WebScheme: "http"}}}, "without a port"},
		{"a scheme", Config{Phones: []Phone{{Name: "SEP1", Address: "10.1.1.20", WebScheme: "ftp"}}}, "want http or https"},
		{"a port", Config{Phones: []Phone{{Name: "SEP1", Address: "10.1.1.20", WebScheme: "http", WebPort: 70000}}}, "ports"},
		{"a server without subscriber", Config{Domain: "example.com", Servers: []Server{{Name: "pbx"}}}, "nothing to subscribe with"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.c, Needs{Heart: &agenttest.Recorder{}}, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestDefaultsAreResolved(t *testing.T) {
	d := StandardDefaults()
	for _, c := range []struct {
		entry Entry
		want  Phone
	}{
		{Entry{Name: "a", Address: "h"}, Phone{"a", "h", 80, "http", 5060, ""}},
		{Entry{Name: "a", Address: "h", WebPort: 8443, WebScheme: "https", SIPPort: 5061}, Phone{"a", "h", 8443, "https", 5061, ""}},
		{Entry{Name: "a", Address: "h", WebPort: -1, SIPPort: -1}, Phone{"a", "h", 0, "http", 0, ""}},
	} {
		if got := d.Phone(c.entry); got != c.want {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}

// sweepOnce visits a phone that nothing is remembered of.
func sweepOnce(t *testing.T, s *session) error {
	t.Helper()
	return (&sweep{session: s, a: &account{}, pace: Pace{}.withDefaults()}).run(t.Context())
}
