package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The short form shows that the bench works. It holds nobody to a time: that
// would say more of the machine than of the agent.
func TestTheBenchGivesItsFigures(t *testing.T) {
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	agent := build(t, dir, "./cmd/pilotlight", "-tags", "gosnmp_nodebug")
	branch := build(t, dir, "./testbench/branch/cmd/branch")
	lines := filepath.Join(dir, "figures.jsonl")
	if err := run(t.Context(), []string{"-short", "-agent", agent, "-branch", branch, "-json", lines}); err != nil {
		t.Fatal(err)
	}
	onDisk := writesReachADisk(t)
	for name, f := range figuresIn(t, lines) {
		switch {
		case name == "changes not seen", name == "changes not painted":
			if f.Value != 0 {
				t.Errorf("%v changes never came to the panel", f.Value)
			}
		case name == "requests open at one phone, at most":
			if f.Value != 1 {
				t.Errorf("%v requests at a time were open at one phone", f.Value)
			}
		case !onDisk && strings.HasPrefix(name, "written"):
		case f.Value <= 0:
			t.Errorf("%s: %s is %v", f.Scenario, name, f.Value)
		}
	}
}

func figuresIn(t *testing.T, file string) map[string]figure {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]figure{}
	for line := range strings.Lines(string(text)) {
		var f figure
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all[f.Name] = f
	}
	for _, want := range []string{
		"size of the binary", "resident memory in the end (RSS)", "CPU of the agent at 0.83 changes/s",
		"change to panel event, p50", "change to panel event, p99", "changes not seen",
		"written: changes and polls", "restart to ready", "start to populated panel",
		"requests to all phones", "requests open at one phone, at most",
	} {
		if _, there := all[want]; !there {
			t.Errorf("no figure %q", want)
		}
	}
	return all
}

// writesReachADisk says whether the kernel counts what is written where the
// scratch folders are: on a tmpfs it doesn't.
func writesReachADisk(t *testing.T) bool {
	t.Helper()
	before, err := writtenBy(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(t.TempDir(), "x"), make([]byte, 1<<16), 0o600); err != nil {
		t.Fatal(err)
	}
	after, err := writtenBy(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after == before {
		t.Logf("temporary files are on no disk: bytes written are not asserted")
	}
	return after > before
}

func build(t *testing.T, dir, pkg string, flags ...string) string {
	t.Helper()
	binary := filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build"}, flags...), "-o", binary, pkg)...)
	cmd.Dir, cmd.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return binary
}

func TestAChangeIsSeenOnceOrMissedOnce(t *testing.T) {
	v := &viewers{pending: map[string]change{}}
	v.expect("one", "ringing")
	v.seen("one", "idle", time.Now()) // a repeat of what was
	v.seen("two", "ringing", time.Now())
	if len(v.took) != 0 {
		t.Error("took another event for the one expected")
	}
	v.seen("one", "ringing", time.Now())
	v.seen("one", "ringing", time.Now())
	v.expect("one", "in-use")
	v.expect("one", "idle")
	v.seen("one", "idle", time.Now())
	if len(v.took) != 2 || len(v.missed) != 1 || v.missed[0] != "one in-use" {
		t.Errorf("took %d, missed %q; want 2, and the one that never came", len(v.took), v.missed)
	}
}

func TestFiguresOfAProcessAreRead(t *testing.T) {
	pid := os.Getpid()
	m, err := memoryOf(pid)
	if err != nil || m.RSS < 1<<20 || m.PSS <= 0 || m.Peak < m.PSS/2 {
		t.Errorf("memory %+v, %v", m, err)
	}
	before, err := cpuOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if now, err := cpuOf(pid); err != nil || now > before {
			return
		}
	}
	t.Errorf("CPU time stays at %v", before)
}

func TestTheTableSaysWhichAimsAreMissed(t *testing.T) {
	r := &report{Version: "v", Date: "d", Machine: "m"}
	r.add("one", "fits", 3.5, "MB", 28)
	r.add("one", "is too much", 29, "MB", 28)
	r.add("two", "has no aim", 7, "", 0)
	r.zero("two", "is to be nothing", 0)
	for _, want := range []string{
		"| one | fits | 3.50 MB | ≤ 28 MB | met |",
		"|  | is too much | 29 MB | ≤ 28 MB | **missed** |",
		"| two | has no aim | 7 |  |  |",
		"|  | is to be nothing | 0 | ≤ 0 | met |",
	} {
		if text := r.markdown(); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
