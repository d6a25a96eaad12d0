package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	onDisk, all := writesReachADisk(t), figuresIn(t, lines)
	haveAll(t, all, "size of the binary", "resident memory in the end (RSS)", "CPU of the agent at 0.83 changes/s",
		"change to panel event, p50", "change to panel event, p99", "changes not seen",
		"written: changes and polls", "restart to ready", "start to populated panel",
		"requests to all phones", "requests open at one phone, at most")
	for name, f := range all {
		switch {
		case f.Beside != nil: // has a test of its own
		case name == "changes not seen", name == "changes not painted":
			if f.Value != 0 {
				t.Errorf("%s: %s: %v", f.Scenario, name, f.Value)
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
	return all
}

func haveAll(t *testing.T, all map[string]figure, names ...string) {
	t.Helper()
	for _, want := range names {
		if _, there := all[want]; !there {
			t.Errorf("no figure %q", want)
		}
	}
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
	v := newViewers(func() {})
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
	v.seen("one", "in-use", time.Now()) // too late: it is idle by now
	v.seenAll(t, 2, "one in-use")
}

// What was seen in time counts when it is heard of only after the next change,
// and what was not does not.
func TestAChangeIsHeldAgainstItsOwnTime(t *testing.T) {
	v := newViewers(func() {})
	expect := func(state string) time.Time {
		v.expect("one", state)
		at := time.Now()
		time.Sleep(time.Millisecond)
		return at
	}
	before := time.Now().Add(-time.Second)
	ringing, inUse, idle := expect("ringing"), expect("in-use"), expect("idle")
	v.seen("one", "ringing", before)
	v.seen("one", "idle", ringing)
	v.seen("one", "ringing", ringing)
	v.seen("one", "ringing", inUse) // a repeat, out of date
	v.seen("one", "in-use", ringing)
	v.seen("one", "in-use", idle)
	v.seen("one", "idle", idle)
	v.seenAll(t, 2, "one in-use")
}

func (v *viewers) seenAll(t *testing.T, took int, missed ...string) {
	t.Helper()
	v.mu.Lock()
	v.left -= len(missed) // nothing is on its way any more: not to wait
	v.mu.Unlock()
	all, lost, err := v.result(t.Context())
	if err != nil || len(all) != took || !slices.Equal(lost, missed) {
		t.Errorf("took %d, missed %q, %v; want %d, %q", len(all), lost, err, took, missed)
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
