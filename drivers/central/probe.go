package central

import (
	"context"
	"time"

	"pilotlight/agent/relay"
	"pilotlight/drivers/internal/sip"
)

// probe asks with OPTIONS whether the far side is there, while nothing else
// tells: before the first answer, after a quiet while, and on an island.
func (r *run) probe(ctx context.Context) error {
	for {
		if err := sleep(ctx, r.untilProbe(), nil); err != nil {
			return err
		}
		// RFC 3261 §21.5.4: who asked for patience gets no request at all.
		if r.untilProbe() > 0 {
			continue
		}
		r.ask(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := sleep(ctx, r.betweenProbes(), nil); err != nil {
			return err
		}
	}
}

// untilProbe is how long there is no need for a probe.
func (r *run) untilProbe() time.Duration {
	if r.link.Status().Mode == relay.Island {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	wait := r.pace.idle - time.Since(r.lastHeard)
	if r.lastMiss.After(r.lastHeard) {
		wait = 0
	}
	return max(wait, time.Until(r.leaveAlone))
}

func (r *run) betweenProbes() time.Duration {
	if r.link.Status().Mode == relay.Island {
		return r.pace.island
	}
	return r.pace.again
}

// ask sends one OPTIONS. Any answer shows life, for a server may refuse OPTIONS
// to whom it takes PUBLISH from; it goes without credentials, so that it can't
// count as a wrong password.
func (r *run) ask(ctx context.Context) {
	began := time.Now()
	res, err := r.sip.Do(ctx, &sip.Request{
		Method: "OPTIONS", URI: r.c.Target, Target: r.c.Target, From: r.c.Target, To: r.c.Target,
		Accept: []string{"application/sdp"}, Timeout: r.pace.probe,
	})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		r.missed(began, err)
	case res.Status == 503:
		r.strained(retryAfter(res, r.pace.idle), explain(res))
	default:
		r.answered(res.RTT)
	}
}
