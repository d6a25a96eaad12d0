package lan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/snmp"
	"pilotlight/drivers/internal/snmp/snmptest"
)

// readRows reads a switch that is made of these rows.
func readRows(t *testing.T, lines ...string) *reading {
	t.Helper()
	a := snmptest.Start(t, "public", snmptest.Rows(t, lines...))
	d := newDriver(t, Config{Switches: []Switch{at(a, "sw")}}, Needs{})
	r, err := d.read(t.Context(), d.switches["sw"])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// PoE counts group and port; which interface that is differs by make.
func TestPoEPortsAreJoinedToInterfaces(t *testing.T) {
	const (
		name = "1.3.6.1.2.1.31.1.1.1.1."
		poe  = "1.3.6.1.2.1.105.1.1.1.6."
		base = "1.3.6.1.2.1.17.1.4.1.2."
		mw   = "1.3.6.1.4.1.9.9.402.1.2.1.9."
		part = "1.3.6.1.4.1.9.9.402.1.2.1.11."
		ent  = "1.3.6.1.2.1.47.1.1.1.1.7."
	)
	tests := []struct{ what, lines, want string }{
		{"stack: group is the member",
			name + "10103|4|Gi1/0/3 " + name + "10603|4|Gi2/0/3 " + name + "10653|4|Te2/1/3 " + poe + "2.3|2|3", "Gi2/0/3"},
		{"module and port", name + "12|4|2/4 " + poe + "2.4|2|3", "2/4"},
		{"entPhysicalName, in the long form", name + "10106|4|Gi0/6 " + name + "10104|4|Gi0/4 " + poe + "1.6|2|3 " + mw + "1.6|66|6300 " + part + "1.6|2|1009 " + ent + "1009|4|GigabitEthernet0/4", "Gi0/4"},
		{"C3560: the bridge port", name + "10004|4|Fa0/4 " + name + "10006|4|Fa0/6 " + base + "6|2|10004 " + base + "8|2|10006 " + poe + "1.6|2|3", "Fa0/4"},
		{"one group, port as a name", name + "7|4|7 " + poe + "1.7|2|3", "7"},
		{"two groups and no names: not known", name + "7|4|a " + poe + "1.7|2|3 " + poe + "2.7|2|3", ""},
		{"two names for one slot: not known", name + "3|4|Gi1/0/3 " + name + "4|4|Te1/0/3 " + name + "5|4|x " + base + "9|2|5 " + poe + "1.3|2|3", ""},
		{"a port that is gone", name + "3|4|Gi1/0/3 " + poe + "1.48|2|3", ""},
	}
	for _, tt := range tests {
		var got []string
		for _, p := range readRows(t, strings.Fields(tt.lines)...).ports.byIndex {
			if p.power != nil {
				got = append(got, p.name)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s: power at %q, want %q", tt.what, got, tt.want)
		}
	}
}

func TestPowerIsReadInWordsAndWatts(t *testing.T) {
	const poe, ext = "1.3.6.1.2.1.105.1.1.1.6.1.1|2|", " 1.3.6.1.4.1.9.9.402.1.2.1."
	tests := map[string]*presence.Power{
		poe + "1": {State: presence.PowerDisabled}, poe + "2": {State: presence.PowerSearching}, poe + "3": {State: presence.PowerDelivering},
		poe + "4": {State: presence.PowerFault}, poe + "6": {State: presence.PowerFault}, poe + "5": nil,
		poe + "3" + ext + "7.1.1|66|7000" + ext + "9.1.1|66|2500": {State: presence.PowerDelivering, Watts: 2.5, Known: true},
		poe + "3" + ext + "7.1.1|66|7000" + ext + "9.1.1|66|0":    {State: presence.PowerDelivering, Watts: 7, Known: true},
		poe + "3" + ext + "9.1.1|66|4294967295":                   {State: presence.PowerDelivering}, // no such power
		poe + "2" + ext + "7.1.1|66|7000":                         {State: presence.PowerSearching},
	}
	for _, lines := range slices.Sorted(maps.Keys(tests)) {
		want := tests[lines]
		got := readRows(t, strings.Fields("1.3.6.1.2.1.31.1.1.1.1.1|4|Gi1/0/1 "+lines)...).ports.byIndex[1].power
		if (got == nil) != (want == nil) || got != nil && *got != *want {
			t.Errorf("%s: %+v, want %+v", lines, got, want)
		}
	}
}

// LLDP's local port number is no ifIndex, except where it is.
func TestLLDPPortsAreJoinedToInterfaces(t *testing.T) {
	const (
		name  = "1.3.6.1.2.1.31.1.1.1.1."
		mac   = "1.3.6.1.2.1.2.2.1.6."
		base  = "1.3.6.1.2.1.17.1.4.1.2."
		rem   = "1.0.8802.1.1.2.1.4.1.1.9."
		sub   = "1.0.8802.1.1.2.1.3.7.1.2."
		id    = "1.0.8802.1.1.2.1.3.7.1.3."
		descr = "1.0.8802.1.1.2.1.3.7.1.4."
		phone = "|4|SEP0011AABBCC01 "
	)
	tests := []struct{ what, lines, want string }{
		{"interface name", rem + "0.7.1" + phone + name + "7|4|Fa0/1 " + name + "10007|4|Gi0/7 " + sub + "7|2|5 " + id + "7|4|Gi0/7", "Gi0/7"},
		{"description in the long form", rem + "0.7.1" + phone + name + "10007|4|Gi0/7 " + descr + "7|4|GigabitEthernet0/7", "Gi0/7"},
		{"OmniSwitch: the ifIndex as text", rem + "1.275.460" + phone + name + "3019|4|3/19 " + sub + "275|2|7 " + id + "275|4|3019", "3/19"},
		{"MAC of the port", rem + "0.2.1" + phone + name + "9|4|eth9 " + mac + "9|4x|0200000000aa " + sub + "2|2|3 " + id + "2|4x|0200000000aa", "eth9"},
		{"IOS: the bridge port", rem + "0.1.1" + phone + name + "1|4|Vl1 " + name + "10101|4|Gi0/1 " + base + "1|2|10101", "Gi0/1"},
		{"NX-OS: the ifIndex", rem + "0.436404224.1" + phone + name + "436404224|4|Ethernet1/49", "Ethernet1/49"},
		{"no interface table: the local name", rem + "0.7.1" + phone + sub + "7|2|5 " + id + "7|4|Gi0/1/7", "Gi0/1/7"},
		{"MikroTik: the remote index alone", rem + "77" + phone + name + "3|4|ether3", "unknown"},
	}
	for _, tt := range tests {
		r := readRows(t, strings.Fields(tt.lines)...)
		if len(r.phones) != 1 || r.phones[0].portName() != tt.want {
			t.Errorf("%s: %+v, want it on %s", tt.what, r.phones, tt.want)
		}
	}
}

func TestCapabilitiesDecideWhoIsAPhone(t *testing.T) {
	const supported, enabled, class = "1.0.8802.1.1.2.1.4.1.1.11.0.1.1|", "\n1.0.8802.1.1.2.1.4.1.1.12.0.1.1|", "\n1.0.8802.1.1.2.1.5.4795.1.3.1.1.3.0.1.1|2|"
	tests := map[string]bool{
		supported + "4x|24" + enabled + "4x|24": true, supported + "4x|24" + enabled + "4x|04": true,
		supported + "4x|24" + enabled + "4x|20": false, // could be a phone, is not one now
		supported + "4x|2400":                   true, supported + "4x|28000000": false,
		supported + "2|36":  true,                              // MikroTik: wire order
		supported + "4x|36": false, supported + "4x|2c": false, // access point, router
		supported + "4x|36382031": false, supported + "4|68 1 2 4": false, // rendered as text
		supported + "4x|00" + class + "3": true, supported + "4x|00" + class + "4": false, supported + "4x|10" + class + "3": false,
	}
	for _, lines := range slices.Sorted(maps.Keys(tests)) {
		r := readRows(t, strings.Split(lines, "\n")...)
		if got := len(r.phones) == 1; got != tests[lines] {
			t.Errorf("%s: phone %v", lines, got)
		}
	}
}

// Two phones that call themselves by their model are two phones, and keep
// their names while both are there.
func TestPhonesOfOneNameAreKeptApart(t *testing.T) {
	phone := func(port, mac string) string {
		return "1.0.8802.1.1.2.1.4.1.1.9.0." + port + ".1|4|SIP-T41S 1.0.8802.1.1.2.1.4.1.1.12.0." + port + ".1|4x|04 " +
			"1.0.8802.1.1.2.1.4.1.1.6.0." + port + ".1|2|3 1.0.8802.1.1.2.1.4.1.1.7.0." + port + ".1|4x|" + mac + " "
	}
	r := readRows(t, strings.Fields(phone("1", "805e0c4617ed")+phone("2", "805e0c461604"))...)
	if len(r.phones) != 2 || r.phones[0].name != "SIP-T41S" || r.phones[1].name != "SIP-T41S-461604" {
		t.Fatalf("%+v", r.phones)
	}
	r.phones = nil
	r.name("sw", func(string, netip.Addr) (string, bool) { return "", false }, func(name string) string {
		if name == "SIP-T41S" {
			return "805E0C461604" // as remembered
		}
		return ""
	})
	if r.phones[0].name != "SIP-T41S-4617ED" || r.phones[1].name != "SIP-T41S" {
		t.Errorf("%s %s", r.phones[0].name, r.phones[1].name)
	}
	r.phones = nil
	r.name("sw", func(mac string, _ netip.Addr) (string, bool) { return "reception", mac == "805E0C461604" }, func(string) string { return "" })
	if r.phones[1].name != "reception" {
		t.Errorf("a configured phone goes by its name there, not %s", r.phones[1].name)
	}
}

func TestOnePhoneWithCDPAndLLDPIsOne(t *testing.T) {
	r := readRows(t, "1.3.6.1.4.1.9.9.23.1.2.1.1.6.10101.4|4|SEP0011AABBCC01", "1.3.6.1.4.1.9.9.23.1.2.1.1.8.10101.4|4|Cisco IP Phone 7841",
		"1.3.6.1.2.1.31.1.1.1.1.10101|4|Gi1/0/1", "1.0.8802.1.1.2.1.3.7.1.3.1|4|Gi1/0/1", "1.0.8802.1.1.2.1.4.1.1.9.0.1.1|4|SEP0011AABBCC01.example.com",
		"1.0.8802.1.1.2.1.5.4795.1.3.3.1.4.0.1.1|4|FCH1610A5S5")
	if len(r.phones) != 1 || r.phones[0].name != alice || r.phones[0].serial != "FCH1610A5S5" || r.phones[0].portName() != "Gi1/0/1" {
		t.Errorf("%+v", r.phones)
	}
}

func TestReadingAHostileSwitchStaysBounded(t *testing.T) {
	var lines []string
	for i := range maxPhones + 100 {
		lines = append(lines, fmt.Sprintf("1.3.6.1.4.1.9.9.23.1.2.1.1.6.1.%d|4|SEP0011AABB%04X", i+1, i))
	}
	a := snmptest.Start(t, "public", snmptest.Rows(t, lines...))
	d := newDriver(t, Config{Switches: []Switch{at(a, "sw")}}, Needs{})
	r, err := d.read(t.Context(), d.switches["sw"])
	if err == nil || !snmp.TableOnly(err) || len(r.phones) != maxPhones || !r.partial() {
		t.Errorf("%d phones, %v", len(r.phones), err)
	}
}
