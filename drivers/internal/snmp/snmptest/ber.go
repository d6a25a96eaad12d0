package snmptest

import (
	"errors"
	"fmt"
)

// BER tags used here (X.690, RFC 3416).
const (
	TagInteger    = 0x02
	TagOctets     = 0x04
	TagNull       = 0x05
	TagOID        = 0x06
	tagSequence   = 0x30
	TagNoInstance = 0x81
	TagEndOfView  = 0x82

	pduGet      = 0xa0
	pduGetNext  = 0xa1
	pduResponse = 0xa2
	pduBulk     = 0xa5
)

func tlv(tag byte, value []byte) []byte {
	n := len(value)
	switch {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, value...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, value...)
	}
	return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, value...)
}

// Integer encodes the content octets of an INTEGER.
func Integer(v int64) []byte {
	b := []byte{byte(v)}
	for v > 127 || v < -128 {
		v >>= 8
		b = append([]byte{byte(v)}, b...)
	}
	return b
}

// unsigned encodes Counter, Gauge and TimeTicks, which have no sign bit to spare.
func unsigned(v uint64) []byte {
	b := []byte{byte(v)}
	for v >>= 8; v > 0; v >>= 8 {
		b = append([]byte{byte(v)}, b...)
	}
	if b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return b
}

func encodeOID(oid []uint32) []byte {
	if len(oid) < 2 {
		return []byte{0}
	}
	b := base128(nil, oid[0]*40+oid[1])
	for _, arc := range oid[2:] {
		b = base128(b, arc)
	}
	return b
}

func base128(b []byte, v uint32) []byte {
	for shift := 28; shift > 0; shift -= 7 {
		if v>>shift != 0 {
			b = append(b, byte(v>>shift)|0x80)
		}
	}
	return append(b, byte(v)&0x7f)
}

func decodeOID(b []byte) []uint32 {
	var arcs []uint32
	var v uint32
	for _, o := range b {
		v = v<<7 | uint32(o&0x7f)
		if o&0x80 != 0 {
			continue
		}
		if arcs == nil {
			first := min(v/40, 2)
			arcs = append(arcs, first, v-40*first)
		} else {
			arcs = append(arcs, v)
		}
		v = 0
	}
	return arcs
}

var errBER = errors.New("not the BER this agent reads")

func take(b []byte) (tag byte, value, rest []byte, err error) {
	if len(b) < 2 {
		return 0, nil, nil, errBER
	}
	n, head := int(b[1]), 2
	if n&0x80 != 0 {
		head += n & 0x7f
		if n&0x7f > 3 || len(b) < head {
			return 0, nil, nil, errBER
		}
		n = 0
		for _, o := range b[2:head] {
			n = n<<8 | int(o)
		}
	}
	if len(b) < head+n {
		return 0, nil, nil, errBER
	}
	return b[0], b[head : head+n], b[head+n:], nil
}

func number(b []byte) int64 {
	var v int64
	if len(b) > 0 && b[0]&0x80 != 0 {
		v = -1
	}
	for _, o := range b {
		v = v<<8 | int64(o)
	}
	return v
}

// parse reads a version 2c request.
func parse(b []byte) (Request, error) {
	var r Request
	_, msg, _, err := take(b)
	if err != nil {
		return r, err
	}
	_, version, msg, err := take(msg)
	if err != nil || number(version) != 1 {
		return r, fmt.Errorf("%w: version", errBER)
	}
	_, community, msg, err := take(msg)
	if err != nil {
		return r, err
	}
	r.Community = string(community)
	pdu, body, _, err := take(msg)
	if err != nil {
		return r, err
	}
	r.PDU = pdu
	var fields [3]int64
	for i := range fields {
		var v []byte
		if _, v, body, err = take(body); err != nil {
			return r, err
		}
		fields[i] = number(v)
	}
	r.ID, r.NonRepeaters, r.Repetitions = fields[0], int(fields[1]), int(fields[2])
	_, list, _, err := take(body)
	for err == nil && len(list) > 0 {
		var binding, oid []byte
		if _, binding, list, err = take(list); err == nil {
			if _, oid, _, err = take(binding); err == nil {
				r.OIDs = append(r.OIDs, decodeOID(oid))
			}
		}
	}
	return r, err
}

// encode writes a version 2c response.
func (a *Answer) encode(community string) []byte {
	if a.Raw != nil {
		return a.Raw
	}
	var list []byte
	for _, v := range a.Vars {
		list = append(list, tlv(tagSequence, append(tlv(TagOID, encodeOID(v.OID)), tlv(v.Tag, v.Value)...))...)
	}
	body := tlv(TagInteger, Integer(a.ID))
	body = append(body, tlv(TagInteger, Integer(int64(a.Status)))...)
	body = append(body, tlv(TagInteger, Integer(int64(a.Index)))...)
	body = append(body, tlv(tagSequence, list)...)
	msg := tlv(TagInteger, []byte{1})
	msg = append(msg, tlv(TagOctets, []byte(community))...)
	return tlv(tagSequence, append(msg, tlv(pduResponse, body)...))
}
