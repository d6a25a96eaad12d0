package snmpd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Tags of BER and of the SMI (RFC 2578 §7.1, RFC 3416 §3).
const (
	tagInteger   = 0x02
	tagOctets    = 0x04
	tagNull      = 0x05
	tagOID       = 0x06
	tagSequence  = 0x30
	tagIPAddress = 0x40
	tagCounter32 = 0x41
	tagGauge32   = 0x42
	tagTimeTicks = 0x43
	tagOpaque    = 0x44
	tagCounter64 = 0x46

	noSuchObject   = 0x80
	noSuchInstance = 0x81
	endOfMibView   = 0x82

	pduGet      = 0xa0
	pduGetNext  = 0xa1
	pduResponse = 0xa2
	pduSet      = 0xa3
	pduGetBulk  = 0xa5
)

var errBER = errors.New("malformed BER")

const maxSubIDs = 128 // RFC 2578 §3.5

// OID is an object identifier as 4 octets per sub-identifier, big-endian, so
// that bytes compare in the order of RFC 3416 §4.2.2.
type OID string

// ParseOID reads "1.3.6.1.2.1"; a leading dot is allowed.
func ParseOID(s string) (OID, error) {
	var b []byte
	for part := range strings.SplitSeq(strings.TrimPrefix(s, "."), ".") {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil || len(b) == 4*maxSubIDs {
			return "", fmt.Errorf("object identifier %.60q: bad part %.12q", s, part)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	if len(b) < 8 {
		return "", fmt.Errorf("object identifier %.60q: too short", s)
	}
	return OID(b), nil
}

// Sub is the object identifier below o.
func (o OID) Sub(ids ...uint32) OID {
	b := append(make([]byte, 0, len(o)+4*len(ids)), o...)
	for _, id := range ids {
		b = binary.BigEndian.AppendUint32(b, id)
	}
	return OID(b)
}

func (o OID) len() int { return len(o) / 4 }

func (o OID) at(i int) uint32 { return binary.BigEndian.Uint32([]byte(o[4*i : 4*i+4])) }

// String is the dotted form.
func (o OID) String() string {
	var b []byte
	for i := range o.len() {
		if i > 0 {
			b = append(b, '.')
		}
		b = strconv.AppendUint(b, uint64(o.at(i)), 10)
	}
	return string(b)
}

// appendTLV appends one element.
func appendTLV(b []byte, tag byte, content []byte) []byte {
	b = append(b, tag)
	switch n := len(content); {
	case n < 0x80:
		b = append(b, byte(n))
	case n < 0x100:
		b = append(b, 0x81, byte(n))
	default:
		b = append(b, 0x82, byte(n>>8), byte(n))
	}
	return append(b, content...)
}

// appendOID appends the element of an object identifier (X.690 §8.19).
func appendOID(b []byte, tag byte, o OID) []byte {
	content := make([]byte, 0, 64)
	first := o.at(0)*40 + o.at(1)
	content = appendBase128(content, first)
	for i := 2; i < o.len(); i++ {
		content = appendBase128(content, o.at(i))
	}
	return appendTLV(b, tag, content)
}

func appendBase128(b []byte, v uint32) []byte {
	for shift := 28; shift > 0; shift -= 7 {
		if v>>shift != 0 {
			b = append(b, byte(v>>shift)|0x80)
		}
	}
	return append(b, byte(v)&0x7f)
}

// appendInt appends a signed integer in as few octets as it needs (X.690 §8.3).
func appendInt(b []byte, tag byte, v int64) []byte {
	var full [8]byte
	binary.BigEndian.PutUint64(full[:], uint64(v))
	c := full[:]
	for len(c) > 1 && (c[0] == 0 && c[1] < 0x80 || c[0] == 0xff && c[1] >= 0x80) {
		c = c[1:]
	}
	return appendTLV(b, tag, c)
}

// appendUint appends an unsigned integer: a leading zero keeps it positive.
func appendUint(b []byte, tag byte, v uint64) []byte {
	var full [9]byte
	binary.BigEndian.PutUint64(full[1:], v)
	c := full[:]
	for len(c) > 1 && c[0] == 0 && c[1] < 0x80 {
		c = c[1:]
	}
	return appendTLV(b, tag, c)
}

// reader takes elements off a byte slice.
type reader struct {
	b []byte
}

func (r *reader) next() (tag byte, content []byte, err error) {
	if len(r.b) < 2 {
		return 0, nil, errBER
	}
	tag, n, at := r.b[0], int(r.b[1]), 2
	if n >= 0x80 {
		size := n & 0x7f
		if size == 0 || size > 3 || len(r.b) < 2+size {
			return 0, nil, errBER
		}
		n = 0
		for _, x := range r.b[2 : 2+size] {
			n = n<<8 | int(x)
		}
		at += size
	}
	if n > len(r.b)-at {
		return 0, nil, errBER
	}
	content, r.b = r.b[at:at+n], r.b[at+n:]
	return tag, content, nil
}

func (r *reader) want(tag byte) ([]byte, error) {
	got, content, err := r.next()
	if err == nil && got != tag {
		err = fmt.Errorf("%w: tag %#x, want %#x", errBER, got, tag)
	}
	return content, err
}

func (r *reader) int() (int64, error) {
	content, err := r.want(tagInteger)
	if err != nil || len(content) == 0 || len(content) > 8 {
		return 0, errors.Join(errBER, err)
	}
	v := int64(int8(content[0]))
	for _, x := range content[1:] {
		v = v<<8 | int64(x)
	}
	return v, nil
}

func (r *reader) oid() (OID, error) {
	content, err := r.want(tagOID)
	if err != nil || len(content) == 0 {
		return "", errors.Join(errBER, err)
	}
	var b []byte
	var v uint64
	for i, x := range content {
		v = v<<7 | uint64(x&0x7f)
		if v > 0xffffffff {
			return "", errBER
		}
		if x&0x80 != 0 {
			if i == len(content)-1 {
				return "", errBER
			}
			continue
		}
		if len(b) == 0 {
			top := min(v/40, 2)
			b = binary.BigEndian.AppendUint32(b, uint32(top))
			v -= top * 40
		}
		b = binary.BigEndian.AppendUint32(b, uint32(v))
		v = 0
		if len(b) > 4*maxSubIDs {
			return "", errBER
		}
	}
	return OID(b), nil
}
