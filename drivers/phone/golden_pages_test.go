package phone

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pilotlight/agent/presence"
)

// The columns of the table of pages, in the order in which they are read.
var goldenPages = []struct {
	name string
	path *regexp.Regexp
	has  func(Family) bool // as the family's row has it
	told func(map[string]presence.Facts) []string
}{
	{"DeviceInformationX", regexp.MustCompile(`^/DeviceInformationX$`), hasPages,
		func(all map[string]presence.Facts) []string { return whoCell(all[sourceDevice]) }},
	{"NetworkConfigurationX", regexp.MustCompile(`^/NetworkConfigurationX$`), hasPages,
		func(all map[string]presence.Facts) []string { return registrationCell(all[sourceNetwork]) }},
	{"StreamingStatisticsX", regexp.MustCompile(`^/StreamingStatisticsX\?`), func(f Family) bool { return f.Streams > 0 },
		func(all map[string]presence.Facts) []string { return streamCell(all[sourceWeb]) }},
	{"PortInformationX", regexp.MustCompile(`^/PortInformationX\?`), func(f Family) bool { return f.Ports }, portCell},
	{"EthernetInformationX", regexp.MustCompile(`^/EthernetInformationX$`), func(f Family) bool { return f.Ports }, ethernetCell},
	{"LineInfo", regexp.MustCompile(`/LineInfo$`), func(f Family) bool { return len(f.Lines) > 0 },
		func(all map[string]presence.Facts) []string { return callCell(all[sourceWeb]) }},
	{"CallInfo", regexp.MustCompile(`/CallInfo1$`), func(f Family) bool { return f.Calls("sip8821.11-0-6SR4-1") },
		func(all map[string]presence.Facts) []string { return callCell(all[sourceWeb])[:1] }},
	{"ModeInfo", regexp.MustCompile(`/ModeInfo$`), func(f Family) bool { return f.Mode }, screenCell},
	{"DeviceLogX", regexp.MustCompile(`^/DeviceLogX\?`), func(f Family) bool { return f.Log }, logCell},
	{"status.xml", regexp.MustCompile(`/status\.xml$`), func(f Family) bool { return f.Dialect == flatDialect }, statusCell},
}

// hasPages: an 840 has an interface of its own, which is not read.
func hasPages(f Family) bool { return f.Dialect == pageDialect && f.Name != "840, 860" }

// goldenPhone is a phone by its pages, with another model or firmware in them.
type goldenPhone struct{ label, folder, model, firmware string }

// goldenPhones are a phone of each family, in the order of the README. Where no page
// of the family is at hand, another's stands in under its model.
var goldenPhones = []goldenPhone{
	{"7905, 7912", "7841", "CP-7912G", ""},
	{"7940, 7960", "7940-french", "", ""},
	{"7906, 7911, 7931, 7941 to 7975", "7945", "", ""},
	{"6900", "6941", "", ""},
	{"7800", "7841", "", ""},
	{"8800", "8845", "", ""},
	{"8821 before 11.0(5)SR3", "8821", "", "sip8821.11-0-5SR2-1"},
	{"8821 from 11.0(5)SR3 on", "8821", "", "sip8821.11-0-5SR3-1"},
	{"8961, 9951, 9971", "9971", "", ""},
	{"8875, 9800", "7841", "DP-9841", ""},
	{"MPP: 6800, 7800, 8800 with 3PCC firmware", "8851-3pcc", "", ""},
	{"SPA 300, SPA 500", "spa504g", "", ""},
	{"ATA 190, SPA 100", "ata191", "", ""},
	{"840, 860", "7841", "CP-860", ""},
}

// phoneState is an element of states.
type phoneState = struct {
	name, lines, status string
	set                 func(*fakePhone)
}

// odd is a state of the phone's keys that no source names.
const odd = "in a word not known"

// The golden table of pages: family × page × state → what is told.
func TestTableOfPages(t *testing.T) {
	all := append(slices.Clone(states), phoneState{name: odd, lines: odd})
	var b strings.Builder
	b.WriteString("What each page of each family tells in each state. –: the family has no such page, and is not asked for it;\n" +
		"not there: it is asked, since nobody knows, and has none; not asked: there is no need in that state.\n\n")
	fmt.Fprintf(&b, "%-24s %-22s %-40s %-58s %s\n", "family", "page", "state", "told without a user", "told with one")
	covered := map[string]bool{}
	for _, g := range goldenPhones {
		told := map[string]map[string][2]string{} // by page and state
		var shown []string
		for _, st := range all {
			if isFlat(g.folder) && (st.status == "" || !exists(g.folder, st.status)) {
				continue // no page of that family in that state is at hand
			}
			shown = append(shown, st.name)
			for i, creds := range []Credentials{{}, ours} {
				family, cells := pagesIn(t, g, st, creds)
				covered[family] = true
				for page, c := range cells {
					if told[page] == nil {
						told[page] = map[string][2]string{}
					}
					both := told[page][st.name]
					both[i] = c
					told[page][st.name] = both
				}
			}
		}
		for _, p := range goldenPages {
			writeStates(&b, g.label, p.name, shown, told[p.name])
		}
	}
	for _, f := range Families {
		if !covered[f.Name] {
			t.Errorf("no phone of %s", f.Name)
		}
	}
	sameAsFile(t, "testdata/pages.txt", b.String())
}

// pagesIn is what each page of a phone in a state tells, at one sweep.
func pagesIn(t *testing.T, g goldenPhone, st phoneState, creds Credentials) (string, map[string]string) {
	t.Helper()
	v, family := standIn(t, g, creds)
	if st.set != nil {
		st.set(v.f)
	}
	v.f.files.Store(pathStatus, st.status)
	if len(family.Lines) > 0 {
		keys(t, v.f, family.Lines[0], st.lines)
	}
	v.a.news = true
	facts, asked, _ := v.try() // an 840 tells nothing, which is an error
	cells := map[string]string{}
	for _, p := range goldenPages {
		cells[p.name] = "–"
		switch was := slices.ContainsFunc(asked, p.path.MatchString); {
		case was && p.has(family):
			parts := p.told(facts)
			if p.name == "LineInfo" && slices.ContainsFunc(asked, pageOf("CallInfo").MatchString) {
				parts[0] = "some call"
			}
			cells[p.name] = strings.Join(parts, ", ")
		case was:
			cells[p.name] = "not there"
		case !p.has(family), p.name == "CallInfo" && !family.Calls(v.a.device.Firmware):
		case creds.User == "" && strings.HasSuffix(p.name, "Info"):
			cells[p.name] = "needs a user"
		default:
			cells[p.name] = "not asked"
		}
	}
	return family.Name, cells
}

func pageOf(name string) *regexp.Regexp {
	for _, p := range goldenPages {
		if p.name == name {
			return p.path
		}
	}
	return nil
}

// keys gives a phone the keys of an 8845 in a state. The call behind a word that is
// not known is one that the phone holds.
func keys(t *testing.T, f *fakePhone, path, file string) {
	t.Helper()
	f.files.Store(path, "../8845/"+file)
	if file == odd {
		f.sends(path, 200, strings.ReplaceAll(read(t, "8845", "lines-connected.xml"), ">CONNECTED<", ">WHISPER<"))
		f.sends(strings.Replace(path, "LineInfo", "CallInfo1", 1), 200, strings.ReplaceAll(read(t, "8845", "calls.xml"), ">CONNECTED<", ">HOLD<"))
	}
}

// standIn is a phone that has the pages which its family's row says, and no others.
func standIn(t *testing.T, g goldenPhone, creds Credentials) (*visited, Family) {
	t.Helper()
	folder := g.folder
	v := visiting(t, folder, "any", creds)
	if isFlat(folder) {
		return v, rowOf(t, productIn(t, folder))
	}
	body := read(t, folder, "device.xml")
	model := elementOf(body, "modelNumber")
	if g.model != "" {
		body, model = strings.ReplaceAll(body, model, g.model), g.model
	}
	if g.firmware != "" {
		body = strings.ReplaceAll(body, elementOf(body, "versionID"), g.firmware)
	}
	v.f.sends(pathDevice, 200, body)
	family := rowOf(t, model)
	v.f.files.Store(pathNetwork, "../7841/network.xml")
	for path, file := range usual {
		for _, p := range goldenPages {
			switch {
			case !p.path.MatchString(path) || p.name == "LineInfo":
			case !p.has(family):
				v.f.files.Store(path, "")
			case !exists(folder, file) && path != pathNetwork:
				v.f.files.Store(path, "../8845/"+file)
			}
		}
	}
	v.f.files.Store(pathLines, "")
	if family.Name == "840, 860" { // an interface of its own, in another place
		v.f.sends(pathDevice, 404, "")
		v.f.files.Store(pathNetwork, "")
	}
	return v, family
}

// rowOf is the family as the table has it, without what is tried for want of knowledge.
func rowOf(t *testing.T, model string) Family {
	t.Helper()
	name := FamilyOf(model).Name
	for _, f := range Families {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("%q is of no family", model)
	return Family{}
}

func read(t *testing.T, folder, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", folder, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func productIn(t *testing.T, folder string) string {
	t.Helper()
	s, err := ParseStatus([]byte(read(t, folder, "status-idle.xml")), "text/xml")
	if err != nil {
		t.Fatal(err)
	}
	return s.Product
}

// elementOf is the text of the first element of that name.
func elementOf(body, name string) string {
	_, rest, _ := strings.Cut(body, "<"+name+">")
	text, _, _ := strings.Cut(rest, "<")
	return strings.TrimSpace(text)
}

// writeStates writes a page's rows: the states that come to the same are one.
func writeStates(b *strings.Builder, family, page string, states []string, told map[string][2]string) {
	var order [][2]string
	by := map[[2]string][]string{}
	for _, s := range states {
		if by[told[s]] == nil {
			order = append(order, told[s])
		}
		by[told[s]] = append(by[told[s]], s)
	}
	most := slices.MaxFunc(order, func(x, y [2]string) int { return len(by[x]) - len(by[y]) })
	order = append(slices.DeleteFunc(order, func(c [2]string) bool { return c == most }), most)
	for _, cells := range order {
		at := strings.Join(by[cells], ", ")
		switch {
		case len(order) == 1:
			at = "every"
		case cells == most:
			at = "any other"
		}
		fmt.Fprintf(b, "%-24s %-22s %-40s %-58s %s\n", clip(family, 23), page, at, cells[0], cells[1])
	}
}

func sameAsFile(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got (-update writes it anew):\n%s", diff)
	}
}

// The following say what one page has told.

func whoCell(f presence.Facts) (parts []string) {
	if id := f.Identity; id != nil {
		parts = append(parts, "who it is")
		if len(id.Lines) > 0 {
			parts = append(parts, "first number")
		}
	}
	return append(parts, messageCell(f)...)
}

func messageCell(f presence.Facts) []string {
	if f.Messages == nil {
		return nil
	}
	return []string{"message waiting"}
}

func registrationCell(f presence.Facts) (parts []string) {
	switch r := f.Registration; {
	case r == nil:
		parts = append(parts, "registration: not told")
	case r.Survivable:
		parts = append(parts, "SRST")
	case r.Registered:
		parts = append(parts, "registered")
	default:
		parts = append(parts, "registered nowhere")
	}
	return parts
}

func streamCell(f presence.Facts) []string {
	part := "no audio"
	for _, s := range streamsOf(f) {
		if s.Active {
			part = "audio"
			if s.MOSLQK > 0 {
				part += ", MOS"
			}
		}
	}
	return []string{part}
}

func callCell(f presence.Facts) []string {
	word, _, _ := strings.Cut(cell(map[string]presence.Facts{sourceWeb: f}), ",")
	parts := []string{word}
	if f.Identity != nil {
		parts = append(parts, "numbers")
	}
	return append(parts, messageCell(f)...)
}

func portCell(all map[string]presence.Facts) (parts []string) {
	f := all[sourcePlace]
	if f.Neighbour != nil {
		parts = append(parts, "switch port")
	}
	if f.Ethernet != nil && slices.ContainsFunc(f.Ethernet.Ports, func(p presence.EthernetPort) bool { return p.Name == "network" }) {
		parts = append(parts, "counters")
	}
	return parts
}

func ethernetCell(all map[string]presence.Facts) []string {
	if e := all[sourcePlace].Ethernet; e == nil || !slices.ContainsFunc(e.Ports, func(p presence.EthernetPort) bool { return p.Name != "network" && p.Name != "pc" }) {
		return []string{"nothing"}
	}
	return []string{"counters"}
}

func screenCell(all map[string]presence.Facts) []string {
	if all[sourceScreen].Screen == nil {
		return []string{"nothing"}
	}
	return []string{"what the screen says"}
}

func logCell(all map[string]presence.Facts) []string {
	if all[sourceLog].Log == nil {
		return []string{"nothing"}
	}
	return []string{"last messages"}
}

func statusCell(all map[string]presence.Facts) []string {
	f := all[sourceWeb]
	parts := append(callCell(presence.Facts{Calls: f.Calls}), registrationCell(f)...)
	return append(append(parts, whoCell(f)...), strings.ReplaceAll(streamCell(f)[0], "no audio", "no stream"))
}
