package lan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pilotlight/agent/agenttest"
	"pilotlight/agent/presence"
	"pilotlight/agent/schedule"
	"pilotlight/drivers/internal/snmp"
	"pilotlight/drivers/internal/snmp/snmptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// aPort is a port of the test's switch, and the phone on it.
type aPort struct {
	n     int
	phone string // "": none
	down  bool
	off   bool // administratively
	watts int  // mW; 0: searching
}

// aSwitch is a Catalyst with PoE, as much of it as is read.
func aSwitch(t *testing.T, ports ...aPort) []snmptest.Var {
	lines := []string{"1.3.6.1.2.1.1.5.0|4|access-1", "1.3.6.1.2.1.1.1.0|4|Cisco IOS Software"}
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, p := range ports {
		ix := 10100 + p.n
		oper, admin, detection := 1, 1, 2
		if p.down {
			oper = 2
		}
		if p.off {
			admin, oper, detection = 2, 2, 1
		}
		if p.watts > 0 {
			detection = 3
		}
		add("1.3.6.1.2.1.2.2.1.2.%d|4|GigabitEthernet1/0/%d", ix, p.n)
		add("1.3.6.1.2.1.2.2.1.7.%d|2|%d", ix, admin)
		add("1.3.6.1.2.1.2.2.1.8.%d|2|%d", ix, oper)
		add("1.3.6.1.2.1.31.1.1.1.1.%d|4|Gi1/0/%d", ix, p.n)
		add("1.3.6.1.2.1.31.1.1.1.15.%d|66|1000", ix)
		add("1.3.6.1.4.1.9.9.68.1.5.1.1.1.%d|2|110", ix)
		add("1.3.6.1.2.1.105.1.1.1.6.1.%d|2|%d", p.n, detection)
		add("1.3.6.1.4.1.9.9.402.1.2.1.9.1.%d|66|%d", p.n, p.watts)
		if p.phone == "" {
			continue
		}
		add("1.3.6.1.4.1.9.9.23.1.2.1.1.4.%d.1|4x|0a01010%d", ix, p.n)
		add("1.3.6.1.4.1.9.9.23.1.2.1.1.5.%d.1|4|sip78xx.12-8-1-0001-455.loads", ix)
		add("1.3.6.1.4.1.9.9.23.1.2.1.1.6.%d.1|4|%s", ix, p.phone)
		add("1.3.6.1.4.1.9.9.23.1.2.1.1.8.%d.1|4|Cisco IP Phone 7841", ix)
		add("1.3.6.1.4.1.9.9.23.1.2.1.1.9.%d.1|4x|00000490", ix)
	}
	return snmptest.Rows(t, lines...)
}

const (
	alice = "SEP0011AABBCC01"
	bob   = "SEP0011AABBCC02"
)

// drawer is a drawer in memory.
type drawer struct {
	mu   sync.Mutex
	kept map[string][]byte
	puts int
}

func (d *drawer) Get(key string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b, ok := d.kept[key]; ok {
		return b, nil
	}
	return nil, errors.New("not there")
}

func (d *drawer) PutSoft(_ context.Context, key string, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept == nil {
		d.kept = map[string][]byte{}
	}
	d.puts++
	d.kept[key] = bytes.Clone(b)
	return nil
}

// queue records what was hastened; visits are made by the tests themselves.
type queue struct {
	mu       sync.Mutex
	set      []string
	hastened []string
}

func (q *queue) Set(ts ...schedule.Target) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.set = nil
	for _, t := range ts {
		q.set = append(q.set, t.Key)
	}
	slices.Sort(q.set)
}

func (q *queue) Hasten(key string, _ time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.hastened = append(q.hastened, key)
}

func (q *queue) Next(ctx context.Context) (schedule.Visit, error) {
	<-ctx.Done()
	return schedule.Visit{}, ctx.Err()
}

// bench is a driver with its surroundings.
type bench struct {
	*Driver
	heart  *agenttest.Recorder
	drawer *drawer
	queue  *queue
	log    *bytes.Buffer
}

func newBench(t *testing.T, cfg Config, opts snmp.Options) *bench {
	t.Helper()
	if opts.Timeout == 0 {
		opts.Timeout = 100 * time.Millisecond
	}
	c, err := snmp.New(snmp.Config{Credentials: []snmp.Credential{{Name: "ro", Version: "2c", Community: "public"}}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{heart: &agenttest.Recorder{}, drawer: &drawer{}, queue: &queue{}, log: &bytes.Buffer{}}
	b.Driver, err = New(cfg, Needs{SNMP: c, Heart: b.heart, Queue: b.queue, Drawer: b.drawer}, slog.New(slog.NewTextHandler(b.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// poll makes one visit and returns what was observed in it.
func (b *bench) poll(t *testing.T, sw string) map[presence.Key]presence.Observation {
	t.Helper()
	before := len(b.heart.All())
	if err := b.visit(t.Context(), sw); err != nil {
		t.Fatal(err)
	}
	out := map[presence.Key]presence.Observation{}
	for _, o := range b.heart.All()[before:] {
		agenttest.CheckObservation(t, o)
		out[o.Key()] = o
	}
	return out
}

func sw1(a *snmptest.Agent) Config { return Config{Switches: []Switch{at(a, "sw1")}} }

func TestAPhoneIsToldWithPortAndPower(t *testing.T) {
	a := snmptest.Start(t, "public", aSwitch(t, aPort{n: 1, phone: alice, watts: 3900}, aPort{n: 2}))
	b := newBench(t, sw1(a), snmp.Options{})
	got := b.poll(t, "sw1")
	o, ok := got[presence.Key{Source: "lan/sw1", Subject: alice}]
	if !ok || len(got) != 1 {
		t.Fatalf("%d observations: %v", len(got), got)
	}
	if want := (presence.Port{Switch: "sw1", Name: "Gi1/0/1", VLAN: 110, LinkUp: true, LinkKnown: true, Speed: 1e9, Neighbour: true}); *o.Port != want {
		t.Errorf("port %+v\nwant %+v", *o.Port, want)
	}
	if want := (presence.Power{State: presence.PowerDelivering, Watts: 3.9, Known: true}); *o.Power != want {
		t.Errorf("power %+v, want %+v", *o.Power, want)
	}
	if i := o.Identity; i.Model != "Cisco IP Phone 7841" || i.MAC != "0011AABBCC01" || i.Address != netip.MustParseAddr("10.1.1.1") || !strings.HasPrefix(i.Firmware, "sip78xx") {
		t.Errorf("identity %+v", *i)
	}
	if o.TTL != 150*time.Second {
		t.Errorf("TTL %v, want 2.5 intervals", o.TTL)
	}
}

// An unplugged phone is listed nowhere: its last port's link and power are told.
func TestAnUnpluggedPhoneKeepsItsPort(t *testing.T) {
	a := snmptest.Start(t, "public", aSwitch(t, aPort{n: 1, phone: alice, watts: 3900}, aPort{n: 2, phone: bob, watts: 3900}))
	b := newBench(t, sw1(a), snmp.Options{})
	b.poll(t, "sw1")
	a.Set(aSwitch(t, aPort{n: 1, down: true}, aPort{n: 2, off: true}))
	got := b.poll(t, "sw1")
	o := got[presence.Key{Source: "lan/sw1", Subject: alice}]
	if o.Port == nil || o.Port.Neighbour || o.Port.LinkUp || !o.Port.LinkKnown || o.Port.Name != "Gi1/0/1" ||
		o.Power == nil || o.Power.State != presence.PowerSearching || o.Identity == nil || o.Identity.MAC != "0011AABBCC01" {
		t.Errorf("alice: %+v %+v %+v", o.Port, o.Power, o.Identity)
	}
	o = got[presence.Key{Source: "lan/sw1", Subject: bob}]
	if o.Port == nil || !o.Port.AdminDown || o.Power == nil || o.Power.State != presence.PowerDisabled {
		t.Errorf("bob: %+v %+v", o.Port, o.Power)
	}

	// And over a restart, before anything was listed again.
	again := newBench(t, sw1(a), snmp.Options{})
	again.drawer.kept = b.drawer.kept
	again.restore(again.targets())
	o = again.poll(t, "sw1")[presence.Key{Source: "lan/sw1", Subject: alice}]
	if o.Port == nil || o.Port.Neighbour || o.Port.LinkUp || o.Identity.Model != "Cisco IP Phone 7841" {
		t.Errorf("after a restart: %+v", o.Port)
	}

	// Another phone on the port: nothing is said of the old one any more.
	a.Set(aSwitch(t, aPort{n: 1, phone: "SEP0011AABBCC03", watts: 3900}, aPort{n: 2, off: true}))
	got = b.poll(t, "sw1")
	if o, ok := got[presence.Key{Source: "lan/sw1", Subject: alice}]; !ok || o.Port != nil || o.Identity != nil {
		t.Errorf("replaced: %v %+v", ok, o.Facts)
	}
	if _, ok := b.poll(t, "sw1")[presence.Key{Source: "lan/sw1", Subject: alice}]; ok {
		t.Error("a replaced phone is told of again and again")
	}
}

func TestPlacesAreWrittenOnlyWhenTheyChange(t *testing.T) {
	a := snmptest.Start(t, "public", aSwitch(t, aPort{n: 1, phone: alice, watts: 3900}))
	b := newBench(t, sw1(a), snmp.Options{})
	for i := range 5 {
		a.Set(aSwitch(t, aPort{n: 1, phone: alice, watts: 3900 + 50*i}))
		o := b.poll(t, "sw1")[presence.Key{Source: "lan/sw1", Subject: alice}]
		if o.Power.Watts != 3.9 {
			t.Errorf("%v W is no news", o.Power.Watts)
		}
	}
	if b.drawer.puts != 1 {
		t.Errorf("%d writes, want 1", b.drawer.puts)
	}
	a.Set(aSwitch(t, aPort{n: 1, phone: alice, watts: 6000}))
	if o := b.poll(t, "sw1")[presence.Key{Source: "lan/sw1", Subject: alice}]; o.Power.Watts != 6 {
		t.Errorf("%v W, want 6", o.Power.Watts)
	}
}

// A walk cut short makes nobody disappear: what was not read grows old.
func TestAPartialReadingKeepsOlderRows(t *testing.T) {
	cdp := []uint32{1, 3, 6, 1, 4, 1, 9, 9, 23}
	tests := map[string]func(snmptest.Request, *snmptest.Answer){
		"genErr in CDP": func(r snmptest.Request, a *snmptest.Answer) {
			if slices.Equal(r.OIDs[0][:9], cdp) {
				a.Status, a.Index, a.Vars = 5, 1, nil
			}
		},
		"silence from CDP on": func(r snmptest.Request, a *snmptest.Answer) { a.Drop = slices.Equal(r.OIDs[0][:9], cdp) },
	}
	for name, twist := range tests {
		t.Run(name, func(t *testing.T) {
			a := snmptest.Start(t, "public", aSwitch(t, aPort{n: 1, phone: alice, watts: 3900}, aPort{n: 2, phone: bob, watts: 3900}))
			b := newBench(t, sw1(a), snmp.Options{})
			b.poll(t, "sw1")
			before := len(b.heart.All())
			a.Set(aSwitch(t, aPort{n: 1, phone: alice, watts: 3900}, aPort{n: 2, down: true}))
			a.Twist(twist)
			err := b.visit(t.Context(), "sw1")
			if strings.HasPrefix(name, "genErr") != (err == nil) {
				t.Errorf("visit: %v", err)
			}
			obs := b.heart.All()[before:]
			for _, o := range obs {
				if o.Device == alice {
					t.Errorf("alice was not read, and yet is told: %+v", o.Port)
				}
			}
			if len(obs) != 1 || obs[0].Device != bob || obs[0].Port.LinkUp {
				t.Errorf("bob's port was read, and has no link: %+v", obs)
			}
			if n := strings.Count(b.log.String(), "read in part"); n != 1 || !strings.Contains(b.log.String(), "cdpCacheTable") {
				t.Errorf("%d lines about it:\n%s", n, b.log)
			}
			b.visit(t.Context(), "sw1")
			if n := strings.Count(b.log.String(), "read in part"); n != 1 {
				t.Errorf("and again:\n%s", b.log)
			}
		})
	}
}

func TestAMovedPhoneIsToldAtOnePlace(t *testing.T) {
	a1 := snmptest.Start(t, "public", aSwitch(t, aPort{n: 1, phone: alice, watts: 3900}))
	a2 := snmptest.Start(t, "public", aSwitch(t, aPort{n: 7}))
	b := newBench(t, Config{Switches: []Switch{at(a1, "sw1"), at(a2, "sw2")}}, snmp.Options{})
	b.poll(t, "sw1")
	b.poll(t, "sw2")

	// The new switch lists it first; the old one has noticed nothing yet.
	a2.Set(aSwitch(t, aPort{n: 7, phone: alice, watts: 3900}))
	if got := b.poll(t, "sw2"); len(got) != 0 {
		t.Errorf("two places at one time: %v", got)
	}
	// The old port loses link; CDP there still lists the phone (hold time).
	a1.Set(aSwitch(t, aPort{n: 1, phone: alice, down: true}))
	b.poll(t, "sw1")
	got := b.poll(t, "sw2")
	if o := got[presence.Key{Source: "lan/sw2", Subject: alice}]; o.Port == nil || o.Port.Name != "Gi1/0/7" {
		t.Errorf("not told at its new place: %v", got)
	}
	if o, ok := got[presence.Key{Source: "lan/sw1", Subject: alice}]; !ok || o.Port != nil {
		t.Errorf("the old switch's word stands: %+v", o.Facts)
	}
	if got := b.poll(t, "sw1"); len(got) != 0 {
		t.Errorf("the stale row takes it back: %v", got)
	}
	b.Doubt(alice)
	b.Doubt("SEPFFFFFFFFFFFF")
	if len(b.queue.hastened) != 1 || b.queue.hastened[0] != "sw2" {
		t.Errorf("hastened %v, want sw2", b.queue.hastened)
	}
}

func TestNoPacketLeavesForAnAddressThatIsNotListed(t *testing.T) {
	dir, ok := snmptest.Recordings(t)
	if !ok {
		t.Log("no ../shared/recordings: discovery among real neighbours was not checked")
		return
	}
	var mu sync.Mutex
	var dialled []netip.AddrPort
	opts := snmp.Options{Gate: func(to netip.AddrPort) error {
		mu.Lock()
		defer mu.Unlock()
		dialled = append(dialled, to)
		return nil
	}}
	var cfg Config
	listed := map[netip.AddrPort]bool{}
	n := 0
	for i, r := range recordings {
		if r.neighbours < 3 {
			continue
		}
		n++
		vars, err := snmptest.Load(filepath.Join(dir, r.path+".snmprec"))
		if err != nil {
			t.Fatal(err)
		}
		a := snmptest.Start(t, "public", vars)
		cfg.Switches = append(cfg.Switches, at(a, fmt.Sprintf("sw%d", i)))
		listed[a.Addr] = true
	}
	cfg.Discovery.Depth = 2 // allow is empty
	b := newBench(t, cfg, opts)
	found, err := b.Discover(t.Context())
	if err != nil || len(found) == 0 {
		t.Fatalf("%d phones, %v", len(found), err)
	}
	b.poll(t, cfg.Switches[0].Name)
	for _, to := range dialled {
		if !listed[to] || !to.Addr().IsLoopback() {
			t.Errorf("%v was contacted", to)
		}
	}
	if len(b.targets()) != n || len(dialled) != n+1 {
		t.Errorf("%d targets, %d sockets for %d switches", len(b.targets()), len(dialled), n)
	}
}

// Phones are told of to who asks them, where they may be contacted.
func TestPhonesInsideAllowAreTold(t *testing.T) {
	a := snmptest.Start(t, "public", aSwitch(t, aPort{n: 1, phone: alice, watts: 3900}, aPort{n: 2, phone: bob, watts: 3900},
		aPort{n: 3, phone: "SEP0011AABBCC03", down: true})) // its row is left over
	for _, tt := range []struct {
		allow []string
		depth int
		want  string
	}{
		{nil, 2, ""},
		{[]string{"10.0.0.0/8"}, 0, ""},
		{[]string{"10.1.1.2"}, 1, bob + "@10.1.1.2"},
		{[]string{"10.1.1.0/24"}, 1, alice + "@10.1.1.1 " + bob + "@10.1.1.2"},
		{[]string{"192.168.0.0/16"}, 2, ""},
	} {
		cfg := sw1(a)
		cfg.Discovery = Discovery{Allow: tt.allow, Depth: tt.depth}
		b := newBench(t, cfg, snmp.Options{})
		var told []string
		b.needs.Found = func(name string, addr netip.Addr) { told = append(told, fmt.Sprint(name, "@", addr)) }
		b.poll(t, "sw1")
		slices.Sort(told)
		if got := strings.Join(told, " "); got != tt.want {
			t.Errorf("allow %v depth %d: %s, want %s", tt.allow, tt.depth, got, tt.want)
		}
	}
}

func TestNeighbourSwitchesInsideAllowAreFollowed(t *testing.T) {
	rows := aSwitch(t, aPort{n: 1, phone: alice, watts: 3900})
	// Two neighbours that are switches, one of them inside what may be allowed.
	rows = append(rows, snmptest.Rows(t,
		"1.3.6.1.4.1.9.9.23.1.2.1.1.4.10148.1|4x|7f000002", "1.3.6.1.4.1.9.9.23.1.2.1.1.6.10148.1|4|access-2.example.com",
		"1.3.6.1.4.1.9.9.23.1.2.1.1.8.10148.1|4|cisco WS-C2960X", "1.3.6.1.4.1.9.9.23.1.2.1.1.9.10148.1|4x|00000028",
		"1.3.6.1.4.1.9.9.23.1.2.1.1.4.10147.1|4x|0a636363", "1.3.6.1.4.1.9.9.23.1.2.1.1.6.10147.1|4|elsewhere",
		"1.3.6.1.4.1.9.9.23.1.2.1.1.9.10147.1|4x|00000028")...)
	first := snmptest.Start(t, "public", rows)
	for _, tt := range []struct {
		allow []string
		depth int
		want  string
	}{
		{nil, 2, "sw1"},
		{[]string{"127.0.0.0/8"}, 0, "sw1"},
		{[]string{"127.0.0.0/8"}, 2, "access-2.example.com sw1"},
		{[]string{"127.0.0.2"}, 1, "access-2.example.com sw1"},
	} {
		cfg := sw1(first)
		cfg.Discovery = Discovery{Allow: tt.allow, Depth: tt.depth}
		b := newBench(t, cfg, snmp.Options{Gate: func(to netip.AddrPort) error {
			if !to.Addr().IsLoopback() {
				t.Errorf("%v was contacted", to)
			}
			return nil
		}})
		b.poll(t, "sw1")
		var names []string
		for _, target := range b.targets() {
			names = append(names, target.Key)
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("allow %v depth %d: %s, want %s", tt.allow, tt.depth, got, tt.want)
		}
	}
}
