// Package simple is the branch's presence server in SIP/SIMPLE: watchers
// SUBSCRIBE to it (RFC 6665) and agents of people PUBLISH to it (RFC 3903).
//
// One goroutine, the loop, owns all subscriptions. It follows the ledger's
// documents by one feed and renders a body once for all watchers who see the
// same. Requests reach it from the endpoint's handlers as functions; answers to
// NOTIFYs come back the same way. The loop never waits: not for a disk (the
// handlers do), not for a watcher (the endpoint's lean path does).
//
// At most one NOTIFY of a dialog is under way. What changes meanwhile is told
// by the next one, so that a watcher never hears an older state after a newer
// one, and a slow one costs itself freshness only.
//
// A subscription is on disk before its 200 OK. After a restart, a crash too, the
// same dialogs go on with a higher CSeq, and nobody has to subscribe anew.
package simple

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/access"
	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
	"pilotlight/agent/supervise"
	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/pidf"
	"pilotlight/drivers/internal/sip"
)

// Config is what the driver works by.
type Config struct {
	Domain   string
	Trusted  []netip.Prefix // may SUBSCRIBE without digest, and nothing else
	Peers    []Peer
	Lists    []List
	Interval map[string]time.Duration // how long changes are gathered, by event package
}

// Peer is a presence or call server that is known by its address.
type Peer struct {
	Name    string
	From    netip.Prefix
	Domains []string // of the users it speaks for; empty: our own
	Target  string   // where it takes requests for people of its domains; empty: nowhere
	May     []string // "subscribe", "publish", "message"
}

// Heart is what of the ledger the driver needs.
type Heart interface {
	Follow(context.Context, presence.Selector) (*ledger.Feed[presence.Document], error)
	Publish(context.Context, presence.Publication) (presence.ETag, time.Duration, error)
}

// Endpoint is what of the SIP endpoint the driver needs.
type Endpoint interface {
	Handle(sip.Claim, sip.Handler) error
	Ready(context.Context) error // waits for the sockets
	Send(*sip.Dialog, sip.InDialog, func(sip.Answer))
	Do(context.Context, *sip.Request) (*sip.Response, error)
	Visits(func(v sip.Visitor, over bool))
	Visitors(from netip.Addr) []sip.Visitor
}

// Access says who may watch whom, and who somebody is.
type Access interface {
	Watch(watcher, of presence.Presentity) access.Handling
	Changed(ctx context.Context, since uint64) (uint64, error)
}

// Needs is what the driver is handed.
type Needs struct {
	Heart    Heart
	Endpoint Endpoint
	Drawer   ledger.Drawer
	Access   Access
	Post     Post
	Guard    *sip.Guard // digest accounts; nil: there are none
	// Since is when the agent was started; zero: at Run.
	Since time.Time
	// Elsewhere may be nil: then nobody at another server can be watched here.
	Elsewhere Elsewhere
}

// Bounds of what one box bears.
const (
	maxSubscriptions = 12_000
	maxPerWatcher    = 2_500 // a console subscribes to a whole branch
	minExpires       = time.Minute
	maxExpires       = 24 * time.Hour
)

// Driver is the presence server.
type Driver struct {
	c   Config
	n   Needs
	log *slog.Logger

	now   guarded[*run] // nil at rest
	count counters

	spread, pause, farWithin time.Duration // restoreWithin, minPause and so on, but for tests
	since                    time.Time     // Needs.Since, for the first run alone
}

// New checks the configuration and claims the requests.
func New(c Config, n Needs, log *slog.Logger) (*Driver, error) {
	if c.Domain == "" {
		return nil, errors.New("simple: no domain")
	}
	d := &Driver{c: c, n: n, log: log, since: n.Since, spread: restoreWithin, pause: minPause, farWithin: farWithin}
	for _, p := range packages {
		accept := sip.Claim{Method: "SUBSCRIBE", Event: p.name, Match: d.ours, Accept: p.types}
		if p.name == "presence" {
			accept.Match = d.served
		}
		if p.lists {
			accept.Accept, accept.Options = slices.Concat(p.types, []string{"multipart/related", event.RLMIType}), []string{eventlist}
		}
		if err := n.Endpoint.Handle(accept, d.running((*run).subscribe)); err != nil {
			return nil, fmt.Errorf("simple: %w", err)
		}
	}
	if err := n.Endpoint.Handle(sip.Claim{Method: "MESSAGE", Match: d.served, Accept: []string{textType}}, d.running((*run).message)); err != nil {
		return nil, fmt.Errorf("simple: %w", err)
	}
	publish := sip.Claim{Method: "PUBLISH", Event: "presence", Match: d.ours, Accept: []string{pidf.ContentType}}
	if err := n.Endpoint.Handle(publish, d.running((*run).publish)); err != nil {
		return nil, fmt.Errorf("simple: %w", err)
	}
	n.Endpoint.Visits(d.visits)
	return d, nil
}

// ours reports whether a Request-URI is one that this server has the state of:
// by our domain, or, in a dialog, by the address in our Contact.
func (d *Driver) ours(user, host string) bool {
	if host == d.c.Domain {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil && user != ""
}

// running hands requests to the present run; between two there is none.
func (d *Driver) running(serve func(*run, context.Context, *sip.Incoming)) sip.Handler {
	return func(ctx context.Context, in *sip.Incoming) {
		r := d.now.get()
		if r == nil {
			_ = in.Respond(sip.Reply{Status: 503, Header: sip.Header{{Name: "Retry-After", Value: "2"}}})
			return
		}
		serve(r, ctx, in)
	}
}

// Run implements agent.Driver.
func (d *Driver) Run(ctx context.Context) error {
	tasks, inner := errgroup.WithContext(ctx)
	r := newRun(d, inner, tasks)
	// Whoever is told of an end in restore is told once.
	if err := d.n.Endpoint.Ready(ctx); err != nil {
		return err
	}
	feed, err := d.n.Heart.Follow(ctx, nil)
	if err != nil {
		return err
	}
	defer feed.Close()
	for {
		doc, more := feed.TryNext()
		if !more {
			break
		}
		r.changed(doc)
	}
	if err := r.restore(); err != nil {
		return err
	}
	d.since = time.Time{}
	spawn := func(f func() error) { tasks.Go(func() error { return supervise.Guard(f) }) }
	spawn(func() error { return r.follow(inner, feed) })
	spawn(func() error { return r.loop(inner) })
	spawn(func() error { return r.keep.run(inner) })
	spawn(func() error { return r.obey(inner) })
	spawn(func() error { return r.postman(inner) })
	d.now.set(r)
	r.inbox.post(r.lookForAll)
	err = tasks.Wait()
	d.now.set(nil)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
