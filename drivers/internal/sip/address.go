package sip

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Params are the parameters of a URI, an address or a Via, names in lower
// case, values without quotes.
type Params map[string]string

// URI is a SIP or SIPS URI taken apart (RFC 3261 §19.1.1). Of any other URI
// only Scheme and Raw are set.
type URI struct {
	Raw    string // as it was written
	Scheme string // lower case
	User   string // unescaped once, without password
	Host   string // lower case; IPv6 without brackets
	Port   int    // 0: none given
	Params Params
}

func (u URI) String() string { return u.Raw }

// Addr is the host, when it is a literal address.
func (u URI) Addr() (netip.Addr, bool) {
	a, err := netip.ParseAddr(u.Host)
	return a, err == nil
}

// transport is the one that the URI asks for (RFC 3261 §19.1.2, §26.2.2).
func (u URI) transport() string {
	t := strings.ToLower(u.Params["transport"])
	switch {
	case u.Scheme == "sips" && (t == "" || t == "tcp"):
		return "tls"
	case t == "":
		return "udp"
	}
	return t
}

var errURI = errors.New("not a URI")

// ParseURI reads s. SIP URIs with headers (?) are read, and the headers are
// kept in Raw only: nobody here makes requests of them.
func ParseURI(s string) (URI, error) {
	u := URI{Raw: s}
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || !isScheme(scheme) || rest == "" {
		return u, errURI
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == '<' || s[i] == '>' || s[i] == '"' || s[i] == 0x7f {
			return u, fmt.Errorf("%w: blank, quote or bracket in it", errURI)
		}
	}
	u.Scheme = strings.ToLower(scheme)
	if u.Scheme != "sip" && u.Scheme != "sips" {
		return u, nil
	}
	// The user part may hold ; and ?, so look for the @ first.
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user, _, _ := strings.Cut(rest[:at], ":")
		if u.User = unescape(user); u.User == "" {
			return u, fmt.Errorf("%w: empty user", errURI)
		}
		rest = rest[at+1:]
	}
	rest, _, _ = strings.Cut(rest, "?")
	hostport, params, _ := strings.Cut(rest, ";")
	var err error
	if u.Host, u.Port, err = hostPort(hostport); err != nil {
		return u, err
	}
	u.Params = ParseParams(params)
	return u, nil
}

func isScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

// unescape resolves %HH once (RFC 3261 §19.1.4), and leaves what is no escape.
func unescape(s string) string {
	if out, err := url.PathUnescape(s); err == nil {
		return out
	}
	return s
}

// hostPort reads "host", "host:port", "[v6]:port". LWS around the colon is
// legal in a Via (RFC 3261 §25.1, COLON).
func hostPort(s string) (host string, port int, err error) {
	s = trim(s)
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, fmt.Errorf("%w: [ without ]", errURI)
		}
		// RFC 5118 §4.10: a third colon before an IPv4 tail is an old bug of the
		// grammar, and to be borne.
		host = strings.Replace(s[1:end], ":::", "::", 1)
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return "", 0, fmt.Errorf("%w: no IPv6 address in []", errURI)
		}
		s = trim(s[end+1:])
		if s != "" && s[0] != ':' {
			return "", 0, fmt.Errorf("%w: text after ]", errURI)
		}
		s = strings.TrimPrefix(s, ":")
	} else {
		host, s, _ = strings.Cut(s, ":")
		if host = strings.ToLower(trim(host)); !isHost(host) {
			return "", 0, fmt.Errorf("%w: bad host", errURI)
		}
	}
	if s = trim(s); s != "" {
		p, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return "", 0, fmt.Errorf("%w: bad port", errURI)
		}
		port = int(p)
	}
	return host, port, nil
}

// isHost is lenient by the underscore, which real networks have.
func isHost(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_') {
			return false
		}
	}
	return s != "" && len(s) < 256
}

// ParseParams reads "a=b ; c" (LWS around ; and = is legal, §25.1). The first
// of two equal names counts.
func ParseParams(s string) Params {
	if trim(s) == "" {
		return nil
	}
	p := Params{}
	for part := range elements(s, ';') {
		name, value, _ := strings.Cut(part, "=")
		name = strings.ToLower(trim(name))
		if _, twice := p[name]; name == "" || twice {
			continue
		}
		p[name] = unquote(trim(value))
	}
	return p
}

func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Address is a name-addr or addr-spec with its header parameters.
type Address struct {
	Display string
	URI     string // as it was written, without <>
	Params  Params // of the header, such as tag
}

var errAddress = errors.New("not an address")

// ParseAddress reads the value of a From, To, Contact, Route (one element).
func ParseAddress(s string) (Address, error) {
	var a Address
	s = trim(s)
	open, err := angle(s)
	if err != nil {
		return a, err
	}
	if open < 0 {
		// Without <> all parameters are the header's, and no ? may be (§20.10).
		uri, params, _ := strings.Cut(s, ";")
		if a.URI = trim(uri); strings.ContainsAny(a.URI, "?,") {
			return a, fmt.Errorf("%w: ? or , outside <>", errAddress)
		}
		a.Params = ParseParams(params)
		_, err := ParseURI(a.URI)
		return a, err
	}
	if a.Display = trim(s[:open]); !isDisplay(a.Display) {
		return a, fmt.Errorf("%w: display name", errAddress)
	}
	a.Display = unquote(a.Display)
	end := strings.IndexByte(s[open:], '>')
	if end < 0 {
		return a, fmt.Errorf("%w: < without >", errAddress)
	}
	a.URI = s[open+1 : open+end]
	rest := trim(s[open+end+1:])
	if rest != "" && rest[0] != ';' {
		return a, fmt.Errorf("%w: text after >", errAddress)
	}
	a.Params = ParseParams(strings.TrimPrefix(rest, ";"))
	_, err = ParseURI(a.URI)
	return a, err
}

// angle finds the < that opens the URI, outside quotes; -1 without one.
func angle(s string) (int, error) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '<' && !quoted:
			return i, nil
		case c == ';' && !quoted:
			return -1, nil
		}
	}
	if quoted {
		return -1, fmt.Errorf("%w: quote without end", errAddress)
	}
	return -1, nil
}

// isDisplay takes a quoted string, or tokens with blanks between them. UTF-8
// outside quotes is a common sin of phones that name their users.
func isDisplay(s string) bool {
	if strings.HasPrefix(s, `"`) {
		return len(s) > 1 && strings.HasSuffix(s, `"`)
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; !tokenByte(c) && c != ' ' && c != '\t' && c < 0x80 {
			return false
		}
	}
	return true
}
