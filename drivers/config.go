package drivers

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
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
// version has no driver for are read strictly and told of (see Notes).
type Config struct {
	Dir string `yaml:"-"` // what files are named relative to

	// Where the agent speaks SIP, and with whom.
	SIP SIP `yaml:"sip"`
	// Plain HTTP for the phones' own screens.
	PhoneServices PhoneServices `yaml:"phone_services"`
	// Resource lists: one subscription tells of all members (RFC 4662). rls@ our
	// domain, which has everybody at the branch, needs no entry.
	Lists []List `yaml:"lists"`
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
	// Sockets, such as udp:127.0.0.1:5060, tcp:127.0.0.1:5060 and tls:127.0.0.1:5061.
	Listen []string `yaml:"listen"`
	// Certificates for TLS.
	TLS SIPTLS `yaml:"tls"`
	// Networks that may SUBSCRIBE without digest, and nothing else.
	Trusted []netip.Prefix `yaml:"trusted"`
	// Presence and call servers that are known by address.
	Peers []Peer `yaml:"peers"`
	// Users for digest authentication.
	Accounts []Account `yaml:"accounts"`
	// How long changes for one subscription are gathered, by event package.
	NotifyInterval NotifyInterval `yaml:"notify_interval"`
}

// SIPTLS is the section sip.tls. Files are read anew when they change.
type SIPTLS struct {
	// PEM file with the certificate and its chain, relative to the configuration.
	// Empty: where sip.listen has tls, one is made and kept in data_dir.
	CertFile string `yaml:"cert_file"`
	// PEM file with its key.
	KeyFile string `yaml:"key_file"`
	// PEM file of those whose signature proves who a far end is; empty: whom this
	// machine believes.
	CAFile string `yaml:"ca_file"`
}

// files are those of the section as paths; a certificate of our own is in dataDir,
// or nowhere when that is empty.
func (s SIP) files(c *Config, dataDir, domain string) sip.TLS {
	t := sip.TLS{CertFile: c.path(s.TLS.CertFile), KeyFile: c.path(s.TLS.KeyFile), CAFile: c.path(s.TLS.CAFile)}
	serves := slices.ContainsFunc(s.Listen, func(l string) bool { return strings.HasPrefix(l, "tls:") })
	if t.CertFile == "" && dataDir != "" && serves {
		t.CertFile, t.KeyFile, t.Make = filepath.Join(dataDir, "sip.crt"), filepath.Join(dataDir, "sip.key"), domain
	}
	return t
}

// Peer is one item of sip.peers.
type Peer struct {
	// Short name.
	Name string `yaml:"name"`
	// The network it speaks from, such as 10.0.0.5/32.
	Address netip.Prefix `yaml:"address"`
	// udp, tcp or tls; empty: udp, and tcp for what is too long for it.
	Transport string `yaml:"transport"`
	// The domains it speaks for.
	Domains []string `yaml:"domains"`
	// Where it takes requests and messages for people of its domains, such as sip:10.0.0.5:5060;transport=tcp or sip:pbx.example.com:5061;transport=tls; empty: at its address, when that is a single one, and port 5060, by TLS 5061.
	Target string `yaml:"target"`
	// What it may do: subscribe, publish, message.
	May []string `yaml:"may"`
}

// target is where the peer takes requests, "" where that is not known.
func (p Peer) target() string {
	switch {
	case p.Target != "":
		return p.Target
	case !p.Address.IsSingleIP():
		return ""
	}
	at := netip.AddrPortFrom(p.Address.Addr(), 5060)
	if p.Transport == "tls" {
		at = netip.AddrPortFrom(p.Address.Addr(), 5061)
	}
	if p.Transport == "" {
		return "sip:" + at.String()
	}
	return "sip:" + at.String() + ";transport=" + p.Transport
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

// List is one item of lists.
type List struct {
	// Its address is sip:NAME@ our domain.
	Name string `yaml:"name"`
	// Users, numbers, or SIP addresses of anybody, in the order in which they are told.
	Members []string `yaml:"members"`
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

// Notes is what is no fault and yet worth saying, each as a sentence: sections
// that are configured and that this version has no driver for, and peers that no
// socket of sip.listen reaches.
func (c *Config) Notes() []string {
	var all []string
	not := func(configured bool, section string) {
		if configured {
			all = append(all, section+" is configured, and this version does not serve it yet")
		}
	}
	not(c.PhoneServices.Listen != "", "phone_services")
	not(c.SNMP.Traps.Listen != "", "snmp.traps")
	not(c.Directory != nil && c.Directory.URL != "", "directory")
	not(slices.ContainsFunc(c.Phones, func(p phone.Entry) bool { return p.SNMP != "" }), "phones[].snmp")
	not(c.Media.Echo, "media.echo")
	not(c.XMPPServer.Mode != "" && c.XMPPServer.Mode != "off", "xmpp_server")
	not(c.Registrar.Mode != "" && c.Registrar.Mode != "off", "registrar")
	for _, u := range c.Uplinks {
		not(!u.Built(), "uplink "+u.Name+" of kind "+u.Kind)
	}
	reach := func(who, target string, contact bool) {
		if err := sip.Reaches(c.SIP.Listen, target, contact); err != nil {
			all = append(all, who+": "+err.Error())
		}
	}
	for _, m := range c.CallManagers {
		reach("call manager "+m.Name, m.Target, true)
	}
	for _, u := range c.Uplinks {
		if u.Built() {
			reach("uplink "+u.Name, u.Target, false)
		}
	}
	return all
}

// maxSecret bounds a secret's file.
const maxSecret = 4096

// Secret reads the secret in the file that path names, without the line break
// at its end.
func (c *Config) Secret(path string) (string, error) {
	path = c.path(path)
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

// path is a file of the configuration's; "" stays so.
func (c *Config) path(file string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(c.Dir, file)
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
