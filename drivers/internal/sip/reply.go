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
	480: "Temporarily Unavailable", 481: "Subscription Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops", 486: "Busy Here",
	487: "Request Terminated", 489: "Bad Event", 500: "Server Internal Error", 501: "Not Implemented",
	503: "Service Unavailable", 505: "Version Not Supported",
}

func reasonOf(status int) string {
	if r, ok := reasons[status]; ok {
		return r
	}
	return "Status " + strconv.Itoa(status)
}

// answer is a response to send, its fields in order.
type answer struct {
	status int
	reason string
	header Header
	body   []byte
}

// answer builds the response to m (RFC 3261 §8.2.6.2): Via, From, Call-ID
// and CSeq as they came, To with a tag. It quotes whatever is there, since it
// also answers requests that lack things.
func (e *Endpoint) answer(m *message, v via, source netip.AddrPort, r Reply) *answer {
	if r.Reason == "" {
		r.Reason = reasonOf(r.Status)
	}
	a := &answer{status: r.Status, reason: r.Reason, header: make(Header, 0, 9+len(r.Header)), body: r.Body}
	copied := func(name string, change func(string) string) {
		for _, f := range m.header {
			if !f.is(name) {
				continue
			}
			if change != nil {
				f.Value, change = change(f.Value), nil
			}
			if f.Value != "" {
				a.header.Add(name, f.Value)
			}
			if name != "Via" && name != "Record-Route" {
				return // the first counts, where there should be one only
			}
		}
	}
	copied("Via", func(string) string { return stampVia(v, source) })
	if recordsRoute(m.method, r.Status) {
		copied("Record-Route", nil)
	}
	copied("From", nil)
	copied("To", func(value string) string {
		if value == "" || r.Status == 100 {
			return value
		}
		return e.tagged(m, value, r.ToTag)
	})
	copied("Call-ID", nil)
	copied("CSeq", nil)
	if r.Contact != "" {
		a.header.Add("Contact", r.Contact)
	}
	a.header.Add("Server", e.cfg.UserAgent)
	a.header = append(a.header, r.Header...)
	if r.ContentType != "" {
		a.header.Add("Content-Type", r.ContentType)
	}
	return a
}

// render writes it.
func (a *answer) render() []byte {
	size := len(a.reason) + len(a.body) + 48
	for _, f := range a.header {
		size += len(f.Name) + len(f.Value) + 4
	}
	b := make([]byte, 0, size)
	b = append(strconv.AppendInt(append(b, "SIP/2.0 "...), int64(a.status), 10), ' ')
	b = append(append(b, a.reason...), "\r\n"...)
	for _, f := range a.header {
		b = append(append(append(append(b, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
	b = strconv.AppendInt(append(b, "Content-Length: "...), int64(len(a.body)), 10)
	return append(append(b, "\r\n\r\n"...), a.body...)
}

// sipgo is the same for sipgo's transaction of an INVITE.
func (a *answer) sipgo() *siplib.Response {
	res := siplib.NewResponse(a.status, a.reason)
	for _, f := range a.header {
		res.AppendHeader(siplib.NewHeader(f.Name, f.Value))
	}
	res.SetBody(a.body)
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
	if hasTag(to) {
		return to
	}
	if tag == "" {
		tag = e.stableTag(m)
	}
	return to + ";tag=" + tag
}

// hasTag parses only what could have one.
func hasTag(to string) bool {
	for i := 0; i+3 <= len(to); i++ {
		if to[i]|0x20 == 't' && strings.EqualFold(to[i:i+3], "tag") {
			a, err := ParseAddress(to)
			return err == nil && a.Params["tag"] != ""
		}
	}
	return false
}

func (e *Endpoint) stableTag(m *message) string {
	var h maphash.Hash
	h.SetSeed(e.seed)
	for _, name := range []string{"Call-ID", "From", "CSeq", "Via"} {
		h.WriteString(m.header.Get(name))
		h.WriteByte(0)
	}
	return string(appendHex(nil, h.Sum64(), 16))
}

// stampVia is the topmost Via field as the response returns it: received and
// rport tell the sender where it was seen (RFC 3261 §18.2.1, RFC 3581 §4,
// RFC 5118 §4.5: an IPv6 address there has no brackets).
func stampVia(v via, source netip.AddrPort) string {
	if !source.IsValid() {
		return v.value
	}
	b := make([]byte, 0, len(v.value)+len(v.rest)+64)
	for part := range elements(v.value, ';') {
		name, value, _ := strings.Cut(part, "=")
		name = trim(name)
		first := len(b) == 0
		if !first && strings.EqualFold(name, "received") {
			continue
		}
		if !first {
			b = append(b, ';')
		}
		if !first && strings.EqualFold(name, "rport") && trim(value) == "" {
			b = strconv.AppendUint(append(b, "rport="...), uint64(source.Port()), 10)
		} else {
			b = append(b, part...)
		}
	}
	if from := source.Addr().String(); v.rport || v.host != from {
		b = append(append(b, ";received="...), from...)
	}
	if v.rest != "" {
		b = append(append(b, ", "...), v.rest...)
	}
	return string(b)
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
