package simple

import (
	"container/heap"
	"time"

	"pilotlight/drivers/internal/event"
)

// grace is how long a subscription is kept beyond its time, for a refresh on
// its way (EV-22).
const grace = 32 * time.Second

// alarms is a heap of subscriptions by the time at which the loop has to look at
// them. Each has one place, however often it changes its mind.
type alarms []*subscription

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].rings.Before(a[j].rings) }
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i+1, j+1
}

// Push implements heap.Interface.
func (a *alarms) Push(x any) {
	s := x.(*subscription)
	*a = append(*a, s)
	s.place = len(*a)
}

// Pop implements heap.Interface.
func (a *alarms) Pop() any {
	old := *a
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	last.place = 0
	return last
}

// wake has the loop look at s when it is held no longer, if something is due, and
// at its end.
func (r *run) wake(s *subscription) {
	s.rings = s.Expires.Add(grace)
	if s.due != nothing && !s.heldUntil.IsZero() && s.heldUntil.Before(s.rings) {
		s.rings = s.heldUntil
	}
	if s.place == 0 {
		heap.Push(&r.alarms, s)
	} else {
		heap.Fix(&r.alarms, s.place-1)
	}
}

// quiet: the loop looks at s no more.
func (r *run) quiet(s *subscription) {
	if s.place > 0 {
		heap.Remove(&r.alarms, s.place-1)
	}
}

func (r *run) setTimer() {
	if len(r.alarms) > 0 {
		r.timer.Reset(max(0, time.Until(r.alarms[0].rings)))
	}
}

// ring looks at the subscriptions whose time has come.
func (r *run) ring(now time.Time) {
	for len(r.alarms) > 0 && !now.Before(r.alarms[0].rings) {
		s := r.alarms[0]
		if !now.Before(s.Expires.Add(grace)) {
			r.end(s, "timeout", event.EventTimeout) // it leaves the heap (EV-10)
			continue
		}
		s.heldUntil = time.Time{}
		r.wake(s)
		r.kick(s)
	}
}
