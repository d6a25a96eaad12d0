package phone

import (
	"context"
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
	For      time.Duration // how long it holds: the rest of the subscription; 0: not told
}

// LineWatcher keeps one subscription to the dialog package (RFC 4235) of uri.
//
// Watch calls tell for each change, and again after each refresh, one call at a
// time, until ctx is done or the subscription is lost. Its error is permanent
// (agent.Permanent) where trying again would lock the account.
type LineWatcher interface {
	Watch(ctx context.Context, uri string, tell func(LineNotice)) error
}

// The pause before a lost subscription is tried again: it doubles, unless the
// subscription had lived for a while.
const (
	firstPause = time.Second
	mostPause  = 5 * time.Minute
	steady     = time.Minute
)

// dialogs watches the lines at one call server.
type dialogs struct {
	*Driver
	server Server
	stop   context.CancelCauseFunc

	proved     chan struct{} // closed once the server has answered anything but a refused password
	provedOnce sync.Once

	mu   sync.Mutex
	live int // subscriptions that have told something
}

func (d *Driver) startDialogs(ctx context.Context, g *errgroup.Group, lines *lineSet) {
	for _, server := range d.config.Servers {
		ctx, stop := context.WithCancelCause(ctx)
		s := &dialogs{Driver: d, server: server, stop: stop, proved: make(chan struct{})}
		set := lines
		if len(server.Lines) > 0 {
			set = newLineSet(server.Lines)
		}
		start(g, func() error {
			defer stop(nil)
			return s.serve(ctx, g, set)
		})
	}
}

// serve starts a watch for each number that becomes known. The first one goes
// alone: five hundred subscriptions under a wrong password would lock the account.
func (s *dialogs) serve(ctx context.Context, g *errgroup.Group, lines *lineSet) error {
	watched := map[string]bool{}
	for {
		numbers, more := lines.all()
		for _, n := range numbers {
			if watched[n] || len(watched) == maxLines {
				continue
			}
			watched[n] = true
			start(g, func() error { return s.keep(ctx, n) })
			select {
			case <-s.proved:
			case <-ctx.Done():
				return s.ended(ctx)
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return s.ended(ctx)
		}
	}
}

// ended tells the driver's end, which is passed on, from this server's alone.
func (s *dialogs) ended(ctx context.Context) error {
	if agent.IsPermanent(context.Cause(ctx)) {
		return nil
	}
	return ctx.Err()
}

// keep watches one line until the end. A lost subscription tells nothing: what
// was told last holds for as long as was promised, and then is last known.
func (s *dialogs) keep(ctx context.Context, number string) error {
	of, uri := s.config.line(number), "sip:"+number+"@"+s.server.Domain
	pause := firstPause
	for {
		told, began := false, time.Now()
		err := s.server.Watch.Watch(ctx, uri, func(n LineNotice) {
			if !told {
				told = true
				s.came(1, nil)
			}
			s.observe(ctx, of, n)
		})
		if told && ctx.Err() == nil {
			s.came(-1, err)
		}
		switch {
		case ctx.Err() != nil:
			return s.ended(ctx)
		case agent.IsPermanent(err):
			s.log.Error("call manager refuses us for good: its lines are not watched", "peer", s.server.Name, "err", err)
			s.stop(err)
			return nil
		}
		s.prove()
		if time.Since(began) >= steady {
			pause = firstPause
		}
		s.log.Debug("line subscription ended", "peer", s.server.Name, "presentity", string(of), "err", err, "pause", pause)
		select {
		case <-time.After(max(pause, askedPause(err))):
		case <-ctx.Done():
			return s.ended(ctx)
		}
		pause = min(2*pause, mostPause)
	}
}

// came counts live subscriptions, and logs when the first comes and the last goes.
func (s *dialogs) came(n int, err error) {
	s.prove()
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

func (s *dialogs) observe(ctx context.Context, of presence.Presentity, n LineNotice) {
	ttl := n.For
	if ttl <= 0 {
		ttl = s.server.TTL
	}
	line := presence.Line{Number: of.User(), State: n.State, Held: n.Held, Outgoing: n.Outgoing, Sites: n.Sites}
	err := s.needs.Heart.Observe(ctx, presence.Observation{
		Source: "dialog/" + s.server.Name, Of: of, Seen: time.Now(), TTL: ttl,
		Facts: presence.Facts{Calls: &presence.Calls{Exact: true, Lines: []presence.Line{line}}},
	})
	if err != nil && ctx.Err() == nil {
		s.log.Debug("observe", "presentity", string(of), "err", err)
	}
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
