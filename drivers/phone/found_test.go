package phone

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pilotlight/agent/agenttest"
	"pilotlight/agent/presence"
	"pilotlight/agent/schedule"
)

// portOn starts a phone on each of some loopback addresses, all at one port, and
// counts the connections to each.
func portOn(t *testing.T, hosts ...string) (port int, connections map[string]*atomic.Int32) {
	t.Helper()
	body, err := os.ReadFile("testdata/7841/device.xml")
	if err != nil {
		t.Fatal(err)
	}
	connections = map[string]*atomic.Int32{}
	for _, host := range hosts {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port))
		if err != nil {
			t.Fatal(err)
		}
		port = l.Addr().(*net.TCPAddr).Port
		n := &atomic.Int32{}
		connections[host] = n
		s := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != pathDevice {
					http.NotFound(w, r)
					return
				}
				_, _ = w.Write(body)
			}),
			ConnState: func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					n.Add(1)
				}
			},
			ErrorLog: slog.NewLogLogger(slog.NewTextHandler(io.Discard, nil), slog.LevelError),
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Serve(l) }()
		t.Cleanup(func() { s.Close(); <-done })
	}
	return port, connections
}

func inside(a netip.Addr) bool { return netip.MustParsePrefix("127.0.1.0/24").Contains(a) }

// Nobody is contacted who was only heard of: a phone that a switch named is asked
// when its address may be contacted and it is not listed, and never otherwise.
func TestWhoIsFoundIsAskedOnlyWhereThatIsAllowed(t *testing.T) {
	const listed, allowed, outside, elsewhere = "127.0.2.1", "127.0.1.2", "127.0.2.3", "127.0.1.4"
	port, connections := portOn(t, listed, allowed, outside, elsewhere)
	for _, tt := range []struct {
		name  string
		allow func(netip.Addr) bool
		asked bool
	}{{"inside discovery.allow", inside, true}, {"no discovery.allow", nil, false}} {
		t.Run(tt.name, func(t *testing.T) {
			for _, n := range connections {
				n.Store(0)
			}
			heart := &agenttest.Recorder{}
			d, err := New(Config{Web: 50 * time.Millisecond, Domain: "example.com", Allow: tt.allow, Defaults: Defaults{WebPort: port, SIPPort: -1},
				Phones: []Phone{{Name: "listed", Address: listed, WebPort: port, WebScheme: "http"}}},
				Needs{Heart: heart, Web: schedule.New("phone-web", schedule.Options{})}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			stop := running(t, d)
			d.Found("outside", netip.MustParseAddr(outside))
			d.Found("listed", netip.MustParseAddr(elsewhere)) // it is asked where the list says
			d.Found("another", netip.MustParseAddr(listed))   // not twice under two names
			d.Found("a name: of a wire", netip.MustParseAddr(elsewhere))
			d.Found("nowhere", netip.Addr{})
			d.Found("mapped", netip.MustParseAddr("::ffff:"+outside))
			d.Found("found", netip.MustParseAddr(allowed))
			names := []string{"listed"}
			if tt.asked {
				names = append(names, "found")
			}
			for _, name := range names {
				var last time.Time
				for range 3 {
					last = heart.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Device == name && o.Seen.After(last) }).Seen
				}
			}
			stop()
			if n := connections[allowed].Load(); tt.asked != (n > 0) {
				t.Errorf("%d connections to the phone that was found", n)
			}
			if connections[outside].Load()+connections[elsewhere].Load() > 0 {
				t.Errorf("%d and %d connections to who may not be contacted", connections[outside].Load(), connections[elsewhere].Load())
			}
			for _, o := range heart.All() {
				if !slices.Contains(names, o.Device) {
					t.Errorf("told of %s", o.Device)
				}
			}
		})
	}
}

func phonesOf(r *roster) string {
	all, _ := r.all()
	var names []string
	for _, p := range all {
		names = append(names, p.Name+"@"+p.Address)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestAnAddressHasOnePhone(t *testing.T) {
	r := newRoster([]Phone{{Name: "L", Address: "10.0.0.1"}, {Name: "H", Address: "phone.example.com"}})
	start := time.Now()
	at := func(name, addr string, after time.Duration) bool {
		return r.put(Phone{Name: name, Address: addr}, start.Add(after))
	}
	for _, step := range []struct {
		name, addr string
		after      time.Duration
		news       bool
		want       string
	}{
		{"A", "10.0.0.2", 0, true, "A@10.0.0.2"},
		{"A", "10.0.0.2", 5 * time.Minute, false, "A@10.0.0.2"},
		{"B", "10.0.0.2", 6 * time.Minute, false, "A@10.0.0.2"}, // A still has it
		{"A", "10.0.0.3", 7 * time.Minute, true, "A@10.0.0.3"},  // moved
		{"B", "10.0.0.2", 8 * time.Minute, true, "A@10.0.0.3 B@10.0.0.2"},
		{"C", "10.0.0.2", 20 * time.Minute, true, "A@10.0.0.3 C@10.0.0.2"}, // B is named no more
		{"C", "10.0.0.1", 20 * time.Minute, false, "A@10.0.0.3 C@10.0.0.2"},
		{"H", "10.0.0.9", 20 * time.Minute, false, "A@10.0.0.3 C@10.0.0.2"},
	} {
		if news := at(step.name, step.addr, step.after); news != step.news {
			t.Errorf("%+v: new %v", step, news)
		}
		if got := phonesOf(r); got != step.want+" H@phone.example.com L@10.0.0.1" {
			t.Errorf("%+v: %s", step, got)
		}
	}
}

func TestFoundPhonesAreBounded(t *testing.T) {
	r := newRoster(nil)
	start := time.Now()
	for i := range maxFound + 3 {
		r.put(Phone{Name: fmt.Sprint("p", i), Address: fmt.Sprint("a", i)}, start.Add(time.Duration(i)*time.Second))
	}
	all, _ := r.all()
	names := map[string]bool{}
	for _, p := range all {
		names[p.Name] = true
	}
	if len(all) != maxFound || names["p0"] || names["p2"] || !names["p3"] {
		t.Errorf("%d phones; the oldest is there: %v, %v", len(all), names["p0"], names["p3"])
	}
}

// The queue is filled anew with each phone that is found. Who is asked rarely, or
// often, stays so.
func TestWhoIsFoundChangesNobodysPace(t *testing.T) {
	q := &paced{every: map[string]time.Duration{}}
	r := &round[sipState]{queue: q, every: time.Minute, asks: func(p Phone) bool { return p.SIPPort > 0 }}
	a, b := Phone{Name: "a", SIPPort: 5060}, Phone{Name: "b", SIPPort: 5060}
	r.set([]Phone{a, {Name: "silent"}})
	_, st, _ := r.get("a")
	st.tries = 2
	r.pace("a", time.Hour)
	r.pace("gone", time.Hour)
	r.set([]Phone{a, b})
	if _, st, known := r.get("a"); !known || st.tries != 2 || q.every["a"] != time.Hour || q.every["b"] != time.Minute || len(q.every) != 2 {
		t.Errorf("%v, %v", known, q.every)
	}
	r.set([]Phone{b})
	if _, _, known := r.get("a"); known || len(q.every) != 1 {
		t.Errorf("%v, %v", known, q.every)
	}
}

// paced is a queue that knows only how often who is asked.
type paced struct {
	Queue
	every map[string]time.Duration
}

func (p *paced) Set(targets ...schedule.Target) {
	clear(p.every)
	for _, t := range targets {
		p.every[t.Key] = t.Every
	}
}

func (p *paced) Every(key string, every time.Duration) { p.every[key] = every }
