package lan

import (
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pilotlight/drivers/internal/snmp"
	"pilotlight/drivers/internal/snmp/snmptest"
)

// Recorded devices, and the phones that CDP or LLDP shows behind each.
var recordings = []struct {
	path       string
	neighbours int // rows of CDP and LLDP
	count      int // phones among them
	some       []Found
}{
	{"phones/P01-catos-ws-c2948g-cdp/public", 5, 3, []Found{
		{Name: "SEP0004F22AD83E", Model: "Polycom SoundPoint IP 335", Port: "2/1", Watts: 5.5},
		{Name: "SIP000628F0FB0A", Model: "Cisco IP Phone 7960", Port: "2/4", Watts: 6.3},
		{Name: "SIP000CCEA217A7", Model: "Cisco IP Phone 7940", Port: "2/46", Watts: 6.3},
	}},
	{"phones/P04-hp-procurve-lldp/public", 7, 1, []Found{{Name: "Polycom-SoundPoint-IP-335", Model: "Polycom SoundPoint IP 335", Port: "44"}}},
	{"phones/P05-omniswitch-os6250-lldpmed/public", 3, 1, []Found{{Name: "001AE8277C8F", Port: "3/19"}}},
	{"phones/P07-c3750-voicevlan-arp/public", 0, 0, nil},
	{"phones/P09-os6250-essen-121/public", 1, 0, nil},
	{"phones/P10-os6250-essen-142/public", 2, 0, nil},
	{"derived/D02-hp2530-48g-21-spa303/public", 21, 21, []Found{
		{Name: "381C1AB57320", Model: "Cisco IP Phone SPA303", Port: "1"},
		{Name: "381C1AB5732B", Model: "Cisco IP Phone SPA303", Port: "13"}, // platform empty
	}},
	{"derived/D04-cer-lab-cdp-deviceid-only/public", 9, 8, []Found{{Name: "SEP00235EB7A757", Port: "ifIndex 10115"}}},
	{"derived/D05-lldpmed-cisco-7962-8811/public", 3, 3, []Found{
		{Name: "SEPC8F9F9D61BC2", Model: "CP-7962G", Port: "Gi0/1/7", VLAN: 10, Watts: 6.3},
		{Name: "SEP00D6FE04293D", Model: "CP-8811", Port: "Gi2/0/11", Watts: 5.9},
	}},
	{"derived/D06-cdp-spa508g-yealink-t29-rows/public", 3, 3, []Found{
		{Name: "SIPE05FB981A7A7", Model: "Cisco IP Phone SPA508G", Port: "ifIndex 24"},
		{Name: "sw-ifIndex-39", Model: "T29", Port: "ifIndex 39"}, // told neither id nor address
	}},
	{"switches/N01-c3560-ios12.2-cdp-lldp-poe/public", 9, 0, nil},
	{"switches/N02-c2960-ios15.0-cdp-lldp/public", 4, 0, nil},
	{"switches/N04-c9400-svl/public", 7, 0, nil},
	{"switches/N05-sg350x-24p/public", 8, 0, nil},
	{"switches/N06-sx550x/public", 11, 0, nil},
	{"switches/N09-c3750-125-cdp-aps/public", 125, 0, nil},
	{"switches/N11-dnos-s4048/public", 4, 0, nil},
	{"switches/N11-dnos-s4048/asis", 4, 0, nil},
	{"switches/N12-fortiswitch-148f-fpoe-ifdescr/public", 7, 0, nil},
	{"switches/N13-nxos-n3k/public", 3, 0, nil},
	{"switches/N13-nxos-n3k/asis", 3, 0, nil},
	{"voice/V02-c2811-ios12.4-fxs/public", 2, 0, nil},
	{"voice/V04-c2691-ios12.4-ccme/public", 3, 0, nil},
	{"voice/V05-isr4321-iosxe17/public", 0, 0, nil},
	{"voice/V06-c7206-ios12.4-ccme/public", 4, 0, nil},
	{"endpoints/E11-poly-studio-x50/public", 0, 0, nil},
}

func TestPhonesOfRecordedSwitchesAreFoundAndPlaced(t *testing.T) {
	dir, ok := snmptest.Recordings(t)
	if !ok {
		t.Log("no ../shared/recordings: what recorded switches show was not checked")
		return
	}
	for _, tt := range recordings {
		t.Run(tt.path, func(t *testing.T) {
			vars, err := snmptest.Load(filepath.Join(dir, tt.path+".snmprec"))
			if err != nil {
				t.Fatal(err)
			}
			a := snmptest.Start(t, "public", vars)
			d := newDriver(t, Config{Switches: []Switch{at(a, "sw")}}, Needs{})
			r, err := d.read(t.Context(), d.switches["sw"])
			if err != nil || len(r.neighbours) != tt.neighbours {
				t.Fatalf("%d neighbours, want %d; %v", len(r.neighbours), tt.neighbours, err)
			}
			found, err := d.Discover(t.Context())
			if err != nil || len(found) != tt.count {
				t.Errorf("%d phones, want %d; %v", len(found), tt.count, err)
			}
			for _, f := range found {
				t.Logf("%+v", f)
				if f.Name != nameFrom(f.Name) || f.Switch != "sw" || f.Port == "" {
					t.Errorf("badly named or placed: %+v", f)
				}
			}
			for _, want := range tt.some {
				i := slices.IndexFunc(found, func(f Found) bool { return f.Name == want.Name })
				if i < 0 {
					t.Errorf("%s is not found", want.Name)
					continue
				}
				got := found[i]
				if got.Model != want.Model || got.Port != want.Port || got.Watts != want.Watts || got.VLAN != want.VLAN && want.VLAN != 0 {
					t.Errorf("%+v\nwant %+v", got, want)
				}
			}
		})
	}
}

func newDriver(t *testing.T, cfg Config, needs Needs) *Driver {
	t.Helper()
	if needs.SNMP == nil {
		c, err := snmp.New(snmp.Config{Credentials: []snmp.Credential{{Name: "ro", Version: "2c", Community: "public"}}}, snmp.Options{})
		if err != nil {
			t.Fatal(err)
		}
		needs.SNMP = c
	}
	d, err := New(cfg, needs, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func at(a *snmptest.Agent, name string) Switch {
	return Switch{Name: name, Address: a.Addr.Addr().String(), Port: a.Addr.Port(), SNMP: "ro"}
}

func TestTextsOfNeighboursAreRead(t *testing.T) {
	for text, want := range map[string]string{
		"SEP0004f22ad83e": "SEP0004F22AD83E", "sip000628F0FB0A": "SIP000628F0FB0A", "SEP0011AABBCCDD.example.com": "SEP0011AABBCCDD",
		"SEP0011AABBCCD": "", "SEP0011AABBCCDDE": "", "Router1": "", "XSEP0011AABBCCDD": "",
	} {
		if got, _, _ := ownName(text); got != want {
			t.Errorf("ownName(%q) = %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"Polycom SoundPoint IP 335": "Polycom-SoundPoint-IP-335", "café/1": "caf-1", "../..": "", "a:b": "a-b",
		strings.Repeat("x", 100): strings.Repeat("x", 64),
	} {
		if got := nameFrom(text); got != want {
			t.Errorf("nameFrom(%q) = %q, want %q", text, got, want)
		}
	}
}
