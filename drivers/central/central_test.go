package central

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pilotlight/agent"
	"pilotlight/agent/agenttest"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/drivers/internal/pidf"
	"pilotlight/drivers/internal/sip"
)

func testLog(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func config() Config {
	c, err := Entry{Name: "hq", Kind: "sip", Target: "sip:127.0.0.1:5060;transport=tcp"}.Resolve(nil)
	if err != nil {
		panic(err)
	}
	return c
}

// timed runs f in a bubble where time is made, with a driver over a compositor
// that is asked directly.
func timed(t *testing.T, c Config, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		far := newCompositor()
		f(t, started(t, c, newStore(), far, far))
	})
}

// says is what the one publication that stands for a presentity says.
func (b *bench) says(t *testing.T, of presence.Presentity) presence.Availability {
	t.Helper()
	bodies := b.far.standing(string(of))
	if len(bodies) != 1 {
		t.Fatalf("%d publications stand for %s, want 1", len(bodies), of)
	}
	p, err := pidf.Parse([]byte(bodies[0]))
	if err != nil {
		t.Fatal(err)
	}
	return p.Availability()
}

// settle lets time pass until nothing happens in this moment any more.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestPublishesAndModifies(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		alice := b.say("alice", presence.Available)
		settle(time.Second)
		b.say("alice", presence.OnThePhone)
		settle(2 * time.Second)
		if got := b.says(t, alice); got != presence.OnThePhone {
			t.Errorf("far side has %s", got)
		}
		if got := b.far.kinds(); !slices.Equal(got, []string{"initial", "modify"}) {
			t.Errorf("asked %v", got)
		}
		st := b.status()
		if st.Mode != relay.Connected || st.Pending != 0 || st.LastAcknowledged.IsZero() || st.RoundTrip == 0 || st.Kind != "sip" {
			t.Errorf("status %+v", st)
		}
	})
}

// TestAPublicationNeverLapses: refreshed before its end, without a body, for hours.
func TestAPublicationNeverLapses(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		alice := b.say("alice", presence.Busy)
		for range 100 {
			settle(5 * time.Minute)
			b.says(t, alice)
		}
		kinds := b.far.kinds()
		if kinds[0] != "initial" || slices.ContainsFunc(kinds[1:], func(k string) bool { return k != "refresh" }) || len(kinds) > 12 {
			t.Errorf("asked %v", kinds)
		}
	})
}

// TestARestartPilesNothingUp: the entity-tag is in the drawer, so that what
// stands is modified where it changed and refreshed where it did not.
func TestARestartPilesNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, s := newCompositor(), newStore()
		b := started(t, config(), s, far, far)
		alice, bob := b.say("alice", presence.Available), b.say("bob", presence.Busy)
		settle(time.Second)
		if err := b.stop(); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		s.epoch++
		s.say("alice", presence.Away)
		b = started(t, config(), s, far, far)
		settle(time.Minute)
		if a, o := b.says(t, alice), b.says(t, bob); a != presence.Away || o != presence.Busy {
			t.Error(a, o)
		}
		if got := far.kinds(); !slices.Equal(got, []string{"initial", "initial", "modify", "refresh"}) {
			t.Errorf("asked %v", got)
		}
	})
}

// TestALostTagBeginsAnew: 412 is answered by an initial PUBLISH, to a modify at
// once, to a refresh with the latest document (RFC 3903 §4.3, §4.4).
func TestALostTagBeginsAnew(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		alice := b.say("alice", presence.Available)
		settle(time.Second)
		forgetAll := func() { b.far.set(func() { clear(b.far.tags) }) }
		forgetAll()
		b.say("alice", presence.Busy)
		settle(time.Second)
		if got := b.says(t, alice); got != presence.Busy {
			t.Error(got)
		}
		forgetAll()
		settle(time.Hour)
		if got := b.says(t, alice); got != presence.Busy {
			t.Error(got)
		}
		if got := b.far.kinds(); !slices.Equal(got, []string{"initial", "modify", "initial", "refresh", "initial"}) {
			t.Errorf("asked %v", got)
		}
	})
}

// TestAnotherServerInItsPlace: one that says 500 to tags that it never gave.
func TestAnotherServerInItsPlace(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		alice, bob := b.say("alice", presence.Available), b.say("bob", presence.Away)
		settle(time.Second)
		b.far.set(func() {
			clear(b.far.tags)
			b.far.answer = func(q ask) (reply, bool) {
				tag := q.head.Get("Sip-If-Match")
				return reply{500, nil}, tag == "e1" || tag == "e2"
			}
		})
		b.say("alice", presence.Busy)
		settle(time.Hour)
		if a, o := b.says(t, alice), b.says(t, bob); a != presence.Busy || o != presence.Away {
			t.Error(a, o)
		}
	})
}

func TestMinExpiresIsTaken(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		b.far.set(func() { b.far.least = 7200 })
		alice, bob := b.say("alice", presence.Busy), b.say("bob", presence.Busy)
		settle(time.Second)
		b.says(t, alice)
		b.says(t, bob)
		if n := len(b.far.kinds()); n != 3 {
			t.Errorf("%d requests: the longer time is to be remembered", n)
		}
	})
}

// TestPatienceIsGiven: Retry-After stops the whole lane, probes too, and then all goes up.
func TestPatienceIsGiven(t *testing.T) {
	for _, status := range []int{503, 500, 480} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			timed(t, config(), func(t *testing.T, b *bench) {
				b.say("alice", presence.Available)
				settle(2 * time.Second)
				b.far.set(func() {
					b.far.answer = func(q ask) (reply, bool) {
						return reply{status, map[string]string{"Retry-After": "120 (busy)"}}, q.method == "PUBLISH"
					}
				})
				b.say("alice", presence.Busy)
				settle(2 * time.Second)
				if st := b.status(); st.Mode != relay.Degraded || !strings.Contains(st.Why, fmt.Sprint(status)) || st.Pending != 1 {
					t.Errorf("status %+v", st)
				}
				before := b.far.asked()
				b.far.set(func() { b.far.answer = nil })
				bob := b.say("bob", presence.Away)
				settle(110 * time.Second)
				if n := b.far.asked(); n != before {
					t.Errorf("%d requests during the wait", n-before)
				}
				settle(20 * time.Second)
				if got := b.says(t, bob); got != presence.Away || b.status().Mode != relay.Connected {
					t.Error(got, b.status())
				}
			})
		})
	}
}

// TestOneInTroubleWaitsAlone: a presentity that the far side fails on doesn't hold up the others.
func TestOneInTroubleWaitsAlone(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		b.far.set(func() {
			b.far.answer = func(q ask) (reply, bool) { return reply{500, nil}, strings.Contains(q.uri, "carol") }
		})
		b.say("carol", presence.Busy)
		settle(time.Second)
		alice := b.say("alice", presence.Busy)
		settle(100 * time.Millisecond)
		b.says(t, alice)
		settle(2 * time.Minute)
		if n := len(b.far.kinds()); n > 12 {
			t.Errorf("%d requests in 2 minutes: no back-off", n)
		}
		if st := b.status(); st.Pending != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// TestARefusedPresentityIsAskedAgainAtItsNextChange, and only then.
func TestARefusedPresentityIsAskedAgainAtItsNextChange(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		b.far.set(func() {
			b.far.answer = func(q ask) (reply, bool) { return reply{404, nil}, strings.Contains(q.uri, "carol") }
		})
		b.say("carol", presence.Busy)
		settle(time.Hour)
		if st := b.status(); len(b.far.kinds()) != 1 || !strings.Contains(st.Why, "1 presentities are refused") {
			t.Errorf("%v %+v", b.far.kinds(), st)
		}
		b.far.set(func() { b.far.answer = nil })
		carol := b.say("carol", presence.Away)
		settle(2 * time.Second)
		if got := b.says(t, carol); got != presence.Away || b.status().Why != "" {
			t.Error(got, b.status())
		}
	})
}

// TestAnIslandIsFoundAndLeft: no traffic at all, the far side falls silent; the
// mode says so within 15 s, nothing but probes goes out, and on the return the
// driver waits inside its window before it hands over the latest.
func TestAnIslandIsFoundAndLeft(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		alice := b.say("alice", presence.Available)
		settle(30 * time.Second)
		b.far.set(func() { b.far.gone = true })
		settle(15 * time.Second)
		if st := b.status(); st.Mode != relay.Island {
			t.Fatalf("after 15 s: %+v", st)
		}
		published := len(b.far.kinds())
		for range 100 {
			b.say("alice", presence.Busy)
			b.say("alice", presence.OnThePhone)
			settle(6 * time.Second)
		}
		if n := len(b.far.kinds()); n != published {
			t.Errorf("%d PUBLISH on the island", n-published)
		}
		if st := b.status(); st.Pending != 1 {
			t.Errorf("%+v", st)
		}
		b.far.set(func() { b.far.gone = false })
		settle(40 * time.Second) // half of the window of 90 s is 45 s
		if st := b.status(); st.Mode != relay.Resync || len(b.far.kinds()) != published {
			t.Errorf("%+v", st)
		}
		settle(12 * time.Second)
		if got := b.says(t, alice); got != presence.OnThePhone || b.status().Mode != relay.Connected {
			t.Error(got, b.status())
		}
		if n := len(b.far.kinds()); n != published+1 {
			t.Errorf("%d PUBLISH for 200 changes", n-published)
		}
	})
}

// TestASlowAnswerIsStillTaken: a far side that hangs for a while and then does
// what it was asked. Its answer holds the entity-tag, without which what it did
// would stand for an hour beside what we say next.
func TestASlowAnswerIsStillTaken(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		b.say("alice", presence.Available)
		settle(time.Second)
		b.far.set(func() { b.far.delay = 25 * time.Second })
		b.say("alice", presence.Busy)
		settle(15 * time.Second)
		if st := b.status(); st.Mode == relay.Connected || st.Pending != 1 {
			t.Errorf("it hangs: %+v", st)
		}
		alice := b.say("alice", presence.Away)
		b.far.set(func() { b.far.delay = 0 })
		settle(2 * time.Minute)
		if got := b.says(t, alice); got != presence.Away || b.status().Mode != relay.Connected {
			t.Error(got, b.status())
		}
	})
}

// TestAReturnWithoutAWindow: 0 goes at once.
func TestAReturnWithoutAWindow(t *testing.T) {
	c := config()
	c.ReturnWindow = 0
	timed(t, c, func(t *testing.T, b *bench) {
		b.far.set(func() { b.far.gone = true })
		alice := b.say("alice", presence.Busy)
		settle(time.Minute)
		b.far.set(func() { b.far.gone = false })
		settle(5 * time.Second)
		b.says(t, alice)
	})
}

// TestWhatExpiredDuringTheOutageIsBroughtBack, whole and without asking for the old tag.
func TestWhatExpiredDuringTheOutageIsBroughtBack(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		alice := b.say("alice", presence.Busy)
		settle(time.Second)
		b.far.set(func() { b.far.gone = true })
		settle(3 * time.Hour)
		b.far.set(func() { b.far.gone = false })
		settle(2 * time.Minute)
		b.says(t, alice)
		if got := b.far.kinds(); !slices.Equal(got, []string{"initial", "initial"}) {
			t.Errorf("asked %v", got)
		}
	})
}

// TestTheWindow: never more than 16 under way, never two of one presentity, and
// each ends at its latest state.
func TestTheWindow(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		b.far.set(func() { b.far.delay = 300 * time.Millisecond })
		for round := range 5 {
			for i := range 100 {
				b.say(fmt.Sprint("u", i), []presence.Availability{presence.Busy, presence.Away}[round%2])
			}
			settle(700 * time.Millisecond)
		}
		settle(time.Minute)
		for i := range 100 {
			if got := b.says(t, presence.At(fmt.Sprint("u", i), "example.com")); got != presence.Busy {
				t.Fatalf("u%d: %s", i, got)
			}
		}
		b.far.set(func() {
			if b.far.twice || b.far.most > 17 || b.far.most < 16 { // 16 and a probe
				t.Errorf("twice %v, most %d", b.far.twice, b.far.most)
			}
		})
	})
}

// TestARefusedPasswordIsPermanent: one try, and the board says why.
func TestARefusedPasswordIsPermanent(t *testing.T) {
	for _, status := range []int{401, 407} {
		timed(t, config(), func(t *testing.T, b *bench) {
			b.far.set(func() {
				b.far.answer = func(q ask) (reply, bool) { return reply{status, nil}, q.method == "PUBLISH" }
			})
			for i := range 50 {
				b.say(fmt.Sprint("u", i), presence.Busy)
			}
			settle(time.Minute)
			if n := len(b.far.kinds()); n != 1 {
				t.Errorf("%d tries with a refused password", n)
			}
			if st := b.status(); st.Mode != relay.Island || !strings.Contains(st.Why, fmt.Sprint(status)) {
				t.Errorf("%+v", st)
			}
			if err := b.stop(); !agent.IsPermanent(err) {
				t.Errorf("Run returned %v", err)
			}
		})
	}
}

// TestForbiddenFromTheStartIsPermanent: some servers say 403 to a wrong password.
func TestForbiddenFromTheStartIsPermanent(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		b.far.set(func() {
			b.far.answer = func(q ask) (reply, bool) { return reply{403, nil}, q.method == "PUBLISH" }
		})
		for i := range 50 {
			b.say(fmt.Sprint("u", i), presence.Busy)
		}
		settle(time.Minute)
		if err := b.stop(); !agent.IsPermanent(err) || len(b.far.kinds()) != 3 {
			t.Errorf("%d tries, then %v", len(b.far.kinds()), err)
		}
	})
}

func TestDevicesThatNobodyOwnsStayHere(t *testing.T) {
	timed(t, config(), func(t *testing.T, b *bench) {
		dev := b.tell(presence.Document{Of: "sip:SEP001122334455@example.com", Kind: presence.KindDevice, Availability: presence.Available, Freshness: presence.Live})
		line := b.tell(presence.Document{Of: "sip:1001@example.com", Kind: presence.KindLine, Availability: presence.Available, Freshness: presence.Live})
		settle(2 * time.Second)
		if len(b.far.standing(string(dev))) != 0 || b.status().Pending != 0 {
			t.Error("published, or pending for ever")
		}
		b.says(t, line)
	})
}

func TestWithdrawRemovesAtTheStop(t *testing.T) {
	c := config()
	for _, c.Withdraw = range []bool{true, false} {
		timed(t, c, func(t *testing.T, b *bench) {
			alice := b.say("alice", presence.Busy)
			settle(time.Second)
			_ = b.stop()
			if n := len(b.far.standing(string(alice))); (n == 0) != c.Withdraw {
				t.Errorf("withdraw %v: %d publications stand", c.Withdraw, n)
			}
		})
	}
}

func TestSuite(t *testing.T) {
	agenttest.Suite(t, func(t *testing.T, _ *agenttest.Recorder) agent.Driver {
		s := newStore()
		s.say("alice", presence.Busy)
		far := newCompositor()
		far.gone = true
		d, err := New(config(), relay.NewLane("hq", s, nil), s.Drawer("etags"), far, relay.NewUplinks(), testLog(t))
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

func TestEntriesAreChecked(t *testing.T) {
	ok := Entry{Name: "hq", Kind: "sip", Target: "sip:127.0.0.1:5060"}
	with := func(f func(*Entry)) Entry { e := ok; f(&e); return e }
	for want, e := range map[string]Entry{
		"":                       ok,
		"no uplink of kind nats": with(func(e *Entry) { e.Kind = "nats" }),
		"no uplink of kind xmpp": with(func(e *Entry) { e.Kind = "xmpp" }),
		`kind "carrier pigeon"`:  with(func(e *Entry) { e.Kind = "carrier pigeon" }),
		"uplink name":            with(func(e *Entry) { e.Name = "a/b" }),
		"target":                 with(func(e *Entry) { e.Target = "10.0.0.5" }),
		";transport=udp":         with(func(e *Entry) { e.Target = "sip:127.0.0.1;transport=sctp" }),
		"expires":                with(func(e *Entry) { e.Expires = time.Second }),
		"return_window":          with(func(e *Entry) { d := -time.Second; e.ReturnWindow = &d }),
		"come together":          with(func(e *Entry) { e.Username = "u" }),
		"publish":                with(func(e *Entry) { e.Publish = []presence.Kind{"cat"} }),
		"no such file":           with(func(e *Entry) { e.Username, e.PasswordFile = "u", "x" }),
	} {
		_, err := e.Resolve(func(string) (string, error) { return "", errors.New("no such file") })
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	c := config()
	c.Credentials = sip.Credentials{Username: "branch", Password: "hunter2"}
	var out bytes.Buffer
	d, err := New(c, relay.NewLane("hq", newStore(), nil), nil, newCompositor(), relay.NewUplinks(), slog.New(slog.NewJSONHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	d.log.Info("config", "config", d.c)
	fmt.Fprintf(&out, "%v %+v %#v", d.c, d.c, d.c.Credentials)
	if strings.Contains(out.String(), "hunter2") {
		t.Error(out.String())
	}
}
