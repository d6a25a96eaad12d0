package phone

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent"
	"pilotlight/agent/presence"
)

// maxLines bounds the subscriptions at one call server: the numbers of the
// contract's 1,000 phones, a few each.
const maxLines = 4096

// LineNotice is the state of one line, as a call server's dialog event tells it.
type LineNotice struct {
	State    presence.LineState // the strongest dialog's
	Held     bool
	Outgoing bool          // that dialog was begun from the line
	Sites    []netip.Addr  // where the local targets of the line's dialogs are
	Apart    []LineNotice  // by site, where the phones that share the line do different things on it
	For      time.Duration // how long it holds: the rest of the subscription; 0: not told
}

// LineFollower subscribes to the dialog package (RFC 4235) of a line, for ever.
//
// Follow calls tell for each change, and again after each refresh, and lost when
// nobody vouches for what was told any more; one call at a time. It returns when
// ctx is done, or with a permanent error (agent.Permanent) where trying again
// would lock the account.
type LineFollower interface {
	Follow(ctx context.Context, uri string, tell func(LineNotice), lost func(error)) error
}

// dialogs follows the lines at one call server.
type dialogs struct {
	*Driver
	server Server

	proved     chan struct{} // closed once the server has answered anything but a refused password
	provedOnce sync.Once

	mu   sync.Mutex
	live int // lines of which something is told
}

func (d *Driver) startDialogs(ctx context.Context, g *errgroup.Group, lines *lineSet) {
	for _, server := range d.config.Servers {
		s := &dialogs{Driver: d, server: server, proved: make(chan struct{})}
		set := lines
		if len(server.Lines) > 0 {
			set = newLineSet(server.Lines)
		}
		start(g, func() error { return s.serve(ctx, g, set) })
	}
}

// serve follows each number that becomes known. The first one goes alone: five
// hundred subscriptions under a wrong password would lock the account.
func (s *dialogs) serve(ctx context.Context, g *errgroup.Group, lines *lineSet) error {
	serving, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	followed := map[string]bool{}
	for {
		numbers, more := lines.all()
		for _, n := range numbers {
			if followed[n] || len(followed) == maxLines {
				continue
			}
			followed[n] = true
			l := &line{server: s, of: s.config.line(n), uri: "sip:" + n + "@" + s.server.Domain}
			start(g, func() error { return l.keep(ctx, serving, stop) })
			select {
			case <-s.proved:
			case <-serving.Done():
				return ended(serving)
			}
		}
		select {
		case <-more:
		case <-serving.Done():
			return ended(serving)
		}
	}
}

// ended tells the driver's end, which is passed on, from this server's alone.
func ended(serving context.Context) error {
	if cause := context.Cause(serving); !agent.IsPermanent(cause) {
		return cause
	}
	return nil
}

// came counts the lines that are told of, and logs when the first comes and the
// last goes.
func (s *dialogs) came(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live += n
	switch {
	case n > 0 && s.live == 1:
		s.log.Info("call manager tells of lines", "peer", s.server.Name)
	case s.live == 0:
		s.log.Warn("call manager tells of no line any more", "peer", s.server.Name, "err", err)
	}
}

func (s *dialogs) prove() { s.provedOnce.Do(func() { close(s.proved) }) }

// line is one line at one call server.
type line struct {
	server *dialogs
	of     presence.Presentity
	uri    string
	last   *presence.Observation // what is told of it; nil while nobody vouches for anything
}

// keep follows the line until the driver's or its server's end: serving is done
// at either, ctx at the driver's alone, at which what was told stays as it is.
func (l *line) keep(ctx, serving context.Context, stop context.CancelCauseFunc) error {
	s := l.server
	failed := func(err error) {
		if err != nil {
			stop(err)
		}
	}
	err := s.server.Follow.Follow(serving, l.uri,
		func(n LineNotice) { failed(l.tell(ctx, n)) },
		func(err error) { s.prove(); failed(l.lost(ctx, err)) })
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case serving.Err() == nil && agent.IsPermanent(err):
		s.log.Error("call manager refuses us for good: its lines are not followed", "peer", s.server.Name, "err", err)
		stop(err)
	case serving.Err() == nil:
		return err
	}
	return l.lost(ctx, err)
}

// tell tells the state of the line, for as long as the subscription vouches for it.
func (l *line) tell(ctx context.Context, n LineNotice) error {
	s := l.server
	s.prove()
	if l.last == nil {
		s.came(1, nil)
	}
	calls := &presence.Calls{Exact: true, Lines: []presence.Line{l.line(n)}}
	if len(n.Apart) > 0 {
		calls.Lines = nil
		for _, a := range n.Apart {
			calls.Lines = append(calls.Lines, l.line(a))
		}
	}
	l.last = &presence.Observation{
		Source: "dialog/" + s.server.Name, Of: l.of, Seen: time.Now(), TTL: n.For,
		Facts: presence.Facts{Calls: calls},
	}
	if n.For <= 0 {
		l.last.TTL = s.server.TTL
	}
	return s.heart.Observe(ctx, slog.String("presentity", string(l.of)), *l.last)
}

func (l *line) line(n LineNotice) presence.Line {
	return presence.Line{Number: l.of.User(), State: n.State, Held: n.Held, Outgoing: n.Outgoing, Sites: n.Sites}
}

// lost tells the last word again, as one that held until now: it is last known
// at once, and hides no longer what others see of the line's phone.
func (l *line) lost(ctx context.Context, why error) error {
	if l.last == nil {
		return nil
	}
	l.server.came(-1, why)
	over := *l.last
	over.TTL = max(1, min(over.TTL, time.Since(over.Seen)))
	l.last = nil
	return l.server.heart.Observe(ctx, slog.String("presentity", string(l.of)), over)
}

// lineSet is the set of line numbers known, which grows while phones tell theirs.
type lineSet struct {
	mu      sync.Mutex
	numbers []string
	more    chan struct{} // closed and renewed when a number is added
}

func newLineSet(numbers []string) *lineSet {
	l := &lineSet{more: make(chan struct{})}
	for _, n := range numbers {
		l.add(n)
	}
	return l
}

func (l *lineSet) add(n string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number(n) == "" || len(l.numbers) == maxLines || slices.Contains(l.numbers, n) {
		return
	}
	l.numbers = append(l.numbers, n)
	close(l.more)
	l.more = make(chan struct{})
}

func (l *lineSet) all() ([]string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.numbers), l.more
}
