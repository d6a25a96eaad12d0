package lan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pilotlight/agent"
	"pilotlight/agent/agenttest"
	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
	"pilotlight/agent/schedule"
	"pilotlight/drivers/internal/snmp"
	"pilotlight/drivers/internal/snmp/snmptest"
	"pilotlight/drivers/internal/tell"
)

// refusing is a client whose devices refuse the password.
type refusing struct{ opened int }

func (r *refusing) Has(string) bool { return true }
func (r *refusing) Open(context.Context, snmp.Target) (*snmp.Session, error) {
	r.opened++
	return nil, &snmp.Error{Target: "10.1.1.2", Doing: "get", Err: agent.Permanent(snmp.ErrPassword)}
}

func TestARefusedPasswordIsNotTriedEachMinute(t *testing.T) {
	client := &refusing{}
	log := &bytes.Buffer{}
	d, err := New(Config{Switches: []Switch{{Name: "sw1", Address: "10.1.1.2", SNMP: "v3"}}},
		Needs{SNMP: client, Heart: &agenttest.Recorder{}, Queue: &queue{}, Drawer: &drawer{}}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := d.visit(t.Context(), "sw1"); !errors.Is(err, snmp.ErrPassword) {
			t.Errorf("%v", err)
		}
	}
	if client.opened != 1 {
		t.Errorf("tried %d times, want once", client.opened)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d log lines:\n%s", n, log)
	}
}

func TestASilentSwitchIsLoggedOnceAndTellsNothing(t *testing.T) {
	a := snmptest.Start(t, "another", nil)
	b := newBench(t, sw1(a), snmp.Options{Timeout: 10 * time.Millisecond})
	for range 3 {
		err := b.visit(t.Context(), "sw1")
		if schedule.Outcome(err) != "timeout" {
			t.Errorf("%v", err)
		}
	}
	if len(b.heart.All()) != 0 || strings.Count(b.log.String(), "\n") != 1 {
		t.Errorf("%v\n%s", b.heart.All(), b.log)
	}
}

// choosy is a heart that refuses one device.
type choosy struct {
	agenttest.Recorder
	device string
}

func (c *choosy) Observe(ctx context.Context, all ...presence.Observation) error {
	_ = c.Recorder.Observe(ctx, all...)
	for _, o := range all {
		if o.Device == c.device {
			return fmt.Errorf("device %s: %w", o.Device, ledger.ErrFull)
		}
	}
	return nil
}

// What the heart refuses of one phone is said once. The switch is well: it is
// polled as often as before, and the places of its phones are kept.
func TestARefusedPhoneIsNoFaultOfItsSwitch(t *testing.T) {
	a := snmptest.Start(t, "public", aSwitch(t, aPort{n: 1, phone: alice, watts: 3900}, aPort{n: 2, phone: bob, watts: 3900}))
	b := newBench(t, sw1(a), snmp.Options{})
	heart := &choosy{device: alice}
	b.Driver.heart = tell.New(heart, b.Driver.log)
	for range 3 {
		if err := b.visit(t.Context(), "sw1"); err != nil {
			t.Errorf("the visit failed: %v", err)
		}
	}
	if n := strings.Count(b.log.String(), "refused by the heart"); n != 1 {
		t.Errorf("said %d times:\n%s", n, b.log)
	}
	if b.drawer.puts != 1 {
		t.Errorf("%d writes of the places", b.drawer.puts)
	}
}

func TestConfigurationFaultsAreNamed(t *testing.T) {
	tests := []struct {
		cfg  Config
		want string
	}{
		{Config{Switches: []Switch{{Name: "sw 1", Address: "10.0.0.1", SNMP: "ro"}}}, "want a name"},
		{Config{Switches: []Switch{{Name: "sw1", Address: "10.0.0", SNMP: "ro"}}}, "want an IP address"},
		{Config{Switches: []Switch{{Name: "sw1", Address: "10.0.0.1", SNMP: "rw"}}}, "snmp.credentials"},
		{Config{Switches: []Switch{{Name: "sw1", Address: "10.0.0.1", SNMP: "ro"}, {Name: "sw1", Address: "10.0.0.2", SNMP: "ro"}}}, "listed twice"},
		{Config{Discovery: Discovery{Allow: []string{"10.0.0.0/33"}}}, "want a network"},
		{Config{Discovery: Discovery{Depth: 99}}, "depth"},
	}
	c, err := snmp.New(snmp.Config{Credentials: []snmp.Credential{{Name: "ro", Version: "2c", Community: "public"}}}, snmp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		if _, err := New(tt.cfg, Needs{SNMP: c}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want … %s", tt.cfg, err, tt.want)
		}
	}
}

func TestTheContractOfDrivers(t *testing.T) {
	a := snmptest.Start(t, "public", aSwitch(t, aPort{n: 1, phone: alice, watts: 3900}))
	agenttest.Suite(t, func(t *testing.T, r *agenttest.Recorder) agent.Driver {
		c, err := snmp.New(snmp.Config{Credentials: []snmp.Credential{{Name: "ro", Version: "2c", Community: "public"}}}, snmp.Options{})
		if err != nil {
			t.Fatal(err)
		}
		q := schedule.New("snmp", schedule.Options{Every: 50 * time.Millisecond})
		cfg := sw1(a)
		cfg.Switches = append(cfg.Switches, Switch{Name: "dead", Address: "127.0.0.1", Port: 1, SNMP: "ro"})
		d, err := New(cfg, Needs{SNMP: c, Heart: r, Queue: q, Drawer: &drawer{}}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

func TestProbeExplains(t *testing.T) {
	a := snmptest.Start(t, "public", append(aSwitch(t), snmptest.Rows(t, "1.3.6.1.2.1.1.3.0|67|360000", "1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.9.1.1208")...))
	b := newBench(t, sw1(a), snmp.Options{})
	got, err := Probe(t.Context(), b.needs.SNMP, snmp.Target{Addr: a.Addr, Credential: "ro"})
	if err != nil || got.Name != "access-1" || got.Uptime != time.Hour || got.ObjectID != "1.3.6.1.4.1.9.1.1208" {
		t.Errorf("%+v, %v", got, err)
	}
	if s := got.String(); !strings.Contains(s, "answered in") || strings.Contains(s, "public") {
		t.Error(s)
	}
}

// The whole loop, with the real queue: a phone is unplugged, and that is told.
func TestRunTellsOfAnUnpluggedPhone(t *testing.T) {
	a := snmptest.Start(t, "public", aSwitch(t, aPort{n: 1, phone: alice, watts: 3900}))
	c, err := snmp.New(snmp.Config{Credentials: []snmp.Credential{{Name: "ro", Version: "2c", Community: "public"}}}, snmp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	heart := &agenttest.Recorder{}
	q := schedule.New("snmp", schedule.Options{Every: time.Minute})
	d, err := New(sw1(a), Needs{SNMP: c, Heart: heart, Queue: q, Drawer: &drawer{}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	told := func(up bool) func(presence.Observation) bool {
		return func(o presence.Observation) bool { return o.Device == alice && o.Port != nil && o.Port.LinkUp == up }
	}
	waitSet(t, q)
	q.Hasten("sw1", 0)
	heart.Wait(t, 5*time.Second, told(true))
	a.Set(aSwitch(t, aPort{n: 1, down: true}))
	d.Doubt(alice)
	heart.Wait(t, 5*time.Second, told(false))
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
}

// waitSet waits until Run has told the queue its targets.
func waitSet(t *testing.T, q *schedule.Queue) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); q.Stats().Targets == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no targets")
		}
	}
}

func FuzzTextsOfNeighbours(f *testing.F) {
	for _, s := range []string{alice, "7.5.2Cisco IP Phone SPA3", "Cisco IP Phone 7962G,V12, SCCP42.9-3-1ES27S", "a:b/../c", "", "\xff"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, self, platform string) {
		name := deviceName(neighbour{self: self}, func(string, netip.Addr) (string, bool) { return "", false })
		if strings.ContainsAny(name, ":/ ") || len(name) > 64 || nameFrom(name) != name {
			t.Errorf("name %q from %q", name, self)
		}
		if own, mac, ok := ownName(self); ok && (len(own) != 15 || len(mac) != 12) {
			t.Errorf("%q %q from %q", own, mac, self)
		}
		modelOf(platform, self)
		splitDescr(platform)
		slotOf(shortName(self))
	})
}
