package snmp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// OID is an object identifier, or the part of one that is an index.
type OID []uint32

// maxArcs is RFC 2578 §3.5's limit.
const maxArcs = 128

// ParseOID reads "1.3.6.1" or ".1.3.6.1".
func ParseOID(s string) (OID, error) {
	s = strings.TrimPrefix(s, ".")
	if s == "" {
		return nil, fmt.Errorf("OID %q: empty", s)
	}
	n := strings.Count(s, ".") + 1
	if n > maxArcs {
		return nil, fmt.Errorf("OID of %d arcs, more than %d", n, maxArcs)
	}
	out := make(OID, 0, n)
	for arc := range strings.SplitSeq(s, ".") {
		v, err := strconv.ParseUint(arc, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("OID %.80q: %.20q is no arc", s, arc)
		}
		out = append(out, uint32(v))
	}
	return out, nil
}

// String is "1.3.6.1".
func (o OID) String() string {
	b := make([]byte, 0, 4*len(o))
	for i, arc := range o {
		if i > 0 {
			b = append(b, '.')
		}
		b = strconv.AppendUint(b, uint64(arc), 10)
	}
	return string(b)
}

// Compare orders OIDs the way a walk meets them.
func (o OID) Compare(p OID) int { return slices.Compare(o, p) }

// Below returns what follows prefix in o.
func (o OID) Below(prefix OID) (OID, bool) {
	if len(o) <= len(prefix) || !slices.Equal(o[:len(prefix)], prefix) {
		return nil, false
	}
	return o[len(prefix):], true
}

// mustOID is for the OIDs of this package's own tables, which a test reads all.
func mustOID(s string) OID {
	o, err := ParseOID(s)
	if err != nil {
		panic("snmp: " + err.Error())
	}
	return o
}
