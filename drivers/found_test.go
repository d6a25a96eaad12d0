package drivers

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pilotlight/agent/ledger"
	"pilotlight/agent/supervise"
	"pilotlight/drivers/internal/snmp"
	"pilotlight/drivers/internal/snmp/snmptest"
	"pilotlight/drivers/lan"
)

// contacts is two phones on one port, and who of them was connected to.
type contacts struct {
	mu   sync.Mutex
	seen map[string]int
}

func (c *contacts) count(host string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen[host]
}

// serve answers as a phone of that model would.
func (c *contacts) serve(t *testing.T, host string, port int) int {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/DeviceInformationX" {
				_, _ = io.WriteString(w, "<DeviceInformation><modelNumber>CP-7841</modelNumber><serialNumber>FCH1</serialNumber></DeviceInformation>")
				return
			}
			http.NotFound(w, r)
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				c.mu.Lock()
				c.seen[host]++
				c.mu.Unlock()
			}
		},
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-done })
	return l.Addr().(*net.TCPAddr).Port
}

// A switch names two phones, which nobody listed. The one inside discovery.allow
// is asked for its pages; of the other the panel shows what the switch says.
func TestAPhoneInsideDiscoveryAllowIsAsked(t *testing.T) {
	const allowed, outside = "SEP0011AABBCC01", "SEP0011AABBCC02"
	hosts := &contacts{seen: map[string]int{}}
	port := hosts.serve(t, "127.0.4.1", 0)
	hosts.serve(t, "127.0.5.1", port)
	agent := snmptest.Start(t, "public", snmptest.Rows(t,
		"1.3.6.1.2.1.1.5.0|4|access-1", "1.3.6.1.2.1.1.1.0|4|Cisco IOS Software",
		"1.3.6.1.4.1.9.9.23.1.2.1.1.4.1.1|4x|7f000401", "1.3.6.1.4.1.9.9.23.1.2.1.1.6.1.1|4|"+allowed,
		"1.3.6.1.4.1.9.9.23.1.2.1.1.8.1.1|4|Cisco IP Phone 7821",
		"1.3.6.1.4.1.9.9.23.1.2.1.1.4.2.1|4x|7f000501", "1.3.6.1.4.1.9.9.23.1.2.1.1.6.2.1|4|"+outside,
		"1.3.6.1.4.1.9.9.23.1.2.1.1.8.2.1|4|Cisco IP Phone 7821"))

	log := slog.New(slog.DiscardHandler)
	l, err := ledger.Open(ledger.Config{Path: filepath.Join(t.TempDir(), "store"), Domain: "example.com", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	c := Defaults()
	c.SIP.Listen = []string{"udp:127.0.0.1:0"}
	c.SNMP.Credentials = []snmp.Credential{{Name: "ro", Version: "2c", Community: "public"}}
	c.Switches = []lan.Switch{{Name: "sw1", Address: "127.0.0.1", Port: agent.Addr.Port(), SNMP: "ro"}}
	c.Discovery.Allow = []string{"127.0.4.0/24"}
	c.PhoneDefaults.WebPort, c.PhoneDefaults.SIPPort = port, -1
	c.Poll = Poll{SIP: time.Second, Web: time.Second, SNMP: time.Second, InFlight: 8}
	built, err := Build(c, Heart{Ledger: l, Domain: "example.com", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = l.Run(ctx) })
	all.Go(func() { _ = supervise.New(log).Run(ctx, append(built.Base, built.Tasks...)...) })
	t.Cleanup(func() { cancel(); all.Wait() })

	feed, err := l.FollowDevices(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	models := map[string]string{}
	within, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	for models[allowed] != "CP-7841" || models[outside] == "" {
		d, err := feed.Next(within)
		if err != nil {
			t.Fatalf("shown: %v: %v", models, err)
		}
		models[d.Name] = d.Identity.Model
	}
	if models[outside] != "Cisco IP Phone 7821" || hosts.count("127.0.4.1") == 0 || hosts.count("127.0.5.1") != 0 {
		t.Errorf("shown: %v; connections: %v", models, hosts.seen)
	}
}
