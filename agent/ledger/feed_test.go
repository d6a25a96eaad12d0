package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
)

func TestASlowFollowerIsConflatedAndHoldsNobodyUp(t *testing.T) {
	l := fresh(t)
	slow, err := l.Follow(t.Context(), nil)
	must(t, err)
	for slow.Waiting() > 0 {
		slow.TryNext()
	}
	const phones, rounds = 20, 50
	for round := range rounds {
		for i := range phones {
			o := calls(fmt.Sprint("SEP", i), presence.LineIdle)
			if round%2 == 0 {
				o = calls(fmt.Sprint("SEP", i), presence.LineConfirmed)
			}
			o.Calls.Lines[0].Number = fmt.Sprint(2000 + i)
			must(t, l.Observe(t.Context(), o))
		}
	}
	if n := slow.Waiting(); n != phones {
		t.Errorf("%d wait, want one for each of %d", n, phones)
	}
	last := presence.Rev{}
	for range phones {
		d, ok := slow.TryNext()
		if !ok || d.Availability == presence.OnThePhone {
			t.Fatalf("stale: %v %+v", ok, d)
		}
		if d.Rev.Compare(last) <= 0 {
			t.Errorf("%s came before what had waited longer", d.Of)
		}
		last = d.Rev
	}
}

func TestAFeedBeginsWithThePresentState(t *testing.T) {
	l := fresh(t)
	must(t, l.Observe(t.Context(), calls(phone, presence.LineIdle)))
	people, err := l.Follow(t.Context(), func(p presence.Presentity) bool { return p == alice })
	must(t, err)
	if d, ok := people.TryNext(); !ok || d.Of != alice || d.Availability != presence.Available {
		t.Errorf("people: %+v", d)
	}
	if d, ok := people.TryNext(); ok {
		t.Errorf("not asked for: %+v", d)
	}
	board, err := l.FollowDevices(t.Context())
	must(t, err)
	d, ok := board.TryNext()
	if !ok || d.Name != phone || d.State != presence.Idle || d.Owner != alice {
		t.Errorf("devices: %+v", d)
	}
	must(t, l.Observe(t.Context(), calls(phone, presence.LineConfirmed)))
	next, err := board.Next(t.Context())
	must(t, err)
	if next.State != presence.InUse || next.Rev.Compare(d.Rev) <= 0 {
		t.Errorf("next: %+v", next)
	}
}

func TestARepeatTellsNobodyAndIsFresher(t *testing.T) {
	l := fresh(t)
	must(t, l.Observe(t.Context(), calls(phone, presence.LineIdle)))
	f, err := l.Follow(t.Context(), nil)
	must(t, err)
	for f.Waiting() > 0 {
		f.TryNext()
	}
	before := document(t, l, alice)
	must(t, l.Observe(t.Context(), calls(phone, presence.LineIdle)))
	after := document(t, l, alice)
	if f.Waiting() != 0 || after.Rev != before.Rev || !after.AsOf.After(before.AsOf) || !after.Since.Equal(before.Since) {
		t.Errorf("%d told; before %+v, after %+v", f.Waiting(), before, after)
	}
}

func TestCloseNeverWaitsAndTheLedgerForgetsTheFeed(t *testing.T) {
	l := fresh(t)
	f, err := l.Follow(t.Context(), nil)
	must(t, err)
	f.Close()
	f.Close()
	if _, err := f.Next(t.Context()); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("Next: %v", err)
	}
	must(t, l.Observe(t.Context(), calls(phone, presence.LineConfirmed)))
	must(t, l.Ping(t.Context()))
	if n := l.Stats().Feeds; n != 0 {
		t.Errorf("%d feeds", n)
	}
}

func TestAfterTheEndWhatWaitsIsToldAndThenClosed(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "store"))
	stop := start(t, l)
	f, err := l.Follow(t.Context(), func(p presence.Presentity) bool { return p == alice })
	must(t, err)
	blocked, err := l.FollowDevices(t.Context())
	must(t, err)
	for blocked.Waiting() > 0 {
		blocked.TryNext()
	}
	ended := make(chan error, 1)
	go func() { _, err := blocked.Next(context.Background()); ended <- err }()
	stop()
	if err := <-ended; !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("a waiting Next: %v", err)
	}
	if _, err := f.Next(t.Context()); err != nil {
		t.Errorf("what waited: %v", err)
	}
	for range 2 {
		if _, err := f.Next(t.Context()); !errors.Is(err, ledger.ErrClosed) {
			t.Errorf("then: %v", err)
		}
	}
	for name, call := range map[string]func() error{
		"Observe": func() error { return l.Observe(t.Context(), calls(phone, presence.LineIdle)) },
		"Ping":    func() error { return l.Ping(t.Context()) },
		"Follow":  func() error { _, err := l.Follow(t.Context(), nil); return err },
		"Put":     func() error { return l.Drawer("d").Put(t.Context(), "k", nil) },
		"Publish": func() error { _, _, err := l.Publish(t.Context(), says(presence.Busy, time.Hour)); return err },
		"Run":     func() error { return errors.Join(ledger.ErrClosed, l.Run(t.Context())) },
	} {
		if err := call(); !errors.Is(err, ledger.ErrClosed) {
			t.Errorf("%s after the end: %v", name, err)
		}
	}
	f.Close()
}
