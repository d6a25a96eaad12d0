package panel

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pilotlight/agent/presence"
)

var update = flag.Bool("update", false, "write golden files anew")

// fullPhone is a phone that tells all that a phone can tell.
func fullPhone(now time.Time) presence.Device {
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	return presence.Device{
		Name: "SEP0011AABBCCDD", State: presence.InUse, Since: ago(time.Minute), Cause: presence.OnSRST,
		Diagnosis: "registered with the branch's survivable router", Freshness: presence.Live, AsOf: ago(2 * time.Second),
		Identity: presence.Identity{
			Model: "CP-8845", Serial: "FCH20000001", Firmware: "sip8845_65.14-2-1-0001-28", MAC: "0011AABBCCDD",
			Address: netip.MustParseAddr("10.1.1.20"), Description: "Alice <b>Martin</b> & Co",
		},
		Lines:        []presence.Line{{Number: "1001", State: presence.LineConfirmed, Held: true}, {Number: "1002", Elsewhere: true}},
		Registration: &presence.Registration{Registered: true, Server: "10.1.1.1", Survivable: true},
		Port:         &presence.Port{Switch: "sw1", Name: "GigabitEthernet1/0/1", VLAN: 110, LinkUp: true, LinkKnown: true, Speed: 1e9},
		Power:        &presence.Power{State: presence.PowerDelivering, Watts: 6.3, Known: true},
		Streams: []presence.Stream{{
			Active: true, Codec: "G.722", Remote: netip.MustParseAddrPort("10.1.1.44:20482"), Sent: 12034, Received: 12011, Lost: 4,
			JitterMS: 2.1, MOSLQK: 4.38, AvgMOSLQK: 4.2, MinMOSLQK: 3.9, MaxJitterMS: 17, Concealed: 0.0125,
		}},
		Messages:  &presence.Messages{Waiting: true, New: 2},
		Neighbour: &presence.Neighbour{Switch: "sw1.example.com", Port: "GigabitEthernet1/0/1", Address: netip.MustParseAddr("10.1.1.2")},
		Ethernet: &presence.Ethernet{Ports: []presence.EthernetPort{
			{Name: "network", Speed: "1000 Full", Sent: 5000, Received: 7000, Errors: 1}, {Name: "pc", Speed: "No link"},
		}},
		Log:       &presence.Log{Lines: []string{"10:02:11a Registration failed: TCP timeout", "10:02:31a Registered with SRST"}},
		Screen:    &presence.Screen{Title: "Your current options", Prompt: "Alice", Notify: "CM Fallback Service Operating"},
		Abilities: presence.Abilities{Audio: true, Video: true},
		Owner:     "sip:alice@example.com",
		Because: []presence.Evidence{
			{Source: "dialog/pbx", Says: "line 1001 confirmed", Seen: ago(2 * time.Second), Live: true},
			{Source: "phone/web", Says: "registered to 10.1.1.1", Seen: ago(4 * time.Hour), Live: false},
			{Source: "configuration", Says: "owned by alice", Live: true},
		},
	}
}

// What a phone looks like on the wire is a promise: testdata/phone.json and
// phone-bare.json, of one that tells everything and one that tells nothing.
func TestAPhonesJSON(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := shaper{clock: trueClock{}, now: now}
	full, bare := fullPhone(now), presence.Device{Name: "SEP0011AABBCCEE", State: presence.StateUnknown, Freshness: presence.NeverSeen}
	for name, d := range map[string]*presence.Device{"phone.json": &full, "phone-bare.json": &bare} {
		var got bytes.Buffer
		if err := json.Indent(&got, encode(s.phone(d)), "", "  "); err != nil {
			t.Fatal(err)
		}
		got.WriteByte('\n')
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s (-update writes it anew):\n%s", file, got.Bytes())
		}
	}
}
