package agenda

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestItemsRunInOrderOfTheirTimeAndLearnWhenTheyWereDue(t *testing.T) {
	a := New()
	start := time.Unix(0, 0)
	var ran []time.Duration
	note := func(due time.Time) { ran = append(ran, due.Sub(start)) }
	a.At(start.Add(3*time.Second), note)
	a.At(start.Add(time.Second), func(due time.Time) {
		note(due)
		a.At(due.Add(time.Second), note) // planned meanwhile, still before the third
	})
	gone := a.At(start.Add(2*time.Second), note)
	if !a.Cancel(gone) || a.Cancel(gone) || a.Cancel(nil) {
		t.Error("an item can be cancelled once, and nil never")
	}
	a.RunUntil(start.Add(time.Minute))
	want := []time.Duration{time.Second, 2 * time.Second, 3 * time.Second}
	if !slices.Equal(ran, want) || a.Len() != 0 {
		t.Errorf("ran %v, want %v; %d left", ran, want, a.Len())
	}
}

func TestRunWakesForAnEarlierItemAndEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		start := time.Now()
		var ran []time.Duration
		note := func(time.Time) { ran = append(ran, time.Since(start)) }
		a.At(start.Add(time.Minute), note)
		synctest.Wait()
		a.At(start.Add(time.Second), note)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		cancel()
		<-done
		if want := []time.Duration{time.Second, time.Minute}; !slices.Equal(ran, want) {
			t.Errorf("ran at %v, want %v", ran, want)
		}
	})
}
