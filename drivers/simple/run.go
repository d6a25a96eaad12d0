package simple

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"time"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/event"
)

// run is one life of the driver. All but inbox, docs and keep belongs to the loop.
type run struct {
	*Driver
	ctx   context.Context
	log   *slog.Logger
	inbox *mailbox
	docs  chan presence.Document
	keep  *keeper
	came  chan struct{} // rung when a device of somebody's shows up

	subs     map[string]*subscription
	of       map[presence.Presentity]*watched
	watchers map[presence.Presentity]int // subscriptions of each
	alarms   alarms
	timer    *time.Timer
}

// watched is a presentity with those who watch it.
type watched struct {
	of     presence.Presentity
	doc    presence.Document
	known  bool
	subs   []*subscription
	bodies map[bodyKey]body // of the present document
	seen   time.Time        // when what changed the document was observed
}

// fresh is how old an observation may be to be what changed a document; what is
// older changed it by its age.
const fresh = 10 * time.Second

func newRun(d *Driver, ctx context.Context) *run {
	r := &run{Driver: d, ctx: ctx, log: d.log, inbox: newMailbox(), came: make(chan struct{}, 1), docs: make(chan presence.Document),
		subs: map[string]*subscription{}, of: map[presence.Presentity]*watched{}, watchers: map[presence.Presentity]int{},
		timer: time.NewTimer(time.Hour)}
	r.keep = newKeeper(d.n.Drawer, d.log)
	return r
}

// follow hands documents to the loop. While that is at work the feed conflates.
func (r *run) follow(ctx context.Context, feed *ledger.Feed[presence.Document]) error {
	for {
		doc, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		select {
		case r.docs <- doc:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *run) loop(ctx context.Context) error {
	defer r.timer.Stop()
	var list []func()
	for {
		select {
		case <-r.inbox.ready:
			list = r.inbox.take(list)
			for _, f := range list {
				f()
			}
		case doc := <-r.docs:
			r.changed(doc)
		case <-r.timer.C:
			r.ring(time.Now())
		case <-ctx.Done():
			return ctx.Err()
		}
		r.setTimer()
	}
}

// watch is the presentity, made if need be.
func (r *run) watch(of presence.Presentity) *watched {
	w := r.of[of]
	if w == nil {
		w = &watched{of: of}
		r.of[of] = w
	}
	return w
}

// changed takes a document: whoever watches its presentity may have to be told.
func (r *run) changed(doc presence.Document) {
	w := r.watch(doc.Of)
	w.doc, w.known, w.bodies = doc, !ledger.Gone(doc), nil
	w.seen = time.Now()
	if age := w.seen.Sub(doc.AsOf); age > 0 && age < fresh {
		w.seen = doc.AsOf
	}
	for _, s := range w.subs {
		if s.Package != "presence.winfo" {
			r.want(s, change)
		}
	}
	r.forgetIfIdle(w)
}

func (r *run) forgetIfIdle(w *watched) {
	if !w.known && len(w.subs) == 0 {
		delete(r.of, w.of)
	}
}

// alarm wakes the loop for a subscription.
type alarm struct {
	at time.Time
	s  *subscription
}

// alarms is a heap of them; those of subscriptions that have changed their mind
// ring for nothing.
type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	old := *a
	last := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*a = old[:len(old)-1]
	return last
}

func (r *run) alarm(s *subscription, at time.Time) { heap.Push(&r.alarms, alarm{at, s}) }

func (r *run) setTimer() {
	if len(r.alarms) > 0 {
		r.timer.Reset(max(0, time.Until(r.alarms[0].at)))
	}
}

// ring looks at the subscriptions whose time has come.
func (r *run) ring(now time.Time) {
	for len(r.alarms) > 0 && !now.Before(r.alarms[0].at) {
		s := heap.Pop(&r.alarms).(alarm).s
		switch {
		case s.ended || r.subs[s.key] != s:
		case !now.Before(s.Expires.Add(grace)):
			r.end(s, "timeout", event.EventTimeout)
		default:
			r.kick(s)
		}
	}
}

// grace is how long a subscription is kept beyond its time, for a refresh on
// its way (EV-22).
const grace = 32 * time.Second

// admit enters a new subscription. It reports false where there is no room.
func (r *run) admit(s *subscription) bool {
	if len(r.subs) >= maxSubscriptions || r.watchers[s.Watcher] >= maxPerWatcher {
		return false
	}
	s.key, s.in = s.dialogKey(), r.watch(s.Of)
	r.subs[s.key] = s
	r.watchers[s.Watcher]++
	s.in.subs = append(s.in.subs, s)
	r.count.subscribed(s.Package, 1)
	r.alarm(s, s.Expires.Add(grace))
	r.winfoChanged(s.in)
	return true
}

// remove forgets a subscription, here and on disk.
func (r *run) remove(s *subscription) {
	if r.subs[s.key] != s {
		return
	}
	delete(r.subs, s.key)
	if r.watchers[s.Watcher]--; r.watchers[s.Watcher] <= 0 {
		delete(r.watchers, s.Watcher)
	}
	for i, other := range s.in.subs {
		if other == s {
			last := len(s.in.subs) - 1
			s.in.subs[i], s.in.subs[last] = s.in.subs[last], nil
			s.in.subs = s.in.subs[:last]
			break
		}
	}
	r.count.subscribed(s.Package, -1)
	if s.unreachable {
		r.count.reach(1)
	}
	r.keep.drop(s.LocalTag)
	r.winfoChanged(s.in)
	r.forgetIfIdle(s.in)
}

// winfoChanged tells those who watch the watchers.
func (r *run) winfoChanged(w *watched) {
	for _, s := range w.subs {
		if s.Package == "presence.winfo" {
			r.want(s, change)
		}
	}
}

// restoreWithin is over how long the first NOTIFYs after a restart are spread.
const restoreWithin = 1500 * time.Millisecond

// restore takes up the subscriptions of the last life: the same dialogs, with
// numbers above all that can have been used.
func (r *run) restore() error {
	var gone []string
	var all []*subscription
	now := time.Now()
	err := r.n.Drawer.Each(keyPrefix, func(key string, value []byte) error {
		rec, err := decodeRecord(value)
		pkg := packageOf(rec.Package)
		if err != nil || pkg == nil || now.After(rec.Expires.Add(grace)) {
			gone = append(gone, key)
			return nil
		}
		s := &subscription{record: rec, pkg: pkg, cseq: rec.Reserve, told: event.Told{Next: rec.Reserve}, began: now, event: event.EventSubscribe}
		all = append(all, s)
		return nil
	})
	for _, key := range gone {
		err = errors.Join(err, r.n.Drawer.Delete(r.ctx, key))
	}
	for i, s := range all {
		s.open()
		if s.body = s.choose(); s.body == "" || !r.admit(s) {
			continue
		}
		s.how = r.n.Access.Watch(s.Watcher, s.Of)
		s.heldUntil = now.Add(restoreWithin * time.Duration(i) / time.Duration(len(all)))
		r.want(s, asked)
	}
	if len(all) > 0 {
		r.log.Info("subscriptions go on", "count", len(all))
	}
	return err
}
