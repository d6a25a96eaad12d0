package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"

	"pilotlight/drivers"
)

// probeLimit bounds one probe.
const probeLimit = 30 * time.Second

type probeCmd struct {
	SIP  probeSIPCmd  `cmd:"" name:"sip" help:"One OPTIONS."`
	Web  probeWebCmd  `cmd:"" help:"A Cisco phone's own pages."`
	SNMP probeSNMPCmd `cmd:"" name:"snmp" help:"The system group of a switch."`
}

type probeSIPCmd struct {
	Target string `arg:"" help:"HOST, HOST:PORT or a SIP URI such as sip:10.0.0.5:5060;transport=tcp."`
	JSON   bool   `name:"json" help:"As JSON."`
}

func (c *probeSIPCmd) Run(ctx context.Context, con *console) error {
	ctx, stop := context.WithTimeout(ctx, probeLimit)
	defer stop()
	a, err := drivers.ProbeSIP(ctx, c.Target, version, con.log)
	if err != nil {
		return fmt.Errorf("%w (a phone that is registered with Unified CM takes SIP from nobody else: its silence says nothing)", err)
	}
	return con.print(c.JSON, a)
}

type probeWebCmd struct {
	Target string `arg:"" help:"HOST, HOST:PORT or a URL."`
	JSON   bool   `name:"json" help:"As JSON."`
}

func (c *probeWebCmd) Run(ctx context.Context, con *console) error {
	ctx, stop := context.WithTimeout(ctx, probeLimit)
	defer stop()
	r, err := drivers.ProbeWeb(ctx, c.Target)
	if err != nil {
		return err
	}
	if err := con.print(c.JSON, r); err != nil {
		return err
	}
	if !r.OK {
		return fmt.Errorf("%s cannot be watched by its web pages", c.Target)
	}
	return nil
}

type probeSNMPCmd struct {
	Target        string `arg:"" help:"HOST or HOST:PORT."`
	Config        string `help:"Take the credential from this configuration."`
	Credential    string `help:"Which credential of the configuration."`
	Community     string `default:"public" help:"Without a configuration: version 2c with this community."`
	CommunityFile string `type:"path" help:"The same, from a file."`
	JSON          bool   `name:"json" help:"As JSON."`
}

func (c *probeSNMPCmd) Run(ctx context.Context, con *console) error {
	ctx, stop := context.WithTimeout(ctx, probeLimit)
	defer stop()
	p := drivers.SNMPProbe{Target: c.Target}
	p.Credential.Name, p.Credential.Version, p.Credential.Community = "probe", "2c", c.Community
	p.Secrets = func(path string) (string, error) { cfg := drivers.Config{}; return cfg.Secret(path) }
	if c.CommunityFile != "" {
		p.Credential.Community, p.Credential.CommunityFile = "", c.CommunityFile
	}
	if c.Config != "" {
		cfg, err := loadConfig(c.Config)
		if err != nil {
			return err
		}
		p.Secrets = cfg.Secret
		found := false
		for _, cr := range cfg.SNMP.Credentials {
			if cr.Name == c.Credential || c.Credential == "" && !found {
				p.Credential, found = cr, true
			}
		}
		if !found {
			return usagef("%s: no snmp credential %q", c.Config, c.Credential)
		}
	}
	a, err := drivers.ProbeSNMP(ctx, p)
	if err != nil {
		return err
	}
	return con.print(c.JSON, a)
}

// print shows a value as JSON, or as it explains itself.
func (con *console) print(asJSON bool, v any) error {
	if !asJSON {
		_, err := fmt.Fprintln(con.out, v)
		return err
	}
	enc := json.NewEncoder(con.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

type discoverCmd struct {
	configFlag
	JSON bool `name:"json" help:"As a JSON array."`
}

// found is one phone as discover tells it.
type foundJSON struct {
	Name    string  `json:"name"`
	Model   string  `json:"model"`
	Address string  `json:"address"`
	MAC     string  `json:"mac"`
	Switch  string  `json:"switch"`
	Port    string  `json:"port"`
	VLAN    int     `json:"vlan"`
	Watts   float64 `json:"watts"`
	Link    string  `json:"link"`
	Source  string  `json:"source"`
}

func (c *discoverCmd) Run(ctx context.Context, con *console) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	found, sweep := drivers.Discover(ctx, cfg.Config, con.log)
	list := make([]foundJSON, 0, len(found))
	for _, f := range found {
		addr := ""
		if f.Address != (netip.Addr{}) {
			addr = f.Address.String()
		}
		list = append(list, foundJSON{f.Name, f.Model, addr, f.MAC, f.Switch, f.Port, f.VLAN, f.Watts, f.Link, f.Source})
	}
	if c.JSON {
		if err := con.print(true, list); err != nil {
			return err
		}
		return sweep
	}
	t := newTable(con.out, "NAME", "MODEL", "ADDRESS", "SWITCH", "PORT", "VLAN", "WATTS", "LINK", "SOURCE")
	for _, f := range list {
		t.row(f.Name, f.Model, f.Address, f.Switch, f.Port, nonZero(f.VLAN), nonZero(f.Watts), f.Link, f.Source)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if sweep == nil && len(list) == 0 {
		fmt.Fprintln(con.err, "no phones: is there a switch or a phone in the configuration?")
	}
	return sweep
}

func nonZero[T int | float64](n T) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
