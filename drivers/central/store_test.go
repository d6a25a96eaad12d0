package central

import (
	"context"
	"maps"
	"strings"
	"sync"
	"testing"

	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

// store is a ledger of the least: documents, feeds, and drawers that survive the driver.
type store struct {
	mu    sync.Mutex
	epoch uint64
	seq   uint64
	docs  map[presence.Presentity]presence.Document
	feeds []*feed
	files map[string]*drawer
}

func newStore() *store {
	return &store{epoch: 1, docs: map[presence.Presentity]presence.Document{}, files: map[string]*drawer{}}
}

func (s *store) Drawer(name string) *drawer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[name] == nil {
		s.files[name] = &drawer{values: map[string][]byte{}}
	}
	return s.files[name]
}

func (s *store) Follow(context.Context, presence.Selector) (*feed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &feed{dirty: maps.Clone(s.docs), ready: make(chan struct{}, 1)}
	s.feeds = append(s.feeds, f)
	return f, nil
}

// say gives a person, or whatever user names, a new availability.
func (s *store) say(user string, a presence.Availability) presence.Presentity {
	return s.tell(presence.Document{Of: presence.At(user, "example.com"), Kind: presence.KindPerson, Availability: a, Freshness: presence.Live})
}

// leave makes a presentity one that nobody knows any more.
func (s *store) leave(of presence.Presentity) {
	s.tell(presence.Document{Of: of, Availability: presence.Unknown, Freshness: presence.NeverSeen})
}

// keys are what the drawers of the uplink hold, empty values included.
func (s *store) keys() (all []string) {
	for _, name := range []string{"etags", "cursors"} {
		_ = s.Drawer(name).Each("", func(key string, _ []byte) error {
			all = append(all, name+" "+key)
			return nil
		})
	}
	return all
}

func (s *store) tell(d presence.Document) presence.Presentity {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	d.Rev = presence.Rev{Epoch: s.epoch, Seq: s.seq}
	if s.docs[d.Of] = d; d.Kind == "" {
		delete(s.docs, d.Of)
	}
	for _, f := range s.feeds {
		f.offer(d)
	}
	return d.Of
}

type feed struct {
	mu    sync.Mutex
	dirty map[presence.Presentity]presence.Document
	ready chan struct{}
}

func (f *feed) offer(d presence.Document) {
	f.mu.Lock()
	f.dirty[d.Of] = d
	f.mu.Unlock()
	poke(f.ready)
}

func (f *feed) TryNext() (presence.Document, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, d := range f.dirty {
		delete(f.dirty, k)
		return d, true
	}
	return presence.Document{}, false
}

func (f *feed) Next(ctx context.Context) (presence.Document, error) {
	for {
		if d, ok := f.TryNext(); ok {
			return d, nil
		}
		select {
		case <-f.ready:
		case <-ctx.Done():
			return presence.Document{}, ctx.Err()
		}
	}
}

func (f *feed) Close() {}

type drawer struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (d *drawer) Each(prefix string, f func(string, []byte) error) error {
	d.mu.Lock()
	all := maps.Clone(d.values)
	d.mu.Unlock()
	for k, v := range all {
		if strings.HasPrefix(k, prefix) {
			if err := f(k, v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *drawer) Delete(ctx context.Context, key string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.values, key)
	return nil
}

func (d *drawer) PutSoft(_ context.Context, key string, value []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.values[key] = value
	return nil
}

// bench is a driver that runs, with all that it touches.
type bench struct {
	*store
	far   *compositor
	board *relay.Uplinks
	stop  func() error // ends the driver and gives what Run returned
}

// started runs a driver over s; far may be nil where sender is another.
func started(t *testing.T, c Config, s *store, far *compositor, sender Sender) *bench {
	t.Helper()
	b := &bench{store: s, far: far, board: relay.NewUplinks()}
	d, err := New(c, relay.NewLane(c.Name, s, nil), s.Drawer("etags"), sender, b.board, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	d.rand = func() float64 { return 0.5 }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	b.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = b.stop() })
	return b
}

func (b *bench) status() relay.Status {
	if all := b.board.All(); len(all) == 1 {
		return all[0]
	}
	return relay.Status{}
}
