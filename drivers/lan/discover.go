package lan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/supervise"
	"pilotlight/drivers/internal/snmp"
)

// Found is one phone that a sweep found.
type Found struct {
	Name     string
	Model    string
	Firmware string
	Serial   string
	Address  netip.Addr
	MAC      string
	Switch   string
	Port     string
	VLAN     int
	Watts    float64
	Link     string // "up", "down", "" where it is not known
	Source   string // "lan/sw1 cdp"
}

// Discover makes one sweep over the switches and returns the phones, by name.
// Switches that can't be read are told in the error; the rest is returned.
func (d *Driver) Discover(ctx context.Context) ([]Found, error) {
	s := sweep{driver: d, seen: map[string]bool{}}
	for next := d.due(s.seen); len(next) > 0; next = d.due(s.seen) {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(workers)
		for _, p := range next {
			s.seen[p.name] = true
			group.Go(func() error { return supervise.Guard(func() error { return s.visit(ctx, p) }) })
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(s.found, func(a, b Found) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Switch, b.Switch))
	})
	return s.found, errors.Join(s.errs...)
}

type sweep struct {
	driver *Driver
	seen   map[string]bool

	mu    sync.Mutex
	found []Found
	errs  []error
}

// due is which switches a sweep has not visited.
func (d *Driver) due(seen map[string]bool) []*polled {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []*polled
	for name, p := range d.switches {
		if !seen[name] {
			out = append(out, p)
		}
	}
	return out
}

func (s *sweep) visit(ctx context.Context, p *polled) error {
	r, err := s.driver.read(ctx, p)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("switch %s: %w", p.name, err))
	}
	if r == nil {
		return nil
	}
	s.driver.adopt(p, r)
	for _, ph := range r.phones {
		s.found = append(s.found, foundOf(p.name, ph))
	}
	return nil
}

func foundOf(sw string, p phone) Found {
	f := Found{
		Name: p.name, Model: p.model, Firmware: p.firmware, Serial: p.serial, Address: p.addr, MAC: p.mac,
		Switch: sw, Port: p.portName(), VLAN: p.vlan, Watts: p.watts, Source: source(sw) + " " + p.by,
	}
	if p.at == nil {
		return f
	}
	f.VLAN = cmp.Or(p.at.voice, p.vlan)
	if p.at.power != nil && p.at.power.Known {
		f.Watts = p.at.power.Watts
	}
	if p.at.linkKnown {
		f.Link = "down"
		if p.at.linkUp {
			f.Link = "up"
		}
	}
	return f
}

// Answer is what one exchange with a device brought.
type Answer struct {
	Target    netip.AddrPort `json:"target"`
	Name      string         `json:"sys_name"`
	Descr     string         `json:"sys_descr"`
	ObjectID  string         `json:"sys_object_id"`
	Uptime    time.Duration  `json:"uptime_ns"`
	RoundTrip time.Duration  `json:"round_trip_ns"`
	Tries     int            `json:"tries"`
}

// String explains the answer to a person.
func (a Answer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v answered in %v", a.Target, a.RoundTrip.Round(10*time.Microsecond))
	if a.Tries > 1 {
		fmt.Fprintf(&b, ", at try %d", a.Tries)
	}
	fmt.Fprintf(&b, "\n  sysName     %s\n  sysDescr    %s\n  sysObjectID %s\n  sysUpTime   %v", a.Name, a.Descr, a.ObjectID, a.Uptime)
	return b.String()
}

// Probe makes one exchange: the system group. Its error says what is wrong and,
// for a refused user or password, which of them.
func Probe(ctx context.Context, client Opener, target snmp.Target) (Answer, error) {
	a := Answer{Target: target.Addr}
	s, err := client.Open(ctx, target)
	if err != nil {
		return a, err
	}
	defer s.Close()
	start := time.Now()
	v, err := s.Get(ctx, snmp.SysName, snmp.SysDescr, snmp.SysObjectID, snmp.SysUpTime)
	if err != nil {
		return a, err
	}
	a.RoundTrip, a.Tries = time.Since(start), s.Tries
	a.Name, a.Descr, a.ObjectID = v[0].Text(), v[1].Text(), v[2].Text()
	if ticks, ok := v[3].Uint(); ok {
		a.Uptime = time.Duration(ticks) * 10 * time.Millisecond
	}
	return a, nil
}
