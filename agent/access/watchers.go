package access

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"pilotlight/agent/bell"
	"pilotlight/agent/presence"
)

// maxDecisions bounds what is decided of single watchers, of all presentities.
const maxDecisions = 20_000

// Watchers says how somebody who watches is taken: by what the presentity
// decided of just this watcher, else by the rules of the configuration. It is safe
// for concurrent use; answers come from memory, and a decision is on disk before
// it holds.
type Watchers struct {
	rules  Rules
	drawer Drawer

	writing sync.Mutex // one decision at a time; held while it goes to disk

	mu      sync.RWMutex
	decided map[pair]Handling
	changed bell.Bell
}

type pair struct{ of, watcher presence.Presentity }

func (p pair) key() string { return string(p.of) + "\x00" + string(p.watcher) }

// A Decision is what a presentity decided of one watcher.
type Decision struct {
	Of, Watcher presence.Presentity
	Do          Handling
}

// NewWatchers reads the decisions from their drawer.
func NewWatchers(rules Rules, drawer Drawer) (*Watchers, error) {
	w := &Watchers{rules: rules, drawer: drawer, decided: map[pair]Handling{}}
	err := drawer.Each("", func(key string, value []byte) error {
		of, watcher, ok := strings.Cut(key, "\x00")
		do, err := ParseHandling(string(value))
		if !ok || err != nil {
			return fmt.Errorf("access: the decision %.80q: %w", key, cmp.Or(err, ErrInvalid))
		}
		w.decided[pair{presence.Presentity(of), presence.Presentity(watcher)}] = do
		return nil
	})
	return w, err
}

// Watch is how watcher's subscription to of is taken.
func (w *Watchers) Watch(watcher, of presence.Presentity) Handling {
	w.mu.RLock()
	do, ok := w.decided[pair{of, watcher}]
	w.mu.RUnlock()
	if ok {
		return do
	}
	return w.rules.Watch(watcher, of)
}

// Decide keeps a decision, in place of the one before. It is on disk when it
// returns, and holds from then on.
func (w *Watchers) Decide(ctx context.Context, d Decision) error {
	if d.Of == "" || d.Watcher == "" || d.Of == d.Watcher {
		return fmt.Errorf("%w: a decision of %q about %q", ErrInvalid, d.Of, d.Watcher)
	}
	w.writing.Lock()
	defer w.writing.Unlock()
	at := pair{d.Of, d.Watcher}
	w.mu.RLock()
	old, had := w.decided[at]
	full := !had && len(w.decided) >= maxDecisions
	w.mu.RUnlock()
	switch {
	case had && old == d.Do:
		return nil
	case full:
		return fmt.Errorf("decisions about watchers: %w", ErrFull)
	}
	if err := w.drawer.Put(ctx, at.key(), []byte(d.Do.String())); err != nil {
		return err
	}
	w.set(at, d.Do, true)
	return nil
}

// Forget takes a decision back: the rules hold again. ErrNotFound says that
// there was none.
func (w *Watchers) Forget(ctx context.Context, of, watcher presence.Presentity) error {
	w.writing.Lock()
	defer w.writing.Unlock()
	at := pair{of, watcher}
	w.mu.RLock()
	_, had := w.decided[at]
	w.mu.RUnlock()
	if !had {
		return fmt.Errorf("%w decision of %s about %s", ErrNotFound, of, watcher)
	}
	if err := w.drawer.Delete(ctx, at.key()); err != nil {
		return err
	}
	w.set(at, Block, false)
	return nil
}

func (w *Watchers) set(at pair, do Handling, there bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if there {
		w.decided[at] = do
	} else {
		delete(w.decided, at)
	}
	w.changed.Ring()
}

// Decisions are those of one presentity, sorted by watcher.
func (w *Watchers) Decisions(of presence.Presentity) []Decision {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var all []Decision
	for at, do := range w.decided {
		if at.of == of {
			all = append(all, Decision{at.of, at.watcher, do})
		}
	}
	slices.SortFunc(all, func(a, b Decision) int { return cmp.Compare(a.Watcher, b.Watcher) })
	return all
}

// Changed waits until something was decided since the change with that number,
// and gives the number of the last: who asks Watch of it again misses nothing.
func (w *Watchers) Changed(ctx context.Context, since uint64) (uint64, error) {
	return w.changed.Wait(ctx, since)
}
