// Package schedule says whom to poll next: targets spread over their interval,
// a back-off for those that fail, and one budget of requests in flight that
// all queues share.
//
// A polling driver pulls: Next gives leave to poll one target once, and
// Visit.Done gives it back with the outcome. Nothing is polled twice at a time,
// so a slow target delays only itself.
package schedule

import (
	"container/heap"
	"context"
	"hash/fnv"
	"sync"
	"time"
)

// A Target is somebody to poll again and again.
type Target struct {
	Key   string
	Every time.Duration // zero: the queue's interval
}

// Options of a queue.
type Options struct {
	Every   time.Duration // the interval of targets that have none of their own
	Budget  *Budget       // nil: no limit
	Patient int           // failures in a row before backing off; 0: 3
	Most    int           // the back-off never exceeds Most intervals; 0: 4
}

// Queue is what a polling driver pulls from. It is safe for concurrent use.
type Queue struct {
	name string
	o    Options

	mu    sync.Mutex
	by    map[string]*item
	due   dueHeap
	wake  chan struct{} // closed and renewed when the head may have changed
	stats tally
}

type item struct {
	key      string
	every    time.Duration
	due      time.Time
	place    int // in the heap; -1: in flight
	failures int
	again    time.Time // asked for while in flight
}

// New makes an empty queue. The name is the driver's label in the metrics.
func New(name string, o Options) *Queue {
	if o.Every <= 0 {
		o.Every = time.Minute
	}
	if o.Patient <= 0 {
		o.Patient = 3
	}
	if o.Most <= 0 {
		o.Most = 4
	}
	return &Queue{name: name, o: o, by: map[string]*item{}, wake: make(chan struct{}), stats: newTally()}
}

// Name is the queue's name.
func (q *Queue) Name() string { return q.name }

// Set replaces the targets. Those that stay keep their turn; new ones get theirs
// within a quarter of their interval, spread by name, so that a start or a
// restart of a whole branch is no storm.
func (q *Queue) Set(targets ...Target) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	keep := make(map[string]bool, len(targets))
	for _, t := range targets {
		keep[t.Key] = true
		every := t.Every
		if every <= 0 {
			every = q.o.Every
		}
		if it := q.by[t.Key]; it != nil {
			q.retime(it, every, now)
			continue
		}
		it := &item{key: t.Key, every: every, due: now.Add(spread(t.Key, min(every/4, 15*time.Second)))}
		q.by[t.Key] = it
		heap.Push(&q.due, it)
	}
	for key, it := range q.by {
		if keep[key] {
			continue
		}
		delete(q.by, key)
		if it.place >= 0 {
			heap.Remove(&q.due, it.place)
		}
	}
	q.woke()
}

// Every changes the interval of one target.
func (q *Queue) Every(key string, every time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if it := q.by[key]; it != nil && every > 0 {
		q.retime(it, every, time.Now())
		q.woke()
	}
}

func (q *Queue) retime(it *item, every time.Duration, now time.Time) {
	it.every = every
	if it.place >= 0 && it.due.After(now.Add(every)) {
		it.due = now.Add(every)
		heap.Fix(&q.due, it.place)
	}
}

// Hasten makes a target due in at most that time: a state is in doubt.
func (q *Queue) Hasten(key string, in time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.by[key]
	if it == nil {
		return
	}
	at := time.Now().Add(in)
	if it.place < 0 {
		if it.again.IsZero() || at.Before(it.again) {
			it.again = at
		}
		return
	}
	if at.Before(it.due) {
		it.due = at
		heap.Fix(&q.due, it.place)
		q.woke()
	}
}

func (q *Queue) woke() {
	close(q.wake)
	q.wake = make(chan struct{})
}

// A Visit is leave to poll one target once. Done must be called, once.
type Visit struct {
	Target string
	q      *Queue
	it     *item
	start  time.Time
}

// Next waits until a target is due and the budget allows it.
func (q *Queue) Next(ctx context.Context) (Visit, error) {
	for {
		it, wait, wake := q.take()
		if it != nil {
			if err := q.o.Budget.acquire(ctx); err != nil {
				q.putBack(it)
				return Visit{}, err
			}
			return Visit{Target: it.key, q: q, it: it, start: time.Now()}, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return Visit{}, ctx.Err()
		case <-wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (q *Queue) take() (it *item, wait time.Duration, wake chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.due) == 0 {
		return nil, time.Hour, q.wake
	}
	if wait := time.Until(q.due[0].due); wait > 0 {
		return nil, wait, q.wake
	}
	return heap.Pop(&q.due).(*item), 0, nil
}

func (q *Queue) putBack(it *item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.by[it.key] == it {
		heap.Push(&q.due, it)
		q.woke()
	}
}

// Done gives the leave back; err counts as the outcome and feeds the back-off.
func (v Visit) Done(err error) {
	q, now := v.q, time.Now()
	if q == nil { // a visit that a test made by hand
		return
	}
	q.o.Budget.release()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stats.add(Outcome(err), now.Sub(v.start))
	if q.by[v.it.key] != v.it {
		return // no longer a target
	}
	v.it.due = v.it.next(err, now, q.o)
	heap.Push(&q.due, v.it)
	q.woke()
}

func (it *item) next(err error, now time.Time, o Options) time.Time {
	if err == nil {
		it.failures = 0
	} else {
		it.failures++
	}
	wait := it.every
	if n := it.failures - o.Patient; n > 0 {
		wait = min(it.every<<min(n, 10), it.every*time.Duration(o.Most))
	}
	due := it.due.Add(wait) // from the due time: no drift …
	if due.Before(now) || it.failures > 0 {
		due = now.Add(wait) // … but no catching up either
	}
	if !it.again.IsZero() && it.again.Before(due) {
		due = it.again
	}
	it.again = time.Time{}
	return due
}

// spread is a place within d that depends on the key alone.
func spread(key string, d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(key))
	return time.Duration(h.Sum64() % uint64(d))
}

type dueHeap []*item

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *dueHeap) Push(x any) {
	it := x.(*item)
	it.place = len(*h)
	*h = append(*h, it)
}

func (h *dueHeap) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	it.place = -1
	return it
}
