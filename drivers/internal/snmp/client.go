// Package snmp asks devices by SNMP version 2c (RFC 3416) and 3 (RFC 3412, RFC
// 3414) on behalf of the drivers. gosnmp encodes, decodes, authenticates and
// encrypts; what it leaves to its caller is done here, because a wrong answer
// about a switch turns phones dark that are well:
//
//   - a walk that a device ends with an error is not taken for the end of the
//     table: rows come back with the mark Partial, and with the reason;
//   - OIDs must grow, tables and answers have limits, the device has a deadline;
//   - a device's report of a wrong user or password is read and told, instead of
//     being lost as "not authentic"; engine id, boots and time are kept per device;
//   - the socket is connected (only the device's address can answer), and each
//     address is asked for at the gate before the first packet leaves.
//
// A [Client] is shared; it lends a bounded number of [Session]s, each of which
// is for one device and one goroutine, since a gosnmp handle is neither small
// (64 KiB) nor safe for concurrent use. Traps are left to a later part.
package snmp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/gosnmp/gosnmp"
)

// Options are what a client needs besides credentials. Zero values mean the
// defaults that are named here.
type Options struct {
	Secrets  Secrets
	Gate     func(netip.AddrPort) error // asked before a socket is connected; nil lets all pass
	Sessions int                        // in use at one time: 16
	Timeout  time.Duration              // for the first try of a request; the second has twice as much: 1.5 s
	Tries    int                        // 2
	Rows     int                        // of one table: 20,000
	Bytes    int                        // of one table's values: 8 MiB
}

const (
	defaultSessions = 16
	defaultTimeout  = 1500 * time.Millisecond
	defaultTries    = 2
	defaultRows     = 20_000
	defaultBytes    = 8 << 20
	maxEngines      = 4096
)

// Client holds the credentials and what is known of each device's engine.
type Client struct {
	opts        Options
	credentials map[string]credential
	slots       chan struct{}

	mu      sync.Mutex
	engines map[engineKey]engine
}

type engineKey struct {
	addr       netip.AddrPort
	credential string
}

// engine is an authoritative engine as it last vouched for itself (RFC 3414
// §2.1). Its time is carried on by our clock, so that a device polled seldom
// does not have to send us back for it each time (150 s, §2.2.3).
type engine struct {
	id    string
	boots uint32
	time  uint32
	at    time.Time
}

// Target is a device, and the way in.
type Target struct {
	Addr       netip.AddrPort
	Credential string // by name
	Context    string // RFC 3411 §3.3.1; version 3 only
}

// New reads the secrets and returns a client at rest.
func New(cfg Config, opts Options) (*Client, error) {
	if opts.Secrets == nil {
		opts.Secrets = func(path string) (string, error) { return "", fmt.Errorf("%s: no secrets here", path) }
	}
	c := &Client{
		credentials: make(map[string]credential, len(cfg.Credentials)),
		engines:     make(map[engineKey]engine),
	}
	for _, cr := range cfg.Credentials {
		read, err := cr.read(opts.Secrets)
		if err != nil {
			return nil, err
		}
		if _, twice := c.credentials[cr.Name]; twice {
			return nil, fmt.Errorf("snmp credential %s: named twice", cr.Name)
		}
		c.credentials[cr.Name] = read
	}
	orDefault(&opts.Sessions, defaultSessions)
	orDefault(&opts.Tries, defaultTries)
	orDefault(&opts.Rows, defaultRows)
	orDefault(&opts.Bytes, defaultBytes)
	if opts.Timeout <= 0 {
		opts.Timeout = defaultTimeout
	}
	c.opts, c.slots = opts, make(chan struct{}, opts.Sessions)
	return c, nil
}

func orDefault(v *int, d int) {
	if *v <= 0 {
		*v = d
	}
}

// Has reports whether there is a credential of that name.
func (c *Client) Has(credential string) bool {
	_, ok := c.credentials[credential]
	return ok
}

// Open waits for a free session and connects it to t. It sends nothing yet.
func (c *Client) Open(ctx context.Context, t Target) (*Session, error) {
	cred, ok := c.credentials[t.Credential]
	if !ok {
		return nil, &Error{Target: name(t.Addr), Err: fmt.Errorf("no credential %q", t.Credential)}
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, &Error{Target: name(t.Addr), Doing: "wait for a session", Err: ctx.Err()}
	}
	s := &Session{client: c, target: t, credential: cred}
	if err := s.connect(ctx, c.recall(t)); err != nil {
		<-c.slots
		return nil, s.fail("connect", classify(err, s.v3()))
	}
	return s, nil
}

// name is how a device is called in errors: the port is told unless it is SNMP's own.
func name(a netip.AddrPort) string {
	if a.Port() == 161 {
		return a.Addr().String()
	}
	return a.String()
}

func (c *Client) recall(t Target) engine {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engines[engineKey{t.Addr, t.Credential}]
}

func (c *Client) remember(t Target, e engine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.engines) >= maxEngines {
		clear(c.engines) // costs each device one more exchange, once
	}
	c.engines[engineKey{t.Addr, t.Credential}] = e
}

func (c *Client) forget(t Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.engines, engineKey{t.Addr, t.Credential})
}

// handle builds a gosnmp handle. Retries are ours: gosnmp would try again what
// can't get better, such as a wrong password.
func (s *Session) handle(ctx context.Context, e engine) *gosnmp.GoSNMP {
	g := &gosnmp.GoSNMP{
		Target: s.target.Addr.Addr().String(), Port: s.target.Addr.Port(),
		Transport: "udp", Version: s.credential.version, Community: s.credential.community,
		Context: ctx, Timeout: s.client.opts.Timeout, MaxOids: gosnmp.MaxOids,
		Control: s.gate,
	}
	if !s.v3() {
		return g
	}
	usm := &gosnmp.UsmSecurityParameters{
		UserName:               s.credential.user,
		AuthenticationProtocol: s.credential.auth, AuthenticationPassphrase: s.credential.authPass,
		PrivacyProtocol: s.credential.privacy, PrivacyPassphrase: s.credential.privPass,
	}
	if e.id != "" {
		usm.AuthoritativeEngineID = e.id
		usm.AuthoritativeEngineBoots = e.boots
		usm.AuthoritativeEngineTime = e.time + uint32(time.Since(e.at)/time.Second)
		g.ContextEngineID = e.id
	}
	g.MsgFlags, g.SecurityModel, g.SecurityParameters = s.credential.level, gosnmp.UserSecurityModel, usm
	g.ContextName = s.target.Context
	return g
}

// gate is called by the dialer with the address that is about to be connected.
func (s *Session) gate(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || a.Addr().Unmap() != s.target.Addr.Addr().Unmap() || a.Port() != s.target.Addr.Port() {
		return ErrForbidden
	}
	if s.client.opts.Gate == nil {
		return nil
	}
	if err := s.client.opts.Gate(s.target.Addr); err != nil {
		return errors.Join(ErrForbidden, err)
	}
	return nil
}
