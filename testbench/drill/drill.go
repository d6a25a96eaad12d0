// Package drill cuts the power of a running agent, again and again, and asks
// after each cut whether all is still there that was acknowledged.
//
// The agent is the real program, given as a binary; it works on the machine of
// testbench/powercut, whose disk keeps only what was synced. While people's
// manual presence is set and cleared over HTTP by several writers at once, the
// power goes at a random moment, at times while the agent is still starting.
// The agent is killed, started again on what the cut left, and held to this:
// it starts, on the same store, in a later epoch, and every person has the last
// state that was acknowledged, or one that was asked for after it.
//
// One disk lives through all runs, so that a scar of an early cut is found by a
// later one. A drill that can't fail proves nothing: the tests run the same on
// agents that break the promise on purpose, and those must be found.
package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"pilotlight/testbench/powercut"
	"pilotlight/testbench/powercut/disk"
)

// Plan is one drill.
type Plan struct {
	Agent     Agent
	Runs      int
	Seed      uint64 // decides the moments and what each cut leaves
	StopEarly bool   // at the first fault: for agents that must fail
	// Keep, when set, takes the image of each cut that showed a fault.
	Keep func(run int, image disk.Image)
	Log  func(format string, args ...any)
}

// Table is what a drill found.
type Table struct {
	Runs         int // cuts done
	Acknowledged int // changes that were answered "done"
	Lost         int // people whose acknowledged state was not there after a cut
	FailedStarts int
	SetAside     int // starts on another store than before
	Backward     int // starts whose epoch had not grown
	Refused      int // changes that failed while the power was on
	Seconds      float64
	First        error // the first fault
}

// Faults counts everything that may not be.
func (t Table) Faults() int { return t.Lost + t.FailedStarts + t.SetAside + t.Backward + t.Refused }

// String is one line of a table; Header names its columns.
func (t Table) String() string {
	return fmt.Sprintf("| %d | %d | %d | %d | %d | %d | %d | %.1f |",
		t.Runs, t.Acknowledged, t.Lost, t.FailedStarts, t.SetAside, t.Backward, t.Refused, t.Seconds)
}

// Header is the head of the table, in Markdown.
const Header = "| runs | acknowledged | lost | failed starts | set aside | epoch not grown | refused | seconds |\n|---|---|---|---|---|---|---|---|"

// campaign is a drill under way.
type campaign struct {
	plan   Plan
	rng    *rand.Rand
	clean  disk.Image // before the first run
	image  disk.Image // what the next run starts on
	people []*person
	store  string // the id that events carry; "": not seen yet
	epoch  uint64
	table  Table
}

// Run does the drill. The error is of the bench itself (powercut.ErrUnavailable
// where there is no FUSE); what the agent did wrong is in the table.
func Run(ctx context.Context, plan Plan) (Table, error) {
	c := &campaign{plan: plan, rng: rand.New(rand.NewPCG(plan.Seed, 0)), people: crowd(plan.Agent.People)}
	began := time.Now()
	err := c.prepare(ctx)
	for err == nil && c.table.Runs < plan.Runs && !(plan.StopEarly && c.table.First != nil) {
		err = c.run(ctx)
		c.table.Runs++
	}
	if err == nil && !(plan.StopEarly && c.table.First != nil) {
		err = c.lookOnce(ctx) // at what the last cut left
	}
	c.table.Seconds = time.Since(began).Seconds()
	return c.table, err
}

// prepare makes the store and a token, with the power on throughout.
func (c *campaign) prepare(ctx context.Context) error {
	m, err := powercut.Start(c.plan.Agent.Folder, disk.Image{}, powercut.Options{})
	if err != nil {
		return err
	}
	setupErr := c.plan.Agent.setup(ctx)
	c.clean, err = m.Stop()
	c.image = c.clean
	return errors.Join(setupErr, err)
}

// run is one life of the agent: start, look at what survived the last cut,
// change things, cut.
func (c *campaign) run(ctx context.Context) error {
	before, startable := c.image, true
	err := c.powered(ctx, flash, func(m *powercut.Machine, life *life) error {
		if c.rng.IntN(6) == 0 { // this cut falls into the start
			c.untilDark(ctx, m, 20, 80*time.Millisecond)
		} else if startable = c.awaitStart(ctx, life); startable {
			c.compare(ctx, life)
			for _, p := range c.people {
				p.work(ctx, life, m.Dark())
			}
			c.untilDark(ctx, m, 200, 400*time.Millisecond)
		}
		var err error
		c.image, err = m.Cut(c.rng, life.kill)
		return err
	})
	for _, p := range c.people {
		acknowledged, refused := p.rest()
		c.table.Acknowledged += acknowledged
		if refused != nil {
			c.table.Refused++
			c.fault(refused)
		}
	}
	if !startable {
		c.keep(before)
		c.startOver()
	}
	return err
}

// powered starts the agent on the present image for as long as do takes; do
// ends it. A bench that fails leaves nothing running.
func (c *campaign) powered(ctx context.Context, delay func() time.Duration, do func(*powercut.Machine, *life) error) error {
	m, err := powercut.Start(c.plan.Agent.Folder, c.image, powercut.Options{SyncDelay: delay})
	if err != nil {
		return err
	}
	life, err := c.plan.Agent.start(ctx)
	if err != nil {
		_, stopErr := m.Stop()
		return errors.Join(err, stopErr)
	}
	return do(m, life)
}

// untilDark waits for a random moment: half of them are told by the clock, and
// half by the disk, which hits the short times between two writes of a commit.
func (c *campaign) untilDark(ctx context.Context, m *powercut.Machine, steps int, limit time.Duration) {
	if c.rng.IntN(2) == 0 {
		m.CutAfter(1 + c.rng.IntN(steps))
	} else {
		limit = time.Duration(c.rng.Int64N(int64(limit)))
	}
	select {
	case <-ctx.Done():
	case <-m.Dark():
	case <-time.After(limit):
	}
}

// lookOnce starts the agent, looks, and leaves the power on.
func (c *campaign) lookOnce(ctx context.Context) error {
	return c.powered(ctx, nil, func(m *powercut.Machine, life *life) error {
		if c.awaitStart(ctx, life) {
			c.compare(ctx, life)
		}
		err := life.kill()
		_, stopErr := m.Stop()
		return errors.Join(err, stopErr)
	})
}

func (c *campaign) awaitStart(ctx context.Context, life *life) bool {
	if err := life.ready(ctx); err != nil {
		c.table.FailedStarts++
		c.fault(fmt.Errorf("it does not start: %w", err))
		return false
	}
	return true
}

// compare holds the restarted agent to what it acknowledged before the cut.
func (c *campaign) compare(ctx context.Context, life *life) {
	store, epoch, err := life.api.origin(ctx)
	switch {
	case err != nil:
		c.table.FailedStarts++
		c.fault(fmt.Errorf("it tells no events: %w", err))
	case c.store != "" && store != c.store:
		c.table.SetAside++
		c.fault(fmt.Errorf("it started on store %s; before it was %s", store, c.store))
	case epoch <= c.epoch:
		c.table.Backward++
		c.fault(fmt.Errorf("epoch %d after epoch %d", epoch, c.epoch))
	}
	c.store, c.epoch = store, epoch
	for _, p := range c.people {
		if err := p.compare(ctx, life.api); err != nil {
			c.table.Lost++
			c.fault(err)
		}
	}
}

func (c *campaign) fault(err error) {
	err = fmt.Errorf("run %d: %w", c.table.Runs+1, err)
	if c.table.First == nil {
		c.table.First = err
	}
	c.plan.Log("%v", err)
	c.keep(c.image)
}

func (c *campaign) keep(image disk.Image) {
	if c.plan.Keep != nil {
		c.plan.Keep(c.table.Runs+1, image)
	}
}

// startOver goes back to the clean disk when no agent starts on the present one.
func (c *campaign) startOver() {
	c.image, c.store, c.epoch = c.clean, "", 0
	c.people = crowd(c.plan.Agent.People)
}

// flash is how long an fsync takes: mostly a millisecond, at times ten.
func flash() time.Duration {
	return min(time.Duration(rand.ExpFloat64()*float64(1500*time.Microsecond)), 10*time.Millisecond)
}

// Full says whether the figures of the drill are asked for, not the short form.
func Full() bool { return strings.EqualFold(os.Getenv("PILOTLIGHT_DRILL"), "full") }
