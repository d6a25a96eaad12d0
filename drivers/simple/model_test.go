package simple

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pilotlight/agent/access"
	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/pidf"
	"pilotlight/drivers/internal/sip"
)

// shown is what a watcher has of the state: alice's note, in a list too.
type shown struct {
	version     int64
	etag, state string
}

// wire is an endpoint without sockets: the test is the far end of everything.
type wire struct {
	t *rapid.T

	mu       sync.Mutex
	handlers map[string]sip.Handler // by method and event
	dialogs  map[string]*heard      // by Call-ID
	underWay []*sent
	faults   []string
	visits   func(sip.Visitor, bool)
	visitors []sip.Visitor // streams that are open
}

// sent is a NOTIFY without an answer.
type sent struct {
	callID string
	cseq   uint32
	over   netip.AddrPort // the visitor's stream
	guess  bool           // on which nothing was said that made it hers
	done   func(sip.Answer)
}

// heard is a dialog as its watcher has it.
type heard struct {
	request  *sip.Incoming
	tag      string // the server's
	stream   bool
	list     bool
	cseq     uint32 // of the last NOTIFY
	shown           // and before a NOTIFY that it has not answered
	before   shown
	busy     bool // a NOTIFY waits for its answer
	by       netip.AddrPort
	unsure   bool   // its stream is gone: it is told when it subscribes again
	ending   bool   // it was unsubscribed
	over     bool   // it was told so, or it is gone
	asked    uint32 // CSeq of the last SUBSCRIBE
	awaiting bool   // a SUBSCRIBE of this dialog is to be followed by a NOTIFY
}

func (w *wire) Handle(c sip.Claim, h sip.Handler) error {
	w.handlers[c.Method+c.Event] = h
	return nil
}
func (w *wire) Ready(context.Context) error { return nil }
func (w *wire) Do(context.Context, *sip.Request) (*sip.Response, error) {
	return nil, errors.New("nobody is there")
}

func (w *wire) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

func (w *wire) Send(d *sip.Dialog, r sip.InDialog, done func(sip.Answer)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.dialogs[d.CallID]
	switch {
	case h.over:
		w.fault("%s: CSeq %d, %s, and it was over", d.CallID, r.CSeq, r.SubscriptionState)
	case r.CSeq <= h.cseq:
		w.fault("%s: CSeq %d after %d", d.CallID, r.CSeq, h.cseq)
	case h.busy && (!h.stream || h.by == d.Remote):
		w.fault("%s: CSeq %d beside %d", d.CallID, r.CSeq, h.cseq)
	}
	if !h.busy {
		h.before = h.shown // else one was given up, and whoever has it may have missed it
	}
	h.cseq, h.busy, h.by, h.awaiting = r.CSeq, true, d.Remote, false
	h.over = h.over || strings.HasPrefix(r.SubscriptionState, "terminated")
	h.read(w, r)
	silent := h.stream && slices.ContainsFunc(w.visitors, func(v sip.Visitor) bool { return v.Remote == d.Remote && v.Hop == "" })
	w.underWay = append(w.underWay, &sent{d.CallID, r.CSeq, d.Remote, silent, done})
}

// read takes what a NOTIFY shows.
func (h *heard) read(w *wire, r sip.InDialog) {
	if r.Header.Get("SIP-ETag") == "" { // CN-01
		w.fault("%s: CSeq %d has no SIP-ETag", h.request.CallID, r.CSeq)
	}
	h.etag = r.Header.Get("SIP-ETag")
	if len(r.Body) == 0 {
		return
	}
	if !h.list {
		h.state = noteOf(r.Body)
		return
	}
	l, err := event.ParseList(r.ContentType, r.Body, false)
	switch v := int64(l.List.Version); {
	case err != nil:
		w.fault("%v", err)
	case l.List.Full && v <= h.version, !l.List.Full && v != h.version+1: // RLS-08
		w.fault("%s: version %d after %d, full %v", h.request.CallID, v, h.version, l.List.Full)
	}
	h.version = int64(l.List.Version)
	for _, one := range l.List.Resources {
		if one.URI == alice && len(one.Instances) > 0 {
			p, _ := l.Part(one.Instances[0].CID)
			h.state = noteOf(p.Body)
		}
	}
}

func (h *heard) tagNow(w *wire) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return h.etag
}

func noteOf(body []byte) string {
	_, after, _ := strings.Cut(string(body), "<note>")
	note, _, _ := strings.Cut(after, "</note>")
	return note
}

// world is the driver over a real ledger, at the wire.
type world struct {
	*wire
	path   string
	said   int
	etag   string
	driver *Driver
	stop   func()
	calls  int
	ports  uint16
}

func (w *world) start() {
	log := slog.New(slog.DiscardHandler)
	check := func(err error) {
		if err != nil {
			w.t.Fatal(err)
		}
	}
	l, err := ledger.Open(ledger.Config{Path: w.path, Domain: "example.com", Log: log, Static: []presence.Observation{person("alice", "Alice", ""), person("bob", "Bob", "")}})
	check(err)
	rules, err := access.NewWatchers(access.Rules{Default: access.Allow}, l.Drawer("watchers"))
	check(err)
	post, err := relay.NewPost(l.Drawer("messages"), time.Now, func() (bool, string) { return true, "" })
	check(err)
	w.handlers = map[string]sip.Handler{}
	d, err := New(Config{Domain: "example.com", Peers: []Peer{{From: netip.MustParsePrefix("0.0.0.0/0"), May: []string{"subscribe", "publish"}}},
		Lists: []List{{Name: "team", Members: []presence.Presentity{alice, "sip:bob@example.com"}}}},
		Needs{Post: post, Heart: l, Endpoint: w.wire, Drawer: l.Drawer("simple"), Access: rules}, log)
	check(err)
	d.spread, d.pause = 0, 10*time.Millisecond
	var stops []func()
	for _, run := range []func(context.Context) error{l.Run, d.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		stops = append(stops, func() { cancel(); <-done })
	}
	w.stop = func() { stops[1](); stops[0]() }
	for end := time.Now().Add(patience); d.now.get() == nil; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("it does not start")
		}
	}
	w.driver = d
}

// settle waits until the loop has taken all that was posted.
func (w *world) settle() {
	if err := w.driver.now.get().do(context.Background(), func() {}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ask(in *sip.Incoming) (got sip.Reply) {
	got.Status = 500 // as the endpoint does for a handler that says nothing
	in.Respond = func(r sip.Reply) error { got = r; return nil }
	w.handlers[in.Method+in.Event](context.Background(), in)
	return got
}

func (w *world) subscribe(stream, list bool) {
	w.calls++
	uri, transport := sip.URI{Scheme: "sip", User: "alice", Host: "example.com"}, "udp"
	h := &heard{stream: stream, list: list, shown: shown{version: -1}, asked: 1, awaiting: true}
	in := &sip.Incoming{Method: "SUBSCRIBE", Event: "presence", CallID: fmt.Sprint("call", w.calls), CSeq: 1,
		From: sip.Address{URI: "sip:carol@example.com", Params: sip.Params{"tag": "f"}}, To: sip.Address{URI: alice},
		Source: carolAt, Local: agentAt}
	if list {
		uri.User = "team"
		in.Header.Add("Supported", "eventlist")
	}
	if stream {
		transport, in.Source = "tcp", w.line()
	}
	in.URI, in.Transport = uri, transport
	for _, f := range []sip.Field{{Name: "Contact", Value: "<sip:carol@192.0.2.9:5060>"}, {Name: "From", Value: "<sip:carol@example.com>;tag=f"},
		{Name: "To", Value: "<sip:alice@example.com>"}, {Name: "Expires", Value: "3600"}} {
		in.Header.Add(f.Name, f.Value)
	}
	h.request = in
	w.mu.Lock()
	w.dialogs[in.CallID] = h
	w.mu.Unlock()
	if got := w.ask(in); got.Status != 200 {
		w.t.Fatalf("SUBSCRIBE: %d", got.Status)
	} else {
		h.tag = got.ToTag
	}
}

// again is a SUBSCRIBE in a dialog.
func (w *world) again(h *heard, expires string, suppress ...string) {
	in := *h.request
	h.asked++
	in.CSeq = h.asked
	in.To.Params = sip.Params{"tag": h.tag}
	in.Header = nil
	if h.stream {
		in.Source = w.line()
	}
	in.Header.Add("Contact", "<sip:carol@192.0.2.9:5060>")
	in.Header.Add("Expires", expires)
	for _, tag := range suppress {
		in.Header.Add("Suppress-If-Match", tag)
	}
	w.mu.Lock()
	over := h.over || h.ending
	h.awaiting, h.unsure, h.ending = h.awaiting || !over, h.unsure && over, over || expires == "0"
	w.mu.Unlock()
	got := w.ask(&in)
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.stream && h.by != in.Source && got.Status/100 == 2 { // what is under way by another stream is given up
		h.by, h.busy = in.Source, false
	}
	if got.Status == 204 && len(suppress) > 0 {
		h.awaiting, h.over = false, h.over || expires == "0"
		h.before = h.shown // it has what it named
	} else if over && got.Status != 481 || !over && got.Status != 200 && !h.over {
		w.t.Fatalf("%s: SUBSCRIBE again: %d, over %v", in.CallID, got.Status, over)
	}
}

func (w *world) publish() {
	w.said++
	body := strings.Replace(pidfOf(alice, "open", "busy"), "</tuple>", fmt.Sprintf("</tuple><note>n%d</note>", w.said), 1)
	in := &sip.Incoming{Method: "PUBLISH", Event: "presence", CallID: "pub", CSeq: uint32(w.said), URI: sip.URI{Scheme: "sip", User: "alice", Host: "example.com"},
		From: sip.Address{URI: alice}, Source: netip.MustParseAddrPort("192.0.2.9:5060"), Local: netip.MustParseAddrPort("192.0.2.1:5060"), Transport: "udp", Body: []byte(body)}
	in.Header.Add("Content-Type", pidf.ContentType)
	if w.etag != "" {
		in.Header.Add("SIP-If-Match", w.etag)
	}
	got := w.ask(in)
	if got.Status != 200 {
		w.t.Fatalf("PUBLISH: %d", got.Status)
	}
	w.etag = got.Header.Get("SIP-ETag")
}

// answer gives one NOTIFY its answer.
func (w *world) answer(i int, a sip.Answer) {
	w.mu.Lock()
	s := w.underWay[i]
	w.underWay = append(w.underWay[:i:i], w.underWay[i+1:]...)
	h := w.dialogs[s.callID]
	if h.cseq != s.cseq || h.by != s.over { // it was given up
		w.mu.Unlock()
		s.done(a)
		w.settle()
		return
	}
	h.busy = false
	guessed := s.guess && slices.ContainsFunc(w.visitors, func(v sip.Visitor) bool { return v.Remote == s.over })
	switch {
	case a.Err == nil && a.Status == 200:
	case a.Status == 500, errors.Is(a.Err, sip.ErrFull): // it was not taken, and is told again
		h.shown = h.before
	case guessed && a.Status != 200, a.Err != nil && h.stream && !h.ending:
		h.unsure = true
	default:
		h.over = true
	}
	w.mu.Unlock()
	s.done(a)
	w.settle() // what it means is known before anything else happens
}

func TestWhateverHappensDialogsAreToldInOrder(t *testing.T) {
	dir := t.TempDir()
	worlds := 0
	rapid.Check(t, func(t *rapid.T) {
		worlds++
		w := &world{wire: &wire{t: t, dialogs: map[string]*heard{}}, path: filepath.Join(dir, fmt.Sprint(worlds))}
		w.start()
		defer func() { w.stop() }()
		pick := func(t *rapid.T) *heard {
			if w.calls == 0 {
				w.subscribe(false, false)
			}
			return w.dialogs[fmt.Sprint("call", rapid.IntRange(1, w.calls).Draw(t, "dialog"))]
		}
		answer := func(a sip.Answer) func(*rapid.T) {
			return func(t *rapid.T) {
				w.mu.Lock()
				n := len(w.underWay)
				w.mu.Unlock()
				if i := rapid.IntRange(0, 8).Draw(t, "notify"); n > 0 {
					w.answer(i%n, a)
				}
			}
		}
		restart := func() {
			w.settle()
			w.stop()
			w.underWay, w.visitors = nil, nil
			for _, h := range w.dialogs {
				h.busy, h.unsure, h.over = false, false, h.over || h.ending // whoever lives is told anew
			}
			w.start()
		}
		publish := func(*rapid.T) { w.publish() }
		answered := answer(sip.Answer{Status: 200})
		t.Repeat(map[string]func(*rapid.T){
			"subscribe":   func(t *rapid.T) { w.subscribe(rapid.Bool().Draw(t, "stream"), rapid.Bool().Draw(t, "list")) },
			"refresh":     func(t *rapid.T) { w.again(pick(t), "3600") },
			"unsubscribe": func(t *rapid.T) { w.again(pick(t), "0") },
			"condition": func(t *rapid.T) {
				h := pick(t)
				w.again(h, rapid.SampledFrom([]string{"3600", "3600", "0"}).Draw(t, "expires"), h.tagNow(w.wire))
			},
			"publish": publish, "publish too": publish,
			"answered": answered, "answered too": answered, "answered again": answered,
			"failed":         answer(sip.Answer{Status: 500}),
			"too many":       answer(sip.Answer{Err: &sip.Error{Err: sip.ErrFull}}),
			"lost":           answer(sip.Answer{Err: &sip.Error{Err: syscall.ECONNREFUSED}}),
			"gone":           answer(sip.Answer{Status: 481}),
			"restart":        func(t *rapid.T) { restart() },
			"a stream opens": func(*rapid.T) { w.opens() },
			"a stream ends":  func(t *rapid.T) { w.ends(rapid.IntRange(0, 3).Draw(t, "stream")) },
			"a stream speaks": func(t *rapid.T) {
				if n := len(w.visitors); n > 0 {
					w.speaks(rapid.IntRange(0, 3).Draw(t, "stream")%n, rapid.SampledFrom([]string{carolIs, carolIs, "sip:dave@192.0.2.9"}).Draw(t, "contact"))
				}
			},
			"": func(t *rapid.T) {
				w.sound()
				w.mu.Lock()
				defer w.mu.Unlock()
				for _, f := range w.faults {
					t.Error(f)
				}
			},
		})
		w.rest(t)
	})
}

// rest answers all until nothing more comes, and then each that lives shows the
// newest state, and each that was asked was told.
func (w *world) rest(t *rapid.T) {
	for _, h := range w.dialogs {
		w.mu.Lock()
		again := h.unsure && !h.over && !h.ending
		w.mu.Unlock()
		if again {
			w.again(h, "3600")
		}
	}
	newest := ""
	if w.said > 0 {
		newest = fmt.Sprint("n", w.said)
	}
	var wrong []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		w.mu.Lock()
		n := len(w.underWay)
		wrong = slices.Clone(w.faults)
		for id, h := range w.dialogs {
			if !h.over && (h.state != newest || h.awaiting) {
				wrong = append(wrong, fmt.Sprintf("%s shows %q, newest is %q, awaiting %v", id, h.state, newest, h.awaiting))
			}
		}
		w.mu.Unlock()
		if n > 0 {
			w.answer(0, sip.Answer{Status: 200})
		} else if len(wrong) == 0 {
			break
		}
	}
	for _, f := range wrong {
		t.Error(f)
	}
}
