package branch

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// as fetches a page for a user, and gives its status and body.
func as(t *testing.T, g pages, p Phone, path, user, password string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s:%d%s", p.Address, p.WebPort, path), nil)
	must(t, err)
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	resp, err := g.client.Do(r)
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, string(body)
}

func TestTheKeysAreForTheUserOfThePhone(t *testing.T) {
	b := start(t, Options{Phones: len(models), PhoneUser: "pilot", PhonePassword: "flight"})
	g := newPages(t)
	p, q := byModel(t, b, "CP-8841"), b.Phones()[1]
	must(t, b.Call(p.Name, q.Name))
	for _, tc := range []struct {
		name, path, user, password string
		status                     int
		says                       []string
	}{
		{"nobody", "/CGI/Java/LineInfo", "", "", 401, []string{`CiscoIPPhoneError Number="4"`}},
		{"a wrong password", "/CGI/Java/LineInfo", "pilot", "x", 401, []string{"Error"}},
		{"its user", "/CGI/Java/LineInfo", "pilot", "flight", 200, []string{"<lineDirNum>" + p.Number + "<", "RINGOUT", "<LineType>21<", "RINGIN"}},
		{"the calls", "/CGI/Java/CallInfo1", "pilot", "flight", 200, []string{"OUTBOUND", q.Number}},
		{"the screen", "/CGI/Java/ModeInfo", "pilot", "flight", 200, []string{"CiscoIPPhoneModeInfo"}},
	} {
		status, body := as(t, g, p, tc.path, tc.user, tc.password)
		if status != tc.status {
			t.Errorf("%s: %d %s", tc.name, status, body)
		}
		for _, s := range tc.says {
			if !strings.Contains(body, s) {
				t.Errorf("%s: no %s in %s", tc.name, s, body)
			}
		}
	}
	if status, _ := as(t, g, byModel(t, b, "CP-7962G"), "/CGI/Java/LineInfo", "pilot", "flight"); status != 404 {
		t.Errorf("a 7962 has no keys to show: %d", status)
	}
	b.CutAuthentication(true)
	if status, _ := as(t, g, p, "/CGI/Java/LineInfo", "pilot", "flight"); status != 401 {
		t.Errorf("with the Authentication URL gone: %d", status)
	}
}

func TestAPhoneKnowsWhereItHangsAndWhatHappened(t *testing.T) {
	b := start(t, Options{Phones: len(models)})
	g := newPages(t)
	for _, model := range []string{"CP-8845", "CP-7940G"} {
		p := byModel(t, b, model)
		sim := b.byName[p.Name]
		port := g.must(t, p, "/PortInformationX?1")
		want := []string{b.Switch().Name, sim.at.long()}
		got := []string{port["CDPNeighborDeviceId"], port["CDPNeighborPort"]}
		if model == "CP-7940G" {
			got = []string{port["deviceId"], port["port"]}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, want %q", model, got, want)
		}
	}
	p := byModel(t, b, "CP-8845")
	must(t, b.ToSRST(p.Name))
	status, body := as(t, g, p, "/DeviceLogX?0", "", "")
	if status != 200 || !strings.Contains(body, "TCP timeout "+primaryServer) || !strings.Contains(body, "Failback "+srstRouter) {
		t.Errorf("%d %s", status, body)
	}
	must(t, b.Firmware(p.Name, "sip8845_65.11-0-1-11"))
	if d := g.must(t, p, "/DeviceInformationX"); d["versionID"] != "sip8845_65.11-0-1-11" {
		t.Errorf("%v", d)
	}
}

func TestAPhoneWithoutALeaseIsSilentAndLinked(t *testing.T) {
	b := start(t, Options{Phones: 2})
	p := b.Phones()[0]
	must(t, b.NoAddress(p.Name))
	s := b.Truth()[p.Name]
	if s.Word() != "unreachable" || s.Cause() != "no-address" {
		t.Errorf("%+v", s)
	}
	if a := b.byName[p.Name].announced(); !a.IsUnspecified() {
		t.Errorf("it announces %s", a)
	}
	const managementAddress = "1.0.8802.1.1.2.1.4.2.1.4"
	if by := walk(t, manager(t, b.Switch(), "public"), managementAddress); len(by) != 0 { // its neighbour speaks CDP alone
		t.Errorf("LLDP tells an address of it: %v", by)
	}
	must(t, b.Plug(p.Name))
	eventually(t, "it is back", func() bool { return b.Truth()[p.Name].Word() == "idle" })
}

func TestOnlyAnOld8821IsCrashedByCallInfo(t *testing.T) {
	b := start(t, Options{Phones: len(models), PhoneUser: "pilot", PhonePassword: "flight"})
	g, p, crashed := newPages(t), byModel(t, b, "CP-8821"), 0
	for _, tc := range []struct {
		load    string
		crashes bool
	}{
		{"", true}, // its own
		{"sip8821.11-0-3-8", true}, {"sip8821.11-0-5-1", true}, {"sip8821.11-0-5SR2-1", true}, {"sip8821.10-3-1-20", true},
		{"sip8821.11-0-5SR3-1", false}, {"sip8821.11-0-5SR12-1", false}, {"sip8821.11-0-6-7", false}, {"sip8821.11-0-6SR4-1", false},
	} {
		must(t, b.Firmware(p.Name, tc.load))
		as(t, g, p, "/CGI/LineInfo", "pilot", "flight")
		as(t, g, p, "/CGI/CallInfo1", "pilot", "flight")
		l, err := b.Load(p.Name)
		if must(t, err); l.Crashed > crashed != tc.crashes {
			t.Errorf("%q: %+v", tc.load, l)
		}
		crashed = l.Crashed
	}
	other := byModel(t, b, "CP-8841")
	as(t, g, other, "/CGI/Java/CallInfo1", "pilot", "flight")
	if l, err := b.Load(other.Name); err != nil || l.Crashed > 0 || l.ByPath["/CGI/Java/CallInfo1"] != 1 {
		t.Errorf("an 8841: %+v, %v", l, err)
	}
}

// A call that was up when the call server went is kept until somebody hangs up.
func TestACallOutlivesItsCallServer(t *testing.T) {
	b := start(t, Options{Phones: 4, PhoneUser: "pilot", PhonePassword: "flight"})
	g, alice := newPages(t), b.Phones()[0]
	says := func(path string, words ...string) {
		t.Helper()
		_, body := as(t, g, alice, "/CGI/Java/"+path, "pilot", "flight")
		for _, w := range words {
			if !strings.Contains(body, w) {
				t.Errorf("%s: no %s in %s", path, w, body)
			}
		}
	}
	must(t, b.Play(t.Context(), "call alice bob\nanswer bob"))
	says("LineInfo", "<LineIconState>CONNECTED<")
	must(t, b.Play(t.Context(), "srst\nexpect alice in-use"))
	says("LineInfo", "<LineIconState>PRESERVATION<")
	says("CallInfo1", "<LineState>PRESERVATION<", "<CallState>CONNECTED<")
	must(t, b.Play(t.Context(), "hold alice"))
	says("LineInfo", "<LineIconState>HOLD<")
	must(t, b.Play(t.Context(), "hangup alice\ncall alice bob\nanswer bob"))
	says("LineInfo", "<LineIconState>CONNECTED<")
}

// Who gives up at a phone that hangs, and asks again, has one connection. Who does
// not give up has two.
func TestPeakTellsOneClientThatAsksAgainFromTwo(t *testing.T) {
	b := start(t, Options{Phones: 1})
	p := b.Phones()[0]
	must(t, b.Freeze(p.Name))
	asks := func() net.Conn {
		c, err := net.Dial("tcp", net.JoinHostPort(p.Address, fmt.Sprint(p.WebPort)))
		must(t, err)
		_, err = io.WriteString(c, "GET /DeviceInformationX HTTP/1.1\r\nHost: x\r\n\r\n")
		must(t, err)
		return c
	}
	load := func() Load {
		l, err := b.Load(p.Name)
		must(t, err)
		return l
	}
	for i := range 50 {
		c := asks()
		eventually(t, "the phone has it", func() bool { return load().Requests == uint64(i+1) })
		c.Close()
	}
	c := asks()
	defer c.Close()
	eventually(t, "the last", func() bool { return load().Requests == 51 })
	time.Sleep(150 * time.Millisecond)
	if n := load().Peak; n != 1 {
		t.Errorf("one at a time: %d", n)
	}
	defer asks().Close()
	eventually(t, "two at a time", func() bool { return load().Peak == 2 })
}
