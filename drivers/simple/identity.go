package simple

import (
	"slices"
	"strings"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/sip"
)

// caller is who sends a request, as far as it is known.
type caller struct {
	as      presence.Presentity // who it says it is, and may say
	peer    *Peer
	account bool   // by digest
	device  string // by its address, for its own lines
}

// proven: it is no mere claim who this is.
func (c caller) proven() bool {
	return c.account || c.peer != nil && slices.Contains(c.peer.May, "message")
}

// refusal is why a request is not served.
type refusal struct {
	status int
	reason string // "": the usual phrase
	header sip.Header
}

func (f *refusal) Error() string { return "refused" }

// identify finds out who asks for something: a user with a password, a peer by
// its address, or for a SUBSCRIBE a network that is trusted (contract, sip).
// A request that brings credentials is held to them.
func (d *Driver) identify(in *sip.Incoming, what string) (caller, *refusal) {
	from, err := presence.ParsePresentity(in.From.URI)
	if err != nil {
		return caller{}, &refusal{status: 403}
	}
	if d.n.Guard != nil && in.Header.Has("Authorization") {
		return d.byDigest(in, from)
	}
	for i := range d.c.Peers {
		p := &d.c.Peers[i]
		if p.From.Contains(in.Source.Addr()) && p.speaksFor(from, d.c.Domain) {
			if slices.Contains(p.May, what) {
				return caller{as: from, peer: p}, nil
			}
			return caller{}, &refusal{status: 403}
		}
	}
	if what == "subscribe" {
		for _, net := range d.c.Trusted {
			if net.Contains(in.Source.Addr()) {
				return caller{as: from}, nil
			}
		}
	}
	if d.n.Guard == nil {
		return caller{}, &refusal{status: 403}
	}
	return d.byDigest(in, from)
}

func (d *Driver) byDigest(in *sip.Incoming, from presence.Presentity) (caller, *refusal) {
	user, challenge, ok := d.n.Guard.Check(in)
	if !ok {
		return caller{}, &refusal{status: 401, header: challenge}
	}
	me := presence.At(user, d.c.Domain)
	if from.Domain() == d.c.Domain && from != me { // somebody else's name with one's own password
		return caller{}, &refusal{status: 403}
	}
	return caller{as: me, account: true}, nil
}

// speaksFor: a peer speaks for the users of its domains.
func (p *Peer) speaksFor(who presence.Presentity, ours string) bool {
	if len(p.Domains) == 0 {
		return who.Domain() == ours
	}
	return slices.ContainsFunc(p.Domains, func(d string) bool { return strings.EqualFold(d, who.Domain()) })
}

// refuse answers with a refusal.
func (d *Driver) refuse(in *sip.Incoming, f *refusal) {
	d.count.refused(in.Method, f.status)
	_ = in.Respond(sip.Reply{Status: f.status, Reason: f.reason, Header: f.header})
}
