package simple

import (
	"strconv"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/pidf"
)

// standing is what a subscription to a list hears of one member now.
type standing struct {
	at       int
	resource event.Resource
	body     body // of an active instance
	mark     uint64
}

// standing looks at a member as if the list's watcher had subscribed to it
// (RLS-09), by the view that is kept for whoever sees the same.
func (r *run) standing(s *subscription, at int, now time.Time) standing {
	m := s.in.list.members[at]
	st := standing{at: at, resource: event.Resource{URI: string(m.of)}, mark: markElsewhere}
	if m.in == nil {
		return st // nobody knows: no instance (RLS-05)
	}
	instance := event.Instance{ID: strconv.Itoa(m.in.lives)}
	how := r.n.Access.Watch(s.Watcher, m.of)
	switch {
	case !m.in.known:
		st.mark, instance.State, instance.Reason = markGone, event.Ended, "noresource"
	case how == access.Block:
		st.mark, instance.State, instance.Reason = markRejected, event.Ended, "rejected"
		instance.ID += ".r" // what is over does not begin again
	case how == access.Confirm:
		st.mark, instance.State = markPending, event.Pending
	default:
		st.body = m.in.view(s.pkg, question{of: m.in, entity: string(m.of), kind: s.body, dialect: pidf.DialectOf(s.UserAgent, s.body),
			polite: how == access.PoliteBlock, now: now})
		st.mark, instance.State = max(st.body.mark, markBody), event.Active
		if how == access.Allow && m.in.doc.Kind == presence.KindPerson {
			st.resource.Names = []event.Name{{Text: m.in.doc.Name}}
		}
	}
	st.resource.Instances = []event.Instance{instance}
	return st
}

// cost is about how much longer a NOTIFY gets by the instance and its part.
func (st *standing) cost() int {
	if st.body.octets == nil {
		return 100
	}
	return 500 + len(st.body.octets)
}

// telling is a list's NOTIFY in the making.
type telling struct {
	full bool
	told []standing // of which something is said
	bare []bool     // of these: that they are there, and no more
	more bool       // something is left for the next one
}

// tellList is the list's NOTIFY: all members after a SUBSCRIBE, then those that
// changed (RLS-04, RLS-05). What does not fit into one is told by the next: a full
// one names all the same, since who is not in it is not on the list. false: nobody
// could tell the difference.
func (r *run) tellList(s *subscription, now time.Time, full bool) (notice, bool) {
	l := s.in.list
	full = full || s.again || !s.roll.begun
	if full {
		s.roll.clear(l)
	}
	room := maxListBody
	if s.due == last && s.stream {
		room = maxLastBody
	}
	for ; ; room /= 2 { // what a part costs is an estimate
		t := r.pickMembers(s, now, full, room)
		if !full && len(t.told) == 0 {
			return notice{}, false
		}
		n, ok := r.renderList(s, t)
		if !ok {
			return notice{}, false
		}
		if parts := len(t.told); len(n.octets) > room+room/16 && parts > 1 && room > 4096 {
			continue
		}
		s.roll.begun = true
		s.told.Next++
		for i, st := range t.told {
			if !t.bare[i] {
				s.roll.set(l, st.at, st.mark)
			}
		}
		n.etag = listTag(s, s.roll.sum)
		return n, true
	}
}

// pickMembers chooses whom a NOTIFY tells of.
func (r *run) pickMembers(s *subscription, now time.Time, full bool, room int) telling {
	l, t := s.in.list, telling{full: full}
	size, parts := 256, 0
	if full {
		size = l.bare()
	}
	for _, at := range l.order {
		if !s.roll.soiled(at) {
			continue
		}
		st := r.standing(s, at, now)
		before := s.roll.mark(at)
		if st.mark == before || before == 0 && l.all && st.mark == markGone {
			s.roll.set(l, at, before) // no news after all
			continue
		}
		cost := st.cost()
		if !full {
			cost += bareSize(l.members[at])
		}
		fits := size+cost <= room || parts == 0
		if !fits {
			t.more = true
			if !full {
				break
			}
			st.resource.Instances, cost = nil, 0
		}
		if fits && st.body.octets != nil {
			parts++
		}
		size += cost
		t.told, t.bare = append(t.told, st), append(t.bare, !fits)
	}
	return t
}

// renderList writes it under the next version.
func (r *run) renderList(s *subscription, t telling) (notice, bool) {
	version := s.told.Next
	doc := event.ResourceList{URI: string(s.Of), Version: version, Full: t.full}
	var parts []event.Part
	for _, st := range t.told {
		if len(st.resource.Instances) > 0 && st.body.octets != nil {
			octets := st.body.octets
			if s.pkg.stamp != nil {
				octets = s.pkg.stamp(octets, version)
			}
			cid := event.ContentID(r.c.Domain, string(s.Of), strconv.FormatUint(uint64(version), 10), st.resource.URI)
			st.resource.Instances[0].CID = cid
			parts = append(parts, event.Part{ID: cid, ContentType: s.body, Body: octets})
		}
		doc.Resources = append(doc.Resources, st.resource)
	}
	kind, octets, err := event.RenderList(doc, parts)
	if err != nil {
		r.log.Error("a list is not told", "presentity", s.Of, "err", err)
		return notice{}, false
	}
	return notice{octets: octets, kind: kind, more: t.more}, true
}

// listTag is the entity-tag of what a list's subscription was told: of the list and
// of all parts (CN-01).
func listTag(s *subscription, sum [2]uint64) string {
	return tagOf("list", string(s.Of), s.Package, s.body, strconv.FormatUint(sum[0], 16), strconv.FormatUint(sum[1], 16))
}

// listNow is the tag that it would have if all were told now.
func (r *run) listNow(s *subscription, now time.Time) (roll, string) {
	l := s.in.list
	t := roll{begun: s.roll.begun}
	for at := range l.members {
		mark := r.standing(s, at, now).mark
		if l.all && mark == markGone {
			mark = 0
		}
		t.set(l, at, mark)
	}
	return t, listTag(s, t.sum)
}
