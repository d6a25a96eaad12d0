package event

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func someWatchers() []Watcher {
	return []Watcher{
		{ID: "8ajksjda7s", Status: WatcherActive, Event: EventApproved, URI: "sip:userA@example.net", Subscribed: 509 * time.Second, Expiration: 3091 * time.Second},
		{ID: "hh8juja87s997-ass7", Status: WatcherPending, Event: EventSubscribe, URI: "sip:userB@example.org", DisplayName: `Mr. "Subscriber" & son`},
		{ID: "gone", Status: WatcherTerminated, Event: EventNoResource, URI: "sip:userC@example.org"},
	}
}

func TestGoldenWatcherInfo(t *testing.T) {
	wantGolden(t, "winfo-full.xml", RenderWatcherInfo("sip:professor@example.net", "presence", 0, true, someWatchers()))
	wantGolden(t, "winfo-partial.xml", RenderWatcherInfo("sip:professor@example.net", "presence", 4294967295, false, someWatchers()[1:2]))
	wantGolden(t, "winfo-nobody.xml", RenderWatcherInfo("sip:professor@example.net", "presence", 1, true, nil))
}

func TestRenderedWatcherInfoIsValidAndReadsBack(t *testing.T) {
	any := rapid.Custom(anyWatcherInfo)
	var bodies [][]byte
	for i := range 50 {
		bodies = append(bodies, renderAny(any.Example(i)))
	}
	wantValid(t, "watcherinfo.xsd", bodies...)
	rapid.Check(t, func(t *rapid.T) {
		want := any.Draw(t, "watcherinfo")
		body := renderAny(want)
		got, err := ParseWatcherInfo(body)
		if err != nil || !bytes.Equal(body, renderAny(want)) {
			t.Fatalf("%v\n%s", err, body)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s\n%s", d, body)
		}
	})
}

func renderAny(w WatcherInfo) []byte {
	return RenderWatcherInfo(w.Lists[0].Resource, w.Lists[0].Package, w.Version, w.Full, w.Lists[0].Watchers)
}

func anyWatcherInfo(t *rapid.T) WatcherInfo {
	list := WatcherList{Resource: anyURI.Draw(t, "resource"), Package: rapid.SampledFrom([]string{"presence", "dialog"}).Draw(t, "package")}
	ids := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9-]{1,8}`), 0, 4, rapid.ID).Draw(t, "ids")
	for _, id := range ids {
		list.Watchers = append(list.Watchers, Watcher{ID: id, URI: anyURI.Draw(t, "uri"), DisplayName: anyWord.Draw(t, "name"),
			Status: rapid.SampledFrom(watcherStatuses).Draw(t, "status"), Event: rapid.SampledFrom(watcherEvents).Draw(t, "event"),
			Expiration: time.Duration(rapid.Uint32().Draw(t, "expiration")) * time.Second, Subscribed: time.Duration(rapid.Uint32().Draw(t, "subscribed")) * time.Second})
	}
	return WatcherInfo{Version: rapid.Uint32().Draw(t, "version"), Full: rapid.Bool().Draw(t, "full"), Lists: []WatcherList{list}}
}

// TestAWatcherWithoutWordsIsLeftOut: what can't be said by the schema isn't.
func TestAWatcherWithoutWordsIsLeftOut(t *testing.T) {
	got, err := ParseWatcherInfo(RenderWatcherInfo("sip:a@b", "presence", 0, true, []Watcher{{ID: "x", URI: "sip:c@d"}, someWatchers()[0]}))
	if err != nil || len(got.Lists[0].Watchers) != 1 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestRealWatcherInfoIsRead(t *testing.T) {
	want := map[string]string{"rfc3857-0": "pending", "rfc3857-1": "pending", "rfc3857-2": "active", "rfc3858-0": "active pending"}
	for _, path := range beside(t, "winfo/*.xml") {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := ParseWatcherInfo(b)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		var got []string
		for _, w := range doc.Lists[0].Watchers {
			got = append(got, string(w.Status))
		}
		name := strings.TrimSuffix(filepath.Base(path), ".xml")
		if s := strings.Join(got, " "); s != want[name] || doc.Full != (doc.Version == 0) {
			t.Errorf("%q: %q, version %d, full %v", name, s, doc.Version, doc.Full)
		}
	}
}

func TestWatcherInfoIsReadInFull(t *testing.T) {
	got, err := ParseWatcherInfo([]byte(`<w:watcherinfo xmlns:w="urn:ietf:params:xml:ns:watcherinfo" xmlns:x="urn:x" version="7" state="partial">
 <x:watcher-list><w:watcher id="no" status="active" event="approved">sip:no@example.com</w:watcher></x:watcher-list>
 <w:watcher-list resource="sip:p@example.net" package="presence"><x:new/>
  <w:watcher id="a" status="waiting" event="timeout" expiration="99999999999" duration-subscribed="-1" display-name="M&#xfc;ller"> sip:m@example.org <x:y/></w:watcher>
  <w:watcher status="active" event="approved">sip:without@example.org</w:watcher>
 </w:watcher-list></w:watcherinfo>`))
	want := WatcherInfo{Version: 7, Lists: []WatcherList{{Resource: "sip:p@example.net", Package: "presence", Watchers: []Watcher{
		{ID: "a", Status: WatcherWaiting, Event: EventTimeout, Expiration: (1<<32 - 1) * time.Second, DisplayName: "Müller"}}}}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(err, d)
	}
}

func TestHostileWatcherInfoIsRefused(t *testing.T) {
	const head = `<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="0" state="full">`
	for name, doc := range map[string]string{
		"nothing":            "",
		"another root":       `<presence xmlns="urn:ietf:params:xml:ns:pidf"/>`,
		"another name space": `<watcherinfo version="0" state="full"/>`,
		"entities":           `<!DOCTYPE x [<!ENTITY a "aaaa">]>` + head + `</watcherinfo>`,
		"no version":         `<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" state="full"/>`,
		"no state":           `<watcherinfo xmlns="urn:ietf:params:xml:ns:watcherinfo" version="0"/>`,
		"a status of nobody": head + `<watcher-list><watcher id="a" status="asleep" event="approved"/></watcher-list></watcherinfo>`,
		"two roots":          head + `</watcherinfo>` + head + `</watcherinfo>`,
		"deep":               head + strings.Repeat("<a>", maxDepth) + strings.Repeat("</a>", maxDepth) + `</watcherinfo>`,
		"long":               head + strings.Repeat(" ", maxDocument) + `</watcherinfo>`,
		"many lists":         head + strings.Repeat("<watcher-list/>", maxWatchers+1) + `</watcherinfo>`,
		"many watchers":      head + "<watcher-list>" + strings.Repeat(`<watcher id="a" status="active" event="approved"/>`, maxWatchers) + `</watcher-list></watcherinfo>`,
		"cut":                head + "<watcher-list",
	} {
		if doc, err := ParseWatcherInfo([]byte(doc)); err == nil {
			t.Errorf("%s: %+v", name, doc)
		}
	}
}

func FuzzParseWatcherInfo(f *testing.F) {
	for _, path := range beside(f, "winfo/*.xml") {
		if b, err := os.ReadFile(path); err == nil {
			f.Add(b)
		}
	}
	f.Add(RenderWatcherInfo("sip:professor@example.net", "presence", 0, true, someWatchers()))
	f.Fuzz(func(t *testing.T, b []byte) {
		doc, err := ParseWatcherInfo(b)
		if err != nil {
			return
		}
		for _, l := range doc.Lists {
			again, err := ParseWatcherInfo(RenderWatcherInfo(l.Resource, l.Package, doc.Version, doc.Full, l.Watchers))
			if err != nil || len(again.Lists[0].Watchers) != len(l.Watchers) {
				t.Fatalf("%+v is not read back: %v", l, err)
			}
		}
	})
}

func BenchmarkRenderWatcherInfo(b *testing.B) {
	watchers := someWatchers()
	b.ReportAllocs()
	for b.Loop() {
		RenderWatcherInfo("sip:professor@example.net", "presence", 7, true, watchers)
	}
}
