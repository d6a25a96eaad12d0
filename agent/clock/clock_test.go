package clock

import (
	"testing"
	"time"
)

func TestTrusted(t *testing.T) {
	year := func(y int) time.Time { return time.Date(y, 6, 1, 0, 0, 0, 0, time.UTC) }
	for _, tc := range []struct {
		name   string
		shows  time.Time
		store  time.Time
		synced bool
		want   bool
	}{
		{"fresh boot without a battery", time.Unix(40, 0), time.Time{}, false, false},
		{"behind the store", year(2027), year(2028), false, false},
		{"plausible", year(2028).Add(60 * 24 * time.Hour), year(2028), false, true},
		{"plausible on the first day", year(2029), time.Time{}, false, true},
		{"far ahead of the store", year(2099), year(2028), false, false},
		{"the kernel vouches for a long darkness", year(2029), year(2028), true, true},
		{"the kernel vouches", year(2027), year(2028), true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := New(tc.store)
			c.kernel, c.now, c.made = func() bool { return tc.synced }, func() time.Time { return tc.shows }, tc.shows
			if ok, why := c.Trusted(); ok != tc.want || ok == (why != "") {
				t.Errorf("%v %q", ok, why)
			}
		})
	}
}

// An agent that runs for a year without NTP does not begin to doubt its clock.
func TestTrustDoesNotWearOut(t *testing.T) {
	c := New(time.Now().Add(time.Second))
	c.kernel, c.now = func() bool { return false }, func() time.Time { return c.made.Add(365 * 24 * time.Hour) }
	if ok, why := c.Trusted(); !ok {
		t.Error(why)
	}
}

// What was seen before the clock was set is dated by how long ago that was.
func TestWallIsStampedLate(t *testing.T) {
	c := New(time.Time{})
	seen := time.Now().Add(-time.Minute)
	if d := time.Since(c.Wall(seen)); d < time.Minute || d > 2*time.Minute {
		t.Errorf("seen %v ago", d)
	}
	if w := c.Wall(time.Time{}); !w.IsZero() {
		t.Errorf("zero became %v", w)
	}
}
