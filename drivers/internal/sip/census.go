package sip

import "net/netip"

// census counts streams by where they come from. What strangers open is bounded
// apart from what we dial, and for each of them, so that none of them can take
// the way of an uplink or of another.
type census struct {
	open     map[*stream]struct{}
	accepted int
	halfOpen int // of these
	sources  map[netip.Prefix]int
}

func newCensus() census {
	return census{open: map[*stream]struct{}{}, sources: map[netip.Prefix]int{}}
}

// room reports whether there is room for st.
func (c *census) room(st *stream, cfg *Config) bool {
	if st.accepted {
		return c.accepted < cfg.Connections && (!st.halfOpen() || c.halfOpen < cfg.HalfOpen) && c.sources[st.source()] < cfg.PerSource
	}
	return len(c.open)-c.accepted < cfg.Connections
}

func (c *census) add(st *stream) {
	c.open[st] = struct{}{}
	if st.accepted {
		c.accepted++
		if st.halfOpen() {
			c.halfOpen++
		}
		c.sources[st.source()]++
	}
}

func (c *census) remove(st *stream) {
	delete(c.open, st)
	if !st.accepted {
		return
	}
	c.accepted--
	if st.halfOpen() {
		c.halfOpen--
	}
	if c.sources[st.source()]--; c.sources[st.source()] == 0 {
		delete(c.sources, st.source())
	}
}

// shaken counts a stream as one whose handshake is over.
func (c *census) shaken(st *stream) {
	if st.halfOpen() {
		c.halfOpen--
	}
	st.shaken = true
}

// source is whom a stream is counted with: whoever has one address of an IPv6
// /64 has them all.
func (st *stream) source() netip.Prefix {
	a := st.remote.Addr().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // no error: bits are in range
	return p
}
