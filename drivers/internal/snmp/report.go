package snmp

// The last arcs of usmStats (RFC 3414 §5), 1.3.6.1.6.3.15.1.1.N.0.
const (
	statLevel      = 1
	statWindow     = 2
	statUser       = 3
	statEngine     = 4
	statDigest     = 5
	statDecryption = 6
)

// BER tags of a version 3 message (RFC 3412 §6, RFC 3416 §3).
const (
	tagInteger  = 0x02
	tagOctets   = 0x04
	tagOID      = 0x06
	tagSequence = 0x30
	tagReport   = 0xa8
)

// usmStats is 1.3.6.1.6.3.15.1.1 in BER.
var usmStats = []byte{0x2b, 6, 1, 6, 3, 15, 1, 1}

// parseReport finds out whether a datagram is an unauthenticated usmStats
// report, and which. gosnmp throws such reports away once it knows the engine,
// since they can't be authenticated; but a wrong user or password is told in
// no other way (RFC 3414 §3.2 steps 3 to 6).
func parseReport(b []byte) (stat uint32, ok bool) {
	msg, _, ok := tlv(b, tagSequence)
	if !ok {
		return 0, false
	}
	version, msg, ok := tlv(msg, tagInteger)
	if !ok || len(version) != 1 || version[0] != 3 {
		return 0, false
	}
	header, msg, ok := tlv(msg, tagSequence)
	if !ok || authenticated(header) {
		return 0, false
	}
	if _, msg, ok = tlv(msg, tagOctets); !ok { // msgSecurityParameters
		return 0, false
	}
	scoped, _, ok := tlv(msg, tagSequence)
	if !ok {
		return 0, false
	}
	for range 2 { // contextEngineID, contextName
		if _, scoped, ok = tlv(scoped, tagOctets); !ok {
			return 0, false
		}
	}
	pdu, _, ok := tlv(scoped, tagReport)
	if !ok {
		return 0, false
	}
	for range 3 { // request-id, error-status, error-index
		if _, pdu, ok = tlv(pdu, tagInteger); !ok {
			return 0, false
		}
	}
	return firstStat(pdu)
}

// authenticated reads msgFlags from a header; what can't be read counts as
// authenticated, which is to say: as no business of parseReport's.
func authenticated(header []byte) bool {
	var ok bool
	for range 2 { // msgID, msgMaxSize
		if _, header, ok = tlv(header, tagInteger); !ok {
			return true
		}
	}
	flags, _, ok := tlv(header, tagOctets)
	return !ok || len(flags) != 1 || flags[0]&1 != 0
}

// firstStat reads N of usmStats.N.0 from a list of one variable binding.
func firstStat(pdu []byte) (uint32, bool) {
	list, _, ok := tlv(pdu, tagSequence)
	if !ok {
		return 0, false
	}
	binding, _, ok := tlv(list, tagSequence)
	if !ok {
		return 0, false
	}
	oid, _, ok := tlv(binding, tagOID)
	if !ok || len(oid) != len(usmStats)+2 || string(oid[:len(usmStats)]) != string(usmStats) {
		return 0, false
	}
	return uint32(oid[len(usmStats)]), true
}

// tlv takes one element with the given tag off b. Lengths need not be minimal:
// net-snmp writes 30 82 00 xx, which is BER though not DER.
func tlv(b []byte, tag byte) (value, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	n, b := int(b[1]), b[2:]
	if n&0x80 != 0 {
		octets := n & 0x7f
		if octets == 0 || octets > 3 || octets > len(b) {
			return nil, nil, false
		}
		n = 0
		for _, o := range b[:octets] {
			n = n<<8 | int(o)
		}
		b = b[octets:]
	}
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}
