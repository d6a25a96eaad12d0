// Package clock knows what time it is, and whether that is to be trusted.
//
// Branch boxes boot without a clock. Durations are monotonic throughout the
// agent; wall time is stamped late, by [Clock.Wall], so that what was seen
// before the clock was set is dated right afterwards. No decision is taken on
// a wall clock that is not trusted yet.
package clock

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// floor is a moment that has passed: no true clock shows an earlier one.
var floor = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Clock tells wall time.
type Clock struct {
	kernel func() (synced bool)
	now    func() time.Time

	mu      sync.Mutex
	lowest  time.Time
	trusted bool
}

// New makes a clock. notBefore is a wall time known to have passed, such as the
// newest one in the store; zero if there is none.
func New(notBefore time.Time) *Clock {
	c := &Clock{kernel: kernelSynced, now: time.Now, lowest: floor}
	if notBefore.After(floor) {
		c.lowest = notBefore.Round(0)
	}
	return c
}

// Trusted reports whether wall time may be believed, and why not. The kernel's
// word that it is synchronised is enough; else the clock must not be behind
// what has already been.
func (c *Clock) Trusted() (bool, string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now().Round(0)
	switch {
	case c.kernel():
		c.trusted = true
		return true, ""
	case now.Before(c.lowest):
		c.trusted = false
		return false, "the clock shows " + now.UTC().Format(time.RFC3339) + ", which is in the past"
	}
	c.trusted = true
	return true, "" // plausible, as on a machine with a battery-backed clock and no NTP
}

// Wall is the wall time of t as the clock is set now. A t with a monotonic
// reading is dated by its distance from now, so a clock that was set meanwhile
// corrects it.
func (c *Clock) Wall(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	now := c.now()
	return now.Round(0).Add(t.Sub(now)).UTC()
}

// kernelSynced asks the kernel whether something disciplines its clock.
func kernelSynced() bool {
	var tx unix.Timex
	state, err := unix.Adjtimex(&tx)
	return err == nil && state != unix.TIME_ERROR
}
