package phone

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/schedule"
)

// maxFound bounds the phones that are asked though nobody listed them: the
// contract's thousand, and as many that came in their place.
const maxFound = 2048

// keepsAddress is how long a found phone keeps its address though another claims it:
// some polls of its switch, and CDP's and LLDP's hold times.
const keepsAddress = 10 * time.Minute

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
	if p.Check() == nil && d.roster.put(p, time.Now()) {
		d.log.Info("phone found, and asked", "device", p.Name, "peer", p.Address)
	}
}

// roster is whom the driver asks: the phones that are listed, and those that
// were found since it was made.
type roster struct {
	listed []Phone

	mu    sync.Mutex
	found map[string]sighting // by name
	more  chan struct{}       // closed and renewed at each change
}

type sighting struct {
	phone Phone
	last  time.Time
}

func newRoster(listed []Phone) *roster {
	return &roster{listed: listed, found: map[string]sighting{}, more: make(chan struct{})}
}

// put takes in a phone that was found, and reports whether that is new. An
// address goes to a phone of another name once its holder is named no more: two
// that claim the same one do not take turns. When there are too many, who was not
// named for longest makes room.
func (r *roster) put(p Phone, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.listed, func(l Phone) bool { return l.Name == p.Name || sameAddress(l.Address, p.Address) }) {
		return false
	}
	was, known := r.found[p.Name]
	if known && was.phone == p {
		r.found[p.Name] = sighting{p, now}
		return false
	}
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
	if !known && len(r.found) >= maxFound {
		delete(r.found, leaves)
	}
	r.found[p.Name] = sighting{p, now}
	close(r.more)
	r.more = make(chan struct{})
	return true
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
	every time.Duration    // in quiet times
	asks  func(Phone) bool // whether a phone is asked this way at all

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
// their pace.
func (r *round[S]) set(phones []Phone) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	by := map[string]*turn[S]{}
	var targets []schedule.Target
	for _, p := range phones {
		if !r.asks(p) {
			continue
		}
		t := r.by[p.Name]
		if t == nil {
			t = &turn[S]{every: r.every, state: new(S)}
		}
		t.phone = p
		by[p.Name] = t
		targets = append(targets, schedule.Target{Key: p.Name, Every: t.every})
	}
	r.by = by
	r.queue.Set(targets...)
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
