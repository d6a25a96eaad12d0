package ledger

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pilotlight/agent/ledger/internal/store"
	"pilotlight/agent/presence"
)

// gate is a disk whose commits wait to be let through, or fail.
type gate struct {
	disk
	commits chan []store.Mutation // each commit shows itself here
	fate    chan error            // and waits for its fate
}

func gated(t *testing.T, cfg Config) (*Ledger, *gate) {
	t.Helper()
	cfg.Path, cfg.Domain = filepath.Join(t.TempDir(), "store"), "example.com"
	s, err := store.Open(store.Options{Path: cfg.Path, Check: checkRecord})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Log == nil {
		cfg.Log = discard()
	}
	g := &gate{disk: s, commits: make(chan []store.Mutation), fate: make(chan error)}
	l := newLedger(cfg, g)
	if err := l.load(g); err != nil {
		t.Fatal(err)
	}
	return l, g
}

func (g *gate) Commit(batch []store.Mutation) error {
	g.commits <- batch
	if err := <-g.fate; err != nil {
		return err
	}
	return g.disk.Commit(batch)
}

// run runs l; at the end all commits are let through.
func run(t *testing.T, l *Ledger, g *gate) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for {
			select {
			case <-g.commits:
				g.fate <- nil
			case <-ended:
				return
			}
		}
	})
}

func busy(of presence.Presentity) presence.Publication {
	return presence.Publication{Of: of, By: "t", Expires: time.Hour, Said: &presence.Said{Availability: presence.Busy}}
}

func idle(device string) presence.Observation {
	return presence.Observation{Source: "phone/web", Device: device, Seen: time.Now(), TTL: time.Minute,
		Facts: presence.Facts{Calls: &presence.Calls{Exact: true}}}
}

func TestAnAnswerWaitsForTheDiskAndNobodyElseDoes(t *testing.T) {
	l, g := gated(t, Config{Commit: time.Hour})
	run(t, l, g)
	for name, promise := range map[string]func() error{
		"Publish": func() error { _, _, err := l.Publish(context.Background(), busy("sip:a@example.com")); return err },
		"Put":     func() error { return l.Drawer("d").Put(context.Background(), "k", []byte("v")) },
		"Delete":  func() error { return l.Drawer("d").Delete(context.Background(), "k") },
	} {
		answer := make(chan error, 1)
		go func() { answer <- promise() }()
		if batch := <-g.commits; len(batch) == 0 {
			t.Errorf("%s: an empty commit", name)
		}
		// The commit hangs. All others go on, and the state is there.
		for _, other := range []error{
			l.Observe(t.Context(), idle("SEP1")), l.Ping(t.Context()), l.Drawer("d").PutSoft(t.Context(), "soft", nil),
		} {
			if other != nil {
				t.Errorf("%s in flight: %v", name, other)
			}
		}
		select {
		case err := <-answer:
			t.Fatalf("%s answered before the disk: %v", name, err)
		case <-time.After(30 * time.Millisecond):
		}
		g.fate <- nil
		if err := <-answer; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnswersShareACommit(t *testing.T) {
	l, g := gated(t, Config{Commit: time.Hour})
	run(t, l, g)
	first := make(chan error, 1)
	go func() { first <- l.Drawer("d").Put(context.Background(), "first", nil) }()
	<-g.commits // in flight
	const many = 50
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			if err := l.Drawer("d").Put(context.Background(), strings.Repeat("k", i+1), nil); err != nil {
				t.Error(err)
			}
		})
	}
	for l.Stats().Pending < many+1 {
		if err := l.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	g.fate <- nil
	if n := len(<-g.commits); n != many {
		t.Errorf("%d in the second commit, want %d", n, many)
	}
	g.fate <- nil
	all.Wait()
	<-first
}

func TestWhenTheDiskFailsTheStateGoesOnAndIsWrittenLater(t *testing.T) {
	l, g := gated(t, Config{Commit: 10 * time.Millisecond})
	run(t, l, g)
	broken := errors.New("input/output error")
	answer := make(chan error, 1)
	go func() { _, _, err := l.Publish(context.Background(), busy("sip:a@example.com")); answer <- err }()
	<-g.commits
	g.fate <- broken
	if err := <-answer; !errors.Is(err, broken) {
		t.Errorf("answer: %v", err)
	}
	docs, err := l.Documents(t.Context(), nil)
	if err != nil || len(docs) != 1 || docs[0].Availability != presence.Busy {
		t.Errorf("state: %v %+v", err, docs)
	}
	for l.Stats().LastError == "" {
		time.Sleep(time.Millisecond)
	}
	again := <-g.commits // tried again by itself
	g.fate <- nil
	found := false
	for _, m := range again {
		found = found || m.Kind == store.Publications
	}
	if !found {
		t.Errorf("not written again: %v", again)
	}
	for l.Stats().LastError != "" {
		time.Sleep(time.Millisecond)
	}
}

func TestAnEarlyAnswerIsForDrillsAlone(t *testing.T) {
	l, g := gated(t, Config{Commit: time.Hour, Drill: Drill{AnswerEarly: true}})
	run(t, l, g)
	if err := l.Drawer("d").Put(t.Context(), "k", nil); err != nil { // no commit was let through
		t.Error(err)
	}
}

func TestRepeatsAloneForceACommitAMinuteAtMost(t *testing.T) {
	l, err := Open(Config{Path: filepath.Join(t.TempDir(), "store"), Domain: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	b := &branch{l: l, now: l.opened, phones: 20, busy: make([]bool, 20), sent: make([]uint64, 20)}
	commits := uint64(0)
	for second := range 600 {
		for i := range b.phones {
			b.observe(t, "phone/sip", i, time.Minute, presence.Facts{Reach: &presence.Reach{Outcome: presence.Answered}})
		}
		b.turn(t)
		if second == 30 {
			commits = l.disk.Stats().Commits
		}
	}
	if n := l.disk.Stats().Commits - commits; n < 9 || n > 10 {
		t.Errorf("%d commits in 570 s", n)
	}
	// Killed now, the age is overstated by a minute at most, and never understated.
	raw, err := os.ReadFile(l.cfg.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.disk.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "store")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := Open(Config{Path: path, Domain: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = after.disk.Close() }()
	last := b.now.Add(-time.Second)
	for name, d := range after.devices {
		if behind := last.Sub(after.dateOf(d.seen[0].Seen)); behind < -time.Millisecond || behind > touchEvery {
			t.Errorf("%s: seen %v before it was", name, behind)
		}
	}
}

// What changed while a commit failed is newer than what the commit held.
func TestAfterAFailedCommitTheNewerValueIsWritten(t *testing.T) {
	l, g := gated(t, Config{Commit: time.Hour})
	run(t, l, g)
	d := l.Drawer("d")
	put := func(key, value string) <-chan error {
		answer := make(chan error, 1)
		go func() { answer <- d.Put(context.Background(), key, []byte(value)) }()
		return answer
	}
	first := put("k", "old")
	<-g.commits
	for _, soft := range [][2]string{{"k", "new"}, {"other", "x"}} {
		if err := d.PutSoft(t.Context(), soft[0], []byte(soft[1])); err != nil {
			t.Fatal(err)
		}
	}
	g.fate <- errors.New("no space left on device")
	if err := <-first; err == nil {
		t.Error("the failed one was answered as kept")
	}
	second := put("third", "y")
	written := map[string]string{}
	for _, m := range <-g.commits {
		written[m.Key] = string(m.Value[1:])
	}
	g.fate <- nil
	if err := <-second; err != nil {
		t.Error(err)
	}
	want := map[string]string{"d\x00k": "new", "d\x00other": "x", "d\x00third": "y"}
	if !maps.Equal(written, want) {
		t.Errorf("written %q, want %q", written, want)
	}
}
