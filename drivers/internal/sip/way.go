package sip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// dialTime bounds the making of a connection within the request's own limit.
const dialTime = 5 * time.Second

// dialError: nobody takes connections there.
type dialError struct{ err error }

func (d *dialError) Error() string { return d.err.Error() }
func (d *dialError) Unwrap() error { return d.err }

func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// wayTo is the way for a request: by a listening UDP socket, so that responses
// and requests in the dialog come back to it, or by a stream, an open one
// sooner than a new one. With contact the far end must be able to begin as well.
func (s *serving) wayTo(ctx context.Context, h hop, transport string, contact bool) (flow, *stream, error) {
	to := h.addr
	l := s.listenerTo(transport, to)
	if l == nil && (transport == "udp" || contact) {
		return flow{}, nil, noWay(s.e.listen, transport, to)
	}
	if transport == "udp" {
		return flow{transport: "udp", local: l.addr, remote: to, write: l.send}, nil, nil
	}
	st := s.openTo(to, transport, h.domain)
	if st == nil {
		d := net.Dialer{Timeout: dialTime, KeepAliveConfig: keepAlive}
		conn, err := d.DialContext(ctx, "tcp", to.String())
		if err != nil {
			return flow{}, nil, &dialError{err}
		}
		if transport == "tls" {
			if conn, err = s.shakeOut(ctx, conn, h.domain); err != nil {
				return flow{}, nil, &dialError{err}
			}
		}
		var ok bool
		if st, ok = s.adopt(conn, false); !ok {
			return flow{}, nil, errors.New("too many connections")
		}
	}
	return st.flow(), st, nil
}

// openTo is a stream that is open, and by TLS to somebody who has proved to be of
// the domain; or nil.
func (s *serving) openTo(to netip.AddrPort, transport, domain string) *stream {
	s.mu.Lock()
	st := s.streams[farEnd{to, transport}]
	s.mu.Unlock()
	if st != nil && transport == "tls" && !st.proven(domain) {
		return nil
	}
	return st
}

// listenerTo is the first socket that reaches a far end, and is reached by it.
func (s *serving) listenerTo(transport string, to netip.AddrPort) *listener {
	for _, l := range s.listeners {
		if l.transport == transport && (reaches(l.addr.Addr(), to.Addr()) || sameFamily(l.addr.Addr(), to.Addr()) && s.own(to)) {
			return l
		}
	}
	return nil
}

// localFor is the address at which the far end of a flow reaches this
// endpoint: for TCP and TLS that of a listener, since the stream's own port takes no
// connections (§18.1.1), and for a wildcard listener the address that the
// route to the far end would use.
func (s *serving) localFor(f flow) netip.AddrPort {
	at := f.local
	if streams(f.transport) {
		for _, l := range s.listeners { // the one of this very address, sooner than another
			if l.transport == f.transport && (l.addr.Addr() == at.Addr() || l.addr.Addr().IsUnspecified()) {
				return netip.AddrPortFrom(at.Addr(), l.addr.Port())
			}
		}
		if l := s.listenerTo(f.transport, f.remote); l != nil {
			return l.addr
		}
		return at
	}
	if !at.Addr().IsUnspecified() {
		return at
	}
	from, ok := s.routes.to(f.remote)
	if !ok {
		return at
	}
	return netip.AddrPortFrom(from, at.Port())
}

// own reports whether a far end is this machine, by an address that is not
// loopback's: sockets on loopback reach it.
func (s *serving) own(to netip.AddrPort) bool {
	from, ok := s.routes.to(to)
	return ok && from == to.Addr()
}

// routes remembers what routeTo said, since asking costs a socket and every
// request that a wildcard socket receives asks.
type routes struct {
	mu    sync.Mutex
	known map[netip.Addr]knownRoute
}

type knownRoute struct {
	from  netip.Addr
	ok    bool
	until time.Time
}

const (
	maxRoutes = 4096
	routeLife = 10 * time.Second
)

func (r *routes) to(far netip.AddrPort) (netip.Addr, bool) {
	now := time.Now()
	r.mu.Lock()
	k, known := r.known[far.Addr()]
	r.mu.Unlock()
	if known && now.Before(k.until) {
		return k.from, k.ok
	}
	k.from, k.ok = routeTo(far)
	k.until = now.Add(routeLife)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil || len(r.known) >= maxRoutes {
		r.known = map[netip.Addr]knownRoute{} // sources may be forged: bounded, and soon known again
	}
	r.known[far.Addr()] = k
	return k.from, k.ok
}
