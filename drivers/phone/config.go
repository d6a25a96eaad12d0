package phone

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"pilotlight/agent/presence"
)

// Defaults is the section phone_defaults: what holds for every phone that does
// not say otherwise.
type Defaults struct {
	// TCP port of the phones' web pages; -1: the pages are never asked for.
	WebPort int `yaml:"web_port"`
	// http, or https where Unified CM allows nothing else.
	WebScheme string `yaml:"web_scheme"`
	// UDP port for OPTIONS; -1: no OPTIONS is sent. Phones that never answer are asked once an hour.
	SIPPort int `yaml:"sip_port"`
	// User that Unified CM associates with the phones, for the pages that ask for one.
	User string `yaml:"user"`
	// File with that user's password, relative to the configuration.
	PasswordFile string `yaml:"password_file"`
}

// StandardDefaults is the section where nothing is written.
func StandardDefaults() Defaults { return Defaults{WebPort: 80, WebScheme: "http", SIPPort: 5060} }

// Entry is one item of the section phones.
type Entry struct {
	// The phone's device name, SEP and its MAC address.
	Name string `yaml:"name"`
	// IP address or host name. ${ENV} is expanded.
	Address string `yaml:"address"`
	// UDP port for OPTIONS; 0: as in phone_defaults; -1: no OPTIONS is sent.
	SIPPort int `yaml:"sip_port"`
	// TCP port of the web pages; 0: as in phone_defaults; -1: they are never asked for.
	WebPort int `yaml:"web_port"`
	// http or https; empty: as in phone_defaults.
	WebScheme string `yaml:"web_scheme"`
	// Name of the SNMP credential, for the families that run an SNMP agent (ATA).
	SNMP string `yaml:"snmp"`
	// UDP port of the phone's SNMP agent; 0: 161.
	SNMPPort int `yaml:"snmp_port"`
}

// CallServer is one item of the section call_managers.
type CallServer struct {
	// Short name, shown as the source dialog/NAME.
	Name string `yaml:"name"`
	// Where it takes SIP, such as sip:10.0.0.5:5060;transport=tcp or sip:pbx.example.com:5061;transport=tls.
	Target string `yaml:"target"`
	// Subscribe to the state of each line (RFC 4235).
	Dialog bool `yaml:"dialog"`
	// Domain of the lines there; empty: the branch's domain.
	Domain string `yaml:"domain"`
	// User for digest authentication; empty: none.
	Username string `yaml:"username"`
	// File with that user's password, relative to the configuration.
	PasswordFile string `yaml:"password_file"`
	// How long a subscription is asked for; empty: 10m.
	Expires time.Duration `yaml:"expires"`
	// Line numbers to subscribe to; empty: all that are known from people and phones.
	Lines []string `yaml:"lines"`
}

// Phone is one phone with all defaults resolved.
type Phone struct {
	Name      string
	Address   string // IP address or host name
	WebPort   int    // 0: its web pages are never asked for
	WebScheme string // http or https
	SIPPort   int    // 0: no OPTIONS is sent to it
	User      string // whom it serves, as far as is known: a number; "" where it is not
}

// Phone resolves an entry against the defaults.
func (d Defaults) Phone(e Entry) Phone {
	return Phone{
		Name: e.Name, Address: e.Address, WebScheme: cmp.Or(e.WebScheme, d.WebScheme, "http"),
		WebPort: max(0, cmp.Or(e.WebPort, d.WebPort, 80)), SIPPort: max(0, cmp.Or(e.SIPPort, d.SIPPort, 5060)),
	}
}

// Config is what the driver works by, all files read and defaults resolved.
type Config struct {
	Phones []Phone
	// Allow says which addresses may be contacted though they are not listed; nil:
	// none. A phone found there (Driver.Found) is asked by Defaults.
	Allow    func(netip.Addr) bool
	Defaults Defaults
	// Credentials are shown to phones for the pages that ask for a user; without
	// one those pages are not asked for.
	Credentials Credentials
	// Pace is how often the pages are read that change seldom.
	Pace Pace
	// Domain makes the presentities of lines, sip:NUMBER@Domain.
	Domain string
	// Lines are the numbers that the configuration names (people, phones). The
	// primary numbers that the phones' own pages tell are added to them.
	Lines []string
	// Servers are subscribed to for those lines.
	Servers []Server
	// Web and SIP are how often a phone is asked in quiet times; 0: 60 s and 30 s.
	Web, SIP time.Duration
	// Timeout is the deadline of one request; 0: 3 s, and never more than a poll interval.
	Timeout time.Duration
	// Workers bounds how many phones are read at a time; 0: 16.
	Workers int
}

// Pace is how often the slower pages are read at most; zero values have defaults.
type Pace struct {
	Network time.Duration // where it is registered; 15 s
	Device  time.Duration // who it is, and its messages; 1 min
	Place   time.Duration // its ports and neighbours, and its screen; 1 h
	Log     time.Duration // between two readings of its log, on transitions only; 5 min
	Forget  time.Duration // until a page that it has not got is asked for again; 24 h
}

func (p Pace) withDefaults() Pace {
	p.Network = cmp.Or(p.Network, 15*time.Second)
	p.Device = cmp.Or(p.Device, time.Minute)
	p.Place = cmp.Or(p.Place, time.Hour)
	p.Log = cmp.Or(p.Log, 5*time.Minute)
	p.Forget = cmp.Or(p.Forget, 24*time.Hour)
	return p
}

// inCallEvery is how often a phone is asked at the slowest while a call is on it, so
// that its end is seen: one to three small pages, on one connection.
const inCallEvery = 5 * time.Second

// inCall is how often a phone is asked while a call is on it: at a quarter of the
// interval, each 2 to 5 s, and no slower than in quiet times.
func (c Config) inCall() time.Duration {
	return min(c.Web, max(2*time.Second, min(c.Web/4, inCallEvery)))
}

// Server is a call server to subscribe to, resolved.
type Server struct {
	Name   string
	Domain string        // of its lines; empty: Config.Domain
	Lines  []string      // empty: all known
	Follow LineFollower  // how to subscribe there
	TTL    time.Duration // for a notice that does not say how long it holds; 0: 10 min
}

func (c Config) withDefaults() Config {
	c.Web = cmp.Or(c.Web, time.Minute)
	c.SIP = cmp.Or(c.SIP, 30*time.Second)
	c.Timeout = min(cmp.Or(c.Timeout, 3*time.Second), max(c.Web, 500*time.Millisecond))
	c.Workers = cmp.Or(c.Workers, 16)
	c.Pace = c.Pace.withDefaults()
	c.Servers = slices.Clone(c.Servers)
	for i := range c.Servers {
		c.Servers[i].Domain = cmp.Or(c.Servers[i].Domain, c.Domain)
		c.Servers[i].TTL = cmp.Or(c.Servers[i].TTL, 10*time.Minute)
	}
	return c
}

// check finds every fault of a configuration.
func (c Config) check() error {
	var faults []error
	names := map[string]bool{}
	for _, p := range c.Phones {
		if err := p.Check(); err != nil {
			faults = append(faults, fmt.Errorf("phone %q: %w", p.Name, err))
		}
		if names[p.Name] {
			faults = append(faults, fmt.Errorf("phone %q: listed twice", p.Name))
		}
		names[p.Name] = true
	}
	servers := map[string]bool{}
	for _, s := range c.Servers {
		switch {
		case s.Name == "" || servers[s.Name]:
			faults = append(faults, fmt.Errorf("call manager %q: want a name of its own", s.Name))
		case s.Follow == nil:
			faults = append(faults, fmt.Errorf("call manager %q: nothing to subscribe with", s.Name))
		case c.Domain == "":
			faults = append(faults, fmt.Errorf("call manager %q: no domain for its lines", s.Name))
		}
		servers[s.Name] = true
		for _, n := range s.Lines {
			if number(n) == "" {
				faults = append(faults, fmt.Errorf("call manager %q: %q is not a line number", s.Name, n))
			}
		}
	}
	if c.Web < 0 || c.SIP < 0 || c.Timeout < 0 || c.Workers < 0 {
		faults = append(faults, errors.New("a negative interval"))
	}
	return errors.Join(faults...)
}

// Check finds the first fault of a phone by itself.
func (p Phone) Check() error {
	switch {
	case p.Name == "" || strings.ContainsAny(p.Name, ": \t\r\n@<>\""):
		return errors.New("want a device name, such as SEP0011AABBCCDD")
	case p.Address == "" || strings.ContainsAny(p.Address, "/@ \t\r\n[]"):
		return fmt.Errorf("address %q: want an IP address or a host name, without scheme and port", p.Address)
	case strings.Contains(p.Address, ":") && !isAddr(p.Address):
		return fmt.Errorf("address %q: want it without a port (web_port, sip_port)", p.Address)
	case p.WebScheme != "http" && p.WebScheme != "https":
		return fmt.Errorf("web_scheme %q: want http or https", p.WebScheme)
	case p.WebPort < 0 || p.WebPort > 65535 || p.SIPPort < 0 || p.SIPPort > 65535:
		return errors.New("want ports from 1 to 65535")
	}
	return nil
}

func isAddr(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// sepName reports whether a name is made of a MAC address, as Unified CM names
// desk phones; only then can a page be held against it.
func sepName(s string) bool {
	return len(s) == 15 && strings.EqualFold(s[:3], "SEP") && normalMAC(s[3:]) != ""
}

// line is the presentity of a number.
func (c Config) line(number string) presence.Presentity { return presence.At(number, c.Domain) }

// sipTarget is where OPTIONS goes, to the phone itself or to a user of it.
// Phones of the MPP kind listen on UDP.
func (p Phone) sipTarget(user string) string {
	if user != "" {
		user = strings.ReplaceAll(user, "#", "%23") + "@" // RFC 3261 §25.1: all else of a number may stand
	}
	return "sip:" + user + net.JoinHostPort(p.Address, strconv.Itoa(p.SIPPort)) + ";transport=udp"
}
