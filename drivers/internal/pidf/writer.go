package pidf

import (
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// writer appends elements to b. Element and attribute names are ours; text is
// anybody's.
type writer struct{ b []byte }

// raw appends markup that is ours.
func (w *writer) raw(s string) { w.b = append(w.b, s...) }

func (w *writer) open(name string) {
	w.b = append(w.b, '<')
	w.b = append(w.b, name...)
	w.b = append(w.b, '>')
}

// open1 opens an element with one attribute.
func (w *writer) open1(name, attr, value string) {
	w.b = append(w.b, '<')
	w.b = append(w.b, name...)
	w.b = append(w.b, ' ')
	w.b = append(w.b, attr...)
	w.b = append(w.b, '=', '"')
	w.escape(value)
	w.b = append(w.b, '"', '>')
}

func (w *writer) close(name string) {
	w.b = append(w.b, '<', '/')
	w.b = append(w.b, name...)
	w.b = append(w.b, '>')
}

// empty writes one of our words as an element without content.
func (w *writer) empty(prefix, name string) {
	w.b = append(w.b, '<')
	w.b = append(w.b, prefix...)
	w.b = append(w.b, name...)
	w.b = append(w.b, '/', '>')
}

func (w *writer) text(name, s string) {
	w.open(name)
	w.escape(s)
	w.close(name)
}

func (w *writer) contact(uri, priority string) {
	w.open1("contact", "priority", priority)
	w.escape(uri)
	w.close("contact")
}

func (w *writer) flag(name string, b bool) {
	w.open(name)
	w.b = strconv.AppendBool(w.b, b)
	w.close(name)
}

// timestamp leaves out a time that is not known, or that RFC 3339 can't write.
func (w *writer) timestamp(name string, t time.Time) {
	t = t.UTC()
	if y := t.Year(); !t.IsZero() && y >= 1 && y <= 9999 {
		w.open(name)
		w.b = t.AppendFormat(w.b, stampLayout)
		w.close(name)
	}
}

// stampLayout is RFC 3339 in UTC with a capital Z (RFC 3863 §4.1.7).
const stampLayout = "2006-01-02T15:04:05.000Z"

func stamp(t time.Time) string { return t.UTC().Format(stampLayout) }

func (w *writer) escape(s string) { w.b = AppendText(w.b, s) }

// AppendText appends s as XML character data, which may stand in an attribute
// too. Control characters, which XML 1.0 can't hold, are left out; what isn't
// UTF-8 becomes U+FFFD.
func AppendText(b []byte, s string) []byte {
	from := 0 // what is before it is written
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '<' && c != '>' && c != '&' && c != '"' && c != '\'' {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		as, plain := escaped(r, n)
		if !plain {
			b = append(b, s[from:i]...)
			b = append(b, as...)
			from = i + n
		}
		i += n
	}
	return append(b, s[from:]...)
}

// escaped is what stands for a character of n bytes; plain: itself.
func escaped(r rune, n int) (as string, plain bool) {
	switch {
	case r == '"':
		return "&#34;", false
	case r == '\'':
		return "&#39;", false
	case r == '&':
		return "&amp;", false
	case r == '<':
		return "&lt;", false
	case r == '>':
		return "&gt;", false
	case r == '\t':
		return "&#x9;", false
	case r == '\n':
		return "&#xA;", false
	case unicode.IsControl(r):
		return "", false
	case r == utf8.RuneError && n == 1, r == 0xFFFE, r == 0xFFFF:
		return "\uFFFD", false
	}
	return "", true
}
