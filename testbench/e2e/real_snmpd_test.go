package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

// asks is a configuration that knows net-snmp's agent under several credentials.
func asks(t *testing.T, at netip.AddrPort, listed string) string {
	t.Helper()
	dir := writeFiles(t, map[string]string{
		"auth.pw": "authpass123\n", "priv.pw": "privpass123\n", "wrong.pw": "nopass12345\n",
		"c.yaml": fmt.Sprintf(`branch: {id: lyon-12, domain: example.com}
data_dir: data
snmp:
  credentials:
    - {name: secure, version: 3, user: pilot, auth: sha256, auth_password_file: auth.pw, privacy: aes, privacy_password_file: priv.pw}
    - {name: sha1, version: 3, user: old, auth: sha, auth_password_file: auth.pw, privacy: aes, privacy_password_file: priv.pw}
    - {name: bad-password, version: 3, user: pilot, auth: sha256, auth_password_file: wrong.pw, privacy: aes, privacy_password_file: priv.pw}
    - {name: bad-privacy, version: 3, user: pilot, auth: sha256, auth_password_file: auth.pw, privacy: aes, privacy_password_file: wrong.pw}
    - {name: bad-user, version: 3, user: nobody, auth: sha256, auth_password_file: auth.pw, privacy: aes, privacy_password_file: priv.pw}
    - {name: bad-level, version: 3, user: pilot, auth: sha256, auth_password_file: auth.pw}
    - {name: public, version: 2c, community: public}
    - {name: bad-community, version: 2c, community: secretive}
discovery: {allow: []}
poll: {snmp: 1s}
switches: [{name: sw1, address: %s, port: %d, snmp: %s}]
`, at.Addr(), at.Port(), listed)})
	return filepath.Join(dir, "c.yaml")
}

func snmpd(t *testing.T) netip.AddrPort {
	t.Helper()
	return netip.MustParseAddrPort(peers.Snmpd(t,
		peers.SNMPUser{Name: "pilot", Auth: "SHA-256", AuthPass: "authpass123", Privacy: "AES", PrivPass: "privpass123"},
		peers.SNMPUser{Name: "old", Auth: "SHA", AuthPass: "authpass123", Privacy: "AES", PrivPass: "privpass123"}))
}

// TestProbeOfSnmpd: who is at the branch with a laptop is told which of user,
// password, level and community is the wrong one.
func TestProbeOfSnmpd(t *testing.T) {
	if !peers.Need(t, "snmpd") {
		return
	}
	at := snmpd(t)
	config := asks(t, at, "secure")
	for _, tc := range []struct {
		credential string
		status     int
		says       string
		not        string // what it must not blame
	}{
		{"secure", 0, "bench-snmpd", ""},
		{"sha1", 0, "bench-snmpd", ""},
		{"public", 0, "bench-snmpd", ""},
		{"bad-password", 1, "wrong authentication password", "no such user"},
		{"bad-privacy", 1, "wrong privacy password", "authentication password"},
		{"bad-user", 1, "no such user", "password"},
		{"bad-level", 1, "authorizationError", "password"}, // as snmpd puts it (RFC 3416 §3)
		{"bad-community", 1, "another community", "user"},
	} {
		t.Run(tc.credential, func(t *testing.T) {
			out, errs := product.RunCLI(t, product.Binary(t), tc.status, "", "probe", "snmp", at.String(), "--config", config, "--credential", tc.credential)
			if !strings.Contains(out+errs, tc.says) || tc.not != "" && strings.Contains(errs, tc.not) {
				t.Errorf("%s%s", out, errs)
			}
			if strings.Contains(out+errs, "pass123") || strings.Contains(out+errs, "secretive") {
				t.Errorf("a secret is told: %s%s", out, errs)
			}
		})
	}
}

// TestASwitchWithoutPhones: net-snmp's agent as a listed switch, read under
// version 3. It knows no neighbours, which is an answer and no failure.
func TestASwitchWithoutPhones(t *testing.T) {
	if !peers.Need(t, "snmpd") {
		return
	}
	at := snmpd(t)
	out, _ := product.RunCLI(t, product.Binary(t), 0, "", "discover", "--json", "--config", asks(t, at, "secure"))
	var list []any
	if err := json.Unmarshal([]byte(out), &list); err != nil || list == nil || len(list) != 0 {
		t.Errorf("%v: %q, want []", err, out)
	}
	out, errs := product.RunCLI(t, product.Binary(t), 1, "", "discover", "--json", "--config", asks(t, at, "bad-user"))
	if strings.TrimSpace(out) != "[]" || !strings.Contains(errs, "switch sw1") || !strings.Contains(errs, "no such user") {
		t.Errorf("a switch that refuses us: %s%s", out, errs)
	}
}

// TestAnAgentReadsASwitchUnderVersion3, poll after poll.
func TestAnAgentReadsASwitchUnderVersion3(t *testing.T) {
	if !peers.Need(t, "snmpd") {
		return
	}
	at := snmpd(t)
	dir := writeFiles(t, map[string]string{"auth.pw": "authpass123\n", "priv.pw": "privpass123\n"})
	a := product.Start(t, product.Options{YAML: agentHead + fmt.Sprintf(`
snmp: {credentials: [{name: secure, version: 3, user: pilot, auth: sha256, auth_password_file: %q, privacy: aes, privacy_password_file: %q}]}
poll: {snmp: 1s}
switches: [{name: sw1, address: %s, port: %d, snmp: secure}]
`, filepath.Join(dir, "auth.pw"), filepath.Join(dir, "priv.pw"), at.Addr(), at.Port())})
	a.Until(soon, "two polls are well", func() bool {
		return polls(t, a, "snmp", "ok") >= 2
	})
	if n := len(a.Phones()); n != 0 {
		t.Errorf("%d phones behind a switch that has none", n)
	}
}
