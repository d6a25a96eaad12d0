// Package phone learns how Cisco IP phones are, gently: by the XML pages that a
// stock phone serves to anybody when Unified CM lets it, by SIP OPTIONS where a
// phone answers them, and by subscribing to a call server for its lines (RFC 4235).
//
// Three sources, three kinds of truth. The pages ("phone/web") know who the
// phone is, where it is registered and whether audio flows, but neither ringing
// nor hold. OPTIONS ("phone/sip") knows that the SIP stack lives. The call server
// ("dialog/NAME") knows each call exactly. What a phone cannot be asked is never
// taken for evidence against it: a refused web page says that web access is off,
// silence to OPTIONS says nothing at all.
//
// A poll that failed tells of reachability only, under a source name of its own
// ("phone/reach-web"), so that the facts of the last good poll grow old in peace.
// The files: wire.go and pages.go are the pure codec, client.go the one connection
// per phone, web.go, options.go and dialog.go the three sources, probe.go the
// one-shot for a person with a laptop.
package phone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/schedule"
	"pilotlight/agent/supervise"
	"pilotlight/drivers/internal/tell"
)

// Queue is what it needs of a schedule queue.
type Queue interface {
	Set(...schedule.Target)
	Every(key string, every time.Duration)
	Hasten(key string, in time.Duration)
	Next(context.Context) (schedule.Visit, error)
}

// Doubter is told of a phone that has just missed a poll, so that its switch
// port can be looked at at once.
type Doubter interface {
	Doubt(device string)
}

// Needs are the interfaces that the driver works through.
type Needs struct {
	Heart tell.Observer
	Web   Queue   // nil: web pages are not asked for
	SIP   Queue   // nil: no OPTIONS
	Asker Asker   // sends OPTIONS; nil: none
	Doubt Doubter // may be nil
	Pins  Drawer  // keeps the keys of certificates; nil: for as long as the agent runs
}

// Driver is this driver.
type Driver struct {
	config Config
	needs  Needs
	roster *roster
	pins   *pins
	guard  *guard // of the user of the pages of the keys; nil: there is none
	heart  *tell.Teller
	log    *slog.Logger
}

// New checks c and returns a driver at rest.
func New(c Config, needs Needs, log *slog.Logger) (*Driver, error) {
	if needs.Heart == nil || log == nil {
		return nil, errors.New("phone: no heart to tell, or no log")
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	d := &Driver{config: c.withDefaults(), needs: needs, roster: newRoster(c.Phones), log: log,
		heart: tell.New(needs.Heart, log), pins: newPins(needs.Pins, c.Phones, log)}
	if user := c.Credentials.User; user != "" {
		d.guard = newGuard(user, log)
	}
	return d, nil
}

// Run implements agent.Driver.
func (d *Driver) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	lines := newLineSet(d.config.Lines)
	web := d.newWebPoller(lines)
	web.start(ctx, g, d.startSIP(ctx, g, web.deaf))
	d.startDialogs(ctx, g, lines)
	start(g, func() error { <-ctx.Done(); return ctx.Err() }) // with nothing to do, Run still lasts
	return g.Wait()
}

// workers is how many to start for n phones; more may be found.
func (d *Driver) workers(n int) int {
	if d.config.Allow != nil {
		return d.config.Workers
	}
	return min(d.config.Workers, n)
}

// start runs f in the group; a panic in it is an error of the driver, not the
// end of the program.
func start(g *errgroup.Group, f func() error) {
	g.Go(func() error { return supervise.Guard(f) })
}
