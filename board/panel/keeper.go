package panel

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

// keeper owns the snapshot.
type keeper struct {
	heart   Heart
	uplinks Uplinks
	log     *slog.Logger

	mu   sync.Mutex // one swap at a time
	gone map[string]presence.Rev
	snap atomic.Pointer[snapshot]

	refreshing chan struct{} // who holds its one place asks the ledger
	refreshed  time.Time     // when it was last asked, whatever came of that
}

func newKeeper(d Deps, log *slog.Logger) *keeper {
	k := &keeper{heart: d.Heart, uplinks: d.Uplinks, log: log, gone: map[string]presence.Rev{}, refreshing: make(chan struct{}, 1)}
	k.snap.Store(&snapshot{changed: make(chan struct{})})
	return k
}

// Changes gather for settle before they are shown together, once some have been
// shown, and a little longer for each item that the next snapshot copies: it
// bounds the work at a storm, and is under what an eye sees.
const (
	settle     = 5 * time.Millisecond
	settleEach = 2 * time.Microsecond
)

// uplinkPause is the least time between two events that only say how much is
// pending on an uplink.
const uplinkPause = time.Second

// run follows the heart until ctx is done; loaded is called once the present
// state is in.
func (k *keeper) run(ctx context.Context, loaded func()) error {
	docs, err := k.heart.Follow(ctx, nil)
	if err != nil {
		return fmt.Errorf("panel: follow documents: %w", err)
	}
	defer docs.Close()
	devices, err := k.heart.FollowDevices(ctx)
	if err != nil {
		return fmt.Errorf("panel: follow devices: %w", err)
	}
	defer devices.Close()
	k.apply(append(drain(docs, docItem), drain(devices, deviceItem)...))
	loaded()

	g, ctx := errgroup.WithContext(ctx)
	changes := make(chan *item)
	g.Go(func() error { return pump(ctx, docs, docItem, changes) })
	g.Go(func() error { return pump(ctx, devices, deviceItem, changes) })
	g.Go(func() error {
		return k.gather(ctx, changes, func() []*item { return append(drain(docs, docItem), drain(devices, deviceItem)...) })
	})
	if k.uplinks != nil {
		g.Go(func() error { return k.followUplinks(ctx) })
	}
	return g.Wait()
}

func docItem(d presence.Document) *item {
	return &item{kind: kindPresence, key: string(d.Of), own: d.Rev, doc: &d, gone: ledger.Gone(d)}
}

func deviceItem(d presence.Device) *item {
	return &item{kind: kindPhone, key: d.Name, own: d.Rev, device: &d, gone: ledger.GoneDevice(d)}
}

func drain[T any](f Feed[T], wrap func(T) *item) (all []*item) {
	for v, ok := f.TryNext(); ok; v, ok = f.TryNext() {
		all = append(all, wrap(v))
	}
	return all
}

func pump[T any](ctx context.Context, f Feed[T], wrap func(T) *item, out chan<- *item) error {
	for {
		v, err := f.Next(ctx)
		if err != nil {
			return err
		}
		select {
		case out <- wrap(v):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gather takes changes in batches: the first at once, what follows within a
// window together. Meanwhile they wait in their feeds, which conflate.
func (k *keeper) gather(ctx context.Context, changes <-chan *item, more func() []*item) error {
	var last time.Time
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		var batch []*item
		select {
		case it := <-changes:
			batch = append(batch, it)
		case <-ctx.Done():
			return ctx.Err()
		}
		window := settle + settleEach*time.Duration(len(k.snap.Load().order))
		pause.Reset(window - time.Since(last))
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		k.apply(append(batch, more()...))
		last = time.Now()
	}
}

// apply puts another snapshot in place, with a batch of changes in it.
func (k *keeper) apply(batch []*item) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.snap.Load()
	e := edit{next: *old, replaced: map[*item]*item{}, gone: k.gone}
	e.next.phones, e.next.docs = slices.Clone(old.phones), slices.Clone(old.docs)
	slices.SortStableFunc(batch, func(a, b *item) int { return a.own.Compare(b.own) })
	for _, it := range batch {
		e.take(it)
	}
	if next := e.done(old.order); len(e.fresh) > 0 {
		k.swap(old, next)
	} else { // only ages: nobody need be woken
		k.snap.Store(next)
	}
}

func (k *keeper) swap(old, next *snapshot) {
	next.changed = make(chan struct{})
	k.snap.Store(next)
	close(old.changed)
}

// refreshEvery is how often the ledger is asked, at most and when somebody
// reads, and how long it has to answer.
const refreshEvery = time.Second

// refresh brings the ages up to date, which change without anybody being told,
// and with them whatever the feeds are about to tell. One question does it for
// all; the others are answered from what stands. Now is for who has just
// changed something, and shall read it back: they wait their turn.
func (k *keeper) refresh(ctx context.Context, now bool) *snapshot {
	ctx, stop := context.WithTimeout(ctx, refreshEvery)
	defer stop()
	if !k.mayAsk(ctx, now) {
		return k.snap.Load()
	}
	defer func() { <-k.refreshing }()
	if now || time.Since(k.refreshed) >= refreshEvery {
		k.ask(ctx)
		k.refreshed = time.Now()
	}
	return k.snap.Load()
}

func (k *keeper) mayAsk(ctx context.Context, wait bool) bool {
	select {
	case k.refreshing <- struct{}{}:
		return true
	default:
	}
	if !wait {
		return false
	}
	select {
	case k.refreshing <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// ask takes over all that the ledger holds; when it does not answer in time,
// what was known stands.
func (k *keeper) ask(ctx context.Context) {
	devices, err := k.heart.Devices(ctx)
	if err != nil {
		return
	}
	docs, err := k.heart.Documents(ctx, nil)
	if err != nil {
		return
	}
	batch := make([]*item, 0, len(docs)+len(devices))
	for _, d := range devices {
		batch = append(batch, deviceItem(d))
	}
	for _, d := range docs {
		batch = append(batch, docItem(d))
	}
	k.apply(batch)
}

func (k *keeper) followUplinks(ctx context.Context) error {
	next, done := k.uplinks.Follow()
	defer done()
	for {
		all, err := next(ctx)
		if err != nil {
			return err
		}
		k.mu.Lock()
		old := k.snap.Load()
		snap := *old
		snap.uplinks = all
		k.swap(old, &snap)
		k.mu.Unlock()
		if slices.EqualFunc(old.uplinks, all, func(a, b relay.Status) bool { return a.Name == b.Name && a.Mode == b.Mode }) {
			select { // only numbers moved: once a second is enough for an eye
			case <-time.After(uplinkPause):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}
