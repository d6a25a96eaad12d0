package e2e

import (
	"testing"

	"pilotlight/testbench/branch"
)

// A phone that shows its keys to nobody, in a call that comes after another: its
// audio is on the second stream, whether the first call was seen to end (or to be
// held, which looks the same) or not.
func TestASecondCallIsHeardOnItsStream(t *testing.T) {
	tell(t, branch.Options{Phones: 16}, func(_ *branch.Branch, yaml string) string { return withoutCallServer(t, yaml) }).play(`
		call alice emma
		answer emma
		told alice in-use
		told emma in-use
		second alice
		second emma
		hangup emma
		call emma alice
		answer alice
		wait 5s
		told alice in-use
		told emma in-use

		hangup emma
		told alice idle
		told emma idle
		second alice
		second emma
		wait 5s                            # somebody dials: no audio yet
		call emma alice
		answer alice
		told alice in-use
		told emma in-use
		hangup alice
		told alice idle
		told emma idle
	`)
}
