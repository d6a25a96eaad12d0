package relay

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
)

// A Lane hands one uplink what its far side has not acknowledged yet. It opens
// its feed at Open or the first Next; after Close, that begins anew from the
// cursors on disk.
//
// Who is gone is handed out, too ([ledger.Gone]), so that the far side can
// forget as well; acknowledged, the lane keeps nothing of it. Who went while
// nobody followed is told of at the next Open: a cursor without a presentity.
//
// A document that was handed out is in flight until Ack or Return: meanwhile its
// presentity is not handed out again, not even a newer revision, so that an
// uplink never has two of one presentity under way. Next is for one goroutine;
// the rest may be called from any.
type Lane struct {
	prefix  string
	sel     presence.Selector
	follow  func(context.Context, presence.Selector) (Feed, error)
	cursors Drawer

	reading sync.Mutex // held by who reads the feed
	feed    Feed       // written under both locks

	mu     sync.Mutex
	places map[presence.Presentity]*place
	due    map[presence.Presentity]*place // to hand out: newer than acknowledged, and not in flight
	wake   func()                         // ends the wait of Next; nil when it doesn't wait
}

// place is how far one presentity has come.
type place struct {
	latest presence.Document
	acked  presence.Rev
	flying bool
}

// forgetTime bounds the wait for a disk that does not write: what was to be
// deleted is gone for all who read the drawer, and the store tries on.
const forgetTime = 2 * time.Second

// NewLane makes the lane of one uplink. Its cursors lie in the drawer
// "cursors" under the uplink's name.
func NewLane[F Feed, D Drawer](name string, store Store[F, D], sel presence.Selector) *Lane {
	l := &Lane{prefix: name + "/", sel: sel, cursors: store.Drawer("cursors")}
	l.follow = func(ctx context.Context, sel presence.Selector) (Feed, error) { return store.Follow(ctx, sel) }
	return l
}

// Open follows, and takes over the present state.
func (l *Lane) Open(ctx context.Context) error {
	l.reading.Lock()
	defer l.reading.Unlock()
	return l.open(ctx)
}

// Next waits for documents to hand over, the newest change first, at most max.
func (l *Lane) Next(ctx context.Context, max int) ([]presence.Document, error) {
	l.reading.Lock()
	defer l.reading.Unlock()
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	for {
		l.drain()
		if docs := l.take(max); len(docs) > 0 {
			return docs, nil
		}
		if err := l.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// open reads the cursors and follows; the caller holds reading.
func (l *Lane) open(ctx context.Context) error {
	if l.feed != nil {
		return nil
	}
	places := map[presence.Presentity]*place{}
	err := l.cursors.Each(l.prefix, func(key string, value []byte) error {
		// A cursor that can't be read is the zero revision: the document goes again.
		rev, _ := presence.ParseRev(string(value))
		places[presence.Presentity(key[len(l.prefix):])] = &place{acked: rev}
		return nil
	})
	if err != nil {
		return fmt.Errorf("lane %s cursors: %w", l.prefix, err)
	}
	feed, err := l.follow(ctx, l.sel)
	if err != nil {
		return fmt.Errorf("lane %s: %w", l.prefix, err)
	}
	l.mu.Lock()
	l.feed, l.places, l.due = feed, places, map[presence.Presentity]*place{}
	l.mu.Unlock()
	l.drain()
	l.miss()
	return nil
}

// miss makes due as gone whom the far side has and the present state lacks. The
// revision of that last word is the one that the far side has.
func (l *Lane) miss() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for of, p := range l.places {
		if p.latest.Of != "" {
			continue
		}
		p.latest = presence.Document{Of: of, Availability: presence.Unknown, Freshness: presence.NeverSeen,
			Rev: cmp.Or(p.acked, presence.Rev{Seq: 1})}
		p.acked = presence.Rev{}
		l.settle(p)
	}
}

// drain takes over what the feed holds; the caller holds reading.
func (l *Lane) drain() {
	for {
		doc, ok := l.feed.TryNext()
		if !ok {
			return
		}
		l.note(doc)
	}
}

// wait waits for a change in the feed, or until an acknowledgement or a return
// makes something due. It can't miss one: wake is set before due is looked at.
func (l *Lane) wait(ctx context.Context) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	l.wake = cancel
	ready := len(l.due) > 0
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.wake = nil
		l.mu.Unlock()
	}()
	if ready {
		return nil
	}
	doc, err := l.feed.Next(waiting)
	switch {
	case err == nil:
		l.note(doc)
	case ctx.Err() != nil:
		return ctx.Err()
	case waiting.Err() == nil:
		return err
	}
	return nil
}

// note takes a document from the feed.
func (l *Lane) note(doc presence.Document) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.places[doc.Of]
	if p == nil {
		p = &place{}
		l.places[doc.Of] = p
	}
	p.latest = doc
	l.settle(p)
}

// settle puts p among what is due, or takes it away.
func (l *Lane) settle(p *place) {
	of := p.latest.Of
	if p.flying || p.latest.Rev.Compare(p.acked) <= 0 {
		delete(l.due, of)
		return
	}
	l.due[of] = p
	if l.wake != nil {
		l.wake()
	}
}

// take hands out the newest.
func (l *Lane) take(max int) []presence.Document {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := slices.SortedFunc(maps.Values(l.due), func(a, b *place) int { return b.latest.Rev.Compare(a.latest.Rev) })
	newest = newest[:min(max, len(newest))]
	docs := make([]presence.Document, len(newest))
	for i, p := range newest {
		docs[i] = p.latest
		p.flying = true
		l.settle(p)
	}
	return docs
}

// Ack marks docs kept by the far side, at the revisions given. Of who is gone
// nothing is kept.
func (l *Lane) Ack(ctx context.Context, docs ...presence.Document) error {
	for _, d := range docs {
		news, over := l.acked(d)
		switch {
		case over:
			l.forget(ctx, d.Of)
		case news:
			if err := l.cursors.PutSoft(ctx, l.prefix+string(d.Of), []byte(d.Rev.String())); err != nil {
				return fmt.Errorf("lane %s: cursor of %s: %w", l.prefix, d.Of, err)
			}
		}
	}
	return nil
}

// acked takes note of an acknowledgement: whether it is news, and whether it was
// the last of its presentity.
func (l *Lane) acked(d presence.Document) (news, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.places[d.Of]
	if p == nil {
		return false, false
	}
	p.flying = false
	if news = d.Rev.Compare(p.acked) > 0; news {
		p.acked = d.Rev
	}
	l.settle(p)
	if over = ledger.Gone(p.latest) && p.latest.Rev == d.Rev; over {
		delete(l.places, d.Of)
	}
	return news, over
}

// forget deletes a cursor. One that stays all the same is a presentity that is
// told as gone once more.
func (l *Lane) forget(ctx context.Context, of presence.Presentity) {
	ctx, cancel := context.WithTimeout(ctx, forgetTime)
	defer cancel()
	_ = l.cursors.Delete(ctx, l.prefix+string(of))
}

// Return gives back what could not be handed over: it is due again, at its
// newest revision.
func (l *Lane) Return(docs ...presence.Document) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range docs {
		if p := l.places[d.Of]; p != nil {
			p.flying = false
			l.settle(p)
		}
	}
}

// Again makes the latest document of a presentity due once more, for a far side
// that has lost what it acknowledged.
func (l *Lane) Again(of presence.Presentity) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.places[of]; p != nil {
		p.acked = presence.Rev{}
		l.settle(p)
	}
}

// Latest is the latest document of a presentity; one without a kind where nobody
// knows it. Before Open nobody is known.
func (l *Lane) Latest(of presence.Presentity) presence.Document {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.places[of]; p != nil {
		return p.latest
	}
	return presence.Document{Of: of}
}

// Pending counts the presentities whose latest document is not acknowledged,
// those in flight included.
func (l *Lane) Pending() int {
	// Who waits in Next reads the feed itself; then there is nothing to drain.
	if l.reading.TryLock() {
		if l.feed != nil {
			l.drain()
		}
		l.reading.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, p := range l.places {
		if p.latest.Rev.Compare(p.acked) > 0 {
			n++
		}
	}
	return n
}

// Close ends the lane's feed and forgets what was in flight. It waits for a
// Next that is still under way.
func (l *Lane) Close() {
	l.reading.Lock()
	defer l.reading.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.feed != nil {
		l.feed.Close()
	}
	l.feed, l.places, l.due = nil, nil, nil
}
