package phone

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/presence"
	"pilotlight/agent/schedule"
)

// Where what OPTIONS tells comes from, and where its silence is kept.
const (
	sourceSIP      = "phone/sip"
	sourceReachSIP = "phone/reach-sip"
)

// A phone that has not answered strangers this often is asked once an hour.
// Most are like that, so that at a start nearly all workers wait for them:
// they wait for less, or those that do answer would be asked too late.
const (
	strangerTries   = 3
	strangerEvery   = time.Hour
	strangerTimeout = time.Second
)

// SIPAnswer is what a phone answered to OPTIONS.
type SIPAnswer struct {
	Status    int
	RTT       time.Duration
	UserAgent string
	Allow     []string
	Accept    []string
	Contact   string // with the feature tags of RFC 3840
	SDP       string // what it could offer (RFC 3261 §11.2), if it says so
}

// Asker sends one OPTIONS (RFC 3261 §11) to a target such as
// "sip:10.1.1.20:5060;transport=udp" and waits for the final response.
type Asker interface {
	Options(ctx context.Context, target string) (SIPAnswer, error)
}

// sipPoller asks phones by OPTIONS.
//
// Enterprise phones take SIP from their registrar alone, over a connection of
// their own making; they never answer us. So silence here is never counted as a
// miss: it only takes back that the phone answers, if it did before. A phone that
// is known to be of such a family is not asked, unless it has answered all the same.
type sipPoller struct {
	*Driver
	round *round[sipState]
	deaf  func(device string) bool
}

type sipState struct {
	answers atomic.Bool // it answered in this run; the web workers read it
	lost    bool        // it did, and does not now
	tries   int         // in a row without an answer, of one that has not to answer
}

// startSIP returns how the web poller asks for an OPTIONS at once.
func (d *Driver) startSIP(ctx context.Context, g *errgroup.Group, deaf func(device string) bool) (hasten func(device string)) {
	if d.needs.SIP == nil || d.needs.Asker == nil {
		return nil
	}
	asks := func(p Phone, st *sipState) bool {
		return p.SIPPort > 0 && (st != nil && st.answers.Load() || !deaf(p.Name))
	}
	p := &sipPoller{Driver: d, deaf: deaf, round: &round[sipState]{queue: d.needs.SIP, every: d.config.SIP, asks: asks}}
	for range d.workers(p.round.begin(ctx, g, d.roster)) {
		start(g, func() error { return p.work(ctx) })
	}
	return func(device string) {
		if _, st, known := p.round.get(device); known && st.answers.Load() {
			d.needs.SIP.Hasten(device, 0)
		}
	}
}

func (p *sipPoller) work(ctx context.Context) error {
	for {
		v, err := p.needs.SIP.Next(ctx)
		if err != nil {
			return err
		}
		if err := p.visit(ctx, v); err != nil {
			return err
		}
	}
}

func (p *sipPoller) visit(ctx context.Context, v schedule.Visit) error {
	phone, st, known := p.round.get(v.Target)
	if !known {
		v.Done(nil)
		return nil
	}
	patience := p.config.Timeout
	if !st.answers.Load() {
		patience = min(patience, strangerTimeout)
	}
	asking, cancel := context.WithTimeout(ctx, patience)
	a, failed := p.needs.Asker.Options(asking, phone.sipTarget(""))
	if failed == nil && a.Status == 404 && phone.User != "" {
		// It answers for its user alone (RFC 3261 §11.2: as it would an INVITE);
		// baresip and what is built like it do so.
		a, failed = p.needs.Asker.Options(asking, phone.sipTarget(phone.User))
	}
	cancel()
	defer func() { v.Done(failed) }()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case failed != nil:
		return p.silent(ctx, phone, st, failed)
	}
	return p.answered(ctx, phone, st, a)
}

func (p *sipPoller) answered(ctx context.Context, phone Phone, st *sipState, a SIPAnswer) error {
	now, ttl := time.Now(), p.config.SIP*5/2+p.config.Timeout
	reach := &presence.Reach{Outcome: presence.Answered, Via: "sip", Detail: "answers OPTIONS within " + within(a.RTT)}
	o := presence.Observation{Source: sourceSIP, Device: phone.Name, Seen: now, TTL: ttl,
		Facts: presence.Facts{Reach: reach, Abilities: a.abilities()}}
	all := []presence.Observation{o}
	st.tries = 0
	if !st.answers.Swap(true) || st.lost {
		p.round.pace(phone.Name, p.config.SIP)
		p.log.Info("phone answers OPTIONS", "device", phone.Name, "peer", phone.Address, "status", a.Status, "agent", clip(a.UserAgent, 80))
	}
	if st.lost {
		st.lost = false
		all = append(all, presence.Observation{Source: sourceReachSIP, Device: phone.Name, Seen: now, TTL: ttl,
			Facts: presence.Facts{Reach: reach}})
	}
	return p.heart.Observe(ctx, slog.String("device", phone.Name), all...)
}

func (p *sipPoller) silent(ctx context.Context, phone Phone, st *sipState, err error) error {
	if !st.answers.Load() {
		if st.tries++; st.tries == strangerTries {
			p.round.pace(phone.Name, strangerEvery)
			p.log.Debug("does not answer OPTIONS from strangers", "device", phone.Name, "err", err)
		}
		return nil
	}
	if p.deaf(phone.Name) { // what it answered grows old in peace
		if st.tries++; st.tries == strangerTries {
			st.answers.Store(false)
			p.roster.again()
		}
		return nil
	}
	reach := &presence.Reach{Outcome: presence.Silent, Via: "sip", Detail: "no longer answers OPTIONS"}
	if errors.Is(err, syscall.ECONNREFUSED) {
		reach.Outcome, reach.Detail = presence.Refused, "its SIP port is closed"
	}
	if !st.lost {
		st.lost = true
		p.log.Info("phone answers OPTIONS no longer", "device", phone.Name, "peer", phone.Address, "err", err)
	}
	return p.heart.Observe(ctx, slog.String("device", phone.Name), presence.Observation{Source: sourceReachSIP, Device: phone.Name, Seen: time.Now(),
		TTL: 5*p.config.SIP + p.config.Timeout, Facts: presence.Facts{Reach: reach}})
}

// within words a round trip coarsely, so that a millisecond more is no news.
func within(rtt time.Duration) string {
	for _, step := range []time.Duration{10 * time.Millisecond, 50 * time.Millisecond, 200 * time.Millisecond, time.Second} {
		if rtt <= step {
			return step.String()
		}
	}
	return "several seconds"
}

// abilities are what the answer claims; nil when it says nothing usable.
func (a SIPAnswer) abilities() *presence.Abilities {
	if a.Status < 200 || a.Status > 299 || len(a.Allow) == 0 {
		return nil
	}
	return &presence.Abilities{
		Audio: holds(a.Allow, "INVITE"),
		Video: holds(a.Allow, "INVITE") && (offersVideo(a.SDP) || hasFeature(a.Contact, "video")),
		IM:    holds(a.Allow, "MESSAGE"),
	}
}

func holds(list []string, token string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), token) })
}

// offersVideo looks for a video stream that is not refused: port 0 (RFC 3264 §6).
func offersVideo(sdp string) bool {
	for line := range strings.Lines(sdp) {
		media, ok := strings.CutPrefix(strings.TrimSpace(line), "m=video ")
		if ok && !strings.HasPrefix(media, "0 ") {
			return true
		}
	}
	return false
}

// hasFeature looks for a feature tag of RFC 3840 §9 among a Contact's header
// parameters, the ones behind the angle bracket.
func hasFeature(contact, tag string) bool {
	_, params, ok := strings.Cut(contact, ">")
	if !ok {
		return false
	}
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, tag) && !strings.EqualFold(strings.Trim(value, `"`), "FALSE") {
			return true
		}
	}
	return false
}
