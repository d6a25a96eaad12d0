package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// hop is a next hop, resolved.
type hop struct {
	transport string // "udp", "tcp", "tls"
	pinned    bool   // the target names its transport
	domain    string // whom the far end must prove to be, by TLS
	addr      netip.AddrPort
}

// The bounds of what a name server may make us do.
const (
	maxServers = 8  // SRV records looked at
	maxHops    = 16 // addresses altogether
)

var errNoService = errors.New("the domain says that it has no such service")

// locate finds where a target is, in the order in which it is to be tried
// (RFC 3263 §4): an address as it is; a host name with a port by its addresses;
// without one by SRV, if there is any, for the transport asked for or for the first
// of udp, tcp and tls that has records. NAPTR, which would let the domain choose
// the transport, is not asked for: package net has no query for it, and who names
// the transport in the target needs none.
func (e *Endpoint) locate(ctx context.Context, u URI) ([]hop, error) {
	h := hop{transport: u.transport(), pinned: u.Params["transport"] != "", domain: u.Host}
	if u.Scheme == "sips" && h.transport != "tls" || u.Scheme != "sips" && u.Scheme != "sip" || h.transport != "udp" && !streams(h.transport) {
		return nil, fmt.Errorf("transport of %s is not built", u.Raw)
	}
	if to, ok := u.literal(h.transport); ok {
		h.addr = to
		return []hop{h}, nil
	}
	host := u.Host
	if maddr := u.Params["maddr"]; maddr != "" {
		host = maddr
	}
	if u.Port == 0 && host != "localhost" { // which is this machine, and no name server's business
		if list, err := e.servers(ctx, h, u.Scheme, host); len(list) > 0 || err != nil {
			return list, err
		}
	}
	port := uint16(u.Port)
	if port == 0 {
		port = defaultPort(h.transport)
	}
	list, err := e.addresses(ctx, h, host, port)
	return e.ordered(list), err
}

// servers are what SRV records tell (RFC 3263 §4.1, RFC 2782); none is no fault.
// Package net has put them in the order of priority, and shuffled them by weight.
func (e *Endpoint) servers(ctx context.Context, h hop, scheme, host string) ([]hop, error) {
	try := []string{h.transport}
	if !h.pinned && scheme == "sip" {
		try = []string{"udp", "tcp", "tls"}
	}
	for _, transport := range try {
		service, proto := "sip", transport
		if transport == "tls" {
			service, proto = "sips", "tcp"
		}
		_, records, err := e.cfg.Resolver.LookupSRV(ctx, service, proto, host)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil && len(records) == 0 {
			continue // who cannot tell of servers may know the address
		}
		if len(records) == 1 && records[0].Target == "." {
			return nil, errNoService
		}
		h.transport = transport
		var list []hop
		for _, r := range records[:min(len(records), maxServers)] {
			found, lookup := e.addresses(ctx, h, r.Target, r.Port)
			if list = append(list, found...); lookup != nil {
				err = lookup
			}
		}
		if len(list) == 0 {
			return nil, err
		}
		return e.ordered(list[:min(len(list), maxHops)]), nil
	}
	return nil, nil
}

// addresses are those of a host, of IPv4 first.
func (e *Endpoint) addresses(ctx context.Context, h hop, host string, port uint16) ([]hop, error) {
	found, err := e.cfg.Resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(found, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
	var list []hop
	for _, a := range found[:min(len(found), maxHops)] {
		h.addr = netip.AddrPortFrom(a.Unmap(), port)
		list = append(list, h)
	}
	if len(list) == 0 {
		return nil, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	return list, nil
}

// ordered puts those last that failed of late, and leaves the order otherwise.
func (e *Endpoint) ordered(list []hop) []hop {
	if len(list) > 1 {
		now := time.Now()
		slices.SortStableFunc(list, func(a, b hop) int { return e.failed.rank(a.addr, now) - e.failed.rank(b.addr, now) })
	}
	return list
}

// failures remembers who was not there, or said 503, so that not every request
// waits for it in vain (RFC 3261 §21.5.4).
type failures struct {
	mu    sync.Mutex
	until map[netip.AddrPort]time.Time
}

const (
	maxFailures = 512
	failedFor   = time.Minute
	failedMost  = 10 * time.Minute
)

func (f *failures) rank(a netip.AddrPort, now time.Time) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Before(f.until[a]) {
		return 1
	}
	return 0
}

func (f *failures) note(a netip.AddrPort, d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.until) >= maxFailures || f.until == nil {
		f.until = map[netip.AddrPort]time.Time{}
	}
	f.until[a] = time.Now().Add(min(d, failedMost))
}

func (f *failures) forget(a netip.AddrPort) {
	f.mu.Lock()
	delete(f.until, a)
	f.mu.Unlock()
}

// errSilent: a far end of several has not answered in its share of the time.
var errSilent = fmt.Errorf("%w, and there is another", errNoAnswer)

// eachHop tries one after the other until one answers anything but 503: each a
// new transaction of the same request (RFC 3263 §4.3).
func (s *serving) eachHop(ctx context.Context, out *outgoing, list []hop) (res *Response, err error) {
	list = s.reachable(list, out.r.ContactUser != "")
	for i, h := range list {
		out.authorization, out.nonces = Field{}, nil // these were for another's eyes
		out.patience = 0
		if end, ok := ctx.Deadline(); ok && i < len(list)-1 {
			out.patience = time.Until(end) / time.Duration(len(list)-i)
		}
		got, fault := s.challenged(ctx, out, h)
		if fault == nil && got.Status != 503 {
			s.e.failed.forget(h.addr)
			return got, nil
		}
		rest := failedFor
		if fault == nil {
			res = got
			if after, ok := got.RetryAfter(); ok {
				rest = after
			}
		}
		if err = fault; len(list) > 1 {
			s.e.failed.note(h.addr, rest)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if res != nil {
		return res, nil // a 503 says more than silence
	}
	return nil, err
}

// reachable leaves out what no socket reaches, unless that is all.
func (s *serving) reachable(list []hop, contact bool) []hop {
	if len(list) < 2 {
		return list
	}
	near := slices.DeleteFunc(slices.Clone(list), func(h hop) bool {
		return (h.transport == "udp" || contact) && s.listenerTo(h.transport, h.addr) == nil
	})
	if len(near) == 0 {
		return list[:1]
	}
	return near
}

// challenged is one exchange with one hop, answering its challenges.
func (s *serving) challenged(ctx context.Context, out *outgoing, h hop) (*Response, error) {
	s.e.auth.prepare(out, h)
	for try := 0; ; try++ {
		res, err := s.exchange(ctx, out, h)
		if err != nil || try == 2 || !s.e.auth.answer(out, h, res) {
			return res, err
		}
		out.cseq++ // a new transaction in the same dialog (§22.2)
	}
}
