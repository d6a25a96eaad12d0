package branch

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// doing is what some phones do, with who is at the other end, as one line.
func doing(b *Branch, names ...string) string {
	truth := b.Truth()
	var all []string
	for _, name := range names {
		p, err := b.phone(name)
		if err != nil {
			return err.Error()
		}
		s := truth[p.Name]
		word := name + " " + string(s.Doing)
		if q := b.byName[s.Peer]; q != nil {
			word += " with " + handle(q.Phone)
		}
		if s.Elsewhere {
			word += ", line in use elsewhere"
		}
		all = append(all, word)
	}
	return strings.Join(all, "; ")
}

func TestACallIsTransferred(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps func(b *Branch) []error
		want  string // of alice, bob and carol
		error string // of the last step
	}{
		{"by who was called, and it rings", func(b *Branch) []error {
			return []error{b.Call("alice", "bob"), b.Answer("bob"), b.Transfer("bob", "carol")}
		}, "alice in-use with carol; bob idle; carol ringing with alice", ""},
		{"by who called, and it is answered", func(b *Branch) []error {
			return []error{b.Call("alice", "bob"), b.Answer("bob"), b.Transfer("alice", "carol"), b.Answer("carol")}
		}, "alice idle; bob in-use with carol; carol in-use with bob", ""},
		{"out of hold", func(b *Branch) []error {
			return []error{b.Call("alice", "bob"), b.Answer("bob"), b.Hold("bob"), b.Transfer("bob", "carol"), b.Answer("carol"), b.Hold("alice")}
		}, "alice on-hold with carol; bob idle; carol in-use with alice", ""},
		{"and nobody answers", func(b *Branch) []error {
			return []error{b.Call("alice", "bob"), b.Answer("bob"), b.Transfer("bob", "carol"), b.Hangup("alice")}
		}, "alice idle; bob idle; carol idle", ""},
		{"and refused", func(b *Branch) []error {
			return []error{b.Call("alice", "bob"), b.Answer("bob"), b.Transfer("bob", "carol"), b.Hangup("carol")}
		}, "alice idle; bob idle; carol idle", ""},
		{"and again, back to who had it first", func(b *Branch) []error {
			return []error{b.Call("alice", "bob"), b.Answer("bob"), b.Transfer("bob", "carol"), b.Answer("carol"), b.Transfer("carol", "bob"), b.Answer("bob")}
		}, "alice in-use with bob; bob in-use with alice; carol idle", ""},
		{"before it is answered", func(b *Branch) []error {
			return []error{b.Call("alice", "bob"), b.Transfer("bob", "carol")}
		}, "alice dialing with bob; bob ringing with alice; carol idle", "no call to hand on"},
		{"while the other side holds it", func(b *Branch) []error {
			return []error{b.Call("alice", "bob"), b.Answer("bob"), b.Hold("alice"), b.Transfer("bob", "carol")}
		}, "alice on-hold with bob; bob in-use with alice; carol idle", "no call to hand on"},
		{"to the far side", func(b *Branch) []error {
			return []error{b.Call("alice", "bob"), b.Answer("bob"), b.Transfer("bob", "alice")}
		}, "alice in-use with bob; bob in-use with alice; carol idle", "own line"},
		{"to a phone without a cable", func(b *Branch) []error {
			return []error{b.Call("alice", "bob"), b.Answer("bob"), b.Unplug("carol"), b.Transfer("bob", "carol")}
		}, "alice in-use with bob; bob in-use with alice; carol idle", "unpowered"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := start(t, Options{Phones: 4})
			steps := tc.steps(b)
			for i, err := range steps {
				switch last := i == len(steps)-1; {
				case err == nil && last && tc.error != "":
					t.Errorf("it could; want %q", tc.error)
				case err != nil && (!last || tc.error == "" || !strings.Contains(err.Error(), tc.error)):
					t.Errorf("step %d: %v", i+1, err)
				}
			}
			if got := doing(b, "alice", "bob", "carol"); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
		})
	}
}

// What the call server tells of each of the three lines, and the phones' pages.
func TestATransferOnTheWire(t *testing.T) {
	b := start(t, Options{Phones: 4, PhoneUser: "pilot", PhonePassword: "flight"})
	alice, bob, carol := b.Phones()[0], b.Phones()[1], b.Phones()[2]
	must(t, b.Call("alice", "bob"))
	must(t, b.Answer("bob"))
	wires := map[string]*wire{}
	before := map[string]info{}
	for _, p := range []Phone{alice, bob, carol} {
		wires[p.Name] = newWire(t, b.CallServer())
		_, _, before[p.Name] = wires[p.Name].subscribe(p.Number, "x"+p.Name, 600)
	}
	one := func(p Phone) (id, state string, i info) {
		t.Helper()
		_, i = wires[p.Name].notify()
		if len(i.Dialogs) != 1 {
			t.Fatalf("%s: %d dialogs", p.Name, len(i.Dialogs))
		}
		d := i.Dialogs[0]
		return d.ID, strings.TrimSpace(d.State.Word + " " + d.State.Event), i
	}
	must(t, b.Transfer("bob", "carol"))
	if id, state, _ := one(bob); state != "terminated local-bye" || id != before[bob.Name].Dialogs[0].ID {
		t.Errorf("bob: %s %s", id, state)
	}
	id, state, i := one(alice)
	if was := before[alice.Name].Dialogs[0]; state != "confirmed" || id != was.ID || i.Dialogs[0].CallID != was.CallID || i.Dialogs[0].Direction != "initiator" {
		t.Errorf("alice: %s, %+v; her dialog stays", state, i)
	}
	if r := i.Dialogs[0].Remote.Identity; !strings.HasPrefix(r, "sip:"+carol.Number+"@") {
		t.Errorf("alice's remote party: %s", r)
	}
	_, state, i = one(carol)
	if state != "early" || i.Dialogs[0].Referred != "sip:"+bob.Number+"@example.com" || i.Dialogs[0].CallID == before[alice.Name].Dialogs[0].CallID {
		t.Errorf("carol: %s, %+v", state, i)
	}
	g := newPages(t)
	if s := g.must(t, alice, "/StreamingStatisticsX?1"); s["StreamStatus"] != "Active" || s["RemoteAddr"] != musicSource {
		t.Errorf("alice hears ringing from the call server: %v", s)
	}
	if s := g.must(t, bob, "/StreamingStatisticsX?1"); s["StreamStatus"] == "Active" {
		t.Errorf("bob still talks: %v", s)
	}
	must(t, b.Answer("carol"))
	if s := g.must(t, alice, "/StreamingStatisticsX?1"); !strings.HasPrefix(s["RemoteAddr"], carol.Address+"/") {
		t.Errorf("alice talks to %s", s["RemoteAddr"])
	}
	if _, state, _ = one(carol); state != "confirmed" {
		t.Errorf("carol: %s", state)
	}
	for p, want := range map[Phone][]string{
		alice: {"CONNECTED", "OUTBOUND", "<CalledPartyDirNum>" + carol.Number},
		carol: {"CONNECTED", "INBOUND", "<CallingPartyDirNum>" + alice.Number},
	} {
		_, body := as(t, g, p, "/CGI/Java/CallInfo1", "pilot", "flight")
		for _, s := range want {
			if !strings.Contains(body, s) {
				t.Errorf("%s: no %s in %s", p.DisplayName, s, body)
			}
		}
	}
}

// The script's calls end as planned, whoever has them by then.
func TestAScriptedCallThatIsTransferredEndsAllTheSame(t *testing.T) {
	began := map[*call]time.Duration{}
	transferred := 0
	play(t, Options{Phones: 12, CallRate: 6}, 5*time.Minute, func(b *Branch, at time.Duration) {
		for _, p := range b.phones {
			c := p.call
			if c == nil {
				continue
			}
			if _, known := began[c]; !known {
				began[c] = at
			}
			if at-began[c] > 50*time.Second {
				t.Fatalf("%s has a call since %v", p.Name, at-began[c])
			}
			if !slices.Contains(c.phones(), p) {
				t.Fatalf("%s is in a call that does not know it", p.Name)
			}
			if c.answered && p.index < 6 && b.Transfer(p.Name, b.phones[6+p.index].Name) == nil {
				transferred++
				must(t, b.Answer(b.phones[6+p.index].Name))
			}
		}
	})
	if transferred < 5 {
		t.Errorf("%d transfers", transferred)
	}
}
