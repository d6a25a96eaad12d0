package simple

import (
	"net/netip"
	"slices"
	"syscall"
	"time"

	"pilotlight/drivers/internal/sip"
)

// The streams of the model: all come from one address, where carol is, and somebody
// else may be.

var (
	carolAt = netip.MustParseAddrPort("192.0.2.9:5060")
	agentAt = netip.MustParseAddrPort("192.0.2.1:5060")
)

const carolIs = "sip:carol@192.0.2.9:5060"

func (w *wire) Visits(f func(sip.Visitor, bool)) { w.visits = f }

func (w *wire) Visitors(netip.Addr) []sip.Visitor {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.visitors)
}

// line is a stream that carol sends a request on, as the endpoint sees it.
func (w *world) line() netip.AddrPort {
	if len(w.visitors) == 0 {
		w.opens()
	}
	w.speaks(len(w.visitors)-1, carolIs)
	return w.visitors[len(w.visitors)-1].Remote
}

func (w *world) opens() {
	w.ports++
	v := sip.Visitor{Transport: "tcp", Remote: netip.AddrPortFrom(carolAt.Addr(), 10_000+w.ports), Local: agentAt}
	w.mu.Lock()
	w.visitors = append(w.visitors, v)
	w.mu.Unlock()
	w.visits(v, false)
	w.settle()
}

func (w *world) speaks(i int, contact string) {
	w.mu.Lock()
	v := &w.visitors[i]
	v.Hop, v.Shown = contact, time.Now()
	for _, s := range w.underWay {
		if !s.guess || s.over != v.Remote {
			continue
		}
		if s.guess = contact != carolIs; s.guess { // it is given up
			if h := w.dialogs[s.callID]; h.cseq == s.cseq {
				h.busy = false
			}
		}
	}
	said := *v
	w.mu.Unlock()
	w.visits(said, false)
	w.settle()
}

// ends is the end of a stream, and of what is under way on it.
func (w *world) ends(i int) {
	if len(w.visitors) == 0 {
		return
	}
	i %= len(w.visitors)
	v := w.visitors[i]
	w.mu.Lock()
	w.visitors = slices.Delete(w.visitors, i, i+1)
	for _, h := range w.dialogs {
		h.unsure = h.unsure || h.stream
	}
	w.mu.Unlock()
	w.visits(v, true)
	w.settle()
	for i := 0; i < len(w.underWay); {
		if w.underWay[i].over == v.Remote {
			w.answer(i, sip.Answer{Err: &sip.Error{Err: syscall.EPIPE}})
			i = 0
		} else {
			i++
		}
	}
}

// sound holds the loop's indices to each other.
func (w *world) sound() {
	r := w.driver.now.get()
	_ = r.do(r.ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		on, sought, missed := 0, 0, 0
		for f, list := range r.on {
			on += len(list)
			for _, s := range list {
				if s.flow() != f || !s.way.flown() || r.subs[s.key] != s {
					w.fault("%s hangs on %v, its flow is %v, way %d", s.CallID, f, s.flow(), s.way)
				}
			}
		}
		for o, at := range r.missed {
			for hop, m := range at {
				sought += len(m.subs)
				for _, s := range m.subs {
					if s.origin() != o || s.hop() != hop || !s.way.sought() || r.subs[s.key] != s {
						w.fault("%s is sought at %v, way %d", s.CallID, o, s.way)
					}
				}
			}
		}
		from := 0
		for _, n := range r.from {
			from += n
		}
		for _, s := range r.subs {
			if s.unreachable {
				missed++
			}
			if s.stream && s.way.flown() {
				on--
			}
			if s.stream && s.way.sought() {
				sought--
			}
			if s.way.lost() && !s.unreachable {
				w.fault("%s has no way and is not missed", s.CallID)
			}
		}
		if n := r.Driver.Stats().Unreachable; on != 0 || sought != 0 || from != len(r.subs) || missed != n || int(r.adrift.Load()) < 0 {
			w.fault("on %d, sought %d too many; %d from anywhere of %d; %d missed, %d counted", on, sought, from, len(r.subs), missed, n)
		}
	})
}
