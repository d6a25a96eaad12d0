package phone

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/presence"
	"pilotlight/agent/schedule"
)

// maxFound bounds the phones that are asked though nobody listed them: the
// contract's thousand, and as many that came in their place.
const maxFound = 2048

// keepsAddress is how long a found phone keeps its address though another claims it,
// and its name though that is claimed for another address: some polls of its
// switch, and CDP's and LLDP's hold times.
const keepsAddress = 10 * time.Minute

// settles is how long a phone that cannot be asked, and that nobody names where it
// was any more, is thought to be there yet: CDP's hold time.
const settles = 3 * time.Minute

// Found tells of a phone that a switch named. It is asked like one that is
// listed, with the defaults for all, if its address is one that may be contacted
// (Config.Allow). A phone that is listed is asked where the list says, and
// nowhere else. Found may be called at any time, and never waits.
func (d *Driver) Found(name string, addr netip.Addr) {
	addr = addr.Unmap()
	if d.config.Allow == nil || !addr.IsValid() || !d.config.Allow(addr) {
		return
	}
	p := d.config.Defaults.Phone(Entry{Name: name, Address: addr.String()})
	if p.Check() != nil {
		return
	}
	switch asked, news := d.roster.put(p, time.Now()); news {
	case taken:
		d.log.Info("phone found, and asked", "device", p.Name, "peer", p.Address)
	case disputed:
		d.log.Warn("two phones go by one name: the one that was first and stays is asked, the other is not",
			"device", p.Name, "peer", asked.Address, "other", p.Address)
	}
}

// stands tells whether a phone is where it was found. It is not when it has been
// silent for long enough to be out of reach, or another phone answers there.
func (w *webPoller) stands(p Phone, there bool) {
	if to, moved := w.roster.heard(p, there, time.Now()); moved {
		w.log.Info("phone has moved, and is asked there", "device", p.Name, "from", p.Address, "peer", to.Address)
	}
}

// another reports whether another phone answered in place of the one that was asked.
func (f *Fault) another() bool { return f.Reach == presence.Other }

// another is that fault.
func another(page, name string) *Fault {
	return &Fault{Reach: presence.Other, Page: page, Detail: adviceMoved + ": " + name}
}

// roster is whom the driver asks: the phones that are listed, and those that
// were found since it was made.
type roster struct {
	listed []Phone

	mu    sync.Mutex
	found map[string]*sighting // by name
	more  chan struct{}        // closed and renewed at each change
}

// A sighting is where a phone was found.
type sighting struct {
	phone Phone
	last  time.Time // when it was last named
	heard time.Time // when it last answered
	lost  bool      // it does not answer any more, or another phone does
	rival rival
}

// A rival is a phone of the same name at another address. The phone has moved
// there, or another one uses its name; who is named by turns does not get it by turns.
type rival struct {
	phone       Phone
	first, last time.Time
	told        bool
}

// stays reports whether the name is still the phone's where it was found.
func (s *sighting) stays(now time.Time) bool {
	first := s.rival.first
	if !first.IsZero() && now.Sub(first) >= settles && s.last.Before(first) && s.heard.Before(first) {
		return false
	}
	return !s.lost && now.Sub(s.last) < keepsAddress
}

// contest notes that the name is claimed for another address, and reports whether
// that is more than a move: the phone has answered since. One that cannot be asked
// has at least been named since.
func (s *sighting) contest(p Phone, now time.Time) bool {
	r := &s.rival
	if now.Sub(r.last) >= keepsAddress {
		r.first = now
	}
	r.phone, r.last = p, now
	real := s.heard.After(r.first) || s.heard.IsZero() && s.last.After(r.first)
	news := real && !r.told
	r.told = r.told || real
	return news
}

func newRoster(listed []Phone) *roster {
	return &roster{listed: listed, found: map[string]*sighting{}, more: make(chan struct{})}
}

// news is what came of a phone that was found.
type news int

const (
	nothing  news = iota
	taken         // it is asked from now on, or where it is now
	disputed      // its name is another phone's, as is said once
)

// put takes in a phone that was found, and returns who has its name, and what is
// new. A name goes to another address once the phone is not where it was, and an
// address to a phone of another name once its holder is named no more: two that
// claim the same one do not take turns.
func (r *roster) put(p Phone, now time.Time) (Phone, news) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.listed, func(l Phone) bool { return l.Name == p.Name || sameAddress(l.Address, p.Address) }) {
		return p, nothing
	}
	switch s := r.found[p.Name]; {
	case s != nil && s.phone == p:
		s.last = now
		return p, nothing
	case s != nil && s.stays(now):
		if s.contest(p, now) {
			return s.phone, disputed
		}
		return s.phone, nothing
	case r.take(p, now):
		return p, taken
	}
	return p, nothing
}

// take gives a phone its name and its address, unless another has that. When there
// are too many, who was not named for longest makes room.
func (r *roster) take(p Phone, now time.Time) bool {
	leaves := ""
	for name, s := range r.found {
		switch {
		case name == p.Name:
		case s.phone.Address == p.Address && now.Sub(s.last) < keepsAddress:
			return false
		case s.phone.Address == p.Address:
			delete(r.found, name)
		case leaves == "" || s.last.Before(r.found[leaves].last):
			leaves = name
		}
	}
	if r.found[p.Name] == nil && len(r.found) >= maxFound {
		delete(r.found, leaves)
	}
	r.found[p.Name] = &sighting{phone: p, last: now}
	r.changed()
	return true
}

// changed has everybody who goes by the roster look at it again.
func (r *roster) changed() {
	close(r.more)
	r.more = make(chan struct{})
}

// again has it looked at again though the phones are the same: who is asked in
// which way depends on more.
func (r *roster) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed()
}

// heard notes whether a phone that was found is there. One that is not is asked at
// once where its name was claimed meanwhile.
func (r *roster) heard(p Phone, there bool, now time.Time) (to Phone, moved bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.found[p.Name]
	if s == nil || s.phone != p {
		return p, false
	}
	if s.lost = !there; there {
		s.heard = now
		return p, false
	}
	if s.rival.last.IsZero() || now.Sub(s.rival.last) >= keepsAddress {
		return p, false
	}
	return s.rival.phone, r.take(s.rival.phone, s.rival.last)
}

func sameAddress(listed, found string) bool {
	a, err := netip.ParseAddr(listed)
	return err == nil && a.Unmap().String() == found
}

// all is everybody, and what is closed when that changes.
func (r *roster) all() ([]Phone, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.listed)
	for _, s := range r.found {
		all = append(all, s.phone)
	}
	return all, r.more
}

// round is the phones that one queue goes to, with what its poller remembers of
// each from one visit to the next. The queue gives a phone to one worker at a
// time, so that the state belongs to who holds the visit.
type round[S any] struct {
	queue Queue
	every time.Duration        // in quiet times
	asks  func(Phone, *S) bool // whether a phone is asked this way at all; the state is nil where it was not

	mu sync.Mutex
	by map[string]*turn[S]
}

type turn[S any] struct {
	phone Phone
	every time.Duration
	state *S
}

// begin fills the queue, and refills it in g whenever the roster changes. It
// returns how many phones there are.
func (r *round[S]) begin(ctx context.Context, g *errgroup.Group, of *roster) int {
	phones, more := of.all()
	n := r.set(phones)
	start(g, func() error {
		for {
			select {
			case <-more:
				phones, more = of.all()
				r.set(phones)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	return n
}

// set makes phones the ones that are asked. Those that stay keep their state and
// their pace; one that has moved is asked at once.
func (r *round[S]) set(phones []Phone) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	by := map[string]*turn[S]{}
	var targets []schedule.Target
	var moved []string
	for _, p := range phones {
		t := r.by[p.Name]
		if t == nil && !r.asks(p, nil) || t != nil && !r.asks(p, t.state) {
			continue
		}
		if t == nil {
			t = &turn[S]{every: r.every, state: new(S)}
		}
		if t.phone.Address != "" && t.phone != p {
			moved = append(moved, p.Name)
		}
		t.phone = p
		by[p.Name] = t
		targets = append(targets, schedule.Target{Key: p.Name, Every: t.every})
	}
	r.by = by
	r.queue.Set(targets...)
	for _, name := range moved {
		r.queue.Hasten(name, 0)
	}
	return len(targets)
}

// get gives a phone and its state.
func (r *round[S]) get(name string) (Phone, *S, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.by[name]
	if t == nil {
		return Phone{}, nil, false
	}
	return t.phone, t.state, true
}

// pace changes how often a phone is asked.
func (r *round[S]) pace(name string, every time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.by[name]; t != nil {
		t.every = every
		r.queue.Every(name, every)
	}
}
