// Package agenda is a list of things to do later, run by one goroutine.
//
// A branch of a thousand phones has thousands of pending moments: a call that
// will be answered, a subscription that will expire, a NOTIFY to send again. A
// runtime timer with a goroutine for each would cost more than the phones, so
// they share one heap and one timer. An item runs without any lock held and is
// told when it was due, not when it came to run: what it plans next counts
// from there, and so a script comes out the same on a slow machine.
//
// RunUntil runs the same list without a clock, for tests.
package agenda

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// Item is one planned thing; its zero value is not useful.
type Item struct {
	due   time.Time
	order uint64 // items due at the same time run in the order of planning
	do    func(due time.Time)
	index int // in the heap; -1 when run or cancelled
}

// Agenda is the list.
type Agenda struct {
	mu    sync.Mutex
	items items
	next  uint64
	wake  chan struct{}
}

// New makes an empty agenda; nothing runs before Run.
func New() *Agenda {
	return &Agenda{wake: make(chan struct{}, 1)}
}

// At plans do for a time.
func (a *Agenda) At(due time.Time, do func(due time.Time)) *Item {
	a.mu.Lock()
	a.next++
	it := &Item{due: due, order: a.next, do: do}
	heap.Push(&a.items, it)
	first := it.index == 0
	a.mu.Unlock()
	if first {
		select {
		case a.wake <- struct{}{}:
		default: // a wake-up is on its way already
		}
	}
	return it
}

// Cancel takes an item off the list. It reports false when the item has run,
// or is running now; a nil item has.
func (a *Agenda) Cancel(it *Item) bool {
	if it == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if it.index < 0 {
		return false
	}
	heap.Remove(&a.items, it.index)
	return true
}

// Len is the number of planned items.
func (a *Agenda) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.items)
}

// Run does what is due until ctx is done.
func (a *Agenda) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		it, wait := a.pop(time.Now())
		if it != nil {
			it.do(it.due)
			if ctx.Err() != nil {
				return
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-a.wake:
		case <-ctx.Done():
			return
		}
	}
}

// RunUntil does, in order and without waiting, all that is due up to a time,
// including what is planned meanwhile.
func (a *Agenda) RunUntil(end time.Time) {
	for {
		it, _ := a.pop(end)
		if it == nil {
			return
		}
		it.do(it.due)
	}
}

// pop takes the first item if it is due at now; else it tells how long to wait.
func (a *Agenda) pop(now time.Time) (*Item, time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.items) == 0 {
		return nil, time.Hour
	}
	if wait := a.items[0].due.Sub(now); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&a.items).(*Item), 0
}

type items []*Item

func (s items) Len() int { return len(s) }

func (s items) Less(i, j int) bool {
	if s[i].due.Equal(s[j].due) {
		return s[i].order < s[j].order
	}
	return s[i].due.Before(s[j].due)
}

func (s items) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

func (s *items) Push(x any) {
	it := x.(*Item)
	it.index = len(*s)
	*s = append(*s, it)
}

func (s *items) Pop() any {
	old := *s
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	it.index = -1
	return it
}
