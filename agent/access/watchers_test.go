package access

import (
	"context"
	"errors"
	"testing"
	"time"
)

const boss, bob = "sip:boss@example.com", "sip:bob@example.com"

func TestADecisionGoesBeforeTheRulesAndOutlivesARestart(t *testing.T) {
	disk := newMemory()
	rules := Rules{Default: Confirm}
	w, err := NewWatchers(rules, disk)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Watch(bob, boss); got != Confirm {
		t.Errorf("before: %s", got)
	}
	if err := w.Decide(t.Context(), Decision{Of: boss, Watcher: bob, Do: Allow}); err != nil {
		t.Fatal(err)
	}
	again, err := NewWatchers(rules, disk)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]*Watchers{"now": w, "after a restart": again} {
		if got := w.Watch(bob, boss); got != Allow {
			t.Errorf("%s: %s", name, got)
		}
		if all := w.Decisions(boss); len(all) != 1 || all[0].Watcher != bob || len(w.Decisions(bob)) != 0 {
			t.Errorf("%s: %v", name, all)
		}
	}
	if err := again.Forget(t.Context(), boss, bob); err != nil || again.Watch(bob, boss) != Confirm {
		t.Errorf("taken back: %v, %s", err, again.Watch(bob, boss))
	}
	if err := again.Forget(t.Context(), boss, bob); !errors.Is(err, ErrNotFound) {
		t.Errorf("taken back twice: %v", err)
	}
	if err := again.Decide(t.Context(), Decision{Of: boss, Watcher: boss}); !errors.Is(err, ErrInvalid) {
		t.Errorf("about herself: %v", err)
	}
}

func TestADecisionThatIsNotOnDiskDoesNotHold(t *testing.T) {
	disk := newMemory()
	w, err := NewWatchers(Rules{Default: Allow}, disk)
	if err != nil {
		t.Fatal(err)
	}
	disk.fail = errors.New("the disk is gone")
	if err := w.Decide(t.Context(), Decision{Of: boss, Watcher: bob, Do: Block}); err == nil || w.Watch(bob, boss) != Allow {
		t.Errorf("%v, %s", err, w.Watch(bob, boss))
	}
}

func TestWhoWaitsForADecisionHearsOfIt(t *testing.T) {
	w, err := NewWatchers(Rules{}, newMemory())
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan uint64)
	go func() {
		n, _ := w.Changed(t.Context(), 0)
		heard <- n
	}()
	if err := w.Decide(t.Context(), Decision{Of: boss, Watcher: bob, Do: Allow}); err != nil {
		t.Fatal(err)
	}
	if n := <-heard; n != 1 {
		t.Errorf("change %d", n)
	}
	_ = w.Decide(t.Context(), Decision{Of: boss, Watcher: bob, Do: Allow}) // says nothing new
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := w.Changed(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a change that was none: %v", err)
	}
}
