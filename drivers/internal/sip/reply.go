package sip

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"strconv"
	"strings"

	siplib "github.com/emiago/sipgo/sip"
)

// ErrAnswered is what a second final response to one request gets.
var ErrAnswered = errors.New("sip: already answered")

// reasons are the usual phrases; any other status says its class.
var reasons = map[int]string{
	100: "Trying", 200: "OK", 202: "Accepted", 204: "No Notification", 400: "Bad Request", 401: "Unauthorized",
	403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable",
	407: "Proxy Authentication Required", 412: "Conditional Request Failed", 413: "Request Entity Too Large",
	415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 420: "Bad Extension", 423: "Interval Too Brief",
	480: "Temporarily Unavailable", 481: "Subscription Does Not Exist", 482: "Loop Detected", 486: "Busy Here",
	487: "Request Terminated", 489: "Bad Event", 500: "Server Internal Error", 501: "Not Implemented",
	503: "Service Unavailable", 505: "Version Not Supported",
}

func reasonOf(status int) string {
	if r, ok := reasons[status]; ok {
		return r
	}
	return "Status " + strconv.Itoa(status)
}

// response builds the response to m (RFC 3261 §8.2.6.2): Via, From, Call-ID
// and CSeq as they came, To with a tag. It quotes whatever is there, since it
// also answers requests that lack things.
func (e *Endpoint) response(m *message, v via, source netip.AddrPort, r Reply) *siplib.Response {
	if r.Reason == "" {
		r.Reason = reasonOf(r.Status)
	}
	res := siplib.NewResponse(r.Status, r.Reason)
	add := func(name, value string) { res.AppendHeader(siplib.NewHeader(name, value)) }
	for i, row := range m.header.Values("Via") {
		if i == 0 {
			row = stampVia(v, source)
		}
		add("Via", row)
	}
	if recordsRoute(m.method, r.Status) {
		for _, row := range m.header.Values("Record-Route") {
			add("Record-Route", row)
		}
	}
	for _, name := range []string{"From", "To", "Call-ID", "CSeq"} {
		value := m.header.Get(name)
		if value == "" {
			continue
		}
		if name == "To" && r.Status > 100 {
			value = e.tagged(m, value, r.ToTag)
		}
		add(name, value)
	}
	if r.Contact != "" {
		add("Contact", r.Contact)
	}
	add("Server", e.cfg.UserAgent)
	for _, f := range r.Header {
		add(f.Name, f.Value)
	}
	if r.ContentType != "" {
		add("Content-Type", r.ContentType)
	}
	res.SetBody(r.Body)
	return res
}

// recordsRoute: a 2xx that can make a dialog copies Record-Route (§12.1.1); in
// answers to PUBLISH it must not be (RFC 3903 §6).
func recordsRoute(method string, status int) bool {
	switch method {
	case "INVITE", "SUBSCRIBE", "REFER", "NOTIFY":
		return status > 100 && status < 300
	}
	return false
}

// tagged adds the To tag, if there is none. The one made here depends on the
// request alone, so that an answer without state to a retransmission has the
// same (§8.2.7).
func (e *Endpoint) tagged(m *message, to, tag string) string {
	if a, err := ParseAddress(to); err == nil && a.Params["tag"] != "" {
		return to
	}
	if tag == "" {
		tag = e.stableTag(m)
	}
	return to + ";tag=" + tag
}

func (e *Endpoint) stableTag(m *message) string {
	var h maphash.Hash
	h.SetSeed(e.seed)
	for _, name := range []string{"Call-ID", "From", "CSeq", "Via"} {
		h.WriteString(m.header.Get(name))
		h.WriteByte(0)
	}
	return fmt.Sprintf("%016x", h.Sum64())
}

// stampVia is the topmost Via field as the response returns it: received and
// rport tell the sender where it was seen (RFC 3261 §18.2.1, RFC 3581 §4,
// RFC 5118 §4.5: an IPv6 address there has no brackets).
func stampVia(v via, source netip.AddrPort) string {
	if !source.IsValid() {
		return v.value
	}
	var kept []string
	for i, part := range split(v.value, ';') {
		name, value, _ := strings.Cut(part, "=")
		switch name = strings.ToLower(trim(name)); {
		case i > 0 && name == "received":
			continue
		case i > 0 && name == "rport" && trim(value) == "":
			part = "rport=" + strconv.Itoa(int(source.Port()))
		}
		kept = append(kept, part)
	}
	if v.rport || v.host != source.Addr().String() {
		kept = append(kept, "received="+source.Addr().String())
	}
	out := strings.Join(kept, ";")
	if v.rest != "" {
		out += ", " + v.rest
	}
	return out
}

// answerTo is where a response over UDP goes: to the source address, at the
// source port when the Via asked so, else at the Via's (§18.2.2, RFC 3581 §4).
func answerTo(v via, source netip.AddrPort) netip.AddrPort {
	switch {
	case v.rport:
		return source
	case v.port != 0:
		return netip.AddrPortFrom(source.Addr(), uint16(v.port))
	}
	return netip.AddrPortFrom(source.Addr(), 5060)
}

// check refuses a reply that would break the message.
func (r Reply) check() error {
	if r.Status < 100 || r.Status > 699 || !oneLine(r.Reason+r.ToTag+r.Contact+r.ContentType) {
		return fmt.Errorf("sip: bad reply %d", r.Status)
	}
	return r.Header.check()
}

func (h Header) check() error {
	for _, f := range h {
		if !isToken(f.Name) || !oneLine(f.Value) {
			return fmt.Errorf("sip: bad header field %q", f.Name)
		}
	}
	return nil
}
