// Package product starts the real pilotlight binary for tests, as its user
// would, and asks it over its API. Everything listens on loopback, on free
// ports, in private folders, and ends with the test.
package product

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pilotlight/testbench/freeport"
)

// Root is the folder of the project.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir = filepath.Dir(dir); dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
	}
}

// Shared is a path in the folder of recordings and samples beside the project.
// Without it, false; in CI that is a failure.
func Shared(t testing.TB, path string) (string, bool) {
	t.Helper()
	full := filepath.Join(Root(t), "..", "shared", path)
	if _, err := os.Stat(full); err == nil {
		return full, true
	}
	if os.Getenv("CI") == "true" {
		t.Errorf("no %s beside the project", filepath.Join("shared", path))
	}
	fmt.Printf("%s: could not run: no %s beside the project\n", t.Name(), filepath.Join("shared", path))
	return "", false
}

// Binary builds pilotlight with the given build tags, once per test process and
// set of tags, and gives its path.
func Binary(t testing.TB, tags ...string) string {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	key := strings.Join(tags, ",")
	if path, ok := built.by[key]; ok {
		return path
	}
	if built.by == nil {
		built.by = map[string]string{}
	}
	dir, err := os.MkdirTemp("", "pilotlight-bin-")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "pilotlight")
	cmd := exec.Command("go", "build", "-tags", key, "-o", path, "./cmd/pilotlight")
	cmd.Dir, cmd.Env = Root(t), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building pilotlight: %v\n%s", err, out)
	}
	built.by[key] = path
	return path
}

var built struct {
	mu sync.Mutex
	by map[string]string
}

// Clean removes what Binary built: for TestMain.
func Clean() {
	built.mu.Lock()
	defer built.mu.Unlock()
	for _, path := range built.by {
		os.RemoveAll(filepath.Dir(path))
	}
	built.by = nil
}

// FreePort is a port of 127.0.0.1 that is free for UDP and TCP.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freeport.Get()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Agent is a running pilotlight.
type Agent struct {
	URL    string
	Config string // its configuration file
	Token  string // of an operator; made at the first Act
	t      testing.TB
	bin    string
	cmd    *exec.Cmd
	log    *lockedBuffer
	gone   chan struct{}
}

// Options of an agent.
type Options struct {
	YAML   string // the configuration; "@DATA@", "@PANEL@" and "@SIP@" are filled in
	Binary string // empty: Binary(t)
	Env    []string
	Data   string   // empty: a private folder
	Wrap   []string // a command to start it through
}

// Start runs an agent and waits until it is ready.
func Start(t testing.TB, o Options) *Agent {
	t.Helper()
	dir := t.TempDir()
	if o.Data == "" {
		o.Data = filepath.Join(dir, "data")
	}
	if o.Binary == "" {
		o.Binary = Binary(t)
	}
	panel := FreePort(t)
	text := strings.NewReplacer("@DATA@", o.Data, "@PANEL@", fmt.Sprint("127.0.0.1:", panel), "@SIP@", fmt.Sprint("127.0.0.1:", FreePort(t))).Replace(o.YAML)
	a := &Agent{URL: fmt.Sprint("http://127.0.0.1:", panel), Config: filepath.Join(dir, "pilotlight.yaml"), t: t, bin: o.Binary}
	if err := os.WriteFile(a.Config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a.launch(o)
	t.Cleanup(func() {
		a.Kill()
		if t.Failed() {
			t.Logf("the agent's log, but for what it was asked:\n%s", tail(notable(a.log.String()), 12000))
		}
	})
	a.Ready()
	return a
}

// Asking is an agent that somebody else started: it can be asked, no more.
func Asking(t testing.TB, url string) *Agent { return &Agent{URL: url, t: t, log: &lockedBuffer{}} }

func (a *Agent) launch(o Options) {
	a.t.Helper()
	args := append(o.Wrap, a.bin, "run", "--config", a.Config, "--log-level", "debug")
	a.cmd = exec.Command(args[0], args[1:]...)
	a.cmd.Env = append(os.Environ(), o.Env...)
	if a.log == nil {
		a.log = &lockedBuffer{}
	}
	a.cmd.Stderr = a.log
	a.cmd.Stdout = a.log
	a.gone = make(chan struct{})
	if err := a.cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, gone chan struct{}) { defer close(gone); cmd.Wait() }(a.cmd, a.gone)
}

// Ready waits until the agent says that it is.
func (a *Agent) Ready() {
	a.t.Helper()
	a.Until(15*time.Second, "the agent is ready", func() bool {
		select {
		case <-a.gone:
			a.t.Fatalf("the agent ended: %v\n%s", a.cmd.ProcessState, tail(a.log.String(), 4000))
		default:
		}
		resp, err := http.Get(a.URL + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// Kill is kill -9.
func (a *Agent) Kill() { a.signal(syscall.SIGKILL) }

// Stop is SIGTERM; it fails the test when the agent does not end well.
func (a *Agent) Stop() {
	a.t.Helper()
	a.signal(syscall.SIGTERM)
	if code := a.cmd.ProcessState.ExitCode(); code != 0 {
		a.t.Errorf("exit status %d after SIGTERM", code)
	}
}

func (a *Agent) signal(s syscall.Signal) {
	a.t.Helper()
	_ = a.cmd.Process.Signal(s) // it may have ended already
	select {
	case <-a.gone:
	case <-time.After(15 * time.Second):
		_ = a.cmd.Process.Kill()
		a.t.Errorf("still there 15 s after %v", s)
		<-a.gone
	}
}

// Again starts it again on what the last one left, and does not wait.
func (a *Agent) Again(env ...string) {
	a.t.Helper()
	a.launch(Options{Env: env})
}

// PID is the process's.
func (a *Agent) PID() int { return a.cmd.Process.Pid }

// Log is what it has logged.
func (a *Agent) Log() string { return a.log.String() }

// Get asks the API and decodes the answer.
func Get[T any](a *Agent, path string) T {
	a.t.Helper()
	var v T
	if err := TryGet(a, path, &v); err != nil {
		a.t.Fatalf("GET %s: %v", path, err)
	}
	return v
}

// TryGet is Get that may fail.
func TryGet(a *Agent, path string, into any) error {
	body, err := a.do(http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// Act sends a request as an operator.
func (a *Agent) Act(method, path string, body any) error {
	a.t.Helper()
	if a.Token == "" {
		a.Token = strings.TrimSpace(a.CLI(0, "token", "create", "--role", "operator", "--config", a.Config))
	}
	_, err := a.do(method, path, body)
	return err
}

var client = &http.Client{Timeout: 10 * time.Second}

func (a *Agent) do(method, path string, in any) ([]byte, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, a.URL+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if a.Token != "" {
		req.Header.Set("Authorization", "Bearer "+a.Token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return text, err
}

// CLI runs a verb to its end and returns its standard output; the exit status must be want.
func (a *Agent) CLI(want int, args ...string) string {
	a.t.Helper()
	out, errs := RunCLI(a.t, a.bin, want, "", args...)
	if want != 0 {
		return errs
	}
	return out
}

// RunCLI runs the binary to its end.
func RunCLI(t testing.TB, bin string, want int, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, bin, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Stdin = &out, &errs, strings.NewReader(stdin)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != want {
		t.Errorf("pilotlight %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), code, want, out.String(), errs.String())
	}
	return out.String(), errs.String()
}

// Until waits for a fact.
func (a *Agent) Until(within time.Duration, what string, is func() bool) time.Duration {
	a.t.Helper()
	return Until(a.t, within, what, is)
}

// Until waits for a fact and tells how long that took.
func Until(t testing.TB, within time.Duration, what string, is func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !is() {
		if time.Since(start) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(start)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// maxLog bounds what is kept of an agent's log.
const maxLog = 8 << 20

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() < maxLog {
		l.b.Write(p)
	}
	return len(p), nil
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// notable leaves out the requests to the panel, which are the tests' own.
func notable(log string) string {
	var b strings.Builder
	for line := range strings.Lines(log) {
		if !strings.Contains(line, `"msg":"request","driver":"panel"`) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}
