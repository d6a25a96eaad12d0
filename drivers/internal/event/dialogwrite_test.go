package event

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"pilotlight/agent/presence"
)

var site1, site2 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::2")

func TestGoldenDialogs(t *testing.T) {
	entity := "sip:1001@example.com"
	line := func(s presence.LineState) presence.Line {
		return presence.Line{Number: "1001", State: s, Sites: []netip.Addr{site1}}
	}
	held, dialling := line(presence.LineConfirmed), line(presence.LineEarly)
	held.Held, dialling.Outgoing = true, true
	var told Told
	for _, step := range []struct {
		name string
		full bool
		now  []Dialog
	}{
		{"dialogs-0-idle.xml", true, LineDialogs(entity, "SEP1", line(presence.LineIdle))},
		{"dialogs-1-ringing.xml", false, LineDialogs(entity, "SEP1", line(presence.LineEarly))},
		{"dialogs-2-confirmed.xml", false, LineDialogs(entity, "SEP1", line(presence.LineConfirmed))},
		{"dialogs-3-held-and-dialling.xml", false, slices.Concat(LineDialogs(entity, "SEP1", held), LineDialogs(entity, "SEP2", dialling))},
		{"dialogs-4-one-ended.xml", false, LineDialogs(entity, "SEP2", dialling)},
		{"dialogs-5-none-left.xml", false, nil},
		{"dialogs-6-refreshed.xml", true, nil},
	} {
		doc, ok := told.Change(entity, step.now)
		if step.full && told.Next > 1 {
			if ok {
				t.Errorf("%s: nothing changed, and %+v", step.name, doc)
			}
			doc = told.Full(entity, step.now)
		} else if !ok {
			t.Errorf("%s: nothing changed", step.name)
		}
		wantGolden(t, step.name, RenderDialogs(doc))
	}
	wantGolden(t, "dialogs-virtual.xml", RenderDialogs(DialogInfo{Entity: entity, Full: true, Dialogs: Virtual(entity, LineDialogs(entity, "SEP1", held))}))
}

func TestRenderedDialogsAreValidBySchema(t *testing.T) {
	var bodies [][]byte
	any := rapid.Custom(anyDialogInfo)
	for i := range 100 {
		bodies = append(bodies, RenderDialogs(any.Example(i)))
	}
	bodies = append(bodies, RenderDialogs(DialogInfo{Entity: "sip:a@b", Dialogs: []Dialog{
		{ID: "no state"}, {ID: "x", State: Terminated, Event: "a word of nobody", Code: 7, Direction: "sideways"}}}))
	wantValid(t, "dialog-info.xsd", bodies...)
}

// TestRenderedDialogsReadBack: render and parse together change nothing.
func TestRenderedDialogsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyDialogInfo(t)
		body := RenderDialogs(want)
		if !bytes.Equal(body, RenderDialogs(want)) {
			t.Fatal("equal documents, unequal octets")
		}
		got, err := DecodeDialogs(body)
		if err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s\n%s", d, body)
		}
	})
}

func anyDialogInfo(t *rapid.T) DialogInfo {
	doc := DialogInfo{Entity: anyURI.Draw(t, "entity"), Version: rapid.Uint32().Draw(t, "version"), Full: rapid.Bool().Draw(t, "full")}
	for range rapid.IntRange(0, 3).Draw(t, "dialogs") {
		doc.Dialogs = append(doc.Dialogs, Dialog{
			ID: anyWord.Draw(t, "id"), CallID: anyWord.Draw(t, "call-id"), LocalTag: anyWord.Draw(t, "local-tag"), RemoteTag: anyWord.Draw(t, "remote-tag"),
			Direction: rapid.SampledFrom([]Direction{"", Initiator, Recipient}).Draw(t, "direction"),
			State:     rapid.SampledFrom([]DialogState{Trying, Proceeding, Early, Confirmed, Terminated}).Draw(t, "state"),
			Event:     rapid.SampledFrom(append(slices.Clone(dialogEvents), "")).Draw(t, "event"),
			Code:      rapid.SampledFrom([]int{0, 100, 200, 487, 699}).Draw(t, "code"),
			Local:     anyParty(t), Remote: anyParty(t)})
	}
	return doc
}

func anyParty(t *rapid.T) Party {
	p := Party{Identity: rapid.SampledFrom([]string{"", "sip:alice@example.com", "sip:o'malley&co@example.com;x=1"}).Draw(t, "identity"),
		Display: anyWord.Draw(t, "display"), Target: rapid.SampledFrom([]string{"", "sip:a@192.0.2.1:5060", "sip:a@[2001:db8::1];gr"}).Draw(t, "target")}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[+.a-z]{1,8}`), 0, 3, rapid.ID).Draw(t, "params") {
		if p.Params == nil {
			p.Params = map[string]string{}
		}
		p.Params[name] = anyWord.Draw(t, "value")
	}
	return p
}

var (
	anyWord = rapid.StringMatching(`([A-Za-zé<>&"'@;=.-]([A-Za-z &"']{0,6}[a-z])?)?`)
	anyURI  = rapid.StringMatching(`sip:[a-z0-9'&.+-]{1,10}@[a-z]{1,8}\.example`)
)

// TestALineReadsBackAsItWas: what a watcher's table makes of the dialogs is the line.
func TestALineReadsBackAsItWas(t *testing.T) {
	states := []presence.LineState{presence.LineUnknown, presence.LineIdle, presence.LineTrying, presence.LineProceeding, presence.LineEarly, presence.LineConfirmed}
	rapid.Check(t, func(t *rapid.T) {
		entity := anyURI.Draw(t, "entity")
		l := presence.Line{State: rapid.SampledFrom(states).Draw(t, "state"), Outgoing: rapid.Bool().Draw(t, "outgoing")}
		l.Held = l.State == presence.LineConfirmed && rapid.Bool().Draw(t, "held")
		l.Sites = slices.Clone([]netip.Addr{site1, site2}[:rapid.IntRange(0, 2).Draw(t, "sites")])
		dialogs := LineDialogs(entity, "SEP1", l)
		doc, err := DecodeDialogs(RenderDialogs(DialogInfo{Entity: entity, Full: true, Dialogs: dialogs}))
		if err != nil {
			t.Fatal(err)
		}
		var table DialogTable
		table.Apply(doc)
		want := LineState{State: l.State, Held: l.Held, Outgoing: l.Outgoing, Sites: l.Sites, Dialogs: max(1, len(l.Sites))}
		if l.State == presence.LineIdle || l.State == presence.LineUnknown {
			want = LineState{State: presence.LineIdle}
		}
		if d := cmp.Diff(want, table.Line(), cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); d != "" {
			t.Fatal(d)
		}
	})
}

// TestDialogIDs (DLG-05): the same from ringing to the end, and another for each
// place and site.
func TestDialogIDs(t *testing.T) {
	line := presence.Line{State: presence.LineEarly, Sites: []netip.Addr{site1, site2}}
	ringing := LineDialogs("sip:1001@example.com", "SEP1", line)
	line.State = presence.LineConfirmed
	seen := map[string]bool{}
	for i, d := range LineDialogs("sip:1001@example.com", "SEP1", line) {
		if d.ID != ringing[i].ID || seen[d.ID] {
			t.Errorf("dialog %d: %s, was %s", i, d.ID, ringing[i].ID)
		}
		seen[d.ID] = true
	}
	for _, d := range slices.Concat(LineDialogs("sip:1001@example.com", "SEP2", line), LineDialogs("sip:1002@example.com", "SEP1", line)) {
		if seen[d.ID] {
			t.Errorf("%s twice", d.ID)
		}
		seen[d.ID] = true
	}
}

// TestVirtualTellsNoMore (DLG-09): an id and a state, whoever is in the calls.
func TestVirtualTellsNoMore(t *testing.T) {
	dialogs := []Dialog{{ID: "a", State: Early, Direction: Recipient, CallID: "c"}, {ID: "b", State: Confirmed, Local: Party{Identity: "sip:x@y"}}, {ID: "c", State: Terminated}}
	got := Virtual("sip:a@b", dialogs)
	if len(got) != 1 || got[0].State != Confirmed || !got[0].equal(Dialog{ID: got[0].ID, State: Confirmed}) {
		t.Errorf("%+v", got)
	}
	if again := Virtual("sip:a@b", dialogs[:1]); again[0].ID != got[0].ID || again[0].State != Early {
		t.Errorf("%+v", again)
	}
	if none := Virtual("sip:a@b", dialogs[2:]); none != nil {
		t.Errorf("%+v", none)
	}
}

// TestToldKeepsATableRight: whatever is told when, the watcher's table has what is
// so, an end is told once, and the versions have no gap (DLG-05, DLG-06).
func TestToldKeepsATableRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var told Told
		var table DialogTable
		ended := map[string]bool{} // told as such, and not live since
		for step := range rapid.IntRange(1, 20).Draw(t, "steps") {
			var now []Dialog
			for _, id := range []string{"a", "b", "c"} {
				if s := rapid.SampledFrom([]DialogState{"", Early, Confirmed, Terminated}).Draw(t, id); s != "" {
					now = append(now, Dialog{ID: id, State: s})
				}
			}
			doc, ok := DialogInfo{}, true
			if rapid.Bool().Draw(t, "subscribed") {
				doc = told.Full("sip:a@b", now)
			} else {
				doc, ok = told.Change("sip:a@b", now)
			}
			if ok {
				read, err := DecodeDialogs(RenderDialogs(doc))
				if err != nil || step > 0 && table.begun && read.Version != table.version+1 {
					t.Fatalf("%v, version %d after %d", err, read.Version, table.version)
				}
				if table.Apply(read) {
					t.Fatalf("a gap: %+v", read)
				}
			}
			for _, d := range doc.Dialogs {
				if d.State == Terminated && ended[d.ID] {
					t.Fatalf("%s ended twice", d.ID)
				}
				ended[d.ID] = d.State == Terminated
			}
			live := map[string]DialogState{}
			for _, d := range now {
				if d.State != Terminated {
					live[d.ID] = d.State
				}
			}
			has := map[string]DialogState{}
			for id, d := range table.dialogs {
				has[id] = d.State
			}
			if d := cmp.Diff(live, has); d != "" {
				t.Fatal(d)
			}
			if len(live) == 0 && ok && !doc.Full {
				t.Fatal("none remains, and it is told in part")
			}
		}
	})
}

func BenchmarkRenderDialogs(b *testing.B) {
	doc := DialogInfo{Entity: "sip:1001@example.com", Version: 7, Full: true,
		Dialogs: LineDialogs("sip:1001@example.com", "SEP1", presence.Line{State: presence.LineConfirmed, Held: true, Sites: []netip.Addr{site1, site2}})}
	b.ReportAllocs()
	for b.Loop() {
		RenderDialogs(doc)
	}
}
