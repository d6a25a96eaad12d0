package central

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

// nobody asserts that nothing stands for of, and that nothing of it is kept here.
func (b *bench) nobody(t *testing.T, of presence.Presentity) {
	t.Helper()
	if all := b.far.standing(string(of)); len(all) != 0 {
		t.Errorf("%d publications stand for %s", len(all), of)
	}
	for _, key := range b.keys() {
		if strings.HasSuffix(key, string(of)) {
			t.Errorf("kept: %s", key)
		}
	}
	if st := b.status(); st.Mode != relay.Connected || st.Pending != 0 || st.Why != "" {
		t.Errorf("status %+v", st)
	}
}

// TestWhoIsGoneIsRemovedThere at once, is nobody for good, and begins anew when
// she comes back.
func TestWhoIsGoneIsRemovedThere(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		alice, bob := b.say("alice", presence.Available), b.say("bob", presence.Busy)
		settle(time.Second)
		b.leave(alice)
		settle(2 * time.Second)
		b.nobody(t, alice)
		if got := b.far.kinds(); !slices.Equal(got, []string{"initial", "initial", "remove"}) {
			t.Errorf("asked %v", got)
		}
		settle(24 * time.Hour)
		b.nobody(t, alice)
		b.says(t, bob)
		b.say("alice", presence.Away)
		for range 30 {
			settle(10 * time.Minute)
			if got := b.says(t, alice); got != presence.Away {
				t.Fatal(got)
			}
		}
	})
}

// TestWhatIsNotPublishedAnyMoreIsRemovedThere: a line that becomes a device that
// nobody owns.
func TestWhatIsNotPublishedAnyMoreIsRemovedThere(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		d := presence.Document{Of: "sip:1001@example.com", Kind: presence.KindLine, Availability: presence.Available, Freshness: presence.Live}
		b.tell(d)
		settle(time.Second)
		b.says(t, d.Of)
		d.Kind = presence.KindDevice
		b.tell(d)
		settle(2 * time.Second)
		if n := len(b.far.standing(string(d.Of))); n != 0 || b.status().Pending != 0 {
			t.Errorf("%d stand, %+v", n, b.status())
		}
	})
}

// TestWhoWentDuringAStopIsRemovedAtTheStart: removed from the configuration, or
// of a kind that is not published any more; whether the cursor was on disk or not.
func TestWhoWentDuringAStopIsRemovedAtTheStart(t *testing.T) {
	for name, meanwhile := range map[string]func(s *store, c *Config, alice presence.Presentity){
		"gone":              func(s *store, _ *Config, alice presence.Presentity) { s.leave(alice) },
		"gone, cursor lost": func(s *store, _ *Config, alice presence.Presentity) { s.leave(alice); clear(s.files["cursors"].values) },
		"of another kind":   func(s *store, c *Config, _ presence.Presentity) { c.Publish = []presence.Kind{presence.KindLine} },
		"gone, and nothing up": func(s *store, _ *Config, alice presence.Presentity) {
			s.leave(alice)
			s.files["etags"].values["hq/"+string(alice)] = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				far, s, c := newCompositor(), newStore(), config()
				b := started(t, c, s, far, far)
				alice := b.say("alice", presence.Available)
				b.tell(presence.Document{Of: "sip:1001@example.com", Kind: presence.KindLine, Availability: presence.Busy, Freshness: presence.Live})
				settle(time.Second)
				_ = b.stop()
				meanwhile(s, &c, alice)
				if name == "gone, and nothing up" {
					far.set(func() { delete(far.tags, string(alice)) })
				}
				b = started(t, c, s, far, far)
				settle(20 * time.Second)
				if n := len(far.standing(string(alice))); n != 0 {
					t.Errorf("%d publications stand", n)
				}
				if tags := s.files["etags"].values; len(tags) != 1 {
					t.Errorf("entity-tags kept: %q", tags)
				}
				b.says(t, "sip:1001@example.com")
				if b.status().Pending != 0 {
					t.Errorf("%+v", b.status())
				}
			})
		})
	}
}

// TestARemovalThatMeetsTrouble ends with nobody all the same, and never with an
// uplink that is stuck.
func TestARemovalThatMeetsTrouble(t *testing.T) {
	remove := func(status int, times int) func(ask) (reply, bool) {
		return func(q ask) (reply, bool) {
			hit := q.kind() == "remove" && times > 0
			if hit {
				times--
			}
			return reply{status, nil}, hit
		}
	}
	for name, c := range map[string]struct {
		answer func(ask) (reply, bool)
		stands bool // until it expires
	}{
		"no answer, twice":         {answer: remove(0, 2)},
		"forgotten there":          {answer: remove(412, 9), stands: true}, // says the test's far side, and has it
		"a tag that it never gave": {answer: remove(500, 9), stands: true},
		"patience":                 {answer: remove(503, 1)},
		"refused":                  {answer: remove(403, 9), stands: true},
	} {
		t.Run(name, func(t *testing.T) {
			timed(t, config(), func(t *testing.T, b *bench) {
				alice := b.say("alice", presence.Available)
				settle(time.Second)
				b.far.set(func() { b.far.answer = c.answer })
				b.leave(alice)
				settle(10 * time.Minute)
				if n := len(b.far.standing(string(alice))); (n == 1) != c.stands {
					t.Errorf("%d publications stand", n)
				}
				settle(2 * time.Hour)
				b.nobody(t, alice)
			})
		})
	}
}

// TestWhoGoesDuringAnOutage is removed when it is over; what has expired by then
// is not asked for.
func TestWhoGoesDuringAnOutage(t *testing.T) {
	for outage, want := range map[time.Duration]int{10 * time.Minute: 1, 3 * time.Hour: 0} {
		timed(t, config(), func(t *testing.T, b *bench) {
			alice := b.say("alice", presence.Available)
			settle(time.Second)
			b.far.set(func() { b.far.gone = true })
			settle(time.Minute)
			b.leave(alice)
			settle(outage)
			b.far.set(func() { b.far.gone = false })
			settle(2 * time.Minute)
			b.nobody(t, alice)
			if n := len(b.far.kinds()) - 1; n != want {
				t.Errorf("after %v: %v", outage, b.far.kinds())
			}
		})
	}
}

// TestWhoWasRefusedAndIsGoneIsNotCounted.
func TestWhoWasRefusedAndIsGoneIsNotCounted(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		b.far.set(func() {
			b.far.answer = func(q ask) (reply, bool) { return reply{404, nil}, q.method == "PUBLISH" }
		})
		carol := b.say("carol", presence.Busy)
		settle(2 * time.Second)
		if b.status().Why == "" {
			t.Error("not counted")
		}
		b.leave(carol)
		settle(2 * time.Second)
		b.nobody(t, carol)
	})
}
