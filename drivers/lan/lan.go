// Package lan learns from the branch's access switches which phone is plugged
// in where, whether its port has link, and what power it draws: CDP, LLDP and
// LLDP-MED name the neighbours, IF-MIB the ports, POWER-ETHERNET-MIB the power.
// Desk phones answer no SNMP themselves, so this is what tells *why* one is dark.
//
// A visit reads one switch whole into a reading (read.go), which the neighbours
// are picked from (phone.go) and joined to ports (port.go), since LLDP and PoE
// count ports each in their own way. What a reading says about phones becomes
// observations (observe.go). The last place of each phone is remembered, over
// restarts too (memory.go): a phone that was unplugged is listed by no switch,
// and its port's link and power are then all there is to tell.
//
// Only listed switches are contacted, and neighbours inside discovery.allow: those
// that are switches from here, and of the phones Found is told.
package lan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"sync"
	"time"

	"pilotlight/agent/schedule"
	"pilotlight/drivers/internal/snmp"
	"pilotlight/drivers/internal/tell"
)

// Config is what the driver needs of the configuration.
type Config struct {
	Switches  []Switch
	Discovery Discovery
	Interval  time.Duration // poll.snmp; zero: 60 s
}

// Switch is an element of the section "switches".
type Switch struct {
	// Short name, shown as the place of a phone.
	Name string `yaml:"name"`
	// IP address.
	Address string `yaml:"address"`
	// UDP port of its SNMP agent; 0: 161.
	Port uint16 `yaml:"port"`
	// Name of the SNMP credential.
	SNMP string `yaml:"snmp"`
}

// Discovery is the section "discovery": neighbours inside Allow, at most Depth
// steps from a listed switch, are polled too: switches with that one's
// credential, phones with the defaults for all phones.
type Discovery struct {
	// Networks whose members may be polled though they are not listed; empty: listed devices only.
	Allow []string `yaml:"allow"`
	// How many steps from a listed switch.
	Depth int `yaml:"depth"`
}

// Opener lends SNMP sessions; *snmp.Client is one.
type Opener interface {
	Open(context.Context, snmp.Target) (*snmp.Session, error)
	Has(credential string) bool
}

// Queue gives leave to poll; its keys are switch names.
type Queue interface {
	Set(...schedule.Target)
	Next(context.Context) (schedule.Visit, error)
	Hasten(key string, in time.Duration)
}

// Drawer keeps the last places over a restart.
type Drawer interface {
	Get(key string) ([]byte, error)
	PutSoft(ctx context.Context, key string, value []byte) error
}

// Known tells the name of a configured phone by its MAC (12 upper-case
// hexadecimal digits, or "") or its address (or the zero Addr).
type Known func(mac string, addr netip.Addr) (name string, ok bool)

// FoundPhone is told of each phone that may be contacted though perhaps it is not
// listed, at each reading that shows it behind a port with link. It must not wait.
type FoundPhone func(name string, addr netip.Addr)

// Needs is what the driver works with. Only SNMP is needed by Discover.
type Needs struct {
	SNMP   Opener
	Heart  tell.Observer
	Queue  Queue
	Drawer Drawer
	Known  Known
	Found  FoundPhone // nil: nobody wants to know
}

// Driver polls the switches of one branch.
type Driver struct {
	needs    Needs
	heart    *tell.Teller
	log      *slog.Logger
	interval time.Duration
	allow    []netip.Prefix
	depth    int

	mu       sync.Mutex
	switches map[string]*polled // by name
	memory   memory
}

// polled is one switch, and how its last visit went.
type polled struct {
	name   string
	target snmp.Target
	depth  int // steps from a listed switch

	started  time.Time // of the last visit
	quiet    time.Time // until then nothing is asked: it refused the credential
	answered bool      // once, at least
	partial  bool      // the last reading was cut short: rows not read again are kept, and grow old
	err      error
}

const (
	defaultInterval = 60 * time.Second
	defaultPort     = 161
	maxDepth        = 8
	maxSwitches     = 256
	workers         = 8
	// A switch that refuses our user or password is left alone this long.
	quietFor = 10 * time.Minute
	// The least time between two visits, however often one is in doubt.
	doubtGap = 2 * time.Second
)

var switchName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// New checks the configuration; nothing is opened or sent.
func New(cfg Config, needs Needs, log *slog.Logger) (*Driver, error) {
	if needs.SNMP == nil {
		return nil, errors.New("lan: no SNMP client")
	}
	if needs.Known == nil {
		needs.Known = func(string, netip.Addr) (string, bool) { return "", false }
	}
	d := &Driver{
		needs: needs, heart: tell.New(needs.Heart, log), log: log, interval: cfg.Interval, depth: cfg.Discovery.Depth,
		switches: make(map[string]*polled, len(cfg.Switches)), memory: newMemory(),
	}
	if d.interval <= 0 {
		d.interval = defaultInterval
	}
	var err error
	if d.allow, err = cfg.Discovery.networks(); err != nil {
		return nil, err
	}
	for _, s := range cfg.Switches {
		if err := d.list(s); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Check finds the first fault of the section.
func (c Discovery) Check() error { _, err := c.networks(); return err }

// Allows reports whether an address that is not listed may be contacted.
func (c Discovery) Allows(addr netip.Addr) bool {
	all, err := c.networks()
	return err == nil && slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
}

func (c Discovery) networks() ([]netip.Prefix, error) {
	if c.Depth < 0 || c.Depth > maxDepth {
		return nil, fmt.Errorf("discovery: depth %d, want 0 to %d", c.Depth, maxDepth)
	}
	var all []netip.Prefix
	for _, a := range c.Allow {
		p, err := parsePrefix(a)
		if err != nil {
			return nil, fmt.Errorf("discovery: allow: %w", err)
		}
		all = append(all, p)
	}
	return all, nil
}

// Check finds the first fault of an entry by itself.
func (s Switch) Check() error { _, err := s.addr(); return err }

func (s Switch) addr() (netip.AddrPort, error) {
	if !switchName.MatchString(s.Name) {
		return netip.AddrPort{}, fmt.Errorf("switch %q: want a name of letters, digits, dot, dash and underscore", s.Name)
	}
	addr, err := netip.ParseAddr(s.Address)
	if err != nil || addr.IsUnspecified() || addr.IsMulticast() {
		return netip.AddrPort{}, fmt.Errorf("switch %s: address %q, want an IP address", s.Name, s.Address)
	}
	return netip.AddrPortFrom(addr.Unmap(), cmp.Or(s.Port, defaultPort)), nil
}

// parsePrefix takes a network, or one address.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q: want a network such as 10.1.0.0/16", s)
	}
	return p.Masked(), nil
}

func (d *Driver) list(s Switch) error {
	at, err := s.addr()
	if err != nil {
		return err
	}
	if !d.needs.SNMP.Has(s.SNMP) {
		return fmt.Errorf("switch %s: snmp %q, want a name of snmp.credentials", s.Name, s.SNMP)
	}
	if d.switches[s.Name] != nil {
		return fmt.Errorf("switch %s: listed twice", s.Name)
	}
	if len(d.switches) >= maxSwitches {
		return fmt.Errorf("switch %s: more than %d switches", s.Name, maxSwitches)
	}
	d.switches[s.Name] = &polled{name: s.Name, target: snmp.Target{Addr: at, Credential: s.SNMP}}
	return nil
}

// targets is what the queue is to hold; Run sets it.
func (d *Driver) targets() []schedule.Target {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]schedule.Target, 0, len(d.switches))
	for name := range d.switches {
		out = append(out, schedule.Target{Key: name, Every: d.interval})
	}
	return out
}

// Doubt is called when a device was missed elsewhere: the switch it was last
// seen on is polled at once.
func (d *Driver) Doubt(device string) {
	d.mu.Lock()
	where := d.memory.switchOf(device)
	var in time.Duration
	if p := d.switches[where]; p != nil {
		in = max(0, doubtGap-time.Since(p.started))
	} else {
		where = ""
	}
	d.mu.Unlock()
	if where != "" && d.needs.Queue != nil {
		d.needs.Queue.Hasten(where, in)
	}
}
