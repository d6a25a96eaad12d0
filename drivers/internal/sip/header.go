package sip

import (
	"iter"
	"strconv"
	"strings"
	"time"
)

// Field is one header field, its name in long form.
type Field struct{ Name, Value string }

// is compares without case. Names are tokens, so that their lengths tell most
// of them apart.
func (f Field) is(name string) bool {
	return len(f.Name) == len(name) && strings.EqualFold(f.Name, name)
}

// Header is the fields of a message in order. Names compare without case.
type Header []Field

// longNames maps the compact forms (RFC 3261 §7.3.3 and the registry). sipgo
// knows six of them only.
var longNames = map[string]string{
	"a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition",
	"e": "Content-Encoding", "f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported",
	"l": "Content-Length", "m": "Contact", "n": "Identity-Info", "o": "Event", "r": "Refer-To",
	"s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires", "y": "Identity",
}

func longName(name string) string {
	if len(name) == 1 {
		if long, ok := longNames[strings.ToLower(name)]; ok {
			return long
		}
	}
	return name
}

// Get is the value of the first field of that name, "" without one.
func (h Header) Get(name string) string {
	for _, f := range h {
		if f.is(name) {
			return f.Value
		}
	}
	return ""
}

// Has reports whether there is a field of that name.
func (h Header) Has(name string) bool { return h.count(name) > 0 }

func (h Header) count(name string) (n int) {
	for _, f := range h {
		if f.is(name) {
			n++
		}
	}
	return n
}

// Values are the values of all fields of that name, a row each.
func (h Header) Values(name string) (rows []string) {
	for _, f := range h {
		if f.is(name) {
			rows = append(rows, f.Value)
		}
	}
	return rows
}

// List are the values of all fields of that name with comma lists taken apart
// (RFC 3261 §7.3.1); commas in quotes and in <> do not count. Empty elements
// are left out.
func (h Header) List(name string) (list []string) {
	for _, row := range h.Values(name) {
		for _, v := range split(row, ',') {
			if v != "" {
				list = append(list, v)
			}
		}
	}
	return list
}

// Add appends a field.
func (h *Header) Add(name, value string) { *h = append(*h, Field{name, value}) }

// split cuts s at sep outside quotes and <>, and trims each part.
func split(s string, sep byte) (list []string) {
	for part := range elements(s, sep) {
		list = append(list, part)
	}
	return list
}

// elements are those of split, one after the other.
func elements(s string, sep byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		start, quoted, angle := 0, false, 0
		for i := 0; i < len(s); i++ {
			switch c := s[i]; {
			case quoted:
				if c == '\\' {
					i++
				} else if c == '"' {
					quoted = false
				}
			case c == '"':
				quoted = true
			case c == '<':
				angle++
			case c == '>' && angle > 0:
				angle--
			case c == sep && angle == 0:
				if !yield(trim(s[start:i])) {
					return
				}
				start = i + 1
			}
		}
		yield(trim(s[start:]))
	}
}

// trim takes linear white space off both ends.
func trim(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// Seconds reads delta-seconds; what follows the number (a comment, a
// parameter) is ignored, and more than 2^32-1 counts as that.
func Seconds(s string) (time.Duration, bool) {
	s = trim(s)
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	if n == 0 {
		return 0, false
	}
	v, err := strconv.ParseUint(s[:n], 10, 32)
	if err != nil {
		v = 1<<32 - 1
	}
	return time.Duration(v) * time.Second, true
}

// isToken holds the grammar of RFC 3261 §25.1.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func tokenByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("-.!%*_+`'~", c) >= 0
}

// oneLine reports whether s can be a header value without starting another.
func oneLine(s string) bool { return !strings.ContainsAny(s, "\r\n\x00") }
