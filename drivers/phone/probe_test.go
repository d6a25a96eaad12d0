package phone

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestAProbeExplains(t *testing.T) {
	p := serve(t, &fakePhone{folder: "8865"})
	r, err := Probe(t.Context(), p, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	text := r.String()
	for _, want := range []string{"another phone: SEP0C1167AA0004", "registered with no call server", "call servers: 10.0.0.5, 10.0.0.6", "no audio", "message waiting", "dialog: true", "/StreamingStatisticsX?1"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if r.OK {
		t.Error("OK though it is another phone than configured")
	}

	p.Name = "probe"
	if r, err = Probe(t.Context(), p, time.Second); err != nil || !r.OK || !strings.Contains(r.String(), "CP-8865 SEP0C1167AA0004, line 4004") {
		t.Errorf("not OK: %v\n%s", err, r)
	}
	p = raw(t, says("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"))
	if r, err = Probe(t.Context(), p, time.Second); err != nil || r.OK || !strings.Contains(r.String(), "none of the pages by which a phone tells of itself (/DeviceInformationX, /status.xml, /admin/status.xml, ") {
		t.Errorf("%v\n%s", err, r)
	}
}

func TestProbeTargets(t *testing.T) {
	for target, want := range map[string]Phone{
		"10.1.1.20":              {"probe", "10.1.1.20", 80, "http", 0, ""},
		"10.1.1.20:8080":         {"probe", "10.1.1.20", 8080, "http", 0, ""},
		"https://10.1.1.20":      {"probe", "10.1.1.20", 443, "https", 0, ""},
		"http://phone.example/x": {"probe", "phone.example", 80, "http", 0, ""},
		"2001:db8::9":            {"probe", "2001:db8::9", 80, "http", 0, ""},
		"[2001:db8::9]:81":       {"probe", "2001:db8::9", 81, "http", 0, ""},
	} {
		if got, err := ProbeTarget(target); err != nil || got != want {
			t.Errorf("%s: %+v, %v", target, got, err)
		}
	}
	for _, bad := range []string{"", "ftp://10.1.1.20", "http://u:p@10.1.1.20", "10.1.1.20:99999", "a b"} {
		if got, err := ProbeTarget(bad); err == nil {
			t.Errorf("%q is taken as %+v", bad, got)
		}
	}
}

// A probe reads what the sweep reads of each family, and names it.
func TestAProbeOfEachFamily(t *testing.T) {
	gone := func(f *fakePhone) { f.sends(pathDevice, 404, "") }
	for _, c := range []struct {
		name, folder string
		set          func(*fakePhone)
		ok           bool
		says         []string
		not          string
	}{
		{"8845", "8845", nil, true, []string{"family: 8800 (8800 administration guide", "calls: no audio", "/PortInformationX?1", "on access-1.example.com GigabitEthernet1/0/3",
			"/EthernetInformationX", "logged last: ", "phone_defaults: user, password_file", "10.1.1.1 Active (SRST)",
			"whom http://10.0.0.5:8080/ccmcip/authenticate.jsp lets in"}, "/CGI/"},
		{"8845 that can ask nobody", "8845", func(f *fakePhone) {
			f.sends(pathNetwork, 200, regexp.MustCompile("<AuthenticationURL>.*</AuthenticationURL>").ReplaceAllString(string(golden(t, "8845", "network.xml")), ""))
		}, true, []string{"names no Authentication URL"}, "/CGI/"},
		{"6941", "6941", nil, true, []string{"family: 6900", "/StreamingStatisticsX?1"}, "/StreamingStatisticsX?2"},
		{"7841", "7841", nil, true, []string{"family: 7800 (", "; not sure)"}, "/status.xml"},
		{"7940 on a call", "7940-french", func(f *fakePhone) { f.talking.Store(true) }, true, []string{"family: 7940, 7960", "audio flows", "jitter 31 in a unit of its own"}, "/CGI/"},
		{"by the adapter", "7945", func(f *fakePhone) {
			for _, path := range []string{pathDevice, pathStatus, pathStatusAdmin} {
				f.sends(path, 404, "")
			}
			f.sends(pathAdapter+"device", 200, string(golden(t, "7945", "device.xml")))
			f.sends(pathAdapter+"configuration", 200, string(golden(t, "7945", "network.xml")))
			f.sends(pathAdapter+"streaming.0", 200, string(golden(t, "7945", "stream-active.xml")))
		}, true, []string{"family: 7906, 7911, 7931, 7941 to 7975", "audio flows", "call servers: "}, "/DeviceLogX"},
		{"3PCC", "8851-3pcc", gone, true, []string{"family: MPP", "calls: idle", "ext 1 registered", "CP-8851-3PCC"}, "not a phone"},
		{"3PCC that rings", "8851-3pcc", func(f *fakePhone) { gone(f); f.files.Store(pathStatus, "status-ringing.xml") }, true, []string{"calls: early"}, ""},
		{"3PCC on hold", "8851-3pcc", func(f *fakePhone) { gone(f); f.files.Store(pathStatus, "status-held.xml") }, true, []string{"calls: confirmed, held"}, ""},
		{"3PCC registered nowhere", "8851-3pcc", func(f *fakePhone) { gone(f); f.files.Store(pathStatus, "status-unregistered.xml") }, true,
			[]string{"ext 1 not registered", "registered with no call server"}, ""},
		{"3PCC whose page is an administrator's", "8851-3pcc", func(f *fakePhone) {
			gone(f)
			f.sends(pathStatus, 404, "")
			f.sends(pathStatusAdmin, 200, string(golden(t, "8851-3pcc", "status-idle.xml")))
		}, true, []string{"family: MPP", "/admin/status.xml"}, ""},
		{"3PCC that wants a user", "8851-3pcc", func(f *fakePhone) { gone(f); f.sends(pathStatus, 401, "") }, false, []string{"asks for a user for its status page"}, "Unified CM"},
		{"SPA", "spa504g", gone, true, []string{"family: SPA 300, SPA 500", "calls: idle"}, ""},
		{"ATA on a call", "ata191", func(f *fakePhone) { gone(f); f.files.Store(pathStatus, "status-connected.xml") }, true,
			[]string{"family: ATA 190, SPA 100", "not sure", "calls: confirmed"}, ""},
		{"a printer", "8845", func(f *fakePhone) { gone(f); f.sends(pathStatus, 200, login) }, false, []string{"/status.xml: sends a page whose root is html", "none of the pages"}, "family"},
		{"an open page refused", "7962", func(f *fakePhone) { f.sends(streamPath(1), 403, "") }, true, []string{"/StreamingStatisticsX?1: asks for a password"}, ""},
		{"busy", "7962", func(f *fakePhone) { f.sends(pathNetwork, 503, "") }, true, []string{"/NetworkConfigurationX: answers HTTP 503"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fakePhone{folder: c.folder, user: "pilot:flight"}
			if c.set != nil {
				c.set(f)
			}
			p := serve(t, f)
			p.Name = "probe"
			r, err := Probe(t.Context(), p, 2*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			text := r.String()
			for _, want := range c.says {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not said", want)
				}
			}
			if c.not != "" && strings.Contains(text, c.not) {
				t.Errorf("%q is said", c.not)
			}
			if r.OK != c.ok {
				t.Errorf("OK %v", r.OK)
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// A phone that hangs on one page is at fault there, and the probe goes on.
func TestAProbeThatEnds(t *testing.T) {
	f := &fakePhone{folder: "8845"}
	f.odd.Store(pathNetwork, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	p := serve(t, f)
	p.Name = "probe"
	r, err := Probe(t.Context(), p, 200*time.Millisecond)
	if err != nil || !strings.Contains(r.String(), "takes the connection and answers nothing") || r.Calls != "no audio" {
		t.Errorf("%v\n%s", err, r)
	}
}
