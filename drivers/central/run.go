package central

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pilotlight/agent"
	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/agent/supervise"
	"pilotlight/drivers/internal/sip"
)

// run is one life of the driver, from Run to its end.
type run struct {
	*Driver
	link  *relay.Link
	gate  *gate
	slots chan struct{} // one for each request in flight
	tasks *errgroup.Group

	due   chan struct{} // a refresh may be due earlier than thought
	heard chan struct{} // the link's mode changed

	first turn // held by who sends while nothing was ever accepted

	mu         sync.Mutex
	pubs       map[presence.Presentity]*publication
	expires    time.Duration // asked for; a 423 raises it
	lastHeard  time.Time     // the last answer
	lastMiss   time.Time     // the last missing answer that was counted
	leaveAlone time.Time     // until when the far side asked for patience
	accepted   bool          // anything was, in this life
	forbidden  int           // 403 in a row before that
	barred     bool          // the far side does not let us publish
	refused    int           // presentities that the far side won't take
	backoff    time.Duration
}

// Run implements agent.Driver.
func (d *Driver) Run(ctx context.Context) error {
	r := &run{
		Driver: d, link: relay.NewLink(d.c.Name, d.c.Kind, time.Now), gate: newGate(),
		slots: make(chan struct{}, d.pace.window), due: make(chan struct{}, 1), heard: make(chan struct{}, 1), first: newTurn(),
		pubs: map[presence.Presentity]*publication{}, expires: d.c.Expires,
	}
	defer d.lane.Close()
	if err := d.lane.Open(ctx); err != nil {
		return err
	}
	if err := r.loadTags(); err != nil {
		return err
	}
	var inner context.Context
	r.tasks, inner = errgroup.WithContext(ctx)
	for _, f := range []func(context.Context) error{r.probe, r.deliver, r.refresh, r.report} {
		r.spawn(func() error { return f(inner) })
	}
	err := r.tasks.Wait()
	if agent.IsPermanent(err) {
		r.board.Report(r.link.Lost(err.Error()))
		return err
	}
	if ctx.Err() != nil {
		r.withdraw(ctx)
		return ctx.Err()
	}
	r.board.Report(r.link.Missed(err.Error()))
	return err
}

// spawn starts f in the life's group; a panic in it is an error.
func (r *run) spawn(f func() error) {
	r.tasks.Go(func() error { return supervise.Guard(f) })
}

// deliver takes what is due from the lane while the gate is open.
func (r *run) deliver(ctx context.Context) error {
	for {
		if err := r.gate.wait(ctx); err != nil {
			return err
		}
		docs, err := r.lane.Next(ctx, max(1, cap(r.slots)-len(r.slots)))
		if err != nil {
			return err
		}
		for i, doc := range docs {
			if !r.published(doc.Kind) && !ledger.Gone(doc) && !r.known(doc.Of) {
				if err := r.lane.Ack(ctx, doc); err != nil {
					return err
				}
				continue
			}
			if err := r.slot(ctx); err != nil {
				return err
			}
			// The gate may have closed while Next or the slot was waited for.
			if !r.gate.isOpen() {
				<-r.slots
				r.lane.Return(docs[i:]...)
				break
			}
			r.spawn(func() error { return r.deliverOne(ctx, doc) })
		}
	}
}

// slot waits for leave to have one more request in flight.
func (r *run) slot(ctx context.Context) error {
	select {
	case r.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deliverOne publishes doc, or ends what stands where it is not for the far side
// (any more), and acknowledges it or gives it back. It holds a slot.
func (r *run) deliverOne(ctx context.Context, doc presence.Document) error {
	out, err := func() (outcome, error) {
		defer func() { <-r.slots }()
		return r.publish(ctx, doc)
	}()
	if err != nil {
		return err
	}
	// What was answered is noted, though we may be told to stop meanwhile: the
	// ledger outlives its drivers.
	switch keep := context.WithoutCancel(ctx); {
	case out.kept:
		r.link.Acknowledged()
		return r.lane.Ack(keep, doc)
	case out.over:
		// To ask again would get the same answer; the next change will ask.
		return r.lane.Ack(keep, doc)
	}
	// It stays in flight meanwhile, so that one presentity in trouble waits alone.
	if err := sleep(ctx, out.wait, nil); err != nil {
		return nil
	}
	r.lane.Return(doc)
	return nil
}

// refresh renews each publication before the far side forgets it.
func (r *run) refresh(ctx context.Context) error {
	for {
		next, at := r.nextRefresh()
		if next == nil || time.Until(at) > 0 {
			left := time.Hour
			if next != nil {
				left = time.Until(at)
			}
			if err := sleep(ctx, left, r.due); err != nil {
				return err
			}
			continue
		}
		if err := r.gate.wait(ctx); err != nil {
			return err
		}
		if err := r.slot(ctx); err != nil {
			return err
		}
		next.postpone(time.Now().Add(r.pace.publish)) // whatever comes of this try
		r.spawn(func() error {
			defer func() { <-r.slots }()
			return r.refreshOne(ctx, next)
		})
	}
}

// nextRefresh is the publication whose refresh is due first.
func (r *run) nextRefresh() (first *publication, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.pubs {
		if t := p.refreshAt(); !t.IsZero() && (first == nil || t.Before(at)) {
			first, at = p, t
		}
	}
	return first, at
}

// report tells the board how the uplink is: at each change of the mode, and
// otherwise in steps, since a busy uplink changes its round trip with each answer.
func (r *run) report(ctx context.Context) error {
	for {
		st := r.link.Status()
		if r.gate.isOpen() {
			st = r.follow(func() relay.Status { return r.link.Pending(r.lane.Pending()) })
		} else {
			st.Pending = r.lane.Pending()
		}
		r.mu.Lock()
		if r.refused > 0 && st.Why == "" {
			st.Why = fmt.Sprintf("%d presentities are refused there", r.refused)
		}
		r.mu.Unlock()
		r.board.Report(st)
		if err := sleep(ctx, r.pace.status, r.heard); err != nil {
			return err
		}
	}
}

// follow lets f change the link, and acts on a change of its mode.
func (r *run) follow(f func() relay.Status) relay.Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.link.Status()
	st := f()
	if st.Mode == before.Mode {
		return st
	}
	switch {
	case st.Mode == relay.Island:
		r.gate.close()
	case before.Mode == relay.Island:
		wait := time.Duration(r.rand() * float64(r.c.ReturnWindow))
		r.gate.open(wait)
		r.log.Info("uplink is back", "wait", wait.Round(time.Millisecond))
	case st.Mode == relay.Resync:
		r.gate.open(0) // the first answer since the start
	}
	r.log.Info("uplink mode", "from", before.Mode, "to", st.Mode, "why", st.Why)
	poke(r.heard)
	return st
}

// answered takes note of a final response.
func (r *run) answered(rtt time.Duration) {
	r.follow(func() relay.Status {
		r.lastHeard = time.Now()
		return r.link.Answered(rtt)
	})
}

// missed takes note of an answer that did not come. Of requests that were under
// way together one counts: what cuts a link cuts them all at once.
func (r *run) missed(began time.Time, err error) {
	r.follow(func() relay.Status {
		if began.Before(r.lastMiss) {
			return r.link.Status()
		}
		r.lastMiss = time.Now()
		// No packet left: that is no chance, and the way to mend it is to be seen.
		if none := new(sip.NoWay); errors.As(err, &none) {
			return r.link.Lost(none.Error())
		}
		return r.link.Missed(err.Error())
	})
}

// strained takes note of a far side that asks to be left alone.
func (r *run) strained(wait time.Duration, why string) {
	r.gate.hold(wait)
	r.follow(func() relay.Status {
		r.lastHeard = time.Now()
		r.leaveAlone = r.lastHeard.Add(wait)
		return r.link.Strained(why)
	})
}

// poke sends to a channel that holds one, or leaves it when it is full.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
