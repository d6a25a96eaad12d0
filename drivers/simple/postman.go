package simple

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/agent/supervise"
	"pilotlight/drivers/internal/sip"
)

const (
	deliverAgain  = time.Minute      // in case nothing else tells that a device came back
	deliverWithin = 10 * time.Second // to a device, which is near
	farWithin     = 32 * time.Second // to a server, which may ask a phone first: 64*T1 (RFC 3261 §17.1.2.2)
)

// postman brings messages to those whom they are for: here to her devices, elsewhere
// to the server that has her domain. It ends when all visits have.
func (r *run) postman(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	tasks, inner := errgroup.WithContext(ctx)
	spawn := func(f func() error) { tasks.Go(func() error { return supervise.Guard(f) }) }
	spawn(func() error {
		for seen := uint64(0); ; {
			n, err := r.n.Post.Changed(inner, seen)
			if err != nil {
				return err
			}
			seen = n
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})
	spawn(func() error { return r.goRound(inner, spawn, changed) })
	return tasks.Wait()
}

// goRound decides on visits, and never waits for one.
func (r *run) goRound(ctx context.Context, spawn func(func() error), changed <-chan struct{}) error {
	type end struct {
		of presence.Presentity
		outcome
	}
	rounds, ended := newRounds(r.pause), make(chan end)
	for {
		visits, rest := rounds.next(time.Now(), r.routed(), r.peerOf)
		for _, to := range visits {
			at := rounds.steps[to]
			spawn(func() error {
				o := outcome{how: later} // should it panic: that message comes to rest, and no other
				err := supervise.Guard(func() error { o = r.visit(ctx, to, at.peer, at.refused); return nil })
				if err != nil {
					r.log.Error("messages are not delivered", "to", to, "err", err)
				}
				select {
				case ended <- end{to, o}:
				case <-ctx.Done():
				}
				return nil
			})
		}
		timer := time.NewTimer(rest)
		select {
		case e := <-ended:
			before := rounds.silent(e.of)
			rounds.done(time.Now(), e.of, e.outcome)
			r.tellOf(e.of, before, rounds.silent(e.of), e.err)
		case <-r.came.ready:
			for who := range r.came.take() {
				rounds.arrived(who)
			}
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// routed are those whom something waits for, but for people of a domain that no peer
// has any more.
func (r *run) routed() map[presence.Presentity]uint64 {
	waiting := r.n.Post.Recipients()
	maps.DeleteFunc(waiting, func(to presence.Presentity, _ uint64) bool { return !r.local(to) && r.peerOf(to) == nil })
	return waiting
}

// peerOf is who has somebody's domain; nil: we.
func (r *run) peerOf(to presence.Presentity) *Peer { return r.server(to.Domain()) }

func (r *run) tellOf(to presence.Presentity, before, now bool, err error) {
	switch {
	case now && !before:
		r.log.Warn("messages to a peer wait: it does not take them", "peer", r.peerOf(to).Name, "err", err)
	case before && !now:
		r.log.Info("a peer takes messages again", "peer", r.peerOf(to).Name)
	}
}

// visit brings somebody what waits for her, in order and one at a time (MSG-04).
func (r *run) visit(ctx context.Context, to presence.Presentity, peer *Peer, refused map[uint64][]string) outcome {
	if peer != nil {
		return r.visitPeer(ctx, to, peer)
	}
	return r.visitHome(ctx, to, refused)
}

func (r *run) visitPeer(ctx context.Context, to presence.Presentity, peer *Peer) outcome {
	for _, m := range r.n.Post.Waiting(to) {
		res, err := r.send(ctx, m, string(to), peer.Target, r.farWithin)
		if err != nil {
			return outcome{how: silence, err: err}
		}
		after, _ := res.RetryAfter()
		switch {
		case res.OK():
			r.settled(m, r.n.Post.Delivered(ctx, m.ID))
		case final(res):
			r.log.Info("a message is refused", "to", to, "peer", peer.Name, "err", saying(res))
			r.settled(m, r.n.Post.Refuse(ctx, m.ID, saying(res)))
		case res.Status == 503: // of the whole server (RFC 3261 §21.5.4)
			return outcome{how: silence, after: after, err: errors.New(saying(res))}
		default:
			return outcome{how: later, after: after}
		}
	}
	return outcome{}
}

// visitHome goes to the first of somebody's devices that takes a message. What none
// of them will ever take (a phone without text) is set aside for another, or for the
// panel, and what is behind it goes on.
func (r *run) visitHome(ctx context.Context, to presence.Presentity, refused map[uint64][]string) (o outcome) {
	at := r.contacts(ctx, to)
	if len(at) == 0 {
		return outcome{how: nobody}
	}
	waiting := r.n.Post.Waiting(to)
	forget(refused, waiting, at)
	for _, m := range waiting {
		o.had = m.ID
		how, after := r.handOver(ctx, m, at, refused)
		switch how {
		case aside:
			o.how = aside
		case later:
			return outcome{how: later, after: after}
		}
	}
	return o
}

// forget drops of what was refused all that is of a message or a device that is gone.
func forget(refused map[uint64][]string, waiting []relay.Message, at []string) {
	maps.DeleteFunc(refused, func(id uint64, _ []string) bool {
		return !slices.ContainsFunc(waiting, func(m relay.Message) bool { return m.ID == id })
	})
	for id, by := range refused {
		refused[id] = slices.DeleteFunc(by, func(target string) bool { return !slices.Contains(at, target) })
	}
}

// handOver sends a message to the first device that takes it.
func (r *run) handOver(ctx context.Context, m relay.Message, at []string, refused map[uint64][]string) (how howEnded, after time.Duration) {
	how = aside
	for _, target := range at {
		if slices.Contains(refused[m.ID], target) {
			continue
		}
		res, err := r.send(ctx, m, target, "", deliverWithin)
		switch {
		case err != nil:
			how = later
		case res.OK():
			r.settled(m, r.n.Post.Delivered(ctx, m.ID))
			return brought, 0
		case final(res):
			refused[m.ID] = append(refused[m.ID], target)
			r.log.Info("a device does not take a message", "to", m.To, "device", target, "err", saying(res))
		default:
			how = later
			asked, _ := res.RetryAfter()
			after = max(after, asked)
		}
	}
	return how, after
}

func (r *run) settled(m relay.Message, err error) {
	if err != nil {
		r.log.Warn("what became of a message is not on disk", "to", m.To, "err", err)
	}
}

// send is one MESSAGE. It makes no dialog, and has no Contact (MSG-01).
func (r *run) send(ctx context.Context, m relay.Message, uri, target string, within time.Duration) (*sip.Response, error) {
	req := &sip.Request{Method: "MESSAGE", URI: uri, Target: target, From: string(m.From), To: string(m.To), MaxForwards: m.Hops,
		ContentType: textType + ";charset=UTF-8", Body: []byte(m.Text), Timeout: within}
	if !m.Undated {
		req.Header.Add("Date", m.At.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"))
	}
	return r.n.Endpoint.Do(ctx, req)
}

// final reports a refusal that the same message would get again. One that says when
// to come back is none, whatever its status (RFC 3261 §20.33: a 404 may); 401 and 407
// are, as there is no password for the far side.
func final(res *sip.Response) bool {
	switch res.Status {
	case 401, 407, 501, 505, 513: // not this method, not this SIP, not of this size
		return true
	case 408, 480, 486, 491:
		return false
	}
	_, when := res.RetryAfter()
	return !when && res.Status/100 != 5
}

// saying is an answer for people to read.
func saying(res *sip.Response) string {
	phrase := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(cut(res.Reason, maxPhrase), ""))
	return strings.TrimSpace(strconv.Itoa(res.Status) + " " + strings.TrimSpace(phrase))
}

const maxPhrase = 80

// contacts are where the devices of a person are, the latest first. A device is what
// watches in its user's name: it has a Contact, and showed that it lives.
func (r *run) contacts(ctx context.Context, who presence.Presentity) (at []string) {
	_ = r.do(ctx, func() {
		if r.watchers[who] == 0 {
			return
		}
		var mine []*subscription
		for _, s := range r.subs {
			if s.Watcher == who && !s.unreachable && s.proven && s.met {
				mine = append(mine, s)
			}
		}
		slices.SortFunc(mine, func(a, b *subscription) int { return b.Expires.Compare(a.Expires) })
		for _, s := range mine {
			if target := s.Target; !slices.Contains(at, target) && len(at) < 4 {
				at = append(at, target)
			}
		}
	})
	return at
}

// callers are those with a device that showed up since the postman looked.
type callers struct {
	ready chan struct{}
	mu    sync.Mutex
	who   map[presence.Presentity]bool
}

func newCallers() *callers {
	return &callers{ready: make(chan struct{}, 1), who: map[presence.Presentity]bool{}}
}

func (c *callers) add(who presence.Presentity) {
	c.mu.Lock()
	c.who[who] = true
	c.mu.Unlock()
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

func (c *callers) take() map[presence.Presentity]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	who := c.who
	c.who = map[presence.Presentity]bool{}
	return who
}
