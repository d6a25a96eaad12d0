// Package clock knows what time it is, and whether that is to be trusted.
//
// Branch boxes boot without a clock. Durations are monotonic throughout the
// agent; wall time is stamped late, by [Clock.Wall], so that what was seen
// before the clock was set is dated right afterwards. No decision is taken on
// a wall clock that is not trusted yet.
package clock

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// floor is a moment that has passed: no true clock shows an earlier one.
var floor = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// maxDark is how long a branch may have been dark for its clock to be believed
// where nothing disciplines it: a clock that lost its battery may show any year.
const maxDark = 90 * 24 * time.Hour

// Clock tells wall time.
type Clock struct {
	kernel func() (synced bool)
	now    func() time.Time

	made   time.Time
	newest time.Time // a wall time that has passed
	known  bool      // of this branch, and not of all the world
}

// New makes a clock. Newest is the newest wall time known to have passed when
// the agent starts, as the store has it; zero if there is none.
func New(newest time.Time) *Clock {
	c := &Clock{kernel: kernelSynced, now: time.Now, made: time.Now(), newest: floor}
	if newest.After(floor) {
		c.newest, c.known = newest.Round(0), true
	}
	return c
}

// Trusted reports whether wall time may be believed, and why not. The kernel's
// word that it is synchronised is enough; else the clock must be neither
// behind what has already been nor far ahead of it.
func (c *Clock) Trusted() (bool, string) {
	now := c.now()
	wall := now.Round(0)
	switch dark := wall.Sub(c.newest) - now.Sub(c.made); {
	case c.kernel():
		return true, ""
	case wall.Before(c.newest):
		return false, fmt.Sprintf("the clock shows %s, which is in the past", wall.UTC().Format(time.RFC3339))
	case c.known && dark > maxDark:
		return false, fmt.Sprintf("the clock shows %s, %d days after the agent last ran, and nothing has set it", wall.UTC().Format(time.RFC3339), dark/(24*time.Hour))
	}
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
