package ledger

import (
	"container/heap"
	"time"
)

// An alarm is the moment at which ageing changes a subject.
type alarm struct {
	at    time.Time
	index int // in the heap; -1: not set
	rings subject
}

// alarms is a heap: the earliest first.
type alarms struct{ heap alarmHeap }

// set moves a to a time; the zero time takes it out.
func (h *alarms) set(a *alarm, at time.Time) {
	switch {
	case at.IsZero() && a.index >= 0:
		heap.Remove(&h.heap, a.index)
	case at.IsZero():
	case a.index < 0:
		a.at = at
		heap.Push(&h.heap, a)
	case !a.at.Equal(at):
		a.at = at
		heap.Fix(&h.heap, a.index)
	}
}

// next is when the earliest goes off, or zero.
func (h *alarms) next() time.Time {
	if len(h.heap) == 0 {
		return time.Time{}
	}
	return h.heap[0].at
}

// due takes out one that has gone off, or nil.
func (h *alarms) due(now time.Time) *alarm {
	if len(h.heap) == 0 || now.Before(h.heap[0].at) {
		return nil
	}
	return heap.Pop(&h.heap).(*alarm)
}

type alarmHeap []*alarm

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h alarmHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *alarmHeap) Push(a any) {
	x := a.(*alarm)
	x.index = len(*h)
	*h = append(*h, x)
}

func (h *alarmHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	x.index = -1
	return x
}
