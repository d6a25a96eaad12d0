package phone

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pilotlight/agent/presence"
)

var ours = NewCredentials("pilot", "flight")

// visited is one phone and what is remembered of it between visits.
type visited struct {
	t     *testing.T
	f     *fakePhone
	p     Phone
	creds Credentials
	pace  Pace
	a     account
	guard *guard

	doubted bool // it has missed a poll
	timeout time.Duration
	trouble *Fault // of the last visit
}

func visiting(t *testing.T, folder, name string, creds Credentials) *visited {
	f := &fakePhone{folder: folder, user: "pilot:flight"}
	p := serve(t, f)
	p.Name = name
	return &visited{t: t, f: f, p: p, creds: creds, pace: Pace{}.withDefaults(), timeout: 2 * time.Second}
}

// visit makes one sweep, and gives what it told, by source, and what it asked for.
func (v *visited) visit() (map[string]presence.Facts, []string) {
	v.t.Helper()
	facts, asked, err := v.try()
	if err != nil {
		v.t.Fatal(err)
	}
	return facts, asked
}

func (v *visited) try() (map[string]presence.Facts, []string, error) {
	patience := v.timeout
	if v.doubted {
		patience /= 2
	}
	s := newSession(v.p, patience, &pins{}, v.creds)
	defer s.close()
	w := &sweep{session: s, a: &v.a, guard: v.guard, pace: v.pace, every: time.Second, least: v.timeout / 2}
	err := w.run(v.t.Context())
	v.trouble = w.trouble()
	facts := map[string]presence.Facts{}
	for _, t := range w.told {
		facts[t.source] = t.facts
	}
	return facts, v.f.took(), err
}

// later has that much time gone by.
func (v *visited) later(d time.Duration) {
	for _, at := range []*time.Time{&v.a.deviceAt, &v.a.networkAt, &v.a.placeAt, &v.a.screenAt, &v.a.logAt, &v.a.talked, &v.a.secondAt, &v.a.users.until, &v.a.keys.refused} {
		if !at.IsZero() {
			*at = at.Add(-d)
		}
	}
	for _, t := range v.a.troubles {
		t.until = t.until.Add(-d)
	}
}

// Each page at its own pace: a quiet visit after the first is one request.
func TestASweepAsksForWhatIsDue(t *testing.T) {
	v := visiting(t, "8845", "SEP0C1167AA0002", Credentials{})
	facts, asked := v.visit()
	want := []string{pathDevice, pathNetwork, pathStream + "?1", pathStream + "?2", pathPort + "?1", pathPort + "?2", pathEthernet}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("the first visit (-want +got):\n%s", diff)
	}
	if n := facts[sourcePlace].Neighbour; n == nil || n.Switch != "access-1.example.com" || n.Port != "GigabitEthernet1/0/3" {
		t.Errorf("neighbour %+v", n)
	}
	if _, asked = v.visit(); !slices.Equal(asked, []string{pathStream + "?1"}) {
		t.Errorf("the next visit asks for %q", asked)
	}
	v.a.again() // it was away
	if _, asked = v.visit(); !slices.Equal(asked[:7], want) || !slices.Equal(asked[7:], []string{pathLog + "?0"}) {
		t.Errorf("after it was away: %q", asked)
	}
}

// With a user for it, the keys tell each line, and the streams are asked for
// only while a call is on.
func TestTheKeysTellEachLine(t *testing.T) {
	v := visiting(t, "8845", "SEP0C1167AA0002", ours)
	facts, asked := v.visit()
	if slices.Contains(asked, pathStream+"?1") || !slices.Contains(asked, pathLines) || !slices.Contains(asked, pathMode) {
		t.Errorf("an idle phone is asked for %q", asked)
	}
	if c := facts[sourceWeb].Calls; c == nil || !c.Exact || len(c.Lines) != 1 || c.Lines[0].State != presence.LineIdle {
		t.Errorf("calls %+v", c)
	}
	if s := facts[sourceScreen].Screen; s == nil || s.Notify != "CM Fallback Service Operating" {
		t.Errorf("screen %+v", s)
	}
	v.f.files.Store(pathLines, "lines-held.xml")
	v.f.talking.Store(true)
	facts, asked = v.visit()
	if !slices.Equal(asked, []string{pathLines, pathStream + "?1", pathStream + "?2"}) {
		t.Errorf("a call is on: %q", asked)
	}
	lines := facts[sourceWeb].Calls.Lines
	if len(lines) != 2 || !lines[0].Held || !lines[1].Elsewhere || !facts[sourceWeb].Streams.List[0].Active {
		t.Errorf("facts %+v", facts[sourceWeb])
	}
}

// A call that begins while the pages are read puts nobody's number on the screen that
// is told of, nor does one of which the keys do not tell.
func TestTheScreenNamesNobody(t *testing.T) {
	mode := strings.Replace(string(golden(t, "8845", "mode.xml")), "Your current options", "From 4711 (Mr Far)", 1)
	for name, then := range map[string]func(*visited){
		"it rings":          func(v *visited) { v.f.files.Store(pathLines, "lines-ringing.xml") },
		"the keys are gone": func(v *visited) { v.f.sends(pathLines, 500, "") },
	} {
		t.Run(name, func(t *testing.T) {
			v := visiting(t, "8845", "SEP0C1167AA0002", ours)
			v.f.odd.Store(pathMode, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				then(v)
				_, _ = io.WriteString(w, mode)
			}))
			facts, _ := v.visit()
			if s := facts[sourceScreen].Screen; s != nil && (s.Prompt != "" || s.Title != "" || s.Notify == "") {
				t.Errorf("told %+v", s)
			}
			v.f.odd.Clear()
			v.f.files.Delete(pathLines)
			v.later(v.pace.Place)
			if s := func() *presence.Screen { facts, _ := v.visit(); return facts[sourceScreen].Screen }(); s == nil || s.Prompt == "" {
				t.Errorf("idle, and told %+v", s)
			}
		})
	}
}

// An icon that is no known word is looked up, on firmware that bears it.
func TestAnUnknownIconIsLookedUp(t *testing.T) {
	v := visiting(t, "8845", "SEP0C1167AA0002", ours)
	v.f.files.Store(pathLines, "lines-strange.xml")
	v.f.files.Store(callPath(1), "calls.xml")
	if _, asked := v.visit(); !slices.Contains(asked, callPath(1)) {
		t.Errorf("asked for %q", asked)
	}
	v = visiting(t, "8821", "SEP0C1167AA0011", ours)
	v.f.files.Store("/CGI/LineInfo", "lines-idle.xml")
	for _, load := range []struct {
		firmware string
		bears    bool
	}{{"sip8821.11-0-5SR2-1", false}, {"sip8821.11-0-5SR3-1", true}, {"sip8821.11-0-6-1", true}, {"sip8821.11-0-4-1", false}, {"", false}, {"sip8821.11-0(5)SR3", true}} {
		if got := FamilyOf("CP-8821").Calls(load.firmware); got != load.bears {
			t.Errorf("CallInfo is asked of an 8821 with %q: %v", load.firmware, got)
		}
	}
}

// A user that a phone does not let in is not shown again for a while, and the
// streams go on without a gap.
func TestARefusedUserIsNotTriedAgain(t *testing.T) {
	for name, wrong := range map[string]func(*visited){
		"401":                func(v *visited) { v.creds = NewCredentials("pilot", "wrong") },
		"CiscoIPPhoneError4": func(v *visited) { v.f.files.Store(pathLines, "error4.xml") },
	} {
		t.Run(name, func(t *testing.T) {
			v := visiting(t, "8845", "SEP0C1167AA0002", ours)
			wrong(v)
			facts, asked := v.visit()
			if c := facts[sourceWeb].Calls; c == nil || c.Exact {
				t.Errorf("calls %+v, want those of the streams", c)
			}
			tries := strings.Count(strings.Join(asked, " "), "/CGI/")
			if tries != 1 {
				t.Errorf("%d tries: %q", tries, asked)
			}
			if _, asked = v.visit(); slices.ContainsFunc(asked, func(p string) bool { return strings.HasPrefix(p, "/CGI/") }) {
				t.Errorf("tried again: %q", asked)
			}
			if v.trouble == nil || v.trouble.Reach != presence.Garbled || !strings.HasSuffix(v.trouble.Detail, ": "+adviceUser) {
				t.Errorf("the trouble is %+v", v.trouble)
			}
			v.later(refusedWait - time.Minute)
			if _, asked = v.visit(); slices.ContainsFunc(asked, func(p string) bool { return strings.HasPrefix(p, "/CGI/") }) {
				t.Errorf("tried again too soon: %q", asked)
			}
			v.later(2 * time.Minute)
			v.creds = ours
			v.f.files.Delete(pathLines)
			if facts, _ = v.visit(); !facts[sourceWeb].Calls.Exact || v.trouble != nil {
				t.Errorf("mended, and told %+v, %v", facts[sourceWeb].Calls, v.trouble)
			}
		})
	}
}

// A slow page that is rubbish spoils nothing.
func TestAFailingPageSpoilsNoOther(t *testing.T) {
	v := visiting(t, "8845", "SEP0C1167AA0002", Credentials{})
	for _, path := range []string{pathPort + "?1", pathEthernet, pathLog + "?0"} {
		v.f.files.Store(path, "../SOURCES")
	}
	v.a.news = true
	facts, _ := v.visit()
	if facts[sourceWeb].Calls == nil || facts[sourceNetwork].Registration == nil || facts[sourceDevice].Identity == nil {
		t.Errorf("told %+v", facts)
	}
}

// The log is read when the registration has changed, and not again soon.
func TestTheLogIsReadOnATransition(t *testing.T) {
	v := visiting(t, "8845", "SEP0C1167AA0002", Credentials{})
	v.pace.Network = 1
	v.visit()
	v.f.files.Store(pathNetwork, "../8865/network.xml") // another phone's page: nobody active
	v.p.Name = "any"
	facts, asked := v.visit()
	if !slices.Contains(asked, pathLog+"?0") || facts[sourceLog].Log == nil || len(facts[sourceLog].Log.Lines) != presence.MaxLogLines {
		t.Errorf("asked for %q, told %+v", asked, facts[sourceLog].Log)
	}
	v.f.files.Store(pathNetwork, "network.xml")
	if _, asked = v.visit(); slices.Contains(asked, pathLog+"?0") {
		t.Errorf("read again at once: %q", asked)
	}
}

// states are what a phone of each family may be at, and the pages that differ.
var states = []struct {
	name, lines, status string
	set                 func(*fakePhone)
}{
	{"idle", "lines-idle.xml", "status-idle.xml", nil},
	{"ringing", "lines-ringing.xml", "status-ringing.xml", nil},
	{"dialling", "lines-dialling.xml", "", nil},
	{"talking", "lines-connected.xml", "status-connected.xml", func(f *fakePhone) { f.talking.Store(true) }},
	{"held", "lines-held.xml", "status-held.xml", nil},
	{"registered nowhere", "lines-idle.xml", "status-unregistered.xml", func(f *fakePhone) { f.files.Store(pathNetwork, "../8865/network.xml") }},
	{"on SRST", "lines-idle.xml", "", func(f *fakePhone) { f.files.Store(pathNetwork, "../8845/network.xml") }},
}

func isFlat(folder string) bool { return exists(folder, "status-idle.xml") }

func exists(folder, file string) bool {
	_, err := os.Stat("testdata/" + folder + "/" + file)
	return err == nil
}

// swap has the keys of an 8845 stand in where a family's own are not in testdata.
func (f *fakePhone) swap(lines, status string) {
	for _, path := range javaLines {
		f.files.Store(path, "../8845/"+lines)
	}
	if exists(f.folder, status) {
		f.files.Store(pathStatus, status)
	}
}

// The golden table: family × state → what is told, with and without a user.
func TestFamilyTable(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-14s %-20s %-22s %-40s %s\n", "model", "state", "family", "told without a user", "told with one")
	for _, folder := range []string{"7940-french", "7945", "7962", "6941", "7841", "8821", "8845", "8865", "9971", "8851-3pcc", "spa504g", "ata191"} {
		for _, st := range states {
			if st.status != "" && isFlat(folder) && !exists(folder, st.status) || isFlat(folder) && st.status == "" {
				continue // no page of that family in that state is at hand
			}
			var cells []string
			family, model := "", ""
			for _, creds := range []Credentials{{}, ours} {
				v := visiting(t, folder, "any", creds)
				if v.f.files.Store(pathNetwork, "../7841/network.xml"); st.set != nil {
					st.set(v.f)
				}
				v.f.swap(st.lines, st.status)
				facts, _ := v.visit()
				cells = append(cells, cell(facts))
				family, model = v.a.family.Name, v.a.device.Model
			}
			fmt.Fprintf(&b, "%-14s %-20s %-22s %-40s %s\n", model, st.name, clip(family, 20), cells[0], cells[1])
		}
	}
	const file = "testdata/families.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("-want +got (-update writes it anew):\n%s", diff)
	}
}

// cell is what was told, in short.
func cell(facts map[string]presence.Facts) string {
	var parts []string
	all := facts[sourceWeb]
	if c := all.Calls; c == nil {
		parts = append(parts, "calls: not told")
	} else {
		word := "no audio"
		if c.Exact {
			word = "idle"
		}
		for _, l := range c.Lines {
			switch {
			case l.Elsewhere || l.State == presence.LineIdle:
				continue
			case l.Held:
				word = "on hold"
			case !c.Exact:
				word = "audio"
			default:
				word = string(l.State)
				if l.Outgoing {
					word += " out"
				}
			}
			break
		}
		parts = append(parts, word)
	}
	reg := all.Registration
	if r := facts[sourceNetwork].Registration; r != nil {
		reg = r
	}
	switch {
	case reg == nil:
		parts = append(parts, "registration: not told")
	case reg.Survivable:
		parts = append(parts, "SRST")
	case reg.Registered:
		parts = append(parts, "registered")
	default:
		parts = append(parts, "registered nowhere")
	}
	if facts[sourcePlace].Neighbour != nil {
		parts = append(parts, "port")
	}
	for _, s := range streamsOf(all) {
		if s.Active && s.MOSLQK > 0 {
			parts = append(parts, "MOS")
		}
	}
	return strings.Join(parts, ", ")
}

func streamsOf(f presence.Facts) []presence.Stream {
	if f.Streams == nil {
		return nil
	}
	return f.Streams.List
}

// No secret is in what is printed of a configuration.
func TestThePasswordIsNotPrinted(t *testing.T) {
	c := Config{Credentials: ours}
	b, _ := json.Marshal(c.Credentials)
	for _, s := range []string{fmt.Sprint(c.Credentials), fmt.Sprintf("%+v", c.Credentials), fmt.Sprintf("%#v", c.Credentials), string(b)} {
		if strings.Contains(s, "flight") {
			t.Error(s)
		}
	}
}

// A call whose audio moves to another stream goes on: one page more is read after it.
func TestACallThatMovesToAnotherStreamGoesOn(t *testing.T) {
	v := visiting(t, "7962", "SEP0C1167AA0005", Credentials{})
	for n, active := range []int{0, 1, 2, 3, 3, 2, 1, 2, 0, 0} {
		for i := 1; i <= 3; i++ {
			v.f.files.Store(streamPath(i), map[bool]string{true: "stream-active.xml", false: "stream-idle.xml"}[i == active])
		}
		facts, asked := v.visit()
		if c := facts[sourceWeb].Calls; c == nil || busy(c) != (active > 0) {
			t.Errorf("visit %d, stream %d is active: told %+v after %q", n, active, c, asked)
		}
	}
}

// A call may be on the second stream though nobody saw one on the first: it began
// before the agent looked, or while another was held for long.
func TestACallOnTheSecondStreamIsSeen(t *testing.T) {
	v := visiting(t, "8845", "SEP0C1167AA0002", Credentials{})
	talks := func(when string, want int) {
		t.Helper()
		if facts, asked := v.visit(); facts[sourceWeb].Calls == nil || len(facts[sourceWeb].Calls.Lines) != want {
			t.Errorf("%s: %+v; asked for %q", when, facts[sourceWeb].Calls, asked)
		}
	}
	v.f.files.Store(pathStream+"?2", "stream-active.xml")
	talks("at first", 1)
	v.f.files.Delete(pathStream + "?2")
	talks("it is over", 0)
	v.later(lingers)
	talks("a long time later", 0)
	v.f.files.Store(pathStream+"?2", "stream-active.xml")
	v.later(seldomSecond)
	talks("some time into the next", 1)
}

// A second stream that cannot be read takes nothing from what the first says.
func TestASecondStreamThatCannotBeReadIsNoNews(t *testing.T) {
	for _, status := range []int{404, 500, 200} {
		v := visiting(t, "8845", "SEP0C1167AA0002", Credentials{})
		v.f.sends(pathStream+"?2", status, "rubbish")
		for range 3 {
			if facts, _ := v.visit(); facts[sourceWeb].Calls == nil || len(facts[sourceWeb].Calls.Lines) != 0 {
				t.Errorf("%d: %+v", status, facts[sourceWeb].Calls)
			}
			v.later(seldomSecond)
		}
	}
}
