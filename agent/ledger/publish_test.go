package ledger_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pilotlight/agent/presence"
)

func says(a presence.Availability, expires time.Duration) presence.Publication {
	return presence.Publication{Of: alice, By: "softphone", Expires: expires, Said: &presence.Said{Availability: a, Note: "at lunch"}}
}

// RFC 3903 §4.1, table 1, and §6.
func TestPublicationsFollowRFC3903(t *testing.T) {
	l := fresh(t)
	publish := func(p presence.Publication) presence.ETag {
		t.Helper()
		tag, length, err := l.Publish(t.Context(), p)
		must(t, err)
		if tag == "" || length != p.Expires {
			t.Errorf("tag %q for %v", tag, length)
		}
		return tag
	}
	first := publish(says(presence.Busy, time.Hour))
	if d := document(t, l, alice); d.Availability != presence.Busy || d.Manual || d.Note != "at lunch" {
		t.Errorf("initial: %+v", d)
	}
	refreshed := publish(presence.Publication{Of: alice, IfMatch: first, Expires: time.Hour})
	if d := document(t, l, alice); d.Availability != presence.Busy || first == refreshed {
		t.Errorf("refreshed: %+v", d)
	}
	if _, _, err := l.Publish(t.Context(), presence.Publication{Of: alice, IfMatch: first, Expires: time.Hour}); !errors.Is(err, presence.ErrNoMatch) {
		t.Errorf("old tag: %v", err)
	}
	modify := says(presence.Away, time.Minute)
	modify.IfMatch = refreshed
	modified := publish(modify)
	if d := document(t, l, alice); d.Availability != presence.Away {
		t.Errorf("modified: %+v", d)
	}
	publish(presence.Publication{Of: alice, IfMatch: modified})
	if d := document(t, l, alice); d.Availability == presence.Away {
		t.Errorf("removed: %+v", d)
	}
	other := presence.Publication{Of: "sip:bob@example.com", IfMatch: publish(says(presence.Busy, time.Hour)), Expires: time.Hour}
	if _, _, err := l.Publish(t.Context(), other); !errors.Is(err, presence.ErrNoMatch) {
		t.Errorf("another's tag: %v", err)
	}
}

func TestAManualWordReplacesItselfAndIsWithdrawn(t *testing.T) {
	l := fresh(t)
	manual := says(presence.DoNotDisturb, presence.Forever)
	manual.Manual = true
	for _, a := range []presence.Availability{presence.DoNotDisturb, presence.OutOfOffice} {
		manual.Said.Availability = a
		if _, _, err := l.Publish(t.Context(), manual); err != nil {
			t.Fatal(err)
		}
		if d := document(t, l, alice); d.Availability != a || !d.Manual || !d.Until.IsZero() {
			t.Errorf("%s: %+v", a, d)
		}
	}
	if n := l.Stats().Publications; n != 1 {
		t.Errorf("%d publications", n)
	}
	for range 2 { // a second time, too
		if _, _, err := l.Publish(t.Context(), presence.Publication{Of: alice, Manual: true}); err != nil {
			t.Fatal(err)
		}
	}
	if d := document(t, l, alice); d.Manual {
		t.Errorf("withdrawn: %+v", d)
	}
}

func TestWhatIsNoPublicationIsRefused(t *testing.T) {
	l := fresh(t)
	bad := map[string]presence.Publication{
		"nobody":               {Expires: time.Hour, Said: &presence.Said{Availability: presence.Busy}},
		"another scheme":       {Of: "tel:1001", Expires: time.Hour, Said: &presence.Said{Availability: presence.Busy}},
		"initial, no body":     {Of: alice, Expires: time.Hour},
		"initial, no time":     {Of: alice, Said: &presence.Said{Availability: presence.Busy}},
		"removes nothing":      {Of: alice},
		"time in the past":     {Of: alice, Expires: -1, Said: &presence.Said{Availability: presence.Busy}},
		"manual with a tag":    {Of: alice, Manual: true, IfMatch: "x", Expires: time.Hour, Said: &presence.Said{Availability: presence.Busy}},
		"unknown word":         {Of: alice, Expires: time.Hour, Said: &presence.Said{Availability: "on fire"}},
		"no word":              {Of: alice, Expires: time.Hour, Said: &presence.Said{Note: "at lunch"}},
		"no word by herself":   {Of: alice, Manual: true, Expires: time.Hour, Said: &presence.Said{}},
		"a note of a megabyte": {Of: alice, Expires: time.Hour, Said: &presence.Said{Availability: presence.Busy, Note: strings.Repeat("x", 1<<20)}},
	}
	for name, p := range bad {
		if _, _, err := l.Publish(t.Context(), p); !errors.Is(err, presence.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 16 {
		if _, _, err := l.Publish(t.Context(), says(presence.Busy, time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := l.Publish(t.Context(), says(presence.Busy, time.Hour)); !errors.Is(err, presence.ErrFull) {
		t.Errorf("the 17th: %v", err)
	}
}

func TestSomebodyNobodyKnewIsThereWhileSheIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, filepath.Join(t.TempDir(), "store"))
		stop := start(t, l)
		defer stop()
		carol := presence.Presentity("sip:carol@example.com")
		f, err := l.Follow(t.Context(), func(p presence.Presentity) bool { return p == carol })
		must(t, err)
		p := says(presence.Busy, time.Minute)
		p.Of = carol
		begin := time.Now()
		_, _, err = l.Publish(t.Context(), p)
		must(t, err)
		d, err := f.Next(t.Context())
		if err != nil || d.Availability != presence.Busy || d.Kind != presence.KindPerson {
			t.Fatalf("published: %v %+v", err, d)
		}
		d, err = f.Next(t.Context()) // its time is over
		if err != nil || d.Kind != "" || d.Availability != presence.Unknown || time.Since(begin).Round(time.Second) != time.Minute {
			t.Fatalf("after %v: %v %+v", time.Since(begin), err, d)
		}
		if n := l.Stats().Publications; n != 0 {
			t.Errorf("%d publications", n)
		}
	})
}

func TestPublicationsSurviveARestartForTheRestOfTheirTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	l := open(t, path)
	stop := start(t, l)
	_, _, err := l.Publish(t.Context(), says(presence.Busy, 400*time.Millisecond))
	must(t, err)
	kept, _, err := l.Publish(t.Context(), says(presence.Away, time.Hour))
	must(t, err)
	stop()
	l = open(t, path)
	start(t, l)
	if d := document(t, l, alice); d.Availability != presence.Busy {
		t.Errorf("at once: %+v", d)
	}
	f, err := l.Follow(t.Context(), func(p presence.Presentity) bool { return p == alice })
	must(t, err)
	for d := (presence.Document{}); d.Availability != presence.Away; {
		d, err = f.Next(t.Context())
		must(t, err)
	}
	if _, _, err := l.Publish(t.Context(), presence.Publication{Of: alice, IfMatch: kept, Expires: time.Hour}); err != nil {
		t.Errorf("refresh after the restart: %v", err)
	}
}
