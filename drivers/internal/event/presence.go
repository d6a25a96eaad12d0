package event

import (
	"context"
	"slices"
	"time"

	"pilotlight/drivers/internal/pidf"
)

// PresencePackage is that of RFC 3856.
var PresencePackage = Package{Name: "presence", Accept: []string{pidf.ContentType}}

// Presence is what a presence server elsewhere says of somebody, and how long the
// subscription vouches for it.
type Presence struct {
	pidf.Parsed
	Nothing bool // the server let us in, and tells nothing: neutral, or not decided yet
	For     time.Duration
}

// FollowPresence subscribes to somebody's presence at another server for ever. It
// calls tell with each document and lost when nobody vouches for the last any
// more, as FollowLine does.
func (s *Subscriber) FollowPresence(ctx context.Context, cfg Config, tell func(Presence), lost func(error)) error {
	return s.follow(ctx, cfg, lost, func(sub *Subscription) error {
		return s.read(ctx, cfg, sub, func(n Notice) error {
			p, known, err := readPresence(n)
			if known {
				tell(p)
			}
			return err
		})
	})
}

// readPresence: an empty body keeps the former document (PRES-07), but for the
// first, which is neutral; a pending one says that nothing is told yet.
func readPresence(n Notice) (p Presence, known bool, err error) {
	p.For = n.Expires
	switch {
	case n.State == Ended:
		return p, false, nil
	case n.State == Pending:
		p.Nothing = true
		return p, true, nil
	case len(n.Body) == 0 || !slices.Contains(pidf.ContentTypes, n.ContentType):
		return p, false, nil
	}
	p.Parsed, err = pidf.Parse(n.Body)
	return p, err == nil, err
}
