package simple

import (
	"context"
	"strings"
	"time"

	"pilotlight/agent/presence"
	"pilotlight/agent/supervise"
	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/sip"
)

// Elsewhere follows the presence of people at other servers.
type Elsewhere interface {
	FollowPresence(context.Context, event.Config, func(event.Presence), func(error)) error
}

const (
	maxRemote  = 1000             // subscriptions to other servers that stand at a time
	farExpires = 10 * time.Minute // within that a server that died without a word is found out
)

// server is the peer that has the people of a domain, nil where none does.
func (d *Driver) server(domain string) *Peer {
	domain = strings.ToLower(domain) // as presentities have it; EqualFold would fold more
	if domain == strings.ToLower(d.c.Domain) || d.n.Elsewhere == nil {
		return nil
	}
	for i := range d.c.Peers {
		for _, theirs := range d.c.Peers[i].Domains {
			if p := &d.c.Peers[i]; p.Target != "" && strings.ToLower(theirs) == domain {
				return p
			}
		}
	}
	return nil
}

// Reaches reports whether a peer has the people of a domain.
func (d *Driver) Reaches(domain string) bool { return d.server(domain) != nil }

// local: of our own domain.
func (d *Driver) local(who presence.Presentity) bool {
	return who.Domain() == strings.ToLower(d.c.Domain)
}

// served: beside what is ours, what a peer has can be watched here.
func (d *Driver) served(user, host string) bool { return d.ours(user, host) || d.server(host) != nil }

// named is the presentity that a Request-URI names.
func (d *Driver) named(u sip.URI) presence.Presentity {
	if d.server(u.Host) != nil {
		return presence.At(u.User, u.Host)
	}
	return presence.At(u.User, d.c.Domain)
}

// far is somebody at another server, as one watcher of ours sees her: the other
// server decides what each of them may see.
type far struct{ stop context.CancelFunc }

// site is where a subscription's presentity is kept.
func (r *run) site(s *subscription) *watched {
	if !s.remote(r.Driver) {
		return r.watch(s.Of)
	}
	w := r.watch(s.Of + " " + s.Watcher) // no presentity has a blank in it
	if w.far == nil {
		w.far, w.known = &far{}, true
		w.doc = presence.Document{Of: s.Of, Kind: presence.KindPerson, Availability: presence.Unknown, Freshness: presence.NeverSeen}
	}
	return w
}

func (s *subscription) remote(d *Driver) bool { return !d.local(s.Of) }

// mayReach decides whether a watcher may watch somebody elsewhere through us: our
// own people may, and nobody else, or two servers could send each other round.
func (r *run) mayReach(s *subscription, fetch bool) *refusal {
	switch {
	case r.server(s.Of.Domain()) == nil:
		return &refusal{status: 404}
	case !r.local(s.Watcher):
		return &refusal{status: 403}
	case r.abroad >= maxRemote:
		return &refusal{status: 503, header: sip.Header{{Name: "Retry-After", Value: "60"}}}
	}
	w := r.site(s)
	if no := r.enter(s, w, fetch); no != nil || fetch {
		r.leave(w)
		return no
	}
	r.reach(w, s)
	return nil
}

// reach begins to follow somebody elsewhere, in the watcher's name.
func (r *run) reach(w *watched, s *subscription) {
	if w.far.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(r.ctx)
	w.far.stop = stop
	r.abroad++
	of := s.Of
	cfg := event.Config{URI: string(of), Target: r.server(of.Domain()).Target, From: string(s.Watcher), ContactUser: s.Watcher.User(), Expires: farExpires}
	tell := func(p event.Presence) { r.inbox.post(func() { r.told(w, p) }) }
	lost := func(err error) {
		r.log.Info("a presence server does not vouch for somebody any more", "presentity", of, "err", err)
		r.inbox.post(func() { r.lost(w) })
	}
	r.tasks.Go(func() error {
		return supervise.Guard(func() error {
			if err := r.n.Elsewhere.FollowPresence(ctx, cfg, tell, lost); ctx.Err() == nil {
				lost(err) // for good: the watcher is told that nobody knows
			}
			return nil
		})
	})
}

// told takes a document of another server.
func (r *run) told(w *watched, p event.Presence) {
	now := time.Now()
	doc := presence.Document{Of: w.doc.Of, Kind: presence.KindPerson, Name: p.Name, Availability: p.Availability(), Note: p.Note,
		Freshness: presence.Live, AsOf: now, Since: now}
	if p.Nothing {
		doc.Availability, doc.Freshness = presence.Unknown, presence.NeverSeen
	}
	if doc.Availability == w.doc.Availability {
		doc.Since = w.doc.Since
	}
	doc.Capabilities.Abilities, _ = p.Abilities()
	r.renewed(w, doc)
}

// lost: what was told is last known from now on.
func (r *run) lost(w *watched) {
	if w.doc.Freshness == presence.Live {
		doc := w.doc
		doc.Freshness = presence.LastKnown
		r.renewed(w, doc)
	}
}

func (r *run) renewed(w *watched, doc presence.Document) {
	w.doc, w.bodies, w.seen = doc, nil, time.Now()
	for _, s := range w.subs {
		r.want(s, change)
	}
}

// leave ends what nobody watches any more.
func (r *run) leave(w *watched) {
	if w.far == nil || len(w.subs) > 0 {
		return
	}
	if w.far.stop != nil {
		w.far.stop()
		r.abroad--
	}
	delete(r.of, w.of)
}
