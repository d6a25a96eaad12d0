package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
// sooner than a new one.
func (s *serving) wayTo(ctx context.Context, to netip.AddrPort, transport string) (flow, *stream, error) {
	if transport == "udp" {
		for _, l := range s.listeners {
			if l.packets != nil && sameFamily(l.addr.Addr(), to.Addr()) {
				return flow{transport: "udp", local: l.addr, remote: to, write: l.send}, nil, nil
			}
		}
		return flow{}, nil, fmt.Errorf("no UDP socket to reach %s from: add one to sip.listen", to)
	}
	s.mu.Lock()
	st := s.streams[to]
	s.mu.Unlock()
	if st == nil {
		d := net.Dialer{Timeout: dialTime, KeepAliveConfig: keepAlive}
		conn, err := d.DialContext(ctx, "tcp", to.String())
		if err != nil {
			return flow{}, nil, &dialError{err}
		}
		var ok bool
		if st, ok = s.adopt(conn, false); !ok {
			return flow{}, nil, errors.New("too many connections")
		}
	}
	return st.flow(), st, nil
}

func sameFamily(listen, to netip.Addr) bool {
	return listen.Is4() == to.Is4() || listen.Is6() && listen.IsUnspecified()
}

// localFor is the address at which the far end of a flow reaches this
// endpoint: for TCP that of a listener, since the stream's own port takes no
// connections (§18.1.1), and for a wildcard listener the address that the
// route to the far end would use.
func (s *serving) localFor(f flow) netip.AddrPort {
	at := f.local
	if f.transport == "tcp" {
		for _, l := range s.listeners {
			if l.transport == "tcp" && (l.addr.Addr() == at.Addr() || l.addr.Addr().IsUnspecified()) {
				return netip.AddrPortFrom(at.Addr(), l.addr.Port())
			}
		}
		return at
	}
	if !at.Addr().IsUnspecified() {
		return at
	}
	// Connecting a UDP socket sends nothing; it only asks for the route.
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(f.remote))
	if err != nil {
		return at
	}
	defer conn.Close()
	return netip.AddrPortFrom(addrPort(conn.LocalAddr()).Addr(), at.Port())
}
