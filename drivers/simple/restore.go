package simple

import (
	"time"

	"pilotlight/agent/access"
	"pilotlight/drivers/internal/event"
)

// restoreWithin is over how long the first NOTIFYs after a restart are spread.
const restoreWithin = 1500 * time.Millisecond

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
		s.open()
		all = append(all, s)
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range gone {
		r.keep.add(job{key: key})
	}
	for i, s := range all {
		if !r.admit(s) {
			r.keep.drop(s.LocalTag)
			continue
		}
		s.heldUntil = now.Add(restoreWithin * time.Duration(i) / time.Duration(len(all)))
		if s.List != (s.in.list != nil) { // the configuration is another; the two are never mixed (RLS-02)
			r.end(s, "noresource", event.EventNoResource)
			continue
		}
		if s.List {
			s.how = access.Allow
		} else if s.how = r.n.Access.Watch(s.Watcher, s.Of); s.how == access.Block {
			r.end(s, "rejected", event.EventRejected) // the rules are others now (PR-07)
			continue
		}
		r.want(s, asked)
	}
	if len(all) > 0 {
		r.log.Info("subscriptions go on", "count", len(all))
	}
	return nil
}
