package snmptest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Recordings is the folder of recorded devices beside the module, if it is there.
func Recordings(t testing.TB) (string, bool) {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", false
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", "recordings")
	_, err = os.Stat(dir)
	return dir, err == nil
}

// Load reads an .snmprec file: lines of OID|TAG[x]|VALUE.
func Load(path string) ([]Var, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var vars []Var
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for n := 1; lines.Scan(); n++ {
		if lines.Text() == "" {
			continue
		}
		v, err := Line(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		vars = append(vars, v)
	}
	return vars, lines.Err()
}

// Rows makes variables of lines in the form of .snmprec.
func Rows(t testing.TB, lines ...string) []Var {
	t.Helper()
	vars := make([]Var, 0, len(lines))
	for _, l := range lines {
		v, err := Line(l)
		if err != nil {
			t.Fatal(err)
		}
		vars = append(vars, v)
	}
	return vars
}

// Line reads one line of .snmprec.
func Line(s string) (Var, error) {
	parts := strings.SplitN(s, "|", 3)
	if len(parts) != 3 {
		return Var{}, fmt.Errorf("%.60q: want OID|TAG|VALUE", s)
	}
	oid, err := arcs(parts[0])
	if err != nil {
		return Var{}, err
	}
	tag, err := strconv.ParseUint(strings.TrimSuffix(parts[1], "x"), 10, 8)
	if err != nil {
		return Var{}, fmt.Errorf("tag %q", parts[1])
	}
	raw := []byte(parts[2])
	if strings.HasSuffix(parts[1], "x") {
		if raw, err = hex.DecodeString(parts[2]); err != nil {
			return Var{}, err
		}
	}
	value, err := content(byte(tag), raw)
	return Var{OID: oid, Tag: byte(tag), Value: value}, err
}

func content(tag byte, raw []byte) ([]byte, error) {
	switch tag {
	case TagInteger:
		v, err := strconv.ParseInt(string(raw), 10, 64)
		return Integer(v), err
	case 0x41, 0x42, 0x43, 0x46:
		v, err := strconv.ParseUint(string(raw), 10, 64)
		return unsigned(v), err
	case TagOID:
		oid, err := arcs(string(raw))
		return encodeOID(oid), err
	case 0x40:
		if len(raw) == 4 {
			return raw, nil
		}
		a, err := netip.ParseAddr(string(raw))
		return a.AsSlice(), err
	case TagNull:
		return nil, nil
	}
	return raw, nil
}

func arcs(s string) ([]uint32, error) {
	var oid []uint32
	for arc := range strings.SplitSeq(strings.Trim(s, "."), ".") {
		v, err := strconv.ParseUint(arc, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("OID %.60q: %w", s, err)
		}
		oid = append(oid, uint32(v))
	}
	return oid, nil
}
