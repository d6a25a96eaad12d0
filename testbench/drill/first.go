package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"pilotlight/testbench/powercut"
	"pilotlight/testbench/powercut/disk"
)

// FirstStarts cuts the power while an agent makes its store on an empty disk,
// each time anew and at another step of it. Nothing is acknowledged yet, so
// nothing can be lost; but the next start must be a start, whatever half of a
// store it finds.
func FirstStarts(ctx context.Context, plan Plan) (Table, error) {
	c := &campaign{plan: plan, rng: rand.New(rand.NewPCG(plan.Seed, 0))}
	began := time.Now()
	steps, err := c.stepsOfAStart(ctx)
	for err == nil && c.table.Runs < plan.Runs && !(plan.StopEarly && c.table.First != nil) {
		err = c.firstStart(ctx, 1+c.table.Runs%max(steps, 1))
		c.table.Runs++
	}
	c.table.Seconds = time.Since(began).Seconds()
	return c.table, err
}

// stepsOfAStart counts what an agent does to an empty disk until it is ready.
func (c *campaign) stepsOfAStart(ctx context.Context) (steps int, err error) {
	c.image = disk.Image{}
	err = c.powered(ctx, nil, func(m *powercut.Machine, life *life) error {
		err := life.ready(ctx)
		steps = m.Steps()
		killErr := life.kill()
		_, stopErr := m.Stop()
		return errors.Join(err, killErr, stopErr)
	})
	return steps, err
}

func (c *campaign) firstStart(ctx context.Context, step int) error {
	c.image = disk.Image{}
	err := c.powered(ctx, nil, func(m *powercut.Machine, life *life) (err error) {
		m.CutAfter(step)
		select {
		case <-m.Dark():
		case <-ctx.Done():
		case <-time.After(startLimit): // it does less this time: cut it at rest
		}
		c.image, err = m.Cut(c.rng, life.kill)
		return err
	})
	if err != nil {
		return err
	}
	return c.powered(ctx, nil, func(m *powercut.Machine, life *life) error {
		if c.awaitStart(ctx, life) {
			if _, epoch, err := life.api.origin(ctx); err != nil || epoch == 0 {
				c.table.FailedStarts++
				c.fault(fmt.Errorf("it tells no events: epoch %d: %w", epoch, err))
			}
		}
		err := life.kill()
		_, stopErr := m.Stop()
		return errors.Join(err, stopErr)
	})
}
