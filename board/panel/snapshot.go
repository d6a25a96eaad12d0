package panel

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

// A snapshot is all that the panel shows, as of one moment. It is never changed.
type snapshot struct {
	phones []*item // by name
	docs   []*item // by presentity
	order  []*item // phones and docs in the order in which they last changed
	rev    presence.Rev
	seq    uint64

	uplinks []relay.Status

	changed chan struct{} // closed when another snapshot takes its place
}

// An item is one version of one phone or one document.
//
// Rev is where it stands in the order that clients are told. Two feeds may hand
// over their changes out of order by a hair; such an item is late, and takes the
// revision of the newest that had been shown before it, so that the order never
// runs backwards and "all after R" misses nothing (see snapshot.after).
type item struct {
	kind string
	key  string
	own  presence.Rev // as the ledger gave it
	rev  presence.Rev
	late bool
	seq  uint64 // in which place it was taken up
	gone bool   // nobody knows it any more

	device *presence.Device
	doc    *presence.Document

	mu       sync.Mutex
	rendered []byte
	at       time.Time
}

// Kinds of events, by the contract's names.
const (
	kindPhone    = "phone"
	kindPresence = "presence"
	kindUplink   = "uplink"
)

// maxGone bounds how many forgotten phones and presentities are kept in the
// order, for clients that come back.
const maxGone = 512

// An edit makes the next snapshot.
type edit struct {
	next     snapshot
	fresh    []*item
	replaced map[*item]*item         // by nil where the place in the order is lost
	gone     map[string]presence.Rev // when what is forgotten was: the keeper's
}

// take puts one version in. A repeat of what stands only brings its ages up to
// date; what has been overtaken is dropped.
func (e *edit) take(it *item) {
	list := &e.next.docs
	if it.kind == kindPhone {
		list = &e.next.phones
	}
	i, found := slices.BinarySearchFunc(*list, it.key, byKey)
	if found {
		was := (*list)[i]
		switch was.own.Compare(it.own) {
		case 1:
			return
		case 0:
			it.rev, it.late, it.seq = was.rev, was.late, was.seq
			e.replaced[was] = it
			(*list)[i] = it
			return
		}
		e.replaced[was] = nil
	}
	name := it.kind + "/" + it.key
	if rev, known := e.gone[name]; known && !found && it.own.Compare(rev) <= 0 {
		return
	}
	delete(e.gone, name)
	if it.gone && len(e.gone) < maxGone {
		e.gone[name] = it.own
	}
	it.rev = it.own
	if e.next.seq > 0 && it.own.Compare(e.next.rev) <= 0 {
		it.rev, it.late = e.next.rev, true
	}
	e.next.seq++
	it.seq, e.next.rev = e.next.seq, it.rev
	e.fresh = append(e.fresh, it)
	switch {
	case found && it.gone:
		*list = slices.Delete(*list, i, i+1)
	case found:
		(*list)[i] = it
	case !it.gone:
		*list = slices.Insert(*list, i, it)
	}
}

// done makes the order: what is left of the old one, and then what is fresh.
func (e *edit) done(old []*item) *snapshot {
	order := append(make([]*item, 0, len(old)+len(e.fresh)), old...)
	lost := false
	for was := range e.replaced {
		if i, found := place(old, was); found {
			order[i] = e.latest(was)
			lost = lost || order[i] == nil
		}
	}
	if lost {
		order = slices.DeleteFunc(order, func(it *item) bool { return it == nil })
	}
	forgotten := false
	for _, it := range e.fresh {
		if it = e.latest(it); it != nil {
			order = append(order, it)
			forgotten = forgotten || it.gone
		}
	}
	if forgotten {
		order = forget(order)
	}
	e.next.order = order
	return &e.next
}

// latest is what stands in an item's place: itself, a repeat of it, or nothing.
func (e *edit) latest(it *item) *item {
	for it != nil {
		by, touched := e.replaced[it]
		if !touched {
			break
		}
		it = by
	}
	return it
}

// place finds an item in an order, which its seq sorts.
func place(order []*item, it *item) (int, bool) {
	i, found := slices.BinarySearchFunc(order, it.seq, func(it *item, seq uint64) int { return cmp.Compare(it.seq, seq) })
	return i, found && order[i] == it
}

// forget drops the oldest of what nobody knows any more.
func forget(order []*item) []*item {
	gone := 0
	for i := len(order) - 1; i >= 0; i-- {
		if order[i].gone {
			if gone++; gone > maxGone {
				order = slices.Delete(order, i, i+1)
			}
		}
	}
	return order
}

func byKey(it *item, key string) int { return strings.Compare(it.key, key) }

// phone finds a phone by name.
func (s *snapshot) phone(name string) *item { return find(s.phones, name) }

// doc finds a document by presentity.
func (s *snapshot) doc(of presence.Presentity) *item { return find(s.docs, string(of)) }

func find(list []*item, key string) *item {
	i, found := slices.BinarySearchFunc(list, key, byKey)
	if !found {
		return nil
	}
	return list[i]
}

// person finds a person's document.
func (s *snapshot) person(of presence.Presentity) *item {
	if it := s.doc(of); it != nil && it.doc.Kind == presence.KindPerson {
		return it
	}
	return nil
}

// after is the place from which on a client that has seen all up to rev is to
// be told: the first item that is newer, or that came late under that revision.
func (s *snapshot) after(rev presence.Rev) uint64 {
	i, _ := slices.BinarySearchFunc(s.order, rev, func(it *item, rev presence.Rev) int {
		return cmp.Or(it.rev.Compare(rev), -1) // the first that is greater
	})
	for i > 0 && s.order[i-1].rev == rev && s.order[i-1].late {
		i--
	}
	if i == len(s.order) {
		return s.seq
	}
	return s.order[i].seq - 1
}

// since is what changed after the place seq, oldest first.
func (s *snapshot) since(seq uint64) []*item {
	i, _ := slices.BinarySearchFunc(s.order, seq, func(it *item, seq uint64) int {
		if it.seq <= seq {
			return -1
		}
		return 1
	})
	return s.order[i:]
}
