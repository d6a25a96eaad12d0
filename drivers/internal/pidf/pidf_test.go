package pidf

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"pilotlight/agent/presence"
)

var update = flag.Bool("update", false, "write the golden files")

var at = time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)

// documents are one of each kind of thing a document can say.
func documents() map[string]presence.Document {
	phone := presence.DeviceView{Name: "SEP0011AABBCCDD", State: presence.InUse, Freshness: presence.Live,
		Lines:   []presence.Line{{Number: "1001", State: presence.LineConfirmed}},
		Address: netip.MustParseAddr("127.0.0.9")}
	alice := presence.Document{Of: "sip:alice@example.com", Kind: presence.KindPerson, Name: "Alice Martin",
		Availability: presence.OnThePhone, Since: at, Freshness: presence.Live, AsOf: at.Add(2 * time.Second),
		Capabilities: presence.Capabilities{Abilities: presence.Abilities{Audio: true, IM: true}},
		Devices:      []presence.DeviceView{phone}}
	change := func(d presence.Document, f func(*presence.Document)) presence.Document { f(&d); return d }
	dark := phone
	dark.State, dark.Freshness, dark.Lines = presence.Unpowered, presence.Live, nil
	old := phone
	old.Freshness = presence.LastKnown
	idle := phone
	idle.State = presence.Idle
	return map[string]presence.Document{
		"on-the-phone": alice,
		"available": change(alice, func(d *presence.Document) {
			d.Availability, d.Devices = presence.Available, []presence.DeviceView{idle}
		}),
		"do-not-disturb": change(alice, func(d *presence.Document) {
			d.Availability, d.Manual, d.Note = presence.DoNotDisturb, true, `Board meeting <"till" five> & a bit`
		}),
		"out-of-office": change(alice, func(d *presence.Document) {
			d.Availability, d.Manual, d.Devices = presence.OutOfOffice, true, nil
		}),
		"offline-by-her-word": change(alice, func(d *presence.Document) {
			d.Availability, d.Manual, d.Devices = presence.Offline, true, []presence.DeviceView{idle}
		}),
		"offline-unpowered": change(alice, func(d *presence.Document) {
			d.Availability, d.Devices = presence.Offline, []presence.DeviceView{dark}
		}),
		"last-known": change(alice, func(d *presence.Document) {
			d.Freshness, d.Devices = presence.LastKnown, []presence.DeviceView{old}
		}),
		"never-seen": {Of: "sip:1009@example.com", Kind: presence.KindLine, Availability: presence.Unknown, Freshness: presence.NeverSeen},
	}
}

func TestGolden(t *testing.T) {
	for name, doc := range documents() {
		t.Run(name, func(t *testing.T) {
			got := Render(doc)
			file := filepath.Join("testdata", name+".xml")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("differs from %s (-update writes it):\n%s", file, got)
			}
		})
	}
}

// TestOurDocumentsAreValidBySchema asks xmllint, where it and the schemas are.
func TestOurDocumentsAreValidBySchema(t *testing.T) {
	dir := shared(t, "sip/samples/schemas")
	tool, err := exec.LookPath("xmllint")
	if dir == "" || err != nil {
		t.Log("not run: needs xmllint (Debian libxml2-utils) and ../shared/sip/samples/schemas")
		return
	}
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	args := append([]string{"--noout", "--nonet", "--schema", filepath.Join(dir, "presence-all.xsd")}, files...)
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		t.Errorf("xmllint: %v\n%s", err, out)
	}
}

// TestLastKnownIsNeverOpen: a light never lies, at the far side neither.
func TestLastKnownIsNeverOpen(t *testing.T) {
	for _, a := range presence.Availabilities {
		for _, f := range []presence.Freshness{presence.LastKnown, presence.NeverSeen} {
			doc := documents()["last-known"]
			doc.Availability, doc.Freshness = a, f
			p, err := Parse(Render(doc))
			if err != nil {
				t.Fatal(err)
			}
			if p.Basic == Open || p.Availability() != presence.Unknown {
				t.Errorf("%s, %s: read as basic %q, %s", a, f, p.Basic, p.Availability())
			}
			if f == presence.LastKnown && !strings.Contains(p.Note, "last known: "+string(a)) {
				t.Errorf("%s: the note doesn't say what was known: %q", a, p.Note)
			}
		}
	}
}

// TestWhoWantsToBeOfflineIsNotGivenAway: no device shows behind her word.
func TestWhoWantsToBeOfflineIsNotGivenAway(t *testing.T) {
	p, err := Parse(Render(documents()["offline-by-her-word"]))
	if err != nil {
		t.Fatal(err)
	}
	if p.Basic != Closed || len(p.Tuples) != 1 || len(p.Devices) != 0 || p.Tuples[0].Abilities != nil {
		t.Errorf("got %+v", p)
	}
}

func TestOnlyWordsOfRFC4480(t *testing.T) {
	for _, a := range presence.Availabilities {
		words, _ := activities(a)
		for _, w := range words {
			if !contains(rpidActivities, w) || w == "lunch" {
				t.Errorf("%s: %q is not an activity of the schema", a, w)
			}
		}
	}
}

func contains(list []string, w string) bool {
	for _, x := range list {
		if x == w {
			return true
		}
	}
	return false
}

// TestRoundTrip: what is rendered reads as what was meant, whatever the words in it.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := anyDocument(t)
		body := Render(doc)
		if again := Render(doc); !bytes.Equal(body, again) {
			t.Fatal("equal documents, unequal octets")
		}
		p, err := Parse(body)
		if err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		if p.Entity != string(doc.Of) {
			t.Fatalf("entity %q", p.Entity)
		}
		want := doc.Availability
		if doc.Freshness != presence.Live && !doc.Manual {
			want = presence.Unknown
		}
		if got := p.Availability(); got != want {
			t.Fatalf("read as %s, want %s\n%s", got, want, body)
		}
		ids := map[string]bool{}
		for _, tu := range p.Tuples {
			if ids[tu.ID] {
				t.Fatalf("tuple id %q twice", tu.ID)
			}
			ids[tu.ID] = true
		}
		if a, said := p.Abilities(); want != presence.Unknown && want != presence.Offline && (!said || a != doc.Capabilities.Abilities) {
			t.Fatalf("abilities %+v %v", a, said)
		}
	})
}

func anyDocument(t *rapid.T) presence.Document {
	fresh := rapid.SampledFrom([]presence.Freshness{presence.Live, presence.LastKnown, presence.NeverSeen})
	doc := presence.Document{
		Of:           presence.At(rapid.StringMatching(`[a-z0-9'&.+-]{1,12}`).Draw(t, "user"), "example.com"),
		Availability: rapid.SampledFrom(presence.Availabilities).Draw(t, "availability"),
		Since:        at.Add(time.Duration(rapid.IntRange(0, 1e6).Draw(t, "since")) * time.Second),
		Note:         rapid.String().Draw(t, "note"),
		Manual:       rapid.Bool().Draw(t, "manual"),
		Freshness:    fresh.Draw(t, "freshness"),
		Capabilities: presence.Capabilities{Abilities: presence.Abilities{Audio: rapid.Bool().Draw(t, "audio"), Video: rapid.Bool().Draw(t, "video")}},
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[A-Za-z0-9 _.<-]{1,15}`), 0, 4, rapid.ID).Draw(t, "devices") {
		doc.Devices = append(doc.Devices, presence.DeviceView{Name: name, State: rapid.SampledFrom(presence.DeviceStates).Draw(t, "state"), Freshness: fresh.Draw(t, "freshness")})
	}
	return doc
}

// TestEverySampleParses reads what other people's systems and the RFCs send. One
// sample is not well-formed (it is cut in mid-tag): that one must fail.
func TestEverySampleParses(t *testing.T) {
	dir := shared(t, "sip/samples/pidf")
	if dir == "" {
		t.Log("not run: ../shared/sip/samples/pidf is absent")
		return
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.xml"))
	if err != nil || len(files) < 30 {
		t.Fatal(len(files), "samples", err)
	}
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse(body)
		if cut := filepath.Base(f) == "resip-testPidf-4.xml"; cut != (err != nil) {
			t.Errorf("%s: %v", filepath.Base(f), err)
			continue
		}
		if err == nil && strings.Contains(string(body), ">open<") && p.Basic != Open {
			t.Errorf("%s: basic %q", filepath.Base(f), p.Basic)
		}
	}
}

// unifiedCM has the structure of a NOTIFY of Unified CM 7: the old name space,
// Cisco's, and the activity in person and tuple both.
const unifiedCM = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:4001@127.0.0.1"
 xmlns:e="urn:ietf:params:xml:ns:pidf:status:rpid" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
 xmlns:ce="urn:cisco:params:xml:ns:pidf:rpid" xmlns:sc="urn:ietf:params:xml:ns:pidf:servcaps">
 <dm:person><status><basic>open</basic></status><e:activities>PERSON</e:activities></dm:person>
 <tuple id="cmp-4001-7"><status><basic>BASIC</basic><e:activities>TUPLE</e:activities></status>
 <sc:servcaps><sc:audio>true</sc:audio></sc:servcaps>
 <contact priority="0.8">sip:4001@127.0.0.1:5060</contact><timestamp>2025-01-01T10:00:00Z</timestamp></tuple></presence>`

func TestWhatCiscoSendsIsUnderstood(t *testing.T) {
	for _, c := range []struct {
		person, tuple, basic string
		want                 presence.Availability
	}{
		{"<e:on-the-phone/>", "<e:on-the-phone/>", "open", presence.OnThePhone},
		{"", "", "open", presence.Available},
		{"", "", "closed", presence.Offline},
		{"<e:busy/>", "", "closed", presence.Busy}, // the trunk's PUBLISH says closed of who is busy
		{"<ce:dnd/>", "", "open", presence.DoNotDisturb},
		{"<ce:available/>", "", "open", presence.Available},
		{"<ce:alerting/>", "<ce:alerting/>", "open", presence.Available}, // ringing is not on the phone
	} {
		body := strings.NewReplacer("PERSON", c.person, "TUPLE", c.tuple, "BASIC", c.basic).Replace(unifiedCM)
		p, err := Parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Availability(); got != c.want {
			t.Errorf("%+v: read as %s", c, got)
		}
		if len(p.Tuples) != 1 || p.Tuples[0].Contact != "sip:4001@127.0.0.1:5060" || p.Tuples[0].Priority != 0.8 || !p.Tuples[0].Abilities.Audio {
			t.Errorf("tuple %+v", p.Tuples)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	const head = `<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@b">`
	for name, body := range map[string]string{
		"nothing":           "",
		"a document type":   `<!DOCTYPE p [<!ENTITY a "b">]>` + head + "</presence>",
		"an unknown entity": head + "<note>&lol;</note></presence>",
		"another root":      `<dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info"/>`,
		"two roots":         head + "</presence>" + head + "</presence>",
		"deep nesting":      head + strings.Repeat("<a>", MaxDepth+1),
		"many elements":     head + strings.Repeat("<a/>", maxElements) + "</presence>",
		"many bytes":        head + strings.Repeat(" ", MaxBytes) + "</presence>",
		"a cut":             head + "<tuple id",
		"another encoding":  `<?xml version="1.0" encoding="UTF-7"?>` + head + "</presence>",
	} {
		if p, err := Parse([]byte(body)); err == nil {
			t.Errorf("%s: taken as %+v", name, p)
		}
	}
}

func TestLatinOneIsRead(t *testing.T) {
	p, err := Parse([]byte("<?xml version='1.0' encoding='ISO-8859-1'?><presence entity='sip:a@b' xmlns='urn:ietf:params:xml:ns:pidf'><note>d\xe9j\xe0</note></presence>"))
	if err != nil || p.Note != "déjà" {
		t.Errorf("%q %v", p.Note, err)
	}
}

// TestMustUnderstand: an extension with a part that must be understood and isn't
// is left out whole (RFC 3863 §4.2.3).
func TestMustUnderstand(t *testing.T) {
	body := `<p:presence xmlns:p="urn:ietf:params:xml:ns:pidf" xmlns:d="urn:ietf:params:xml:ns:pidf:data-model"
 xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:x="urn:x" entity="sip:a@b"><p:tuple id="t"><p:status><p:basic>open</p:basic></p:status></p:tuple>
 <d:person id="p"><r:activities><r:busy/><x:not p:mustUnderstand="1"/></r:activities></d:person></p:presence>`
	p, err := Parse([]byte(body))
	if err != nil || p.Availability() != presence.Available {
		t.Errorf("%+v %v", p, err)
	}
}

func TestParsedIsWhole(t *testing.T) {
	got, err := Parse(Render(documents()["on-the-phone"]))
	if err != nil {
		t.Fatal(err)
	}
	ts := at.Add(2 * time.Second)
	want := Parsed{Entity: "sip:alice@example.com", Basic: Open, Activities: []string{"on-the-phone"},
		Tuples: []Tuple{
			{ID: got.Tuples[0].ID, Basic: Open, Contact: "sip:alice@example.com", Priority: 1, Abilities: &presence.Abilities{Audio: true, IM: true}, Timestamp: ts},
			{ID: got.Tuples[1].ID, Basic: Open, Contact: "sip:1001@example.com", Priority: 0.5, DeviceID: got.Devices[0].DeviceID, Timestamp: ts},
		},
		Devices: []Device{{ID: got.Devices[0].ID, DeviceID: got.Devices[0].DeviceID, Note: "SEP0011AABBCCDD: in-use"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParse(f *testing.F) {
	for _, doc := range documents() {
		f.Add(Render(doc))
	}
	f.Add([]byte(unifiedCM))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := Parse(body)
		if err == nil {
			p.Availability()
			p.Abilities()
		}
	})
}

// shared finds a folder of the reference data beside the repository; "" if absent.
func shared(t *testing.T, path string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
		dir = filepath.Dir(dir)
	}
	dir = filepath.Join(dir, "..", "shared", path)
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}
