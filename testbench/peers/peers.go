// Package peers starts real programs as counterparts in tests: Kamailio,
// baresip, linphone, net-snmp's agent and snmpsim, each as a Go option of a test. Each runs
// on loopback, on free ports, in a folder of its own that goes with the test;
// its log is shown when the test fails; it is ready when a fact says so, never
// after a sleep; and it is ended by its own process id.
//
// A [Watcher], a [Publisher] and a [Pager] are SIP clients of the least, written on sockets
// from the RFCs. Like the rest of the bench they use nothing of the product, so
// that one parser's mistake is not on both sides.
//
// [Need] asks whether a program is there. On a developer's machine its absence
// is told and the test passes; where CI=true it is a failure.
package peers

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"pilotlight/testbench/freeport"
)

// Need reports whether all programs are installed.
func Need(t testing.TB, programs ...string) bool {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", p)
		}
		t.Logf("not run: %s is not installed", p)
		return false
	}
	return true
}

// patience is how long anything real may take on a busy machine.
const patience = 20 * time.Second

// process is a program that runs for one test.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	log  *tail
}

// start runs a program in a process group of its own and ends it with the test.
// stop is the polite signal.
func start(t testing.TB, stop syscall.Signal, dir string, env []string, name string, args ...string) *process {
	t.Helper()
	return startFed(t, nil, stop, dir, env, name, args...)
}

// startFed starts one that reads orders from in; nil: nothing.
func startFed(t testing.TB, in *os.File, stop syscall.Signal, dir string, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{name: name, cmd: exec.Command(name, args...), done: make(chan struct{}), log: &tail{}}
	p.cmd.Dir = dir
	if in != nil {
		p.cmd.Stdin = in
	}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended is seen in its log
	}()
	t.Cleanup(func() {
		p.end(stop)
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, p.log)
		}
	})
	return p
}

// end asks the program to stop, and kills what is left of its group.
func (p *process) end(stop syscall.Signal) {
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(-group, stop)
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-p.done
}

// ready waits until fact returns nil.
func (p *process) ready(t testing.TB, fact func() error) {
	t.Helper()
	late := time.Now().Add(patience)
	for {
		err := fact()
		if err == nil {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended before it was ready: %v\n%s", p.name, err, p.log)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(late) {
			t.Fatalf("%s was not ready in %v: %v\n%s", p.name, patience, err, p.log)
		}
	}
}

// tail keeps the end of a program's output.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const maxLog = 64 << 10

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, b...)
	if over := len(l.buf) - maxLog; over > 0 {
		l.buf = append(l.buf[:0], l.buf[over:]...)
	}
	return len(b), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(bytes.ReplaceAll(l.buf, []byte{0}, nil)) // baresip logs NULs
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := freeport.Get()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// write makes a file in dir.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runOnce runs a helper program to its end and returns what it prints.
func runOnce(t testing.TB, stdin string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = bytes.NewBufferString(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
