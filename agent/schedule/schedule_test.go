package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pilotlight/agent/schedule"
)

func TestEachTargetGetsItsTurnOncePerInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := schedule.New("test", schedule.Options{Every: time.Minute})
		var targets []schedule.Target
		for i := range 100 {
			targets = append(targets, schedule.Target{Key: fmt.Sprint("phone", i)})
		}
		q.Set(targets...)
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		visits := map[string][]time.Duration{}
		start := time.Now()
		for {
			v, err := q.Next(ctx)
			if err != nil {
				break
			}
			visits[v.Target] = append(visits[v.Target], time.Since(start))
			v.Done(nil)
		}
		for key, at := range visits {
			if len(at) != 10 || at[0] > 15*time.Second {
				t.Errorf("%s: %d visits, the first after %v", key, len(at), at[0])
			}
			for i := 1; i < len(at); i++ {
				if d := at[i] - at[i-1]; d != time.Minute {
					t.Errorf("%s: %v between two visits", key, d)
				}
			}
		}
		if len(visits) != 100 {
			t.Errorf("%d targets visited", len(visits))
		}
	})
}

func TestOneFailingTargetBacksOffAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := schedule.New("test", schedule.Options{Every: time.Minute})
		q.Set(schedule.Target{Key: "dead"}, schedule.Target{Key: "well"})
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		n := map[string]int{}
		for {
			v, err := q.Next(ctx)
			if err != nil {
				break
			}
			n[v.Target]++
			if v.Target == "dead" {
				v.Done(errors.New("no"))
			} else {
				v.Done(nil)
			}
		}
		if n["well"] != 60 || n["dead"] < 14 || n["dead"] > 20 {
			t.Errorf("visits in an hour: %v, want 60 and about 17", n)
		}
	})
}

func TestADoubtIsLookedIntoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := schedule.New("test", schedule.Options{Every: time.Hour})
		q.Set(schedule.Target{Key: "a"})
		v, _ := q.Next(t.Context())
		q.Hasten("a", time.Second) // while in flight
		start := time.Now()
		v.Done(errors.New("timeout"))
		v, _ = q.Next(t.Context())
		if d := time.Since(start); d != time.Second {
			t.Errorf("asked again after %v", d)
		}
		v.Done(nil)
		q.Hasten("a", 2*time.Second)
		start = time.Now()
		q.Next(t.Context())
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("asked again after %v", d)
		}
	})
}

func TestBudgetIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := schedule.NewBudget(1)
		one := schedule.New("one", schedule.Options{Every: time.Second, Budget: b})
		two := schedule.New("two", schedule.Options{Every: time.Second, Budget: b})
		one.Set(schedule.Target{Key: "a"})
		two.Set(schedule.Target{Key: "b"})
		v, _ := one.Next(t.Context())
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if _, err := two.Next(ctx); err == nil {
			t.Error("two in flight with a budget of one")
		}
		v.Done(nil)
		if _, err := two.Next(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestRemovedTargetsAreNotVisited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := schedule.New("test", schedule.Options{Every: time.Second})
		q.Set(schedule.Target{Key: "a"}, schedule.Target{Key: "b"})
		v, _ := q.Next(t.Context())
		q.Set()
		v.Done(nil)
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		if v, err := q.Next(ctx); err == nil {
			t.Errorf("visited %s", v.Target)
		}
	})
}

func TestOutcome(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want string
	}{
		{nil, "ok"},
		{fmt.Errorf("get: %w", context.DeadlineExceeded), "timeout"},
		{fmt.Errorf("dial: %w", syscall.ECONNREFUSED), "refused"},
		{errors.New("half a page"), "error"},
	} {
		if got := schedule.Outcome(tc.err); got != tc.want {
			t.Errorf("%v: %s, want %s", tc.err, got, tc.want)
		}
	}
}
