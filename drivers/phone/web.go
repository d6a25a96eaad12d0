package phone

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/presence"
	"pilotlight/agent/schedule"
)

// sourceReachWeb is where the failures of the web pages are told from.
const sourceReachWeb = "phone/reach-web"

// confirm is how soon after the first and second miss a phone is asked again,
// so that the third, which makes it unreachable, is seconds away and not minutes.
var confirm = [...]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond}

// webPoller reads the phones' web pages.
type webPoller struct {
	*Driver
	lines    *lineSet
	hastySIP func(device string)
	round    *round[webState]
}

// webState is what is remembered of a phone from one visit to the next.
type webState struct {
	misses  int
	reach   presence.ReachOutcome // how the last visit ended; "": none yet, or trouble of ours
	detail  string
	quiet   bool          // and that was not logged
	every   time.Duration // how often it is asked; 0: as in quiet times
	deaf    atomic.Bool   // its family answers no OPTIONS; the SIP workers read it
	account account
}

// newWebPoller makes a poller at rest.
func (d *Driver) newWebPoller(lines *lineSet) *webPoller {
	return &webPoller{Driver: d, lines: lines,
		round: &round[webState]{queue: d.needs.Web, every: d.config.Web, asks: func(p Phone, _ *webState) bool { return p.WebPort > 0 }}}
}

func (w *webPoller) start(ctx context.Context, g *errgroup.Group, hastySIP func(string)) {
	if w.needs.Web == nil {
		return
	}
	w.hastySIP = hastySIP
	start(g, func() error { return w.pins.start(ctx) })
	for range w.workers(w.round.begin(ctx, g, w.roster)) {
		start(g, func() error { return w.work(ctx) })
	}
}

// deaf reports that a phone's pages have named a family that answers no OPTIONS.
func (w *webPoller) deaf(device string) bool {
	_, st, known := w.round.get(device)
	return known && st.deaf.Load()
}

func (w *webPoller) work(ctx context.Context) error {
	for {
		v, err := w.needs.Web.Next(ctx)
		if err != nil {
			return err
		}
		if err := w.visit(ctx, v); err != nil {
			return err
		}
	}
}

// visit reads one phone and tells what that came to. Only a heart that is gone,
// or the end, is an error of the driver.
func (w *webPoller) visit(ctx context.Context, v schedule.Visit) (err error) {
	p, st, known := w.round.get(v.Target)
	if !known {
		v.Done(nil)
		return nil
	}
	s := newSession(p, w.patience(st), w.pins, w.config.Credentials)
	var failed error
	defer func() { s.close(); v.Done(failed) }() // Done comes last: what is hastened meanwhile holds
	switch {
	case st.reach == presence.Silent && st.misses < presence.Misses:
		st.account.doubted()
	case st.reach == presence.Silent:
		st.account.again()
	}
	sweep := &sweep{session: s, a: &st.account, guard: w.guard, pace: w.config.Pace, every: w.config.Web, least: w.config.Timeout / 2}
	failed = sweep.run(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed != nil:
		return w.missed(ctx, s.phone, st, sweep, failed)
	}
	return w.answered(ctx, p, st, sweep)
}

// patience is the deadline of one request. A phone in doubt gets half: on a LAN
// it answers within milliseconds or not at all, and the verdict is awaited.
func (w *webPoller) patience(st *webState) time.Duration {
	if st.misses > 0 && st.misses < presence.Misses {
		return w.config.Timeout / 2
	}
	return w.config.Timeout
}

// answered tells the facts of a good poll, each with the age of its page, and what
// is wrong with a page that could not be read.
func (w *webPoller) answered(ctx context.Context, p Phone, st *webState, sweep *sweep) error {
	st.misses = 0
	w.stands(p, true)
	if deaf := st.account.family.deaf(); st.deaf.Swap(deaf) != deaf {
		w.roster.again()
	}
	every := w.config.Web
	if st.account.streams > 0 { // the end of a call is awaited
		every = w.config.inCall()
	}
	w.pace(p.Name, st, every)
	obs := w.facts(p, sweep, every)
	switch f, was := sweep.trouble(), st.reach; {
	case f != nil:
		w.note(ctx, p, st, f)
		obs = append(obs, w.reach(p, st, f))
	case was != presence.Answered:
		st.reach, st.detail = presence.Answered, ""
		level := slog.LevelDebug // five hundred at a start are no news
		if was != "" {           // takes back what the failures said
			back := w.reach(p, st, &Fault{Reach: presence.Answered})
			back.TTL = w.ttl(every)
			obs = append(obs, back)
			if !st.quiet {
				level = slog.LevelInfo
			}
		}
		w.log.Log(ctx, level, "phone answers", "device", p.Name, "model", st.account.device.Model, "number", st.account.device.Number)
	}
	return w.heart.Observe(ctx, slog.String("device", p.Name), obs...)
}

// facts are what was read in a visit.
func (w *webPoller) facts(p Phone, sweep *sweep, every time.Duration) (obs []presence.Observation) {
	for _, t := range sweep.told {
		o := presence.Observation{Source: t.source, Device: p.Name, Seen: t.at, TTL: w.ttl(max(every, t.lasts)), Facts: t.facts}
		if t.source == sourceWeb { // told at nearly every visit, and first: what is refused of a phone is logged under one name
			o.TTL = w.ttl(every)
			obs = slices.Insert(obs, 0, o)
		} else {
			obs = append(obs, o)
		}
		w.learn(t.facts)
	}
	return obs
}

// reach is what is told of how a phone answers, beside its facts.
func (w *webPoller) reach(p Phone, st *webState, f *Fault) presence.Observation {
	return presence.Observation{Source: sourceReachWeb, Device: p.Name, Seen: time.Now(), TTL: w.reachTTL(st),
		Facts: presence.Facts{Reach: &presence.Reach{Outcome: f.Reach, Misses: st.misses, Via: "web", Detail: f.Detail}}}
}

// learn has the lines that a phone names subscribed to.
func (w *webPoller) learn(f presence.Facts) {
	if f.Identity != nil {
		for _, n := range f.Identity.Lines {
			w.lines.add(n)
		}
	}
}

// pace changes how often a phone is asked.
func (w *webPoller) pace(device string, st *webState, every time.Duration) {
	if every != cmp.Or(st.every, w.config.Web) {
		st.every = every
		w.round.pace(device, every)
	}
}

// ttl is how long facts hold: a poll may come late, or be lost once.
func (w *webPoller) ttl(every time.Duration) time.Duration {
	return every*5/2 + w.config.Timeout
}

// missed tells what a failed poll proves, and what was read before it failed.
func (w *webPoller) missed(ctx context.Context, p Phone, st *webState, sweep *sweep, err error) error {
	f := faultIn(err)
	switch {
	case f == nil:
		f = &Fault{Detail: "could not be asked", Err: err}
	case f.another():
		sweep.told = nil
	case f.Dial && f.Reach == presence.Refused && sweep.heard:
		f = &Fault{Reach: presence.Garbled, Page: f.Page, Detail: "refuses a connection after it answered", Err: f.Err}
	}
	w.note(ctx, p, st, f)
	obs := w.facts(p, sweep, cmp.Or(st.every, w.config.Web))
	switch f.Reach {
	case "":
		return w.heart.Observe(ctx, slog.String("device", p.Name), obs...)
	case presence.Silent:
		st.misses++
		w.doubt(p.Name, st.misses)
	case presence.Other: // of this phone nothing was heard, and nothing missed
	default:
		st.misses = 0
	}
	if st.misses >= presence.Misses || f.another() {
		w.stands(p, false)
	}
	if f.Wait > 0 {
		w.pace(p.Name, st, max(w.config.Web, f.Wait))
	}
	return w.heart.Observe(ctx, slog.String("device", p.Name), append(obs, w.reach(p, st, f))...)
}

// doubt asks for confirmation from every side, until the verdict is reached.
func (w *webPoller) doubt(device string, misses int) {
	if misses > presence.Misses {
		return
	}
	if misses <= len(confirm) {
		w.needs.Web.Hasten(device, confirm[misses-1])
	}
	if w.hastySIP != nil {
		w.hastySIP(device)
	}
	if w.needs.Doubt != nil {
		w.needs.Doubt.Doubt(device)
	}
}

// reachTTL outlasts the queue's back-off of four intervals.
func (w *webPoller) reachTTL(st *webState) time.Duration {
	return 5*max(w.config.Web, st.every) + w.config.Timeout
}

// note logs a change of how a phone fails, once.
func (w *webPoller) note(ctx context.Context, p Phone, st *webState, f *Fault) {
	if st.reach == f.Reach && st.detail == f.Detail && f.Detail != "" {
		w.log.Debug("poll failed", "device", p.Name, "err", f)
		return
	}
	level := slog.LevelWarn
	st.quiet = strings.HasSuffix(f.Detail, adviceHeld) || strings.HasSuffix(f.Detail, adviceUser)
	switch {
	case st.quiet: // the guard says it, once for all phones
		level = slog.LevelDebug
	case f.Reach == presence.Refused:
		level = slog.LevelInfo
	}
	st.reach, st.detail = f.Reach, f.Detail
	w.log.Log(ctx, level, "phone web page", "device", p.Name, "peer", p.Address, "reach", string(f.Reach), "err", f)
}
