package ledger

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// The records on disk are a version byte and then protobuf fields, written and
// read by hand: a field that is absent is zero, one that is unknown is skipped,
// so that fields can be added without a migration.
const recordVersion = 1

var errRecord = errors.New("not a record of this version")

// fields writes protobuf fields; zero values are left out.
type fields []byte

func (f *fields) uint(num protowire.Number, v uint64) {
	if v != 0 {
		*f = protowire.AppendVarint(protowire.AppendTag(*f, num, protowire.VarintType), v)
	}
}

func (f *fields) int(num protowire.Number, v int64) { f.uint(num, protowire.EncodeZigZag(v)) }

func (f *fields) bool(num protowire.Number, v bool) { f.uint(num, protowire.EncodeBool(v)) }

func (f *fields) string(num protowire.Number, s string) {
	if s != "" {
		f.always(num, []byte(s))
	}
}

// always writes a field even when it is empty, for lists and for what may be nil.
func (f *fields) always(num protowire.Number, b []byte) {
	*f = protowire.AppendBytes(protowire.AppendTag(*f, num, protowire.BytesType), b)
}

func (f *fields) strings(num protowire.Number, all []string) {
	for _, s := range all {
		f.always(num, []byte(s))
	}
}

func (f *fields) float(num protowire.Number, v float64) {
	if v != 0 {
		*f = protowire.AppendFixed64(protowire.AppendTag(*f, num, protowire.Fixed64Type), math.Float64bits(v))
	}
}

// time keeps microseconds; observations of several sources are ordered by them.
func (f *fields) time(num protowire.Number, t time.Time) {
	if !t.IsZero() {
		f.int(num, t.UnixMicro())
	}
}

func (f *fields) addr(num protowire.Number, a netip.Addr) {
	if a.IsValid() {
		f.always(num, []byte(a.String()))
	}
}

func (f *fields) message(num protowire.Number, write func(*fields)) {
	var inner fields
	write(&inner)
	f.always(num, inner)
}

// A field is one that was read: n for varints and fixed numbers, b for the rest.
type field struct {
	num protowire.Number
	n   uint64
	b   []byte
}

func (f field) string() string            { return string(f.b) }
func (f field) int() int64                { return protowire.DecodeZigZag(f.n) }
func (f field) bool() bool                { return f.n != 0 }
func (f field) float() float64            { return math.Float64frombits(f.n) }
func (f field) time() time.Time           { return time.UnixMicro(f.int()) }
func (f field) count() int                { return int(f.int()) }
func (f field) addr() (netip.Addr, error) { return netip.ParseAddr(string(f.b)) }

// read visits the fields of b in order.
func read(b []byte, visit func(field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		f := field{num: num}
		switch b = b[n:]; typ {
		case protowire.VarintType:
			f.n, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			f.n, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.b, n = protowire.ConsumeBytes(b)
		default:
			return fmt.Errorf("field %d: wire type %d", num, typ)
		}
		if n < 0 {
			return fmt.Errorf("field %d: %w", num, protowire.ParseError(n))
		}
		b = b[n:]
		if err := visit(f); err != nil {
			return fmt.Errorf("field %d: %w", num, err)
		}
	}
	return nil
}

// readRecord is read for a whole record, with its version byte.
func readRecord(b []byte, visit func(field) error) error {
	if len(b) == 0 || b[0] != recordVersion {
		return errRecord
	}
	return read(b[1:], visit)
}
