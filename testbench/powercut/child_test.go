package powercut

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"pilotlight/testbench/powercut/disk"
)

// The programs that run on the machine are this test binary itself, started
// again with a role: a process that is killed must not be the one that serves
// the file system.
const roleVariable, folderVariable = "POWERCUT_ROLE", "POWERCUT_FOLDER"

var roles = map[string]func(folder string) error{
	"posix":       posix,
	"bolt":        func(folder string) error { return boltWriter(folder, commitThenTell) },
	"bolt-nosync": func(folder string) error { return boltWriter(folder, tellWithoutSync) },
	"bolt-early":  func(folder string) error { return boltWriter(folder, tellThenCommit) },
	"bolt-verify": boltVerify,
}

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := roles[role](os.Getenv(folderVariable)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func program(role, folder string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), roleVariable+"="+role, folderVariable+"="+folder,
		"GORACE=atexit_sleep_ms=0") // the race detector would sleep a second at each exit
	return cmd
}

// flash is how long an fsync takes on the machine: mostly a millisecond, at times ten.
func flash() time.Duration {
	return min(time.Duration(rand.ExpFloat64()*float64(1500*time.Microsecond)), 10*time.Millisecond)
}

// start gives a machine, or nil where the system has no FUSE: then the test
// says so and passes, except under CI, where FUSE is part of the bargain.
func start(t *testing.T, folder string, image disk.Image) *Machine {
	t.Helper()
	m, err := Start(folder, image, Options{SyncDelay: flash})
	if err == nil {
		return m
	}
	if os.Getenv("CI") == "true" || !errors.Is(err, ErrUnavailable) {
		t.Fatal(err)
	}
	t.Logf("NOT RUN: no power cuts here: %v", err)
	return nil
}
