// Package lab gives a test a network of its own: a Linux network namespace with
// loopback and one wire, which is the way to every other address. Nothing that a
// program in it sends can reach the machine's own network; what leaves loopback
// goes onto the wire, where it is counted twice, by the kernel and by a raw
// socket at the far end, and lost.
//
// [Alone] runs the test again, in a process of its own inside such a namespace,
// since a namespace belongs to threads and a Go program has many. It takes root
// (CAP_SYS_ADMIN and CAP_NET_ADMIN) and the program ip. Where the kernel refuses,
// as in most containers, the test says so and passes; it fails where CI=true and
// only ip is missing.
package lab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// inside marks the process in the namespace.
const inside = "PILOTLIGHT_LAB"

// Alone reports whether this process is in a namespace of its own. Where it is
// not, the calling test is run in one, its outcome is this test's, and the
// caller returns:
//
//	if !lab.Alone(t) {
//		return
//	}
func Alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		return true
	}
	if _, err := exec.LookPath("ip"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("the program ip is not installed")
		}
		fmt.Printf("%s: could not run: the program ip is not installed\n", t.Name())
		return false
	}
	if err := try(); err != nil {
		fmt.Printf("%s: could not run: the kernel gives us no network of our own: %v\n", t.Name(), err)
		return false
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	switch {
	case err != nil:
		t.Errorf("in a network namespace: %v\n%s", err, &out)
	case !bytes.Contains(out.Bytes(), []byte("--- PASS: "+t.Name())):
		t.Errorf("in a network namespace nothing was tested:\n%s", &out)
	default:
		t.Logf("in a network namespace:\n%s", &out)
	}
	return false
}

// try makes a wire in a namespace that goes at once.
func try() error {
	cmd := exec.Command("ip", wire...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %v: %w: %s", wire, err, out)
	}
	return nil
}

func ip(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
}
