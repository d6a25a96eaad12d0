package drill

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The drill on the product itself: the pilotlight binary, with a simulated
// branch beside it whose phones it polls while people set their presence.

func TestAcknowledgedMeansKeptThroughPowerCuts(t *testing.T) {
	runs := 50
	switch {
	case Full():
		runs = 200
	case testing.Short():
		runs = 10
	}
	agent, _ := branchAgent(t, build(t, "./cmd/pilotlight"), 8, true)
	table, ran := drilled(t, Run, Plan{Agent: agent, Runs: runs})
	if !ran {
		return
	}
	if table.Faults() != 0 {
		t.Errorf("%d faults; the first: %v", table.Faults(), table.First)
	}
	if table.Acknowledged < runs/2 {
		t.Errorf("%d acknowledged in %d runs: too few to say anything", table.Acknowledged, runs)
	}
}

func TestNoCutOfTheFirstStartPreventsTheSecond(t *testing.T) {
	runs := 12
	if Full() {
		runs = 60
	}
	agent, err := NewAgent(build(t, "./cmd/pilotlight"), t.TempDir(), people)
	if err != nil {
		t.Fatal(err)
	}
	if table, ran := drilled(t, FirstStarts, Plan{Agent: agent, Runs: runs}); ran && table.Faults() != 0 {
		t.Errorf("%d faults; the first: %v", table.Faults(), table.First)
	}
}

// The same agent, built so that it can break its promise, must be found out.
func TestTheDrillFindsAPilotlightThatBreaksItsPromise(t *testing.T) {
	binary := build(t, "./cmd/pilotlight", "-tags", "pilotlight_controls")
	for _, control := range []string{"nosync", "early-ack"} {
		t.Run(control, func(t *testing.T) {
			agent, _ := branchAgent(t, binary, 8, true)
			agent.Env = []string{controlVariable + "=" + control}
			table, ran := drilled(t, Run, Plan{Agent: agent, Runs: 40, StopEarly: true})
			if ran && table.Faults() == 0 {
				t.Errorf("%s went through %d cuts unnoticed", control, table.Runs)
			}
		})
	}
}

// After kill -9 the API shows at once what was last known, and its age; with
// the branch stopped no poll can have come back.
func TestAfterKillTheLastKnownStateIsThereBeforeTheFirstPoll(t *testing.T) {
	agent, branch := branchAgent(t, build(t, "./cmd/pilotlight"), 4, false)
	if err := agent.setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := begin(t, agent)
	before := awaitPhone(t, first, func(p phone) bool { return p.Freshness == "live" && p.State == "idle" })
	// What was seen is on the disk with the second commit after it at the latest.
	for _, note := range []string{"one", "two"} {
		if err := first.api.set(t.Context(), agent.People[0], state{"do-not-disturb", note}); err != nil {
			t.Fatal(err)
		}
	}
	signal(t, branch, syscall.SIGSTOP)
	if err := first.kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()

	second := begin(t, agent)
	var after phone
	if err := second.api.call(t.Context(), http.MethodGet, "/api/v1/phones/"+before.Name, nil, &after); err != nil {
		t.Fatal(err)
	}
	if after.State != "idle" || after.Freshness != "last-known" {
		t.Errorf("%s is %s, %s; want what was last known: idle, last-known", after.Name, after.State, after.Freshness)
	}
	if after.AsOf == nil || after.AsOf.After(killed) {
		t.Errorf("as of %v: want a moment before the kill", after.AsOf)
	}
	signal(t, branch, syscall.SIGCONT)
	awaitPhone(t, second, func(p phone) bool { return p.Name == before.Name && p.Freshness == "live" })
	if err := second.kill(); err != nil {
		t.Error(err)
	}
}

// phone is what the test reads of the API's phones.
type phone struct {
	Name      string     `json:"name"`
	State     string     `json:"state"`
	Freshness string     `json:"freshness"`
	AsOf      *time.Time `json:"as_of"`
}

func begin(t *testing.T, agent Agent) *life {
	t.Helper()
	l, err := agent.start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.kill() })
	if err := l.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// awaitPhone returns the first phone that is as wanted.
func awaitPhone(t *testing.T, l *life, want func(phone) bool) phone {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	var phones []phone
	for {
		if err := l.api.call(ctx, http.MethodGet, "/api/v1/phones", nil, &phones); err != nil {
			t.Fatal(err)
		}
		for _, p := range phones {
			if want(p) {
				return p
			}
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			t.Fatalf("no phone is as wanted: %+v\n%s", phones, l.log.String())
		}
	}
}

func signal(t *testing.T, p *os.Process, s syscall.Signal) {
	t.Helper()
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// build builds a command of this module; the go tool's cache makes repeats cheap.
func build(t *testing.T, pkg string, flags ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), filepath.Base(pkg))
	cmd := exec.CommandContext(t.Context(), "go", append(append([]string{"build"}, flags...), "-o", binary, pkg)...)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return binary
}

var userLine = regexp.MustCompile(`(?m)^  - \{user: ([a-z0-9.-]+),`)

// branchAgent starts a simulated branch and returns the agent that its
// configuration describes, with a dial so short that polled state is always on
// its way to the disk, too.
func branchAgent(t *testing.T, binary string, phones int, calls bool) (Agent, *os.Process) {
	t.Helper()
	home := t.TempDir()
	agent, err := NewAgent(binary, home, nil)
	if err != nil {
		t.Fatal(err)
	}
	process := startBranch(t, agent, phones, calls)
	text, err := os.ReadFile(agent.Config)
	if err != nil {
		t.Fatal(err)
	}
	dial := strings.Replace(string(text), "commit: 10s", "commit: 50ms", 1)
	if err := os.WriteFile(agent.Config, []byte(dial), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, user := range userLine.FindAllStringSubmatch(dial, 4) {
		agent.People = append(agent.People, user[1])
	}
	if len(agent.People) == 0 {
		t.Fatalf("nobody lives in the branch:\n%s", dial)
	}
	return agent, process
}

func startBranch(t *testing.T, agent Agent, phones int, calls bool) *os.Process {
	t.Helper()
	cmd := exec.Command(build(t, "./testbench/branch/cmd/branch"), "-phones", strconv.Itoa(phones), "-speed", "5",
		"-script="+strconv.FormatBool(calls),
		"-config", agent.Config, "-data", agent.Folder, "-panel", agent.Panel)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT) // a test that failed may have left it stopped
		_ = in.Close()                          // it ends with its input
		_ = cmd.Wait()
	})
	answers := bufio.NewReader(out)
	if line, err := answers.ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready") {
		t.Fatalf("the branch says %q, %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, answers) }() // ends with the process
	return cmd.Process
}
