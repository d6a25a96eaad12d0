package schedule

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"syscall"
	"time"
)

// Outcome is the class of a poll's error, as the metrics name it: an error that
// has a method Outcome names itself.
func Outcome(err error) string {
	var named interface{ Outcome() string }
	var timeout net.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &named):
		return named.Outcome()
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, fs.ErrPermission):
		return "denied"
	}
	return "error"
}

// Buckets are the upper bounds, in seconds, of the duration histogram.
var Buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// Stats is what a queue has counted since the start.
type Stats struct {
	Name     string
	Targets  int
	InFlight int
	Outcomes map[string]uint64
	Counts   []uint64 // polls at most as long as each of Buckets, cumulative
	Count    uint64
	Sum      time.Duration
}

// Stats gives a copy of the counts.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{
		Name: q.name, Targets: len(q.by), InFlight: max(0, len(q.by)-len(q.due)),
		Outcomes: maps.Clone(q.stats.outcomes), Counts: slices.Clone(q.stats.counts), Count: q.stats.count, Sum: q.stats.sum,
	}
}

type tally struct {
	outcomes map[string]uint64
	counts   []uint64
	count    uint64
	sum      time.Duration
}

func newTally() tally {
	return tally{outcomes: map[string]uint64{}, counts: make([]uint64, len(Buckets))}
}

func (t *tally) add(outcome string, took time.Duration) {
	t.outcomes[outcome]++
	t.count++
	t.sum += took
	for i, upper := range Buckets {
		if took.Seconds() <= upper {
			t.counts[i]++
		}
	}
}
