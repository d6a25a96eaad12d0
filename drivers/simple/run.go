package simple

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
)

// run is one life of the driver. All but inbox, docs and keep belongs to the loop.
type run struct {
	*Driver
	ctx   context.Context
	log   *slog.Logger
	inbox *mailbox
	docs  chan []presence.Document
	keep  *keeper
	tasks *errgroup.Group
	came  *callers
	known directory

	subs     map[string]*subscription
	of       map[presence.Presentity]*watched
	watchers map[presence.Presentity]int // subscriptions of each
	alarms   alarms
	timer    *time.Timer
	moorings

	everybody *list
	listed    int // members of all list subscriptions
	abroad    int // subscriptions to other servers
}

// watched is a presentity with those who watch it.
type watched struct {
	of     presence.Presentity
	doc    presence.Document
	known  bool
	subs   []*subscription
	bodies map[bodyKey]body // of the present document
	list   *list            // where it is no presentity
	far    *far             // where she is at another server
	on     []place          // the lists it is on
	lives  int              // how often it came to be known
	seen   time.Time        // when what changed the document was observed
}

// fresh is how old an observation may be to be what changed a document; what is
// older changed it by its age.
const fresh = 10 * time.Second

func newRun(d *Driver, ctx context.Context, tasks *errgroup.Group) *run {
	r := &run{Driver: d, ctx: ctx, tasks: tasks, log: d.log, inbox: newMailbox(), came: newCallers(), docs: make(chan []presence.Document),
		subs: map[string]*subscription{}, of: map[presence.Presentity]*watched{}, watchers: map[presence.Presentity]int{},
		known: directory{kinds: map[presence.Presentity]presence.Kind{}}, timer: time.NewTimer(time.Hour), moorings: newMoorings()}
	r.keep = newKeeper(d.n.Drawer, d.log)
	r.newLists()
	return r
}

// directory is who is known here, for handlers that need no more than that.
type directory struct {
	mu    sync.RWMutex
	kinds map[presence.Presentity]presence.Kind
}

func (l *directory) set(of presence.Presentity, kind presence.Kind, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known {
		l.kinds[of] = kind
	} else {
		delete(l.kinds, of)
	}
}

func (l *directory) kind(of presence.Presentity) (presence.Kind, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	kind, known := l.kinds[of]
	return kind, known
}

// documentsAtOnce bounds how long requests wait for documents.
const documentsAtOnce = 64

// follow hands documents to the loop, some at a time. While that is at work the
// feed conflates.
func (r *run) follow(ctx context.Context, feed *ledger.Feed[presence.Document]) error {
	for {
		doc, err := feed.Next(ctx)
		if err != nil {
			return err
		}
		docs := []presence.Document{doc}
		for more := true; more && len(docs) < documentsAtOnce; {
			if doc, more = feed.TryNext(); more {
				docs = append(docs, doc)
			}
		}
		select {
		case r.docs <- docs:
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
		case docs := <-r.docs:
			for _, doc := range docs {
				r.changed(doc)
			}
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
	if w.list != nil {
		return // a device by a list's name
	}
	if !w.known && !ledger.Gone(doc) {
		w.lives++
	}
	w.doc, w.known, w.bodies = doc, !ledger.Gone(doc), nil
	r.known.set(doc.Of, doc.Kind, w.known)
	w.seen = time.Now()
	if age := w.seen.Sub(doc.AsOf); age > 0 && age < fresh {
		w.seen = doc.AsOf
	}
	for _, s := range w.subs {
		if s.Package != "presence.winfo" {
			r.want(s, change)
		}
	}
	r.joined(w)
	r.changedOn(w)
	r.forgetIfIdle(w)
}

func (r *run) forgetIfIdle(w *watched) {
	if !w.known && len(w.subs) == 0 && len(w.on) == 0 {
		delete(r.of, w.of)
	}
}

// admit enters a new subscription. It reports false where there is no room.
func (r *run) admit(s *subscription) bool {
	if len(r.subs) >= maxSubscriptions || r.watchers[s.Watcher] >= maxPerWatcher {
		return false
	}
	s.key, s.in = s.dialogKey(), r.site(s)
	r.subs[s.key] = s
	r.watchers[s.Watcher]++
	s.in.subs = append(s.in.subs, s)
	if l := s.in.list; l != nil {
		s.weight = len(l.members)
		r.listed += s.weight
	}
	r.count.subscribed(s.Package, 1)
	r.moor(s)
	r.wake(s)
	r.watchersChanged(s)
	return true
}

// remove forgets a subscription, here and on disk.
func (r *run) remove(s *subscription) {
	if r.subs[s.key] != s {
		return
	}
	delete(r.subs, s.key)
	r.listed -= s.weight
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
	r.unmoor(s)
	if s.unreachable {
		r.count.reach(1)
	}
	r.quiet(s)
	if s.due != last {
		r.keep.drop(s.LocalTag)
	}
	r.watchersChanged(s)
	r.leave(s.in)
	r.forgetIfIdle(s.in)
}

// watchersChanged: s came or went.
func (r *run) watchersChanged(s *subscription) {
	if s.Package != "presence" {
		return
	}
	r.winfoChanged(s.in)
	if l := s.in.list; l != nil {
		for _, m := range l.members {
			if m.in != nil {
				r.winfoChanged(m.in)
			}
		}
	}
}

// winfoChanged tells those who watch the watchers.
func (r *run) winfoChanged(w *watched) {
	for _, s := range w.subs {
		if s.Package == "presence.winfo" {
			r.want(s, change)
		}
	}
}
