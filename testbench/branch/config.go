package branch

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// PasswordFile is where beside an agent's configuration the phones' password is kept.
const PasswordFile = "phones.pw"

// WritePassword writes the phones' password, if they have a user, into the folder of
// the configuration.
func (b *Branch) WritePassword(dir string) error {
	if b.opts.PhoneUser == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(dir, PasswordFile), []byte(b.opts.PhonePassword+"\n"), 0o600)
}

// pollEvery is 2 s up to a hundred phones, and 10 s for a thousand: a demo is to
// leave something of a small machine to the browser that shows it.
func pollEvery(phones int) time.Duration {
	return (2*time.Second + time.Duration(max(phones-100, 0))*8*time.Second/900).Round(100 * time.Millisecond)
}

// Config writes the configuration of an agent that stands beside this branch:
// it polls every two seconds (a large branch less often), keeps its data in a folder, shows its panel at
// an address, and takes SIP on a port of 127.0.0.1 that was free when the branch began.
func (b *Branch) Config(dataDir, panelListen string) []byte {
	var y bytes.Buffer
	fmt.Fprintf(&y, "branch: {id: bench, name: %q, domain: %q}\n", "A branch on the bench", b.opts.Domain)
	fmt.Fprintf(&y, "data_dir: %q\n", dataDir)
	fmt.Fprintf(&y, "store: {commit: 10s}\n")
	fmt.Fprintf(&y, "panel: {listen: %q}\n", panelListen)
	fmt.Fprintf(&y, "sip: {listen: [\"udp:127.0.0.1:%d\", \"tcp:127.0.0.1:%d\"], trusted: [127.0.0.0/8]}\n", b.agentSIP, b.agentSIP)
	fmt.Fprintf(&y, "snmp:\n  credentials:\n    - {name: branch-ro, version: 2c, community: %q}\n", b.opts.Community)
	every := pollEvery(len(b.phones))
	fmt.Fprintf(&y, "poll: {sip: %s, web: %s, snmp: %s, in_flight: 64}\n", every, every, every)
	fmt.Fprintf(&y, "people:\n")
	for _, p := range b.phones {
		if p.User != "" {
			fmt.Fprintf(&y, "  - {user: %s, name: %q, phones: [%s], line: %q}\n", p.User, p.DisplayName, p.Name, p.Number)
		}
	}
	user := ""
	if b.opts.PhoneUser != "" { // the password's file is the caller's to write
		user = fmt.Sprintf(", user: %q, password_file: %q", b.opts.PhoneUser, PasswordFile)
	}
	fmt.Fprintf(&y, "phone_defaults: {web_port: %d, web_scheme: http, sip_port: %d%s}\n", b.block.web, b.block.sip, user)
	fmt.Fprintf(&y, "phones:\n")
	for _, p := range b.phones {
		fmt.Fprintf(&y, "  - {name: %s, address: %s, sip_port: %d, web_port: %d}\n", p.Name, p.Address, p.SIPPort, p.WebPort)
	}
	fmt.Fprintf(&y, "switches:\n")
	for _, s := range b.Switches() {
		fmt.Fprintf(&y, "  - {name: %s, address: %s, port: %d, snmp: branch-ro}\n", s.Name, s.Address, s.Port)
	}
	fmt.Fprintf(&y, "call_managers:\n  - {name: callserver, target: %q, dialog: true, expires: 10m}\n", b.CallServer())
	fmt.Fprintf(&y, "uplinks:\n  - {name: hq, kind: sip, target: %q, expires: 1h, return_window: 0s}\n", b.Central())
	return y.Bytes()
}

// AgentSIP is where an agent of that configuration takes SIP, over UDP and TCP.
func (b *Branch) AgentSIP() string { return fmt.Sprintf("127.0.0.1:%d", b.agentSIP) }

// Domain is that of the branch's people.
func (b *Branch) Domain() string { return b.opts.Domain }
