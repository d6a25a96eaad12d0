package snmpd

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

const maxRecLine = 1 << 20

// ReadRec reads an .snmprec recording: OID|TAG|VALUE, one object a line, where
// TAG is the number of the BER tag, with an x behind it for a value in hex.
// A variation module (TAG:module) is not played; such a line is left out.
func ReadRec(r io.Reader) (*Table, error) {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 64<<10), maxRecLine)
	var rows []Row
	for n := 1; in.Scan(); n++ {
		line := in.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		row, keep, err := recRow(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if keep {
			rows = append(rows, row)
		}
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	return NewTable(rows), nil
}

func recRow(line string) (row Row, keep bool, err error) {
	name, rest, _ := strings.Cut(line, "|")
	tag, text, found := strings.Cut(rest, "|")
	if !found {
		return Row{}, false, fmt.Errorf("want OID|TAG|VALUE, got %.60q", line)
	}
	if strings.Contains(tag, ":") {
		return Row{}, false, nil
	}
	o, err := ParseOID(name)
	if err != nil {
		return Row{}, false, err
	}
	number, isHex := strings.CutSuffix(tag, "x")
	n, err := strconv.ParseUint(number, 10, 8)
	if err != nil {
		return Row{}, false, fmt.Errorf("%s: tag %q", name, tag)
	}
	v, err := recValue(byte(n), isHex, text)
	if err != nil {
		return Row{}, false, fmt.Errorf("%s: %w", name, err)
	}
	return Row{OID: o, Value: v}, true, nil
}

func recValue(tag byte, isHex bool, text string) (Value, error) {
	if isHex {
		raw, err := hex.DecodeString(text)
		return appendTLV(nil, tag, raw), err
	}
	switch tag {
	case tagInteger:
		v, err := strconv.ParseInt(text, 10, 64)
		return appendInt(nil, tag, v), err
	case tagCounter32, tagGauge32, tagTimeTicks, tagCounter64:
		v, err := strconv.ParseUint(text, 10, 64)
		return appendUint(nil, tag, v), err
	case tagOctets, tagOpaque:
		return appendTLV(nil, tag, []byte(text)), nil
	case tagNull:
		return appendTLV(nil, tag, nil), nil
	case tagOID:
		o, err := ParseOID(text)
		if err != nil {
			return nil, err
		}
		return ObjectID(o), nil
	case tagIPAddress:
		a, err := netip.ParseAddr(text)
		if err != nil || !a.Is4() {
			return nil, fmt.Errorf("address %q", text)
		}
		return appendTLV(nil, tag, a.AsSlice()), nil
	}
	return nil, fmt.Errorf("tag %d is not known", tag)
}
