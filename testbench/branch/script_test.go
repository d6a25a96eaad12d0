package branch

import (
	"slices"
	"testing"
	"time"
)

// play runs the script of a branch that opened nothing, without a clock.
func play(t *testing.T, o Options, span time.Duration, each func(b *Branch, at time.Duration)) []string {
	t.Helper()
	var log []string
	var began time.Time
	o, err := o.withDefaults()
	must(t, err)
	o.OnEvent = func(e Event) {
		log = append(log, e.At.Sub(began).String()+" "+e.Kind+" "+e.Phone+" "+e.Peer)
	}
	b, err := build(o)
	must(t, err)
	began = b.start
	b.mu.Lock()
	b.newScript(began)
	b.mu.Unlock()
	for at := time.Duration(0); at < span; at += time.Second {
		b.agenda.RunUntil(began.Add(at))
		if each != nil {
			each(b, at)
		}
	}
	return log
}

func TestOneSeedGivesOneDay(t *testing.T) {
	one := play(t, Options{Seed: 42}, 10*time.Minute, nil)
	two := play(t, Options{Seed: 42}, 10*time.Minute, nil)
	other := play(t, Options{Seed: 43}, 10*time.Minute, nil)
	if len(one) < 100 || !slices.Equal(one, two) {
		t.Errorf("%d and %d events, and not the same", len(one), len(two))
	}
	if slices.Equal(one, other) {
		t.Error("another seed gave the same day")
	}
}

func TestABranchOf24AlwaysShowsRingingTalkingAndHold(t *testing.T) {
	const settled = 20 * time.Second
	seen := map[Doing]int{}
	seconds := 0
	play(t, Options{Phones: 24}, 20*time.Minute, func(b *Branch, at time.Duration) {
		if at < settled {
			return
		}
		seconds++
		now := map[Doing]int{}
		for _, s := range b.Truth() {
			now[s.Doing]++
		}
		for d := range now {
			seen[d]++
		}
		if now[Idle] < 4 {
			t.Errorf("at %v only %d phones are idle", at, now[Idle])
		}
	})
	for doing, share := range map[Doing]float64{Ringing: 0.97, InUse: 0.99, OnHold: 0.90, Idle: 1} {
		if got := float64(seen[doing]) / float64(seconds); got < share {
			t.Errorf("%s in %.0f %% of the seconds, want %.0f %%", doing, 100*got, 100*share)
		}
	}
}

func TestTheScriptKeepsToTheTimesOfACall(t *testing.T) {
	began, answered := map[string]time.Time{}, map[string]time.Time{}
	o, err := Options{Phones: 200, Speed: 10}.withDefaults()
	must(t, err)
	unanswered, talked := 0, 0
	o.OnEvent = func(e Event) {
		key := min(e.Phone, e.Peer) + max(e.Phone, e.Peer)
		within := func(since time.Time, low, high time.Duration) {
			if d := e.At.Sub(since) * 10; d < low || d > high {
				t.Errorf("%s after %v", e.Kind, d)
			}
		}
		switch e.Kind {
		case "call":
			began[key] = e.At
		case "answer":
			within(began[key], 2*time.Second, 6*time.Second)
			answered[key] = e.At
		case "hangup":
			if since, ok := answered[key]; ok {
				within(since, 8*time.Second, 40*time.Second)
				delete(answered, key)
				talked++
			} else {
				within(began[key], 2*time.Second, 6*time.Second)
				unanswered++
			}
		}
	}
	b, err := build(o)
	must(t, err)
	b.mu.Lock()
	b.newScript(b.start)
	b.mu.Unlock()
	b.agenda.RunUntil(b.start.Add(time.Minute))
	if unanswered*100/(unanswered+talked) < 10 || talked < 200 {
		t.Errorf("%d calls answered, %d not", talked, unanswered)
	}
}

func TestTheScriptLivesWithWhatTheBenchDoes(t *testing.T) {
	b := start(t, Options{Phones: 12, Speed: 100})
	done := make(chan struct{})
	go func() { defer close(done); b.Script(t.Context()) }()
	for _, p := range b.Phones() {
		must(t, b.Unplug(p.Name))
		b.Hangup(p.Name) // or it has no call
		must(t, b.Plug(p.Name))
		must(t, b.Unregister(p.Name))
		must(t, b.Register(p.Name))
	}
	eventually(t, "calls go on", func() bool {
		for _, s := range b.Truth() {
			if s.Doing == InUse {
				return true
			}
		}
		return false
	})
	b.Close()
	<-done // the script ends with its branch
}

func TestALargeBranchIsNotAllOnThePhoneNorPolledAllTheTime(t *testing.T) {
	for _, tc := range []struct {
		phones, low, high int // of them busy, on average
		every             time.Duration
	}{{24, 8, 16, 2 * time.Second}, {60, 20, 40, 2 * time.Second}, {100, 20, 40, 2 * time.Second}, {300, 25, 50, 3800 * time.Millisecond}, {1000, 45, 75, 10 * time.Second}} {
		busy, seconds := 0, 0
		play(t, Options{Phones: tc.phones}, 5*time.Minute, func(b *Branch, at time.Duration) {
			for _, p := range b.phones {
				if p.call != nil {
					busy++
				}
			}
			seconds++
		})
		if got := busy / seconds; got < tc.low || got > tc.high {
			t.Errorf("of %d phones %d are busy, want %d to %d", tc.phones, got, tc.low, tc.high)
		}
		if got := pollEvery(tc.phones); got != tc.every {
			t.Errorf("%d phones are polled every %v, want %v", tc.phones, got, tc.every)
		}
	}
}
