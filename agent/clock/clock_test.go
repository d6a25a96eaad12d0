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
		{"plausible", year(2029), year(2028), false, true},
		{"the kernel vouches", year(2027), year(2028), true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := New(tc.store)
			c.kernel, c.now = func() bool { return tc.synced }, func() time.Time { return tc.shows }
			if ok, why := c.Trusted(); ok != tc.want || ok == (why != "") {
				t.Errorf("%v %q", ok, why)
			}
		})
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
