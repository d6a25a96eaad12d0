package lan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent"
	"pilotlight/agent/supervise"
	"pilotlight/drivers/internal/snmp"
)

// Run polls until ctx is done.
func (d *Driver) Run(ctx context.Context) error {
	if d.needs.Heart == nil || d.needs.Queue == nil || d.needs.Drawer == nil {
		return agent.Permanent(errors.New("lan: built for discovery only"))
	}
	targets := d.targets()
	d.restore(targets)
	d.needs.Queue.Set(targets...)
	work, ctx := errgroup.WithContext(ctx)
	for range workers {
		work.Go(func() error { return supervise.Guard(func() error { return d.work(ctx) }) })
	}
	return work.Wait()
}

// work makes visits one after the other.
func (d *Driver) work(ctx context.Context) error {
	for {
		v, err := d.needs.Queue.Next(ctx)
		if err != nil {
			return err
		}
		v.Done(d.visit(ctx, v.Target))
	}
}

// visit polls one switch and tells what it says.
func (d *Driver) visit(ctx context.Context, name string) error {
	p, err := d.begin(name)
	if p == nil {
		return err
	}
	r, err := d.read(ctx, p)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	d.ended(p, r, err)
	if r == nil {
		return err
	}
	d.adopt(p, r)
	if err := d.tell(ctx, p, r); err != nil {
		return err
	}
	d.save(ctx, p.name)
	if snmp.TableOnly(err) {
		return nil // the switch is well; its queue need not back off
	}
	return err
}

// begin gives the switch to poll, or none and why.
func (d *Driver) begin(name string) (*polled, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.switches[name]
	if p == nil {
		return nil, fmt.Errorf("lan: no switch %q", name)
	}
	if time.Now().Before(p.quiet) {
		return nil, p.err
	}
	p.started = time.Now()
	return p, nil
}

// ended keeps how a visit went, and logs when that is new.
func (d *Driver) ended(p *polled, r *reading, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := *p
	p.err, p.quiet = err, time.Time{}
	if agent.IsPermanent(err) {
		p.quiet = time.Now().Add(quietFor)
	}
	log := d.log.With("peer", p.name)
	if r == nil {
		p.partial = false
		if was.err == nil || class(was.err) != class(err) {
			log.Warn("switch does not answer", "err", err)
		}
		return
	}
	p.answered, p.partial = true, r.partial()
	switch {
	case p.partial && !was.partial:
		log.Warn("switch read in part; what was not read again is kept, and grows old", "err", err)
	case !p.partial && (was.err != nil || !was.answered):
		log.Info("switch read", "name", r.sysName, "phones", len(r.phones), "ports", len(r.ports.byIndex))
	default:
		log.Debug("switch read", "phones", len(r.phones), "requests", r.requests, "took", time.Since(r.at))
	}
}

// class is an error's text without digits, which tell nothing new.
func class(err error) string {
	return string(slices.DeleteFunc([]byte(err.Error()), func(c byte) bool { return c >= '0' && c <= '9' }))
}

// adopt takes on neighbours that are switches, and tells of phones, where the
// configuration allows.
func (d *Driver) adopt(from *polled, r *reading) {
	if len(d.allow) == 0 || from.depth >= d.depth {
		return
	}
	found := false
	for _, n := range r.neighbours {
		found = d.adoptOne(from, n) || found
	}
	if found && d.needs.Queue != nil {
		d.needs.Queue.Set(d.targets()...)
	}
	for _, p := range r.phones {
		// A row behind a port without link is left over: the phone is gone, or elsewhere.
		if d.needs.Found != nil && p.up() && d.allowed(p.neighbour) {
			d.needs.Found(p.name, p.addr)
		}
	}
}

func (d *Driver) adoptOne(from *polled, n neighbour) bool {
	if !n.bridge || n.phone || !d.allowed(n) {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	target := from.target
	target.Addr = netipAddrPort(n.addr, from.target.Addr.Port())
	name := nameFrom(n.self)
	if name == "" || d.switches[name] != nil {
		name = nameFrom(n.addr.String())
	}
	if d.switches[name] != nil || len(d.switches) >= maxSwitches {
		return false
	}
	for _, p := range d.switches {
		if p.target.Addr == target.Addr {
			return false
		}
	}
	d.switches[name] = &polled{name: name, target: target, depth: from.depth + 1}
	d.log.Info("switch found", "peer", name, "address", target.Addr.String(), "behind", from.name)
	return true
}

func (d *Driver) allowed(n neighbour) bool {
	if !n.addr.IsValid() {
		return false
	}
	for _, p := range d.allow {
		if p.Contains(n.addr) {
			return true
		}
	}
	return false
}

// read visits one switch within its deadline. The reading is nil where the
// switch did not answer at all.
func (d *Driver) read(ctx context.Context, p *polled) (*reading, error) {
	ctx, cancel := context.WithTimeout(ctx, max(10*time.Second, min(d.interval/2, 30*time.Second)))
	defer cancel()
	s, err := d.needs.SNMP.Open(ctx, p.target)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	r, err := readSwitch(ctx, s)
	if r == nil {
		return nil, err
	}
	r.name(p.name, d.needs.Known, d.owner)
	return r, r.err
}

var _ Opener = (*snmp.Client)(nil)
