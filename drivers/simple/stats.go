package simple

import (
	"maps"
	"slices"
	"sync"
	"time"

	"pilotlight/agent/schedule"
)

// Stats is what the presence server holds and did, for the metrics.
type Stats struct {
	Subscriptions map[string]int // by event package
	Unreachable   int            // whose stream is gone
	Publications  int            // accepted
	Notified      uint64         // NOTIFYs answered
	Failed        uint64         // NOTIFYs that were not, or refused
	Refused       map[string]uint64
	Lag           Lag
}

// Lag is the histogram of the time from an observation to its NOTIFY.
type Lag struct {
	Count  uint64
	Sum    time.Duration
	Counts []uint64 // at most as long as each of schedule.Buckets, cumulative
}

func (l *Lag) add(took time.Duration) {
	if l.Counts == nil {
		l.Counts = make([]uint64, len(schedule.Buckets))
	}
	l.Count++
	l.Sum += took
	for i, upper := range schedule.Buckets {
		if took.Seconds() <= upper {
			l.Counts[i]++
		}
	}
}

type counters struct {
	mu sync.Mutex
	s  Stats
}

func (c *counters) with(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.Subscriptions == nil {
		c.s.Subscriptions, c.s.Refused = map[string]int{}, map[string]uint64{}
	}
	f(&c.s)
}

func (c *counters) subscribed(pkg string, by int) {
	c.with(func(s *Stats) { s.Subscriptions[pkg] += by })
}

// reach counts the watchers that came back (+1) or went away (-1).
func (c *counters) reach(by int) { c.with(func(s *Stats) { s.Unreachable -= by }) }

func (c *counters) answered(ok bool) {
	c.with(func(s *Stats) {
		if ok {
			s.Notified++
		} else {
			s.Failed++
		}
	})
}

func (c *counters) refused(method string, status int) {
	c.with(func(s *Stats) { s.Refused[method+" "+statusClass(status)]++ })
}

func statusClass(status int) string {
	switch status {
	case 400, 401, 403, 404, 406, 412, 415, 421, 423, 481, 482, 489, 500, 503, 513:
		return itoa(status)
	}
	return itoa(status/100) + "xx"
}

// Stats are the counts since New.
func (d *Driver) Stats() (out Stats) {
	d.count.with(func(s *Stats) {
		out = *s
		out.Lag.Counts = slices.Clone(s.Lag.Counts)
		out.Subscriptions, out.Refused = maps.Clone(s.Subscriptions), maps.Clone(s.Refused)
	})
	return out
}
