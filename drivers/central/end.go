package central

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent/supervise"
)

// end removes p at the far side (RFC 3903 §4.5) and forgets it. The caller holds
// p.turn. Where that is refused it expires there, for nobody refreshes it.
func (r *run) end(ctx context.Context, p *publication) (outcome, error) {
	tag := p.etag()
	if tag == "" {
		r.drop(ctx, p)
		return outcome{over: true}, nil
	}
	done, err := r.asNewcomer(ctx)
	if err != nil {
		return outcome{}, err
	}
	defer done()
	if r.isBarred() {
		return outcome{}, nil
	}
	res, err := r.do(ctx, r.request(p.of, tag, 0, nil))
	switch {
	case err != nil:
		return outcome{wait: time.Millisecond}, nil
	case res.OK():
		r.welcomed(p)
		fallthrough
	case res.Status == 412, res.Status == 500 && p.suspect(): // nothing stands any more
		r.answered(res.RTT)
		r.drop(ctx, p)
		return outcome{kept: true}, nil
	}
	out, err := r.declined(ctx, p, res)
	if out.over {
		r.drop(ctx, p)
	}
	return out, err
}

// drop forgets a presentity that is not for the far side any more. The caller
// holds p.turn. A tag that a failing disk keeps is dropped after the next start.
func (r *run) drop(ctx context.Context, p *publication) {
	p.mu.Lock()
	was := p.refused
	p.tag, p.refused, p.at = "", false, time.Time{}
	p.mu.Unlock()
	r.mu.Lock()
	delete(r.pubs, p.of)
	if was {
		r.refused--
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTime)
	defer cancel()
	if err := r.tags.Delete(ctx, r.key(p.of)); err != nil {
		r.log.Debug("uplink: entity-tag not deleted yet", "presentity", p.of, "err", err)
	}
}

// dropTime bounds the wait for a disk that does not write: for those who read the
// drawer the tag is gone, and the store tries on.
const dropTime = 2 * time.Second

// errStopped ends withdraw's own group early.
var errStopped = errors.New("stopped")

// withdraw removes the publications, where the configuration wants that. The
// far side has a moment for it; what it doesn't take expires there.
func (r *run) withdraw(ctx context.Context) {
	if !r.c.Withdraw || !r.gate.isOpen() {
		return
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), 1500*time.Millisecond, errStopped)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(r.pace.window)
	for _, p := range r.pubs {
		g.Go(func() error { return supervise.Guard(func() error { return r.remove(ctx, p) }) })
	}
	if err := g.Wait(); err != nil {
		r.log.Info("uplink: some publications are left to expire", "err", err)
	}
}

// remove is end at a stop: without patience, and the presentity is still known.
func (r *run) remove(ctx context.Context, p *publication) error {
	tag := p.etag()
	if tag == "" {
		return nil
	}
	res, err := r.sip.Do(ctx, r.request(p.of, tag, 0, nil))
	if err != nil {
		return err
	}
	if res.OK() || res.Status == 412 {
		return r.keep(ctx, p.of, "")
	}
	return fmt.Errorf("remove %s: %s", p.of, explain(res))
}
