package drivers

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"pilotlight/agent/presence"
	"pilotlight/drivers/central"
	"pilotlight/drivers/internal/sip"
	"pilotlight/drivers/internal/snmp"
	"pilotlight/drivers/lan"
	"pilotlight/drivers/phone"
)

// Config is the drivers' part of the configuration file. Sections that this
// version has no driver for are read strictly and told of (see Unbuilt).
type Config struct {
	Dir string `yaml:"-"` // what files are named relative to

	// Where the agent speaks SIP, and with whom.
	SIP SIP `yaml:"sip"`
	// Plain HTTP for the phones' own screens.
	PhoneServices PhoneServices `yaml:"phone_services"`
	// Resource lists; a later version serves them.
	Lists []NotYet `yaml:"lists"`
	// How switches are asked.
	SNMP snmp.Config `yaml:"snmp"`
	// Who may be contacted though not listed here.
	Discovery lan.Discovery `yaml:"discovery"`
	// How often whom is polled in quiet times.
	Poll Poll `yaml:"poll"`
	// Who owns which phone, where no directory or call manager tells.
	People []Person `yaml:"people"`
	// What holds for every phone that does not say otherwise.
	PhoneDefaults phone.Defaults `yaml:"phone_defaults"`
	// The branch's phones.
	Phones []phone.Entry `yaml:"phones"`
	// The branch's access switches.
	Switches []lan.Switch `yaml:"switches"`
	// Ways to the central presence server.
	Uplinks []central.Entry `yaml:"uplinks"`
	// LDAP v3; a later version reads it.
	Directory *Directory `yaml:"directory"`
	// Call servers that tell the state of lines.
	CallManagers []phone.CallServer `yaml:"call_managers"`
	// CME and SRST routers; a later version asks them.
	Express []NotYet `yaml:"express"`
	// Voice mail servers; a later version asks them.
	Voicemail []NotYet `yaml:"voicemail"`
	// Meeting servers; a later version asks them.
	Meetings []NotYet `yaml:"meetings"`
	// RTP: voice quality; a later version measures it.
	Media Media `yaml:"media"`
	// A server for the branch's XMPP clients; a later version runs it.
	XMPPServer XMPPServer `yaml:"xmpp_server"`
	// A registrar for outages; a later version runs it.
	Registrar Registrar `yaml:"registrar"`
}

// SIP is the section sip.
type SIP struct {
	// Sockets, such as udp:127.0.0.1:5060 and tcp:127.0.0.1:5060.
	Listen []string `yaml:"listen"`
	// Networks that may SUBSCRIBE without digest, and nothing else.
	Trusted []netip.Prefix `yaml:"trusted"`
	// Presence and call servers that are known by address.
	Peers []Peer `yaml:"peers"`
	// Users for digest authentication.
	Accounts []Account `yaml:"accounts"`
	// How long changes for one subscription are gathered, by event package.
	NotifyInterval NotifyInterval `yaml:"notify_interval"`
}

// Peer is one item of sip.peers.
type Peer struct {
	// Short name.
	Name string `yaml:"name"`
	// The network it speaks from, such as 10.0.0.5/32.
	Address netip.Prefix `yaml:"address"`
	// udp, tcp or tls.
	Transport string `yaml:"transport"`
	// The domains it speaks for.
	Domains []string `yaml:"domains"`
	// What it may do: subscribe, publish, message.
	May []string `yaml:"may"`
}

// Account is one item of sip.accounts.
type Account struct {
	// The user's name.
	User string `yaml:"user"`
	// File with the password, relative to the configuration.
	PasswordFile string `yaml:"password_file"`
}

// NotifyInterval is the section sip.notify_interval; 0 tells each change at once.
type NotifyInterval struct {
	// For presence; the first change always goes at once.
	Presence time.Duration `yaml:"presence"`
}

// PhoneServices is the section phone_services.
type PhoneServices struct {
	// Where phones fetch their screens; empty: nowhere.
	Listen string `yaml:"listen"`
	// Networks that may.
	Allow []netip.Prefix `yaml:"allow"`
}

// Poll is the section poll.
type Poll struct {
	// Between two OPTIONS to a phone that answers them.
	SIP time.Duration `yaml:"sip"`
	// Between two reads of a phone's web pages.
	Web time.Duration `yaml:"web"`
	// Between two readings of a switch.
	SNMP time.Duration `yaml:"snmp"`
	// Requests in flight at a time, over all drivers.
	InFlight int `yaml:"in_flight"`
}

// Person is one item of people.
type Person struct {
	// The user part of the person's presentity.
	User string `yaml:"user"`
	// The name that people read.
	Name string `yaml:"name"`
	// Device names of the phones that are hers.
	Phones []string `yaml:"phones"`
	// The directory number that is hers.
	Line string `yaml:"line"`
}

// Directory is the section directory.
type Directory struct {
	// ldap://HOST or ldaps://HOST.
	URL string `yaml:"url"`
	// Whether TLS is begun on a plain connection.
	StartTLS bool `yaml:"start_tls"`
	// Who to bind as; empty: nobody.
	BindDN string `yaml:"bind_dn"`
	// File with the password, relative to the configuration.
	PasswordFile string `yaml:"password_file"`
	// Where people are looked for.
	BaseDN string `yaml:"base_dn"`
	// Which entries are people.
	Filter string `yaml:"filter"`
	// How often the directory is read.
	Refresh time.Duration `yaml:"refresh"`
}

// Media is the section media.
type Media struct {
	// Whether calls to echo@ and milliwatt@ our domain are answered.
	Echo bool `yaml:"echo"`
}

// XMPPServer is the section xmpp_server.
type XMPPServer struct {
	// off, always or island.
	Mode string `yaml:"mode"`
	// Sockets for clients.
	Listen []string `yaml:"listen"`
}

// Registrar is the section registrar.
type Registrar struct {
	// off, always or fallback.
	Mode string `yaml:"mode"`
	// Where calls leave the branch.
	Gateway string `yaml:"gateway"`
	// Numbers that always go out.
	Emergency []string `yaml:"emergency"`
}

// NotYet is an item of a section that this version has no use for.
type NotYet struct{}

// Defaults is the configuration where nothing is written.
func Defaults() Config {
	return Config{
		SIP:           SIP{Listen: []string{"udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"}},
		Discovery:     lan.Discovery{Depth: 2},
		Poll:          Poll{SIP: 30 * time.Second, Web: time.Minute, SNMP: time.Minute, InFlight: 64},
		PhoneDefaults: phone.StandardDefaults(),
		Registrar:     Registrar{Mode: "off", Emergency: []string{"112"}},
		XMPPServer:    XMPPServer{Mode: "off"},
	}
}

// Unbuilt names the sections that are configured and that this version has no
// driver for, each as a sentence.
func (c *Config) Unbuilt() []string {
	var all []string
	not := func(configured bool, section string) {
		if configured {
			all = append(all, section+" is configured, and this version does not serve it yet")
		}
	}
	not(c.PhoneServices.Listen != "", "phone_services")
	not(c.SNMP.Traps.Listen != "", "snmp.traps")
	not(len(c.SIP.Peers) > 0, "sip.peers")
	not(len(c.SIP.Accounts) > 0, "sip.accounts")
	not(len(c.SIP.Trusted) > 0, "sip.trusted")
	not(c.Directory != nil && c.Directory.URL != "", "directory")
	not(c.SIP.NotifyInterval.Presence != 0, "sip.notify_interval")
	not(c.PhoneDefaults.User != "" || c.PhoneDefaults.PasswordFile != "", "phone_defaults.user")
	not(slices.ContainsFunc(c.Phones, func(p phone.Entry) bool { return p.SNMP != "" }), "phones[].snmp")
	not(c.Media.Echo, "media.echo")
	not(c.XMPPServer.Mode != "" && c.XMPPServer.Mode != "off", "xmpp_server")
	not(c.Registrar.Mode != "" && c.Registrar.Mode != "off", "registrar")
	for _, u := range c.Uplinks {
		not(!u.Built(), "uplink "+u.Name+" of kind "+u.Kind)
	}
	return all
}

// maxSecret bounds a secret's file.
const maxSecret = 4096

// Secret reads the secret in the file that path names, without the line break
// at its end.
func (c *Config) Secret(path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.Dir, path)
	}
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return "", err
	case st.Size() > maxSecret:
		return "", fmt.Errorf("%s: larger than %d bytes, which is no secret", path, maxSecret)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimRight(string(text), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("%s: is empty", path)
	}
	return secret, nil
}

var (
	userName   = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,64}$`)
	deviceName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	lineNumber = regexp.MustCompile(`^[+*#]?[0-9A-Za-z*#]{1,32}$`)
)

// Check holds the rules that span sections.
func (c *Config) Check(report func(path, format string, args ...any)) {
	c.checkSIP(report)
	c.checkPoll(report)
	c.checkSNMP(report)
	c.checkPhones(report)
	c.checkPeople(report)
	c.checkServers(report)
	c.checkModes(report)
}

func (c *Config) checkSIP(report func(path, format string, args ...any)) {
	if len(c.SIP.Listen) == 0 {
		report("sip.listen", "sip.listen: want at least one of udp:HOST:PORT, tcp:HOST:PORT")
		return
	}
	for i, l := range c.SIP.Listen {
		if err := sip.CheckListen(l); err != nil {
			report(fmt.Sprintf("sip.listen[%d]", i), "%v", err)
		}
	}
	for i, a := range c.SIP.Accounts {
		c.checkFile(report, fmt.Sprintf("sip.accounts[%d].password_file", i), a.PasswordFile)
	}
}

func (c *Config) checkPoll(report func(path, format string, args ...any)) {
	for path, d := range map[string]time.Duration{"poll.sip": c.Poll.SIP, "poll.web": c.Poll.Web, "poll.snmp": c.Poll.SNMP} {
		if d < time.Second {
			report(path, "%s: %v is less than 1s", path, d)
		}
	}
	if c.Poll.InFlight < 1 || c.Poll.InFlight > 4096 {
		report("poll.in_flight", "poll.in_flight: %d, want 1 to 4096", c.Poll.InFlight)
	}
}

func (c *Config) checkSNMP(report func(path, format string, args ...any)) {
	known := map[string]bool{}
	for i, cr := range c.SNMP.Credentials {
		path := fmt.Sprintf("snmp.credentials[%d]", i)
		if known[cr.Name] {
			report(path+".name", "snmp credential %s is listed twice", cr.Name)
		}
		known[cr.Name] = true
		if _, err := snmp.New(snmp.Config{Credentials: []snmp.Credential{cr}}, snmp.Options{Secrets: c.Secret}); err != nil {
			report(path, "%v", err)
		}
	}
	names := map[string]bool{}
	for i, sw := range c.Switches {
		path := fmt.Sprintf("switches[%d]", i)
		switch {
		case names[sw.Name]:
			report(path+".name", "switch %s is listed twice", sw.Name)
		case !known[sw.SNMP]:
			report(path+".snmp", "switch %s: no snmp credential %q", sw.Name, sw.SNMP)
		}
		names[sw.Name] = true
		if err := sw.Check(); err != nil {
			report(path, "%v", err)
		}
	}
	if err := c.Discovery.Check(); err != nil {
		report("discovery", "%v", err)
	}
	for i, p := range c.Phones {
		if p.SNMP != "" && !known[p.SNMP] {
			report(fmt.Sprintf("phones[%d].snmp", i), "phone %s: no snmp credential %q", p.Name, p.SNMP)
		}
	}
}

func (c *Config) checkPhones(report func(path, format string, args ...any)) {
	names, places := map[string]bool{}, map[string]string{}
	for i, e := range c.Phones {
		path := fmt.Sprintf("phones[%d]", i)
		p := c.PhoneDefaults.Phone(e)
		place := fmt.Sprint(p.Address, " ", p.WebPort)
		switch err := p.Check(); {
		case !deviceName.MatchString(e.Name):
			report(path+".name", "phone name %q: want a device name such as SEP0011AABBCCDD", e.Name)
		case names[e.Name]:
			report(path+".name", "phone %s is listed twice", e.Name)
		case err != nil:
			report(path+".address", "phone %s: %v", e.Name, err)
		case places[place] != "":
			report(path+".address", "phone %s has the address of %s", e.Name, places[place])
		}
		names[e.Name], places[place] = true, e.Name
	}
	c.checkFile(report, "phone_defaults.password_file", c.PhoneDefaults.PasswordFile)
}

func (c *Config) checkPeople(report func(path, format string, args ...any)) {
	users, owners, lines := map[string]bool{}, map[string]string{}, map[string]string{}
	for i, p := range c.People {
		path := fmt.Sprintf("people[%d]", i)
		switch {
		case !userName.MatchString(p.User):
			report(path+".user", "user %q: want letters, digits, dot, plus, minus or underscore", p.User)
		case users[p.User]:
			report(path+".user", "user %s is listed twice", p.User)
		case p.Line != "" && !lineNumber.MatchString(p.Line):
			report(path+".line", "line %q: want a number to dial", p.Line)
		case p.Line != "" && lines[p.Line] != "":
			report(path+".line", "line %s belongs to %s already", p.Line, lines[p.Line])
		}
		users[p.User], lines[p.Line] = true, p.User
		for j, name := range p.Phones {
			if owner := owners[name]; owner != "" {
				report(fmt.Sprintf("%s.phones[%d]", path, j), "phone %s belongs to %s already", name, owner)
			}
			if !deviceName.MatchString(name) {
				report(fmt.Sprintf("%s.phones[%d]", path, j), "phone name %q: want a device name such as SEP0011AABBCCDD", name)
			}
			owners[name] = p.User
		}
	}
}

func (c *Config) checkServers(report func(path, format string, args ...any)) {
	names := map[string]bool{}
	for i, s := range c.CallManagers {
		path := fmt.Sprintf("call_managers[%d]", i)
		if names[s.Name] || !deviceName.MatchString(s.Name) {
			report(path+".name", "call manager %q: want a short name of its own", s.Name)
		}
		names[s.Name] = true
		if u, err := sip.ParseURI(s.Target); err != nil || u.Scheme != "sip" {
			report(path+".target", "call manager %s: target %q, want sip:HOST:PORT, with ;transport=udp or ;transport=tcp", s.Name, s.Target)
		}
		c.checkFile(report, path+".password_file", s.PasswordFile)
	}
	uplinks := map[string]bool{}
	for i, u := range c.Uplinks {
		path := fmt.Sprintf("uplinks[%d]", i)
		if uplinks[u.Name] {
			report(path+".name", "uplink %s is listed twice", u.Name)
		}
		uplinks[u.Name] = true
		for key, file := range map[string]string{"password_file": u.PasswordFile, "credentials_file": u.CredentialsFile, "secret_file": u.SecretFile} {
			c.checkFile(report, path+"."+key, file)
		}
	}
	if c.Directory != nil {
		c.checkFile(report, "directory.password_file", c.Directory.PasswordFile)
	}
}

func (c *Config) checkModes(report func(path, format string, args ...any)) {
	for _, m := range []struct{ path, mode, words string }{
		{"xmpp_server.mode", c.XMPPServer.Mode, "off, always, island"},
		{"registrar.mode", c.Registrar.Mode, "off, always, fallback"},
	} {
		if !strings.Contains(", "+m.words+",", ", "+m.mode+",") {
			report(m.path, "%s: %q, want one of %s", m.path, m.mode, m.words)
		}
	}
}

func (c *Config) checkFile(report func(path, format string, args ...any), path, file string) {
	if file == "" {
		return
	}
	if _, err := c.Secret(file); err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = fmt.Errorf("%s: %w", pe.Path, pe.Err)
		}
		report(path, "%v", err)
	}
}

// Static is what the configuration knows: it never grows old.
func (c *Config) Static(domain string, now time.Time) []presence.Observation {
	var all []presence.Observation
	add := func(o presence.Observation) {
		o.Source, o.Seen, o.TTL = "config", now, presence.Forever
		all = append(all, o)
	}
	for _, p := range c.Phones {
		id := &presence.Identity{}
		if addr, err := netip.ParseAddr(p.Address); err == nil {
			id.Address = addr
		}
		if mac, ok := strings.CutPrefix(p.Name, "SEP"); ok && len(mac) == 12 {
			id.MAC = mac
		}
		add(presence.Observation{Device: p.Name, Facts: presence.Facts{Identity: id}})
	}
	for _, p := range c.People {
		is := &presence.Person{Name: p.Name, Devices: p.Phones}
		if p.Line != "" {
			is.Lines = []string{p.Line}
		}
		if is.Name == "" {
			is.Name = p.User
		}
		add(presence.Observation{Of: presence.At(p.User, domain), Facts: presence.Facts{Person: is}})
	}
	return all
}
