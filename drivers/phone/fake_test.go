package phone

import (
	"bytes"
	"context"
	"errors"
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
	odd      sync.Map     // path with query → http.HandlerFunc that answers in place of the page
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
	if do, ok := f.odd.Load(path); ok {
		do.(http.HandlerFunc)(w, r)
		return
	}
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

// sends has a page answered with these instead; status 0 is the page again.
func (f *fakePhone) sends(path string, status int, body string, head ...string) {
	if status == 0 {
		f.odd.Delete(path)
		return
	}
	f.odd.Store(path, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(head); i += 2 {
			w.Header().Set(head[i], head[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
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
