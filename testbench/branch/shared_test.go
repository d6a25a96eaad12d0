package branch

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestALineIsSharedByTheBossAndTheFrontDesk(t *testing.T) {
	idle := "david idle; front-desk idle"
	for _, tc := range []struct {
		name  string
		steps func(b *Branch) []error
		want  string
	}{
		{"rings at both", func(b *Branch) []error { return []error{b.Call("alice", "david")} },
			"david ringing with alice; front-desk ringing with alice"},
		{"by its number", func(b *Branch) []error { return []error{b.Call("alice", "1004")} },
			"david ringing with alice; front-desk ringing with alice"},
		{"answered by the boss", func(b *Branch) []error { return []error{b.Call("alice", "david"), b.Answer("david")} },
			"david in-use with alice; front-desk idle, line in use elsewhere"},
		{"answered by the front desk, and held", func(b *Branch) []error {
			return []error{b.Call("alice", "david"), b.Answer("front-desk"), b.Hold("front-desk")}
		}, "david idle, line in use elsewhere; front-desk on-hold with alice"},
		{"and hung up", func(b *Branch) []error {
			return []error{b.Call("alice", "david"), b.Answer("front-desk"), b.Hangup("alice")}
		}, idle},
		{"declined", func(b *Branch) []error { return []error{b.Call("alice", "david"), b.Hangup("david")} }, idle},
		{"cancelled", func(b *Branch) []error { return []error{b.Call("alice", "david"), b.Hangup("alice")} }, idle},
		{"while the boss talks, rings at the front desk", func(b *Branch) []error {
			return []error{b.Call("david", "bob"), b.Answer("bob"), b.Call("alice", "front-desk")}
		}, "david in-use with bob; front-desk ringing with alice"},
		{"used for a call of one's own", func(b *Branch) []error { return []error{b.Call("front-desk", "bob")} },
			"david idle, line in use elsewhere; front-desk dialing with bob"},
		{"while the front desk has no lease, at the boss's", func(b *Branch) []error {
			return []error{b.NoAddress("front-desk"), b.Call("alice", "david")}
		}, "david ringing with alice; front-desk idle"},
		{"and one of the two loses its lease while it rings", func(b *Branch) []error {
			return []error{b.Call("alice", "david"), b.NoAddress("david")}
		}, "david idle; front-desk ringing with alice"},
		{"takes a call that is transferred", func(b *Branch) []error {
			return []error{b.Call("alice", "bob"), b.Answer("bob"), b.Transfer("bob", "david"), b.Answer("front-desk")}
		}, "david idle, line in use elsewhere; front-desk in-use with alice"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := start(t, Options{})
			for _, err := range tc.steps(b) {
				must(t, err)
			}
			if got := doing(b, "david", "front-desk"); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
	b := start(t, Options{})
	for what, err := range map[string]error{"calls itself": b.Call("david", "front-desk"), "answers silence": b.Answer("front-desk")} {
		if err == nil {
			t.Errorf("the line %s", what)
		}
	}
}

// One subscription to the number tells of both phones, by their addresses, and
// the keys of the one say that the other has the line.
func TestASharedLineOnTheWire(t *testing.T) {
	b := start(t, Options{PhoneUser: "pilot", PhonePassword: "flight"})
	david, desk := b.Phones()[boss], b.Phones()[frontDesk]
	w := newWire(t, b.CallServer())
	w.subscribe(david.Number, "s1", 600)
	told := func() string {
		t.Helper()
		_, i := w.notify()
		if i.Entity != "sip:"+david.Number+"@example.com" {
			t.Errorf("entity %s", i.Entity)
		}
		all := map[string]string{}
		for _, d := range i.Dialogs {
			at := "david"
			if strings.Contains(d.Local.Target.URI, "@"+desk.Address+":") {
				at = "front desk"
			}
			all[d.ID] = strings.TrimSpace(at + " " + d.State.Word + " " + d.State.Event)
		}
		if len(all) != len(i.Dialogs) {
			t.Errorf("two dialogs of one id: %+v", i.Dialogs)
		}
		return strings.Join(slices.Sorted(maps.Values(all)), ", ")
	}
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return b.Call("alice", "david") }, "david early, front desk early"},
		{func() error { return b.Answer("front-desk") }, "david terminated cancelled, front desk confirmed"},
		{func() error { return b.Call("david", "emma") }, "david early, front desk confirmed"},
		{func() error { return b.Hangup("front-desk") }, "david early, front desk terminated local-bye"},
		{func() error { return b.Hangup("david") }, "david terminated cancelled"},
		{func() error { return b.Call("alice", "david") }, "david early, front desk early"},
		{func() error { return b.Hangup("front-desk") }, "david terminated cancelled, front desk terminated rejected"},
	} {
		must(t, step.do())
		if got := told(); got != step.want {
			t.Errorf("%s, want %s", got, step.want)
		}
	}
	g := newPages(t)
	key := func(p Phone) string {
		_, body := as(t, g, p, "/CGI/Java/LineInfo", "pilot", "flight")
		_, body, _ = strings.Cut(body, "<LineIconState>")
		icon, _, _ := strings.Cut(body, "<")
		return icon
	}
	if w := g.must(t, desk, "/DeviceInformationX"); w["phoneDN"] != david.Number || w["MessageWaiting"] != "Yes" {
		t.Errorf("the front desk: %s, messages %s", w["phoneDN"], w["MessageWaiting"])
	}
	must(t, b.Call("alice", "david"))
	if d, f := key(david), key(desk); d != "RINGIN" || f != "RINGIN" {
		t.Errorf("ringing: %s and %s", d, f)
	}
	must(t, b.Answer("david"))
	if d, f := key(david), key(desk); d != "CONNECTED" || f != "REMINUSE" {
		t.Errorf("answered: %s and %s", d, f)
	}
	if s := g.must(t, desk, "/StreamingStatisticsX?1"); s["StreamStatus"] == "Active" {
		t.Error("the front desk has a stream of a call that the boss answered")
	}
	must(t, b.Unregister("front-desk"))
	if f := key(desk); f != "ONHOOK" {
		t.Errorf("registered nowhere, the front desk hears of no line: %s", f)
	}
}

func TestOnlyALargerBranchSharesALineAndOnlyIfItMay(t *testing.T) {
	for _, tc := range []struct {
		o      Options
		shared bool
	}{{Options{Phones: sharedFrom - 1}, false}, {Options{Phones: sharedFrom}, true}, {Options{Unshared: true}, false}} {
		b := start(t, tc.o)
		if got := b.Phones()[boss].Number == b.Phones()[frontDesk].Number; got != tc.shared {
			t.Errorf("%+v: shared %v", tc.o, got)
		}
	}
}
