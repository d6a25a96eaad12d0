package main

import (
	"context"
	"fmt"
	"log"
	"strconv"
	"time"
)

// presenceLoad is how long and how large the run beside Kamailio is.
type presenceLoad struct {
	Rounds    int           // of all series, the servers taking turns at who is first
	Window    time.Duration // of each timed phase
	Fanouts   int
	Many      int   // presentities without watchers
	Watched   int   // presentities with five watchers each
	Crowd     int   // watchers of one
	Resident  []int // subscriptions for the look at memory
	PerSecond []int // open loops
}

const watchersEach = 5

func (l presenceLoad) people() int {
	n := max(l.Many, l.Watched)
	for _, subscriptions := range l.Resident {
		n = max(n, subscriptions/watchersEach)
	}
	return n
}

// simple is the agent as a presence server, beside Kamailio on the same machine
// in the same minutes.
func (p plan) simple(ctx context.Context, r *report) error {
	if err := cannot(p.Shared); err != nil {
		fmt.Printf("not measured: presence beside Kamailio: %v\n\n", err)
		return nil
	}
	dir, remove, err := scratch()
	if err != nil {
		return err
	}
	defer remove()
	generator, err := buildPreslog(ctx, p.Shared, dir)
	if err != nil {
		return err
	}
	ours, err := ourServer(ctx, p.Agent, dir, p.Presence.people())
	if err != nil {
		return err
	}
	defer ours.stop()
	theirs, err := kamailio(ctx, p.Shared, dir)
	if err != nil {
		return err
	}
	defer theirs.stop()
	both := [2]*server{ours, theirs}
	found := newFindings()
	for _, n := range p.Presence.Resident {
		log.Printf("presence: memory at %d subscriptions", n)
		if err := p.Presence.memory(n).turn(ctx, generator, both, found, 0); err != nil {
			return err
		}
	}
	for round := range p.Presence.Rounds {
		for _, s := range p.Presence.series() {
			log.Printf("presence: round %d of %d: %s", round+1, p.Presence.Rounds, s.name)
			if err := s.turn(ctx, generator, both, found, round); err != nil {
				return err
			}
		}
	}
	found.report(r, theirs.name)
	return nil
}

// series is one run of preslog at each server, and what is read from it.
type series struct {
	name  string
	flags []string
	read  func(*loadTold, func(row))
}

// turn runs it at both, the other first in every second round.
func (s series) turn(ctx context.Context, l *preslog, both [2]*server, found *findings, round int) error {
	for i := range both {
		side := (i + round) % len(both)
		told, err := l.run(ctx, both[side], s.flags...)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if failed := told.failed(); failed > 0 || told.Notify.Lost > 0 {
			log.Printf("%s at %s: %v requests failed, %v lost, %v", s.name, both[side].name, failed, told.Notify.Lost, told.Status)
		}
		s.read(told, func(f row) { found.take(side, round, s.name, f) })
		found.take(side, round, inAll, row{name: "requests that failed", value: told.failed(), count: true})
		found.take(side, round, inAll, row{name: "notifications lost", value: told.Notify.Lost, count: true})
	}
	return nil
}

// memory is a look at a server with so many subscriptions and their presentities published.
func (l presenceLoad) memory(subscriptions int) series {
	aim := 0.
	if subscriptions == 11_000 {
		aim = 96
	}
	return series{
		name: "memory",
		flags: []string{"-mode", "mixed", "-presentities", strconv.Itoa(subscriptions / watchersEach), "-watchers", strconv.Itoa(watchersEach),
			"-rate", "200", "-dur", l.Window.String()},
		read: func(t *loadTold, add func(row)) {
			add(row{name: fmt.Sprintf("PSS at %d subscriptions", subscriptions), value: t.Memory.PSS, unit: "MiB", aim: aim})
		},
	}
}

// series are those of ../shared/bench/compare.py, and what that lacks: a higher
// rate, and watchers who leave a tenth of the NOTIFYs unanswered.
func (l presenceLoad) series() []series {
	window, watched := l.Window.String(), strconv.Itoa(l.Watched)
	mixed := []string{"-mode", "mixed", "-presentities", watched, "-watchers", strconv.Itoa(watchersEach), "-dur", window}
	all := []series{
		{"PUBLISH, no watchers, 16 in flight", []string{"-mode", "publish", "-presentities", strconv.Itoa(l.Many), "-dur", window}, readPublish},
		{fmt.Sprintf("1 PUBLISH, %d watchers", l.Crowd), []string{"-mode", "fanout", "-presentities", "1", "-watchers", strconv.Itoa(l.Crowd),
			"-rounds", strconv.Itoa(l.Fanouts)}, l.readFanout},
		{fmt.Sprintf("PUBLISH × %d watchers, 16 in flight", watchersEach), mixed, readClosed},
	}
	for _, rate := range l.PerSecond {
		aim := 0.
		if rate == 1000 {
			aim = aimNotifyP99
		}
		all = append(all, series{fmt.Sprintf("%d PUBLISH/s × %d watchers", rate, watchersEach),
			append(mixed[:len(mixed):len(mixed)], "-rate", strconv.Itoa(rate)),
			func(t *loadTold, add func(row)) { readTold(t, t.phase("mixed"), aim, add) }})
	}
	return append(all,
		series{"SUBSCRIBE with its NOTIFY, 16 in flight", []string{"-mode", "subscribe", "-presentities", watched, "-watchers", strconv.Itoa(watchersEach),
			"-dur", window}, readSubscribe},
		series{"a tenth of the NOTIFYs unanswered", []string{"-mode", "mixed", "-presentities", strconv.Itoa(max(1, l.Watched/4)), "-watchers", strconv.Itoa(watchersEach),
			"-dur", window, "-rate", "200", "-drop", "0.1", "-settle", "12s"}, readUnanswered})
}

// The aims of the issue that the presence server was built by.
const (
	aimPublish, aimNotify = 40, 30 // µs
	aimLast, aimNotifyP99 = 5, 5   // ms
)

func readPublish(t *loadTold, add func(row)) {
	for _, p := range []struct{ phase, name string }{{"publish_initial", "initial"}, {"publish_refresh", "refresh"}, {"publish_modify", "modify"}} {
		is := t.phase(p.phase)
		add(row{name: p.name, value: is.PerSecond, unit: "/s"})
		is.cpu(add, p.name+": server CPU each", 1, aimPublish)
		if is.Took != nil {
			add(row{name: p.name + ": answer, p50", value: is.Took.P50, unit: "ms"})
			add(row{name: p.name + ": answer, p99", value: is.Took.P99, unit: "ms"})
		}
	}
}

func (l presenceLoad) readFanout(t *loadTold, add func(row)) {
	if t.Last != nil {
		add(row{name: fmt.Sprintf("last of %d NOTIFYs, p50", l.Crowd), value: t.Last.P50, unit: "ms", aim: aimLast})
		add(row{name: fmt.Sprintf("last of %d NOTIFYs, p99", l.Crowd), value: t.Last.P99, unit: "ms"})
	}
	t.phase("fanout").cpu(add, "server CPU a NOTIFY", l.Crowd, aimNotify)
}

func readClosed(t *loadTold, add func(row)) {
	is := t.phase("mixed")
	add(row{name: "PUBLISH", value: is.PerSecond, unit: "/s"})
	add(row{name: "NOTIFY", value: is.Notified, unit: "/s"})
	readTold(t, is, 0, add)
}

func readTold(t *loadTold, is loadPhase, aim float64, add func(row)) {
	if t.Told != nil {
		add(row{name: "PUBLISH to NOTIFY, p50", value: t.Told.P50, unit: "ms"})
		add(row{name: "PUBLISH to NOTIFY, p99", value: t.Told.P99, unit: "ms", aim: aim})
	}
	is.cpu(add, "server CPU a PUBLISH with its NOTIFYs", 1, 0)
}

func readSubscribe(t *loadTold, add func(row)) {
	is := t.phase("subscribe")
	add(row{name: "initial", value: is.PerSecond, unit: "/s"})
	is.cpu(add, "initial: server CPU each", 1, 0)
	if t.First != nil {
		add(row{name: "SUBSCRIBE to first NOTIFY, p50", value: t.First.P50, unit: "ms"})
		add(row{name: "SUBSCRIBE to first NOTIFY, p99", value: t.First.P99, unit: "ms"})
	}
	is = t.phase("subscribe_refresh")
	add(row{name: "refresh", value: is.PerSecond, unit: "/s"})
	is.cpu(add, "refresh: server CPU each", 1, 0)
}

func readUnanswered(t *loadTold, add func(row)) {
	add(row{name: "states told", value: t.Notify.Delivered, count: true, free: true})
	add(row{name: "an older state after a newer one", value: t.Notify.Older, count: true})
	add(row{name: "watchers whose last NOTIFY was an older one", value: t.Notify.Behind, count: true})
}
