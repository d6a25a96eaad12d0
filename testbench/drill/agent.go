package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"pilotlight/testbench/freeport"
	"pilotlight/testbench/logtail"
)

// startLimit is how long an agent may take until it is ready.
const startLimit = 30 * time.Second

// Agent is the program under drill.
type Agent struct {
	Binary string
	Env    []string // besides the bench's own
	Folder string   // its data_dir, where the machine's disk is mounted
	Config string   // its configuration file
	Panel  string   // host:port of its HTTP listener
	People []string
	Token  string // filled by the first setup when empty
}

// NewAgent writes the configuration of an agent on free loopback ports, all of
// it within a folder of the caller's.
func NewAgent(binary, home string, people []string) (Agent, error) {
	panel, err := freeport.Address()
	if err != nil {
		return Agent{}, err
	}
	sip, err := freeport.Address()
	if err != nil {
		return Agent{}, err
	}
	a := Agent{
		Binary: binary, People: people,
		Folder: filepath.Join(home, "data"), Config: filepath.Join(home, "pilotlight.yaml"),
		Panel: panel,
	}
	var y strings.Builder
	fmt.Fprintf(&y, "branch: {id: drill, name: Drill, domain: example.com}\ndata_dir: %q\n", a.Folder)
	fmt.Fprintf(&y, "panel: {listen: %q}\n", a.Panel)
	fmt.Fprintf(&y, "sip: {listen: [\"udp:%s\", \"tcp:%s\"]}\n", sip, sip)
	if len(people) > 0 {
		y.WriteString("people:\n")
		for _, user := range people {
			fmt.Fprintf(&y, "  - {user: %s, name: %s}\n", user, user)
		}
	}
	return a, errors.Join(os.MkdirAll(a.Folder, 0o700), os.WriteFile(a.Config, []byte(y.String()), 0o600))
}

func (a *Agent) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, a.Binary, append(args, "--config", a.Config)...)
	cmd.Env = append(os.Environ(), a.Env...)
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0")
	return cmd
}

// setup makes the token that the writers use. With no agent running the verb
// opens the store itself, and so makes it.
func (a *Agent) setup(ctx context.Context) error {
	var stderr logtail.Tail
	cmd := a.command(ctx, "token", "create", "--role", "operator")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("token create: %w: %s", err, &stderr)
	}
	a.Token = strings.TrimSpace(string(out))
	return nil
}

// life is one run of the program.
type life struct {
	cmd  *exec.Cmd
	log  logtail.Tail
	api  api
	gone chan struct{} // closed when the program has ended
}

// start starts the agent and returns at once.
func (a *Agent) start(ctx context.Context) (*life, error) {
	l := &life{cmd: a.command(ctx, "run"), api: newAPI(a.Panel, a.Token), gone: make(chan struct{})}
	l.cmd.Stdout, l.cmd.Stderr = &l.log, &l.log
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(l.gone)
		_ = l.cmd.Wait() // how it ended is in its log, and nobody's surprise
	}()
	return l, nil
}

// ready returns when the agent serves, or says why it doesn't.
func (l *life) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		if l.api.ready(ctx) {
			return nil
		}
		select {
		case <-poll.C:
		case <-l.gone:
			return fmt.Errorf("it ended: %s", l.log.String())
		case <-ctx.Done():
			return fmt.Errorf("not ready after %v: %s", startLimit, l.log.String())
		}
	}
}

// kill is kill -9; it returns when the process is gone.
func (l *life) kill() error {
	err := l.cmd.Process.Kill()
	<-l.gone
	l.api.close()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
