package relay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"pilotlight/agent/presence"
)

// fakeStore is a ledger of the least: it offers documents and keeps cursors.
type fakeStore struct {
	mu      sync.Mutex
	now     map[presence.Presentity]presence.Document
	feeds   []*fakeFeed
	cursors map[string][]byte
	seq     uint64
}

func newStore() *fakeStore {
	return &fakeStore{now: map[presence.Presentity]presence.Document{}, cursors: map[string][]byte{}}
}

func (s *fakeStore) Follow(_ context.Context, sel presence.Selector) (*fakeFeed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &fakeFeed{sel: sel, dirty: map[presence.Presentity]presence.Document{}, ready: make(chan struct{}, 1)}
	for _, d := range s.now {
		f.offer(d)
	}
	s.feeds = append(s.feeds, f)
	return f, nil
}

func (s *fakeStore) Drawer(string) *fakeStore { return s }

func (s *fakeStore) Each(prefix string, f func(string, []byte) error) error {
	s.mu.Lock()
	all := maps.Clone(s.cursors)
	s.mu.Unlock()
	for k, v := range all {
		if !strings.HasPrefix(k, prefix) {
			continue
		}
		if err := f(k, v); err != nil {
			return err
		}
	}
	return nil
}

func (s *fakeStore) PutSoft(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursors[key] = value
	return nil
}

func (s *fakeStore) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cursors, key)
	return nil
}

// change makes a new revision of one presentity.
func (s *fakeStore) change(user string) presence.Document { return s.tell(user, presence.KindPerson) }

// leave makes it gone.
func (s *fakeStore) leave(user string) presence.Document { return s.tell(user, "") }

func (s *fakeStore) tell(user string, kind presence.Kind) presence.Document {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	d := presence.Document{Of: presence.At(user, "example.com"), Kind: kind, Rev: presence.Rev{Epoch: 1, Seq: s.seq}}
	if s.now[d.Of] = d; kind == "" {
		delete(s.now, d.Of)
	}
	for _, f := range s.feeds {
		f.offer(d)
	}
	return d
}

type fakeFeed struct {
	mu    sync.Mutex
	sel   presence.Selector
	dirty map[presence.Presentity]presence.Document
	ready chan struct{}
}

func (f *fakeFeed) offer(d presence.Document) {
	if f.sel != nil && !f.sel(d.Of) {
		return
	}
	f.mu.Lock()
	f.dirty[d.Of] = d
	f.mu.Unlock()
	select {
	case f.ready <- struct{}{}:
	default:
	}
}

func (f *fakeFeed) TryNext() (presence.Document, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, d := range f.dirty {
		delete(f.dirty, k)
		return d, true
	}
	return presence.Document{}, false
}

func (f *fakeFeed) Next(ctx context.Context) (presence.Document, error) {
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

func (f *fakeFeed) Close() {}

// due takes what the lane has to hand over now, without waiting for more.
func due(t interface{ Fatal(...any) }, l *Lane, max int) []presence.Document {
	if l.Pending() == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l.reading.Lock()
	if err := l.open(ctx); err != nil {
		t.Fatal(err)
	}
	l.drain()
	l.reading.Unlock()
	return l.take(max)
}

func opened(t interface{ Fatal(...any) }, s *fakeStore) *Lane {
	l := NewLane("hq", s, nil)
	l.reading.Lock()
	defer l.reading.Unlock()
	if err := l.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestAfterQuietTheFarSideHasTheLatest: whatever the order of changes, comings
// and goings, acknowledgements, returns and restarts, the far side ends with the
// latest of each presentity and with nobody who is gone, never sees one run
// backwards, and the lane holds one place and one cursor for each that is there.
func TestAfterQuietTheFarSideHasTheLatest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newStore()
		l := opened(t, s)
		far := map[presence.Presentity]presence.Rev{}
		var flying []presence.Document
		keep := func(d presence.Document) {
			if d.Rev.Compare(far[d.Of]) < 0 {
				t.Fatalf("%s went back from %s to %s", d.Of, far[d.Of], d.Rev)
			}
			if far[d.Of] = d.Rev; d.Kind == "" {
				delete(far, d.Of)
			}
		}
		ack := func(i int) {
			keep(flying[i])
			if err := l.Ack(context.Background(), flying[i]); err != nil {
				t.Fatal(err)
			}
			flying = append(flying[:i], flying[i+1:]...)
		}
		user := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) { s.change(user.Draw(t, "user")) },
			"leave":  func(t *rapid.T) { s.leave(user.Draw(t, "user")) },
			"next": func(t *rapid.T) {
				docs := due(t, l, rapid.IntRange(1, 4).Draw(t, "max"))
				for i, d := range docs {
					if i > 0 && docs[i-1].Rev.Compare(d.Rev) < 0 {
						t.Fatal("not the newest first")
					}
					for _, f := range flying {
						if f.Of == d.Of {
							t.Fatalf("%s is given out twice", d.Of)
						}
					}
				}
				flying = append(flying, docs...)
			},
			"ack": func(t *rapid.T) {
				if len(flying) > 0 {
					ack(rapid.IntRange(0, len(flying)-1).Draw(t, "which"))
				}
			},
			"return": func(t *rapid.T) {
				if len(flying) > 0 {
					i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
					l.Return(flying[i])
					flying = append(flying[:i], flying[i+1:]...)
				}
			},
			"restart": func(t *rapid.T) {
				l.Close()
				flying, l = nil, opened(t, s)
			},
			"": func(t *rapid.T) {
				l.Pending()
				if len(l.places) > 5 || len(l.due) > 5 {
					t.Fatal("more places than presentities")
				}
			},
		})
		for len(flying) > 0 {
			ack(0)
		}
		for rounds := 0; l.Pending() > 0; rounds++ {
			if rounds > 5 {
				t.Fatal("it never comes to rest")
			}
			flying = append(flying, due(t, l, 3)...)
			for len(flying) > 0 {
				ack(0)
			}
		}
		for of, d := range s.now {
			if far[of] != d.Rev {
				t.Fatalf("%s: far side has %s, here it is %s", of, far[of], d.Rev)
			}
		}
		if n := len(s.now); len(far) != n || len(l.places) != n || len(s.cursors) != n {
			t.Fatalf("%d are there: far side has %d, the lane %d places and %d cursors", n, len(far), len(l.places), len(s.cursors))
		}
	})
}

func TestNextWaitsForWhatBecomesDue(t *testing.T) {
	for name, make := range map[string]func(*fakeStore, *Lane, presence.Document){
		"a change":             func(s *fakeStore, _ *Lane, _ presence.Document) { s.change("b") },
		"a return":             func(_ *fakeStore, l *Lane, d presence.Document) { l.Return(d) },
		"asked for again":      func(_ *fakeStore, l *Lane, d presence.Document) { _ = l.Ack(t.Context(), d); l.Again(d.Of) },
		"news while in flight": func(s *fakeStore, l *Lane, d presence.Document) { s.change("a"); _ = l.Ack(t.Context(), d) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore()
				l := NewLane("hq", s, nil)
				defer l.Close()
				s.change("a")
				docs, err := l.Next(t.Context(), 9)
				if err != nil || len(docs) != 1 {
					t.Fatal(docs, err)
				}
				got := 0
				go func() {
					docs, _ := l.Next(t.Context(), 9)
					got = len(docs)
				}()
				synctest.Wait()
				if got != 0 {
					t.Fatal("given out while in flight")
				}
				make(s, l, docs[0])
				synctest.Wait()
				if got != 1 {
					t.Error("Next did not wake")
				}
			})
		})
	}
}

// TestAnOutageCostsWhatThePresentitiesCost: a hundred changes each, one document each.
func TestAnOutageCostsWhatThePresentitiesCost(t *testing.T) {
	s := newStore()
	l := opened(t, s)
	for i := range 100_000 {
		s.change(fmt.Sprint("u", i%1000))
	}
	if n := l.Pending(); n != 1000 {
		t.Errorf("%d pending", n)
	}
	if docs := due(t, l, 5000); len(docs) != 1000 {
		t.Errorf("%d handed out", len(docs))
	}
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	s := newStore()
	l := opened(t, s)
	a := s.change("a")
	s.change("b")
	s.cursors["other/"+string(a.Of)] = []byte("9.9")
	due(t, l, 9)
	if err := l.Ack(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = opened(t, s)
	docs := due(t, l, 9)
	if len(docs) != 1 || docs[0].Of.User() != "b" {
		t.Errorf("handed out %v", docs)
	}
}

// TestWhoWentWhileNobodyFollowedIsToldAsGone, once, also where the cursor is torn
// or the lane has another selection now.
func TestWhoWentWhileNobodyFollowedIsToldAsGone(t *testing.T) {
	s := newStore()
	s.cursors["hq/sip:gone@example.com"] = []byte("1.1")
	s.cursors["hq/sip:torn@example.com"] = []byte("1.")
	s.cursors["other/sip:x@example.com"] = []byte("9.9")
	for round := range 2 {
		l := opened(t, s)
		docs := due(t, l, 9)
		if want := 2 * (1 - round); len(docs) != want || l.Pending() != want {
			t.Fatalf("round %d: handed out %v, %d pending", round, docs, l.Pending())
		}
		for _, d := range docs {
			if d.Kind != "" || l.Latest(d.Of).Kind != "" {
				t.Errorf("told as %+v", d)
			}
		}
		if err := l.Ack(t.Context(), docs...); err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	if len(s.cursors) != 1 {
		t.Errorf("cursors left: %q", s.cursors)
	}
}

// TestWhoComesBackWhileTheGoingIsInFlightIsHandedOut, and keeps its cursor.
func TestWhoComesBackWhileTheGoingIsInFlightIsHandedOut(t *testing.T) {
	s := newStore()
	l := opened(t, s)
	s.change("a")
	_ = l.Ack(t.Context(), due(t, l, 9)...)
	s.leave("a")
	gone := due(t, l, 9)
	back := s.change("a")
	if docs := due(t, l, 9); len(docs) != 0 {
		t.Errorf("handed out while in flight: %v", docs)
	}
	_ = l.Ack(t.Context(), gone...)
	docs := due(t, l, 9)
	if len(docs) != 1 || docs[0].Rev != back.Rev || l.Latest(back.Of).Rev != back.Rev {
		t.Fatalf("handed out %v", docs)
	}
	_ = l.Ack(t.Context(), docs...)
	if got := string(s.cursors["hq/"+string(back.Of)]); got != back.Rev.String() {
		t.Errorf("cursor %q", got)
	}
}

// stuck is a store whose deletions never reach the disk.
type stuck struct{ *fakeStore }

func (s stuck) Drawer(string) stuck { return s }
func (s stuck) Delete(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestADiskThatDoesNotWriteDoesNotStopTheLane.
func TestADiskThatDoesNotWriteDoesNotStopTheLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore()
		l := NewLane("hq", stuck{s}, nil)
		if err := l.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.leave("a")
		docs, err := l.Next(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Ack(t.Context(), docs...); err != nil || l.Pending() != 0 {
			t.Errorf("%v, %d pending", err, l.Pending())
		}
	})
}

func TestTheLaneSelects(t *testing.T) {
	s := newStore()
	l := NewLane("hq", s, func(p presence.Presentity) bool { return p.User() == "b" })
	s.change("a")
	b := s.change("b")
	docs, err := l.Next(t.Context(), 9)
	if err != nil || len(docs) != 1 || docs[0].Of != b.Of {
		t.Error(docs, err)
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := NewLane("hq", newStore(), nil)
		done := make(chan error, 1)
		go func() { _, err := l.Next(ctx, 1); done <- err }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
