package phone

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"pilotlight/agent/presence"
)

var update = flag.Bool("update", false, "write the golden files anew")

// parsers read a golden body by the beginning of its name.
var parsers = []struct {
	prefix string
	parse  func(body []byte, contentType string) (any, error)
}{
	{"device", page(Page.Device)},
	{"network", page(Page.Network)},
	{"stream", page(Page.Stream)},
	{"port", page(func(p Page) (PortPage, error) { return p.Ports("network") })},
	{"ethernet", page(Page.Ethernet)},
	{"lines", whole(ParseLineInfo)},
	{"calls", whole(ParseCallInfo)},
	{"mode", whole(ParseModeInfo)},
	{"log", whole(ParseDeviceLog)},
	{"status", whole(ParseStatus)},
	{"error4", whole(ParseLineInfo)},
}

func page[T any](read func(Page) (T, error)) func([]byte, string) (any, error) {
	return func(body []byte, contentType string) (any, error) {
		p, err := ParsePage(body, contentType)
		if err != nil {
			return nil, err
		}
		return read(p)
	}
}

func whole[T any](parse func([]byte, string) (T, error)) func([]byte, string) (any, error) {
	return func(body []byte, contentType string) (any, error) { return parse(body, contentType) }
}

func parserOf(t testing.TB, file string) func([]byte, string) (any, error) {
	t.Helper()
	for _, p := range parsers {
		if strings.HasPrefix(filepath.Base(file), p.prefix) {
			return p.parse
		}
	}
	t.Fatalf("no parser for %s", file)
	return nil
}

func goldenFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*/*.xml")
	if err != nil || len(files) < 73 {
		t.Fatalf("%d golden bodies, %v", len(files), err)
	}
	return files
}

// Every golden body of every family, and what is read in it: testdata/parsed.json.
func TestWhatEachBodySays(t *testing.T) {
	got := map[string]any{}
	for _, file := range goldenFiles(t) {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		v, err := parserOf(t, file)(body, `text/xml; charset="utf-8"`)
		if err != nil {
			v = "error: " + err.Error()
		}
		name, _ := filepath.Rel("testdata", file)
		got[filepath.ToSlash(name)] = v
	}
	b, err := json.MarshalIndent(got, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/parsed.json"
	if *update {
		if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(b)+"\n"); diff != "" {
		t.Errorf("-want +got (-update writes it anew):\n%s", diff)
	}
}

// A body cut anywhere is an error, or, where only blanks are missing, the body: it
// makes no phone registered, in use or idle that the whole page does not.
func TestABodyCutAnywhereTellsNothingWrong(t *testing.T) {
	for _, file := range goldenFiles(t) {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(file, func(t *testing.T) {
			t.Parallel() // each byte of each body: the longest of all tests here
			cutAnywhere(t, file, body, parserOf(t, file))
		})
	}
}

func cutAnywhere(t *testing.T, file string, body []byte, parse func([]byte, string) (any, error)) {
	t.Helper()
	all, allErr := parse(body, "text/xml")
	for n := range body {
		cut, err := parse(body[:n], "text/xml")
		if err == nil && (allErr != nil || !reflect.DeepEqual(all, cut)) {
			t.Fatalf("%s cut at %d of %d is taken for a page: %v", file, n, len(body), cut)
		}
		if err != nil && !errors.Is(err, errHalf) && !errors.Is(err, errEmpty) && !errors.Is(err, errNotXML) && (allErr == nil || err.Error() != allErr.Error()) {
			t.Fatalf("%s cut at %d: %v", file, n, err)
		}
	}
}

// So is an adapter's, whose root element counts for nothing and cannot vouch for it.
func TestAnAdaptersBodyCutAnywhereTellsNothingWrong(t *testing.T) {
	for _, c := range []struct {
		file, adapter string
		read          func(Page) (any, error)
	}{
		{"device.xml", "device", func(p Page) (any, error) { return p.Device() }},
		{"network.xml", "configuration", func(p Page) (any, error) { return p.Network() }},
		{"stream-active.xml", "streaming.0", func(p Page) (any, error) { return p.Stream() }},
		{"stream-idle.xml", "streaming.1", func(p Page) (any, error) { return p.Stream() }},
		{"port-cdp.xml", "port.network", func(p Page) (any, error) { return p.Ports("network") }},
	} {
		cutAnywhere(t, c.adapter, golden(t, "7945", c.file), func(body []byte, contentType string) (any, error) {
			p, err := ParseServiceability(body, contentType, c.adapter)
			if err != nil {
				return nil, err
			}
			return c.read(p)
		})
	}
}

// Each icon of a line key, and what it makes of the phone.
func TestIconsOfALineKey(t *testing.T) {
	for icon, want := range map[string]presence.Line{
		"ONHOOK": {State: presence.LineIdle}, " onhook ": {State: presence.LineIdle}, "null": {State: presence.LineUnknown},
		"OFFHOOK":   {State: presence.LineTrying, Outgoing: true},
		"RINGOUT":   {State: presence.LineEarly, Outgoing: true},
		"RINGIN":    {State: presence.LineEarly},
		"CONNECTED": {State: presence.LineConfirmed}, "CONFERENCE": {State: presence.LineConfirmed},
		"HOLD": {State: presence.LineConfirmed, Held: true}, "REMHOLD": {State: presence.LineConfirmed, Held: true},
		"REMINUSE": {State: presence.LineConfirmed, Elsewhere: true},
		"BEZIG":    {State: presence.LineConfirmed}, // a word nobody knows is a call
	} {
		body := "<CiscoIPPhoneLineInfo><CiscoIPPhoneLines><LineType>9</LineType><lineDirNum>4001</lineDirNum><LineIconState>" + icon +
			"</LineIconState></CiscoIPPhoneLines></CiscoIPPhoneLineInfo>"
		info, err := ParseLineInfo([]byte(body), "")
		if err != nil || len(info.Keys) != 1 {
			t.Fatalf("%s: %+v, %v", icon, info, err)
		}
		want.Number = "4001"
		if diff := cmp.Diff(want, info.Keys[0].Line); diff != "" {
			t.Errorf("%s (-want +got):\n%s", icon, diff)
		}
	}
}

// A lamp for a neighbour's line says nothing of this phone.
func TestALampIsNoCallOfTheirOwn(t *testing.T) {
	info, err := ParseLineInfo(golden(t, "8845", "lines-idle.xml"), "")
	if err != nil || len(info.Keys) != 3 {
		t.Fatalf("%+v, %v", info, err)
	}
	if calls := info.Calls(); len(calls.Lines) != 1 || calls.Lines[0].State != presence.LineIdle || !calls.Exact {
		t.Errorf("calls %+v", calls)
	}
	if n := info.Numbers(); !slices.Equal(n, []string{"4002"}) {
		t.Errorf("numbers %q", n)
	}
}

// Who the far side is stays on the page.
func TestTheFarSideIsNotKept(t *testing.T) {
	info, err := ParseCallInfo(golden(t, "8845", "calls.xml"), "")
	if err != nil || len(info.Calls) != 2 {
		t.Fatalf("%+v, %v", info, err)
	}
	status, err := ParseStatus(golden(t, "8851-3pcc", "status-connected.xml"), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{info, status} {
		b, _ := json.Marshal(v)
		if s := string(b); strings.Contains(s, "4077") || strings.Contains(s, "Somebody") {
			t.Errorf("%s", s)
		}
	}
}

func TestWhatAPhonesOwnRefusalIs(t *testing.T) {
	var refused *PhoneError
	if _, err := ParseLineInfo(golden(t, "8845", "error4.xml"), ""); !errors.As(err, &refused) || refused.Number != 4 {
		t.Errorf("%v", err)
	}
}

func TestTheAdaptersTellTheSame(t *testing.T) {
	body := strings.NewReplacer("<DeviceInformation>", "<x>", "</DeviceInformation>", "</x>").Replace(string(golden(t, "7945", "device.xml")))
	p, err := ParseServiceability([]byte(body), "text/xml", "device")
	if err != nil {
		t.Fatal(err)
	}
	if d, err := p.Device(); err != nil || d.HostName != "SEP0C1167AA0009" || d.Model != "CP-7945G" {
		t.Errorf("%+v, %v", d, err)
	}
	if p, err := ParseServiceability([]byte("<html/>"), "text/html", "device"); err == nil {
		t.Errorf("a login page is taken for %+v", p)
	}
}

// Whatever a phone sends, what is kept is bounded, clean and one line each.
func FuzzBodies(f *testing.F) {
	for _, file := range goldenFiles(f) {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, p := range parsers {
			v, err := p.parse(body, "text/xml")
			if err != nil {
				clean(t, err.Error())
				continue
			}
			texts(reflect.ValueOf(v), func(s string) { clean(t, s) })
		}
	})
}

func clean(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > 2*maxValue || strings.ContainsFunc(s, unicode.IsControl) {
		t.Errorf("%q", s)
	}
}

// texts visits each text in a value.
func texts(v reflect.Value, visit func(string)) {
	switch v.Kind() {
	case reflect.String:
		visit(v.String())
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			texts(v.Elem(), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				texts(v.Field(i), visit)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			texts(v.Index(i), visit)
		}
	}
}
