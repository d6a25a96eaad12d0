package phone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/sip"
)

// LineSubscriber is what Resolve needs of an event.Subscriber to the dialog package.
type LineSubscriber interface {
	WatchLine(ctx context.Context, cfg event.Config, tell func(event.Line)) error
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
	return Server{Name: c.Name, Domain: c.Domain, Lines: c.Lines, TTL: cfg.Expires, Watch: lineWatch{by, cfg}}, nil
}

// lineWatch subscribes to lines at one call server.
type lineWatch struct {
	by  LineSubscriber
	cfg event.Config
}

// String hides the password: fmt does not ask a field that is not exported.
func (w lineWatch) String() string { return w.cfg.Target }

// GoString hides the password.
func (w lineWatch) GoString() string { return w.cfg.Target }

// Watch implements LineWatcher.
func (w lineWatch) Watch(ctx context.Context, uri string, tell func(LineNotice)) error {
	cfg := w.cfg
	cfg.URI = uri
	return w.by.WatchLine(ctx, cfg, func(l event.Line) {
		tell(LineNotice{State: l.State, Held: l.Held, Outgoing: l.Outgoing, Sites: l.Sites, For: l.For})
	})
}

// askedPause is the pause that the call server asked for (RFC 6665 §4.1.3,
// retry-after; RFC 3261 §20.33), at most an hour.
func askedPause(err error) time.Duration {
	var pause time.Duration
	if t, ok := errors.AsType[*event.Termination](err); ok {
		pause = t.RetryAfter
	}
	if r, ok := errors.AsType[*event.Refusal](err); ok {
		pause = r.RetryAfter
	}
	return min(pause, time.Hour)
}
