package sip

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Visitor is a stream that somebody opened to this endpoint, with what the requests
// on it say of whose it is.
type Visitor struct {
	Transport     string         // "tcp", "tls"
	Remote, Local netip.AddrPort // Source and Local of what comes on it
	// Hop is where the sender of its latest request that says so wants requests in
	// its dialogs, see [Hop]; "" while none did.
	Hop   string
	Shown time.Time // when that came
}

// Hop names where the requests of a dialog go first: to the first of the route set,
// by its host, port and transport, since proxies write more into it for each dialog;
// else to the remote target, as it is. "" where that can't be read.
func Hop(target string, route []string) string {
	if len(route) == 0 {
		return target
	}
	first, err := ParseAddress(route[0])
	if err != nil {
		return ""
	}
	u, err := ParseURI(first.URI)
	if err != nil {
		return ""
	}
	return "route " + u.Scheme + " " + u.Host + " " + strconv.Itoa(u.Port) + " " + strings.ToLower(u.Params["transport"])
}

// Visits has f called when a stream that was accepted is ready, at each request on
// it that is well formed and says where its sender is reached, and when it is over.
// The goroutine that reads the stream calls it: f must not block. It is for those
// who are made before Run.
func (e *Endpoint) Visits(f func(v Visitor, over bool)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []func(Visitor, bool)
	if before := e.hosts.Load(); before != nil {
		list = slices.Clone(*before)
	}
	list = append(list, f)
	e.hosts.Store(&list)
}

// Visitors are the streams from an address that are open.
func (e *Endpoint) Visitors(from netip.Addr) []Visitor {
	s := e.now()
	if s == nil {
		return nil
	}
	s.mu.Lock()
	streams := slices.Clone(s.visitors[from])
	s.mu.Unlock()
	list := make([]Visitor, 0, len(streams))
	for _, st := range streams {
		list = append(list, st.visitor())
	}
	return list
}

// maxHop bounds what is kept of a visitor's words.
const maxHop = 1 << 10

// words are what a stream's requests said last of where their sender is reached:
// the fields as they came, and what they mean.
type words struct {
	contact, route string
	hop            string
	at             time.Time
}

func (st *stream) visitor() Visitor {
	st.mu.Lock()
	w := st.words
	st.mu.Unlock()
	return Visitor{Transport: st.transport, Remote: st.remote, Local: st.s.localFor(st.flow()), Hop: w.hop, Shown: w.at}
}

// arrive counts an accepted stream among the visitors, once it may be used.
func (st *stream) arrive() {
	if !st.accepted || st.s.e.hosts.Load() == nil {
		return
	}
	s := st.s
	s.mu.Lock()
	s.visitors[st.remote.Addr()] = append(s.visitors[st.remote.Addr()], st)
	s.mu.Unlock()
	st.visits(false)
}

// depart takes it out again; before that it is in nobody's way any more.
func (st *stream) depart() {
	s, from := st.s, st.remote.Addr()
	s.mu.Lock()
	list := s.visitors[from]
	i := slices.Index(list, st)
	if i >= 0 {
		if list = slices.Delete(list, i, i+1); len(list) == 0 {
			delete(s.visitors, from)
		} else {
			s.visitors[from] = list
		}
	}
	s.mu.Unlock()
	if i >= 0 {
		st.visits(true)
	}
}

func (st *stream) visits(over bool) {
	v := st.visitor()
	for _, f := range *st.s.e.hosts.Load() {
		f(v, over)
	}
}

// show takes what a request on the stream says of its sender.
func (st *stream) show(m *message, at time.Time) {
	if !st.accepted || st.s.e.hosts.Load() == nil {
		return
	}
	contact, route := m.header.Get("Contact"), m.header.Get("Record-Route")
	if contact == "" || len(contact)+len(route) > maxHop {
		return
	}
	st.mu.Lock()
	same := st.words.contact == contact && st.words.route == route
	if same {
		st.words.at = at
	}
	st.mu.Unlock()
	if !same {
		w := words{contact: strings.Clone(contact), route: strings.Clone(route), at: at}
		a, err := ParseAddress(w.contact)
		if err != nil || len(m.header.List("Contact")) > 1 {
			return
		}
		var set []string
		if route != "" {
			set = split(w.route, ',')
		}
		if w.hop = Hop(a.URI, set); w.hop == "" {
			return
		}
		st.mu.Lock()
		st.words = w
		st.mu.Unlock()
	}
	st.visits(false)
}
