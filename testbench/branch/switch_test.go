package branch

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"
)

// manager is an independent SNMP manager for a switch.
func manager(t *testing.T, s SwitchInfo, community string) *gosnmp.GoSNMP {
	t.Helper()
	g := &gosnmp.GoSNMP{Target: s.Address, Port: uint16(s.Port), Community: community, Version: gosnmp.Version2c,
		Timeout: 500 * time.Millisecond, MaxOids: 60, MaxRepetitions: 40}
	must(t, g.Connect())
	t.Cleanup(func() { g.Conn.Close() })
	return g
}

// walk is a column as a map from index to value.
func walk(t *testing.T, g *gosnmp.GoSNMP, root string) map[string]any {
	t.Helper()
	list, err := g.BulkWalkAll(root)
	must(t, err)
	m := map[string]any{}
	for _, v := range list {
		m[v.Name[len(root)+2:]] = v.Value
	}
	return m
}

func text(v any) string {
	b, _ := v.([]byte)
	return string(b)
}

const (
	cdpID      = "1.3.6.1.4.1.9.9.23.1.2.1.1.6"
	cdpAddress = "1.3.6.1.4.1.9.9.23.1.2.1.1.4"
	operStatus = "1.3.6.1.2.1.2.2.1.8"
	poeState   = "1.3.6.1.2.1.105.1.1.1.6"
	poeDrawn   = "1.3.6.1.4.1.9.9.402.1.2.1.9"
	lldpName   = "1.0.8802.1.1.2.1.4.1.1.9"
)

func TestTheSwitchListsEveryPhoneWithItsAddress(t *testing.T) {
	b := start(t, Options{Phones: 60})
	g := manager(t, b.Switch(), "public")
	ids, addresses := walk(t, g, cdpID), walk(t, g, cdpAddress)
	at := map[string]string{}
	for index, v := range ids {
		at[text(v)] = index
	}
	for i, p := range b.Phones() {
		ifIndex := 10101 + i
		if i >= 48 {
			ifIndex = 10601 + i - 48 // the second member of the stack
		}
		want := fmt.Sprintf("%d.1", ifIndex)
		if at[p.Name] != want {
			t.Fatalf("%s on %s: CDP row %q, want %q", p.Name, p.SwitchPort, at[p.Name], want)
		}
		var dotted string
		if a := text(addresses[want]); len(a) == 4 {
			dotted = fmt.Sprintf("%d.%d.%d.%d", a[0], a[1], a[2], a[3])
		}
		if dotted != p.Address {
			t.Errorf("%s: CDP address %s, want %s", p.Name, dotted, p.Address)
		}
	}
	if len(ids) != 61 {
		t.Errorf("%d CDP rows, want 60 phones and the router", len(ids))
	}
	med := 0
	for _, p := range b.phones {
		if p.med {
			med++
		}
	}
	if n := len(walk(t, g, lldpName)); n != med || n == 0 {
		t.Errorf("%d LLDP rows, want %d", n, med)
	}
}

func TestUnplugShowsOnTheSwitchAtOnceAndInCDPAfterTheHoldTime(t *testing.T) {
	b := start(t, Options{Phones: 4, Speed: 5})
	g := manager(t, b.Switch(), "public")
	p := b.Phones()[2]
	if s := walk(t, g, poeState)["1.3"]; s != poeDelivering {
		t.Errorf("power before: %v", s)
	}
	must(t, b.Unplug(p.Name))
	if s := walk(t, g, operStatus)["10103"]; s != down {
		t.Errorf("link after: %v", s)
	}
	if s := walk(t, g, poeState)["1.3"]; s != poeSearching {
		t.Errorf("power after: %v", s)
	}
	if text(walk(t, g, cdpID)["10103.1"]) != p.Name {
		t.Error("the CDP row was gone before its hold time")
	}
	eventually(t, "the CDP row goes", func() bool { return walk(t, g, cdpID)["10103.1"] == nil })
	must(t, b.Plug(p.Name))
	if s := walk(t, g, operStatus)["10103"]; s != up {
		t.Errorf("link when plugged in again: %v", s)
	}
	eventually(t, "a new CDP row comes", func() bool { return text(walk(t, g, cdpID)["10103.2"]) == p.Name })
}

func TestAPhoneDrawsMoreInACall(t *testing.T) {
	b := start(t, Options{Phones: 2})
	g := manager(t, b.Switch(), "public")
	idle := walk(t, g, poeDrawn)["1.1"]
	must(t, b.Call(b.Phones()[0].Name, b.Phones()[1].Name))
	if talk := walk(t, g, poeDrawn)["1.1"]; talk.(uint) <= idle.(uint) || idle.(uint) == 0 {
		t.Errorf("%v mW idle, %v mW in a call", idle, talk)
	}
}

func TestTheSwitchAnswersAsRFC3416Says(t *testing.T) {
	b := start(t, Options{Phones: 4})
	g := manager(t, b.Switch(), "public")
	got, err := g.Get([]string{"1.3.6.1.2.1.1.5.0", "1.3.6.1.2.1.1.5.7", "1.3.6.1.4.1.99999.1.0"})
	must(t, err)
	if v := got.Variables; text(v[0].Value) != "sw1.example.com" || v[1].Type != gosnmp.NoSuchInstance || v[2].Type != gosnmp.NoSuchObject {
		t.Errorf("GET: %v", v)
	}
	end, err := g.GetNext([]string{"2.1"})
	must(t, err)
	if end.Variables[0].Type != gosnmp.EndOfMibView {
		t.Errorf("GETNEXT at the end: %v", end.Variables[0])
	}
	set, err := g.Set([]gosnmp.SnmpPDU{{Name: "1.3.6.1.2.1.1.6.0", Type: gosnmp.OctetString, Value: "x"}})
	must(t, err)
	if set.Error != gosnmp.NotWritable {
		t.Errorf("SET: %v", set.Error)
	}
	one, err := g.WalkAll("1.3.6.1.2.1.2.2.1") // by GETNEXT
	must(t, err)
	bulk, err := g.BulkWalkAll("1.3.6.1.2.1.2.2.1")
	must(t, err)
	if len(one) != len(bulk) || len(one) < 48*8 {
		t.Errorf("ifTable: %d objects one by one, %d in bulk", len(one), len(bulk))
	}
}

func TestTheSwitchKeepsSilentToStrangersAndWhenCut(t *testing.T) {
	b := start(t, Options{Phones: 2})
	stranger := manager(t, b.Switch(), "private")
	if _, err := stranger.Get([]string{"1.3.6.1.2.1.1.5.0"}); err == nil {
		t.Error("a wrong community got an answer")
	}
	old := manager(t, b.Switch(), "public")
	old.Version = gosnmp.Version1
	if _, err := old.Get([]string{"1.3.6.1.2.1.1.5.0"}); err == nil {
		t.Error("SNMPv1 got an answer")
	}
	g := manager(t, b.Switch(), "public")
	b.CutSwitches(true)
	if _, err := g.Get([]string{"1.3.6.1.2.1.1.5.0"}); err == nil {
		t.Error("a cut switch answered")
	}
	b.CutSwitches(false)
	if _, err := g.Get([]string{"1.3.6.1.2.1.1.5.0"}); err != nil {
		t.Errorf("mended: %v", err)
	}
}

func TestTheSwitchServesARecording(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.snmprec")
	rec := "1.3.6.1.2.1.1.3.0|67|4711\n1.3.6.1.2.1.1.1.0|4|a switch, recorded\n1.3.6.1.2.1.1.2.0|6|1.3.6.1.4.1.9.1.1\n" +
		"1.3.6.1.4.1.9.9.23.1.2.1.1.4.7.1|4x|c0000201\n1.3.6.1.2.1.31.1.1.1.6.1|70|18446744073709551615\n" +
		"1.3.6.1.2.1.4.20.1.1.192.0.2.1|64|192.0.2.1\n1.3.6.1.2.1.2.2.1.8.1|2|-1\n1.3.6.1.2.1.1.6.0|4:numeric|x\n"
	must(t, os.WriteFile(file, []byte(rec), 0o600))
	b := start(t, Options{Phones: 2, SNMPRec: file})
	g := manager(t, b.Switch(), "public")
	all, err := g.BulkWalkAll("1.3")
	must(t, err)
	if len(all) != 7 {
		t.Fatalf("%d objects, want 7: %v", len(all), all)
	}
	m := walk(t, g, "1.3")
	for index, want := range map[string]any{
		"6.1.2.1.1.3.0": uint32(4711), "6.1.2.1.31.1.1.1.6.1": uint64(1<<64 - 1), "6.1.2.1.2.2.1.8.1": -1,
		"6.1.2.1.4.20.1.1.192.0.2.1": "192.0.2.1", "6.1.2.1.1.2.0": ".1.3.6.1.4.1.9.1.1",
	} {
		if m[index] != want {
			t.Errorf("%s: %v (%T), want %v", index, m[index], m[index], want)
		}
	}
	if a := hex.EncodeToString(m["6.1.4.1.9.9.23.1.2.1.1.4.7.1"].([]byte)); a != "c0000201" {
		t.Errorf("octets in hex: %s", a)
	}
}
