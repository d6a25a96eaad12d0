package xmlscan

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Where a text stands: in an element, in a CDATA section, else in these quotes.
const (
	content byte = '<'
	cdata   byte = ']'
)

// text reads character data up to its end, and what ends it.
func (s *scanner) text(in byte) (string, error) {
	rest, end, next := s.src[s.at:], 0, 0
	switch in {
	case content:
		if end = strings.IndexByte(rest, '<'); end < 0 {
			end = len(rest)
		}
		next = end
	case cdata:
		end = strings.Index(rest, "]]>")
		next = end + len("]]>")
	default:
		end = strings.IndexByte(rest, in)
		next = end + 1
	}
	if end < 0 {
		return "", errCut
	}
	s.at += next
	raw := rest[:end]
	for i := range len(raw) {
		if class[raw[i]]&plain == 0 {
			return clean(raw, i, in)
		}
	}
	return raw, nil
}

// clean is raw with its references resolved and its line ends as XML wants them;
// the first i octets are plain.
func clean(raw string, i int, in byte) (string, error) {
	switch {
	case in == content && strings.Contains(raw, "]]>"):
		return "", errors.New("]]> outside a CDATA section")
	case in != content && in != cdata && strings.IndexByte(raw, '<') >= 0:
		return "", errors.New("< in an attribute")
	}
	out := append(make([]byte, 0, len(raw)), raw[:i]...)
	for i < len(raw) {
		r, size := utf8.DecodeRuneInString(raw[i:])
		switch {
		case r == '&' && in != cdata:
			if r, size = reference(raw[i:]); size == 0 {
				return "", errors.New("an entity that XML itself doesn't know")
			}
		case r == '\r':
			if r = '\n'; strings.HasPrefix(raw[i+1:], "\n") {
				size = 2
			}
		case r == utf8.RuneError && size == 1:
			return "", errChar
		}
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return "", errChar
		}
		out = utf8.AppendRune(out, r)
		i += size
	}
	return string(out), nil
}

// reference reads what begins with &; its size is 0 where that is none.
func reference(raw string) (r rune, size int) {
	end := strings.IndexByte(raw, ';')
	if end < 0 {
		return 0, 0
	}
	name := raw[1:end]
	if code, ok := strings.CutPrefix(name, "#"); ok {
		base := 10
		if hex, ok := strings.CutPrefix(code, "x"); ok {
			code, base = hex, 16
		}
		n, err := strconv.ParseUint(code, base, 64)
		if err != nil || n > unicode.MaxRune {
			return 0, 0
		}
		if r = rune(n); !utf8.ValidRune(r) {
			r = utf8.RuneError
		}
		return r, end + 1
	}
	if r = entities[name]; r == 0 {
		return 0, 0
	}
	return r, end + 1
}

var entities = map[string]rune{"lt": '<', "gt": '>', "amp": '&', "apos": '\'', "quot": '"'}

// What an octet may be.
const (
	plain      uint8 = 1 << iota // stands for itself in a text
	inName                       // may be in a name
	beginsName                   // may begin one
	blank
)

// class tells what each octet may be.
var class = func() (t [256]uint8) {
	for c := range len(t) {
		if c == '\t' || c == '\n' || c >= ' ' && c < utf8.RuneSelf && c != '<' && c != '&' && c != ']' {
			t[c] |= plain
		}
		switch letter := c | 0x20; {
		case letter >= 'a' && letter <= 'z' && c < utf8.RuneSelf, c == '_', c == ':':
			t[c] |= inName | beginsName
		case c >= '0' && c <= '9', c == '.', c == '-':
			t[c] |= inName
		case c == ' ', c == '\t', c == '\n', c == '\r':
			t[c] |= blank
		}
	}
	return t
}()
