package panel

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"pilotlight/agent/access"
	"pilotlight/agent/errand"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

// fakeHeart is a heart whose state the test sets.
type fakeHeart struct {
	mu       sync.Mutex
	epoch    uint64
	seq      uint64
	phones   map[string]presence.Device
	docs     map[presence.Presentity]presence.Document
	phoneFed []*fakeFeed[presence.Device]
	docFed   []*fakeFeed[presence.Document]
	said     []presence.Publication
	history  map[string][]Change
	down     error
	backup   func(io.Writer) error
}

func newFakeHeart() *fakeHeart {
	return &fakeHeart{epoch: 3, phones: map[string]presence.Device{}, docs: map[presence.Presentity]presence.Document{}, history: map[string][]Change{}}
}

// fakeFeed hands over everything that was offered, in order.
type fakeFeed[T any] struct {
	mu    sync.Mutex
	queue []T
	ready chan struct{}
}

func newFakeFeed[T any]() *fakeFeed[T] { return &fakeFeed[T]{ready: make(chan struct{}, 1)} }

func (f *fakeFeed[T]) offer(v T) {
	f.mu.Lock()
	f.queue = append(f.queue, v)
	f.mu.Unlock()
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

func (f *fakeFeed[T]) TryNext() (v T, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) == 0 {
		return v, false
	}
	v, f.queue = f.queue[0], f.queue[1:]
	return v, true
}

func (f *fakeFeed[T]) Next(ctx context.Context) (T, error) {
	for {
		if v, ok := f.TryNext(); ok {
			return v, nil
		}
		select {
		case <-f.ready:
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
	}
}

func (f *fakeFeed[T]) Close() {}

func (h *fakeHeart) rev() presence.Rev {
	h.seq++
	return presence.Rev{Epoch: h.epoch, Seq: h.seq}
}

func (h *fakeHeart) setPhone(d presence.Device) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.Rev = h.rev()
	h.phones[d.Name] = d
	for _, f := range h.phoneFed {
		f.offer(d)
	}
}

func (h *fakeHeart) setDoc(d presence.Document) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.putDoc(d)
}

func (h *fakeHeart) putDoc(d presence.Document) {
	d.Rev = h.rev()
	h.docs[d.Of] = d
	for _, f := range h.docFed {
		f.offer(d)
	}
}

func (h *fakeHeart) Follow(context.Context, presence.Selector) (Feed[presence.Document], error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := newFakeFeed[presence.Document]()
	for _, d := range h.docs {
		f.offer(d)
	}
	h.docFed = append(h.docFed, f)
	return f, nil
}

func (h *fakeHeart) FollowDevices(context.Context) (Feed[presence.Device], error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := newFakeFeed[presence.Device]()
	for _, d := range h.phones {
		f.offer(d)
	}
	h.phoneFed = append(h.phoneFed, f)
	return f, nil
}

func (h *fakeHeart) Documents(context.Context, presence.Selector) ([]presence.Document, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []presence.Document
	for _, d := range h.docs {
		all = append(all, d)
	}
	return all, h.down
}

func (h *fakeHeart) Devices(context.Context) ([]presence.Device, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []presence.Device
	for _, d := range h.phones {
		all = append(all, d)
	}
	return all, h.down
}

// Publish lets the person's word win, which is not the composition policy, and
// enough here.
func (h *fakeHeart) Publish(_ context.Context, p presence.Publication) (presence.ETag, time.Duration, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down != nil {
		return "", 0, h.down
	}
	h.said = append(h.said, p)
	d := h.docs[p.Of]
	if p.Said == nil {
		if !d.Manual {
			return "", 0, presence.ErrNoMatch
		}
		d.Manual, d.Note, d.Availability = false, "", presence.Available
	} else {
		d.Manual, d.Note, d.Availability = true, p.Said.Note, p.Said.Availability
	}
	h.putDoc(d)
	return "tag", p.Expires, nil
}

func (h *fakeHeart) History(_ context.Context, device string) ([]Change, error) {
	return h.history[device], nil
}

func (h *fakeHeart) Backup(_ context.Context, w io.Writer) error {
	if h.backup != nil {
		return h.backup(w)
	}
	_, err := w.Write([]byte("the store"))
	return err
}

func (h *fakeHeart) Ping(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.down
}

func (h *fakeHeart) Stats() StoreStats {
	return StoreStats{Commits: 12, BytesWritten: 3456, FileSize: 65536, Publications: 2}
}
func (h *fakeHeart) ID() string    { return "5a5a5a5a" }
func (h *fakeHeart) Epoch() uint64 { return h.epoch }

// drawer keeps accounts in memory.
type drawer struct {
	mu   sync.Mutex
	kept map[string][]byte
}

func (d *drawer) Put(_ context.Context, key string, value []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept[key] = bytes.Clone(value)
	return nil
}
func (d *drawer) PutSoft(ctx context.Context, key string, value []byte) error {
	return d.Put(ctx, key, value)
}
func (d *drawer) Delete(_ context.Context, key string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.kept, key)
	return nil
}
func (d *drawer) DeleteSoft(ctx context.Context, key string) error { return d.Delete(ctx, key) }
func (d *drawer) Each(string, func(string, []byte) error) error    { return nil }

// trueClock believes itself.
type trueClock struct{ wrong bool }

func (c trueClock) Trusted() (bool, string) {
	return !c.wrong, map[bool]string{true: "the clock was never set"}[c.wrong]
}
func (c trueClock) Wall(t time.Time) time.Time { return t.UTC() }

// house is a panel that runs, with all that it is connected to.
type house struct {
	t       *testing.T
	heart   *fakeHeart
	book    *access.Book
	desk    *errand.Desk
	uplinks *relay.Uplinks
	panel   *Panel
	url     string
	dir     string
	log     *bytes.Buffer
	stop    func()
}

func newHouse(t *testing.T, change ...func(*Config, *Deps)) *house {
	t.Helper()
	book, err := access.New(access.Config{Drawer: &drawer{kept: map[string][]byte{}}, Sessions: &drawer{kept: map[string][]byte{}}, Cost: bcrypt.MinCost})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, heart: newFakeHeart(), book: book, desk: errand.New(), uplinks: relay.NewUplinks(), dir: t.TempDir()}
	populate(h.heart, 3)
	c := Config{Listen: "127.0.0.1:0"}
	d := Deps{
		Heart: h.heart, Book: book, Clock: trueClock{}, Desk: h.desk, Uplinks: h.uplinks, DataDir: h.dir,
		Build:  Build{"1.2.3", "abcdef", "go1.26"},
		Branch: Branch{"lyon-12", "Lyon, rue Garibaldi", "example.com"},
	}
	for _, f := range change {
		f(&c, &d)
	}
	h.log = new(bytes.Buffer)
	h.panel, err = New(c, d, slog.New(slog.NewTextHandler(&lockedWriter{w: h.log}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- h.panel.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-over:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Error("Run did not end")
		}
	})
	t.Cleanup(h.stop)
	select {
	case <-h.panel.ReadyCh():
	case err := <-over:
		over <- err
		t.Fatalf("Run: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("not ready")
	}
	h.url = h.panel.URL()
	return h
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// token makes a token of a role.
func (h *house) token(role access.Role, user string) string {
	h.t.Helper()
	secret, _, err := h.book.CreateToken(context.Background(), role, user)
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

// ask sends one request and gives the answer with its body read. Headers are
// pairs of name and value.
func (h *house) ask(method, path, body string, headers ...string) (*http.Response, string) {
	h.t.Helper()
	return askWith(h.t, http.DefaultClient, method, h.url+path, body, headers...)
}

func askWith(t *testing.T, c *http.Client, method, url, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for pair := range slices.Chunk(headers, 2) {
		if pair[0] == "Host" {
			r.Host = pair[1]
			continue
		}
		r.Header.Set(pair[0], pair[1])
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return res, string(text)
}

var people = []string{
	"Alice Martin", "Bruno Keller", "Chloé Dubois", "David Okafor", "Elena Rossi", "Farid Haddad", "Grace Lindqvist", "Hugo Bernard",
	"Ingrid Solberg", "Jonas Weber", "Karima Benali", "Luca Moretti", "Mei Tanaka", "Nils Andersson", "Olga Petrova", "Pablo Serrano",
	"Quentin Faure", "Rosa Almeida", "Samir Patel", "Tessa de Vries", "Umar Siddiqui", "Vera Novak", "William Hart", "Yasmin Aydin",
}

func user(name string) string {
	first, _, _ := strings.Cut(name, " ")
	return strings.ToLower(strings.ReplaceAll(first, "é", "e"))
}

// populate puts n phones and their owners in, in various states.
func populate(h *fakeHeart, n int) {
	now := time.Now()
	states := []presence.DeviceState{presence.InUse, presence.Idle, presence.Idle, presence.Ringing, presence.Idle, presence.OnHold,
		presence.Unpowered, presence.Idle, presence.InUse, presence.Unreachable, presence.Idle, presence.Unregistered}
	models := []string{"CP-8845", "CP-7841", "CP-8865", "CP-8851", "CP-7962"}
	for i := range n {
		state := states[i%len(states)]
		name := fmt.Sprintf("SEP%012X", 0x0011AABBCC00+i*17)
		who := people[i%len(people)]
		of := presence.At(user(who), "example.com")
		if i >= len(people) {
			of = presence.At(fmt.Sprintf("%s%d", user(who), i), "example.com")
		}
		number := fmt.Sprint(1001 + i)
		seen := now.Add(-time.Duration(1+i%7) * time.Second)
		d := presence.Device{
			Name: name, State: state, Cause: presence.Fine, Since: now.Add(-time.Duration(20+i*i*13) * time.Second), Freshness: presence.Live, AsOf: seen,
			Identity: presence.Identity{
				Model: models[i%len(models)], Serial: fmt.Sprintf("FCH2%06d", i), Firmware: "sip88xx.14-2-1-0001-28", MAC: name[3:],
				Address: netip.AddrFrom4([4]byte{10, 1, 1, byte(20 + i)}), Lines: []string{number}, Description: who,
			},
			Lines:        []presence.Line{{Number: number, State: presence.LineIdle}},
			Registration: &presence.Registration{Registered: true, Server: "10.0.0.5"},
			Port:         &presence.Port{Switch: "sw1", Name: fmt.Sprintf("GigabitEthernet1/0/%d", i+1), VLAN: 110, LinkUp: true, LinkKnown: true, Speed: 1e9, Neighbour: true},
			Power:        &presence.Power{State: presence.PowerDelivering, Watts: 6.3, Known: true},
			Abilities:    presence.Abilities{Audio: true, Video: i%5 == 0},
			Owner:        of,
			Because:      []presence.Evidence{{Source: "dialog/pbx", Says: name + " line " + number + " idle", Seen: seen, Live: true}},
		}
		doc := presence.Document{
			Of: of, Kind: presence.KindPerson, Name: who, Availability: presence.Available, Since: d.Since, Freshness: presence.Live, AsOf: seen,
			Capabilities: presence.Capabilities{Abilities: presence.Abilities{Audio: true, Video: i%5 == 0, IM: true}, VoiceMessages: i % 4},
		}
		colour(&d, &doc, seen)
		if i == 1 {
			doc.Availability, doc.Manual, doc.Note = presence.DoNotDisturb, true, "closing the quarter"
			doc.Because = append([]presence.Evidence{{Source: "panel", Says: "said do-not-disturb", Seen: seen, Live: true}}, doc.Because...)
		}
		if i%24 == 13 { // nobody can vouch for it any more
			d.Freshness, d.AsOf, doc.Freshness, doc.AsOf = presence.LastKnown, now.Add(-17*time.Minute), presence.LastKnown, now.Add(-17*time.Minute)
			d.State = presence.Idle
		}
		doc.Devices = []presence.DeviceView{{Name: name, State: d.State, Lines: d.Lines, Freshness: d.Freshness}}
		h.setPhone(d)
		h.setDoc(doc)
		h.setDoc(presence.Document{Of: presence.At(number, "example.com"), Kind: presence.KindLine, Name: who, Availability: doc.Availability, Freshness: doc.Freshness})
		h.history[name] = []Change{
			{now.Add(-3 * time.Hour), presence.Idle, presence.InUse, "dialog/pbx line " + number + " confirmed"},
			{now.Add(-170 * time.Minute), presence.InUse, presence.Idle, "dialog/pbx line " + number + " idle"},
			{d.Since, presence.Idle, d.State, cmp.Or(d.Diagnosis, d.Because[0].Source+" "+d.Because[0].Says)},
		}
	}
}

// colour makes the rest of a phone fit its state.
func colour(d *presence.Device, doc *presence.Document, seen time.Time) {
	line := &d.Lines[0]
	evidence := func(source, says string) {
		d.Because = []presence.Evidence{{Source: source, Says: d.Name + " " + says, Seen: seen, Live: true}}
	}
	switch d.State {
	case presence.InUse:
		line.State, doc.Availability = presence.LineConfirmed, presence.OnThePhone
		evidence("phone/web", "line "+line.Number+" CONNECTED")
		d.Streams = []presence.Stream{{Active: true, Codec: "G.722", Remote: netip.MustParseAddrPort("10.1.1.44:20482"), Sent: 12034, Received: 12011, Lost: 4, JitterMS: 2.1, MOSLQK: 4.38}}
	case presence.Ringing:
		line.State = presence.LineEarly
		evidence("dialog/pbx", "line "+line.Number+" early")
	case presence.OnHold:
		line.State, line.Held, doc.Availability = presence.LineConfirmed, true, presence.OnThePhone
		evidence("dialog/pbx", "line "+line.Number+" on hold")
	case presence.Unpowered:
		d.Cause = presence.NoPower
		d.Diagnosis, doc.Availability = "sw1 "+d.Port.Name+" delivers no power; the port is searching", presence.Offline
		d.Power, d.Port.LinkUp, d.Registration = &presence.Power{State: presence.PowerSearching, Known: true}, false, nil
		evidence("lan/sw1", "port "+d.Port.Name+" no power, no link")
	case presence.Unreachable:
		d.Cause = presence.NoAnswer
		d.Diagnosis, doc.Availability = "linked at sw1 "+d.Port.Name+" and powered, but it does not answer (3 polls)", presence.Offline
		evidence("phone/web", "no answer from 10.1.1.29: i/o timeout")
	case presence.Unregistered:
		d.Cause = presence.NoRegistrar
		d.Diagnosis, doc.Availability = "reachable, and registered nowhere", presence.Offline
		d.Registration = &presence.Registration{}
		evidence("phone/web", "registered nowhere")
	}
	doc.Because = d.Because
}

// askNobody is a desk at which nobody serves.
type askNobody struct{}

func (askNobody) Ask(context.Context, errand.Errand) (errand.Reply, error) {
	return errand.Reply{}, errand.ErrNobody
}
