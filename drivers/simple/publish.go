package simple

import (
	"context"
	"errors"
	"mime"
	"strings"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/pidf"
	"pilotlight/drivers/internal/sip"
)

// publish serves a PUBLISH (RFC 3903 §6): each success has a new entity-tag, and
// is on disk before the answer. Requests of one presentity are in order because
// those of one Call-ID are, and an agent has one (EPA-01); the ledger decides
// between agents.
func (r *run) publish(ctx context.Context, in *sip.Incoming) {
	p, no := r.publication(ctx, in)
	if no != nil {
		r.refuse(in, no)
		return
	}
	if _, known := r.known.kind(p.Of); !known {
		r.refuse(in, &refusal{status: 404}) // PUB-01
		return
	}
	tag, length, err := r.n.Heart.Publish(ctx, p)
	if err != nil {
		r.refuse(in, publishFault(err))
		return
	}
	r.count.with(func(s *Stats) { s.Publications++ })
	_ = in.Respond(sip.Reply{Status: 200, Header: sip.Header{{Name: "SIP-ETag", Value: string(tag)}, {Name: "Expires", Value: seconds(length)}}})
}

func publishFault(err error) *refusal {
	switch {
	case errors.Is(err, presence.ErrNoMatch):
		return &refusal{status: 412}
	case errors.Is(err, presence.ErrInvalid):
		return &refusal{status: 400}
	case errors.Is(err, presence.ErrFull):
		return &refusal{status: 503, header: sip.Header{{Name: "Retry-After", Value: "60"}}}
	}
	return &refusal{status: 500}
}

// publication is what a PUBLISH says.
func (r *run) publication(ctx context.Context, in *sip.Incoming) (p presence.Publication, no *refusal) {
	p.Of = presence.At(in.URI.User, r.c.Domain)
	who, no := r.identify(in, "publish")
	if no != nil {
		if who.device = r.byDevice(ctx, in, p.Of); who.device == "" {
			return p, no
		}
		who.as = p.Of
	}
	r.vouch(in, who)
	if who.peer == nil && who.as != p.Of {
		return p, &refusal{status: 403} // PUB-11
	}
	tags := in.Header.List("SIP-If-Match")
	if len(tags) > 1 || in.Header.Has("SIP-If-Match") && len(tags) == 0 {
		return p, &refusal{status: 400} // PUB-03
	}
	if len(tags) == 1 {
		p.IfMatch = presence.ETag(cut(tags[0], 128))
	}
	if p.Expires, no = r.expires(in); no != nil {
		return p, no
	}
	p.By = by(who, in)
	if len(in.Body) == 0 {
		return p, nil // the ledger refuses one that says nothing at all (PUB-06)
	}
	if p.Said, no = said(in); no != nil {
		return p, no
	}
	if p.Expires == 0 {
		p.Said = nil // a removal that brings a body says it for no time
	}
	return p, nil
}

func by(who caller, in *sip.Incoming) string {
	if who.peer != nil {
		return who.peer.Name
	}
	if who.device != "" {
		return who.device
	}
	if ua, _, _ := strings.Cut(in.Header.Get("User-Agent"), " "); ua != "" {
		return cut(ua, 64)
	}
	return "an agent of " + who.as.User()
}

// said reads the body (PUB-05).
func said(in *sip.Incoming) (*presence.Said, *refusal) {
	kind, _, err := mime.ParseMediaType(in.Header.Get("Content-Type"))
	if err != nil || kind != pidf.ContentType && kind != pidf.CPIMContentType {
		return nil, &refusal{status: 415, header: sip.Header{{Name: "Accept", Value: pidf.ContentType}}}
	}
	doc, err := pidf.Parse(in.Body)
	if err != nil {
		return nil, &refusal{status: 400}
	}
	s := &presence.Said{Availability: doc.Availability(), Note: cut(doc.Note, 512)}
	if a, ok := doc.Abilities(); ok {
		s.Abilities = &a
	}
	return s, nil
}
