package pidf

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pilotlight/agent/presence"
)

// forWatchers are documents as watchers get them, by the name of their golden file.
func forWatchers() map[string][]byte {
	out := map[string][]byte{}
	docs := documents()
	ringing := docs["available"]
	ringing.Devices = slices.Clone(ringing.Devices)
	ringing.Devices[0].State = presence.Ringing
	ringing.Devices[0].Lines = []presence.Line{{Number: "1001", State: presence.LineEarly}}
	docs["ringing"] = ringing
	for name, doc := range docs {
		out["cisco-"+name] = RenderAs(doc, string(doc.Of), Cisco)
	}
	out["as-user"] = RenderAs(docs["on-the-phone"], "pres:alice@example.com", Standard)
	out["as-line"] = RenderAs(docs["ringing"], "sip:1001@example.com", Standard)
	out["cisco-as-line"] = RenderAs(docs["ringing"], "sip:1001@10.1.1.10", Cisco)
	out["offline"] = Offline("sip:alice@example.com")
	out["pending"] = Pending("sip:alice@example.com")
	return out
}

func TestGoldenForWatchers(t *testing.T) {
	for name, got := range forWatchers() {
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
	}
}

// TestAnyDocumentIsValidBySchema: the golden files are few; these are many.
func TestAnyDocumentIsValidBySchema(t *testing.T) {
	schemas := shared(t, "sip/samples/schemas")
	tool, err := exec.LookPath("xmllint")
	if schemas == "" || err != nil {
		t.Log("not run: needs xmllint (Debian libxml2-utils) and ../shared/sip/samples/schemas")
		return
	}
	dir := t.TempDir()
	args := []string{"--noout", "--nonet", "--schema", filepath.Join(schemas, "presence-all.xsd")}
	any := rapid.Custom(anyDocument)
	for i := range 100 {
		doc := any.Example(i)
		bodies := [][]byte{Render(doc), RenderAs(doc, "sip:1001@example.com", Standard), RenderAs(doc, string(doc.Of), Cisco),
			Offline(string(doc.Of)), Pending(string(doc.Of))}
		for j, body := range bodies {
			file := filepath.Join(dir, fmt.Sprintf("%d-%d.xml", i, j))
			if err := os.WriteFile(file, body, 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, file)
		}
	}
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		for line := range strings.Lines(string(out)) {
			if !strings.HasSuffix(line, " validates\n") {
				t.Error(line)
			}
		}
	}
}

// TestEveryDialectRoundTrips: what each dialect says reads as what was meant,
// under the name that was asked for, with the same octets each time (COMP-09).
func TestEveryDialectRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		doc := anyDocument(t)
		doc.Name = rapid.StringMatching(`[A-Za-zé'<& ]{0,20}`).Draw(t, "name")
		entity := rapid.SampledFrom([]string{"sip:1001@example.com", "pres:o'malley&co@example.com", string(doc.Of)}).Draw(t, "entity")
		d := rapid.SampledFrom([]Dialect{Standard, Cisco}).Draw(t, "dialect")
		body := RenderAs(doc, entity, d)
		if !bytes.Equal(body, RenderAs(doc, entity, d)) {
			t.Fatal("equal documents, unequal octets")
		}
		p, err := Parse(body)
		if err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		want := doc.Availability
		if doc.Freshness != presence.Live && !doc.Manual {
			want = presence.Unknown
		}
		name := strings.TrimSpace(doc.Name)
		if hidden(doc) && doc.Note == "" {
			name = ""
		}
		if p.Availability() != want || p.Entity != entity || p.Name != name {
			t.Fatalf("%s: read as %s, want %s, of %q, called %q\n%s", d, p.Availability(), want, p.Entity, p.Name, body)
		}
		if want == presence.Unknown && p.Tuples[0].Basic == Open {
			t.Fatalf("nobody vouches for it, and it is open:\n%s", body)
		}
		if tu := p.Tuples[0]; !strings.HasPrefix(tu.Contact, "sip:") {
			t.Fatalf("tuple %+v", tu)
		}
	})
}

// TestIDsStay (COMP-04): while the state changes, who reads along by ids finds
// the same tuples, persons and devices again.
func TestIDsStay(t *testing.T) {
	docs := documents()
	first, err := Parse(RenderAs(docs["on-the-phone"], "sip:1001@example.com", Standard))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"available", "do-not-disturb", "offline-unpowered", "last-known"} {
		p, err := Parse(RenderAs(docs[name], "sip:1001@example.com", Standard))
		if err != nil {
			t.Fatal(err)
		}
		for i := range first.Tuples {
			if p.Tuples[i].ID != first.Tuples[i].ID {
				t.Errorf("%s: tuple %d is %s, was %s", name, i, p.Tuples[i].ID, first.Tuples[i].ID)
			}
		}
		if p.Devices[0] != first.Devices[0] && p.Devices[0].ID+p.Devices[0].DeviceID != first.Devices[0].ID+first.Devices[0].DeviceID {
			t.Errorf("%s: device %+v, was %+v", name, p.Devices[0], first.Devices[0])
		}
	}
}

// TestWhoIsBlockedPolitelySeesWhatOfflineLooksLike (PRES-04): one closed tuple,
// no person and no device, in octets that never change, and that are those of
// one who said herself that she is offline.
func TestWhoIsBlockedPolitelySeesWhatOfflineLooksLike(t *testing.T) {
	doc := documents()["offline-by-her-word"]
	body := Offline(string(doc.Of))
	for _, d := range []Dialect{Standard, Cisco} {
		if got := RenderAs(doc, string(doc.Of), d); !bytes.Equal(got, body) {
			t.Errorf("%s: her own word looks otherwise:\n%s\n%s", d, got, body)
		}
	}
	p, err := Parse(body)
	if err != nil || len(p.Tuples) != 1 || p.Basic != Closed || len(p.Devices) != 0 || bytes.Contains(body, []byte("person")) ||
		p.Availability() != presence.Offline || !p.Tuples[0].Timestamp.IsZero() {
		t.Errorf("%+v %v", p, err)
	}
	open, err := Parse(RenderAs(documents()["available"], string(doc.Of), Standard))
	if err != nil || open.Tuples[0].ID != p.Tuples[0].ID {
		t.Errorf("the tuple's id tells that she is there: %s, %s", open.Tuples[0].ID, p.Tuples[0].ID)
	}
}

// TestWhatIsNotKnownIsClosedAndUnknown (PRES-10).
func TestWhatIsNotKnownIsClosedAndUnknown(t *testing.T) {
	p, err := Parse(Pending("sip:1009@example.com"))
	if err != nil || p.Basic != Closed || p.Availability() != presence.Unknown || p.Entity != "sip:1009@example.com" || len(p.Tuples) != 1 {
		t.Errorf("%+v %v", p, err)
	}
}

// TestCiscosWords: one word for each state of a line, as a phone's key knows it.
func TestCiscosWords(t *testing.T) {
	for name, want := range map[string]string{
		"cisco-available":         `<basic>open</basic><e:activities></e:activities>`,
		"cisco-ringing":           `<basic>open</basic><e:activities><ce:alerting/></e:activities>`,
		"cisco-on-the-phone":      `<basic>open</basic><e:activities><e:on-the-phone/></e:activities>`,
		"cisco-do-not-disturb":    `<basic>open</basic><e:activities><ce:dnd/></e:activities>`,
		"cisco-offline-unpowered": `<basic>closed</basic><e:activities></e:activities>`,
		"cisco-last-known":        `<basic>closed</basic><e:activities><e:unknown/></e:activities>`,
		"cisco-never-seen":        `<basic>closed</basic><e:activities><e:unknown/></e:activities>`,
	} {
		body := string(forWatchers()[name])
		if !strings.Contains(body, want) {
			t.Errorf("%s has no %s:\n%s", name, want, body)
		}
		if strings.Contains(body, nsRPID+`"`) || strings.Contains(body, nsCaps+`"`) {
			t.Errorf("%s: both RPID name spaces in one document", name)
		}
	}
}

func TestDialectOf(t *testing.T) {
	for _, c := range []struct {
		agent, kind string
		want        Dialect
	}{
		{"Cisco-CP8861/12.5.1", ContentType, Cisco},
		{"Cisco-CUCM7.0", ContentType, Cisco},
		{"", CPIMContentType, Cisco},
		{"", "Application/CPIM-PIDF+XML", Cisco},
		{"baresip v1.0.0 (x86_64/linux)", ContentType, Standard},
		{"", "", Standard},
	} {
		if got := DialectOf(c.agent, c.kind); got != c.want {
			t.Errorf("%q, %q: %s", c.agent, c.kind, got)
		}
	}
}

// TestEveryFullPartialSampleParses: the full states of partial presence are
// documents; the differences are none.
func TestEveryFullPartialSampleParses(t *testing.T) {
	dir := shared(t, "sip/samples/pidf-partial")
	if dir == "" {
		t.Log("not run: ../shared/sip/samples/pidf-partial is absent")
		return
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.xml"))
	if err != nil || len(files) < 5 {
		t.Fatal(len(files), "samples", err)
	}
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Parse(body)
		if full := bytes.Contains(body, []byte("<p:pidf-full")); full != (err == nil) {
			t.Errorf("%s: %v", filepath.Base(f), err)
		} else if full && (p.Availability() != presence.OnThePhone || len(p.Tuples) < 3 || p.Note != "Full state presence document") {
			t.Errorf("%s: %+v", filepath.Base(f), p)
		}
	}
}

// TestWhatUnifiedCMsTrunkPublishes: closed of who is busy is not offline, and
// her phone can do what it could. Of the body only basic and busy are documented,
// so that the latter is read in either name space, in the tuple or beside it.
func TestWhatUnifiedCMsTrunkPublishes(t *testing.T) {
	const tuple = `<tuple id="SEP0011AABBCCDD"><status><basic>%s</basic>%s</status>` +
		`<sc:servcaps xmlns:sc="urn:ietf:params:xml:ns:pidf:servcaps"><sc:audio>true</sc:audio></sc:servcaps></tuple>`
	const busy = `<r:activities><r:busy/></r:activities>`
	const person = `<dm:person xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" id="p1">%s</dm:person>`
	for _, c := range []struct {
		name, basic, inTuple, beside string
		want                         presence.Availability
		audio                        bool
	}{
		{"free", "open", "", "", presence.Available, true},
		{"busy, said of the service", "closed", busy, "", presence.Busy, true},
		{"busy, said of the person", "closed", "", fmt.Sprintf(person, busy), presence.Busy, true},
		{"busy, and open", "open", busy, "", presence.Busy, true},
		{"gone", "closed", "", "", presence.Offline, false},
		{"gone, on vacation", "closed", `<r:activities><r:vacation/></r:activities>`, "", presence.OutOfOffice, false},
	} {
		for _, space := range []string{nsRPID, nsOldRPID} {
			body := `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:r="` + space + `" entity="sip:alice@example.com">` +
				fmt.Sprintf(tuple, c.basic, c.inTuple) + c.beside + `</presence>`
			p, err := Parse([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			abilities, said := p.Abilities()
			if p.Availability() != c.want || said != c.audio || abilities.Audio != c.audio {
				t.Errorf("%s: read as %s, %+v %v", c.name, p.Availability(), abilities, said)
			}
		}
	}
}

// TestWhatUnifiedPresenceWrites: the person's activities in Cisco's name space.
func TestWhatUnifiedPresenceWrites(t *testing.T) {
	for word, want := range map[string]presence.Availability{
		"available": presence.Available, "away": presence.Away, "busy": presence.Busy, "dnd": presence.DoNotDisturb,
	} {
		body := `<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:ce="urn:cisco:params:xml:ns:pidf:rpid" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" entity="sip:alice@example.com">
 <dm:person><ce:activities><ce:` + word + `/><ce:phone-status/><ce:im-status/></ce:activities></dm:person>
 <tuple id="cisco-upc"><status><basic>open</basic></status><contact priority="0.6">sip:alice@example.com</contact></tuple></presence>`
		if p, err := Parse([]byte(body)); err != nil || p.Availability() != want {
			t.Errorf("%s: %+v %v", word, p, err)
		}
	}
}

// TestTextIsWhatEncodingXMLWrites: but for what XML can't hold, which is left out.
func TestTextIsWhatEncodingXMLWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching("[a-c<>&'\"\n\t\uFFFE\uFFFD]{0,12}"),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "s")
		var want bytes.Buffer
		_ = xml.EscapeText(&want, []byte(withoutControls(s)))
		if got := AppendText([]byte("x"), s); string(got) != "x"+want.String() {
			t.Fatalf("%q: %q, want %q", s, got, want.String())
		}
	})
}

func withoutControls(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}

// twoDevices is a person as most are: two devices, a name, a note.
func twoDevices() presence.Document {
	doc := documents()["on-the-phone"]
	second := doc.Devices[0]
	second.Name, second.State = "SEP0011AABBCCDE", presence.Idle
	doc.Devices = append(doc.Devices, second)
	doc.Note = "In building 7"
	return doc
}

func BenchmarkRender(b *testing.B) {
	doc := twoDevices()
	for name, f := range map[string]func() []byte{
		"uplink":   func() []byte { return Render(doc) },
		"standard": func() []byte { return RenderAs(doc, "sip:1001@example.com", Standard) },
		"cisco":    func() []byte { return RenderAs(doc, "sip:1001@example.com", Cisco) },
		"offline":  func() []byte { return Offline("sip:1001@example.com") },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	body := RenderAs(twoDevices(), "sip:1001@example.com", Standard)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(body); err != nil {
			b.Fatal(err)
		}
	}
}
