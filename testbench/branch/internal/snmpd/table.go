package snmpd

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// Value is what an object holds, as the BER element of a response.
type Value []byte

// Int is an INTEGER.
func Int(v int64) Value { return appendInt(nil, tagInteger, v) }

// Octets is an OCTET STRING.
func Octets(s string) Value { return appendTLV(nil, tagOctets, []byte(s)) }

// ObjectID is an OBJECT IDENTIFIER.
func ObjectID(o OID) Value { return appendOID(nil, tagOID, o) }

// Counter is a Counter32, which wraps.
func Counter(v uint64) Value { return appendUint(nil, tagCounter32, v&0xffffffff) }

// Gauge is a Gauge32 or Unsigned32.
func Gauge(v uint32) Value { return appendUint(nil, tagGauge32, uint64(v)) }

// Ticks is a TimeTicks, in hundredths of a second.
func Ticks(v uint32) Value { return appendUint(nil, tagTimeTicks, uint64(v)) }

// Counter64 is a Counter64.
func Counter64(v uint64) Value { return appendUint(nil, tagCounter64, v) }

// Row is one object: a value that stays, or one that is asked for each time.
type Row struct {
	OID   OID
	Value Value
	Live  func() Value
}

func (r Row) value() Value {
	if r.Live != nil {
		return r.Live()
	}
	return r.Value
}

// Table is a MIB view, sorted by object identifier. It is not changed once made.
type Table struct {
	rows []Row
}

// NewTable sorts the rows; of two with one object identifier the last counts.
func NewTable(rows []Row) *Table {
	slices.SortStableFunc(rows, func(a, b Row) int { return cmp.Compare(a.OID, b.OID) })
	kept := rows[:0]
	for i, r := range rows {
		if i+1 < len(rows) && rows[i+1].OID == r.OID {
			continue
		}
		kept = append(kept, r)
	}
	return &Table{rows: kept}
}

// Len is the number of objects.
func (t *Table) Len() int { return len(t.rows) }

// find is the place of an object, or where it would be.
func (t *Table) find(o OID) (int, bool) {
	i := sort.Search(len(t.rows), func(i int) bool { return t.rows[i].OID >= o })
	return i, i < len(t.rows) && t.rows[i].OID == o
}

// after is the place of the first object behind o.
func (t *Table) after(o OID) int {
	return sort.Search(len(t.rows), func(i int) bool { return t.rows[i].OID > o })
}

// below reports whether the row at a place is part of an object.
func (t *Table) below(i int, object OID) bool {
	return i >= 0 && i < len(t.rows) && strings.HasPrefix(string(t.rows[i].OID), string(object))
}
