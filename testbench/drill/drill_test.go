package drill

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pilotlight/testbench/powercut"
	"pilotlight/testbench/powercut/disk"
)

var people = []string{"ann", "bob", "cleo", "dan"}

// The drill is drilled first, on the stand-in: what is right passes, and each
// way of breaking the promise is found.

func TestTheDrillPassesAnHonestAgent(t *testing.T) {
	table, ran := rehearse(t, "", 10)
	if ran && table.Faults() != 0 {
		t.Errorf("faults on an honest agent: %v", table.First)
	}
	if ran && table.Acknowledged < table.Runs/2 {
		t.Errorf("%d acknowledged in %d runs: too few to say anything", table.Acknowledged, table.Runs)
	}
}

func TestTheDrillFindsAgentsThatBreakTheirPromise(t *testing.T) {
	for control, found := range map[string]func(Table) int{
		"nosync":      Table.Faults,
		"early-ack":   func(t Table) int { return t.Lost },
		"epoch-stays": func(t Table) int { return t.Backward },
		"new-store":   func(t Table) int { return t.SetAside },
	} {
		t.Run(control, func(t *testing.T) {
			if table, ran := rehearse(t, control, 30); ran && found(table) == 0 {
				t.Errorf("went unnoticed, or was taken for something else: %v", table.First)
			}
		})
	}
}

func TestTheDrillFindsAStoreMadeCarelessly(t *testing.T) {
	for control, careful := range map[string]bool{"": true, "made-in-place": false} {
		agent := standInAgent(t, control)
		table, ran := drilled(t, FirstStarts, Plan{Agent: agent, Runs: 12, StopEarly: true})
		if ran && careful != (table.FailedStarts == 0) {
			t.Errorf("control %q: %d failed starts: %v", control, table.FailedStarts, table.First)
		}
	}
}

func rehearse(t *testing.T, control string, runs int) (Table, bool) {
	t.Helper()
	return drilled(t, Run, Plan{Agent: standInAgent(t, control), Runs: runs, StopEarly: control != ""})
}

func standInAgent(t *testing.T, control string) Agent {
	t.Helper()
	agent, err := NewAgent(os.Args[0], t.TempDir(), people)
	if err != nil {
		t.Fatal(err)
	}
	agent.Env = []string{standInVariable + "=1", controlVariable + "=" + control}
	return agent
}

// drilled runs a drill and reports its table, and false where the system can't
// run one; under CI it must.
func drilled(t *testing.T, drill func(context.Context, Plan) (Table, error), plan Plan) (Table, bool) {
	t.Helper()
	plan.Seed, plan.Log = rand.Uint64(), t.Logf
	plan.Keep = func(run int, image disk.Image) {
		if err := image.WriteTo(filepath.Join(t.ArtifactDir(), "cut-"+strconv.Itoa(run))); err != nil {
			t.Log(err)
		}
	}
	table, err := drill(t.Context(), plan)
	if errors.Is(err, powercut.ErrUnavailable) && os.Getenv("CI") != "true" {
		t.Logf("NOT RUN: %v", err)
		return table, false
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d\n%s\n%v", plan.Seed, Header, table)
	return table, true
}
