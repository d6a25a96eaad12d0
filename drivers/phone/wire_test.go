package phone

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pilotlight/agent/presence"
)

// families are the golden bodies, and what each is to be understood as.
var families = []struct {
	folder  string
	device  DeviceInfo
	reg     *presence.Registration
	video   *bool
	active  presence.Stream
	address string
}{
	{"7841", DeviceInfo{"SEP0C1167AA0001", "0C1167AA0001", "4001", "CP-7841", "FCH00000001", "sip78xx.14-2-1-0001-10", said(false)},
		registered("10.0.0.5"), nil, stream("G.711u", "10.1.1.77:20002"), "10.1.1.20"},
	{"8845", DeviceInfo{"SEP0C1167AA0002", "0C1167AA0002", "4002", "CP-8845", "FCH00000002", "sip8845_65.14-2-1-0001-10", said(true)},
		&presence.Registration{Registered: true, Server: "10.1.1.1", Survivable: true}, video(true), stream("G.722", "10.1.1.77:20002"), "10.1.1.21"},
	{"8851", DeviceInfo{"SEP0C1167AA0003", "0C1167AA0003", "4003", "CP-8851", "FCH00000003", "sip88xx.12-8-1-0001-455", said(false)},
		registered("cucm-pub.example.com"), video(false), stream("G.722", "10.1.1.77:20002"), "10.1.1.22"},
	{"8865", DeviceInfo{"SEP0C1167AA0004", "0C1167AA0004", "4004", "CP-8865", "FCH00000004", "sip8845_65.12-8-1-0001-455", nil},
		&presence.Registration{}, video(true), stream("G.722", "10.1.1.77:20002"), "10.1.1.23"},
	{"7962", DeviceInfo{"SEP0C1167AA0005", "0C1167AA0005", "4005", "CP-7962G", "FCH00000005", "SIP42.9-4-2SR3-1S", said(false)},
		registered("10.0.0.5"), nil, stream("G.729", "10.1.1.77:20002"), "10.1.1.24"},
	{"7940-french", DeviceInfo{"SEP0C1167AA0006", "0C1167AA0006", "4006", "CP-7940G", "FCH00000006", "P0S3-8-12-00", said(true)},
		registered("10.0.0.5"), nil, presence.Stream{Active: true, Codec: "G.711", Remote: netip.MustParseAddrPort("10.1.1.90:18000"), Sent: 900, Received: 880, Lost: 2}, "10.1.1.25"},
	{"8845-japanese", DeviceInfo{"SEP0C1167AA0007", "0C1167AA0007", "4007", "CP-8845", "FCH00000007", "sip8845_65.14-2-1-0001-10", said(true)},
		registered("10.0.0.5"), video(true), stream("G.722", "10.1.1.91:18000"), "10.1.1.26"},
}

func said(waiting bool) *presence.Messages { return &presence.Messages{Waiting: waiting} }
func video(b bool) *bool                   { return &b }
func registered(server string) *presence.Registration {
	return &presence.Registration{Registered: true, Server: server}
}

func stream(codec, remote string) presence.Stream {
	return presence.Stream{Active: true, Codec: codec, Remote: netip.MustParseAddrPort(remote),
		Sent: 15021, Received: 14988, Lost: 3, JitterMS: 4, MOSLQK: 4.2, AvgMOSLQK: 4.1, MaxJitterMS: 11, Concealed: 0.0002}
}

var byValue = cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})

// golden reads one body of testdata.
func golden(t testing.TB, folder, page string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", folder, page))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustPage(t *testing.T, body []byte, contentType string) Page {
	t.Helper()
	p, err := ParsePage(body, contentType)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEachFamilysPagesAreUnderstood(t *testing.T) {
	for _, f := range families {
		t.Run(f.folder, func(t *testing.T) {
			// A header that contradicts the prolog is what a real 7940 sends.
			const header = `text/xml; charset="utf-8"`
			device, err := mustPage(t, golden(t, f.folder, "device.xml"), header).Device()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(f.device, device); diff != "" {
				t.Errorf("device (-want +got):\n%s", diff)
			}
			network, err := mustPage(t, golden(t, f.folder, "network.xml"), header).Network()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(f.reg, network.registration()); diff != "" {
				t.Errorf("registration (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(f.video, network.Video); diff != "" {
				t.Errorf("video (-want +got):\n%s", diff)
			}
			if network.Address.String() != f.address {
				t.Errorf("address %s, want %s", network.Address, f.address)
			}
			idle, err := mustPage(t, golden(t, f.folder, "stream-idle.xml"), header).Stream()
			if err != nil || !idle.Told || idle.Active || idle.MOSLQK != 0 {
				t.Errorf("idle stream: %+v, %v", idle, err)
			}
			active, err := mustPage(t, golden(t, f.folder, "stream-active.xml"), header).Stream()
			if diff := cmp.Diff(f.active, active.Stream, byValue); diff != "" || err != nil || !active.Told {
				t.Errorf("active stream, %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestUnknownElementsSurvive(t *testing.T) {
	p := mustPage(t, golden(t, "7940-french", "device.xml"), "")
	if p.Fields["location"] != "Réception" || p.Fields["DSPLoadID"] != "PS03AT46" {
		t.Errorf("fields %q", p.Fields)
	}
}

func TestWhatIsNoPage(t *testing.T) {
	deep := strings.Repeat("<a>", 50) + strings.Repeat("</a>", 50)
	bomb := `<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><DeviceInformation><HostName>&b;</HostName></DeviceInformation>`
	for _, c := range []struct {
		name, body string
		want       error
	}{
		{"nothing", "", errEmpty},
		{"blanks", " \r\n\t", errEmpty},
		{"only a prolog", `<?xml version="1.0"?>`, errNotXML},
		{"prose", "busy, try again", errNotXML},
		{"an entity bomb", bomb, errDTD},
		{"an external entity", `<!DOCTYPE d SYSTEM "file:///etc/passwd"><DeviceInformation/>`, errDTD},
		{"a declaration inside", `<DeviceInformation><!ENTITY a "b"></DeviceInformation>`, errDTD},
		{"deep", deep, errTooDeep},
		{"crowded", "<a>" + strings.Repeat("<b/>", maxElements+1) + "</a>", errTooMany},
		{"long", "<a>" + strings.Repeat(" ", maxBody) + "</a>", errTooLong},
		{"crossed", "<a><b></a></b>", errMismatch},
		{"ended before it began", "</a>", errMismatch},
		{"half", "<DeviceInformation><HostName>SEP0C1167AA0001</HostName>", errHalf},
		{"cut in a tag", "<DeviceInformation><HostNa", errHalf},
		{"UTF-16", "\xff\xfe<\x00a\x00/\x00>\x00", errNotXML},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParsePage([]byte(c.body), ""); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestCharsets(t *testing.T) {
	for _, c := range []struct{ name, prolog, header, value, want string }{
		{"UTF-8 under a Latin prolog", "iso-8859-1", `text/xml; charset="utf-8"`, "Réception", "Réception"},
		{"Latin under its prolog", "iso-8859-1", `text/xml; charset="utf-8"`, "R\xe9ception", "Réception"},
		{"Latin by the header alone", "", "text/xml; charset=iso-8859-1", "R\xe9ception", "Réception"},
		{"Latin under a UTF-8 prolog, header right", "utf-8", "text/xml; charset=windows-1252", "R\xe9ception", "Réception"},
		{"Shift_JIS", "Shift_JIS", "text/xml", "\x82\xcd\x82\xa2", "はい"},
		{"ISO-2022-JP, all of it ASCII bytes", "ISO-2022-JP", "", "\x1b$B$O$$\x1b(B", "はい"},
		{"a charset nobody knows", "x-cisco", "text/xml; charset=klingon", "R\xe9ception", "R\uFFFDception"},
		{"rubbish without any word on it", "", "", "a\xff\xfeb", "a\uFFFDb"},
		{"a control character", "", "", "a\x00b\x0bc", "a\uFFFDb\uFFFDc"},
		{"a bare ampersand", "", "", "http://10.0.0.5/?a=1&b=2", "http://10.0.0.5/?a=1&b=2"},
		{"the five entities and a number", "", "", "&lt;&amp;&gt;&#233;", "<&>é"},
		{"an entity of nobody's", "", "", "&lol;", "&lol;"},
		{"padding", "", "", "\n  OUI ", "OUI"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := "<a><b>" + c.value + "</b></a>"
			if c.prolog != "" {
				body = `<?xml version="1.0" encoding="` + c.prolog + `"?>` + body
			}
			p, err := ParsePage([]byte(body), c.header)
			if err != nil || p.Fields["b"] != c.want {
				t.Errorf("%q, %v, want %q", p.Fields["b"], err, c.want)
			}
		})
	}
}

func TestWhereAPhoneIsRegistered(t *testing.T) {
	for _, c := range []struct {
		name  string
		lists []string
		want  *presence.Registration
	}{
		{"primary", []string{"10.0.0.5  Active", "10.0.0.6  Standby"}, registered("10.0.0.5")},
		{"secondary", []string{"10.0.0.5", "10.0.0.6  ACTIVE"}, registered("10.0.0.6")},
		{"nowhere", []string{"10.0.0.5", "10.0.0.6  Standby"}, &presence.Registration{}},
		{"nobody listed", []string{"", "N/A", "null"}, &presence.Registration{}},
		{"survivable, marked behind", []string{"10.0.0.5", "10.1.1.1 SRST Active"}, &presence.Registration{Registered: true, Server: "10.1.1.1", Survivable: true}},
		{"survivable, marked before", []string{"10.0.0.5", "SRST 10.1.1.1  Active"}, &presence.Registration{Registered: true, Server: "10.1.1.1", Survivable: true}},
		{"survivable, by name", []string{"lyon-srst.example.com Active"}, &presence.Registration{Registered: true, Server: "lyon-srst.example.com", Survivable: true}},
		{"a language we know", []string{"10.0.0.5  Actif", "10.0.0.6 En veille"}, registered("10.0.0.5")},
		{"a language we do not know", []string{"10.0.0.5  Virkur"}, nil},
		{"no list", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Page{Root: rootNetwork, Fields: map[string]string{}}
			for i, l := range c.lists {
				p.Fields["CallManager"+string(rune('1'+i))] = l
			}
			n, err := p.Network()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, n.registration()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Where the SRST router carries no mark, its place tells: after the call servers of
// Unified CM, and the phone's own router.
func TestTheSurvivableRouterByItsPlace(t *testing.T) {
	on := func(server string) *presence.Registration {
		return &presence.Registration{Registered: true, Server: server, Survivable: true}
	}
	for _, c := range []struct {
		name    string
		routers []string
		list    []string
		want    *presence.Registration
	}{
		{"its router, after a call server", []string{"10.1.1.1"}, []string{"10.0.0.5", "10.1.1.1  Active"}, on("10.1.1.1")},
		{"its second router", []string{"10.1.1.254", "10.1.1.1"}, []string{"10.0.0.5", "", "10.1.1.1  Actif"}, on("10.1.1.1")},
		{"over IPv6", []string{"2001:db8::1"}, []string{"10.0.0.5", "2001:0db8::1 Active"}, on("2001:0db8::1")},
		{"after three call servers", []string{"10.1.1.254"}, []string{"10.0.0.5", "10.0.0.6", "10.0.0.7", "10.1.1.1  Active"}, on("10.1.1.1")},
		{"after three, by name", nil, []string{"a.example.com", "b.example.com", "c.example.com", "", "lyon.example.com  Active"}, on("lyon.example.com")},
		{"a second call server", []string{"10.1.1.1"}, []string{"10.0.0.5", "10.0.0.6  Active"}, registered("10.0.0.6")},
		{"a third", []string{"10.1.1.1"}, []string{"10.0.0.5", "10.0.0.6", "10.0.0.7  Active"}, registered("10.0.0.7")},
		{"its router alone, as with CME", []string{"10.1.1.1"}, []string{"10.1.1.1  Active"}, registered("10.1.1.1")},
		{"its router first, as with CME", []string{"10.1.1.1"}, []string{"", "10.1.1.1  Active", "10.1.1.2  Standby"}, registered("10.1.1.1")},
		{"its router, which stands by", []string{"10.1.1.1"}, []string{"10.0.0.5  Active", "10.1.1.1  Standby"}, registered("10.0.0.5")},
		{"a name, of which the router is not known", []string{"10.1.1.1"}, []string{"10.0.0.5", "lyon.example.com  Active"}, registered("lyon.example.com")},
		{"no router", []string{"0.0.0.0"}, []string{"10.0.0.5", "0.0.0.0  Active"}, registered("0.0.0.0")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := Page{Root: rootNetwork, Fields: map[string]string{}}
			for i, l := range c.list {
				p.Fields["CallManager"+string(rune('1'+i))] = l
			}
			for i, r := range c.routers {
				p.Fields["DefaultRouter"+string(rune('1'+i))] = r
			}
			n, err := p.Network()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, n.registration()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhetherAStreamIsActive(t *testing.T) {
	for _, c := range []struct {
		name, status, row, remote string
		told, active              bool
	}{
		{"a call", "Active", "", "10.1.1.9/24576", true, true},
		{"a call on a 7960", "", "active", "10.1.1.9/24576", true, true},
		{"a call over IPv6", "Active", "", "2001:db8::9/24576", true, true},
		{"idle", "Not Ready", "", "0.0.0.0/0", true, false},
		{"its word is behind the times", "Active", "", "0.0.0.0/0", true, false},
		{"the last call's address stays", "Idle", "", "10.1.1.9/24576", true, false},
		{"a word nobody knows, and an address", "Virkur", "", "10.1.1.9/24576", false, false},
		{"a word nobody knows, and none", "Virkur", "", "0.0.0.0/0", true, false},
		{"an address alone", "", "", "10.1.1.9/24576", false, false},
		{"a word alone", "Active", "", "", false, false},
		{"nothing", "", "", "", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Page{rootStream, map[string]string{"StreamStatus": c.status, "RowStatus": c.row, "RemoteAddr": c.remote}}.Stream()
			if err != nil || s.Told != c.told || s.Active != c.active {
				t.Errorf("told %v active %v, %v", s.Told, s.Active, err)
			}
		})
	}
}

// The jitter of a 7940 has no unit that is known: it is shown, and is no milliseconds.
func TestJitterOfItsOwnUnit(t *testing.T) {
	for text, want := range map[string]string{"31": "31", " 4,12 ": "4,12", "N/A": "", "": ""} {
		s, err := Page{rootStream, map[string]string{"RowStatus": "Active", "RemoteAddr": "10.1.1.9/24576", "RcvrJitter": text}}.Stream()
		if err != nil || s.RcvrJitter != want || s.JitterMS != 0 || s.MaxJitterMS != 0 || strings.Contains(s.String(), "jitter") != (want != "") {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
}

func TestNumbersOutOfRangeAreNotTold(t *testing.T) {
	for _, v := range []string{"N/A", "", "NaN", "Inf", "-1", "1e400", "99999999999999999999999"} {
		s, err := Page{rootStream, map[string]string{"MOSLQK": v, "AvgJitter": v, "SenderPackets": v, "RemoteAddr": "0.0.0.0/0"}}.Stream()
		if err != nil || s.MOSLQK != 0 || s.JitterMS != 0 || s.Sent != 0 {
			t.Errorf("%q: %+v, %v", v, s, err)
		}
	}
}

func TestOtherPagesAreNotTaken(t *testing.T) {
	html := mustPage(t, []byte("<html><body>Log in</body></html>"), "text/html")
	if _, err := html.Device(); err == nil {
		t.Error("a login page is a device")
	}
	if _, err := html.Network(); err == nil {
		t.Error("a login page is a network configuration")
	}
	if _, err := html.Stream(); err == nil {
		t.Error("a login page is a stream")
	}
	if _, err := (Page{Root: rootDevice, Fields: map[string]string{"x": "y"}}).Device(); err == nil {
		t.Error("a page that identifies nobody is a device")
	}
}

func FuzzPage(f *testing.F) {
	files, _ := filepath.Glob("testdata/*/*.xml")
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "text/xml")
	}
	f.Add([]byte(`<!DOCTYPE a><a/>`), "text/xml; charset=shift_jis")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		p, err := ParsePage(body, contentType)
		if err != nil {
			return
		}
		if p.Root == "" || len(p.Fields) > maxElements {
			t.Errorf("page %q with %d fields", p.Root, len(p.Fields))
		}
		if d, err := p.Device(); err == nil && d.MAC != "" && normalMAC(d.MAC) != d.MAC {
			t.Errorf("MAC %q", d.MAC)
		}
		if n, err := p.Network(); err == nil {
			if r := n.registration(); r != nil && r.Registered && r.Server == "" {
				t.Error("registered with nobody")
			}
		}
		if s, err := p.Stream(); err == nil && s.Active && (!s.Told || s.MOSLQK != 0 && (s.MOSLQK < 1 || s.MOSLQK > 5)) {
			t.Errorf("stream %+v", s)
		}
	})
}
