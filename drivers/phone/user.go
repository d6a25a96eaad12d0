package phone

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// How often our user may be refused. Unified CM locks an account at the third failed
// logon and forgets one after half an hour, unless its credential policy is another
// (from memory); somebody who is let in clears the count. A phone does not say whether
// a refusal came from there or from nowhere, as when the Authentication URL cannot be
// reached: so each counts, of all phones together.
const (
	mostRefused  = 2
	lapse        = 30 * time.Minute
	firstWait    = 5 * time.Minute  // after a refusal, doubling with each in a row, up to
	longestWait  = time.Hour        // of a user that nobody has let in yet: its password is wrong
	provenWait   = 15 * time.Minute // of one that somebody has: something is cut off, as a rule
	refusedWait  = 10 * time.Minute // for the phone itself that has refused
	moveToSRST   = 10 * time.Minute // within which a phone that is cut off notices so itself
	stalledAfter = 2                // pages in a row that hang, and nobody waits for his turn
)

// A guard shows one user to many phones, so that none of them has its account locked.
//
// While the user is let in it is shown to two phones at a time, and the others wait for
// their turn. A phone that let it in before and refuses it now, or the first one of
// all, shuts the guard: after a while one phone is tried, alone, and what it says holds
// for all. One that has never let it in while others do is refused for itself.
type guard struct {
	user string
	log  *slog.Logger

	mu      sync.Mutex
	refused []refusal // in the last lapse, and since somebody let it in
	last    time.Time // the last of all
	out     int       // phones that it is shown to now
	proven  bool      // somebody has let it in
	shut    bool      // nobody is thought to let it in
	opened  time.Time // when it was last shut no more
	until   time.Time // before that it is not tried
	wait    time.Duration
	hung    int // pages in a row that hung
	pardon  bool
	freed   chan struct{} // closed when a phone is done with
}

// A refusal is one that may count at Unified CM.
type refusal struct {
	device string
	at     time.Time
}

// A claim is a phone that the user might be shown to.
type claim struct {
	device  string
	known   bool      // it let us in the last time
	away    bool      // it is registered at no call server but the branch's own
	back    bool      // it was, and is not any more: what was cut off is there again
	refused time.Time // when it did not let us in; zero: it did, or was not asked
}

// outcome is what came of showing it.
type outcome int

const (
	saidElse   outcome = iota // a page that is not there, or another error
	letIn                     // the page
	turnedAway                // that the user is not let in
	hungOn                    // nothing
)

// A decision is whether it is a phone's turn.
type decision int

const (
	itIs decision = iota
	soon
	itIsNot
)

func newGuard(user string, log *slog.Logger) *guard {
	return &guard{user: user, log: log, freed: make(chan struct{})}
}

// enter reports whether the user may be shown to a phone now, waiting for its turn for
// at most patience. After a yes, leave must follow. elsewhere reports that it may not
// because others refuse it.
func (g *guard) enter(ctx context.Context, c claim, patience time.Duration) (ok, elsewhere bool) {
	if g == nil {
		return time.Since(c.refused) >= refusedWait, false
	}
	end := time.NewTimer(patience)
	defer end.Stop()
	for {
		g.mu.Lock()
		is, freed := g.turnOf(c, time.Now()), g.freed
		if is == itIs {
			g.out++
		}
		elsewhere = g.shut
		g.mu.Unlock()
		if is != soon {
			return is == itIs, elsewhere
		}
		select {
		case <-freed:
		case <-end.C:
			return false, false
		case <-ctx.Done():
			return false, false
		}
	}
}

// turnOf decides. Whatever else is so, no more refusals can come of it within a lapse
// than are borne.
func (g *guard) turnOf(c claim, now time.Time) decision {
	g.refused = slices.DeleteFunc(g.refused, func(r refusal) bool { return now.Sub(r.at) >= lapse })
	full := g.out+len(g.refused) >= mostRefused || !c.known && g.out > 0
	waiting := now.Before(g.until)
	switch {
	case !c.refused.IsZero() && now.Sub(c.refused) < refusedWait && !c.back && !g.opened.After(c.refused):
		return itIsNot
	case full && g.out > 0 && !g.shut && g.hung < stalledAfter:
		return soon
	case full, g.shut && g.out > 0:
		return itIsNot
	case g.shut && g.proven && c.back:
		return itIs
	case g.shut && c.away && now.Sub(g.last) < lapse: // it cannot ask either
		return itIsNot
	case waiting && (g.shut || !c.known):
		return itIsNot
	}
	return itIs
}

// leave takes down what a phone said.
func (g *guard) leave(c claim, what outcome) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out--
	close(g.freed)
	g.freed = make(chan struct{})
	now := time.Now()
	switch what {
	case letIn:
		if g.shut {
			g.log.Info("phone user is let in", "user", g.user, "device", c.device)
			g.opened = now
		}
		g.refused, g.until, g.wait = nil, time.Time{}, 0
		g.proven, g.shut, g.hung, g.pardon = true, false, 0, true
	case turnedAway:
		most := longestWait
		if g.proven {
			most = provenWait
		}
		g.hung, g.last = 0, now
		g.refused = append(g.refused, refusal{c.device, now})
		g.wait = min(max(2*g.wait, firstWait), most)
		g.until = now.Add(g.wait)
		if !g.shut && (c.known || !g.proven) {
			g.shut = true
			g.log.Warn("phone user is refused, and shown to one phone at a time", "user", g.user, "device", c.device, "err", adviceUser)
		}
	case hungOn:
		g.hung++
	}
}

// lost notes that a phone has lost its call server. If it had refused our user just
// before, it could not ask either, and that counts nowhere. Believed of few, until
// somebody lets the user in again.
func (g *guard) lost(device string) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.pardon {
		return
	}
	was := len(g.refused)
	g.refused = slices.DeleteFunc(g.refused, func(r refusal) bool { return r.device == device && time.Since(r.at) < moveToSRST })
	g.pardon = len(g.refused) == was || len(g.refused) > 0
}
