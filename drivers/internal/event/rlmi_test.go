package event

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"pilotlight/drivers/internal/pidf"
)

// someList is a list of four, one of each kind, with the parts it refers to.
func someList() (ResourceList, []Part) {
	l := ResourceList{URI: "sip:team@example.com", Version: 1, Full: true, Names: []Name{{"en", "The team"}, {"fr", "L'équipe"}},
		Resources: []Resource{
			{URI: "sip:alice@example.com", Names: []Name{{Text: "Alice"}}, Instances: []Instance{{ID: "i1", State: Active, CID: "1@example.com"}}},
			{URI: "sip:bob@example.com", Instances: []Instance{{ID: "i2", State: Pending}}},
			{URI: "sip:carol@example.com", Instances: []Instance{{ID: "i3", State: Ended, Reason: "rejected"}}},
			{URI: "sip:dave@example.com"}, // nothing known of him (RLS-05)
		}}
	return l, []Part{{ID: "1@example.com", ContentType: pidf.ContentType, Body: pidf.Offline("sip:alice@example.com")}}
}

func TestGoldenList(t *testing.T) {
	l, parts := someList()
	kind, body, err := RenderList(l, parts)
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "list.mime", append([]byte("Content-Type: "+kind+"\r\n\r\n"), body...))
	outer := ResourceList{URI: "sip:all@example.com", Version: 2, Resources: []Resource{{URI: l.URI, Instances: []Instance{{ID: "x", State: Active, CID: "team@example.com"}}}}}
	outerKind, nested, err := RenderList(outer, []Part{{ID: "team@example.com", ContentType: kind, Body: body}})
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "list-nested.mime", append([]byte("Content-Type: "+outerKind+"\r\n\r\n"), nested...))
	got, err := ParseList(outerKind, nested, false)
	if err != nil {
		t.Fatal(err)
	}
	inner := got.Nested["team@example.com"] // RLS-06
	if d := cmp.Diff(l, inner.List) + cmp.Diff(parts[0].Body, inner.Parts[0].Body); d != "" {
		t.Error(d)
	}
	if _, ok := got.Part("1@example.com"); ok {
		t.Error("an id of the inner list is found in the outer one (RLS-04)")
	}
	if p, ok := inner.Part("1@example.com"); !ok || p.ContentType != `application/pidf+xml;charset="UTF-8"` {
		t.Errorf("%+v %v", p, ok)
	}
	wantValid(t, "rlmi.xsd", RenderRLMI(l), RenderRLMI(outer), RenderRLMI(ResourceList{URI: "sip:empty@example.com", CID: "about@example.com"}))
}

func anyList(t *rapid.T) ResourceList {
	l := ResourceList{URI: anyURI.Draw(t, "list"), Version: rapid.Uint32().Draw(t, "version"), Full: rapid.Bool().Draw(t, "full"), Names: anyNames(t)}
	for r := range rapid.IntRange(0, 3).Draw(t, "resources") {
		res := Resource{URI: anyURI.Draw(t, "uri"), Names: anyNames(t)}
		for i := range rapid.IntRange(0, 2).Draw(t, "instances") {
			inst := Instance{ID: fmt.Sprint("i", i), State: rapid.SampledFrom([]Status{Active, Pending, Ended}).Draw(t, "state")}
			switch inst.State {
			case Active:
				inst.CID = fmt.Sprintf("%d.%d@example.com", r, i)
			case Ended:
				inst.Reason = "noresource"
			}
			res.Instances = append(res.Instances, inst)
		}
		l.Resources = append(l.Resources, res)
	}
	return l
}

func anyNames(t *rapid.T) (names []Name) {
	for range rapid.IntRange(0, 2).Draw(t, "names") {
		names = append(names, Name{rapid.SampledFrom([]string{"", "en", "de-CH"}).Draw(t, "lang"), anyWord.Draw(t, "name")})
	}
	return names
}

func TestRenderedListsAreValidBySchema(t *testing.T) {
	any := rapid.Custom(anyList)
	var bodies [][]byte
	for i := range 50 {
		bodies = append(bodies, RenderRLMI(any.Example(i)))
	}
	wantValid(t, "rlmi.xsd", bodies...)
}

// TestListsReadBack: whatever is in the parts, boundaries of ours too.
func TestListsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := ListBody{List: anyList(t)}
		for _, r := range want.List.Resources {
			for _, i := range r.Instances {
				if i.CID != "" {
					want.Parts = append(want.Parts, Part{ID: i.CID, ContentType: "text/plain",
						Body: []byte(rapid.StringMatching(`(pilotlight-[0-3]|\r\n--pilotlight-[0-2]|--|\r|\n| |[a-z]){0,8}`).Draw(t, "body"))})
				}
			}
		}
		kind, body, err := RenderList(want.List, want.Parts)
		if err != nil {
			t.Fatal(err)
		}
		kind2, body2, _ := RenderList(want.List, want.Parts)
		if kind2 != kind || !bytes.Equal(body, body2) {
			t.Fatal("equal lists, unequal octets")
		}
		got, err := ParseList(kind, body, false)
		if err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s\n%s", d, body)
		}
	})
}

// TestWhatDoesNotFitIsNotRendered (RLS-04).
func TestWhatDoesNotFitIsNotRendered(t *testing.T) {
	for name, change := range map[string]func(*ResourceList, *[]Part){
		"no URI":                    func(l *ResourceList, _ *[]Part) { l.URI = "" },
		"a resource without URI":    func(l *ResourceList, _ *[]Part) { l.Resources[1].URI = "" },
		"active without a part":     func(l *ResourceList, _ *[]Part) { l.Resources[0].Instances[0].CID = "" },
		"terminated without reason": func(l *ResourceList, _ *[]Part) { l.Resources[2].Instances[0].Reason = "" },
		"no id":                     func(l *ResourceList, _ *[]Part) { l.Resources[1].Instances[0].ID = "" },
		"a state of nobody":         func(l *ResourceList, _ *[]Part) { l.Resources[1].Instances[0].State = "asleep" },
		"a part that is not there":  func(_ *ResourceList, p *[]Part) { *p = nil },
		"a part that nobody wants":  func(_ *ResourceList, p *[]Part) { *p = append(*p, Part{ID: "2@x", ContentType: "a/b"}) },
		"a part twice":              func(_ *ResourceList, p *[]Part) { *p = append(*p, (*p)[0]) },
		"an id with brackets": func(l *ResourceList, p *[]Part) {
			l.Resources[0].Instances[0].CID, (*p)[0].ID = "<1@example.com>", "<1@example.com>"
		},
		"a header in the type": func(_ *ResourceList, p *[]Part) { (*p)[0].ContentType = "a/b\r\nX: y" },
	} {
		l, parts := someList()
		change(&l, &parts)
		if _, body, err := RenderList(l, parts); err == nil {
			t.Errorf("%s:\n%s", name, body)
		}
	}
}

func TestRealListsAreRead(t *testing.T) {
	want := map[string]string{
		"asterisk-rlmi": "7 full: active active terminated pending", "rfc4662-0": "7 full: active active terminated pending",
		"rfc4662-3": "1 full: active active", "rfc4662-6": "2 partial: pending active", "rfc4662-7": "1 full: active active",
	}
	for _, path := range beside(t, "rlmi/*.xml") {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		l, err := ParseRLMI(b, false)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if name := strings.TrimSuffix(filepath.Base(path), ".xml"); describeList(l) != want[name] || len(l.Names) != 2 {
			t.Errorf("%q: %q, %v", name, describeList(l), l.Names)
		}
	}
}

func describeList(l ResourceList) string {
	s := fmt.Sprint(l.Version, " partial:")
	if l.Full {
		s = fmt.Sprint(l.Version, " full:")
	}
	for _, r := range l.Resources {
		for _, i := range r.Instances {
			s += " " + string(i.State)
		}
	}
	return s
}

// TestRealBodiesAreRead: those in the drafts' name space only where that is
// wanted (RLS-12). Of one the inner list is signed, and stays a part.
func TestRealBodiesAreRead(t *testing.T) {
	want := map[string]string{
		"resip-rls-11.mime":                 "1 full: active active",
		"resip-testMultipartRelated-20.sip": "1 full: active active",
		"resip-testMultipartRelated-21.sip": "2 partial: pending active",
	}
	for _, path := range append(beside(t, "rlmi-multipart/*.mime"), beside(t, "sip-message/resip-testMultipartRelated-*.sip")...) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		kind, body := listIn(b)
		if _, err := ParseList(kind, body, false); err == nil {
			t.Errorf("%s: the drafts' name space is taken", path)
		}
		l, err := ParseList(kind, body, true)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if name := filepath.Base(path); describeList(l.List) != want[name] || l.List.Names[0].Text != "Buddy List at COM" {
			t.Errorf("%q: %q", name, describeList(l.List))
		}
		for _, r := range l.List.Resources {
			for _, i := range r.Instances {
				p, ok := l.Part(i.CID)
				if ok != (i.State == Active) {
					t.Errorf("%s: %s: part %q %v", path, r.URI, i.CID, ok)
				}
				if contentType(p.ContentType) != pidf.ContentType {
					continue
				}
				if doc, err := pidf.Parse(p.Body); err != nil || doc.Entity != r.URI {
					t.Errorf("%s: %s: %v", path, r.URI, err)
				}
			}
		}
	}
}

// listIn gives content type and body of a message, or of a body alone.
func listIn(b []byte) (kind string, body []byte) {
	if limit, ok := bytes.CutPrefix(b, []byte("--")); ok {
		limit, _, _ = bytes.Cut(limit, []byte("\r\n"))
		return `multipart/related;type="application/rlmi+xml";boundary=` + string(limit), b
	}
	head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	if body == nil {
		head, body, _ = bytes.Cut(b, []byte("\n\n"))
	}
	_, kind, _ = strings.Cut(string(head), "Content-Type:")
	kind, _, _ = strings.Cut(kind, "Content-Length")
	return strings.Join(strings.Fields(kind), " "), body
}

func TestHostileListsAreRefused(t *testing.T) {
	const head = `<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:a@b" version="0" fullState="true">`
	many := "<resource>" + strings.Repeat(`<instance id="a" state="pending"/>`, maxInstances+1) + "</resource></list>"
	for name, doc := range map[string]string{
		"nothing":           "",
		"the drafts' name":  strings.Replace(head, ":rlmi", ":rmli", 1) + "</list>",
		"another root":      `<resource-lists xmlns="urn:ietf:params:xml:ns:rlmi"/>`,
		"entities":          `<!DOCTYPE x [<!ENTITY a "aaaa">]>` + head + `</list>`,
		"no version":        strings.Replace(head, "version", "v", 1) + "</list>",
		"no fullState":      strings.Replace(head, "fullState", "f", 1) + "</list>",
		"a state of nobody": head + `<resource><instance state="asleep"/></resource></list>`,
		"many resources":    head + strings.Repeat("<resource/>", maxResources+1) + "</list>",
		"many instances":    head + many,
		"many names":        head + strings.Repeat("<name/>", maxInstances+1) + "</list>",
		"deep":              head + strings.Repeat("<a>", maxDepth) + strings.Repeat("</a>", maxDepth) + "</list>",
		"cut":               head,
	} {
		if l, err := ParseRLMI([]byte(doc), false); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
	part := "--b\r\nContent-Type: application/rlmi+xml\r\n\r\n" + head + "</list>\r\n"
	kind := `multipart/related;type="application/rlmi+xml";boundary="b"`
	if _, err := ParseList(kind, []byte(part+"--b--"), false); err != nil {
		t.Error(err)
	}
	for name, c := range map[string][2]string{
		"not multipart":       {"application/pidf+xml", part + "--b--"},
		"no boundary":         {"multipart/related", part + "--b--"},
		"another boundary":    {`multipart/related;boundary=c`, part + "--b--"},
		"no such start":       {kind + `;start="<x@y>"`, part + "--b--"},
		"nothing":             {kind, ""},
		"no part":             {kind, "--b--\r\n"},
		"a root that is none": {kind, "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b--"},
		"cut":                 {kind, part},
		"a coding":            {kind, "--b\r\nContent-Transfer-Encoding: base64\r\nContent-Type: application/rlmi+xml\r\n\r\nPGxpc3QvPg==\r\n--b--"},
		"many parts":          {kind, strings.Repeat("--b\r\n\r\n\r\n", maxParts+1) + "--b--"},
		"long":                {kind, strings.Repeat(" ", maxListBody) + part + "--b--"},
	} {
		if l, err := ParseList(c[0], []byte(c[1]), false); err == nil {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// TestListsNestOnlySoDeep (RLS-10): what lies deeper stays a part.
func TestListsNestOnlySoDeep(t *testing.T) {
	l := ResourceList{URI: "sip:l@example.com", Full: true}
	kind, body, err := RenderList(l, nil)
	for range 6 {
		if err != nil {
			t.Fatal(err)
		}
		l.Resources = []Resource{{URI: "sip:l@example.com", Instances: []Instance{{ID: "x", State: Active, CID: "x@y"}}}}
		kind, body, err = RenderList(l, []Part{{"x@y", kind, body}})
	}
	got, err := ParseList(kind, body, false)
	if err != nil {
		t.Fatal(err)
	}
	depth := 1
	for ; len(got.Nested) > 0; depth++ {
		got = got.Nested["x@y"]
	}
	if depth != maxNesting || len(got.Parts) != 1 {
		t.Errorf("%d deep, then %d parts", depth, len(got.Parts))
	}
}

func FuzzParseRLMI(f *testing.F) {
	for _, path := range beside(f, "rlmi/*.xml") {
		if b, err := os.ReadFile(path); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseRLMI(b, true)
		if err != nil {
			return
		}
		if again, err := ParseRLMI(RenderRLMI(l), false); err != nil || len(again.Resources) != len(l.Resources) {
			t.Fatalf("%+v is not read back: %v", l, err)
		}
	})
}

func FuzzParseList(f *testing.F) {
	for _, path := range append(beside(f, "rlmi-multipart/*.mime"), beside(f, "sip-message/resip-testMultipartRelated-*.sip")...) {
		if b, err := os.ReadFile(path); err == nil {
			kind, body := listIn(b)
			f.Add(kind, body)
		}
	}
	l, parts := someList()
	if kind, body, err := RenderList(l, parts); err == nil {
		f.Add(kind, body)
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		l, err := ParseList(kind, body, true)
		if err == nil && len(l.Parts) >= maxParts {
			t.Fatal("too many parts")
		}
	})
}

// BenchmarkRenderList: twenty people with two kilobytes each.
func BenchmarkRenderList(b *testing.B) {
	l := ResourceList{URI: "sip:team@example.com", Full: true}
	var parts []Part
	for n := range 20 {
		cid := fmt.Sprintf("%d@example.com", n)
		l.Resources = append(l.Resources, Resource{URI: "sip:alice@example.com", Names: []Name{{Text: "Alice Martin"}}, Instances: []Instance{{ID: "1", State: Active, CID: cid}}})
		parts = append(parts, Part{ID: cid, ContentType: pidf.ContentType, Body: bytes.Repeat(pidf.Offline("sip:alice@example.com"), 8)})
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := RenderList(l, parts); err != nil {
			b.Fatal(err)
		}
	}
}
