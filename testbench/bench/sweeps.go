package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"time"
)

// sweeps is what it costs, both sides, to look at every phone every 5 s.
func (p plan) sweeps(ctx context.Context, r *report) error {
	scenario := fmt.Sprintf("%d phones swept every 5 s", p.Swept)
	log.Print(scenario)
	p.Polls = polls{"5s", "5s", "5s"}
	b, err := newPair(p, p.Swept, 10*time.Second)
	if err != nil {
		return err
	}
	defer b.close()
	if _, err := b.start(ctx); err != nil {
		return err
	}
	if _, err := b.populated(ctx, p.Swept); err != nil {
		return err
	}
	end := calls{branch: b, changes: changesPerSecond, rings: ordinaryRing, lasts: ordinaryTalk}.begin(ctx)
	if err := sleep(ctx, p.Settle); err != nil {
		return err
	}
	before, err := b.load()
	if err != nil {
		return err
	}
	cpu, err := b.cpu(ctx, p.Window)
	if err != nil {
		return err
	}
	after, err := b.load()
	if err != nil {
		return err
	}
	m, err := memoryOf(b.agent.pid())
	if err != nil {
		return err
	}
	if _, err := end(); err != nil {
		return err
	}
	rate := float64(after.requests-before.requests) / p.Window.Seconds()
	r.add(scenario, "requests to all phones", rate, "/s", 0)
	r.add(scenario, "requests to one phone, on average", rate/float64(p.Swept), "/s", 0)
	r.add(scenario, "requests open at one phone, at most", float64(after.peak), "", 1)
	r.add(scenario, "CPU of the agent meanwhile", cpu.agent, "s/min", 0)
	r.add(scenario, "resident memory meanwhile (RSS)", m.RSS/(1<<20), "MiB", memoryAim(p.Swept))
	return nil
}

// load is what the phones of a branch were asked so far: all of them together,
// and the most that one of them was asked at a time.
type load struct {
	requests uint64
	peak     int64
}

func (b *pair) load() (all load, err error) {
	for _, p := range b.phones {
		answer, err := b.command("load", p.Name)
		if err != nil {
			return all, err
		}
		var one struct {
			Requests uint64
			Peak     int64
		}
		if err := json.Unmarshal([]byte(answer), &one); err != nil {
			return all, fmt.Errorf("the branch's load: %w", err)
		}
		all.requests += one.Requests
		all.peak = max(all.peak, one.Peak)
	}
	return all, nil
}
