package simple

import (
	"cmp"
	"context"
	"slices"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/event"
)

// obey holds the subscriptions to what was decided while they stand (PR-07).
func (r *run) obey(ctx context.Context) error {
	for seen := uint64(0); ; {
		n, err := r.n.Access.Changed(ctx, seen)
		if err != nil {
			return err
		}
		seen = n
		if err := r.do(ctx, r.reconsider); err != nil {
			return err
		}
	}
}

// reconsider asks again how each watcher is taken: who is blocked now is told
// that it is over, who was pending and may watch is told the state, and the
// other way round.
func (r *run) reconsider() {
	var over []*subscription
	for _, s := range r.subs {
		if s.due == last || s.in.far != nil {
			continue
		}
		if l := s.in.list; l != nil {
			if r.shut(s, l) {
				over = append(over, s)
			} else {
				r.reconsiderList(s, l)
			}
			continue
		}
		how := r.n.Access.Watch(s.Watcher, s.Of)
		if how == s.how {
			continue
		}
		if how == access.Block {
			over = append(over, s)
			continue
		}
		if s.how == access.Confirm {
			s.event = event.EventApproved
		}
		s.how, s.Handling = how, how
		r.want(s, asked)
		r.winfoChanged(s.in)
	}
	for _, s := range over {
		s.how = access.Block // the last NOTIFY tells nothing of the state
		r.end(s, "rejected", event.EventRejected)
	}
}

// reconsiderList asks it of each member (RLS-09).
func (r *run) reconsiderList(s *subscription, l *list) {
	for at, m := range l.members {
		if m.in == nil {
			continue
		}
		s.roll.soil(at)
		how := r.n.Access.Watch(s.Watcher, m.of)
		before := s.roll.mark(at)
		if (before == markPending) != (how == access.Confirm) || (before == markRejected) != (how == access.Block) {
			r.winfoChanged(m.in)
		}
	}
	r.want(s, change)
}

// Watching is one watcher of a presentity, over all its subscriptions.
type Watching struct {
	Watcher  presence.Presentity
	Pending  bool // nobody has decided yet
	Since    time.Time
	Packages []string
}

// Watching are those who watch a presentity now, sorted; by a list, too.
func (d *Driver) Watching(ctx context.Context, of presence.Presentity) ([]Watching, error) {
	r := d.now.get()
	if r == nil {
		return nil, errStopped
	}
	all := map[presence.Presentity]*Watching{}
	err := r.do(ctx, func() {
		w := r.of[of]
		if w == nil {
			return
		}
		add := func(s *subscription, how access.Handling) {
			if how == access.Block {
				return
			}
			one := all[s.Watcher]
			if one == nil {
				one = &Watching{Watcher: s.Watcher, Since: s.began}
				all[s.Watcher] = one
			}
			one.Pending = one.Pending || how == access.Confirm
			one.Since = presence.Earlier(one.Since, s.began)
			if !slices.Contains(one.Packages, s.Package) {
				one.Packages = append(one.Packages, s.Package)
			}
		}
		for _, s := range w.subs {
			add(s, s.how)
		}
		for _, p := range w.on {
			for _, s := range p.list.in.subs {
				add(s, r.n.Access.Watch(s.Watcher, of))
			}
		}
	})
	list := make([]Watching, 0, len(all))
	for _, one := range all {
		slices.Sort(one.Packages)
		list = append(list, *one)
	}
	slices.SortFunc(list, func(a, b Watching) int { return cmp.Compare(a.Watcher, b.Watcher) })
	return list, err
}
