package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
)

func TestAtOnceAfterAStartTheLastKnownStateIsThereWithItsAge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	l := open(t, path)
	stop := start(t, l)
	told := calls(phone, presence.LineConfirmed)
	must(t, l.Observe(t.Context(), told))
	before := document(t, l, alice)
	epoch, id := l.Epoch(), l.ID()
	stop()

	l = open(t, path)
	start(t, l)
	d := document(t, l, alice)
	if d.Availability != presence.OnThePhone || d.Freshness != presence.LastKnown {
		t.Errorf("restored: %+v", d)
	}
	if !d.AsOf.Equal(told.Seen.Truncate(time.Microsecond)) || !d.Since.Equal(before.Since.Truncate(time.Microsecond)) {
		t.Errorf("as of %v since %v, was %v %v", d.AsOf, d.Since, told.Seen, before.Since)
	}
	if l.Epoch() != epoch+1 || l.ID() != id || d.Rev.Compare(before.Rev) <= 0 {
		t.Errorf("epoch %d, rev %v; were %d, %v", l.Epoch(), d.Rev, epoch, before.Rev)
	}
	must(t, l.Observe(t.Context(), calls(phone, presence.LineConfirmed)))
	if again := document(t, l, alice); again.Freshness != presence.Live || !again.Since.Equal(d.Since) {
		t.Errorf("told again: %+v", again)
	}
}

func TestWhatTheConfigurationSaysIsLiveAndNotStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	stop := start(t, open(t, path))
	stop()
	l, err := ledger.Open(ledger.Config{Path: path, Domain: "example.com"}) // all taken out
	must(t, err)
	start(t, l)
	docs, err := l.Documents(t.Context(), nil)
	devices, err2 := l.Devices(t.Context())
	must(t, errors.Join(err, err2))
	if len(docs)+len(devices) != 0 {
		t.Errorf("left: %+v %+v", docs, devices)
	}
}

func TestHistoryTellsTheTurnsAndSurvives(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	l := open(t, path)
	stop := start(t, l)
	for i := range 200 {
		must(t, l.Observe(t.Context(), calls(phone, []presence.LineState{presence.LineIdle, presence.LineConfirmed}[i%2])))
	}
	check := func(when string) {
		t.Helper()
		events, err := l.History(t.Context(), phone)
		must(t, err)
		if len(events) != 64 {
			t.Fatalf("%s: %d events", when, len(events))
		}
		for i, e := range events {
			if i > 0 && (e.At.Before(events[i-1].At) || e.From != events[i-1].To) || e.From == e.To || !strings.Contains(e.Why, "phone/web") {
				t.Errorf("%s, %d: %+v", when, i, e)
			}
		}
	}
	check("told")
	stop()
	l = open(t, path)
	stop = start(t, l)
	check("restarted")
	must(t, l.Observe(t.Context(), calls(phone, presence.LineIdle)))
	check("told again")
	stop()
	if none, err := l.History(t.Context(), "nobody"); err == nil || none != nil {
		t.Errorf("after the end: %v %v", none, err)
	}
}

func TestAfterAWeekOfSilenceADeviceIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store")
		l := open(t, path)
		stop := start(t, l)
		o := calls("SEPGONE", presence.LineIdle)
		o.Calls = nil
		o.Reach = &presence.Reach{Outcome: presence.Answered}
		must(t, l.Observe(t.Context(), o))
		must(t, l.Observe(t.Context(), calls(phone, presence.LineIdle)))
		time.Sleep(6*24*time.Hour + 23*time.Hour)
		stop() // a restart in between does not begin the week anew

		l = open(t, path)
		stop = start(t, l)
		board, err := l.FollowDevices(t.Context())
		must(t, err)
		people, err := l.Follow(t.Context(), func(p presence.Presentity) bool { return p.User() == "SEPGONE" })
		must(t, err)
		if d, ok := people.TryNext(); !ok || d.Kind != presence.KindDevice {
			t.Errorf("before: %v %+v", ok, d)
		}
		time.Sleep(2 * time.Hour)
		must(t, l.Ping(t.Context()))
		gone := map[string]bool{}
		for d, ok := board.TryNext(); ok; d, ok = board.TryNext() {
			gone[d.Name] = ledger.GoneDevice(d)
		}
		if !gone["SEPGONE"] || gone[phone] {
			t.Errorf("gone: %v", gone)
		}
		if d, ok := people.TryNext(); !ok || !ledger.Gone(d) || d.Availability != presence.Unknown {
			t.Errorf("after: %v %+v", ok, d)
		}
		devices, err := l.Devices(t.Context())
		must(t, err)
		if len(devices) != 1 || l.Stats().Devices != 1 {
			t.Errorf("left: %+v", devices)
		}
		stop()
		l = open(t, path) // on disk, too
		stop = start(t, l)
		if l.Stats().Devices != 1 {
			t.Errorf("after a restart: %d", l.Stats().Devices)
		}
		stop()
	})
}

func TestWhatIsNoObservationIsRefusedByItself(t *testing.T) {
	l := fresh(t)
	good := calls(phone, presence.LineConfirmed)
	now := time.Now()
	long := strings.Repeat("x", 5000)
	bad := map[string]presence.Observation{
		"no source":       {Device: phone, Seen: now, TTL: time.Minute},
		"no subject":      {Source: "s", Seen: now, TTL: time.Minute},
		"two subjects":    {Source: "s", Device: phone, Of: alice, Seen: now, TTL: time.Minute},
		"no time":         {Source: "s", Device: phone, TTL: time.Minute},
		"no TTL":          {Source: "s", Device: phone, Seen: now},
		"a URI as device": {Source: "s", Device: "sip:a@b", Seen: now, TTL: time.Minute},
		"a NUL":           {Source: "s", Device: "a\x00b", Seen: now, TTL: time.Minute},
		"no URI":          {Source: "s", Of: "alice", Seen: now, TTL: time.Minute},
		"a long text":     {Source: "s", Device: phone, Seen: now, TTL: time.Minute, Facts: presence.Facts{Identity: &presence.Identity{Model: long}}},
		"a long list":     {Source: "s", Device: phone, Seen: now, TTL: time.Minute, Facts: presence.Facts{Calls: &presence.Calls{Lines: make([]presence.Line, 500)}}},
	}
	for name, o := range bad {
		if err := l.Observe(t.Context(), o, good); !errors.Is(err, ledger.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		if len(fmt.Sprint(l.Observe(t.Context(), o))) > 300 {
			t.Errorf("%s: the error repeats what a wire said", name)
		}
	}
	if d := document(t, l, alice); d.Availability != presence.OnThePhone {
		t.Errorf("the good one among them: %+v", d)
	}
	must(t, l.Ping(t.Context()))
	if st := l.Stats(); st.Refused["invalid"] != uint64(2*len(bad)) {
		t.Errorf("refused: %v", st.Refused)
	}
}

func TestWhatTheLedgerHoldsIsBounded(t *testing.T) {
	l := fresh(t)
	now := time.Now()
	var all []presence.Observation
	for i := range ledger.MaxDevices + 10 {
		all = append(all, presence.Observation{Source: "s", Device: fmt.Sprint("SEP", i), Seen: now, TTL: time.Minute})
	}
	if err := l.Observe(t.Context(), all...); !errors.Is(err, ledger.ErrFull) {
		t.Errorf("devices: %v", err)
	}
	all = nil
	for i := range 40 {
		all = append(all, presence.Observation{Source: fmt.Sprint("s", i), Device: phone, Seen: now, TTL: time.Minute})
	}
	if err := l.Observe(t.Context(), all...); !errors.Is(err, ledger.ErrFull) {
		t.Errorf("sources: %v", err)
	}
	must(t, l.Ping(t.Context()))
	st := l.Stats()
	if st.Devices != ledger.MaxDevices || st.Refused["devices"] != 11 || st.Refused["sources"] != 9 {
		t.Errorf("%d devices, refused %v", st.Devices, st.Refused)
	}
}

func TestABrokenStoreIsSetAsideAndSaidSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	must(t, os.WriteFile(path, []byte("not a store"), 0o600))
	l := open(t, path)
	stop := start(t, l)
	must(t, l.Drawer("d").Put(t.Context(), "k", []byte("v")))
	st := l.Stats()
	if kept, err := os.ReadFile(st.SetAside); err != nil || string(kept) != "not a store" || st.SetAsideWhy == "" {
		t.Errorf("set aside %q because %q: %v", st.SetAside, st.SetAsideWhy, err)
	}
	stop()
	l = open(t, path)
	start(t, l)
	if st := l.Stats(); st.SetAside != "" || len(keys(t, l.Drawer("d"), "")) != 1 {
		t.Errorf("the fresh store: %+v", st)
	}
}

func TestASecondAgentIsToldWhoHoldsTheStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	start(t, open(t, path))
	_, err := ledger.Open(ledger.Config{Path: path})
	if !errors.Is(err, ledger.ErrHeld) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("%v", err)
	}
}

func TestALedgerThatNeverRanLetsGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	l := open(t, path)
	must(t, l.Close())
	if err := l.Ping(t.Context()); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("Ping: %v", err)
	}
	must(t, open(t, path).Close())
}

// A source whose clock ran ahead once is not believed for ever.
func TestATimeToComeCountsAsNow(t *testing.T) {
	l := fresh(t)
	ahead := calls(phone, presence.LineConfirmed)
	ahead.Seen = ahead.Seen.Add(time.Hour)
	must(t, l.Observe(t.Context(), ahead))
	must(t, l.Observe(t.Context(), calls(phone, presence.LineIdle)))
	if d := document(t, l, alice); d.Availability != presence.Available {
		t.Errorf("%+v", d)
	}
}

// A phone that is listed and that nobody ever saw must not hide what a call
// server tells of its line.
func TestALineOnAPhoneThatNobodyKnowsIsToldByItsCallServer(t *testing.T) {
	static := configured()[:1] // alice lists the phone, and nobody has it
	l, err := ledger.Open(ledger.Config{Path: filepath.Join(t.TempDir(), "store"), Domain: "example.com", Static: static})
	if err != nil {
		t.Fatal(err)
	}
	start(t, l)
	talks := presence.Observation{Source: "dialog/pbx", Of: line, Seen: time.Now(), TTL: time.Hour,
		Facts: presence.Facts{Calls: &presence.Calls{Exact: true, Lines: []presence.Line{{Number: "1001", State: presence.LineConfirmed}}}}}
	if err := l.Observe(t.Context(), talks); err != nil {
		t.Fatal(err)
	}
	docs, err := l.Documents(t.Context(), func(of presence.Presentity) bool { return of == alice })
	if err != nil || len(docs) != 1 || docs[0].Availability != presence.OnThePhone || len(docs[0].Lines) != 1 || docs[0].Lines[0].State != presence.LineConfirmed {
		t.Errorf("%+v, %v", docs, err)
	}
}
