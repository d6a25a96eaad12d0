package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"time"
)

// The calls of an ordinary hour, and of the time in which latency is measured.
const (
	ordinaryRing, ordinaryTalk = 6 * time.Second, 30 * time.Second
	quickRing, quickTalk       = 2 * time.Second, 3 * time.Second
)

// load is one branch at its usual load, with viewers: what the agent needs for
// it, and how soon they see a change.
func (p plan) load(ctx context.Context, r *report, phones int) error {
	scenario := fmt.Sprintf("%d phones", phones)
	b, err := newPair(p, phones, 10*time.Second)
	if err != nil {
		return err
	}
	defer b.close()
	ready, err := b.start(ctx)
	if err != nil {
		return err
	}
	r.add(scenario, "first start to ready", ready.Seconds(), "s", 0)
	seen, err := b.populated(ctx, phones)
	if err != nil {
		return err
	}
	r.add(scenario, "first start to every phone seen", (ready + seen).Seconds(), "s", 0)
	crowd, err := b.watch(ctx, p.Viewers+1)
	if err != nil {
		return err
	}
	defer crowd.close()
	if err := p.usage(ctx, r, scenario, b, memoryAim(phones)); err != nil {
		return err
	}
	if err := p.latency(ctx, r, scenario, b, crowd); err != nil {
		return err
	}
	m, err := memoryOf(b.agent.pid())
	if err != nil {
		return err
	}
	r.add(scenario, "resident memory in the end (RSS)", m.RSS/(1<<20), "MiB", memoryAim(phones))
	r.add(scenario, "the same, its share (PSS)", m.PSS/(1<<20), "MiB", 0)
	r.add(scenario, "of which pages of the binary and the store", m.File/(1<<20), "MiB", 0)
	r.add(scenario, "most resident memory ever", m.Peak/(1<<20), "MiB", 0)

	b.agent.stop()
	if ready, err = b.start(ctx); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	r.add(scenario, "restart to ready", ready.Seconds(), "s", 0)
	return nil
}

// memoryAim is the contract's, in MiB.
func memoryAim(phones int) float64 {
	if phones > 500 {
		return 128
	}
	return 64
}

// usage is memory and CPU at the calls of an ordinary hour.
func (p plan) usage(ctx context.Context, r *report, scenario string, b *pair, aim float64) error {
	end := calls{branch: b, changes: changesPerSecond, rings: ordinaryRing, lasts: ordinaryTalk}.begin(ctx)
	if err := sleep(ctx, p.Settle); err != nil {
		return err
	}
	m, err := memoryOf(b.agent.pid())
	if err != nil {
		return err
	}
	r.add(scenario, "resident memory after warm-up (RSS)", m.RSS/(1<<20), "MiB", aim)
	cpu, err := b.cpu(ctx, p.Window)
	if err != nil {
		return err
	}
	r.add(scenario, fmt.Sprintf("CPU of the agent at %v changes/s", changesPerSecond), cpu.agent, "s/min", 0)
	r.add(scenario, "CPU of branch and bench meanwhile", cpu.bench, "s/min", 0)
	_, err = end()
	return err
}

// latency lets changes come fast and tells how soon they are seen.
func (p plan) latency(ctx context.Context, r *report, scenario string, b *pair, crowd *viewers) error {
	end := calls{branch: b, changes: p.Changes, rings: quickRing, lasts: quickTalk, expect: crowd.expect, finish: true}.begin(ctx)
	late := lateness(ctx, p.Latency)
	cpu, err := b.cpu(ctx, p.Latency)
	if err != nil {
		return err
	}
	done, err := end()
	if err != nil {
		return err
	}
	took, missed, err := crowd.result(ctx)
	if err != nil {
		return err
	}
	if len(missed) > 0 {
		log.Printf("%d changes without an event, such as %s", len(missed), missed[0])
	}
	if n := int(done.changes.Load()); n != len(took)+len(missed) {
		return fmt.Errorf("%d changes, but %d seen and %d missed", n, len(took), len(missed))
	}
	ms := func(q float64) float64 { return quantile(took, q).Seconds() * 1e3 }
	r.add(scenario, "change to panel event, p50", ms(.5), "ms", 0)
	r.add(scenario, "change to panel event, p99", ms(.99), "ms", 50)
	r.add(scenario, "change to panel event, most", ms(1), "ms", 0)
	r.add(scenario, "a timer's delay meanwhile, p99", quantile(<-late, .99).Seconds()*1e3, "ms", 0)
	r.add(scenario, "changes seen", float64(len(took)), "", 0)
	r.zero(scenario, "changes not seen", float64(len(missed)))
	r.add(scenario, fmt.Sprintf("CPU of the agent at %v changes/s", p.Changes), cpu.agent, "s/min", 0)
	return nil
}

// lateness tells, sorted, how late timers of this process came: what the
// machine, and who else is on it, adds to anybody's latency.
func lateness(ctx context.Context, d time.Duration) <-chan []time.Duration {
	told := make(chan []time.Duration, 1)
	go func() {
		const step = 5 * time.Millisecond
		samples := []time.Duration{0}
		for end := time.Now().Add(d); ; {
			before := time.Now()
			if sleep(ctx, step) != nil || before.After(end) {
				break
			}
			samples = append(samples, time.Since(before)-step)
		}
		slices.Sort(samples)
		told <- samples
	}()
	return told
}

// cpuUse is CPU time, in seconds a minute.
type cpuUse struct{ agent, bench float64 }

// cpu waits for a window of time and tells who used how much in it.
func (b *pair) cpu(ctx context.Context, window time.Duration) (u cpuUse, err error) {
	pids := []int{b.agent.pid(), b.branch.pid(), os.Getpid()}
	var used [3]time.Duration
	look := func(sign time.Duration) {
		for i, pid := range pids {
			t, e := cpuOf(pid)
			used[i] += sign * t
			if e != nil {
				err = e
			}
		}
	}
	look(-1)
	if err := sleep(ctx, window); err != nil {
		return u, err
	}
	look(1)
	return cpuUse{
		agent: used[0].Seconds() / window.Minutes(),
		bench: (used[1] + used[2]).Seconds() / window.Minutes(),
	}, err
}
