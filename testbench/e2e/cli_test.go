package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pilotlight/testbench/product"
)

// everySection is the contract's example, with the secret files it names.
const everySection = `
branch: {id: lyon-12, name: "Lyon, rue Garibaldi", domain: example.com}
data_dir: data
store: {commit: 10s}
panel: {listen: 127.0.0.1:8080, tls: {cert_file: "", key_file: ""}}
sip:
  listen: [udp:127.0.0.1:5060, tcp:127.0.0.1:5060]
  trusted: []
  peers: []
  accounts: []
  notify_interval: {presence: 0s}
phone_services: {listen: "", allow: []}
access: {default: allow, rules: []}
lists: []
snmp:
  credentials:
    - {name: branch-ro, version: 2c, community: public}
    - {name: secure, version: 3, user: pilot, auth: sha256, auth_password_file: a.pw, privacy: aes, privacy_password_file: p.pw}
  traps: {listen: ""}
discovery: {allow: [], depth: 2}
poll: {sip: 30s, web: 60s, snmp: 60s, in_flight: 64}
people:
  - {user: alice, name: Alice Martin, phones: [SEP0011AABBCCDD], line: "1001"}
phone_defaults: {web_port: 80, web_scheme: http, sip_port: 5060, user: "", password_file: ""}
phones:
  - {name: SEP0011AABBCCDD, address: 10.1.1.20, sip_port: 5060, web_port: 80, snmp: branch-ro, snmp_port: 161}
switches:
  - {name: sw1, address: 10.1.1.2, port: 161, snmp: branch-ro}
uplinks:
  - {name: hq, kind: sip, target: "sip:10.0.0.5:5060;transport=tcp", username: "", password_file: "", expires: 1h, return_window: 90s}
  - {name: fleet, kind: nats, url: "nats://10.0.0.7:4222", credentials_file: "", tls_ca_file: ""}
  - {name: jabber, kind: xmpp, address: 10.0.0.6:5347, domain: branch.example.com, secret_file: x.pw}
directory: {url: "ldap://10.0.0.8", start_tls: true, bind_dn: "", password_file: "", base_dn: "ou=people,dc=example,dc=com", filter: "(objectClass=inetOrgPerson)", refresh: 15m}
call_managers: []
express: []
voicemail: []
meetings: []
media: {echo: false}
xmpp_server: {mode: off, listen: []}
registrar: {mode: off, gateway: "", emergency: ["112"]}
`

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheckTakesEverySectionOfTheContract(t *testing.T) {
	dir := writeFiles(t, map[string]string{"c.yaml": everySection, "a.pw": "authpass123", "p.pw": "privpass123", "x.pw": "s3cret"})
	out, notes := product.RunCLI(t, product.Binary(t), 0, "", "check", "--config", filepath.Join(dir, "c.yaml"))
	if !strings.Contains(out, "1 phones, 1 people, 1 switches, 3 uplinks: well formed") {
		t.Error(out)
	}
	for _, want := range []string{"uplink fleet of kind nats", "directory"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note that %s is not served yet:\n%s", want, notes)
		}
	}
	if strings.Contains(out+notes, "s3cret") || strings.Contains(out+notes, "authpass123") {
		t.Error("a secret was printed")
	}
}

func TestCheckOfABranchAlone(t *testing.T) {
	dir := writeFiles(t, map[string]string{"c.yaml": "branch: {id: lyon-12, name: Lyon, domain: example.com}\n"})
	product.RunCLI(t, product.Binary(t), 0, "", "check", "--config", filepath.Join(dir, "c.yaml"))
}

// Every fault: file, line, column, what is wrong and what would be right; exit 2.
func TestCheckNamesEveryFault(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"unknown key", "branch: {id: a, domain: b.c}\nphonse: []\n", `2:1: unknown key "phonse"; did you mean "phones"?`},
		{"no branch", "store: {commit: 1s}\n", `1:1: branch.id "": want lower-case letters, digits and hyphens, such as lyon-12`},
		{"bad branch id", "branch: {id: Lyon 12}\n", `1:14: branch.id "Lyon 12": want lower-case letters, digits and hyphens, such as lyon-12`},
		{"bad address", "branch: {id: a}\nphones:\n  - {name: SEP0011AABBCCDD, address: \"10.1.1.20:80\"}\n", `3:38: phone SEP0011AABBCCDD: address "10.1.1.20:80": want it without a port (web_port, sip_port)`},
		{"duplicate phone", "branch: {id: a}\nphones:\n  - {name: SEP0011AABBCCDD, address: 10.1.1.20}\n  - {name: SEP0011AABBCCDD, address: 10.1.1.21}\n", `4:12: phone SEP0011AABBCCDD is listed twice`},
		{"one address for two phones", "branch: {id: a}\nphones:\n  - {name: SEP0011AABBCCDD, address: 10.1.1.20}\n  - {name: SEP0011AABBCCDE, address: 10.1.1.20}\n", `4:38: phone SEP0011AABBCCDE has the address of SEP0011AABBCCDD`},
		{"missing secret file", "branch: {id: a}\nuplinks:\n  - {name: hq, kind: sip, target: \"sip:10.0.0.5\", username: u, password_file: no.pw}\n", `3:79: DIR/no.pw: no such file or directory`},
		{"missing secret file of a credential", "branch: {id: a}\nsnmp:\n  credentials:\n    - {name: s, version: 3, user: u, auth: sha256, auth_password_file: no.pw}\n", `4:72: snmp credential s: auth_password_file: stat DIR/no.pw: no such file or directory`},
		{"unknown credential", "branch: {id: a}\nswitches:\n  - {name: sw1, address: 10.1.1.2, snmp: ro}\n", `3:42: switch sw1: no snmp credential "ro"`},
		{"an address that is none", "branch: {id: a}\nphones:\n  - {name: SEP0011AABBCCDD, address: 10.1.1.999}\n", `3:38: phone SEP0011AABBCCDD: 10.1.1.999 is neither an IP address nor a host name`},
		{"an uplink's address that is none", "branch: {id: a}\nuplinks:\n  - {name: hq, kind: sip, target: \"sip:10.0.0.999\"}\n", `3:35: uplink hq: 10.0.0.999 is neither an IP address nor a host name`},
		{"kind of an uplink", "branch: {id: a}\nuplinks:\n  - {name: hq, kind: pigeon}\n", `3:22: uplink hq: kind "pigeon", want sip`},
		{"certificate", "branch: {id: a}\npanel:\n  tls: {cert_file: no.pem, key_file: c.yaml}\n", ``},
		{"scheme of the phones", "branch: {id: a}\nphone_defaults: {web_scheme: gopher}\n", `2:18: phone_defaults: web_scheme "gopher": want http or https`},
		{"what a peer may", "branch: {id: a}\nsip: {listen: [udp:127.0.0.1:5060], peers: [{name: p, address: 10.0.0.5/32, may: [fly]}]}\n", ``},
		{"discovery", "branch: {id: a}\ndiscovery: {allow: [10.0.0.0/33]}\n", `2:21: discovery: allow: "10.0.0.0/33": want a network such as 10.1.0.0/16`},
		{"bad switch address", "branch: {id: a}\nsnmp: {credentials: [{name: ro, version: 2c, community: public}]}\nswitches:\n  - {name: sw1, address: ten, snmp: ro}\n", ``},
		{"two owners", "branch: {id: a}\npeople:\n  - {user: a, phones: [SEP1]}\n  - {user: b, phones: [SEP1]}\n", `4:24: phone SEP1 belongs to a already`},
		{"panel address", "branch: {id: a}\npanel: {listen: 8080}\n", ``},
		{"sip socket", "branch: {id: a}\nsip: {listen: [carrier-pigeon:127.0.0.1:5060]}\n", ``},
		{"bad interval", "branch: {id: a}\npoll: {web: often}\n", `2:13: poll.web: "often" is not a duration; want a duration such as 30s, 5m or 1h`},
		{"bad version", "branch: {id: a}\nsnmp: {credentials: [{name: ro, version: 1, community: public}]}\n", `2:42: snmp credential ro: version "1", want 2c or 3`},
		{"bad mode", "branch: {id: a}\nregistrar: {mode: sometimes}\n", `2:19: registrar.mode: "sometimes", want one of off, always, fallback`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := writeFiles(t, map[string]string{"c.yaml": tc.text})
			file := filepath.Join(dir, "c.yaml")
			out, errs := product.RunCLI(t, product.Binary(t), 2, "", "check", "--config", file)
			if out != "" || !strings.HasPrefix(errs, file+":") || strings.Count(errs, "\n") != 1 {
				t.Errorf("want one fault, with its place:\n%s%s", out, errs)
			}
			if want := file + ":" + strings.ReplaceAll(tc.want, "DIR", dir) + "\n"; tc.want != "" && errs != want {
				t.Error(cmp.Diff(want, errs))
			}
		})
	}
}

// All faults of a file are told at once, in the order of the file.
func TestCheckNamesAllFaultsAtOnce(t *testing.T) {
	dir := writeFiles(t, map[string]string{"c.yaml": `brnch: 1
branch: {id: a}
store: {commit: soon}
discovery: {allow: [10.0.0.0/33], depth: -1}
snmp:
  credentials:
    - {name: s, version: 3, user: u, auth: foo, auth_password_file: a.pw, privacy: bar, privacy_password_file: b.pw}
phones:
  - {name: SEP0011AABBCCDD, address: 10.1.1.999}
`})
	_, errs := product.RunCLI(t, product.Binary(t), 2, "", "check", "--config", filepath.Join(dir, "c.yaml"))
	var places []string
	for line := range strings.Lines(errs) {
		rest := strings.TrimPrefix(line, filepath.Join(dir, "c.yaml")+":")
		places = append(places, strings.Join(strings.SplitN(rest, ":", 3)[:2], ":"))
	}
	if want := []string{"1:1", "3:17", "4:21", "4:42", "7:44", "7:69", "7:84", "7:112", "9:38"}; !cmp.Equal(want, places) {
		t.Errorf("%q\n%s", places, errs)
	}
}

func TestWrongUseIsStatus2(t *testing.T) {
	for _, args := range [][]string{{}, {"fly"}, {"run", "--speed", "9"}, {"check", "--config", "/no/such/file"}, {"check", "--config", "/"}, {"status", "--api", "nonsense"}, {"token", "create", "--role", "king"}, {"demo", "--listen", "0.0.0.0:8080"}} {
		if out, errs := product.RunCLI(t, product.Binary(t), 2, "", args...); errs == "" || out != "" && len(args) > 0 {
			t.Errorf("%q: nothing said on standard error, or something on standard output: %q", args, out)
		}
	}
}

func TestAskingNobodyIsStatus1(t *testing.T) {
	_, errs := product.RunCLI(t, product.Binary(t), 1, "", "status", "--api", "http://127.0.0.1:1")
	if !strings.Contains(errs, "is an agent running?") {
		t.Error(errs)
	}
}

func TestVersion(t *testing.T) {
	out, _ := product.RunCLI(t, product.Binary(t), 0, "", "version", "--modules")
	for _, want := range []string{"pilotlight ", "commit ", "go1.", "github.com/emiago/sipgo v"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

const alone = `
branch: {id: lyon-12, name: Lyon, domain: example.com}
data_dir: @DATA@
panel: {listen: "@PANEL@"}
sip: {listen: ["udp:@SIP@", "tcp:@SIP@"]}
people: [{user: alice, name: Alice Martin, line: "1001"}]
`

// Accounts work on the store with no agent running, and through the admin
// socket with one.
func TestAccounts(t *testing.T) {
	bin := product.Binary(t)
	a := product.Start(t, product.Options{YAML: alone})
	for _, running := range []bool{true, false} {
		if !running {
			a.Stop()
		}
		token := strings.TrimSpace(a.CLI(0, "token", "create", "--role", "operator", "--config", a.Config))
		if len(strings.Fields(token)) != 1 || len(token) < 32 {
			t.Errorf("create prints the token alone, not %q", token)
		}
		if list := a.CLI(0, "token", "list", "--config", a.Config); !strings.Contains(list, "operator") || strings.Contains(list, token) {
			t.Errorf("running %v: %s", running, list)
		}
		name := map[bool]string{true: "bob", false: "carol"}[running]
		product.RunCLI(t, bin, 0, "correct horse\n", "user", "add", name, "--role", "admin", "--config", a.Config)
		product.RunCLI(t, bin, 0, "battery staple\n", "user", "passwd", name, "--config", a.Config)
		if list := a.CLI(0, "user", "list", "--config", a.Config); !strings.Contains(list, name) || !strings.Contains(list, "admin") {
			t.Errorf("running %v: %s", running, list)
		}
		product.RunCLI(t, bin, 1, "short\n", "user", "passwd", name, "--config", a.Config)
	}
	a.CLI(0, "user", "remove", "bob", "--config", a.Config)
	if list := a.CLI(0, "user", "list", "--config", a.Config); strings.Contains(list, "bob") {
		t.Error(list)
	}
	id := strings.Fields(strings.Split(a.CLI(0, "token", "list", "--config", a.Config), "\n")[1])[0]
	a.CLI(0, "token", "revoke", id, "--config", a.Config)
	if list := a.CLI(0, "token", "list", "--config", a.Config); strings.Contains(list, id) {
		t.Error(list)
	}
}

// What a person says is kept through a backup, another life, and a restore.
func TestBackupAndRestore(t *testing.T) {
	for _, plain := range []bool{true, false} {
		a := product.Start(t, product.Options{YAML: alone})
		say := func(availability, note string) {
			t.Helper()
			if err := a.Act("PUT", "/api/v1/presence/alice/manual", map[string]string{"availability": availability, "note": note}); err != nil {
				t.Fatal(err)
			}
		}
		say("do-not-disturb", "writing")
		dir := writeFiles(t, map[string]string{"pass": "correct horse battery\n"})
		file := filepath.Join(dir, "backup")
		args := []string{"backup", file, "--config", a.Config}
		if plain {
			args = append(args, "--plain")
		} else {
			args = append(args, "--passphrase-file", filepath.Join(dir, "pass"))
		}
		if out := a.CLI(0, args...); !strings.Contains(out, "not in it") {
			t.Error(out)
		}
		if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", st, err)
		}
		if text, _ := os.ReadFile(file); strings.Contains(string(text), "writing") != plain {
			t.Errorf("plain %v, and the note is readable: %v", plain, !plain)
		}
		say("away", "gone")
		if errs := a.CLI(1, "restore", file, "--config", a.Config, "--passphrase-file", filepath.Join(dir, "pass")); !strings.Contains(errs, "stop it first") {
			t.Error(errs)
		}
		store := product.Get[struct{ Store struct{ ID string } }](a, "/api/v1/status").Store.ID
		a.Stop()
		a.CLI(0, "restore", file, "--config", a.Config, "--passphrase-file", filepath.Join(dir, "pass"))
		a.Again()
		a.Ready()
		if d := a.Presence("alice"); d.Availability != "do-not-disturb" || d.Note != "writing" || !d.Manual {
			t.Errorf("after the restore: %+v", d)
		}
		if now := product.Get[struct{ Store struct{ ID string } }](a, "/api/v1/status").Store.ID; now == store || now == "" {
			t.Errorf("a restored store has the id %q of the old one", now)
		}
	}
}

func TestRestoreRefusesRubbish(t *testing.T) {
	dir := writeFiles(t, map[string]string{"rubbish": strings.Repeat("not a store ", 1000),
		"c.yaml": "branch: {id: a}\ndata_dir: data\n"})
	_, errs := product.RunCLI(t, product.Binary(t), 1, "", "restore", filepath.Join(dir, "rubbish"), "--config", filepath.Join(dir, "c.yaml"))
	if !strings.Contains(errs, "restore") {
		t.Error(errs)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "pilotlight.db")); err == nil {
		t.Error("rubbish became the store")
	}
}

// With no agent running, a backup is taken of the store itself.
func TestBackupOfAStoreAtRest(t *testing.T) {
	a := product.Start(t, product.Options{YAML: alone})
	if err := a.Act("PUT", "/api/v1/presence/alice/manual", map[string]string{"availability": "busy", "note": "budget"}); err != nil {
		t.Fatal(err)
	}
	a.Stop()
	file := filepath.Join(t.TempDir(), "backup")
	a.CLI(0, "backup", file, "--plain", "--config", a.Config)
	a.CLI(0, "restore", file, "--config", a.Config)
	a.Again()
	a.Ready()
	if d := a.Presence("alice"); d.Availability != "busy" || d.Note != "budget" {
		t.Errorf("%+v", d)
	}
}

// The asking verbs, for people and for scripts.
func TestAskingVerbs(t *testing.T) {
	a := product.Start(t, product.Options{YAML: alone})
	if err := a.Act("PUT", "/api/v1/presence/alice/manual", map[string]string{"availability": "busy", "note": "budget"}); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"status", "phones", "presence", "uplinks"} {
		a.CLI(0, verb, "--api", a.URL)
		if out := a.CLI(0, verb, "--api", a.URL, "--json"); !json.Valid([]byte(out)) {
			t.Errorf("%s --json: %s", verb, out)
		}
	}
	if out := a.CLI(0, "presence", "alice", "--api", a.URL); !strings.Contains(out, "busy") || !strings.Contains(out, "note: budget") || !strings.Contains(out, "because manual") {
		t.Error(out)
	}
	if out := a.CLI(0, "presence", "sip:alice@example.com", "--api", a.URL, "--json"); !strings.Contains(out, `"availability":"busy"`) {
		t.Error(out)
	}
	if errs := a.CLI(1, "presence", "nobody", "--api", a.URL); !strings.Contains(errs, "not found") {
		t.Error(errs)
	}
}
