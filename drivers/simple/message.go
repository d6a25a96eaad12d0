package simple

import (
	"cmp"
	"context"
	"errors"
	"mime"
	"net/netip"
	"strconv"
	"strings"

	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/drivers/internal/sip"
)

// Post keeps instant messages.
type Post interface {
	Send(context.Context, relay.Message) (relay.Message, error)
	Waiting(to presence.Presentity) []relay.Message
	Recipients() map[presence.Presentity]uint64 // with the last message for each
	Delivered(ctx context.Context, id uint64) error
	Refuse(ctx context.Context, id uint64, why string) error
	Changed(ctx context.Context, since uint64) (uint64, error)
}

const textType = "text/plain"

// message takes a MESSAGE for somebody here, or from somebody here to a peer's domain
// (RFC 3428 §7): it is on disk before the 202, and brought to the recipient when a
// device of hers, or her server, takes it.
func (r *run) message(ctx context.Context, in *sip.Incoming) {
	who, no := r.identify(in, "message")
	if no != nil {
		r.refuse(in, no)
		return
	}
	r.vouch(in, who)
	kind, params, err := mime.ParseMediaType(in.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	if err != nil || kind != textType || charset != "" && charset != "utf-8" && charset != "us-ascii" {
		r.refuse(in, &refusal{status: 415, header: sip.Header{{Name: "Accept", Value: textType}}}) // MSG-05
		return
	}
	m := relay.Message{From: who.as, To: r.named(in.URI), Text: string(in.Body)}
	switch peer := r.peerOf(m.To); {
	case peer != nil:
		m.Hops, no = r.mayPass(in, who, m.To, peer)
	case !r.person(m.To):
		no = &refusal{status: 404}
	}
	if no != nil {
		r.refuse(in, no)
		return
	}
	_, err = r.n.Post.Send(ctx, m)
	switch {
	case errors.Is(err, relay.ErrNoText):
		r.refuse(in, &refusal{status: 400})
	case errors.Is(err, relay.ErrPostFull):
		r.refuse(in, &refusal{status: 503, header: sip.Header{{Name: "Retry-After", Value: "300"}}})
	case err != nil:
		r.refuse(in, &refusal{status: 500})
	default:
		_ = in.Respond(sip.Reply{Status: 202}) // stored (MSG-03), without Contact and body (MSG-01)
	}
}

// mayPass decides whether a message may go to a peer, and how many servers further.
// Our own people's may, and nobody else's, and none goes back to where it came from:
// so two servers never send each other round, and a longer circle ends by the hops.
func (d *Driver) mayPass(in *sip.Incoming, who caller, to presence.Presentity, peer *Peer) (hops int, no *refusal) {
	if back := who.peer != nil && (who.peer.Target == peer.Target || peer.at(in.Source)); back || !d.local(who.as) {
		return 0, &refusal{status: 403}
	}
	// What the Request-URI had escaped must not make another address of it.
	if same, err := presence.ParsePresentity(string(to)); err != nil || same != to {
		return 0, &refusal{status: 404}
	}
	left, err := strconv.Atoi(in.Header.Get("Max-Forwards"))
	switch {
	case err != nil: // none (RFC 3261 §16.6.3)
		left = maxHops
	case left < 2: // nothing would be left for the far side
		return 0, &refusal{status: 483}
	}
	return min(left, maxHops) - 1, nil
}

// at reports whether a peer is known to be where a request came from. By TCP the
// port says nothing, and two servers may share an address.
func (p *Peer) at(source netip.AddrPort) bool {
	if p.From.IsSingleIP() && p.From.Contains(source.Addr()) {
		return true
	}
	target, err := sip.ParseURI(p.Target)
	if err != nil {
		return false
	}
	at, err := netip.ParseAddr(strings.Trim(target.Host, "[]"))
	port := cmp.Or(target.Port, 5060)
	return err == nil && netip.AddrPortFrom(at.Unmap(), uint16(port)) == source
}

const maxHops = 70 // RFC 3261 §8.1.1.6

func (r *run) person(of presence.Presentity) bool {
	kind, known := r.known.kind(of)
	return known && kind == presence.KindPerson
}
