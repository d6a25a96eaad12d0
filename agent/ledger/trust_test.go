package ledger

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"pilotlight/agent/ledger/internal/store"
	"pilotlight/agent/presence"
)

const (
	ann = presence.Presentity("sip:ann@example.com")
	age = 365 * 24 * time.Hour
)

func noTrust() (bool, string)  { return false, "the test says so" }
func allTrust() (bool, string) { return true, "" }

// life runs the store at path until the end of during.
func life(t *testing.T, path string, trusted func() (bool, string), during func(*Ledger)) {
	t.Helper()
	l, err := Open(Config{Path: path, Domain: "example.com", Commit: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	l.Trust(trusted)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = l.Run(ctx) }()
	during(l)
	stop()
	<-ended
}

func say(t *testing.T, l *Ledger, of presence.Presentity) {
	t.Helper()
	if _, _, err := l.Publish(t.Context(), busy(of)); err != nil { // for an hour
		t.Fatal(err)
	}
}

func known(t *testing.T, l *Ledger, of presence.Presentity) bool {
	t.Helper()
	docs, err := l.Documents(t.Context(), func(p presence.Presentity) bool { return p == of })
	if err != nil {
		t.Fatal(err)
	}
	return len(docs) == 1 && docs[0].Availability == presence.Busy
}

// step is t by a wall clock that was set meanwhile, as the kernel's: the
// monotonic reading stays. (A Time that has one keeps seconds in bits 30 to 62.)
func step(t time.Time, by time.Duration) time.Time {
	words := (*[2]uint64)(unsafe.Pointer(&t))
	words[0] += uint64(by/time.Second) << 30
	return t
}

// Acknowledged means kept: a clock that boots far ahead drops nothing.
func TestAPublicationOutlivesAClockThatIsNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store")
		life(t, path, nil, func(l *Ledger) { say(t, l, ann) })
		time.Sleep(30 * age) // as the clock at boot shows it
		for range 2 {
			life(t, path, noTrust, func(l *Ledger) {
				time.Sleep(59 * time.Minute)
				if !known(t, l, ann) {
					t.Error("dropped by the date")
				}
			})
		}
		var trusted atomic.Bool
		life(t, path, func() (bool, string) { return trusted.Load(), "" }, func(l *Ledger) {
			time.Sleep(time.Minute)
			if !known(t, l, ann) {
				t.Error("dropped before the clock was trusted")
			}
			trusted.Store(true)
			time.Sleep(doubtEvery + time.Second)
			if known(t, l, ann) {
				t.Error("kept by a clock that is trusted")
			}
		})
		life(t, path, noTrust, func(l *Ledger) {
			if known(t, l, ann) {
				t.Error("not dropped from the disk")
			}
		})
	})
}

// It never holds for longer than was granted, whatever the clock is.
func TestAPublicationEndsWithoutAClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store")
		life(t, path, nil, func(l *Ledger) { say(t, l, ann) })
		life(t, path, noTrust, func(l *Ledger) {
			time.Sleep(61 * time.Minute)
			if known(t, l, ann) {
				t.Error("an hour has become more")
			}
		})
	})
}

// What was said while the clock was wrong is dated anew once it is right, and
// until then no later start believes its date.
func TestWhatWasSaidByAWrongClockIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store")
		life(t, path, noTrust, func(l *Ledger) { say(t, l, ann) })
		time.Sleep(30 * age) // the clock was behind: what it wrote is long over by date
		life(t, path, allTrust, func(l *Ledger) {
			if !known(t, l, ann) {
				t.Fatal("dropped by the date of a clock that was wrong")
			}
			time.Sleep(30 * time.Minute)
		})
		time.Sleep(20 * time.Minute)
		life(t, path, allTrust, func(l *Ledger) {
			if !known(t, l, ann) {
				t.Error("not dated anew")
			}
			time.Sleep(11 * time.Minute)
			if known(t, l, ann) {
				t.Error("its hour is over")
			}
		})
	})
}

func TestDevicesAreNotForgottenByAClockThatIsNotTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store")
		life(t, path, nil, func(l *Ledger) {
			if err := l.Observe(t.Context(), idle("SEP1")); err != nil {
				t.Fatal(err)
			}
		})
		time.Sleep(30 * age)
		devices := func(l *Ledger) int {
			all, err := l.Devices(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return len(all)
		}
		life(t, path, noTrust, func(l *Ledger) {
			time.Sleep(2 * forgetGrace)
			if devices(l) != 1 {
				t.Error("forgotten by the date")
			}
			time.Sleep(forgetAfter)
			if devices(l) != 0 {
				t.Error("kept for more than a week of silence")
			}
		})
	})
}

// The clock boots thirty years off and is set while the ledger runs.
func TestWhenTheClockIsSetDatesBecomeTrueDistances(t *testing.T) {
	for name, off := range map[string]time.Duration{"ahead": 30 * age, "behind": -30 * age} {
		path := filepath.Join(t.TempDir(), "store")
		life(t, path, nil, func(l *Ledger) {
			say(t, l, ann)
			if err := l.Observe(t.Context(), idle("SEP1")); err != nil {
				t.Fatal(err)
			}
		})
		s, err := store.Open(store.Options{Path: path, Check: checkRecord})
		if err != nil {
			t.Fatal(err)
		}
		l := newLedger(Config{Domain: "example.com", Log: discard()}, s)
		l.opened, l.doubted = step(l.opened, off), true
		if err := l.load(s); err != nil {
			t.Fatal(err)
		}
		fresh := idle("SEP2")
		fresh.Seen = step(fresh.Seen, off)
		if err := l.observe(fresh.Seen, fresh); err != nil {
			t.Fatal(err)
		}
		if got := l.devices["SEP2"].seen[0].Seen; !got.After(l.devices["SEP1"].seen[0].Seen) {
			t.Errorf("%s: what was restored is newer than what is seen now", name)
		}
		now := time.Now()
		l.believe(now)
		l.settle(now)
		if said := l.entities[ann].said; len(said) != 1 || (time.Hour-said[0].Expires.Sub(now)).Abs() > time.Minute {
			t.Errorf("%s: what is left of the hour: %+v", name, said)
		}
		for _, d := range []string{"SEP1", "SEP2"} {
			seen := l.devices[d].seen[0].Seen
			if ago := now.Sub(seen); ago < 0 || ago > time.Minute {
				t.Errorf("%s: %s was seen %v ago", name, d, ago)
			}
			if ago := now.Round(0).Sub(seen.Round(0)); ago < 0 || ago > time.Minute {
				t.Errorf("%s: %s is dated %v", name, d, seen)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheStoreKnowsWhenItWasLastWrittenByATrueClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store")
		var written time.Time
		life(t, path, allTrust, func(l *Ledger) {
			if !l.Newest().IsZero() {
				t.Errorf("a new store: %v", l.Newest())
			}
			say(t, l, ann)
			written = time.Now()
		})
		time.Sleep(age)
		life(t, path, noTrust, func(l *Ledger) { say(t, l, "sip:bob@example.com") })
		life(t, path, noTrust, func(l *Ledger) {
			if d := l.Newest().Sub(written.Truncate(time.Second)); d < 0 || d > time.Second {
				t.Errorf("written %v, known as %v", written, l.Newest())
			}
		})
	})
}
