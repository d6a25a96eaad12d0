// Package drivers is the list of all drivers, in the open: the one place that
// knows them all and what they share (the SIP endpoint, the SNMP client, the
// budget of requests in flight). A new driver is one folder, one section in
// Config and one stanza in Build.
package drivers

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pilotlight/agent"
	"pilotlight/agent/access"
	"pilotlight/agent/ledger"
	"pilotlight/agent/relay"
	"pilotlight/agent/schedule"
	"pilotlight/agent/supervise"
	"pilotlight/drivers/central"
	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/sip"
	"pilotlight/drivers/internal/snmp"
	"pilotlight/drivers/lan"
	"pilotlight/drivers/phone"
	"pilotlight/drivers/simple"
)

// Heart is what of the agent the drivers are handed.
type Heart struct {
	Ledger  *ledger.Ledger
	Domain  string
	DataDir string           // where a certificate of our own is kept
	Access  *access.Watchers // who may watch whom
	Post    *relay.Post      // instant messages
	Uplinks *relay.Uplinks
	Since   time.Time // when the agent was started
	Version string
	Log     *slog.Logger
}

// Built is all drivers, at rest.
type Built struct {
	Base   []supervise.Task // what the others stand on; it ends after them
	Tasks  []supervise.Task
	Queues []*schedule.Queue
	Ready  func(context.Context) error // the sockets are open
	Simple *simple.Driver              // the presence server
	Wire   func() Wire                 // what came by SIP and was not served
}

// Wire is what came by SIP and was not served.
type Wire struct {
	Refused map[[2]string]uint64 // by method and class of the answer, such as "4xx"
	Dropped map[string]uint64    // by reason
}

func wire(st sip.Stats) Wire {
	w := Wire{Refused: map[[2]string]uint64{}, Dropped: st.Dropped}
	for what, n := range st.Requests {
		if what.Outcome >= "3" {
			w.Refused[[2]string{what.Method, what.Outcome}] = n
		}
	}
	return w
}

// Build makes every driver that c asks for. Nothing is opened until Run.
func Build(c Config, h Heart) (*Built, error) {
	b := &builder{c: c, h: h, budget: schedule.NewBudget(c.Poll.InFlight)}
	for _, stanza := range []struct {
		name  string
		build func() error
	}{
		{"sip", b.sip},
		{"lan", b.lan},
		{"phone", b.phone},
		{"uplinks", b.central},
		{"simple", b.simple},
	} {
		if err := stanza.build(); err != nil {
			return nil, fmt.Errorf("%s: %w", stanza.name, err)
		}
	}
	return &b.built, nil
}

type builder struct {
	c      Config
	h      Heart
	budget *schedule.Budget
	built  Built

	endpoint *sip.Endpoint
	switches *lan.Driver
	phones   *phone.Driver
}

func (b *builder) task(name string, d agent.Driver) {
	b.built.Tasks = append(b.built.Tasks, supervise.Task{Name: name, Driver: d})
}

func (b *builder) queue(name string, every time.Duration) *schedule.Queue {
	q := schedule.New(name, schedule.Options{Every: every, Budget: b.budget})
	b.built.Queues = append(b.built.Queues, q)
	return q
}

func (b *builder) log(name string) *slog.Logger { return b.h.Log.With("driver", name) }

func (b *builder) sip() (err error) {
	cfg := sip.Config{Listen: b.c.SIP.Listen, TLS: b.c.SIP.files(&b.c, b.h.DataDir, b.h.Domain), UserAgent: "Pilotlight/" + b.h.Version}
	for _, p := range b.c.SIP.Peers {
		cfg.Unmetered = append(cfg.Unmetered, p.Address)
	}
	b.endpoint, err = sip.New(cfg, b.log("sip"))
	if err != nil {
		return err
	}
	b.built.Ready = b.endpoint.Ready
	b.built.Wire = func() Wire { return wire(b.endpoint.Stats()) }
	b.built.Base = append(b.built.Base, supervise.Task{Name: "sip", Driver: b.endpoint})
	return nil
}

func (b *builder) lan() error {
	if len(b.c.Switches) == 0 {
		return nil
	}
	client, err := snmp.New(b.c.SNMP, snmp.Options{Secrets: b.c.Secret, Gate: b.c.gate()})
	if err != nil {
		return err
	}
	b.switches, err = lan.New(b.lanConfig(), lan.Needs{
		SNMP: client, Heart: b.h.Ledger, Queue: b.queue("snmp", b.c.Poll.SNMP), Drawer: b.h.Ledger.Drawer("lan"), Known: b.c.known(),
		Found: func(name string, addr netip.Addr) { b.phones.Found(name, addr) }, // only while running: all is built then
	}, b.log("lan"))
	if err != nil {
		return err
	}
	b.task("lan", b.switches)
	return nil
}

func (b *builder) lanConfig() lan.Config {
	return lan.Config{Switches: b.c.Switches, Discovery: b.c.Discovery, Interval: b.c.Poll.SNMP}
}

// gate lets SNMP contact listed switches and what lies inside discovery.allow,
// and nobody else, whatever a neighbour table names.
func (c *Config) gate() func(netip.AddrPort) error {
	listed := map[netip.Addr]bool{}
	for _, s := range c.Switches {
		if addr, err := netip.ParseAddr(s.Address); err == nil {
			listed[addr.Unmap()] = true
		}
	}
	return func(to netip.AddrPort) error {
		if listed[to.Addr().Unmap()] || c.Discovery.Allows(to.Addr()) {
			return nil
		}
		return fmt.Errorf("%v is neither listed nor inside discovery.allow", to.Addr())
	}
}

// known names a configured phone by its MAC address or its IP address.
func (c *Config) known() lan.Known {
	byMAC, byAddr := map[string]string{}, map[netip.Addr]string{}
	for _, p := range c.Phones {
		if mac, ok := strings.CutPrefix(strings.ToUpper(p.Name), "SEP"); ok {
			byMAC[mac] = p.Name
		}
		if addr, err := netip.ParseAddr(p.Address); err == nil {
			byAddr[addr] = p.Name
		}
	}
	return func(mac string, addr netip.Addr) (string, bool) {
		if name, ok := byMAC[mac]; ok {
			return name, true
		}
		name, ok := byAddr[addr]
		return name, ok && addr.IsValid()
	}
}

func (b *builder) phone() error {
	cfg := phone.Config{Domain: b.h.Domain, Web: b.c.Poll.Web, SIP: b.c.Poll.SIP, Defaults: b.c.PhoneDefaults}
	finds := b.switches != nil && len(b.c.Discovery.Allow) > 0
	if finds {
		cfg.Allow = b.c.Discovery.Allows
	}
	serves := map[string]string{}
	for _, p := range b.c.People {
		if p.Line != "" {
			cfg.Lines = append(cfg.Lines, p.Line)
		}
		for _, name := range p.Phones {
			serves[name] = p.Line
		}
	}
	for _, e := range b.c.Phones {
		p := b.c.PhoneDefaults.Phone(e)
		p.User = serves[p.Name]
		cfg.Phones = append(cfg.Phones, p)
	}
	if err := b.callServers(&cfg); err != nil {
		return err
	}
	if len(cfg.Phones) == 0 && len(cfg.Servers) == 0 && !finds {
		return nil
	}
	needs := phone.Needs{
		Heart: b.h.Ledger, Web: b.queue("phone-web", b.c.Poll.Web), SIP: b.queue("phone-sip", b.c.Poll.SIP), Asker: phone.Asking(b.endpoint),
		Pins: b.h.Ledger.Drawer("phone"),
	}
	if b.switches != nil {
		needs.Doubt = b.switches
	}
	if d := b.c.PhoneDefaults; d.User != "" {
		password, err := b.c.Secret(d.PasswordFile)
		if err != nil {
			return fmt.Errorf("phone_defaults: password_file: %w", err)
		}
		cfg.Credentials = phone.NewCredentials(d.User, password)
	}
	var err error
	if b.phones, err = phone.New(cfg, needs, b.log("phone")); err != nil {
		return err
	}
	b.task("phone", b.phones)
	return nil
}

// callServers makes one subscriber to the dialog package for all call servers.
func (b *builder) callServers(cfg *phone.Config) error {
	var followed []phone.CallServer
	for _, s := range b.c.CallManagers {
		if s.Dialog {
			followed = append(followed, s)
		}
	}
	if len(followed) == 0 {
		return nil
	}
	subscriber, err := event.New(event.DialogPackage, b.endpoint, b.log("dialog"))
	if err != nil {
		return err
	}
	for _, s := range followed {
		server, err := s.Resolve(subscriber, b.c.Secret)
		if err != nil {
			return err
		}
		cfg.Servers = append(cfg.Servers, server)
	}
	return nil
}

func (b *builder) central() error {
	for _, e := range b.c.Uplinks {
		if !e.Built() {
			b.h.Uplinks.Report(relay.Status{Name: e.Name, Kind: e.Kind, Mode: relay.Island, Since: time.Now(),
				Why: "this version has no uplink of kind " + e.Kind + " yet"})
			continue
		}
		cfg, err := e.Resolve(b.c.Secret)
		if err != nil {
			return err
		}
		lane := relay.NewLane(cfg.Name, b.h.Ledger, nil)
		d, err := central.New(cfg, lane, b.h.Ledger.Drawer("etags"), b.endpoint, b.h.Uplinks, b.h.Log)
		if err != nil {
			return err
		}
		b.task("uplink "+cfg.Name, d)
	}
	return nil
}

func (b *builder) simple() error {
	cfg := simple.Config{Domain: b.h.Domain, Trusted: b.c.SIP.Trusted, Interval: map[string]time.Duration{"presence": b.c.SIP.NotifyInterval.Presence}}
	for _, p := range b.c.SIP.Peers {
		cfg.Peers = append(cfg.Peers, simple.Peer{Name: p.Name, From: p.Address, Domains: p.Domains, Target: p.target(), May: p.May})
	}
	for _, l := range b.c.Lists {
		list := simple.List{Name: l.Name}
		for _, m := range l.Members {
			of, err := listed(m, b.h.Domain)
			if err != nil {
				return fmt.Errorf("list %s: %w", l.Name, err)
			}
			if !slices.Contains(list.Members, of) { // alice and sip:alice@ our domain
				list.Members = append(list.Members, of)
			}
		}
		cfg.Lists = append(cfg.Lists, list)
	}
	needs := simple.Needs{Heart: b.h.Ledger, Endpoint: b.endpoint, Drawer: b.h.Ledger.Drawer("dialogs"), Access: b.h.Access, Post: b.h.Post, Since: b.h.Since}
	var err error
	if needs.Guard, err = b.guard(); err != nil {
		return err
	}
	if slices.ContainsFunc(cfg.Peers, func(p simple.Peer) bool {
		return p.Target != "" && slices.ContainsFunc(p.Domains, func(d string) bool { return !strings.EqualFold(d, b.h.Domain) })
	}) {
		if needs.Elsewhere, err = event.New(event.PresencePackage, b.endpoint, b.log("presence")); err != nil {
			return err
		}
	}
	d, err := simple.New(cfg, needs, b.log("simple"))
	if err != nil {
		return err
	}
	b.built.Simple = d
	b.task("simple", d)
	return nil
}

// guard knows the accounts for digest; nil where there are none.
func (b *builder) guard() (*sip.Guard, error) {
	if len(b.c.SIP.Accounts) == 0 {
		return nil, nil
	}
	passwords := map[string]string{}
	for _, a := range b.c.SIP.Accounts {
		password, err := b.c.Secret(a.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("account %s: password_file: %w", a.User, err)
		}
		passwords[a.User] = password
	}
	return sip.NewGuard(b.h.Domain, []byte(sip.Random(32)), func(user string) (string, bool) {
		password, ok := passwords[user]
		return password, ok
	}), nil
}
