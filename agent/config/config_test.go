package config_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pilotlight/agent/config"
)

type phone struct {
	Name    string `yaml:"name"`
	Address string `yaml:"address"`
	Port    int    `yaml:"web_port"`
}

type sections struct {
	Phones []phone `yaml:"phones"`
}

func (s *sections) Check(report config.Report) {
	seen := map[string]bool{}
	for i, p := range s.Phones {
		if seen[p.Name] {
			report("phones["+string(rune('0'+i))+"].name", "phone %s is listed twice", p.Name)
		}
		seen[p.Name] = true
	}
}

type file struct {
	Branch struct {
		ID string `yaml:"id"`
	} `yaml:"branch"`
	Store struct {
		Commit time.Duration `yaml:"commit"`
	} `yaml:"store"`
	Trusted  []netip.Prefix `yaml:"trusted"`
	Echo     bool           `yaml:"echo"`
	Sections sections       `yaml:",inline"`
}

func TestDecode(t *testing.T) {
	t.Setenv("BRANCH", "lyon-12")
	var f file
	f.Store.Commit = 10 * time.Second
	err := config.Decode("c.yaml", []byte(`
branch: {id: "${BRANCH}"}
store:
trusted: [10.0.0.0/8, "192.168.1.0/24"]
echo: true
phones:
  - {name: SEP1, address: 10.1.1.20, web_port: 80}
  - name: 0123
    address: host
`), &f)
	if err != nil {
		t.Fatal(err)
	}
	want := []phone{{"SEP1", "10.1.1.20", 80}, {"0123", "host", 0}}
	if d := cmp.Diff(want, f.Sections.Phones); d != "" {
		t.Error(d)
	}
	if f.Branch.ID != "lyon-12" || f.Store.Commit != 10*time.Second || !f.Echo || len(f.Trusted) != 2 {
		t.Errorf("%+v", f)
	}
}

// Every fault is told at once, with its place and what would be right.
func TestFaults(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"unknown key, near a known one", "phonse: []", `c.yaml:1:1: unknown key "phonse"; did you mean "phones"?`},
		{"unknown key below", "branch:\n  ident: x\n  id: y", `c.yaml:2:3: unknown key "ident"; known here: id`},
		{"doubled key", "echo: true\necho: false", `c.yaml:2:1: mapping key "echo" already defined at [1:1]`},
		{"duration", "store: {commit: fast}", `c.yaml:1:17: store.commit: "fast" is not a duration; want a duration such as 30s, 5m or 1h`},
		{"a bare number is no duration", "store: {commit: 10}", `c.yaml:1:17: store.commit: "10" is not a duration; want a duration such as 30s, 5m or 1h`},
		{"number", "phones:\n- name: a\n  web_port: eighty", `c.yaml:3:13: phones[0].web_port: "eighty" does not fit; want a whole number`},
		{"list", "phones: {name: a}", `c.yaml:1:10: phones: want a list`},
		{"mapping", "phones: [a]", `c.yaml:1:10: phones[0]: want keys and values`},
		{"prefix", "trusted: [10.0.0.0/8, 10.0.0.1/40]", `c.yaml:1:23: trusted[1]: netip.ParsePrefix("10.0.0.1/40"): prefix length out of range; want a network such as 10.0.0.0/8`},
		{"environment", "branch: {id: '${NO_SUCH_VARIABLE}'}", `c.yaml:1:14: branch.id: ${NO_SUCH_VARIABLE} is not set in the environment`},
		{"a section's own rule", "phones:\n- name: a\n- name: a", `c.yaml:3:9: phone a is listed twice`},
		{"two faults", "x: 1\necho: maybe", "c.yaml:1:1: unknown key \"x\"; known here: branch, echo, phones, store, trusted\nc.yaml:2:7: echo: \"maybe\" does not fit; want true or false"},
		{"a rule beside another fault", "x: 1\nphones:\n- name: a\n- name: a", "c.yaml:1:1: unknown key \"x\"; known here: branch, echo, phones, store, trusted\nc.yaml:4:9: phone a is listed twice"},
		{"no rule about what could not be read", "phones: {name: a}\necho: 3", "c.yaml:1:10: phones: want a list\nc.yaml:2:7: echo: \"3\" does not fit; want true or false"},
		{"a mapping is no text", "branch: {id: {a: b}}", "c.yaml:1:15: branch.id: want a text"},
		{"syntax", "branch: {id: x", "c.yaml:1:9: could not find flow mapping end token '}'"},
		{"alias", "branch: &b {id: x}\nstore: *b", "c.yaml:2:8: store: want keys and values"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var f file
			err := config.Decode("c.yaml", []byte(tc.text), &f)
			var faults config.Faults
			if !errors.As(err, &faults) {
				t.Fatalf("%v", err)
			}
			if d := cmp.Diff(tc.want, err.Error()); d != "" {
				t.Error(d)
			}
		})
	}
}

// A plain scalar may hold a colon, in a flow collection too.
func TestColonsInFlow(t *testing.T) {
	for _, text := range []string{
		"section: {listen: [udp:127.0.0.1:5060, tcp:[::1]:5060]}",
		"section: {listen: [udp:127.0.0.1:5060, \"tcp:[::1]:5060\"]}",
		"section:\n  listen: [udp:127.0.0.1:5060, \"tcp:[::1]:5060\"]",
		"section:\n  listen:\n  - udp:127.0.0.1:5060\n  - tcp:[::1]:5060",
		"\ufeffsection: {listen: [udp:127.0.0.1:5060, 'tcp:[::1]:5060']}",
	} {
		var f struct {
			Section struct {
				Listen []string `yaml:"listen"`
			} `yaml:"section"`
		}
		err := config.Decode("c.yaml", []byte(text), &f)
		if want := []string{"udp:127.0.0.1:5060", "tcp:[::1]:5060"}; err != nil && !strings.Contains(text, "tcp:[::1]:5060]}") || err == nil && !cmp.Equal(want, f.Section.Listen) {
			t.Errorf("%q: %q %v", text, f.Section.Listen, err)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	var f file
	if err := config.Load(path, &f); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := config.Load(path, &f); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("phones: [{name: a}]\nstore: {commit: 1s}"))
	f.Add([]byte("branch: &a\n  id: *a"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var into file
		if err := config.Decode("c.yaml", text, &into); err != nil && err.Error() == "" {
			t.Error("a fault without words")
		}
	})
}
