package drivers

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pilotlight/drivers/central"
	"pilotlight/drivers/phone"
)

// Two listed phones are two places where phones are asked.
func TestTwoPhonesAtOneAddress(t *testing.T) {
	at := func(address string, web, sip int) phone.Entry {
		return phone.Entry{Address: address, WebPort: web, SIPPort: sip}
	}
	for _, c := range []struct {
		name string
		a, b phone.Entry
		want string // what is said of b, behind its name
	}{
		{"two addresses", at("10.1.1.20", 0, 0), at("10.1.1.21", 0, 0), ""},
		{"one address", at("10.1.1.20", 0, 0), at("10.1.1.20", 0, 0), " has the address of SEP1"},
		{"one address, written otherwise", at("10.1.1.20", 0, 0), at("::ffff:10.1.1.20", 0, 0), " has the address of SEP1"},
		{"one IPv6 address, written otherwise", at("2001:db8::9", 0, 0), at("2001:0DB8:0::9", 0, 0), " has the address of SEP1"},
		{"one name, written otherwise", at("phone.example.com", 0, 0), at("Phone.example.com.", 0, 0), " has the address of SEP1"},
		{"behind one address", at("10.1.1.20", 8001, 5061), at("10.1.1.20", 8002, 5062), ""},
		{"behind one address, web pages alone", at("10.1.1.20", 8001, -1), at("10.1.1.20", 8002, -1), ""},
		{"behind one address, OPTIONS alone", at("10.1.1.20", -1, 5061), at("10.1.1.20", -1, 5062), ""},
		{"two web ports, and OPTIONS of one", at("10.1.1.20", 8001, -1), at("10.1.1.20", 8002, 0), ""},
		{"two web ports and one for OPTIONS", at("10.1.1.20", 8001, 0), at("10.1.1.20", 8002, 0), " has the address of SEP1, and its sip_port 5060"},
		{"one web port and two for OPTIONS", at("10.1.1.20", 0, 5061), at("10.1.1.20", 0, 5062), " has the address of SEP1, and its web_port 80"},
		{"never asked", at("10.1.1.20", -1, -1), at("10.1.1.20", -1, -1), " has the address of SEP1"},
		{"asked in two ways", at("10.1.1.20", 0, -1), at("10.1.1.20", -1, 0), " has the address of SEP1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.a.Name, c.b.Name = "SEP1", "SEP2"
			cfg := Config{PhoneDefaults: phone.StandardDefaults(), Phones: []phone.Entry{c.a, c.b}}
			want := "[]"
			if c.want != "" {
				want = "[phones[1].address: phone SEP2" + c.want + "]"
			}
			for range 2 { // and in the other order
				var got []string
				cfg.checkPhones(func(path, format string, args ...any) { got = append(got, path+": "+fmt.Sprintf(format, args...)) })
				if fmt.Sprint(got) != want {
					t.Errorf("got %v, want %v", got, want)
				}
				cfg.Phones[0], cfg.Phones[1] = cfg.Phones[1], cfg.Phones[0]
				cfg.Phones[0].Name, cfg.Phones[1].Name = "SEP1", "SEP2"
			}
		})
	}
}

func TestListsAreChecked(t *testing.T) {
	cfg := Config{
		People: []Person{{User: "alice", Line: "1001"}},
		Lists: []List{
			{Name: "sales", Members: []string{"alice", "1001", "sip:bob@example.com", "not@one", "alice", "rls", "both"}},
			{Name: "alice"}, {Name: "1001"}, {Name: "rls"}, {Name: "sales"}, {Name: "no spaces"}, {Name: "both", Members: make([]string, 501)},
		},
	}
	var got []string
	cfg.checkLists(func(path, format string, args ...any) { got = append(got, path+": "+fmt.Sprintf(format, args...)) })
	want := []string{
		`lists[0].members[3]: list sales: member "not@one": want a user, a number or sip:USER@DOMAIN`,
		`lists[0].members[4]: list sales has alice twice`,
		`lists[0].members[5]: list sales: rls is a list itself: name its members`,
		`lists[0].members[6]: list sales: both is a list itself: name its members`,
		`lists[1].name: list alice: the name is that of a person`,
		`lists[2].name: list 1001: the name is that of the line of alice`,
		`lists[3].name: list rls: the name is that of everybody at the branch`,
		`lists[4].name: list sales: the name is that of another list`,
		`lists[5].name: list "no spaces": want letters, digits, dot, plus, minus or underscore`,
		`lists[6].members: list both has 501 members, want at most 500`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

// TestTheCertificatesOfSIP: what is configured must be there, and what is not is
// made where TLS is served.
func TestTheCertificatesOfSIP(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "empty.pem"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tls := []string{"udp:127.0.0.1:5060", "tls:127.0.0.1:5061"}
	for name, c := range map[string]struct {
		sip  SIP
		want string
	}{
		"one is made":       {SIP{Listen: tls}, ""},
		"no TLS":            {SIP{Listen: tls[:1], TLS: SIPTLS{}}, ""},
		"TLS alone":         {SIP{Listen: tls[1:]}, ""},
		"no key":            {SIP{Listen: tls, TLS: SIPTLS{CertFile: "a.pem"}}, "sip.tls.key_file: missing"},
		"no certificate":    {SIP{Listen: tls, TLS: SIPTLS{KeyFile: "a.pem"}}, "sip.tls.cert_file: missing"},
		"not there":         {SIP{Listen: tls, TLS: SIPTLS{CertFile: "a.pem", KeyFile: "b.pem"}}, "no such file"},
		"no authority":      {SIP{Listen: tls, TLS: SIPTLS{CAFile: "empty.pem"}}, "empty.pem: no certificate in it"},
		"nothing to listen": {SIP{}, "tls:HOST:PORT"},
	} {
		cfg := Config{Dir: dir, SIP: c.sip}
		var got []string
		cfg.checkSIP(func(_, format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) })
		if all := strings.Join(got, "\n"); c.want == "" && len(got) > 0 || !strings.Contains(all, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if notes := cfg.Notes(); len(notes) > 0 {
			t.Errorf("%s: %q", name, notes)
		}
	}
	cfg := Config{Dir: dir, SIP: SIP{Listen: tls}}
	if f := cfg.SIP.files(&cfg, "/data", "example.com"); f.CertFile != "/data/sip.crt" || f.KeyFile != "/data/sip.key" || f.Make != "example.com" {
		t.Errorf("%+v", f)
	}
	cfg.SIP.TLS = SIPTLS{CertFile: "a.pem", KeyFile: "/b.pem"}
	if f := cfg.SIP.files(&cfg, "/data", "example.com"); f.CertFile != filepath.Join(dir, "a.pem") || f.KeyFile != "/b.pem" || f.Make != "" {
		t.Errorf("%+v", f)
	}
}

// A call manager, a peer and an uplink are reached in the same ways.
func TestWhereOthersTakeSIP(t *testing.T) {
	for target, want := range map[string]string{
		"sip:10.0.0.5":                           "",
		"sip:10.0.0.5:5060;transport=udp":        "",
		"sip:10.0.0.5:5060;transport=tcp":        "",
		"sip:pbx.example.com:5061;transport=tls": "",
		"sip:pbx.example.com;transport=TLS":      "",
		"sips:pbx.example.com":                   "",
		"sips:pbx.example.com;transport=tcp":     "",
		"sips:pbx.example.com;transport=udp":     "want sip:HOST:PORT",
		"sip:10.0.0.5;transport=sctp":            "want sip:HOST:PORT",
		"tel:1001":                               "want sip:HOST:PORT",
		"10.0.0.5":                               "want sip:HOST:PORT",
		"sip:10.0.0.500":                         "10.0.0.500 is neither an IP address nor a host name",
	} {
		cfg := Config{
			CallManagers: []phone.CallServer{{Name: "pbx", Target: target}},
			SIP:          SIP{Listen: []string{"udp:127.0.0.1:5060"}, Peers: []Peer{{Name: "other", Target: target}}},
			Uplinks:      []central.Entry{{Name: "hq", Kind: "sip", Target: target}},
		}
		said := map[string]string{}
		report := func(path, format string, args ...any) { said[path] += fmt.Sprintf(format, args...) }
		cfg.checkServers(report)
		cfg.checkSIP(report)
		cfg.Uplinks[0].Check(func(key, format string, args ...any) { report("uplinks[0]."+key, format, args...) })
		for _, path := range []string{"call_managers[0].target", "sip.peers[0].target", "uplinks[0].target"} {
			if got := said[path]; (want == "") != (got == "") || !strings.Contains(got, want) {
				t.Errorf("%s: %s: %q, want %q", target, path, got, want)
			}
		}
	}
	for p, want := range map[*Peer]string{
		{Address: netip.MustParsePrefix("10.0.0.5/32")}:                     "sip:10.0.0.5:5060", // what is too long for UDP goes by TCP
		{Address: netip.MustParsePrefix("10.0.0.5/32"), Transport: "tls"}:   "sip:10.0.0.5:5061;transport=tls",
		{Address: netip.MustParsePrefix("10.0.0.0/24"), Transport: "tls"}:   "",
		{Address: netip.MustParsePrefix("10.0.0.0/24"), Target: "sips:a.b"}: "sips:a.b",
	} {
		if got := p.target(); got != want {
			t.Errorf("%+v: %q", *p, got)
		}
	}
}
