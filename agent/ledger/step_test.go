package ledger

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pilotlight/agent/clock"
	"pilotlight/agent/ledger/internal/store"
	"pilotlight/agent/presence"
)

// onDisk is a ledger that runs nothing: what it does is done at moments of the test.
func onDisk(t *testing.T, path string) *Ledger {
	t.Helper()
	s, err := store.Open(store.Options{Path: path, Check: checkRecord})
	if err != nil {
		t.Fatal(err)
	}
	l := newLedger(Config{Domain: "example.com", Log: discard()}, s)
	if err := l.load(s); err != nil {
		t.Fatal(err)
	}
	return l
}

// shut writes and closes it as the end of Run does.
func shut(t *testing.T, l *Ledger, now time.Time) {
	t.Helper()
	filed := make(chan error, 1)
	go func() { filed <- l.file() }()
	l.stepped(now)
	l.saveRepeats()
	if err := l.finish(now.Round(0)); err != nil {
		t.Fatal(err)
	}
	if err := <-filed; err != nil {
		t.Fatal(err)
	}
}

// The wall clock is set by an hour while a phone is being polled. What is told,
// for how long, how old it is said to be and when it happened follow the time that
// passed; dates follow the clock as it is.
func TestAStepOfTheClockDuringAPoll(t *testing.T) {
	for name, by := range map[string]time.Duration{"an hour ahead": time.Hour, "an hour back": -time.Hour, "not at all": 0} {
		t.Run(name, func(t *testing.T) {
			l := onDisk(t, filepath.Join(t.TempDir(), "store"))
			defer l.Close()
			before := func(d time.Duration) time.Time { return l.opened.Add(d) }
			after := func(d time.Duration) time.Time { return step(l.opened.Add(d), by) }
			poll := func(asked, told time.Time, state presence.LineState) {
				t.Helper()
				o := idle("SEP1")
				o.Source, o.Seen, o.TTL = "phone/web", asked, 100*time.Second
				o.Facts = presence.Facts{Reach: &presence.Reach{Outcome: presence.Answered, Via: "web"},
					Calls: &presence.Calls{Exact: true, Lines: []presence.Line{{Number: "1001", State: state}}}}
				l.stepped(told)
				if err := l.observe(told, o); err != nil {
					t.Fatal(err)
				}
				l.settle(told)
			}
			is := func(now time.Time, state presence.DeviceState, fresh presence.Freshness, age string) {
				t.Helper()
				l.ring(now)
				l.settle(now)
				d := l.devices["SEP1"].now
				if d.State != state || d.Freshness != fresh || len(d.Because) == 0 || !strings.Contains(d.Because[0].Text(now), age) {
					t.Errorf("%s, %s, %v; want %s, %s, %s", d.State, d.Freshness, d.Because, state, fresh, age)
				}
				if ahead := d.AsOf.Sub(now); ahead > 0 {
					t.Errorf("as of %v from now", ahead)
				}
			}
			l.believe(l.opened)
			poll(before(0), before(time.Second), presence.LineIdle)
			is(before(30*time.Second), presence.Idle, presence.Live, "30s ago")

			poll(before(60*time.Second), after(62*time.Second), presence.LineConfirmed) // asked by one clock, told by the other
			is(after(62*time.Second), presence.InUse, presence.Live, "2s ago")
			poll(before(59*time.Second), after(63*time.Second), presence.LineIdle) // an answer that comes late is the older word
			is(after(64*time.Second), presence.InUse, presence.Live, "4s ago")
			is(after(159*time.Second), presence.InUse, presence.Live, "")
			is(after(161*time.Second), presence.InUse, presence.LastKnown, presence.Age(101*time.Second)+" ago")
			if at := l.alarms.next(); !at.IsZero() && at.Before(after(161*time.Second)) {
				t.Errorf("an alarm is left at %v", at)
			}
			poll(after(170*time.Second), after(171*time.Second), presence.LineIdle) // its date may be before the one of before
			is(after(172*time.Second), presence.Idle, presence.Live, "2s ago")

			ring := l.devices["SEP1"].ring
			if len(ring) != 2 {
				t.Fatalf("history: %+v", ring)
			}
			for i, want := range []time.Duration{62 * time.Second, 171 * time.Second} {
				if date := ring[i].At.Round(0).Sub(after(want).Round(0)); date.Abs() > time.Millisecond || ring[i].At.Sub(after(want)) != 0 {
					t.Errorf("%s is dated %v off, and counts %v off", ring[i].To, date, ring[i].At.Sub(after(want)))
				}
			}
		})
	}
}

// The panel's clock dates by the distance from now, whatever a moment's own date is.
func TestADateIsThatOfTheClockAsItIs(t *testing.T) {
	c := clock.New(time.Time{})
	seen := time.Now()
	for _, by := range []time.Duration{0, time.Hour, -time.Hour} {
		if off := time.Until(c.Wall(step(seen, by))); off > 0 || off < -time.Minute {
			t.Errorf("stepped by %v: %v off", by, off)
		}
	}
}

// What was written before the clock was set is dated by the new one on disk: a
// publication holds for what is left of its time over a restart, no less and no
// more, and who was seen first is not seen last.
func TestWhatIsOnDiskFollowsAClockThatIsSet(t *testing.T) {
	for name, by := range map[string]time.Duration{"two hours ahead": 2 * time.Hour, "half an hour back": -30 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store")
			l := onDisk(t, path)
			// It started ten minutes ago, by a clock that was wrong.
			now := time.Now()
			before := func(ago time.Duration) time.Time { return step(now.Add(-ago), -by) }
			l.opened = before(10 * time.Minute)
			l.believe(l.opened)
			say := func(at time.Time, device string) {
				o := idle(device)
				o.Seen = at
				if err := l.observe(at, o); err != nil {
					t.Fatal(err)
				}
				l.settle(at)
			}
			say(before(9*time.Minute), "SEP1") // and was silent from then on
			say(before(9*time.Minute), "SEP2")
			if _, _, err := l.publish(before(9*time.Minute), busy(ann)); err != nil { // for an hour
				t.Fatal(err)
			}
			l.settle(before(8 * time.Minute))
			l.stepped(now.Add(-time.Minute)) // now it is right
			say(now.Add(-time.Minute), "SEP2")
			shut(t, l, now)

			l = onDisk(t, path)
			defer l.Close()
			now = time.Now()
			l.believe(now)
			l.settle(now)
			var said []standing
			if e := l.entities[ann]; e != nil {
				said = e.said
			}
			if len(said) != 1 || (51*time.Minute-said[0].Expires.Sub(now)).Abs() > 10*time.Second {
				t.Errorf("what is left of the hour: %+v", said)
			}
			for device, ago := range map[string]time.Duration{"SEP1": 9 * time.Minute, "SEP2": time.Minute} {
				d := l.devices[device]
				if age := now.Sub(d.now.AsOf); (age - ago).Abs() > 10*time.Second {
					t.Errorf("%s: as of %v ago, want %v", device, age, ago)
				}
				if since := now.Round(0).Sub(d.since.at.Round(0)); (since - 9*time.Minute).Abs() > 10*time.Second {
					t.Errorf("%s: so since %v", device, since)
				}
			}
		})
	}
}

// A clock that was ahead when the agent last ran: nothing has come to be tomorrow.
func TestNothingIsSinceTomorrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	l := onDisk(t, path)
	ahead := step(time.Now(), 24*time.Hour)
	l.opened = ahead
	l.believe(ahead)
	o := idle("SEP1")
	o.Seen = ahead
	if err := l.observe(ahead, o); err != nil {
		t.Fatal(err)
	}
	l.settle(ahead)
	shut(t, l, ahead)

	l = onDisk(t, path)
	defer l.Close()
	now := time.Now()
	l.believe(now)
	o.Seen = now
	if err := l.observe(now, o); err != nil {
		t.Fatal(err)
	}
	l.settle(now)
	if d := l.devices["SEP1"].now; d.AsOf.After(now) || d.Since.Round(0).After(now.Round(0)) || d.Freshness != presence.Live {
		t.Errorf("%s, as of %v from now, since %v from now", d.Freshness, d.AsOf.Sub(now), d.Since.Sub(now))
	}
}
