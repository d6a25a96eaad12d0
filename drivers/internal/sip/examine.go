package sip

import (
	"strconv"
	"strings"
)

// via is the topmost Via value taken apart.
type via struct {
	transport string // upper case
	host      string
	port      int
	branch    string
	rport     bool   // asked for (RFC 3581)
	value     string // as it came, without the values after it
	rest      string // the values after it in the same field
}

// facts is what examine finds out on the way and others need again.
type facts struct {
	uri        URI
	from, to   Address
	cseq       uint32
	cseqMethod string
	via        via
	event, id  string
}

// single are the fields that may come once (CORE-03).
var single = []string{"From", "To", "Call-ID", "CSeq", "Max-Forwards", "Content-Type", "Content-Length", "Expires", "Event", "SIP-If-Match"}

// methods that this program knows the meaning of: of these an unclaimed one is
// answered 405, any other 501 (RFC 3261 §8.2.1).
var methods = []string{"INVITE", "ACK", "CANCEL", "BYE", "REGISTER", "OPTIONS", "SUBSCRIBE", "NOTIFY", "REFER", "INFO", "MESSAGE", "PRACK", "UPDATE", "PUBLISH"}

func knownMethod(m string) bool {
	for _, k := range methods {
		if k == m { // case-sensitive, §7.1
			return true
		}
	}
	return false
}

// examine holds the rules that every request obeys, whoever takes it, in the
// order of standards.md §1: version, mandatory fields, single fields, CSeq,
// method, Request-URI, addresses.
func examine(m *message) (*facts, *fault) {
	x := &facts{}
	var err error
	if x.via, err = topVia(m.header); err != nil {
		if f := badVersion(m); f != nil {
			return x, f
		}
		// Enough of a Via to answer to where it came from.
		if row := m.header.Get("Via"); len(row) > 4 && strings.EqualFold(row[:3], "SIP") {
			x.via = via{value: row, rport: true}
		}
		return x, bad("Via: " + err.Error())
	}
	if f := badVersion(m); f != nil {
		return x, f
	}
	for _, name := range []string{"To", "From", "Call-ID", "CSeq"} {
		if m.header.Get(name) == "" {
			return x, bad("no " + name)
		}
	}
	for _, name := range single {
		if m.header.count(name) > 1 {
			return x, bad("several " + name)
		}
	}
	if x.cseq, x.cseqMethod, err = parseCSeq(m.header.Get("CSeq")); err != nil {
		return x, bad("CSeq")
	}
	if !knownMethod(m.method) {
		return x, &fault{status: 501, why: "unknown method"}
	}
	if x.cseqMethod != m.method {
		return x, bad("CSeq is of another method")
	}
	if f := x.examineURI(m); f != nil {
		return x, f
	}
	return x, x.examineAddresses(m)
}

func badVersion(m *message) *fault {
	if strings.EqualFold(m.version, "SIP/2.0") {
		return nil
	}
	if len(m.version) < 4 || !strings.EqualFold(m.version[:4], "SIP/") {
		return bad("start line")
	}
	return &fault{status: 505, why: "version"}
}

// examineURI: an unknown scheme gets 416 (§8.2.2.1), a URI with headers 400:
// they are not for a request line (§19.1.1).
func (x *facts) examineURI(m *message) *fault {
	var err error
	if x.uri, err = ParseURI(m.uri); err != nil {
		return bad("Request-URI: " + err.Error())
	}
	if x.uri.Scheme != "sip" && x.uri.Scheme != "sips" {
		return &fault{status: 416, why: "scheme of the Request-URI"}
	}
	if at := strings.LastIndexByte(m.uri, '@'); strings.IndexByte(m.uri[at+1:], '?') >= 0 {
		return bad("headers in the Request-URI")
	}
	return nil
}

func (x *facts) examineAddresses(m *message) *fault {
	var err error
	if x.from, err = ParseAddress(m.header.Get("From")); err != nil {
		return bad("From: " + err.Error())
	}
	if x.to, err = ParseAddress(m.header.Get("To")); err != nil {
		return bad("To: " + err.Error())
	}
	if twoTags(m.header.Get("From")) || twoTags(m.header.Get("To")) {
		return bad("two tags") // §7.3.1: a parameter comes once, and which of them is the dialog's?
	}
	if scheme, _, _ := strings.Cut(x.to.URI, ":"); m.method == "REGISTER" && !strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips") {
		return bad("To: what is registered is a SIP URI") // §10.2
	}
	for _, c := range m.header.List("Contact") {
		if _, err := ParseAddress(c); err != nil && c != "*" {
			return bad("Contact: " + err.Error())
		}
	}
	event := m.header.Get("Event")
	x.event, _, _ = strings.Cut(event, ";")
	x.event = trim(x.event)
	if _, params, ok := strings.Cut(event, ";"); ok {
		x.id = ParseParams(params)["id"]
	}
	return nil
}

// twoTags reports whether an address has more than one tag.
func twoTags(address string) bool {
	n := 0
	for part := range elements(address[strings.LastIndexByte(address, '>')+1:], ';') {
		if name, _, _ := strings.Cut(part, "="); strings.EqualFold(trim(name), "tag") {
			n++
		}
	}
	return n > 1
}

// parseCSeq: below 2^31 (RFC 3261 §8.1.1.5), LWS between number and method.
func parseCSeq(s string) (uint32, string, error) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return 0, "", strconv.ErrSyntax
	}
	n, err := strconv.ParseUint(s[:i], 10, 31)
	return uint32(n), trim(s[i:]), err
}

// topVia reads the first value and checks that the others are not empty.
func topVia(h Header) (via, error) {
	var v via
	count := 0
	for _, f := range h {
		if !f.is("Via") {
			continue
		}
		for value := range elements(f.Value, ',') {
			if count++; count > maxVias || value == "" {
				return v, errAddress
			}
			one, err := parseVia(value)
			if err != nil {
				return v, err
			}
			if count == 1 {
				v = one
				v.rest = trim(strings.TrimPrefix(strings.TrimPrefix(f.Value, value), ","))
			}
		}
	}
	if count == 0 {
		return v, errAddress
	}
	return v, nil
}

// parseVia: sent-protocol LWS sent-by *( SEMI params ), blanks around / ; = :
// allowed (RFC 3261 §25.1).
func parseVia(value string) (via, error) {
	v := via{value: value}
	proto, params, _ := strings.Cut(value, ";")
	parts := strings.SplitN(proto, "/", 3)
	if len(parts) < 3 {
		return v, errAddress
	}
	name, version := trim(parts[0]), trim(parts[1])
	transport, sentBy, ok := strings.Cut(strings.Replace(trim(parts[2]), "\t", " ", 1), " ")
	if !strings.EqualFold(name, "SIP") || !isToken(version) || !ok || !isToken(transport) {
		return v, errAddress
	}
	var err error
	if v.host, v.port, err = hostPort(sentBy); err != nil {
		return v, err
	}
	v.transport = strings.ToUpper(transport)
	rport := false
	for p := range elements(params, ';') {
		if p == "" && params != "" {
			return v, errAddress
		}
		name, value, _ := strings.Cut(p, "=")
		switch name = trim(name); {
		case v.branch == "" && strings.EqualFold(name, "branch"):
			v.branch = unquote(trim(value))
		case !rport && strings.EqualFold(name, "rport"): // the first counts
			rport, v.rport = true, trim(value) == ""
		}
	}
	return v, nil
}
