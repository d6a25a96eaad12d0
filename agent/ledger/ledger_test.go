package ledger_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	alice = presence.Presentity("sip:alice@example.com")
	line  = presence.Presentity("sip:1001@example.com")
	phone = "SEP0011AABBCCDD"
)

// configured is alice, who owns a phone and its line.
func configured() []presence.Observation {
	return []presence.Observation{
		{Source: "config", Of: alice, TTL: presence.Forever, Facts: presence.Facts{Person: &presence.Person{Name: "Alice Martin", Devices: []string{phone}, Lines: []string{"1001"}}}},
		{Source: "config", Device: phone, TTL: presence.Forever, Facts: presence.Facts{Identity: &presence.Identity{Lines: []string{"1001"}}}},
	}
}

// calls is what a source that sees each call says of a phone.
func calls(device string, state presence.LineState) presence.Observation {
	return presence.Observation{Source: "phone/web", Device: device, Seen: time.Now(), TTL: time.Minute,
		Facts: presence.Facts{Calls: &presence.Calls{Exact: true, Lines: []presence.Line{{Number: "1001", State: state}}}}}
}

func open(t testing.TB, path string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Path: path, Domain: "example.com", Static: configured()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// start runs l; stop ends it and waits.
func start(t testing.TB, l *ledger.Ledger) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func fresh(t testing.TB) *ledger.Ledger {
	t.Helper()
	l := open(t, filepath.Join(t.TempDir(), "store"))
	start(t, l)
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func document(t testing.TB, l *ledger.Ledger, of presence.Presentity) presence.Document {
	t.Helper()
	all, err := l.Documents(context.Background(), func(p presence.Presentity) bool { return p == of })
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("%d documents of %s", len(all), of)
	}
	return all[0]
}

func TestACallMakesItsOwnerBusyAndItsLine(t *testing.T) {
	l := fresh(t)
	must(t, l.Observe(t.Context(), calls(phone, presence.LineConfirmed)))
	for _, of := range []presence.Presentity{alice, line} {
		if d := document(t, l, of); d.Availability != presence.OnThePhone || d.Freshness != presence.Live || d.Name != "Alice Martin" {
			t.Errorf("%s: %+v", of, d)
		}
	}
	must(t, l.Observe(t.Context(), calls(phone, presence.LineIdle)))
	if d := document(t, l, alice); d.Availability != presence.Available {
		t.Errorf("after the call: %+v", d)
	}
}

// A light never lies: silence alone turns a state to last known, at its time.
func TestSilenceTurnsAStateToLastKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, filepath.Join(t.TempDir(), "store"))
		stop := start(t, l)
		defer stop()
		must(t, l.Observe(t.Context(), calls(phone, presence.LineIdle)))
		f, err := l.Follow(t.Context(), func(p presence.Presentity) bool { return p == alice })
		must(t, err)
		d, err := f.Next(t.Context())
		must(t, err)
		if d.Availability != presence.Available || d.Freshness != presence.Live {
			t.Fatalf("before: %+v", d)
		}
		told, rev := time.Now(), d.Rev
		d, err = f.Next(t.Context()) // nobody says anything
		must(t, err)
		if d.Freshness == presence.Live || d.Availability == presence.Available || time.Since(told) != time.Minute || d.Rev.Compare(rev) <= 0 {
			t.Fatalf("after %v: %+v", time.Since(told), d)
		}
	})
}
