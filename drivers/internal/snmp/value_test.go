package snmp

import (
	"net/netip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/gosnmp/gosnmp"

	"pilotlight/drivers/internal/snmp/snmptest"
)

func octetsOf(s string) Value {
	return valueOf(gosnmp.SnmpPDU{Type: gosnmp.OctetString, Value: []byte(s)})
}

func TestValuesAreReadInAllFormsSeen(t *testing.T) {
	addresses := map[string]string{
		"\xc0\xa8\x14\x8b": "192.168.20.139", "\x01\x0a\x0a\x00\x01": "10.10.0.1", "10.108.190.25": "10.108.190.25", "1.2.3.45": "1.2.3.45",
		"\x00\x00\x00\x00": "", "": "", "\xc0\xa8\x14\x8b\x00\x00": "", "0.0.0.0": "", "fe80::1": "fe80::1",
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01": "2001:db8::1",
	}
	for in, want := range addresses {
		a, ok := octetsOf(in).Address()
		if ok != (want != "") || ok && a != netip.MustParseAddr(want) {
			t.Errorf("address %q = %v %v, want %q", in, a, ok, want)
		}
	}
	macs := map[string]string{
		"\x38\x1c\x1a\xb5\x73\x20": "381C1AB57320", "00:1a:e8:27:7c:8f": "001AE8277C8F", "0:1b:8f:1:2:3": "001B8F010203",
		"e4 f0 04 fb 1f fb": "E4F004FB1FFB", "001a.e827.7c8f": "001AE8277C8F", "001AE8277C8F": "001AE8277C8F",
		"\x00\x00\x00\x00\x00\x00": "", "01:00:5e:00:00:01": "", "00:1a:e8:27:7c": "", "not a mac at": "", "C8F9F9D61BC2:P1": "",
	}
	for in, want := range macs {
		m, ok := octetsOf(in).MAC()
		if ok != (want != "") || ok && m != want {
			t.Errorf("MAC %q = %q %v, want %q", in, m, ok, want)
		}
	}
	texts := map[string]string{
		"plain": "plain", "two\r\n  lines\n": "two lines", "caf\xe9": "café", "caf\xc3\xa9": "café",
		"\x1b[31mred\x1b[0m": "[31mred [0m", "\x00\x01": "", "\u202egnp": "gnp", "<private>": "<private>",
	}
	for in, want := range texts {
		if got := octetsOf(in).Text(); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestNumbersOfOtherTypesThanTheMIBSaysAreRead(t *testing.T) {
	for _, v := range []any{int(7), uint(7), uint32(7), uint64(7)} {
		if n, ok := valueOf(gosnmp.SnmpPDU{Value: v}).Uint(); !ok || n != 7 {
			t.Errorf("%T: %d %v", v, n, ok)
		}
	}
	minus := valueOf(gosnmp.SnmpPDU{Value: int(-1)})
	if _, ok := minus.Uint(); ok {
		t.Error("-1 is no unsigned number")
	}
	if n, ok := minus.Int(); !ok || n != -1 {
		t.Error("-1 is a number")
	}
	if _, ok := valueOf(gosnmp.SnmpPDU{Value: uint64(1 << 63)}).Int(); ok {
		t.Error("2^63 is no int64")
	}
	if (Value{}).Present() || (Value{}).Text() != "" || (Value{}).Bit(0) {
		t.Error("the zero value is present")
	}
}

func TestBitsCountFromTheHighest(t *testing.T) {
	v := octetsOf("\x24\x00") // bridge and telephone
	for i := range 20 {
		if v.Bit(i) != (i == 2 || i == 5) {
			t.Errorf("bit %d: %v", i, v.Bit(i))
		}
	}
	if v.Bit(-1) {
		t.Error("bit -1")
	}
}

func TestKeptValuesAreCopies(t *testing.T) {
	packet := []byte("a name in a datagram")
	v := valueOf(gosnmp.SnmpPDU{Type: gosnmp.OctetString, Value: packet[2:6]})
	packet[2] = 'X'
	if v.Text() != "name" {
		t.Errorf("%q", v.Text())
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "SEP0011AABBCCDD", "\xff\xfe", "a\x00b", "00:1a:e8:27:7c:8f", "\u202e", "10.0.0.1", strings.Repeat("é", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := octetsOf(s)
		if c := v.Text(); !utf8.ValidString(c) || Clean(c) != c || len(c) > 255 {
			t.Errorf("Clean(%q) = %q", s, c)
		} else {
			for _, r := range c {
				if !unicode.IsPrint(r) {
					t.Errorf("Clean(%q) keeps %q", s, r)
				}
			}
		}
		if m, ok := v.MAC(); ok && len(m) != 12 {
			t.Errorf("MAC(%q) = %q", s, m)
		}
		if a, ok := v.Address(); ok && (!a.IsValid() || a.IsUnspecified()) {
			t.Errorf("Address(%q) = %v", s, a)
		}
	})
}

// report is a version 3 message that carries a usmStats report.
func report(flags, stat byte) []byte {
	seq := func(tag byte, parts ...[]byte) []byte {
		var all []byte
		for _, p := range parts {
			all = append(all, p...)
		}
		return append([]byte{tag, 0x82, byte(len(all) >> 8), byte(len(all))}, all...) // as net-snmp writes it
	}
	num := func(b byte) []byte { return []byte{2, 1, b} }
	oid := append([]byte{6, 10, 0x2b, 6, 1, 6, 3, 15, 1, 1}, stat, 0)
	return seq(0x30, num(3),
		seq(0x30, num(9), num(99), []byte{4, 1, flags}, num(3)),
		seq(0x04, []byte("usm")),
		seq(0x30, []byte{4, 1, 'e'}, []byte{4, 0},
			seq(0xa8, num(0), num(0), num(0), seq(0x30, seq(0x30, oid, []byte{0x41, 1, 1})))))
}

func TestReportsAreRead(t *testing.T) {
	for stat := byte(1); stat <= 6; stat++ {
		if got, ok := parseReport(report(0, stat)); !ok || got != uint32(stat) {
			t.Errorf("stat %d: %d %v", stat, got, ok)
		}
	}
	if _, ok := parseReport(report(1, 2)); ok {
		t.Error("an authenticated report is gosnmp's business")
	}
	whole := report(0, 5)
	for n := range whole {
		if _, ok := parseReport(whole[:n]); ok {
			t.Errorf("%d of %d bytes were enough", n, len(whole))
		}
	}
}

func FuzzReport(f *testing.F) {
	f.Add(report(0, 3))
	f.Add(report(1, 3))
	answer := snmptest.Answer{ID: 7}
	f.Add(answer.Encode("public"))
	f.Fuzz(func(_ *testing.T, b []byte) { parseReport(b) })
}
