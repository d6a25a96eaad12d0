// Package panel is the front panel of the appliance: the HTTP API, the web
// dashboard, metrics and health, on one TCP listener and on the admin socket.
//
// The ledger's documents and devices are followed into an immutable snapshot,
// swapped as a whole, and every GET is answered from the one that stands. Ages
// change without an event, so once a second at most one reader of a list first
// asks the ledger for the present ones, and waits a second for that at most; no
// other reader waits. A viewer of the event stream is a place in the snapshot's
// order of changes and nothing more: who is slow skips what has been overtaken
// meanwhile, and costs nobody else anything (see events.go).
//
// Who may do what is decided in one place (auth.go) from the role that each
// operation names. On a loopback listener reading is open, acting never is; on
// the admin socket, which only the agent's own user can open, everyone is
// admin. A listener that strangers can reach does not start before an account
// exists, and speaks TLS only.
package panel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Panel is the front panel. It is a driver: see [agent.Driver].
type Panel struct {
	config  Config
	deps    Deps
	log     *slog.Logger
	keeper  *keeper
	web     *web
	metrics http.Handler
	viewers chan struct{} // a place for each event stream
	backups chan struct{}
	started time.Time

	ready       chan struct{}
	readyOnce   sync.Once
	address     atomic.Pointer[string]
	certificate atomic.Pointer[StatusCertificate]
	up          atomic.Bool
}

// New checks the configuration and makes a panel at rest.
func New(c Config, d Deps, log *slog.Logger) (*Panel, error) {
	c = c.withDefaults()
	if fault := c.fault(); fault != nil {
		return nil, fmt.Errorf("panel: %s: %w", fault.path, fault)
	}
	switch {
	case d.Heart == nil, d.Book == nil, d.Clock == nil, d.Desk == nil:
		return nil, errors.New("panel: wants a heart, a book, a clock and a desk")
	case !c.loopback() && !d.Book.HasAccounts():
		return nil, fmt.Errorf("panel: listen %s can be reached from other machines, and no account exists; "+
			"make one first: pilotlight user add NAME --role admin --config FILE", c.Listen)
	}
	w, err := newWeb(d.Branch)
	if err != nil {
		return nil, fmt.Errorf("panel: %w", err)
	}
	p := &Panel{
		config: c, deps: d, log: log, web: w,
		keeper:  newKeeper(d, log),
		viewers: make(chan struct{}, maxViewers),
		backups: make(chan struct{}, 1),
		ready:   make(chan struct{}),
		started: time.Now(),
	}
	p.metrics = newMetrics(p)
	return p, nil
}

// Run serves until ctx is done.
func (p *Panel) Run(ctx context.Context) error {
	doors, err := p.open(ctx)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, d := range doors {
		p.serve(ctx, g, d)
	}
	g.Go(func() error {
		return p.keeper.run(ctx, func() {
			p.up.Store(true)
			p.readyOnce.Do(func() { close(p.ready) })
		})
	})
	err = g.Wait()
	p.up.Store(false)
	return err
}

// ReadyCh is closed once the panel answers, with the present state loaded.
func (p *Panel) ReadyCh() <-chan struct{} { return p.ready }

// Ready waits for that.
func (p *Panel) Ready(ctx context.Context) error {
	select {
	case <-p.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("panel: not ready: %w", ctx.Err())
	}
}

// URL is where the panel is reached once it listens; "" before.
func (p *Panel) URL() string {
	if a := p.address.Load(); a != nil {
		return *a
	}
	return ""
}
