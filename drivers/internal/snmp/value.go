package snmp

import (
	"math"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gosnmp/gosnmp"
)

// Value is one value as a device sent it. Devices send other types than the MIB
// says (CatOS an INTEGER for a Gauge32), so a reader asks for what it needs and
// is told whether that can be had. The zero Value is absent.
type Value struct {
	kind  kind
	n     uint64 // number
	minus bool   // n is to be taken as int64(n)
	s     string // octets, or the text of an address or OID; a copy
}

type kind uint8

const (
	absent kind = iota
	number
	octets
	address
	object
)

// maxOctets bounds a string that is kept: SnmpAdminString holds 255 octets, and
// no object read here has more than this.
const maxOctets = 2048

// valueOf copies a variable's value: gosnmp's are windows on the whole datagram.
func valueOf(v gosnmp.SnmpPDU) Value {
	switch x := v.Value.(type) {
	case int:
		return Value{kind: number, n: uint64(int64(x)), minus: x < 0}
	case uint:
		return Value{kind: number, n: uint64(x)}
	case uint32:
		return Value{kind: number, n: uint64(x)}
	case uint64:
		return Value{kind: number, n: x}
	case []byte:
		return Value{kind: octets, s: string(x[:min(len(x), maxOctets)])}
	case string:
		if v.Type == gosnmp.IPAddress {
			return Value{kind: address, s: strings.Clone(x)}
		}
		return Value{kind: object, s: strings.TrimPrefix(strings.Clone(x), ".")}
	}
	return Value{}
}

// Present reports whether the device has the object at all.
func (v Value) Present() bool { return v.kind != absent }

// Uint is the value as a number that can't be negative.
func (v Value) Uint() (uint64, bool) { return v.n, v.kind == number && !v.minus }

// Int is the value as a number.
func (v Value) Int() (int64, bool) {
	if v.kind != number || !v.minus && v.n > math.MaxInt64 {
		return 0, false
	}
	return int64(v.n), true
}

// Octets is the value as bytes.
func (v Value) Octets() ([]byte, bool) { return []byte(v.s), v.kind == octets }

// maxText is what SnmpAdminString and DisplayString hold (RFC 3411 §5).
const maxText = 255

// Text is the value as one clean line of at most 255 bytes: latin-1 becomes
// UTF-8, control characters and line breaks become single spaces. A value that
// is no string is "".
func (v Value) Text() string {
	if v.kind == octets {
		return clip(Clean(v.s))
	}
	if v.kind == object || v.kind == address {
		return v.s
	}
	return ""
}

func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimSpace(s[:n])
}

// Bit reports bit i of a BITS value (RFC 2578 §7.1.4: bit 0 is the first
// octet's highest).
func (v Value) Bit(i int) bool {
	return v.kind == octets && i >= 0 && i/8 < len(v.s) && v.s[i/8]&(0x80>>(i%8)) != 0
}

// Address reads an address in every form seen: IpAddress, 4 or 16 octets, those
// behind an address-family octet (LLDP: 1 and 2), and dotted text.
func (v Value) Address() (netip.Addr, bool) {
	switch v.kind {
	case address:
		return usable(netip.ParseAddr(v.s))
	case octets:
		return addressOf(v.s)
	}
	return netip.Addr{}, false
}

func addressOf(s string) (netip.Addr, bool) {
	// Text first: "10.0.0.1" has 8 octets, "1.2.3.45" too, and no raw form has
	// dots and digits only.
	if a, err := netip.ParseAddr(strings.Trim(s, " \x00")); err == nil {
		return usable(a, nil)
	}
	b := []byte(s)
	switch {
	case len(b) == 5 && b[0] == 1, len(b) == 17 && b[0] == 2: // IANA address family numbers
		b = b[1:]
	case len(b) != 4 && len(b) != 16:
		return netip.Addr{}, false
	}
	a, _ := netip.AddrFromSlice(b)
	return usable(a, nil)
}

// usable drops what no device is reached at.
func usable(a netip.Addr, err error) (netip.Addr, bool) {
	a = a.Unmap()
	if err != nil || !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}, false
	}
	return a, true
}

// MAC reads a MAC address, as 6 octets or as text in any usual form, and
// returns it as 12 upper-case hexadecimal digits.
func (v Value) MAC() (string, bool) {
	if v.kind != octets {
		return "", false
	}
	if len(v.s) == 6 {
		return macOf([]byte(v.s))
	}
	return ParseMAC(v.s)
}

// Printable reports whether the value is a string that a person could have written.
func (v Value) Printable() bool { return v.kind == octets && printable(v.s) }

func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// ParseMAC reads 12 hexadecimal digits with or without separators, and groups
// without leading zeros ("0:1b:8f:…"), as 12 upper-case hexadecimal digits.
func ParseMAC(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if len(s) > 17 {
		return "", false
	}
	if groups := strings.FieldsFunc(s, isSeparator); len(groups) == 6 {
		for i, g := range groups {
			if len(g) == 1 {
				groups[i] = "0" + g
			}
		}
		s = strings.Join(groups, "")
	} else {
		s = strings.Join(groups, "")
	}
	if len(s) != 12 {
		return "", false
	}
	var b [6]byte
	for i := range b {
		hi, ok1 := digit(s[2*i])
		lo, ok2 := digit(s[2*i+1])
		if !ok1 || !ok2 {
			return "", false
		}
		b[i] = hi<<4 | lo
	}
	return macOf(b[:])
}

func isSeparator(r rune) bool { return r == ':' || r == '-' || r == '.' || r == ' ' }

func digit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// macOf refuses the empty address and group addresses, which no device has.
func macOf(b []byte) (string, bool) {
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, 12)
	var any byte
	for _, o := range b {
		any |= o
		out = append(out, hex[o>>4], hex[o&15])
	}
	return string(out), any != 0 && b[0]&1 == 0
}

// Clean makes one line of text from bytes that a device sent: UTF-8 stays, other
// bytes are read as latin-1, white space and control characters become one space.
func Clean(s string) string {
	if !utf8.ValidString(s) {
		r := make([]rune, len(s))
		for i := range len(s) {
			r[i] = rune(s[i])
		}
		s = string(r)
	}
	var b strings.Builder
	space := false
	for _, r := range s {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			space = true
			continue
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(r)
	}
	return b.String()
}
