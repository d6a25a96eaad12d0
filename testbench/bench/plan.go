package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"
)

// plan is what is measured, and for how long.
type plan struct {
	Agent, Branch string // binaries
	Shared        string // the folder of load generator and scripts
	Polls         polls

	Sizes   []int // phones of the branches under the usual load
	Viewers int
	Settle  time.Duration // before the first look at memory
	Window  time.Duration // of CPU at the usual load
	Changes float64       // a second while latency is measured
	Latency time.Duration

	Board   bool // measure what follows, and nothing else
	Painted int  // phones on the board of a browser
	Swept   int  // phones that are polled every 5 s

	Wear wear
	Demo int // phones

	Simple   bool // measure what follows, and nothing else
	Presence presenceLoad
}

// polls are an agent's intervals.
type polls struct{ SIP, Web, SNMP string }

// The contract's rated load changes 0.83 times a second: six calls an hour and phone.
const changesPerSecond = 0.83

var defaultPolls = polls{SIP: "30s", Web: "60s", SNMP: "60s"}

var usual = plan{
	Polls: defaultPolls, Sizes: []int{500, 1000}, Viewers: 50,
	Settle: 30 * time.Second, Window: time.Minute, Changes: 20, Latency: 40 * time.Second,
	Painted: 200, Swept: 100,
	Wear: wear{Phones: 500, Speed: 60, Length: 100 * time.Second, Learn: 5 * time.Minute, Dials: []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second}},
	Demo: 24,
	Presence: presenceLoad{
		Rounds: 3, Window: 2 * time.Second, Fanouts: 50, Many: 2000, Watched: 200, Crowd: 200,
		Resident: []int{1000, 5000, 11_000}, PerSecond: []int{500, 1000},
	},
}

var whole = func() plan {
	p := usual
	p.Settle, p.Window, p.Latency = time.Minute, 2*time.Minute, 2*time.Minute
	p.Presence.Rounds, p.Presence.Window = 5, 3*time.Second
	p.Wear.Length = workingDay / time.Duration(p.Wear.Speed)
	return p
}()

var shortest = plan{
	Polls: polls{"5s", "5s", "5s"}, Sizes: []int{40}, Viewers: 5,
	Settle: time.Second, Window: 4 * time.Second, Changes: 10, Latency: 6 * time.Second,
	Painted: 40, Swept: 40,
	Wear: wear{Phones: 120, Speed: 60, Length: 5 * time.Second, Learn: time.Second, Dials: []time.Duration{10 * time.Second}},
	Demo: 6,
	Presence: presenceLoad{
		Rounds: 1, Window: 300 * time.Millisecond, Fanouts: 3, Many: 100, Watched: 20, Crowd: 20,
		Resident: []int{100}, PerSecond: []int{100},
	},
}

func (p plan) run(ctx context.Context) (*report, error) {
	r, err := newReport(ctx, p.Agent)
	if err != nil {
		return nil, err
	}
	size, err := os.Stat(p.Agent)
	if err != nil {
		return nil, err
	}
	r.add("build", "size of the binary", float64(size.Size())/1e6, "MB", 28)
	defer r.finish()
	if p.Board {
		return r, p.board(ctx, r)
	}
	if p.Simple {
		return r, p.simple(ctx, r)
	}
	quiet, err := p.quietDay(ctx)
	if err != nil {
		return nil, fmt.Errorf("polls alone: %w", err)
	}
	defer quiet.close()
	for _, phones := range p.Sizes {
		log.Printf("%d phones: memory, CPU, latency", phones)
		if err := p.load(ctx, r, phones); err != nil {
			return nil, fmt.Errorf("%d phones: %w", phones, err)
		}
	}
	if err := p.board(ctx, r); err != nil {
		return nil, err
	}
	log.Printf("wear: %d phones, time %v times as fast, %v", p.Wear.Phones, p.Wear.Speed, p.Wear.Length)
	if err := p.wearOut(ctx, r, quiet); err != nil {
		return nil, fmt.Errorf("wear: %w", err)
	}
	log.Printf("demo")
	if err := p.demo(ctx, r); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	log.Printf("presence, beside Kamailio")
	if err := p.simple(ctx, r); err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	return r, nil
}

// board is what it costs to see every phone, on both sides.
func (p plan) board(ctx context.Context, r *report) error {
	if err := p.pixel(ctx, r); err != nil {
		return fmt.Errorf("in a browser: %w", err)
	}
	if err := p.sweeps(ctx, r); err != nil {
		return fmt.Errorf("sweeps: %w", err)
	}
	return nil
}
