package sip

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// quiet is the log handler that sipgo gets. sipgo logs what strangers send it,
// as often as they send it: so at most burst records an interval pass, each
// text cut short and on one line, and whole messages not at all. Errors of
// sipgo's that matter come back as errors anyway, so they pass as warnings.
type quiet struct {
	next slog.Handler
	gate *gate
}

const (
	quietText     = 120
	quietBurst    = 5
	quietInterval = time.Minute
)

// gate lets n through an interval.
type gate struct {
	mu       sync.Mutex
	n        int
	interval time.Duration
	began    time.Time
	passed   int
	held     int
}

// pass reports whether one more may go, and how many were held before it.
func (g *gate) pass(now time.Time) (ok bool, held int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.began) >= g.interval {
		g.began, g.passed = now, 0
	}
	if g.passed >= g.n {
		g.held++
		return false, 0
	}
	g.passed++
	held, g.held = g.held, 0
	return true, held
}

func newQuiet(log *slog.Logger) *slog.Logger {
	return slog.New(quiet{next: log.Handler(), gate: &gate{n: quietBurst, interval: quietInterval}})
}

func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.next.Enabled(ctx, l)
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	ok, held := q.gate.pass(time.Now())
	if !ok {
		return nil
	}
	out := slog.NewRecord(r.Time, min(r.Level, slog.LevelWarn), "sipgo: "+short(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if shortened, keep := shorten(a); keep {
			out.AddAttrs(shortened)
		}
		return true
	})
	if held > 0 {
		out.AddAttrs(slog.Int("suppressed", held))
	}
	return q.next.Handle(ctx, out)
}

func (q quiet) WithAttrs(as []slog.Attr) slog.Handler {
	var kept []slog.Attr
	for _, a := range as {
		if a, keep := shorten(a); keep {
			kept = append(kept, a)
		}
	}
	return quiet{q.next.WithAttrs(kept), q.gate}
}

func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.next.WithGroup(name), q.gate} }

// shorten drops whole messages (sipgo calls them data, req, res, msg) and cuts
// the rest.
func shorten(a slog.Attr) (slog.Attr, bool) {
	switch a.Key {
	case "data", "msg", "req", "res", "sipmsg":
		return a, false
	case "error":
		a.Key = "err"
	}
	return slog.String(a.Key, short(a.Value.String())), true
}

func short(s string) string {
	if len(s) > quietText {
		s = s[:quietText] + "…"
	}
	b := []byte(s)
	for i, c := range b {
		if c < ' ' {
			b[i] = ' '
		}
	}
	return string(b)
}
