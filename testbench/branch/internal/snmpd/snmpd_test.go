package snmpd

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"
)

// The expected octets are from X.690, or worked out by hand from it.
func TestValuesAreEncodedAsX690Says(t *testing.T) {
	for name, c := range map[string]struct {
		got  Value
		want string
	}{
		"zero":                    {Int(0), "020100"},
		"127":                     {Int(127), "02017f"},
		"128":                     {Int(128), "02020080"},
		"256":                     {Int(256), "02020100"},
		"-128":                    {Int(-128), "020180"},
		"-129":                    {Int(-129), "0202ff7f"},
		"counter that wraps":      {Counter(1<<32 + 5), "410105"},
		"counter with a high bit": {Counter(0x80000000), "41050080000000"},
		"largest counter64":       {Counter64(math.MaxUint64), "460900ffffffffffffffff"},
		"gauge":                   {Gauge(1000), "420203e8"},
		"ticks":                   {Ticks(0), "430100"},
		"octets":                  {Octets("ab"), "04026162"},
		"long octets":             {Octets(strings.Repeat("a", 200))[:3], "0481c8"},
		"longer octets":           {Octets(strings.Repeat("a", 300))[:4], "0482012c"},
		"identifier":              {ObjectID(oid(t, "1.3.6.1.4.1.9.9.23")), "06082b06010401090917"},
		"large parts":             {ObjectID(oid(t, "2.999.4294967295")), "06078837" + "8fffffff7f"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func oid(t *testing.T, s string) OID {
	t.Helper()
	o, err := ParseOID(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestIdentifiersSortByTheirPartsAndComeBack(t *testing.T) {
	order := []string{"1.0.8802.1", "1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.9", "1.3.6.1.2.1.1.10", "1.3.6.1.2.1.2.300", "2.999"}
	for i, s := range order {
		o := oid(t, s)
		if o.String() != s {
			t.Errorf("%s came back as %s", s, o)
		}
		in := reader{ObjectID(o)}
		if back, err := in.oid(); err != nil || back != o {
			t.Errorf("%s decoded as %s, %v", s, back, err)
		}
		if i > 0 && o <= oid(t, order[i-1]) {
			t.Errorf("%s is not behind %s", s, order[i-1])
		}
	}
	for _, bad := range []string{"", "1", "1..3", "1.3.x", "1.3.4294967296", strings.Repeat("1.", 129) + "1"} {
		if o, err := ParseOID(bad); err == nil {
			t.Errorf("%.20q: read as %s", bad, o)
		}
	}
}

func TestARecordingWithAFaultNamesItsLine(t *testing.T) {
	for _, bad := range []string{"1.3.6|2", "1.3.x|2|1", "1.3.6|99|1", "1.3.6|2|abc", "1.3.6|4x|zz", "1.3.6|64|::1"} {
		_, err := ReadRec(strings.NewReader("# a comment\n1.3.6.1|2|1\n" + bad + "\n"))
		if err == nil || !strings.HasPrefix(err.Error(), "line 3: ") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func testTable(t *testing.T) *Table {
	var rows []Row
	for i := range uint32(200) {
		rows = append(rows, Row{OID: oid(t, "1.3.6.1.2.1.2.2.1.2").Sub(i + 1), Value: Octets(strings.Repeat("x", 60))})
	}
	return NewTable(rows)
}

// getBulk is a GETBULK of one name.
func getBulk(t *testing.T, name string, repetitions int64) []byte {
	pdu := appendInt(nil, tagInteger, 77)
	pdu = appendInt(pdu, tagInteger, 0)
	pdu = appendInt(pdu, tagInteger, repetitions)
	pdu = appendTLV(pdu, tagSequence, bind(nil, oid(t, name), Value{tagNull, 0}))
	msg := appendInt(nil, tagInteger, version2c)
	msg = appendTLV(msg, tagOctets, []byte("public"))
	return appendTLV(nil, tagSequence, appendTLV(msg, pduGetBulk, pdu))
}

func TestABulkAnswerFillsOneFrameAndNoMore(t *testing.T) {
	table := testTable(t)
	a := &Agent{community: "public", view: func() *Table { return table }}
	for _, n := range []int64{1, 10, 50, math.MaxInt32} {
		resp := a.answer(getBulk(t, "1.3.6.1.2.1.2", n))
		if len(resp) > maxResponse || len(resp) == 0 {
			t.Errorf("%d repetitions: %d octets", n, len(resp))
		}
		if n >= 50 && len(resp) < maxResponse-100 {
			t.Errorf("%d repetitions: only %d octets", n, len(resp))
		}
	}
}

func FuzzAnswer(f *testing.F) {
	t := &testing.T{}
	f.Add(getBulk(t, "1.3.6.1.2.1.2", 5))
	f.Add([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})
	table := testTable(t)
	a := &Agent{community: "public", view: func() *Table { return table }}
	f.Fuzz(func(t *testing.T, b []byte) {
		resp := a.answer(b)
		if len(resp) > maxResponse {
			t.Errorf("%d octets", len(resp))
		}
		if resp != nil {
			in := reader{resp}
			if _, err := in.want(tagSequence); err != nil || len(in.b) != 0 {
				t.Errorf("the answer is not one element: %x", resp)
			}
		}
	})
}
