package sip

import (
	"bytes"
	"strconv"
	"strings"
)

// Limits of one message (CORE-30). A datagram cannot be longer than 64 KiB anyway.
const (
	maxStartLine = 8 << 10
	maxHead      = 64 << 10
	maxBody      = 64 << 10
	maxFields    = 256
	usualFields  = 16
	maxVias      = 70
	maxDatagram  = 65535
)

// message is a request or a response as it came off the wire: the fields
// unfolded and under their long names, nothing judged yet.
type message struct {
	method, uri, version string // of a request
	status               int    // of a response
	reason               string
	header               Header
	body                 []byte
}

// fault is why a message is refused: the status for a request (0: silence),
// and the fields that the answer needs.
type fault struct {
	status int
	why    string
	header Header
}

func (f *fault) Error() string { return f.why }

func bad(why string) *fault { return &fault{status: 400, why: why} }

// sane is the cheap look at a datagram or at the first octets of a stream,
// before anything is allocated: does it begin like a line of SIP? RTP, STUN,
// scans and zeros end here.
func sane(b []byte) bool {
	if len(b) < 16 || len(b) > maxDatagram {
		return false
	}
	line := b[:min(len(b), maxStartLine)]
	if i := bytes.IndexByte(line, '\r'); i >= 0 {
		line = line[:i]
	} else if len(b) > maxStartLine {
		return false
	}
	if !tokenByte(line0(line)) || !bytes.Contains(line, []byte("SIP/")) && !bytes.Contains(line, []byte("sip/")) {
		return false
	}
	for _, c := range line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func line0(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// readHeadOf takes the head of a message apart, its empty line included.
// A message is returned with the fault too, as far as it could be read, so
// that a 400 can quote its headers (RFC 3261 §8.2.6).
func readHeadOf(head []byte) (*message, *fault) {
	m := &message{header: make(Header, 0, usualFields)}
	line, head, ok := cutLine(head)
	if !ok || len(line) > maxStartLine {
		return m, &fault{why: "start line without end"}
	}
	f := m.readStartLine(string(line))
	if err := m.readFields(head); f == nil {
		f = err
	}
	return m, f
}

func cutLine(b []byte) (line, rest []byte, ok bool) {
	if i := bytes.Index(b, crlf); i >= 0 {
		return b[:i], b[i+2:], true
	}
	return b, nil, false
}

var crlf = []byte("\r\n")

// readStartLine: exactly one SP between the parts (RFC 3261 §25.1).
func (m *message) readStartLine(line string) *fault {
	if len(line) >= 4 && strings.EqualFold(line[:4], "SIP/") {
		m.status = -1 // a response, of whatever kind: never answered
		version, rest, _ := strings.Cut(line, " ")
		code, reason, _ := strings.Cut(rest, " ")
		n, err := strconv.ParseUint(code, 10, 16)
		if !strings.EqualFold(version, "SIP/2.0") || err != nil || n < 100 || n > 699 {
			return &fault{why: "status line"}
		}
		m.status, m.reason = int(n), reason
		return nil
	}
	first, last := strings.IndexByte(line, ' '), strings.LastIndexByte(line, ' ')
	if first <= 0 || last <= first || !isToken(line[:first]) {
		return bad("start line")
	}
	m.method, m.uri, m.version = line[:first], line[first+1:last], line[last+1:]
	if m.version == "" || m.uri == "" || m.uri != trim(m.uri) {
		return bad("blanks in the start line")
	}
	return nil
}

func (m *message) readFields(head []byte) *fault {
	var f *fault
	for {
		line, rest, ok := cutLine(head)
		if !ok {
			return bad("headers without end")
		}
		if head = rest; len(line) == 0 {
			return f
		}
		// A line that begins with a blank goes on with the one before (§7.3.1).
		value := string(line)
		for len(head) > 0 && (head[0] == ' ' || head[0] == '\t') {
			if line, head, ok = cutLine(head); !ok {
				return bad("headers without end")
			}
			value = strings.TrimRight(value, " \t") + " " + strings.TrimLeft(string(line), " \t")
		}
		name, value, ok := strings.Cut(value, ":")
		name = strings.TrimRight(name, " \t")
		switch {
		case !ok || !isToken(name) || strings.ContainsAny(value, "\r\n"):
			f = bad("header line") // read on: the rest is wanted for the answer
		case len(m.header) >= maxFields:
			return bad("too many headers")
		default:
			m.header = append(m.header, Field{longName(name), trim(value)})
		}
	}
}

// readBody holds RFC 3261 §18.3 for datagrams: octets past Content-Length are
// ignored, fewer are an error; without one the datagram's end is the body's.
func (m *message) readBody(rest []byte) *fault {
	n, ok, f := m.contentLength()
	if f != nil {
		return f
	}
	if !ok {
		n = len(rest)
	}
	if n > len(rest) {
		return bad("body shorter than Content-Length")
	}
	if n > 0 {
		m.body = bytes.Clone(rest[:n])
	}
	return nil
}

// contentLength: more than one is a fault even when they agree, since framing
// hangs on it (RFC 4475 §3.3.9).
func (m *message) contentLength() (n int, ok bool, f *fault) {
	rows := m.header.Values("Content-Length")
	switch len(rows) {
	case 0:
		return 0, false, nil
	case 1:
	default:
		return 0, false, bad("several Content-Length")
	}
	v, err := strconv.ParseUint(rows[0], 10, 31)
	if err != nil {
		return 0, false, bad("Content-Length")
	}
	return int(v), true, nil
}

// headEnd is the length of the head of b, its empty line included; -1 when
// that has not come yet.
func headEnd(b []byte) int {
	if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
		return i + 4
	}
	return -1
}

// readDatagram reads a datagram that was found sane.
func readDatagram(b []byte) (*message, *fault) {
	end := headEnd(b)
	if end < 0 {
		end = len(b)
	}
	if end > maxHead {
		return &message{}, &fault{why: "head too long"}
	}
	m, f := readHeadOf(b[:end])
	if f == nil {
		f = m.readBody(b[end:])
	}
	return m, f
}
