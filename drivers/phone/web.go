package phone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/presence"
	"pilotlight/agent/schedule"
)

// Where the web pages' facts are told from, and where their failures are.
const (
	sourceWeb      = "phone/web"
	sourceReachWeb = "phone/reach-web"
)

// confirm is how soon after the first and second miss a phone is asked again,
// so that the third, which makes it unreachable, is seconds away and not minutes.
var confirm = [...]time.Duration{500 * time.Millisecond, 1500 * time.Millisecond}

// maxStreams is how many StreamingStatisticsX pages a phone may have.
const maxStreams = 3

// A seen is what one good sweep of a phone's pages told.
type seen struct {
	device  DeviceInfo
	network *NetworkInfo // nil: it has no such page
	streams []StreamInfo // nil: it has no such page
}

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
	streams int // the highest stream that was active at the last good poll
	fast    bool
}

func (d *Driver) startWeb(ctx context.Context, g *errgroup.Group, lines *lineSet, hastySIP func(string)) {
	if d.needs.Web == nil {
		return
	}
	w := &webPoller{Driver: d, lines: lines, hastySIP: hastySIP,
		round: &round[webState]{queue: d.needs.Web, every: d.config.Web, asks: func(p Phone) bool { return p.WebPort > 0 }}}
	for range d.workers(w.round.begin(ctx, g, d.roster)) {
		start(g, func() error { return w.work(ctx) })
	}
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
	s := newSession(p, w.patience(st), w.pins)
	var failed error
	defer func() { s.close(); v.Done(failed) }() // Done comes last: what is hastened meanwhile holds
	got, failed := s.sweep(ctx, st.streams)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed != nil:
		return w.missed(ctx, s.phone, st, failed)
	}
	return w.answered(ctx, s, st, got)
}

// patience is the deadline of one request. A phone in doubt gets half: on a LAN
// it answers within milliseconds or not at all, and the verdict is awaited.
func (w *webPoller) patience(st *webState) time.Duration {
	if st.misses > 0 && st.misses < presence.Misses {
		return w.config.Timeout / 2
	}
	return w.config.Timeout
}

// sweep fetches a phone's pages, one after the other. Streams 2 and 3 are asked
// for while the one before is active, or was active itself at the last poll.
func (s *session) sweep(ctx context.Context, streams int) (seen, error) {
	var got seen
	page, err := s.page(ctx, pathDevice)
	if f, ok := errors.AsType[*Fault](err); ok && f.Missing && f.Reach == presence.Garbled {
		f.Detail = adviceOther
	}
	if err != nil {
		return seen{}, err
	}
	if got.device, err = page.Device(); err != nil {
		return seen{}, garbled(pathDevice, "sends %s", err)
	}
	if err := s.isWho(got.device); err != nil {
		return seen{}, err
	}
	switch page, err = s.page(ctx, pathNetwork); {
	case isMissing(err):
	case err != nil:
		return seen{}, err
	default:
		n, err := page.Network()
		if err != nil {
			return seen{}, garbled(pathNetwork, "sends %s", err)
		}
		got.network = &n
	}
	for i := 1; i <= maxStreams; i++ {
		path := pathStream + "?" + strconv.Itoa(i)
		page, err := s.page(ctx, path)
		if isMissing(err) {
			break
		}
		if err != nil {
			return seen{}, err
		}
		stream, err := page.Stream()
		if err != nil {
			return seen{}, garbled(path, "sends %s", err)
		}
		got.streams = append(got.streams, stream)
		if !stream.Active && i >= streams {
			break
		}
	}
	return got, nil
}

// page fetches and reads one page.
func (s *session) page(ctx context.Context, path string) (Page, error) {
	a, err := s.get(ctx, path)
	if err != nil {
		return Page{}, err
	}
	page, err := ParsePage(a.Body, a.ContentType)
	if err != nil {
		return Page{}, garbled(path, "sends %s", err)
	}
	return page, nil
}

// isWho holds the page against the configured name: an address that now belongs
// to another phone must not lend this one its state.
func (s *session) isWho(d DeviceInfo) error {
	if sepName(s.phone.Name) && sepName(d.HostName) && !strings.EqualFold(s.phone.Name, d.HostName) {
		return garbled(pathDevice, "%s: %s", adviceMoved, strings.ToUpper(d.HostName))
	}
	return nil
}

func isMissing(err error) bool {
	f, ok := errors.AsType[*Fault](err)
	return ok && f.Missing
}

// answered tells the facts of a good poll.
func (w *webPoller) answered(ctx context.Context, s *session, st *webState, got seen) error {
	st.streams, st.misses = 0, 0
	for i, stream := range got.streams {
		if stream.Active {
			st.streams = i + 1
		}
	}
	every := w.pace(s.phone.Name, st)
	now := time.Now()
	o := presence.Observation{Source: sourceWeb, Device: s.phone.Name, Seen: now, TTL: w.ttl(every), Facts: got.facts(s)}
	all := []presence.Observation{o}
	if was := st.reach; was != presence.Answered {
		if was != "" { // takes back what the failures said
			all = append(all, presence.Observation{Source: sourceReachWeb, Device: s.phone.Name, Seen: now, TTL: o.TTL,
				Facts: presence.Facts{Reach: o.Reach}})
		}
		st.reach, st.detail = presence.Answered, ""
		level := slog.LevelInfo
		if was == "" { // five hundred at a start are no news
			level = slog.LevelDebug
		}
		w.log.Log(ctx, level, "phone answers", "device", s.phone.Name, "model", got.device.Model, "number", got.device.Number)
	}
	if got.device.Number != "" {
		w.lines.add(got.device.Number)
	}
	return w.heart.Observe(ctx, slog.String("device", s.phone.Name), all...)
}

// pace polls faster while audio flows, since the end of a call is awaited.
func (w *webPoller) pace(device string, st *webState) time.Duration {
	every := w.config.Web
	if st.streams > 0 {
		every = min(every, max(2*time.Second, every/4))
	}
	if fast := st.streams > 0; fast != st.fast {
		st.fast = fast
		w.round.pace(device, every)
	}
	return every
}

// ttl is how long facts hold: a poll may come late, or be lost once.
func (w *webPoller) ttl(every time.Duration) time.Duration {
	return every*5/2 + w.config.Timeout
}

// facts are what a sweep comes to in the heart's words.
func (got seen) facts(s *session) presence.Facts {
	d := got.device
	f := presence.Facts{
		Identity:  &presence.Identity{Model: d.Model, Serial: d.Serial, Firmware: d.Firmware, MAC: d.MAC, Address: s.remote},
		Reach:     &presence.Reach{Outcome: presence.Answered, Via: "web"},
		Messages:  d.Messages,
		Abilities: &presence.Abilities{Audio: true},
	}
	if d.Number != "" {
		f.Identity.Lines = []string{d.Number}
	}
	if got.network != nil {
		f.Registration = got.network.registration()
		f.Abilities.Video = got.network.Video != nil && *got.network.Video
	}
	f.Streams, f.Calls = got.audio()
	return f
}

// audio is what the stream pages say: nothing where the phone has none, or words
// them in a way that is not known here; a call on the primary line while any
// stream is active.
func (got seen) audio() (*presence.Streams, *presence.Calls) {
	if len(got.streams) == 0 {
		return nil, nil
	}
	told, active := true, false
	streams := &presence.Streams{}
	for _, s := range got.streams {
		streams.List = append(streams.List, s.Stream)
		told, active = told && s.Told, active || s.Active
	}
	switch {
	case active:
		return streams, &presence.Calls{Lines: []presence.Line{{Number: got.device.Number, State: presence.LineConfirmed}}}
	case told:
		return streams, &presence.Calls{}
	}
	return streams, nil
}

// missed tells what a failed poll proves, which is nothing about calls.
func (w *webPoller) missed(ctx context.Context, p Phone, st *webState, err error) error {
	f, ok := errors.AsType[*Fault](err)
	if !ok {
		f = &Fault{Detail: "could not be asked", Err: err}
	}
	w.note(ctx, p, st, f)
	switch f.Reach {
	case "":
		return nil
	case presence.Silent:
		st.misses++
		w.doubt(p.Name, st.misses)
	default:
		st.misses = 0
	}
	return w.heart.Observe(ctx, slog.String("device", p.Name), presence.Observation{
		Source: sourceReachWeb, Device: p.Name, Seen: time.Now(), TTL: w.reachTTL(),
		Facts: presence.Facts{Reach: &presence.Reach{Outcome: f.Reach, Misses: st.misses, Via: "web", Detail: f.Detail}},
	})
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
func (w *webPoller) reachTTL() time.Duration { return 5*w.config.Web + w.config.Timeout }

// note logs a change of how a phone fails, once.
func (w *webPoller) note(ctx context.Context, p Phone, st *webState, f *Fault) {
	if st.reach == f.Reach && st.detail == f.Detail && f.Detail != "" {
		w.log.Debug("poll failed", "device", p.Name, "err", f)
		return
	}
	level := slog.LevelWarn
	if f.Reach == presence.Refused {
		level = slog.LevelInfo
	}
	st.reach, st.detail = f.Reach, f.Detail
	w.log.Log(ctx, level, "phone web page", "device", p.Name, "peer", p.Address, "reach", string(f.Reach), "err", f)
}

// String is the stream as a person reads it.
func (s StreamInfo) String() string {
	switch {
	case s.Active:
		return fmt.Sprintf("active to %s, %s", s.Remote, s.Codec)
	case s.Told:
		return "idle"
	}
	return "in words that are not known here"
}
