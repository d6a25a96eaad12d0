package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/clock"
	"pilotlight/agent/errand"
	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/agent/schedule"
	"pilotlight/agent/supervise"
	"pilotlight/board/panel"
	"pilotlight/drivers"
	"pilotlight/drivers/simple"
)

type runCmd struct{ configFlag }

func (c *runCmd) Run(ctx context.Context, con *console) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	for _, what := range cfg.Notes() {
		con.log.Warn(what)
	}
	a, err := newAgent(cfg, con.log)
	if err != nil {
		return err
	}
	return a.run(ctx, func() {})
}

// since is when this process began: whoever waits for a restart counts from there.
var since = time.Now()

// agentProcess is one agent: the heart, its drivers and its panel.
type agentProcess struct {
	log    *slog.Logger
	ledger *ledger.Ledger
	book   *access.Book
	panel  *panel.Panel
	base   []supervise.Task // the sockets that drivers share
	tasks  []supervise.Task
	sup    *supervise.Supervisor
}

// newAgent opens the store and builds everything on it, at rest.
func newAgent(cfg fileConfig, log *slog.Logger) (_ *agentProcess, err error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	l, err := openLedger(cfg, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	a := &agentProcess{log: log, ledger: l, sup: supervise.New(log)}
	if a.book, err = openBook(l); err != nil {
		return nil, err
	}
	watchers, err := access.NewWatchers(cfg.Access.rules(func(string, string, ...any) {}), l.Drawer("watchers"))
	if err != nil {
		return nil, err
	}
	clk := clock.New(l.Newest())
	post, err := relay.NewPost(l.Drawer("messages"), time.Now, clk.Trusted)
	if err != nil {
		return nil, err
	}
	desk, uplinks := errand.New(), relay.NewUplinks()
	built, err := drivers.Build(cfg.Config, drivers.Heart{
		Ledger: l, Domain: cfg.Branch.Domain, DataDir: cfg.DataDir, Access: watchers, Post: post, Uplinks: uplinks, Since: since, Version: version, Log: log,
	})
	if err != nil {
		return nil, usageError{err}
	}
	deps := panel.Deps{
		Heart: panel.FromLedger(l), Book: a.book, Clock: clk, Desk: desk, Uplinks: uplinks, Drivers: a.sup,
		Healthy: built.Ready,
		Build:   panel.Build{Version: version, Commit: commit, Go: runtime.Version()},
		Branch:  panel.Branch{ID: cfg.Branch.ID, Name: cfg.Branch.Name, Domain: cfg.Branch.Domain},
		DataDir: cfg.DataDir,
		Notify:  notifyStats(built), Watchers: watchers, Watching: watching(built.Simple), Post: post, Reaches: built.Simple.Reaches,
	}
	for _, q := range built.Queues {
		deps.Pollers = append(deps.Pollers, q)
	}
	if a.panel, err = panel.New(cfg.Panel, deps, log.With("driver", "panel")); err != nil {
		return nil, usageError{err} // what New finds is about the configuration
	}
	a.base = built.Base
	a.tasks = append(built.Tasks, supervise.Task{Name: "panel", Driver: a.panel})
	return a, nil
}

func openLedger(cfg fileConfig, log *slog.Logger) (*ledger.Ledger, error) {
	l, err := ledger.Open(ledger.Config{
		Path: cfg.storePath(), Domain: cfg.Branch.Domain, Commit: cfg.Store.Commit,
		Static: cfg.Static(cfg.Branch.Domain, time.Now()), Log: log, Drill: drill(),
	})
	if err != nil {
		return nil, err
	}
	l.Trust(clock.New(l.Newest()).Trusted)
	return l, nil
}

// openBook reads the accounts. The web's sessions have a drawer of their own,
// which a restored store lacks (see transient).
func openBook(l *ledger.Ledger) (*access.Book, error) {
	return access.New(access.Config{Drawer: l.Drawer("access"), Sessions: l.Drawer("sessions")})
}

// run works until ctx is done. The sockets outlive the drivers, and the heart
// outlives both, so that each can close up: what others stand on ends last.
func (a *agentProcess) run(ctx context.Context, up func()) error {
	frugal()
	beat, still := context.WithCancel(context.WithoutCancel(ctx))
	defer still()
	gone := make(chan error, 1)
	go func() { gone <- a.ledger.Run(beat) }()

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ground, leave := context.WithCancel(context.WithoutCancel(ctx))
		left := make(chan struct{})
		go func() { defer close(left); a.sup.Run(ground, a.base...) }()
		a.sup.Run(ctx, a.tasks...)
		leave()
		<-left
	}()
	if err := a.started(ctx); err != nil {
		stop(err)
	} else if ctx.Err() == nil {
		a.log.Info("pilotlight is up", "version", version, "panel", a.panel.URL(), "store", a.ledger.ID(), "epoch", a.ledger.Epoch())
		up()
	}
	var lost error
	select {
	case <-done:
	case lost = <-gone: // a heart that stops on its own takes the agent with it
		stop(fmt.Errorf("ledger: %w", lost))
		<-done
		gone <- lost
	}
	still()
	err := <-gone
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("ledger: %w", err)
	}
	a.log.Info("pilotlight stopped")
	return nil
}

// started waits until the panel answers. What fails before that is told at
// once, and not tried again and again: a port that is taken, a file that is not
// there.
func (a *agentProcess) started(ctx context.Context) error {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.panel.ReadyCh():
			return nil
		case <-look.C:
		}
		for _, name := range []string{"panel", "sip"} {
			if st := a.sup.Status(name); st.Err != nil {
				return fmt.Errorf("%s: %w", name, st.Err)
			}
		}
	}
}

// notifyStats tells the panel what the presence server did.
func notifyStats(built *drivers.Built) func() panel.NotifyStats {
	return func() panel.NotifyStats {
		st, wire := built.Simple.Stats(), built.Wire()
		refused := make(map[panel.Refused]uint64, len(wire.Refused))
		for what, n := range wire.Refused {
			refused[panel.Refused{Method: what[0], Class: what[1]}] = n
		}
		return panel.NotifyStats{Subscriptions: st.Subscriptions, Unreachable: st.Unreachable, Answered: st.Notified, Failed: st.Failed,
			Refused: refused, Dropped: wire.Dropped,
			Count: st.Lag.Count, Sum: st.Lag.Sum, Bounds: schedule.Buckets, Counts: st.Lag.Counts}
	}
}

// watching tells the panel who watches somebody.
func watching(d *simple.Driver) func(context.Context, presence.Presentity) ([]panel.Watching, error) {
	return func(ctx context.Context, of presence.Presentity) ([]panel.Watching, error) {
		now, err := d.Watching(ctx, of)
		all := make([]panel.Watching, len(now))
		for i, w := range now {
			all[i] = panel.Watching(w)
		}
		return all, err
	}
}
