package phone

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pilotlight/agent/presence"
)

// A branch is many phones that one user is shown to, and what a logon at Unified CM
// would come to.
type branch struct {
	guard   *guard
	log     logBook
	phones  []*claim
	wan     bool // the Authentication URL can be reached
	right   bool // the password is
	strange map[string]bool
	hangs   bool
	mu      sync.Mutex
	failed  []time.Time // logons that Unified CM has counted
}

func newBranch(n int) *branch {
	b := &branch{wan: true, right: true, strange: map[string]bool{}}
	b.guard = newGuard("pilot", slog.New(slog.NewTextHandler(&b.log, nil)))
	for i := range n {
		b.phones = append(b.phones, &claim{device: fmt.Sprintf("SEP%012d", i)})
	}
	return b
}

// visit has one phone asked for its keys, and reports whether they were read.
func (b *branch) visit(c *claim) (exact bool) {
	ok, _ := b.guard.enter(context.Background(), *c, 3*time.Second)
	if !ok {
		return false
	}
	c.back = false
	time.Sleep(100 * time.Millisecond)
	switch {
	case !b.wan && b.hangs:
		time.Sleep(3 * time.Second)
		b.guard.leave(*c, hungOn)
		return false
	case b.wan && b.right && !b.strange[c.device]:
		b.counts(true)
		b.guard.leave(*c, letIn)
		c.known, c.refused = true, time.Time{}
		return true
	case b.wan && !b.right:
		b.counts(false)
	}
	b.guard.leave(*c, turnedAway)
	c.known, c.refused = false, time.Now()
	return false
}

// counts is what Unified CM does.
func (b *branch) counts(good bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failed = append(b.failed, time.Now()); good {
		b.failed = nil
	}
}

// round has all phones visited, spread over a minute, and gives how many were exact.
func (b *branch) round() (exact int) {
	for _, c := range b.phones {
		time.Sleep(time.Minute / time.Duration(len(b.phones)))
		if b.visit(c) {
			exact++
		}
	}
	return exact
}

// away has all phones lose their call server, or come back to it.
func (b *branch) away(is bool) {
	for _, c := range b.phones {
		if is && !c.away {
			b.guard.lost(c.device)
		}
		c.back = c.back || c.away && !is
		c.away = is
	}
}

// locks reports whether an account that bears two failed logons in half an hour would be locked.
func (b *branch) locks() bool {
	for i, at := range b.failed {
		if i+2 < len(b.failed) && b.failed[i+2].Sub(at) < lapse {
			return true
		}
	}
	return false
}

// A password that is wrong from the start locks no account, however many phones there are.
func TestAWrongPasswordLocksNoAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBranch(50)
		b.right = false
		for range 24 * 60 {
			if n := b.round(); n > 0 {
				t.Fatal("let in")
			}
		}
		if b.locks() || len(b.failed) < 20 || len(b.failed) > 30 {
			t.Errorf("%d logons failed in a day: %v", len(b.failed), b.failed)
		}
		if l := b.log.lines(); len(l) != 1 || !strings.Contains(l[0], "level=WARN") || !strings.Contains(l[0], "Authentication URL") {
			t.Errorf("logged %q", l)
		}
		b.right = true
		for range 61 {
			b.round()
		}
		if n := b.round(); n != 50 {
			t.Errorf("%d are exact an hour after it was put right", n)
		}
		if l := b.log.lines(); len(l) != 2 || !strings.Contains(l[1], "let in") {
			t.Errorf("logged %q", l)
		}
	})
}

// Nor does one that is changed while many phones are asked at once.
func TestAPasswordThatIsChangedLocksNoAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBranch(64)
		b.round()
		b.right = false
		for range 5 {
			var all sync.WaitGroup
			for _, c := range b.phones {
				all.Go(func() { b.visit(c) })
			}
			all.Wait()
			time.Sleep(time.Minute)
		}
		if b.locks() || len(b.failed) == 0 {
			t.Errorf("failed %v", b.failed)
		}
	})
}

// After an outage exact states are back within minutes of the phones' return to their
// call server, however long it lasted; and after one that no phone noticed, too.
func TestExactStatesAreBackAfterAnOutage(t *testing.T) {
	for _, c := range []struct {
		name        string
		lasts       int // rounds of a minute
		noticed     int // after that many the phones are on SRST; 0: never
		hangs       bool
		within      int
		staysInSRST int // rounds after its end
	}{
		{"an hour", 60, 2, false, 2, 3},
		{"an hour, and the keys hang", 60, 2, true, 2, 3},
		{"a day", 24 * 60, 3, false, 2, 2},
		{"ten minutes, which the phones are slow to notice", 12, 5, false, 2, 2},
		{"a minute that nobody notices", 1, 0, false, 11, 0},
		{"an hour of the Authentication URL alone", 60, 0, false, 16, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBranch(20)
				if b.round(); b.round() != 20 {
					t.Fatal("not let in")
				}
				b.wan, b.hangs = false, c.hangs
				for n := range c.lasts {
					if n == c.noticed && c.noticed > 0 {
						b.away(true)
					}
					b.round()
				}
				b.wan = true
				for range c.staysInSRST {
					b.round()
				}
				b.away(false)
				n := 0
				for b.round() != 20 {
					if n++; n > c.within {
						t.Fatalf("after %d minutes not all are exact; refused %v until %v", n, b.guard.refused, b.guard.until)
					}
				}
			})
		})
	}
}

// A phone that the user does not belong to costs no other its keys, and is asked again.
func TestAPhoneThatRefusesAloneIsRefusedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBranch(20)
		b.strange[b.phones[7].device], b.strange[b.phones[8].device] = true, true
		for n := range 40 { // at the start each waits for another to be let in
			if exact := b.round(); exact != 18 && n > 2 {
				t.Fatalf("%d are exact in minute %d", exact, n)
			}
		}
		if l := b.log.lines(); len(l) != 1 || l[0] != "" {
			t.Errorf("logged %q", l)
		}
		clear(b.strange)
		for range 11 {
			b.round()
		}
		if n := b.round(); n != 20 {
			t.Errorf("%d are exact once it belongs to all", n)
		}
	})
}

// Whatever comes between, an account is never locked: unless a phone's loss of its call
// server was taken for why it refused, and a password was changed meanwhile.
func TestNoAccountIsLockedWhateverComes(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			b := newBranch(1 + r.IntN(30))
			b.right = r.IntN(2) == 0
			for range 200 {
				switch r.IntN(12) {
				case 0:
					b.wan = !b.wan
					if b.hangs = r.IntN(2) == 0; b.right {
						b.away(!b.wan)
					}
				case 1:
					b.right = !b.right
				case 2:
					b.strange[b.phones[r.IntN(len(b.phones))].device] = r.IntN(2) == 0
				}
				var all sync.WaitGroup
				for _, n := range r.Perm(len(b.phones)) {
					all.Go(func() { b.visit(b.phones[n]) })
				}
				all.Wait()
				time.Sleep(time.Duration(r.IntN(300)) * time.Second)
				if b.locks() {
					t.Fatalf("seed %d: failed %v", seed, b.failed)
				}
			}
		})
	}
}

// What is told of a phone that does not let our user in, and of one that is not asked
// for it meanwhile.
func TestARefusedUserIsToldOfEachPhone(t *testing.T) {
	log := &logBook{}
	g := newGuard("pilot", slog.New(slog.NewTextHandler(log, nil)))
	first, second := visiting(t, "8845", "SEP0C1167AA0002", ours), visiting(t, "8845", "SEP0C1167AA0002", ours)
	first.guard, second.guard = g, g
	shown := first.f.refuses(401, 4)
	second.f.refuses(401, 4)
	for range 3 {
		for _, v := range []*visited{first, second} {
			facts, _ := v.visit()
			want := map[*visited]string{first: adviceUser, second: adviceHeld}[v]
			if v.trouble == nil || v.trouble.Reach != presence.Garbled || v.trouble.Detail != pathLines+": "+want || facts[sourceWeb].Calls == nil {
				t.Errorf("%+v, %+v", v.trouble, facts[sourceWeb])
			}
		}
	}
	if shown.Load() != 1 || len(log.lines()) != 1 {
		t.Errorf("shown %d times, logged %q", shown.Load(), log.lines())
	}
	first.f.odd.Clear()
	second.f.odd.Clear()
	g.until, g.last, g.refused = time.Time{}, time.Time{}, nil // as after a while: they are on SRST
	for _, v := range []*visited{second, first} {
		if facts, _ := v.visit(); v.trouble != nil || !facts[sourceWeb].Calls.Exact {
			t.Errorf("let in, and told %+v, %+v", v.trouble, facts[sourceWeb].Calls)
		}
	}
}

// The driver says once that a user is refused, with whom and what to do, and tells it of
// the phone at each change.
func TestARefusedUserIsLoggedOnce(t *testing.T) {
	f := &fakePhone{folder: "8845", user: "pilot:changed"}
	p := serve(t, f)
	p.Name = "SEP0C1167AA0002"
	b := run(t, Config{Phones: []Phone{p}, Web: 50 * time.Millisecond, Domain: "example.com", Credentials: ours}, nil)
	if o := b.Wait(t, 5*time.Second, from(sourceReachWeb)); !strings.HasSuffix(o.Reach.Detail, adviceUser) || o.Reach.Misses != 0 || o.Reach.Outcome != presence.Garbled {
		t.Errorf("reach %+v", o.Reach)
	}
	var last time.Time
	for range 3 {
		last = b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Source == sourceWeb && o.Seen.After(last) }).Seen
	}
	if l := b.log.lines(); len(l) != 1 || !strings.Contains(l[0], "user=pilot") || strings.Contains(l[0], "flight") || !strings.Contains(l[0], p.Name) {
		t.Errorf("logged %q", l)
	}
}
