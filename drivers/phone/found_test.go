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

// door counts the connections to a phone, and may let them hang.
type door struct {
	atomic.Int32
	frozen atomic.Bool
}

// portOn starts a phone on each of some loopback addresses, all at one port.
func portOn(t *testing.T, hosts ...string) (port int, connections map[string]*door) {
	t.Helper()
	pages := map[string][]byte{}
	for path, file := range map[string]string{pathDevice: "device.xml", pathStream: "stream-idle.xml"} {
		var err error
		if pages[path], err = os.ReadFile("testdata/7841/" + file); err != nil {
			t.Fatal(err)
		}
	}
	connections = map[string]*door{}
	for _, host := range hosts {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port))
		if err != nil {
			t.Fatal(err)
		}
		port = l.Addr().(*net.TCPAddr).Port
		n := &door{}
		connections[host] = n
		s := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n.frozen.Load() {
					<-r.Context().Done()
				}
				body := pages[r.URL.Path]
				if body == nil {
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
	for _, step := range []struct {
		name, addr string
		after      time.Duration
		news       news
		want       string
	}{
		{"A", "10.0.0.2", 0, taken, "A@10.0.0.2"},
		{"A", "10.0.0.2", 5 * time.Minute, nothing, "A@10.0.0.2"},
		{"B", "10.0.0.2", 6 * time.Minute, nothing, "A@10.0.0.2"}, // A still has it
		{"A", "10.0.0.3", 7 * time.Minute, nothing, "A@10.0.0.2"}, // is that another, or has it moved?
		{"A", "10.0.0.3", 10 * time.Minute, taken, "A@10.0.0.3"},  // moved
		{"B", "10.0.0.2", 11 * time.Minute, taken, "A@10.0.0.3 B@10.0.0.2"},
		{"C", "10.0.0.2", 23 * time.Minute, taken, "A@10.0.0.3 C@10.0.0.2"}, // B is named no more
		{"C", "10.0.0.1", 23 * time.Minute, nothing, "A@10.0.0.3 C@10.0.0.2"},
		{"H", "10.0.0.9", 23 * time.Minute, nothing, "A@10.0.0.3 C@10.0.0.2"},
	} {
		if _, news := r.put(Phone{Name: step.name, Address: step.addr}, start.Add(step.after)); news != step.news {
			t.Errorf("%+v: news %v", step, news)
		}
		if got := phonesOf(r); got != step.want+" H@phone.example.com L@10.0.0.1" {
			t.Errorf("%+v: %s", step, got)
		}
	}
}

// Two phones that go by one name, and one phone that moves: who is asked, and
// what is said of it. The steps are at half a minute each.
func TestANameHasOnePhone(t *testing.T) {
	for _, tt := range []struct{ what, steps, want string }{
		{"a phone that answers keeps its name, and that another claims it is said once",
			"A A+ B A A+ B A+ B A B", "taken - - - - disputed - - - -, asked A"},
		{"a row left over at the old port",
			"A A+ B A A- A B+ A B A", "taken - - - moved - - disputed - -, asked B"},
		{"it is silent where it was before it is named elsewhere",
			"A A+ A- B B+ A A B+ A", "taken - - taken - - - - disputed, asked B"},
		{"another phone answers where it was, and one more has the name there",
			"A A+ B A- B+", "taken - - moved -, asked B"},
		{"neither can be asked: who was first stays while it is named",
			"A B A B A B A B A B A B A B A B", "taken - - disputed - - - - - - - - - - - -, asked A"},
		{"it cannot be asked and moves: followed when it is named where it was no more",
			"A A B B B B B B B B", "taken - - - - - - - taken -, asked B"},
		{"it answers, and is named no more",
			"A A+ B A+ B A+ B A+ B A+ B A+ B A+ B A+ B A+ B A+ B A+ B", "taken - - - disputed - - - - - - - - - - - - - - - taken - -, asked B"},
		{"three of one name",
			"A A+ B C A+ B C A+ B C", "taken - - - - disputed - - - -, asked A"},
		{"silent, and nobody else has its name", "A A+ A- A A+", "taken - - - -, asked A"},
	} {
		r, now := newRoster(nil), time.Now()
		var got []string
		for step := range strings.FieldsSeq(tt.steps) {
			now = now.Add(30 * time.Second)
			p := Phone{Name: "X", Address: step[:1]}
			said := "-"
			if len(step) > 1 {
				if _, moved := r.heard(p, step[1] == '+', now); moved {
					said = "moved"
				}
			} else if asked, news := r.put(p, now); news == taken {
				said = "taken"
			} else if news == disputed {
				if said = "disputed"; phonesOf(r) != "X@"+asked.Address {
					t.Errorf("%s: %s is said to be asked, and is %s", tt.what, asked.Address, phonesOf(r))
				}
			}
			got = append(got, said)
		}
		if all := strings.Join(got, " ") + ", asked " + strings.TrimPrefix(phonesOf(r), "X@"); all != tt.want {
			t.Errorf("%s:\n%s\n%s\nwant\n%s", tt.what, tt.steps, all, tt.want)
		}
	}
}

// Two phones with web pages and one name, as two switches name them by turns.
func TestTwoPhonesOfOneNameDoNotTakeTurns(t *testing.T) {
	const first, second = "127.0.1.2", "127.0.1.3"
	port, connections := portOn(t, first, second)
	heart, log := &agenttest.Recorder{}, &logBook{}
	d, err := New(Config{Web: 50 * time.Millisecond, Domain: "example.com", Allow: inside, Defaults: Defaults{WebPort: port, SIPPort: -1}},
		Needs{Heart: heart, Web: schedule.New("phone-web", schedule.Options{})}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, d)
	d.Found("twin", netip.MustParseAddr(first))
	for range 8 {
		d.Found("twin", netip.MustParseAddr(second))
		d.Found("twin", netip.MustParseAddr(first))
		seen := time.Now()
		heart.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Device == "twin" && o.Seen.After(seen) })
	}
	stop()
	if a, b := connections[first].Load(), connections[second].Load(); a == 0 || b > 0 {
		t.Errorf("%d connections to the first, %d to the second", a, b)
	}
	if n := strings.Count(strings.Join(log.lines(), "\n"), "two phones go by one name"); n != 1 {
		t.Errorf("said %d times:\n%s", n, strings.Join(log.lines(), "\n"))
	}
}

// A phone that gets another address is followed as soon as the old one is silent,
// though a switch that it left still names it there.
func TestAPhoneThatMovedIsFollowed(t *testing.T) {
	const old, new = "127.0.1.2", "127.0.1.3"
	port, connections := portOn(t, old, new)
	heart, log := &agenttest.Recorder{}, &logBook{}
	d, err := New(Config{Web: 50 * time.Millisecond, Timeout: 100 * time.Millisecond, Domain: "example.com", Allow: inside,
		Defaults: Defaults{WebPort: port, SIPPort: -1}},
		Needs{Heart: heart, Web: schedule.New("phone-web", schedule.Options{})}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	running(t, d)
	answered := func(at string) func(presence.Observation) bool {
		return func(o presence.Observation) bool {
			return o.Identity != nil && o.Identity.Address == netip.MustParseAddr(at)
		}
	}
	d.Found("mover", netip.MustParseAddr(old))
	heart.Wait(t, 5*time.Second, answered(old))
	connections[old].frozen.Store(true)
	d.Found("mover", netip.MustParseAddr(new))
	d.Found("mover", netip.MustParseAddr(old))
	heart.Wait(t, 10*time.Second, answered(new))
	before := connections[old].Load()
	d.Found("mover", netip.MustParseAddr(old))
	seen := time.Now()
	heart.Wait(t, 5*time.Second, func(o presence.Observation) bool {
		return o.Source == sourceWeb && o.Seen.After(seen.Add(200*time.Millisecond))
	})
	if n := connections[old].Load(); n != before {
		t.Errorf("%d more connections to where it was", n-before)
	}
	if n := strings.Count(strings.Join(log.lines(), "\n"), "phone has moved"); n != 1 {
		t.Errorf("said %d times:\n%s", n, strings.Join(log.lines(), "\n"))
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
	r := &round[sipState]{queue: q, every: time.Minute, asks: func(p Phone, _ *sipState) bool { return p.SIPPort > 0 }}
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
