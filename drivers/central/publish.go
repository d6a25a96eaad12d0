package central

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"pilotlight/agent"
	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/pidf"
	"pilotlight/drivers/internal/sip"
)

// publication is what stands at the far side for one presentity.
type publication struct {
	of presence.Presentity

	turn turn // held while a request is under way: one at a time (RFC 3903 §4)

	mu      sync.Mutex
	tag     string    // "" where nothing stands
	at      time.Time // when to refresh; zero: never
	ends    time.Time // when the far side forgets it; zero: not known
	refused bool
	backoff time.Duration
}

// turn is a lock that can be waited for with a context.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) give() { <-t }

func (p *publication) refreshAt() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *publication) postpone(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = t
}

// etag is the entity-tag, "" where nothing stands or can stand any more.
func (p *publication) etag() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ends.IsZero() && time.Now().After(p.ends) {
		return ""
	}
	return p.tag
}

// minRefresh bounds the traffic that a far side can order by granting no time.
const minRefresh = 5 * time.Second

// outcome is what became of a document: kept by the far side, over without that
// (refused for good, or nothing to say), or to be tried again after a wait.
type outcome struct {
	kept, over bool
	wait       time.Duration
}

// publication gives the one of a presentity.
func (r *run) publication(of presence.Presentity) *publication {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.pubs[of]
	if p == nil {
		p = &publication{of: of, turn: newTurn()}
		r.pubs[of] = p
	}
	return p
}

// known reports whether there is one.
func (r *run) known(of presence.Presentity) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pubs[of] != nil
}

// current reports whether p was not dropped while its turn was waited for.
func (r *run) current(p *publication) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pubs[p.of] == p
}

// hold gives the publication of a presentity, and its turn with it.
func (r *run) hold(ctx context.Context, of presence.Presentity) (*publication, error) {
	for {
		p := r.publication(of)
		if err := p.turn.take(ctx); err != nil {
			return nil, err
		}
		if r.current(p) {
			return p, nil
		}
		p.turn.give()
	}
}

// publish sends doc: modify where a publication stands, else initial; and remove
// where the presentity is gone or of a kind that stays here.
func (r *run) publish(ctx context.Context, doc presence.Document) (outcome, error) {
	if !r.published(doc.Kind) && !r.known(doc.Of) {
		return outcome{over: true}, nil
	}
	p, err := r.hold(ctx, doc.Of)
	if err != nil {
		return outcome{}, err
	}
	defer p.turn.give()
	if !r.published(doc.Kind) {
		return r.end(ctx, p)
	}
	if _, err := sip.ParseURI(string(doc.Of)); err != nil {
		return r.refuse(ctx, p, err.Error()) // it can't be asked for either
	}
	return r.exchange(ctx, p, pidf.Render(doc))
}

// refreshOne renews p without a body, unless a modify has done so meanwhile. What
// stands there from another time, and is not to be there now, is removed.
func (r *run) refreshOne(ctx context.Context, p *publication) error {
	select {
	case p.turn <- struct{}{}:
	default:
		return nil
	}
	defer p.turn.give()
	if !r.current(p) {
		return nil
	}
	var out outcome
	var err error
	switch {
	case !r.published(r.lane.Latest(p.of).Kind):
		out, err = r.end(ctx, p)
	case p.etag() == "":
		return r.republish(ctx, p) // it has expired there, as after a long outage
	default:
		out, err = r.exchange(ctx, p, nil)
	}
	if err == nil && out.wait > 0 {
		p.postpone(time.Now().Add(out.wait))
	}
	return err
}

// republish has the lane hand out the latest document of p, which goes up as an
// initial publication: only a whole document brings back what is lost there.
func (r *run) republish(ctx context.Context, p *publication) error {
	if err := r.forget(ctx, p); err != nil {
		return err
	}
	r.lane.Again(p.of)
	return nil
}

// exchange sends one PUBLISH, and those that its answer asks for at once: the
// initial one after a 412 (RFC 3903 §4.3 and §4.4: forget the tag, never the same
// request again), the longer one after a 423. The caller holds p.turn.
func (r *run) exchange(ctx context.Context, p *publication, body []byte) (outcome, error) {
	done, err := r.asNewcomer(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer done()
	for try := 0; ; try++ {
		if r.isBarred() {
			return outcome{}, nil
		}
		res, err := r.do(ctx, r.request(p.of, p.etag(), r.asked(), body))
		if err != nil {
			return outcome{wait: time.Millisecond}, nil
		}
		switch {
		case res.OK():
			return outcome{kept: true}, r.stands(ctx, p, res)
		case try < 2 && (res.Status == 412 || res.Status == 500 && p.suspect()):
			r.answered(res.RTT)
			if body != nil {
				if err := r.forget(ctx, p); err != nil {
					return outcome{}, err
				}
				continue
			}
			return outcome{}, r.republish(ctx, p)
		case res.Status == 423 && try < 2 && r.lengthen(res):
			r.answered(res.RTT)
			continue
		}
		return r.declined(ctx, p, res)
	}
}

// do makes one exchange. An answer that is slow counts as missing, and is still
// waited for as long as RFC 3261 §17.1.2.2 keeps the transaction: it holds the
// new entity-tag. A publication whose tag is lost can be neither changed nor
// removed, and stands beside its successor until it expires: Kamailio 5.6 without
// a database (publ_cache 2) then shows watchers the older of the two.
func (r *run) do(ctx context.Context, q *sip.Request) (*sip.Response, error) {
	began := time.Now()
	slow := time.AfterFunc(r.pace.publish, func() { r.missed(began, errSlow) })
	defer slow.Stop()
	res, err := r.sip.Do(ctx, q)
	if err != nil && ctx.Err() == nil {
		r.missed(began, err)
	}
	return res, err
}

var errSlow = errors.New("no answer to a PUBLISH yet")

// asNewcomer has one request go at a time while nothing was accepted yet: a wrong
// password costs one try, not a window of them.
func (r *run) asNewcomer(ctx context.Context) (done func(), err error) {
	r.mu.Lock()
	accepted := r.accepted
	r.mu.Unlock()
	if accepted {
		return func() {}, nil
	}
	return r.first.give, r.first.take(ctx)
}

// welcomed takes note of a 2xx.
func (r *run) welcomed(p *publication) {
	p.mu.Lock()
	was := p.refused
	p.refused, p.backoff = false, 0
	p.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted, r.forbidden, r.backoff = true, 0, 0
	if was {
		r.refused--
	}
}

func (r *run) isBarred() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.barred
}

func (r *run) request(of presence.Presentity, tag string, expires time.Duration, body []byte) *sip.Request {
	q := &sip.Request{
		Method: "PUBLISH", URI: string(of), Target: r.c.Target, From: string(of), To: string(of),
		Event: "presence", Expires: &expires, Credentials: r.c.Credentials, Timeout: r.pace.answer,
	}
	if tag != "" {
		q.Header.Add("SIP-If-Match", tag)
	}
	if body != nil {
		q.ContentType, q.Body = pidf.ContentType, body
	}
	return q
}

func (r *run) asked() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.expires
}

// lengthen takes the far side's shortest time (RFC 3903 §4: 423, Min-Expires);
// it reports whether that is sane.
func (r *run) lengthen(res *sip.Response) bool {
	least, ok := res.MinExpires()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !ok || least > 7*24*time.Hour {
		return false
	}
	r.expires = max(r.expires, least) // another request may have raised it meanwhile
	return true
}

// stands takes note of a 2xx: the new entity-tag, and when to refresh.
func (r *run) stands(ctx context.Context, p *publication, res *sip.Response) error {
	granted, ok := res.Expires()
	if asked := r.asked(); !ok || granted > asked {
		granted = asked
	}
	tag := res.Header.Get("SIP-ETag")
	if !isTag(tag) {
		tag = "" // RFC 3903 §6 demands one; without it the next change is initial again
	}
	// At 80 to 90 % of its life: late enough to be rare, early enough for retries, and not all at once.
	life := time.Duration(float64(granted) * (0.8 + 0.1*r.rand()))
	p.mu.Lock()
	p.tag, p.at, p.ends = tag, time.Time{}, time.Time{}
	if tag != "" {
		p.at = time.Now().Add(max(life, minRefresh))
		p.ends = time.Now().Add(max(granted, 2*minRefresh))
	}
	p.mu.Unlock()
	r.welcomed(p)
	r.answered(res.RTT)
	poke(r.due)
	return r.keep(context.WithoutCancel(ctx), p.of, tag) // as in deliverOne
}

// declined sorts the answers that are no 2xx into patience, refusal, and a
// refused password.
func (r *run) declined(ctx context.Context, p *publication, res *sip.Response) (outcome, error) {
	why := explain(res)
	_, asked := res.RetryAfter()
	switch {
	case res.Status == 401 || res.Status == 407 || res.Status == 403 && r.locked():
		r.bar()
		return outcome{}, agent.Permanent(fmt.Errorf("uplink %s: %s does not let us publish: %s (user %q)", r.c.Name, r.c.Target, why, r.c.Credentials.Username))
	case res.Status == 503, res.Status == 480 && asked, res.Status == 500 && asked:
		wait := retryAfter(res, r.grow())
		r.strained(wait, why)
		return outcome{wait: time.Millisecond}, nil
	case res.Status >= 500 && res.Status < 600, res.Status == 408, res.Status == 480:
		r.answered(res.RTT)
		wait := retryAfter(res, p.grow(r.pace.backoff))
		r.log.Debug("uplink: later", "presentity", p.of, "err", why, "wait", wait)
		return outcome{wait: wait}, nil
	}
	r.answered(res.RTT)
	return r.refuse(ctx, p, why)
}

// refuse takes note of a presentity that the far side will not have.
func (r *run) refuse(ctx context.Context, p *publication, why string) (outcome, error) {
	p.mu.Lock()
	news := !p.refused
	p.refused, p.at = true, time.Time{}
	p.mu.Unlock()
	if news {
		r.mu.Lock()
		r.refused++
		r.mu.Unlock()
		r.log.Warn("uplink: the presence server does not take this presentity", "presentity", p.of, "err", why)
	}
	return outcome{over: true}, r.forget(ctx, p)
}

// locked counts a 403 and reports whether it means all of us: three before
// anything was ever accepted. Some servers say 403 to a wrong password, and each
// try brings the account nearer to being locked.
func (r *run) locked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.accepted {
		return false
	}
	r.forbidden++
	return r.forbidden >= 3
}

func (r *run) bar() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.barred = true
}

// grow is the lane's next pause where the far side names none.
func (r *run) grow() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.backoff = min(max(r.pace.backoff, 2*r.backoff), time.Minute)
	return r.backoff
}

// grow is the presentity's.
func (p *publication) grow(first time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backoff = min(max(first, 2*p.backoff), time.Minute)
	return p.backoff
}

// loadTags takes up what stood at the last stop. How long it still stands is
// not known, for the clock may have been wrong: each is refreshed soon, unless
// a change goes up before. So are those whom nobody knows any more: refreshOne
// removes them.
func (r *run) loadTags() error {
	soon := time.Now().Add(r.pace.idle)
	err := r.tags.Each(r.key(""), func(key string, value []byte) error {
		p := &publication{of: presence.Presentity(strings.TrimPrefix(key, r.key(""))), turn: newTurn()}
		if isTag(string(value)) {
			p.tag = string(value)
		}
		if p.tag != "" || !r.published(r.lane.Latest(p.of).Kind) {
			p.at = soon
		}
		r.pubs[p.of] = p
		return nil
	})
	if err != nil {
		return fmt.Errorf("uplink %s: entity-tags: %w", r.c.Name, err)
	}
	return nil
}

// key is where the entity-tag of a presentity lies.
func (r *run) key(of presence.Presentity) string { return r.c.Name + "/" + string(of) }

// forget drops the entity-tag of p.
func (r *run) forget(ctx context.Context, p *publication) error {
	p.mu.Lock()
	p.tag, p.at, p.ends = "", time.Time{}, time.Time{}
	p.mu.Unlock()
	return r.keep(ctx, p.of, "")
}

// keep writes an entity-tag by the dial, or nothing in its place: a Delete would
// wait for the disk, a thousand times over when a server has lost all.
func (r *run) keep(ctx context.Context, of presence.Presentity, tag string) error {
	return r.tags.PutSoft(ctx, r.key(of), []byte(tag))
}

// suspect reports whether a 500 may be meant for the entity-tag: the second in a
// row. Kamailio says 500, where RFC 3903 §6 wants 412, to a tag that is not of
// its own make, as when it takes the place of another server.
func (p *publication) suspect() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tag != "" && p.backoff > 0
}

// isTag holds the grammar of an entity-tag (RFC 3903 §11.3: token), and a bound.
func isTag(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	return strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-.!%*_+`'~") == ""
}

func retryAfter(res *sip.Response, otherwise time.Duration) time.Duration {
	wait, ok := res.RetryAfter()
	if !ok {
		wait = otherwise
	}
	return min(wait, maxPause)
}

// explain is a response as a person reads it.
func explain(res *sip.Response) string {
	return fmt.Sprintf("%d %s", res.Status, cmp.Or(res.Reason, "(no reason)"))
}
