package sip

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where the endpoint listens and what it bears. Zero values mean
// what is written behind them.
type Config struct {
	Listen          []string       // "udp:HOST:PORT", "tcp:HOST:PORT", "tls:HOST:PORT"; HOST is an address
	TLS             TLS            // for tls
	Allow           []netip.Prefix // sources whose requests are read; empty: all
	UserAgent       string         // "Pilotlight"
	ReadBuffer      int            // of each UDP socket: 4 MiB, for bursts
	Connections     int            // accepted streams open at a time: 1024, and as many dialled ones
	PerSource       int            // of the accepted ones, from one address (of IPv6, one /64): 64
	HalfOpen        int            // of the accepted ones, before the end of their TLS handshake: 256
	Transactions    int            // server transactions at a time: 49152
	Pending         int            // requests at handlers or waiting for one: 2048
	InFlight        int            // requests of Send without an answer: 16384
	Greeting        time.Duration  // an accepted stream has its first message complete in: 10 s
	Idle            time.Duration  // a stream without a message or a ping is closed: 15 min
	Patience        time.Duration  // for the rest of a message, and for a write: 10 s
	StatelessPerSec int            // answers without state a second: 500
	SourcePerSec    int            // requests a second from one address (of IPv6, one /64), two seconds' worth at once: 2000; negative: no limit
	Unmetered       []netip.Prefix // sources without that limit
	Resolver        *net.Resolver  // of host names in targets
}

func (c Config) withDefaults() Config {
	set := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.ReadBuffer, 4<<20)
	set(&c.Connections, 1024)
	set(&c.PerSource, 64)
	set(&c.HalfOpen, 256)
	set(&c.Transactions, 49152)
	set(&c.Pending, 2048)
	set(&c.InFlight, 16384)
	set(&c.StatelessPerSec, 500)
	set(&c.SourcePerSec, 2000)
	if c.Greeting == 0 {
		c.Greeting = 10 * time.Second
	}
	if c.Idle == 0 {
		c.Idle = 15 * time.Minute
	}
	if c.Patience == 0 {
		c.Patience = 10 * time.Second
	}
	if c.UserAgent == "" {
		c.UserAgent = "Pilotlight"
	}
	if c.Resolver == nil {
		c.Resolver = net.DefaultResolver
	}
	return c
}

// Endpoint is the one SIP endpoint. Its methods are safe for concurrent use;
// Run is for one caller at a time.
type Endpoint struct {
	cfg    Config
	listen []listenAt
	log    *slog.Logger
	txLog  *slog.Logger // for sipgo
	seed   maphash.Seed
	seed2  maphash.Seed
	count  *counters
	claims claims
	auth   challenges
	papers *papers // for TLS
	failed failures
	hosts  atomic.Pointer[[]func(Visitor, bool)] // who is told of visitors

	// bind opens a datagram socket; a test puts a faulty one in its place.
	bind func(ctx context.Context, network, addr string) (net.PacketConn, error)

	mu      sync.Mutex
	serving *serving      // nil at rest
	ready   chan struct{} // closed while serving
}

type listenAt struct{ transport, addr string }

// streams reports whether a transport is one of streams.
func streams(transport string) bool { return transport == "tcp" || transport == "tls" }

// defaultPort is the one of a target that names none (RFC 3261 §19.1.2).
func defaultPort(transport string) uint16 {
	if transport == "tls" {
		return 5061
	}
	return 5060
}

// ip is its address, which parseListen has read.
func (at listenAt) ip() netip.Addr {
	a, _ := netip.ParseAddrPort(at.addr)
	return a.Addr().Unmap()
}

// New checks the configuration and returns an endpoint at rest.
func New(cfg Config, log *slog.Logger) (*Endpoint, error) {
	e := &Endpoint{cfg: cfg.withDefaults(), log: log, txLog: newQuiet(log), seed: maphash.MakeSeed(), seed2: maphash.MakeSeed(),
		count: newCounters(), ready: make(chan struct{}), papers: &papers{cfg: cfg.TLS, log: log}}
	e.auth.known = map[string]*challenge{}
	e.bind = func(ctx context.Context, network, addr string) (net.PacketConn, error) {
		return new(net.ListenConfig).ListenPacket(ctx, network, addr)
	}
	if !oneLine(cfg.UserAgent) {
		return nil, errors.New("sip: the user agent's name has line breaks")
	}
	if len(cfg.Listen) == 0 {
		return nil, errors.New("sip: nothing to listen on: give at least one of udp:HOST:PORT, tcp:HOST:PORT, tls:HOST:PORT")
	}
	seen := map[listenAt]bool{}
	for _, s := range cfg.Listen {
		at, err := parseListen(s)
		if err != nil {
			return nil, err
		}
		if seen[at] && !strings.HasSuffix(at.addr, ":0") {
			return nil, fmt.Errorf("sip: listen %q is there twice", s)
		}
		seen[at] = true
		e.listen = append(e.listen, at)
	}
	return e, nil
}

// CheckListen says what is wrong with an item of Config.Listen.
func CheckListen(s string) error { _, err := parseListen(s); return err }

func parseListen(s string) (listenAt, error) {
	transport, addr, ok := strings.Cut(s, ":")
	switch {
	case !ok:
		return listenAt{}, fmt.Errorf("sip: listen %q: want udp:HOST:PORT, tcp:HOST:PORT or tls:HOST:PORT", s)
	case transport != "udp" && !streams(transport):
		return listenAt{}, fmt.Errorf("sip: listen %q: unknown transport %q; want udp, tcp or tls", s, transport)
	}
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return listenAt{}, fmt.Errorf("sip: listen %q: want an address and a port, such as %s:10.0.0.2:5060", s, transport)
	}
	return listenAt{transport, at.String()}, nil
}

// Handle gives the requests of claim to h. A second claim to the same method
// and event is an error, unless both say which Request-URIs they match.
func (e *Endpoint) Handle(c Claim, h Handler) error { return e.claims.add(c, h) }

// Stats counts what passed since New.
func (e *Endpoint) Stats() Stats {
	s := e.count.copy()
	if now := e.now(); now != nil {
		s.Connections, s.Server, s.Client, s.Calls = now.sizes()
	}
	return s
}

// Run opens the sockets and serves until ctx is done. No goroutine and no
// socket outlives it, and it can be run again.
func (e *Endpoint) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := newServing(ctx, e)
	defer s.wait()
	defer cancel()
	if err := s.open(); err != nil {
		s.close()
		return err
	}
	e.mu.Lock()
	if e.serving != nil {
		e.mu.Unlock()
		s.close()
		return errors.New("sip: already running")
	}
	e.serving = s
	close(e.ready)
	e.mu.Unlock()
	s.start()
	<-ctx.Done()
	e.mu.Lock()
	e.serving, e.ready = nil, make(chan struct{})
	e.mu.Unlock()
	s.close()
	return ctx.Err()
}

// Ready waits until the sockets are open.
func (e *Endpoint) Ready(ctx context.Context) error {
	_, err := e.running(ctx)
	return err
}

func (e *Endpoint) running(ctx context.Context) (*serving, error) {
	for {
		e.mu.Lock()
		s, ready := e.serving, e.ready
		e.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-ready:
		case <-ctx.Done():
			return nil, fmt.Errorf("sip: endpoint not running: %w", ctx.Err())
		}
	}
}

func (e *Endpoint) now() *serving {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.serving
}

// Addr is the first listening address of a transport ("udp", "tcp", "tls"); not valid
// when there is none or the endpoint is at rest.
func (e *Endpoint) Addr(transport string) netip.AddrPort {
	if s := e.now(); s != nil {
		for _, l := range s.listeners {
			if l.transport == transport {
				return l.addr
			}
		}
	}
	return netip.AddrPort{}
}

// allowed is the source filter.
func (e *Endpoint) allowed(a netip.Addr) bool {
	if len(e.cfg.Allow) == 0 {
		return true
	}
	for _, p := range e.cfg.Allow {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
