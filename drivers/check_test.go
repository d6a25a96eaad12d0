package drivers

import (
	"fmt"
	"testing"

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
