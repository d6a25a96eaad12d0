package event

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"pilotlight/drivers/internal/sip"
)

// Header is the value of an Event header (RFC 6665 §8.2.1).
type Header struct {
	Package string     // with its templates, "presence.winfo"; case counts (EV-02)
	ID      string     // tells apart the subscriptions of one dialog
	Params  sip.Params // the others, such as call-id and max-rate
}

var errEvent = errors.New("no event package")

// ParseEvent reads an Event header.
func ParseEvent(value string) (Header, error) {
	word, params, _ := strings.Cut(value, ";")
	h := Header{Package: strings.TrimSpace(word)}
	if !isToken(h.Package) || strings.HasPrefix(h.Package, ".") || strings.HasSuffix(h.Package, ".") || strings.Contains(h.Package, "..") {
		return Header{}, fmt.Errorf("event %.40q: %w", value, errEvent)
	}
	h.ID, h.Params = take(sip.ParseParams(params), "id")
	return h, nil
}

// String is the header's value.
func (h Header) String() string {
	b := []byte(h.Package)
	if h.ID != "" {
		b = appendParam(b, "id", h.ID)
	}
	return string(appendParams(b, h.Params))
}

// State is the value of a Subscription-State header (RFC 6665 §8.2.3).
type State struct {
	Status     Status
	Reason     string        // of Ended: "deactivated", "timeout", …
	RetryAfter time.Duration // of Ended; 0: not told
	Expires    time.Duration
	HasExpires bool
	Params     sip.Params // the others, such as max-rate, which is told as it is held (RFC 6446 §4.2, RC-01)
}

// ParseState reads a Subscription-State header; false where there is none. A
// state that it doesn't know counts as pending: nothing is granted yet.
func ParseState(value string) (State, bool) {
	// It has the grammar of an address's parameters behind a token.
	word, params, _ := strings.Cut(value, ";")
	s := State{Status: Status(strings.ToLower(strings.TrimSpace(word)))}
	if s.Status == "" {
		return State{}, false
	}
	if s.Status != Active && s.Status != Ended {
		s.Status = Pending
	}
	var reason, after, expires string
	p := sip.ParseParams(params)
	reason, p = take(p, "reason")
	after, p = take(p, "retry-after")
	expires, p = take(p, "expires")
	s.Reason = strings.ToLower(reason)
	s.RetryAfter, _ = sip.Seconds(after)
	s.Expires, s.HasExpires = sip.Seconds(expires)
	s.Params = p
	return s, true
}

// String is the header's value: with the time that is left, whole seconds of it,
// while the subscription lives, and with the reason at its end (EV-06).
func (s State) String() string {
	b := []byte(s.Status)
	if s.Status == Ended {
		if s.Reason != "" {
			b = appendParam(b, "reason", s.Reason)
		}
		if s.RetryAfter > 0 {
			up := (s.RetryAfter + time.Second - 1) / time.Second // never earlier than was meant
			b = appendParam(b, "retry-after", strconv.FormatInt(int64(up), 10))
		}
	} else if s.HasExpires {
		b = appendParam(b, "expires", strconv.FormatInt(int64(max(0, s.Expires)/time.Second), 10))
	}
	return string(appendParams(b, s.Params))
}

// take takes one parameter out of p, which is nil when that was all.
func take(p sip.Params, name string) (string, sip.Params) {
	value := p[name]
	delete(p, name)
	if len(p) == 0 {
		p = nil
	}
	return value, p
}

// appendParams writes parameters by name, so that the value is the same each time.
func appendParams(b []byte, p sip.Params) []byte {
	for _, name := range slices.Sorted(maps.Keys(p)) {
		b = appendParam(b, name, p[name])
	}
	return b
}

// appendParam writes one, in quotes where its value is no token (RFC 3261 §25.1).
// One whose name is none would be another parameter or another header: it is left
// out, and so are control characters.
func appendParam(b []byte, name, value string) []byte {
	if !isToken(name) {
		return b
	}
	b = append(append(b, ';'), name...)
	switch {
	case value == "":
		return b
	case isToken(value):
		return append(append(b, '='), value...)
	}
	b = append(b, '=', '"')
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c < ' ' || c == 0x7f:
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-.!%*_+`'~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
