package event

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"pilotlight/agent"
	"pilotlight/drivers/internal/sip"
)

// Refusal is a final response that ends, or never began, a subscription.
type Refusal struct {
	URI        string
	Status     int
	Reason     string
	RetryAfter time.Duration
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("event: subscription to %s refused: %d %s", r.URI, r.Status, r.Reason)
}

// Termination is the end of a subscription that the notifier told.
type Termination struct {
	URI        string
	Reason     string
	RetryAfter time.Duration
}

func (t *Termination) Error() string {
	return fmt.Sprintf("event: subscription to %s terminated: %s", t.URI, t.Reason)
}

// Why Next ends otherwise.
var (
	ErrNoNotice = errors.New("event: no NOTIFY came in time") // Timer N
	ErrExpired  = errors.New("event: the subscription expired before it could be refreshed")
	ErrClosed   = errors.New("event: subscription closed")
)

// Subscription is one dialog with a notifier. Next is for one caller at a time.
type Subscription struct {
	owner *Subscriber
	cfg   Config
	key   dialogKey
	bell  chan struct{}  // something came; capacity 1
	work  sync.WaitGroup // the exchange in flight
	ctx   context.Context
	stop  context.CancelFunc

	mu         sync.Mutex
	box        []Notice
	remoteTag  string
	remote     string   // target: the notifier's Contact
	routes     []string // Record-Route of the first NOTIFY
	theirs     sip.Sequence
	cseq       uint32    // the last one used
	until      time.Time // when it expires
	refreshAt  time.Time
	noticeBy   time.Time // Timer N; zero: not running
	asked      time.Duration
	refreshing bool
	begun      time.Time     // when the last SUBSCRIBE went out
	heard      bool          // a NOTIFY came since
	told       time.Duration // the expires that it named, 0 for none
	ended      error         // why no more comes
	terminated chan struct{}
}

func newSubscription(s *Subscriber, cfg Config) *Subscription {
	sub := &Subscription{owner: s, cfg: cfg, key: dialogKey{sip.Random(16), sip.Random(8)}, bell: make(chan struct{}, 1),
		remote: cfg.URI, asked: cfg.Expires, terminated: make(chan struct{})}
	sub.ctx, sub.stop = context.WithCancel(context.Background())
	return sub
}

func (s *Subscription) forget() {
	s.stop()
	s.owner.mu.Lock()
	delete(s.owner.dialogs, s.key)
	s.owner.mu.Unlock()
}

// subscribe makes the exchange of the first SUBSCRIBE or of a refresh.
func (s *Subscription) subscribe(ctx context.Context) error {
	began := time.Now()
	s.mu.Lock()
	s.begun, s.heard, s.told = began, false, 0
	s.mu.Unlock()
	res, err := s.send(ctx, s.asked)
	if err == nil && res.Status == 423 { // SUB-07: once, with what is asked for
		if least, ok := res.MinExpires(); ok && least > s.asked {
			s.asked = least
			res, err = s.send(ctx, s.asked)
		}
	}
	if err != nil {
		return err
	}
	if !res.OK() {
		return s.refusal(res)
	}
	granted, ok := res.Expires()
	if !ok || granted > s.asked {
		granted = s.asked
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Each 2xx is followed by a NOTIFY (§4.1.2.4), which may be here already and
	// then has had its say; a 204 (RFC 5839) promises that none will come.
	if s.heard && s.told > 0 {
		granted = min(granted, s.told)
	}
	s.hold(began, granted)
	if res.Status != 204 && !s.heard {
		s.noticeBy = began.Add(s.cfg.FirstNotice)
	}
	s.ring()
	return nil
}

// hold sets the times of a subscription that ends d from now on. A refresh goes
// at 80 to 90 % of it, spread, so that hundreds do not go together.
func (s *Subscription) hold(from time.Time, d time.Duration) {
	s.until = from.Add(d)
	s.refreshAt = from.Add(time.Duration(float64(d) * (0.8 + 0.1*rand.Float64())))
}

// send makes one exchange within the dialog, or before there is one.
func (s *Subscription) send(ctx context.Context, expires time.Duration) (*sip.Response, error) {
	s.mu.Lock()
	r := &sip.Request{
		Method: "SUBSCRIBE", URI: s.remote, Target: s.cfg.Target, From: s.cfg.From, To: s.cfg.URI,
		FromTag: s.key.localTag, ToTag: s.remoteTag, CallID: s.key.callID, CSeq: s.cseq + 1, Route: s.routes,
		ContactUser: s.cfg.ContactUser, Event: s.event(), Accept: s.cfg.Accept, Expires: &expires,
		Credentials: s.cfg.Credentials, Timeout: s.cfg.Timeout,
		Header: sip.Header{{Name: "Allow-Events", Value: s.owner.pkg.Name}},
	}
	if s.remoteTag != "" {
		r.Target = "" // the dialog's own route (RFC 3261 §12.2.1.1)
		r.URI, r.Route = strict(r.URI, r.Route)
	}
	// Should the exchange fail midway, its retries with credentials have taken
	// numbers too; gaps do no harm.
	s.cseq += 4
	s.mu.Unlock()
	res, err := s.owner.endpoint.Do(ctx, r)
	if err == nil {
		s.mu.Lock()
		s.cseq = max(res.CSeq, r.CSeq)
		s.mu.Unlock()
	}
	return res, err
}

// strict is RFC 3261 §12.2.1.1: a first route without lr becomes the
// Request-URI, and the target goes to the end.
func strict(target string, routes []string) (string, []string) {
	if len(routes) == 0 {
		return target, nil
	}
	first, err := sip.ParseAddress(routes[0])
	if err != nil {
		return target, routes
	}
	u, err := sip.ParseURI(first.URI)
	if _, loose := u.Params["lr"]; err != nil || loose {
		return target, routes
	}
	return first.URI, append(slices.Clone(routes[1:]), "<"+target+">")
}

func (s *Subscription) event() string {
	if s.cfg.ID != "" {
		return s.owner.pkg.Name + ";id=" + s.cfg.ID
	}
	return s.owner.pkg.Name
}

// refusal is the error of a final response. A password that is wrong stays so.
func (s *Subscription) refusal(res *sip.Response) error {
	after, _ := res.RetryAfter()
	err := &Refusal{URI: s.cfg.URI, Status: res.Status, Reason: res.Reason, RetryAfter: after}
	if res.Status == 401 || res.Status == 407 {
		return agent.Permanent(err)
	}
	return err
}

// take judges a NOTIFY of this dialog and returns the status of the answer.
func (s *Subscription) take(in *sip.Incoming, state State) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	switch {
	case s.ended != nil, in.FromTag() == "":
		return 481
	case s.remoteTag == "":
		// The first NOTIFY makes the dialog, and its Record-Route the route set, in
		// the order it has, as for any UAS (§4.4.1, RFC 3261 §12.1.1).
		s.remoteTag = in.FromTag()
		s.routes = in.Header.List("Record-Route")
	case in.FromTag() != s.remoteTag:
		return 481 // another fork; one of them is enough (SUB-04)
	}
	if !s.theirs.Accept(in.CSeq) {
		return 500 // §12.2.2: an older one, overtaken on the way
	}
	if c := in.Header.List("Contact"); len(c) == 1 { // target refresh (CORE-18)
		if a, err := sip.ParseAddress(c[0]); err == nil {
			s.remote = a.URI
		}
	}
	s.noticeBy, s.heard, s.told = time.Time{}, true, state.Expires
	if left := s.until.Sub(now); state.HasExpires && (s.until.IsZero() || state.Expires < left) {
		s.hold(now, state.Expires) // it may shorten, never lengthen (SUB-05)
	}
	n := Notice{Body: in.Body, ContentType: contentType(in.Header.Get("Content-Type")), State: state.Status,
		Reason: state.Reason, RetryAfter: state.RetryAfter, CSeq: in.CSeq, Expires: max(0, s.until.Sub(now))}
	if s.until.IsZero() { // before the 2xx
		n.Expires = s.asked
	}
	if len(s.box) >= s.cfg.Queue {
		s.box = slices.Delete(s.box, 0, len(s.box)-s.cfg.Queue+1)
	}
	s.box = append(s.box, n)
	if state.Status == Ended {
		s.end(&Termination{URI: s.cfg.URI, Reason: state.Reason, RetryAfter: state.RetryAfter})
	}
	s.ring()
	return 200
}

// end is called with the lock held.
func (s *Subscription) end(err error) {
	if s.ended == nil {
		s.ended = err
		close(s.terminated)
	}
}

func (s *Subscription) ring() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// Next waits for the next notice, in order. It also refreshes the subscription
// when that is due. After the last notice it returns why there are no more: a
// *Termination, a *Refusal, ErrNoNotice, ErrExpired or ErrClosed.
func (s *Subscription) Next(ctx context.Context) (Notice, error) {
	for {
		n, at, err := s.step(time.Now())
		if err != nil || n != nil {
			if err != nil {
				return Notice{}, err
			}
			return *n, nil
		}
		timer := time.NewTimer(time.Until(at))
		select {
		case <-s.bell:
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return Notice{}, ctx.Err()
		}
		timer.Stop()
	}
}

// step gives what there is now, or the time at which to look again.
func (s *Subscription) step(now time.Time) (*Notice, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.box) > 0:
		n := s.box[0]
		s.box = slices.Delete(s.box, 0, 1)
		return &n, now, nil
	case s.ended != nil:
		return nil, now, s.ended
	case !s.noticeBy.IsZero() && !now.Before(s.noticeBy):
		s.end(ErrNoNotice)
		return nil, now, s.ended
	case !now.Before(s.until):
		s.end(ErrExpired)
		return nil, now, s.ended
	case !s.refreshing && !now.Before(s.refreshAt):
		s.refreshing = true
		s.work.Go(s.refresh)
	}
	at := s.until
	if !s.refreshing && s.refreshAt.Before(at) {
		at = s.refreshAt
	}
	if !s.noticeBy.IsZero() && s.noticeBy.Before(at) {
		at = s.noticeBy
	}
	return nil, at, nil
}

// calm is the least time between a SUBSCRIBE and a Refresh: a notifier whose
// documents never add up must not be asked without pause.
const calm = 5 * time.Second

// Refresh asks for the full state again, by a SUBSCRIBE that Next sends: now, or
// a little later when the last one is not long ago.
func (s *Subscription) Refresh() {
	s.mu.Lock()
	if at := later(time.Now(), s.begun.Add(calm)); at.Before(s.refreshAt) {
		s.refreshAt = at
	}
	s.mu.Unlock()
	s.ring()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lost are the answers to a refresh that say that the dialog or the
// subscription is gone (RFC 6665 §4.1.2.2, RFC 5057 §5.1).
func lost(status int) bool {
	switch status {
	case 401, 407, 404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604:
		return true
	}
	return false
}

// refresh makes one; while it fails for now, the subscription lives on until it
// expires, and it is tried again.
func (s *Subscription) refresh() {
	err := s.subscribe(s.ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshing = false
	defer s.ring()
	if err == nil || s.ended != nil {
		return
	}
	pause := max(s.cfg.Expires/20, time.Second)
	var refused *Refusal
	if errors.As(err, &refused) {
		if lost(refused.Status) {
			s.end(err)
			return
		}
		pause = max(refused.RetryAfter, pause)
	}
	s.refreshAt = time.Now().Add(pause)
	s.owner.log.Debug("event: refresh failed, trying again", "presentity", s.cfg.URI, "err", err, "in", pause)
}

// closeTime bounds Close.
const closeTime = 2 * time.Second

// Close unsubscribes, unless the subscription is over, and waits shortly for
// the notifier's last word (SUB-09). Then its NOTIFYs are answered 481.
func (s *Subscription) Close(ctx context.Context) error {
	defer s.forget()
	s.stop() // a refresh in flight is given up
	s.work.Wait()
	s.mu.Lock()
	over := s.ended != nil
	s.mu.Unlock()
	if over {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, closeTime)
	defer cancel()
	res, err := s.send(ctx, 0)
	if err == nil && res.OK() {
		select {
		case <-s.terminated:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	s.end(ErrClosed)
	s.mu.Unlock()
	s.ring()
	return err
}
