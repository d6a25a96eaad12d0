package phone

import (
	"context"
	"fmt"
	"time"

	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/sip"
)

// LineSubscriber is what Resolve needs of an event.Subscriber to the dialog package.
type LineSubscriber interface {
	FollowLine(ctx context.Context, cfg event.Config, tell func(event.Line), lost func(error)) error
}

// Resolve makes a server of its section: by is shared by all servers, secret
// reads a password file.
func (c CallServer) Resolve(by LineSubscriber, secret func(path string) (string, error)) (Server, error) {
	if u, err := sip.ParseURI(c.Target); err != nil || u.Scheme != "sip" {
		return Server{}, fmt.Errorf("call manager %q: target %q: want sip:HOST:PORT;transport=tcp", c.Name, c.Target)
	}
	cfg := event.Config{Target: c.Target, Expires: c.Expires}
	if cfg.Expires <= 0 {
		cfg.Expires = 10 * time.Minute
	}
	if c.Username != "" {
		password, err := secret(c.PasswordFile)
		if err != nil {
			return Server{}, fmt.Errorf("call manager %q: password_file: %w", c.Name, err)
		}
		cfg.Credentials = sip.Credentials{Username: c.Username, Password: password}
	}
	return Server{Name: c.Name, Domain: c.Domain, Lines: c.Lines, TTL: cfg.Expires, Follow: lineFollower{by, cfg}}, nil
}

// lineFollower subscribes to lines at one call server.
type lineFollower struct {
	by  LineSubscriber
	cfg event.Config
}

// String hides the password: fmt does not ask a field that is not exported.
func (f lineFollower) String() string { return f.cfg.Target }

// GoString hides the password.
func (f lineFollower) GoString() string { return f.cfg.Target }

// Follow implements LineFollower.
func (f lineFollower) Follow(ctx context.Context, uri string, tell func(LineNotice), lost func(error)) error {
	cfg := f.cfg
	cfg.URI = uri
	return f.by.FollowLine(ctx, cfg, func(l event.Line) {
		n := notice(l.LineState)
		n.For = l.For
		for _, s := range l.Apart {
			n.Apart = append(n.Apart, notice(s))
		}
		tell(n)
	}, lost)
}

func notice(s event.LineState) LineNotice {
	return LineNotice{State: s.State, Held: s.Held, Outgoing: s.Outgoing, Sites: s.Sites}
}
