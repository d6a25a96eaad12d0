package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// workingDay is what the bytes on the disk are counted for.
const workingDay = 8 * time.Hour

// wear is how a working day is made short: changes come Speed times as fast,
// calls are so much shorter, and so is the dial, so that each commit holds what
// it would hold on a real day. Polls can't be hurried so; they go at their
// usual pace, and what they write is measured apart, in an agent without calls,
// and added.
type wear struct {
	Phones int
	Speed  float64
	Length time.Duration // of the measurement; times Speed, the part of the day
	Learn  time.Duration // until polls alone tell nothing new
	Dials  []time.Duration
}

// Calls of a day: they ring for six seconds and last for two minutes.
const dayRing, dayTalk = 6 * time.Second, 2 * time.Minute

// worn is what one agent wrote, or would write in a whole day.
type worn struct{ bytes, commits, changes float64 }

// wearOut measures all dials at the same time, for they take minutes and sleep
// most of it.
func (p plan) wearOut(ctx context.Context, r *report, quiet *quietDay) error {
	g, each := errgroup.WithContext(ctx)
	days := make([]worn, len(p.Wear.Dials))
	for i, dial := range p.Wear.Dials {
		g.Go(func() (err error) {
			days[i], err = p.busyDay(each, dial)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	polls, err := quiet.end(ctx)
	if err != nil {
		return err
	}
	r.add("8 h of polls", "written, no calls at all", polls.bytes/1e6, "MB", 0)
	r.add("8 h of polls", "commits", polls.commits, "", 0)
	for i, dial := range p.Wear.Dials {
		scenario := fmt.Sprintf("8 h at a dial of %v", dial)
		aim := 0.
		if dial == 10*time.Second {
			aim = 100
		}
		r.add(scenario, "written: changes and polls", (days[i].bytes+polls.bytes)/1e6, "MB", aim)
		r.add(scenario, fmt.Sprintf("commits, of at most %d", workingDay/dial), days[i].commits, "", 0)
		r.add(scenario, "changes", days[i].changes, "", 0)
	}
	return nil
}

// quietDay is an agent in whose branch nobody calls. It runs from the beginning
// of the bench, for it takes minutes until every phone that never answers
// OPTIONS has been asked three times and is known for that.
type quietDay struct {
	pair   *pair
	before worn
	since  time.Time
	begun  chan error
	stop   context.CancelFunc
}

func (p plan) quietDay(ctx context.Context) (*quietDay, error) {
	b, err := newPair(p, p.Wear.Phones, 10*time.Second)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	q := &quietDay{pair: b, begun: make(chan error, 1), stop: stop}
	if _, err := b.start(ctx); err != nil {
		q.close()
		return nil, err
	}
	go func() {
		err := sleep(ctx, p.Wear.Learn)
		if err == nil {
			q.since = time.Now()
			q.before, err = b.worn(ctx)
		}
		q.begun <- err
	}()
	return q, nil
}

func (q *quietDay) end(ctx context.Context) (worn, error) {
	if err := <-q.begun; err != nil {
		return worn{}, err
	}
	after, err := q.pair.worn(ctx)
	return after.less(q.before, time.Since(q.since)), err
}

func (q *quietDay) close() {
	q.stop()
	q.pair.close()
}

// busyDay is a day of calls, at a dial.
func (p plan) busyDay(ctx context.Context, dial time.Duration) (w worn, err error) {
	short := func(d time.Duration) time.Duration { return time.Duration(float64(d) / p.Wear.Speed) }
	b, err := newPair(p, p.Wear.Phones, short(dial))
	if err != nil {
		return w, err
	}
	defer b.close()
	if _, err := b.start(ctx); err != nil {
		return w, err
	}
	if _, err := b.populated(ctx, p.Wear.Phones); err != nil {
		return w, err
	}
	if err := sleep(ctx, time.Second); err != nil { // the first sight of all phones is on the disk
		return w, err
	}
	before, err := b.worn(ctx)
	if err != nil {
		return w, err
	}
	end := calls{branch: b, changes: changesPerSecond * p.Wear.Speed, rings: short(dayRing), lasts: short(dayTalk)}.begin(ctx)
	if err := sleep(ctx, p.Wear.Length); err != nil {
		return w, err
	}
	done, err := end()
	if err != nil {
		return w, err
	}
	if err := sleep(ctx, time.Second); err != nil { // the last changes, too
		return w, err
	}
	after, err := b.worn(ctx)
	after.changes = float64(done.changes.Load())
	return after.less(before, time.Duration(float64(p.Wear.Length)*p.Wear.Speed)), err
}

// less is what was written since before, scaled from that part of a day to all of it.
func (w worn) less(before worn, part time.Duration) worn {
	scale := workingDay.Seconds() / part.Seconds()
	return worn{(w.bytes - before.bytes) * scale, (w.commits - before.commits) * scale, (w.changes - before.changes) * scale}
}

// worn is what the agent wrote so far.
func (b *pair) worn(ctx context.Context) (w worn, err error) {
	if w.bytes, err = writtenBy(b.agent.pid()); err == nil {
		w.commits, err = b.commits(ctx)
	}
	return w, err
}
