package event

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"pilotlight/drivers/internal/sip"
)

func TestEventHeaders(t *testing.T) {
	for _, c := range []struct {
		value string
		want  Header
		as    string // as we write it
	}{
		{"presence", Header{Package: "presence"}, "presence"},
		{" presence ; ID=7 ", Header{Package: "presence", ID: "7"}, "presence;id=7"},
		{"presence.winfo", Header{Package: "presence.winfo"}, "presence.winfo"},
		{"Presence", Header{Package: "Presence"}, "Presence"}, // EV-02: case counts
		{`dialog;call-id="a;b@c";from-tag=f;to-tag=t`, Header{Package: "dialog", Params: sip.Params{"call-id": "a;b@c", "from-tag": "f", "to-tag": "t"}},
			`dialog;call-id="a;b@c";from-tag=f;to-tag=t`}, // DLG-01
		{"dialog;include-session-description;id=x", Header{Package: "dialog", ID: "x", Params: sip.Params{"include-session-description": ""}}, "dialog;id=x;include-session-description"},
		{"presence;max-rate=0.1;min-rate=0.01", Header{Package: "presence", Params: sip.Params{"max-rate": "0.1", "min-rate": "0.01"}}, "presence;max-rate=0.1;min-rate=0.01"},
	} {
		got, err := ParseEvent(c.value)
		if d := cmp.Diff(c.want, got); d != "" || err != nil {
			t.Errorf("%q: %v %s", c.value, err, d)
		}
		if got.String() != c.as {
			t.Errorf("%q is written %q", c.value, got)
		}
	}
	for _, value := range []string{"", ";id=7", "presence winfo", ".winfo", "presence.", "presence..winfo", "presence,dialog", "pres\r\nence"} {
		if got, err := ParseEvent(value); err == nil {
			t.Errorf("%q: %+v", value, got)
		}
	}
}

func TestSubscriptionStates(t *testing.T) {
	for _, c := range []struct {
		value string
		want  State
		as    string
	}{
		{"active;expires=3600", State{Status: Active, Expires: time.Hour, HasExpires: true}, "active;expires=3600"},
		{"ACTIVE ; Expires = 0", State{Status: Active, HasExpires: true}, "active;expires=0"},
		{"pending;expires=59", State{Status: Pending, Expires: 59 * time.Second, HasExpires: true}, "pending;expires=59"},
		{"active", State{Status: Active}, "active"},
		{"terminated;reason=timeout;retry-after=30", State{Status: Ended, Reason: "timeout", RetryAfter: 30 * time.Second}, "terminated;reason=timeout;retry-after=30"},
		{"terminated;reason=NoResource", State{Status: Ended, Reason: "noresource"}, "terminated;reason=noresource"},
		{"terminated;expires=10", State{Status: Ended, Expires: 10 * time.Second, HasExpires: true}, "terminated"}, // EV-06
		{"waiting;x=y", State{Status: Pending, Params: sip.Params{"x": "y"}}, "pending;x=y"},
		{"active;max-rate=0.2;expires=7", State{Status: Active, Expires: 7 * time.Second, HasExpires: true, Params: sip.Params{"max-rate": "0.2"}}, "active;expires=7;max-rate=0.2"}, // RC-01
	} {
		got, ok := ParseState(c.value)
		if d := cmp.Diff(c.want, got); d != "" || !ok {
			t.Errorf("%q: %v %s", c.value, ok, d)
		}
		if got.String() != c.as {
			t.Errorf("%q is written %q", c.value, got)
		}
	}
	if s, ok := ParseState(" ;expires=3600"); ok {
		t.Errorf("taken: %+v", s)
	}
	// Never longer than it lasts (EV-06), never earlier than was meant.
	if s := (State{Status: Active, Expires: 59999 * time.Millisecond, HasExpires: true}); s.String() != "active;expires=59" {
		t.Error(s)
	}
	if s := (State{Status: Active, Expires: -time.Second, HasExpires: true}); s.String() != "active;expires=0" {
		t.Error(s)
	}
	if s := (State{Status: Ended, Reason: "probation", RetryAfter: 1500 * time.Millisecond}); s.String() != "terminated;reason=probation;retry-after=2" {
		t.Error(s)
	}
}

func TestHeadersReadBack(t *testing.T) {
	text := rapid.StringMatching(`[ -~é]{0,10}`)
	params := rapid.MapOfN(rapid.StringMatching(`[a-z-]{3,9}`).Filter(func(s string) bool { return s != "expires" && s != "reason" && s != "retry-after" }), text, 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		h := Header{Package: rapid.SampledFrom([]string{"presence", "presence.winfo", "dialog"}).Draw(t, "package"), ID: text.Draw(t, "id"), Params: params.Draw(t, "params")}
		got, err := ParseEvent(h.String())
		if d := cmp.Diff(h, got, cmpopts.EquateEmpty()); d != "" || err != nil {
			t.Fatalf("%q: %v %s", h, err, d)
		}
		s := State{Status: rapid.SampledFrom([]Status{Active, Pending}).Draw(t, "status"), Expires: time.Duration(rapid.Uint32().Draw(t, "expires")) * time.Second, HasExpires: true,
			Params: params.Draw(t, "params")}
		if rapid.Bool().Draw(t, "ended") {
			s = State{Status: Ended, Reason: rapid.SampledFrom([]string{"", "timeout", "giveup"}).Draw(t, "reason"), RetryAfter: s.Expires, Params: s.Params}
		}
		again, ok := ParseState(s.String())
		if d := cmp.Diff(s, again, cmpopts.EquateEmpty()); d != "" || !ok {
			t.Fatalf("%q: %v %s", s, ok, d)
		}
	})
}

// TestHeadersHaveOneLine: what a caller puts in makes no other header.
func TestHeadersHaveOneLine(t *testing.T) {
	h := Header{Package: "presence", ID: "7\r\nX: y", Params: sip.Params{"a\r\nX": "y", "b": "\"\\\x00"}}
	if got, want := h.String(), `presence;id="7X: y";b="\"\\"`; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzHeaders(f *testing.F) {
	for _, s := range []string{"presence;id=7", "active;expires=3600", "terminated;reason=timeout;retry-after=30", `dialog;call-id="a\"b";x`, "a;=b;;c=\"", "x;a=<;b>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if h, err := ParseEvent(value); err == nil {
			if again, err := ParseEvent(h.String()); err != nil || again.Package != h.Package {
				t.Fatalf("%q: %+v, then %+v, %v", value, h, again, err)
			}
		}
		if s, ok := ParseState(value); ok {
			if again, ok := ParseState(s.String()); !ok || again.Status != s.Status || s.Status != Ended && again.Expires != s.Expires {
				t.Fatalf("%q: %+v, then %+v", value, s, again)
			}
		}
	})
}

func BenchmarkHeaders(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = Header{Package: "presence", ID: "7"}.String()
		_ = State{Status: Active, Expires: time.Hour, HasExpires: true}.String()
	}
}
