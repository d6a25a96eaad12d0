package drivers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"pilotlight/drivers/internal/sip"
	"pilotlight/drivers/internal/snmp"
	"pilotlight/drivers/lan"
	"pilotlight/drivers/phone"
)

// Discover makes one sweep over the configured switches and adds the phones
// that are listed: all that the configured sources know. Switches that cannot
// be read are told in the error; the rest is returned.
func Discover(ctx context.Context, c Config, log *slog.Logger) ([]lan.Found, error) {
	var found []lan.Found
	var err error
	if len(c.Switches) > 0 {
		var client *snmp.Client
		if client, err = snmp.New(c.SNMP, snmp.Options{Secrets: c.Secret, Gate: c.gate()}); err != nil {
			return nil, err
		}
		b := builder{c: c}
		d, newErr := lan.New(b.lanConfig(), lan.Needs{SNMP: client, Known: c.known()}, log)
		if newErr != nil {
			return nil, newErr
		}
		found, err = d.Discover(ctx)
	}
	placed := map[string]bool{}
	for _, f := range found {
		placed[f.Name] = true
	}
	for _, p := range c.Phones {
		if !placed[p.Name] {
			addr, _ := netip.ParseAddr(p.Address) // a host name has none before it is looked up
			found = append(found, lan.Found{Name: p.Name, Address: addr, Source: "config"})
		}
	}
	return found, err
}

// ProbeWeb asks a phone for its pages.
func ProbeWeb(ctx context.Context, target string) (*phone.ProbeResult, error) {
	p, err := phone.ProbeTarget(target)
	if err != nil {
		return nil, err
	}
	return phone.Probe(ctx, p, 0)
}

// SNMPProbe is what one SNMP exchange needs.
type SNMPProbe struct {
	Target     string // host or host:port
	Credential snmp.Credential
	Secrets    snmp.Secrets
}

// ProbeSNMP asks for the system group.
func ProbeSNMP(ctx context.Context, p SNMPProbe) (lan.Answer, error) {
	host, port := p.Target, uint16(161)
	if h, s, err := net.SplitHostPort(p.Target); err == nil {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return lan.Answer{}, fmt.Errorf("snmp %s: want HOST or HOST:PORT", p.Target)
		}
		host, port = h, uint16(n)
	}
	addr, err := resolve(ctx, strings.Trim(host, "[]"))
	if err != nil {
		return lan.Answer{}, fmt.Errorf("snmp %s: %w", p.Target, err)
	}
	client, err := snmp.New(snmp.Config{Credentials: []snmp.Credential{p.Credential}}, snmp.Options{Secrets: p.Secrets})
	if err != nil {
		return lan.Answer{}, err
	}
	return lan.Probe(ctx, client, snmp.Target{Addr: netip.AddrPortFrom(addr, port), Credential: p.Credential.Name})
}

func resolve(ctx context.Context, host string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(addrs) == 0 {
		return netip.Addr{}, errors.New("no address")
	}
	return addrs[0].Unmap(), nil
}

// SIPAnswer is what one OPTIONS brought.
type SIPAnswer struct {
	Status    int           `json:"status"`
	Reason    string        `json:"reason"`
	RTT       time.Duration `json:"round_trip_ns"`
	Source    string        `json:"source"`
	Transport string        `json:"transport"`
	Fields    []string      `json:"fields"` // "Name: value" of the headers that tell what it can do
}

// String explains the answer to a person.
func (a SIPAnswer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s answered OPTIONS over %s in %v: %d %s", a.Source, a.Transport, a.RTT.Round(10*time.Microsecond), a.Status, a.Reason)
	for _, f := range a.Fields {
		fmt.Fprintf(&b, "\n  %s", f)
	}
	return b.String()
}

// ProbeSIP sends one OPTIONS from a socket of its own.
func ProbeSIP(ctx context.Context, target, version string, log *slog.Logger) (SIPAnswer, error) {
	if !strings.HasPrefix(target, "sip:") {
		target = "sip:" + target
	}
	local, err := localToward(ctx, target)
	if err != nil {
		return SIPAnswer{}, err
	}
	listen := []string{"udp:" + netip.AddrPortFrom(local, 0).String(), "tcp:" + netip.AddrPortFrom(local, 0).String()}
	e, err := sip.New(sip.Config{Listen: listen, UserAgent: "Pilotlight/" + version}, log)
	if err != nil {
		return SIPAnswer{}, err
	}
	running, stop := context.WithCancel(ctx)
	gone := make(chan error, 1)
	go func() { gone <- e.Run(running) }()
	defer func() { stop(); <-gone }()
	if err := e.Ready(ctx); err != nil {
		return SIPAnswer{}, err
	}
	resp, err := e.Do(ctx, &sip.Request{Method: "OPTIONS", URI: target, From: "sip:probe@pilotlight.invalid", To: target,
		Accept: []string{"application/sdp"}, Timeout: 5 * time.Second})
	if err != nil {
		return SIPAnswer{}, err
	}
	a := SIPAnswer{Status: resp.Status, Reason: resp.Reason, RTT: resp.RTT, Source: resp.Source.String(), Transport: resp.Transport}
	for _, name := range []string{"User-Agent", "Server", "Allow", "Accept", "Allow-Events", "Supported"} {
		if v := resp.Header.Get(name); v != "" {
			a.Fields = append(a.Fields, name+": "+v)
		}
	}
	return a, nil
}

// localToward is the local address that the kernel would send from. It sends nothing.
func localToward(ctx context.Context, target string) (netip.Addr, error) {
	u, err := sip.ParseURI(target)
	if err != nil {
		return netip.Addr{}, err
	}
	addr, err := resolve(ctx, strings.Trim(u.Host, "[]"))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("sip %s: %w", target, err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "udp", netip.AddrPortFrom(addr, 5060).String())
	if err != nil {
		return netip.Addr{}, fmt.Errorf("sip %s: %w", target, err)
	}
	defer conn.Close()
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return local.Addr().Unmap(), err
}
