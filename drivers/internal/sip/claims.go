package sip

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// claims is who takes what.
type claims struct {
	mu   sync.RWMutex
	list []claimed
}

type claimed struct {
	Claim
	handler Handler
}

// eventMethod reports whether an Event header decides, too (RFC 6665 §4.1, RFC 3903 §4).
func eventMethod(m string) bool { return m == "SUBSCRIBE" || m == "NOTIFY" || m == "PUBLISH" }

func (c *claims) add(claim Claim, h Handler) error {
	switch {
	case h == nil || claim.Method == "":
		return fmt.Errorf("sip: claim needs a method and a handler")
	case !knownMethod(claim.Method) || claim.Method == "CANCEL":
		return fmt.Errorf("sip: %s cannot be claimed", claim.Method)
	case eventMethod(claim.Method) != (claim.Event != ""):
		return fmt.Errorf("sip: claim to %s: SUBSCRIBE, NOTIFY and PUBLISH, and only they, are claimed by event package", claim.Method)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, other := range c.list {
		if other.Method == claim.Method && other.Event == claim.Event && (other.Match == nil || claim.Match == nil) {
			return fmt.Errorf("sip: %s is claimed twice", strings.TrimSpace(claim.Method+" "+claim.Event))
		}
	}
	c.list = append(c.list, claimed{claim, h})
	return nil
}

// find decides who takes the request, or why nobody does: the part of RFC 3261
// §8.2 that depends on what this program serves.
func (c *claims) find(m *message, x *facts) (*claimed, *fault) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for i := range c.list { // claims are never taken back
		one := &c.list[i]
		if one.Method == m.method && one.Event == x.event && (one.Match == nil || one.Match(x.uri.User, x.uri.Host)) {
			return one, unsupported(m, one.Options)
		}
	}
	var mine []claimed
	for _, one := range c.list {
		if one.Method == m.method {
			mine = append(mine, one)
		}
	}
	if f := c.unclaimed(m, x, mine); f != nil {
		return nil, f
	}
	if x.to.Params["tag"] != "" {
		return nil, &fault{status: 481, why: "no such dialog"}
	}
	return nil, &fault{status: 404, why: "not ours"}
}

func (c *claims) unclaimed(m *message, x *facts, mine []claimed) *fault {
	// OPTIONS and CANCEL are the endpoint's own business.
	if m.method == "OPTIONS" && len(mine) == 0 {
		if x.to.Params["tag"] != "" {
			return &fault{status: 481, why: "no such dialog"}
		}
		if f := unsupported(m, nil); f != nil {
			return f
		}
		return &fault{status: 200, why: "options", header: c.capabilities()}
	}
	if len(mine) == 0 {
		if x.to.Params["tag"] != "" && m.method != "REGISTER" && m.method != "PUBLISH" && m.method != "MESSAGE" {
			return &fault{status: 481, why: "no such dialog"} // §12.2.2
		}
		return &fault{status: 405, why: "method not taken", header: Header{{"Allow", c.allow()}}}
	}
	if eventMethod(m.method) && !slices.ContainsFunc(mine, func(o claimed) bool { return o.Event == x.event }) {
		return &fault{status: 489, why: "event package not served", header: Header{{"Allow-Events", events(mine)}}}
	}
	return nil
}

// unsupported: Require names what the sender insists on (§8.2.2.3), and a
// coded body nobody here decodes (§8.2.3).
func unsupported(m *message, options []string) *fault {
	var unknown []string
	for _, tag := range m.header.List("Require") {
		if !slices.Contains(options, tag) {
			unknown = append(unknown, tag)
		}
	}
	if len(unknown) > 0 && m.method != "ACK" && m.method != "CANCEL" {
		return &fault{status: 420, why: "extension", header: Header{{"Unsupported", strings.Join(unknown, ", ")}}}
	}
	if enc := m.header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") && len(m.body) > 0 {
		return &fault{status: 415, why: "coded body", header: Header{{"Accept-Encoding", "identity"}}}
	}
	return nil
}

// allow lists what the endpoint takes, ACK and CANCEL included (CORE-07).
func (c *claims) allow() string {
	set := map[string]bool{"OPTIONS": true, "ACK": true, "CANCEL": true}
	for _, one := range c.list {
		set[one.Method] = true
	}
	var out []string
	for _, m := range methods {
		if set[m] {
			out = append(out, m)
		}
	}
	return strings.Join(out, ", ")
}

// events lists packages without templates such as presence.winfo (EV-19).
func events(list []claimed) string {
	var out []string
	for _, one := range list {
		if one.Event != "" && !strings.Contains(one.Event, ".") && !slices.Contains(out, one.Event) {
			out = append(out, one.Event)
		}
	}
	return strings.Join(out, ", ")
}

// capabilities is the answer to OPTIONS (§11.2).
func (c *claims) capabilities() Header {
	var accept, options []string
	var notifiers []claimed
	for _, one := range c.list {
		if one.Method == "SUBSCRIBE" {
			notifiers = append(notifiers, one)
		}
		for _, t := range one.Accept {
			if !slices.Contains(accept, t) {
				accept = append(accept, t)
			}
		}
		for _, t := range one.Options {
			if !slices.Contains(options, t) {
				options = append(options, t)
			}
		}
	}
	h := Header{{"Allow", c.allow()}, {"Accept-Encoding", "identity"}, {"Accept-Language", "en"}}
	for _, f := range []Field{{"Accept", strings.Join(accept, ", ")}, {"Supported", strings.Join(options, ", ")}, {"Allow-Events", events(notifiers)}} {
		if f.Value != "" {
			h = append(h, f)
		}
	}
	return h
}

// incoming is the view that the handler gets.
func incoming(m *message, x *facts, source, local netip.AddrPort, transport string) *Incoming {
	return &Incoming{Method: m.method, URI: x.uri, From: x.from, To: x.to, CallID: m.header.Get("Call-ID"), CSeq: x.cseq,
		Event: x.event, EventID: x.id, Header: m.header, Body: m.body, Source: source, Local: local, Transport: transport}
}

// allowed is allow for those who do not hold the lock.
func (c *claims) allowed() string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.allow()
}
