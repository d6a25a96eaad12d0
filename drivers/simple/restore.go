package simple

import (
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/ledger"
	"pilotlight/drivers/internal/event"
)

// restoreWithin is when the last of the first NOTIFYs after a restart goes, from the
// start of the agent. They are spread, over a third of it at least: a start that took
// long makes no storm.
const restoreWithin = 1500 * time.Millisecond

// spreadOver is how long they are spread in a run that begins now.
func (d *Driver) spreadOver(now time.Time) time.Duration {
	since := d.since
	if since.IsZero() {
		since = now
	}
	return max(d.spread-now.Sub(since), d.spread/3)
}

// restore takes up the subscriptions of the last life: the same dialogs, with
// numbers above all that can have been used. The present documents are known by
// now, or a watcher would hear for a moment that everybody is offline.
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
		s := &subscription{record: rec, pkg: pkg, cseq: rec.Reserve, granted: rec.Reserve, told: event.Told{Next: rec.Reserve},
			began: now, event: event.EventSubscribe}
		if s.body = s.choose(); s.body == "" {
			gone = append(gone, key)
			return nil
		}
		if s.open(); s.stream && !r.isOpen(s) {
			s.way = wayGone
			if len(s.Route) > 0 {
				s.way = wayDial
			}
			s.open()
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range gone {
		r.keep.add(ledger.Entry{Key: key})
	}
	over := r.spreadOver(time.Now())
	for i, s := range all {
		if !r.admit(s) {
			r.keep.drop(s.LocalTag)
			continue
		}
		r.reached(s, !s.way.lost())
		s.heldUntil = now.Add(over * time.Duration(i) / time.Duration(len(all)))
		switch reason := r.resume(s); reason {
		case "":
			if !s.Paused {
				r.want(s, asked)
			}
		case event.EventRejected:
			r.end(s, "rejected", reason)
		default:
			r.end(s, "noresource", reason)
		}
	}
	if len(all) > 0 {
		r.log.Info("subscriptions go on", "count", len(all))
	}
	return nil
}

// resume decides, as mayBegin does for a new one, how a subscription goes on that
// the configuration of today may have no room for; or why it is over.
func (r *run) resume(s *subscription) event.WatcherEvent {
	s.how = access.Allow
	switch far := s.in.far != nil; {
	case s.List != (s.in.list != nil), far && r.server(s.Of.Domain()) == nil:
		return event.EventNoResource // a list and a presentity are never mixed (RLS-02)
	case far:
		r.reach(s.in, s)
	case !s.List:
		if s.how = r.n.Access.Watch(s.Watcher, s.Of); s.how == access.Block {
			return event.EventRejected // the rules are others now (PR-07)
		}
	}
	return ""
}
