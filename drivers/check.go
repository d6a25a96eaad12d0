package drivers

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/sip"
	"pilotlight/drivers/lan"
	"pilotlight/drivers/phone"
	"pilotlight/drivers/simple"
)

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
	c.checkLists(report)
	c.checkServers(report)
	c.checkModes(report)
}

func (c *Config) checkSIP(report func(path, format string, args ...any)) {
	if len(c.SIP.Listen) == 0 {
		report("sip.listen", "sip.listen: want at least one of udp:HOST:PORT, tcp:HOST:PORT, tls:HOST:PORT")
	}
	for i, l := range c.SIP.Listen {
		if err := sip.CheckListen(l); err != nil {
			report(fmt.Sprintf("sip.listen[%d]", i), "%v", err)
		}
	}
	switch t := c.SIP.TLS; {
	case t.CertFile != "" && t.KeyFile == "":
		report("sip.tls.key_file", "sip.tls.key_file: missing; cert_file and key_file belong together")
	case t.CertFile == "" && t.KeyFile != "":
		report("sip.tls.cert_file", "sip.tls.cert_file: missing; cert_file and key_file belong together")
	default:
		if err := c.SIP.files(c, "", "").Check(); err != nil {
			report("sip.tls", "sip.tls: %v", err)
		}
	}
	for i, p := range c.SIP.Peers {
		path := fmt.Sprintf("sip.peers[%d]", i)
		oneOf(report, path+".transport", p.Transport, "", "udp", "tcp", "tls")
		if p.Target != "" {
			checkTarget(report, path+".target", "peer "+p.Name, p.Target)
		}
		for j, may := range p.May {
			oneOf(report, fmt.Sprintf("%s.may[%d]", path, j), may, "subscribe", "publish", "message")
		}
	}
	listens(report, "phone_services.listen", c.PhoneServices.Listen)
	listens(report, "snmp.traps.listen", c.SNMP.Traps.Listen)
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
		for _, f := range cr.Faults(c.Secret) {
			report(path+"."+f.Key, "snmp credential %s: %v", cr.Name, f)
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
			report(path+".address", "%v", err)
		}
	}
	for i := range c.Discovery.Allow {
		if err := (lan.Discovery{Allow: c.Discovery.Allow[i : i+1]}).Check(); err != nil {
			report(fmt.Sprintf("discovery.allow[%d]", i), "%v", err)
		}
	}
	if err := (lan.Discovery{Depth: c.Discovery.Depth}).Check(); err != nil {
		report("discovery.depth", "%v", err)
	}
	for i, p := range c.Phones {
		if p.SNMP != "" && !known[p.SNMP] {
			report(fmt.Sprintf("phones[%d].snmp", i), "phone %s: no snmp credential %q", p.Name, p.SNMP)
		}
	}
}

func (c *Config) checkPhones(report func(path, format string, args ...any)) {
	if err := c.PhoneDefaults.Phone(phone.Entry{Name: "any", Address: "any"}).Check(); err != nil {
		report("phone_defaults", "phone_defaults: %v", err)
	}
	if d := c.PhoneDefaults; (d.User == "") != (d.PasswordFile == "") {
		report("phone_defaults", "phone_defaults: want user and password_file together, or neither")
	}
	names := map[string]bool{}
	var placed []phone.Phone
	for i, e := range c.Phones {
		path := fmt.Sprintf("phones[%d]", i)
		p := c.PhoneDefaults.Phone(e)
		other, how := clash(placed, p)
		switch err := p.Check(); {
		case !deviceName.MatchString(e.Name):
			report(path+".name", "phone name %q: want a device name such as SEP0011AABBCCDD", e.Name)
		case names[strings.ToUpper(e.Name)]:
			report(path+".name", "phone %s is listed twice", e.Name)
		case misdialled(e.Address):
			report(path+".address", "phone %s: %s is neither an IP address nor a host name", e.Name, e.Address)
		case err != nil:
			report(path+".address", "phone %s: %v", e.Name, err)
		case other != "":
			report(path+".address", "phone %s has the address of %s%s", e.Name, other, how)
		}
		names[strings.ToUpper(e.Name)] = true
		placed = append(placed, p)
	}
	c.checkFile(report, "phone_defaults.password_file", c.PhoneDefaults.PasswordFile)
}

// clash looks for a phone that cannot be told from p where they are asked: what one
// answers would be shown as the other's. Two may share an address only as two
// behind one that translates: each interface that is asked of both at a port of its
// own, and one at least.
func clash(placed []phone.Phone, p phone.Phone) (other, how string) {
	for _, o := range placed {
		if !sameHost(o.Address, p.Address) {
			continue
		}
		byWeb, bySIP := min(o.WebPort, p.WebPort) > 0, min(o.SIPPort, p.SIPPort) > 0 // both are asked so
		switch sameWeb, sameSIP := byWeb && o.WebPort == p.WebPort, bySIP && o.SIPPort == p.SIPPort; {
		case !byWeb && !bySIP, sameWeb && (sameSIP || !bySIP), sameSIP && !byWeb:
			return o.Name, ""
		case sameWeb:
			return o.Name, fmt.Sprintf(", and its web_port %d", p.WebPort)
		case sameSIP:
			return o.Name, fmt.Sprintf(", and its sip_port %d", p.SIPPort)
		}
	}
	return "", ""
}

// sameHost compares two addresses as they are meant, not as they are written.
func sameHost(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	if errX == nil && errY == nil {
		return x.Unmap() == y.Unmap()
	}
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
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

func (c *Config) checkLists(report func(path, format string, args ...any)) {
	taken := map[string]string{simple.Everybody: "everybody at the branch"}
	for _, p := range c.People {
		taken[p.User] = "a person"
		if p.Line != "" {
			taken[p.Line] = "the line of " + p.User
		}
	}
	lists := map[string]bool{}
	for _, l := range c.Lists {
		lists[l.Name] = taken[l.Name] == ""
	}
	for i, l := range c.Lists {
		path := fmt.Sprintf("lists[%d]", i)
		switch {
		case !userName.MatchString(l.Name):
			report(path+".name", "list %q: want letters, digits, dot, plus, minus or underscore", l.Name)
		case taken[l.Name] != "":
			report(path+".name", "list %s: the name is that of %s", l.Name, taken[l.Name])
		case len(l.Members) > simple.MaxMembers:
			report(path+".members", "list %s has %d members, want at most %d", l.Name, len(l.Members), simple.MaxMembers)
			continue
		}
		taken[l.Name] = "another list"
		seen := map[presence.Presentity]bool{}
		for j, m := range l.Members {
			path := fmt.Sprintf("%s.members[%d]", path, j)
			of, err := listed(m, "branch.invalid")
			switch {
			case err != nil:
				report(path, "list %s: member %q: want a user, a number or sip:USER@DOMAIN", l.Name, m)
			case lists[m] || m == simple.Everybody:
				report(path, "list %s: %s is a list itself: name its members", l.Name, m)
			case seen[of]:
				report(path, "list %s has %s twice", l.Name, m)
			}
			seen[of] = true
		}
	}
}

// listed is the presentity of a list's member.
func listed(member, domain string) (presence.Presentity, error) {
	if !strings.Contains(member, ":") {
		member = "sip:" + member + "@" + domain
	}
	return presence.ParsePresentity(member)
}

func (c *Config) checkServers(report func(path, format string, args ...any)) {
	names := map[string]bool{}
	for i, s := range c.CallManagers {
		path := fmt.Sprintf("call_managers[%d]", i)
		if names[s.Name] || !deviceName.MatchString(s.Name) {
			report(path+".name", "call manager %q: want a short name of its own", s.Name)
		}
		names[s.Name] = true
		checkTarget(report, path+".target", "call manager "+s.Name, s.Target)
		c.checkFile(report, path+".password_file", s.PasswordFile)
	}
	uplinks := map[string]bool{}
	for i, u := range c.Uplinks {
		path := fmt.Sprintf("uplinks[%d]", i)
		if uplinks[u.Name] {
			report(path+".name", "uplink %s is listed twice", u.Name)
		}
		uplinks[u.Name] = true
		if to, err := sip.ParseURI(u.Target); u.Kind == "sip" && err == nil && misdialled(to.Host) {
			report(path+".target", "uplink %s: %s is neither an IP address nor a host name", u.Name, to.Host)
		}
		for key, file := range map[string]string{"password_file": u.PasswordFile, "credentials_file": u.CredentialsFile, "secret_file": u.SecretFile} {
			c.checkFile(report, path+"."+key, file)
		}
	}
	if c.Directory != nil {
		if u, err := url.Parse(c.Directory.URL); err != nil || u.Scheme != "ldap" && u.Scheme != "ldaps" || u.Host == "" {
			report("directory.url", "directory.url %q: want ldap://HOST or ldaps://HOST", c.Directory.URL)
		}
		c.checkFile(report, "directory.password_file", c.Directory.PasswordFile)
	}
}

func (c *Config) checkModes(report func(path, format string, args ...any)) {
	oneOf(report, "xmpp_server.mode", c.XMPPServer.Mode, "off", "always", "island")
	oneOf(report, "registrar.mode", c.Registrar.Mode, "off", "always", "fallback")
}

func oneOf(report func(path, format string, args ...any), path, word string, words ...string) {
	if !slices.Contains(words, word) {
		report(path, "%s: %q, want one of %s", path, word, strings.TrimPrefix(strings.Join(words, ", "), ", "))
	}
}

// listens checks an address to listen on; empty is none.
func listens(report func(path, format string, args ...any), path, addr string) {
	if addr == "" {
		return
	}
	if _, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		report(path, "%s: %q, want HOST:PORT", path, addr)
	}
}

// checkTarget checks where somebody takes SIP.
func checkTarget(report func(path, format string, args ...any), path, who, target string) {
	if err := sip.CheckTarget(target); err != nil {
		report(path, "%s: %v", who, err)
	} else if u, _ := sip.ParseURI(target); misdialled(u.Host) {
		report(path, "%s: target %q: %s is neither an IP address nor a host name", who, target, u.Host)
	}
}

// misdialled reports what was meant for an IPv4 address and is none.
func misdialled(host string) bool {
	_, err := netip.ParseAddr(host)
	return err != nil && strings.Trim(host, "0123456789.") == ""
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
