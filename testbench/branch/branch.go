// Package branch is a branch office that is not there: Cisco phones on loopback
// addresses of their own with web pages and SIP, the switch they hang on, the
// call server that tells who talks, and the central presence server far away.
//
// It is the other side of every test and bench, and the branch of the demo. It
// speaks over wires only and shares no code with the product, so that a mistake
// in reading a protocol cannot be made on both sides alike. What is known of
// the real things is followed closely, oddities included; README.md says where
// it departs from them. Truth tells what each phone is really doing, which is
// what the product should come to say.
//
// A thousand phones fit in one process: they share one web server, one lock and
// one list of things to do later.
package branch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"pilotlight/testbench/branch/internal/agenda"
	"pilotlight/testbench/branch/internal/snmpd"
	"pilotlight/testbench/freeport"
)

// Options say what the branch is like. The zero value is a branch of 24 phones.
type Options struct {
	Phones    int
	Seed      uint64  // decides the phones' names and the script, not the addresses
	Domain    string  // "example.com"
	CallRate  float64 // calls a minute that the script begins; 0: enough for life on the board
	Speed     float64 // how much faster than real time calls, boots and counters go; 0: 1
	Community string  // "public"
	Unshared  bool    // every phone has a number of its own, for benches that count
	SNMPRec   string  // a recording that the first switch answers from, in place of the invented table
	Log       *slog.Logger

	// PhoneUser and PhonePassword are the user that the phones are associated with;
	// empty: none, and the pages of keys are for nobody.
	PhoneUser, PhonePassword string

	// OnEvent is told of everything that happens to a phone, when it happens.
	// It must be quick and must not call the branch.
	OnEvent func(Event)
}

func (o Options) withDefaults() (Options, error) {
	o.Phones = cmp.Or(o.Phones, 24)
	o.Seed = cmp.Or(o.Seed, 1)
	o.Domain = cmp.Or(o.Domain, "example.com")
	o.Speed = cmp.Or(o.Speed, 1)
	o.Community = cmp.Or(o.Community, "public")
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case o.Phones < 1 || o.Phones > maxPhones:
		return o, fmt.Errorf("branch: %d phones: want 1 to %d", o.Phones, maxPhones)
	case o.Speed < 0:
		return o, fmt.Errorf("branch: speed %v: want more than 0", o.Speed)
	}
	return o, nil
}

// Branch is a running branch.
type Branch struct {
	opts  Options
	log   *slog.Logger
	start time.Time
	block block
	// agentSIP is a port of 127.0.0.1 that was free at the start, for Config.
	agentSIP int
	agenda   *agenda.Agenda
	web      *http.Server

	phones   []*phone
	byName   map[string]*phone
	byHandle map[string]*phone   // by user, or by room
	byNumber map[string][]*phone // more than one share a line
	byAddr   map[netip.Addr]*phone
	switches []*accessSwitch
	lines    *callServer
	central  *central

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // our goroutines
	conns  sync.WaitGroup // connections of the web server
	once   sync.Once

	authDown bool // guarded by mu: the Authentication URL cannot be reached

	mu    sync.Mutex // the world: what phones do, and who subscribes to it
	calls uint64
	legs  uint64
}

// Start builds a branch and opens all its listeners. ctx can call off the start;
// the branch ends with Close, so that an agent beside it can end first.
func Start(ctx context.Context, o Options) (*Branch, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	for range 20 {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("branch: %w", err)
		}
		b, err := build(o)
		if err != nil {
			return nil, fmt.Errorf("branch: %w", err)
		}
		if err = b.open(); err == nil {
			return b, nil
		}
		b.Close()
		if !taken(err) {
			return nil, fmt.Errorf("branch: %w", err)
		}
	}
	return nil, errors.New("branch: no free block of addresses in 127.0.0.0/8")
}

// build makes the branch without opening anything.
func build(o Options) (*Branch, error) {
	b := &Branch{opts: o, log: o.Log, start: time.Now(), block: drawBlock(), agenda: agenda.New(),
		byName: map[string]*phone{}, byHandle: map[string]*phone{}, byNumber: map[string][]*phone{}, byAddr: map[netip.Addr]*phone{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.lines, b.central = newCallServer(b), newCentral(b)
	for i := range o.Phones {
		p := b.newPhone(i)
		b.phones = append(b.phones, p)
		b.byName[p.Name], b.byHandle[handle(p.Phone)], b.byAddr[p.addr] = p, p, p
		b.byNumber[p.Number] = append(b.byNumber[p.Number], p)
	}
	b.web = b.newWeb()
	return b, b.newSwitches()
}

func (b *Branch) newPhone(i int) *phone {
	m := &models[i%len(models)]
	p := &phone{model: m, index: i, addr: b.block.phone(i), neighbor: true, heard: b.start,
		mac: fmt.Sprintf("0C1167%02X%04X", byte(b.opts.Seed), i)}
	p.state = State{Doing: Idle, Registration: WithCallServer}
	user, name := ownerOf(i)
	p.Phone = Phone{
		Name: "SEP" + p.mac, Address: p.addr.String(), WebPort: b.block.web, SIPPort: b.block.sip,
		Number: fmt.Sprint(1001 + i), User: user, DisplayName: name, Model: m.product,
	}
	if i == frontDesk && b.opts.Phones >= sharedFrom && !b.opts.Unshared {
		p.Number, p.DisplayName = b.phones[boss].Number, "Front desk"
	}
	return p
}

// open opens every listener and starts what runs.
func (b *Branch) open() error {
	for _, p := range b.phones {
		if err := b.openSIP(p); err != nil {
			return err
		}
		if err := b.settle(p); err != nil {
			return err
		}
	}
	for _, s := range b.switches {
		a, err := snmpd.Listen(s.Address, s.Port, s.Community, s.view)
		if err != nil {
			return err
		}
		s.agent = a
	}
	if err := b.lines.listen(b.block.callServer(), b.block.server); err != nil {
		return err
	}
	if err := b.central.listen(b.block.centralServer(), b.block.central); err != nil {
		return err
	}
	port, err := freeport.Get()
	if err != nil {
		return err
	}
	b.agentSIP = port
	b.wg.Go(func() { b.agenda.Run(b.ctx) })
	return nil
}

// Close ends everything; no goroutine of the branch is left when it returns.
func (b *Branch) Close() {
	b.once.Do(func() {
		b.cancel()
		b.web.Close()
		for _, p := range b.phones {
			p.door.Lock()
			if p.listener != nil {
				p.listener.Close()
				p.listener = nil
			}
			p.door.Unlock()
			if p.sip != nil {
				p.sip.Close()
			}
		}
		for _, s := range b.switches {
			if s.agent != nil {
				s.agent.Close()
			}
		}
		if b.lines.server != nil {
			b.lines.server.Close()
		}
		if b.central.server != nil {
			b.central.server.Close()
		}
		b.wg.Wait()
		b.conns.Wait()
	})
}

// Phones is the inventory, in the order of the phones' ports.
func (b *Branch) Phones() []Phone {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Phone, len(b.phones))
	for i, p := range b.phones {
		list[i] = p.Phone
	}
	return list
}

// Switch is the first switch.
func (b *Branch) Switch() SwitchInfo { return b.switches[0].SwitchInfo }

// Switches is all of them: one stack for each 376 phones.
func (b *Branch) Switches() []SwitchInfo {
	var list []SwitchInfo
	for _, s := range b.switches {
		list = append(list, s.SwitchInfo)
	}
	return list
}

// Central is where the central presence server takes PUBLISH, over UDP and TCP.
func (b *Branch) Central() string { return target(b.central.server.Addr()) }

// CallServer is where "Event: dialog" of each line can be subscribed to, over
// UDP and TCP.
func (b *Branch) CallServer() string { return target(b.lines.server.Addr()) }

func target(at netip.AddrPort) string { return fmt.Sprintf("sip:%s;transport=udp", at) }

// Truth is what each phone is really doing now.
func (b *Branch) Truth() map[string]State {
	b.mu.Lock()
	defer b.mu.Unlock()
	truth := make(map[string]State, len(b.phones))
	for _, p := range b.phones {
		s := p.state
		s.Elsewhere = b.elsewhere(p)
		truth[p.Name] = s
	}
	return truth
}

// Load is what polling a phone's web pages has cost it.
func (b *Branch) Load(name string) (Load, error) {
	p, err := b.phone(name)
	if err != nil {
		return Load{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return Load{Requests: uint64(p.requests.Load()), Peak: p.peak.Load(), ByPath: maps.Clone(p.asked), Crashed: p.crashed}, nil
}

// phone finds a phone by its name, its user, the room it stands in, or its
// number; of those that share one, the first.
func (b *Branch) phone(name string) (*phone, error) {
	if p := cmp.Or(b.byName[name], b.byHandle[name]); p != nil {
		return p, nil
	}
	if all := b.byNumber[name]; len(all) > 0 {
		return all[0], nil
	}
	return nil, fmt.Errorf("branch: no phone %q", name)
}
