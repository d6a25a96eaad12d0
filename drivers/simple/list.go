package simple

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/sip"
)

// List is a resource list (RFC 4662): one subscription tells of all its members.
// Its URI is sip:NAME@ our domain.
type List struct {
	Name    string
	Members []presence.Presentity // in the order in which they are told
}

// Everybody is the name of the list of all persons at the branch.
const Everybody = "rls"

// Bounds of lists.
const (
	// MaxMembers is how many a list may have. The list of everybody has as many as
	// there are, up to what a reader of RLMI must take.
	MaxMembers   = 500
	maxEverybody = 1000
	maxListed    = 1 << 20 // members of all list subscriptions together: 8 MB
	maxListBody  = 60_000  // octets of one NOTIFY's body; the rest follows in the next
	maxLastBody  = 900_000 // of the last one of a dialog over a stream, which nothing can follow
)

// list is a list at work.
type list struct {
	in      *watched // its own place: its URI, and its subscriptions
	all     bool     // it is everybody's
	members []member // a place is never given to another
	order   []int    // the places as they are told
}

// member is one of a list.
type member struct {
	of presence.Presentity
	in *watched  // nil: at another domain, of which nothing is known here
	id [2]uint64 // of its URI, for entity-tags
}

// place is where somebody is in a list.
type place struct {
	list *list
	at   int
}

// newLists makes the lists that are configured, and everybody's.
func (r *run) newLists() {
	for _, c := range r.c.Lists {
		l := r.newList(c.Name)
		for _, of := range c.Members {
			l.add(r, of)
		}
	}
	r.everybody = r.newList(Everybody)
	r.everybody.all = true
}

func (r *run) newList(name string) *list {
	w := r.watch(presence.At(name, r.c.Domain))
	w.known = true
	w.list = &list{in: w}
	return w.list
}

// add gives somebody a place.
func (l *list) add(r *run, of presence.Presentity) {
	sum := sha256.Sum256([]byte(of))
	m := member{of: of, id: [2]uint64{binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])}}
	at := len(l.members)
	if of.Domain() == r.c.Domain {
		m.in = r.watch(of)
		m.in.on = append(m.in.on, place{l, at})
	}
	l.members = append(l.members, m)
	where := len(l.order)
	if l.all {
		where, _ = slices.BinarySearchFunc(l.order, of, func(i int, of presence.Presentity) int { return strings.Compare(string(l.members[i].of), string(of)) })
	}
	l.order = slices.Insert(l.order, where, at)
}

// joined sees to it that everybody who is a person has a place in the list.
func (r *run) joined(w *watched) {
	if !w.known || w.doc.Kind != presence.KindPerson || len(r.everybody.members) >= maxEverybody {
		return
	}
	if !slices.ContainsFunc(w.on, func(p place) bool { return p.list == r.everybody }) {
		r.everybody.add(r, w.of)
	}
}

// changedOn tells the lists that somebody is on that there may be news.
func (r *run) changedOn(w *watched) {
	for _, p := range w.on {
		p.list.in.seen = w.seen
		for _, s := range p.list.in.subs {
			s.roll.soil(p.at)
			r.want(s, change)
		}
	}
}

// hasList reports whether a subscriber knows lists (RLS-01). One that requires the
// extension, as it must not, knows it too.
func hasList(in *sip.Incoming) bool {
	return slices.Contains(in.Header.List("Supported"), eventlist) || slices.Contains(in.Header.List("Require"), eventlist)
}

const eventlist = "eventlist"

// mayList decides whether a subscription to a list begins. Of whom it may hear is
// decided for each member (RLS-09); the list itself is closed to whom a rule blocks
// from it, and to whom every member does.
func (r *run) mayList(s *subscription) *refusal {
	l := r.of[s.Of].list
	switch {
	case !s.pkg.lists:
		return &refusal{status: 489, header: sip.Header{{Name: "Allow-Events", Value: "presence, dialog"}}}
	case !s.List:
		return &refusal{status: 421, reason: "Extension Required", header: sip.Header{{Name: "Require", Value: eventlist}}}
	case r.shut(s, l):
		return &refusal{status: 403}
	case !s.stream && l.bare() > maxListBody:
		return &refusal{status: 513, reason: "Message Too Large"}
	case r.listed+len(l.members) > maxListed:
		return &refusal{status: 503, header: sip.Header{{Name: "Retry-After", Value: "60"}}}
	}
	s.how = access.Allow
	return nil
}

// shut: a rule for the list is told from one for all by somebody whom no rule names.
func (r *run) shut(s *subscription, l *list) bool {
	if r.n.Access.Watch(s.Watcher, s.Of) != access.Block {
		return false
	}
	nobody := presence.At("nobody.at.all", r.c.Domain)
	return r.n.Access.Watch(s.Watcher, nobody) != access.Block ||
		!slices.ContainsFunc(l.members, func(m member) bool { return r.n.Access.Watch(s.Watcher, m.of) != access.Block })
}

// bare is about how long the root is when nothing is told of any member.
func (l *list) bare() int {
	n := 256
	for _, m := range l.members {
		n += bareSize(m)
	}
	return n
}

func bareSize(m member) int {
	n := len(`<resource uri=""></resource>`) + len(m.of)
	if m.in != nil && m.in.doc.Name != "" {
		n += len("<name></name>") + len(m.in.doc.Name)
	}
	return n
}

// roll is what a subscription to a list was told.
type roll struct {
	begun bool      // in this dialog the whole list was told once
	told  []uint64  // by place: the mark of what was told; 0: nothing
	dirty []uint64  // bits by place: there may be news
	sum   [2]uint64 // of the marks, for the entity-tag
}

// What stands for a member's state where there is no body.
const (
	markElsewhere uint64 = iota + 1
	markGone
	markRejected
	markPending
	markBody // and above: a body's
)

func (t *roll) soil(at int) {
	for at/64 >= len(t.dirty) {
		t.dirty = append(t.dirty, 0)
	}
	t.dirty[at/64] |= 1 << (at % 64)
}

func (t *roll) soiled(at int) bool { return at/64 < len(t.dirty) && t.dirty[at/64]&(1<<(at%64)) != 0 }

func (t *roll) mark(at int) uint64 {
	if at < len(t.told) {
		return t.told[at]
	}
	return 0
}

// set notes what is told at a place.
func (t *roll) set(l *list, at int, mark uint64) {
	for at >= len(t.told) {
		t.told = append(t.told, 0)
	}
	old, now := l.weigh(at, t.told[at]), l.weigh(at, mark)
	for i := range t.sum {
		t.sum[i] += now[i] - old[i]
	}
	t.told[at] = mark
	if at/64 < len(t.dirty) {
		t.dirty[at/64] &^= 1 << (at % 64)
	}
}

// clear forgets what was told: the whole list is told next.
func (t *roll) clear(l *list) {
	clear(t.told)
	t.sum = [2]uint64{}
	for at := range l.members {
		t.soil(at)
	}
}

// weigh is what a member's state adds to the sum. Who has left everybody's list
// adds nothing.
func (l *list) weigh(at int, mark uint64) (w [2]uint64) {
	if mark == 0 || l.all && mark == markGone {
		return w
	}
	for i, id := range l.members[at].id {
		w[i] = mix(id + mix(mark+uint64(i)))
	}
	return w
}

// mix spreads a number's bits (splitmix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
