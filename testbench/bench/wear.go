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
	Dials  []time.Duration
}

// Calls of a day: they ring for six seconds and last for two minutes.
const dayRing, dayTalk = 6 * time.Second, 2 * time.Minute

// worn is what one agent wrote, scaled to the whole day.
type worn struct{ bytes, commits, changes float64 }

func (w wear) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) / w.Speed) }

// wearOut measures all dials at the same time, for they take minutes and sleep
// most of it.
func (p plan) wearOut(ctx context.Context, r *report) error {
	g, ctx := errgroup.WithContext(ctx)
	var polls worn
	g.Go(func() (err error) {
		polls, err = p.quietDay(ctx)
		return err
	})
	days := make([]worn, len(p.Wear.Dials))
	for i, dial := range p.Wear.Dials {
		g.Go(func() (err error) {
			days[i], err = p.busyDay(ctx, dial)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.add("8 h of polls", "written, no calls at all", polls.bytes/1e6, "MB", 0)
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

// busyDay is a day of calls.
func (p plan) busyDay(ctx context.Context, dial time.Duration) (worn, error) {
	w := p.Wear
	return p.day(ctx, w.scaled(dial), w.Length, w.Speed, func(b *pair) func() (*made, error) {
		return calls{branch: b, changes: changesPerSecond * w.Speed, rings: w.scaled(dayRing), lasts: w.scaled(dayTalk)}.begin(ctx)
	})
}

// quietDay is a day on which nobody calls.
func (p plan) quietDay(ctx context.Context) (worn, error) {
	return p.day(ctx, 10*time.Second, p.Wear.Length, 1, func(*pair) func() (*made, error) {
		return func() (*made, error) { return &made{}, nil }
	})
}

// day runs an agent with a dial for a time, while something goes on, and scales
// what it wrote by the part of the day that this was.
func (p plan) day(ctx context.Context, dial, length time.Duration, speed float64, goOn func(*pair) func() (*made, error)) (w worn, err error) {
	b, err := newPair(p, p.Wear.Phones, dial)
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
	if err := sleep(ctx, max(2*dial, time.Second)); err != nil { // the first sight of all phones is on the disk
		return w, err
	}
	before, err := b.worn(ctx)
	if err != nil {
		return w, err
	}
	end := goOn(b)
	if err := sleep(ctx, length); err != nil {
		return w, err
	}
	done, err := end()
	if err != nil {
		return w, err
	}
	if err := sleep(ctx, min(2*dial, 2*time.Second)); err != nil { // the last changes, too
		return w, err
	}
	after, err := b.worn(ctx)
	part := length.Seconds() * speed / workingDay.Seconds()
	return worn{(after.bytes - before.bytes) / part, (after.commits - before.commits) / part, float64(done.changes.Load()) / part}, err
}

// worn is what the agent wrote so far.
func (b *pair) worn(ctx context.Context) (w worn, err error) {
	if w.bytes, err = writtenBy(b.agent.pid()); err == nil {
		w.commits, err = b.commits(ctx)
	}
	return w, err
}
