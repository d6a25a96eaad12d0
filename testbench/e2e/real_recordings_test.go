package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

// recording is a recorded device of ../shared/recordings.
type recording struct {
	id   string // P01, or N13-asis for the file as published where its BITS were restored
	file string
}

// phonesIn is how many phones the CDP or LLDP of a recording holds, by its INDEX.md;
// all others hold none, whatever their ifDescr and their forwarding tables say.
//
// The asis files show capabilities as printed text, which is no BITS and means nothing.
var phonesIn = map[string]int{"P01": 3, "P04": 1, "P05": 1, "D02": 21, "D04": 8, "D05": 3, "D06": 3}

// recordings lists them all, and holds the list against the index.
func recordings(t *testing.T) []recording {
	t.Helper()
	dir, ok := product.Shared(t, "recordings")
	if !ok {
		return nil
	}
	var all []recording
	for _, name := range []string{"public", "asis"} {
		files, err := filepath.Glob(filepath.Join(dir, "*", "*", name+".snmprec"))
		must(t, err)
		for _, f := range files {
			id, _, _ := strings.Cut(filepath.Base(filepath.Dir(f)), "-")
			if name == "asis" {
				id += "-asis"
			}
			all = append(all, recording{id, f})
		}
	}
	index, err := os.ReadFile(filepath.Join(dir, "INDEX.md"))
	must(t, err)
	for _, m := range regexp.MustCompile(`(?m)^\| ([A-Z][0-9]{2}) \|`).FindAllSubmatch(index, -1) {
		if !slices.ContainsFunc(all, func(r recording) bool { return r.id == string(m[1]) }) {
			t.Errorf("%s of the index is not there", m[1])
		}
	}
	return all
}

// found is what discover tells of a phone.
type found struct {
	Name, Model, Address, MAC, Switch, Port string
	VLAN                                    int
	Watts                                   float64
	Link, Source                            string
}

// place is where an SNMP agent answers for a recording.
type place struct {
	recording
	at        netip.AddrPort
	community string
}

// configure lists the places as switches, and allows nobody else. Few are asked
// at a time: snmpsim has one thread for all of them.
func configure(places []place) string {
	var credentials, switches strings.Builder
	for _, p := range places {
		fmt.Fprintf(&credentials, "    - {name: %s, version: 2c, community: %s}\n", p.id, p.community)
		fmt.Fprintf(&switches, "  - {name: %s, address: %s, port: %d, snmp: %s}\n", p.id, p.at.Addr(), p.at.Port(), p.id)
	}
	return "snmp:\n  credentials:\n" + credentials.String() + "discovery: {allow: []}\npoll: {snmp: 10s, in_flight: 4}\nswitches:\n" + switches.String()
}

// discover makes one sweep with the real command.
func discover(t *testing.T, places []place) map[string][]found {
	t.Helper()
	dir := writeFiles(t, map[string]string{"c.yaml": "branch: {id: a, domain: example.com}\ndata_dir: data\n" + configure(places)})
	out, _ := product.RunCLI(t, product.Binary(t), 0, "", "discover", "--json", "--config", filepath.Join(dir, "c.yaml"))
	var all []found
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("discover --json: %v\n%s", err, out)
	}
	by := map[string][]found{}
	for _, f := range all {
		by[f.Switch] = append(by[f.Switch], f)
	}
	return by
}

// judge holds what was found against the index, the recordings and the golden file.
func judge(t *testing.T, places []place, got map[string][]found) {
	t.Helper()
	golden := goldenPhones(t, got)
	for _, p := range places {
		if n := len(got[p.id]); n != phonesIn[p.id] {
			t.Errorf("%s: %d phones found, want %d", p.id, n, phonesIn[p.id])
		}
		if diff := cmp.Diff(golden[p.id], got[p.id]); diff != "" {
			t.Errorf("%s: found (+) is not what it was (-):\n%s", p.id, diff)
		}
		neighbours := neighbourRows(t, p.file)
		for _, f := range got[p.id] {
			if f.Port == "" {
				t.Errorf("%s: %s is not placed", p.id, f.Name)
			}
			if f.MAC != "" && !strings.Contains(neighbours, f.MAC) {
				t.Errorf("%s: %s is in no row of CDP or LLDP", p.id, f.MAC)
			}
		}
	}
}

func goldenPhones(t *testing.T, got map[string][]found) map[string][]found {
	t.Helper()
	const file = "testdata/recordings.json"
	if *update {
		text, err := json.MarshalIndent(got, "", " ")
		must(t, err)
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(file, append(text, '\n'), 0o644))
	}
	text, err := os.ReadFile(file)
	must(t, err)
	var golden map[string][]found
	must(t, json.Unmarshal(text, &golden))
	return golden
}

// neighbourRows is the letters and digits of a recording's CDP and LLDP rows, so
// that a MAC address is found in whichever way it is written.
func neighbourRows(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	var rows strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "1.3.6.1.4.1.9.9.23.1.2.") || strings.HasPrefix(line, "1.0.8802.1.1.2.1.4.") {
			rows.WriteString(separators.ReplaceAllString(line[strings.LastIndexByte(line, '|')+1:], "") + "\n")
		}
	}
	return strings.ToUpper(rows.String())
}

var separators = regexp.MustCompile(`[-:. \r\n]`)

// shown runs an agent and waits until its API shows exactly the phones that discover found.
func shown(t *testing.T, places []place, want map[string][]found) *product.Agent {
	t.Helper()
	a := product.Start(t, product.Options{YAML: agentHead + configure(places)})
	var phones map[string]product.Phone
	count := 0
	for _, list := range want {
		count += len(list)
	}
	a.Until(time.Minute, fmt.Sprintf("%d phones are shown", count), func() bool {
		phones = a.Phones()
		return len(phones) >= count
	})
	if len(phones) != count {
		t.Errorf("%d phones are shown, want %d", len(phones), count)
	}
	for _, list := range want {
		for _, f := range list {
			// What a phone says it draws is no word of the port's power: none of
			// these switches has a PoE table for its port.
			is := found{Name: f.Name, Watts: f.Watts, Link: f.Link, Source: f.Source}
			if p, ok := phones[f.Name]; ok && p.Port != nil {
				is.Model, is.Address, is.MAC = p.Model, p.Address, p.MAC
				is.Switch, is.Port, is.VLAN = p.Port.Switch, p.Port.Name, p.Port.VLAN
			}
			if diff := cmp.Diff(f, is); diff != "" {
				t.Errorf("shown (+) is not what was found (-):\n%s", diff)
			}
		}
	}
	return a
}

// TestPhonesOfRecordedDevicesThroughSnmpsim: each recording, served by Debian's snmpsim.
func TestPhonesOfRecordedDevicesThroughSnmpsim(t *testing.T) {
	all := recordings(t)
	if all == nil || !peers.Need(t, peers.SnmpsimProgram) {
		return
	}
	places := simulated(t, all)
	got := discover(t, places)
	judge(t, places, got)
	shown(t, places, got)
}

// simulated serves recordings by snmpsim, each under its id as community.
func simulated(t *testing.T, all []recording) []place {
	t.Helper()
	dir := t.TempDir()
	for _, r := range all {
		must(t, os.Symlink(r.file, filepath.Join(dir, r.id+".snmprec")))
	}
	at := netip.MustParseAddrPort(peers.Snmpsim(t, dir))
	var places []place
	for _, r := range all {
		places = append(places, place{r, at, r.id})
	}
	return places
}

// TestPhonesOfRecordedDevicesThroughTheBenchSwitch: the same, served by the
// bench's own switch, a process for each.
func TestPhonesOfRecordedDevicesThroughTheBenchSwitch(t *testing.T) {
	all := recordings(t)
	if all == nil {
		return
	}
	program := benchProgram(t)
	got, withPhones := map[string][]found{}, []place{}
	for _, r := range all {
		at, end := benchSwitch(t, program, r.file)
		p := place{r, at, "public"}
		if list := discover(t, []place{p})[r.id]; list != nil {
			got[r.id] = list
		}
		if phonesIn[r.id] == 0 {
			end()
		} else {
			withPhones = append(withPhones, p)
		}
	}
	if *update {
		return // snmpsim's are the golden ones
	}
	var places []place
	for _, r := range all {
		places = append(places, place{recording: r})
	}
	judge(t, places, got)
	shown(t, withPhones, got)
}

// benchProgram builds the simulated branch.
func benchProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "branch")
	cmd := exec.Command("go", "build", "-o", path, "./testbench/branch/cmd/branch")
	cmd.Dir = product.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the branch: %v\n%s", err, out)
	}
	return path
}

var readyLine = regexp.MustCompile(`^ready .*switch=(\S+) `)

// benchSwitch starts a branch whose switch answers from a recording. It ends
// with its standard input, at the latest with the test.
func benchSwitch(t *testing.T, program, file string) (at netip.AddrPort, end func()) {
	t.Helper()
	cmd := exec.Command(program, "-phones", "1", "-script=false", "-snmprec", file)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = t.Output()
	must(t, cmd.Start())
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		_ = in.Close() // it may be gone already, which Wait tells
		if err := cmd.Wait(); err != nil {
			t.Errorf("branch: %v", err)
		}
	}
	t.Cleanup(end)
	line, err := bufio.NewReader(out).ReadString('\n')
	m := readyLine.FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("branch -snmprec %s: %q %v", file, line, err)
	}
	return netip.MustParseAddrPort(m[1]), end
}
