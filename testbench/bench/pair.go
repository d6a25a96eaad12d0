package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"pilotlight/testbench/freeport"
)

// pair is a simulated branch and an agent beside it, each a process.
type pair struct {
	plan   plan
	agent  *process
	branch *process
	phones []phone
	url    string
	config string
	client *http.Client

	mu      sync.Mutex // one command at a time
	say     io.WriteCloser
	answers *bufio.Reader

	remove func()
}

// phone is one of the branch's.
type phone struct{ Name, Number, User string }

// newPair starts a branch of some phones and configures an agent for it, which
// start runs. The branch is quiet: the bench says who calls whom, and counts
// phones that change, so that no two ring at once.
func newPair(p plan, phones int, dial time.Duration) (_ *pair, err error) {
	dir, remove, err := scratch()
	if err != nil {
		return nil, err
	}
	b := &pair{plan: p, config: filepath.Join(dir, "pilotlight.yaml"), client: &http.Client{Transport: &http.Transport{}}, remove: remove}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	panel, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	b.url = "http://" + panel
	pipes := func(c *exec.Cmd) error {
		var out io.Reader
		if b.say, err = c.StdinPipe(); err != nil {
			return err
		}
		if out, err = c.StdoutPipe(); err != nil {
			return err
		}
		b.answers = bufio.NewReaderSize(out, 1<<20)
		return nil
	}
	b.branch, err = launch(pipes, p.Branch, "-phones", strconv.Itoa(phones), "-script=false", "-unshared", "-config", b.config, "-panel", panel)
	if err != nil {
		return nil, err
	}
	if line, err := b.answers.ReadString('\n'); err != nil || !strings.HasPrefix(line, "ready") {
		return nil, fmt.Errorf("the branch says %q: %w: %s", line, err, &b.branch.log)
	}
	inventory, err := b.command("phones")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(inventory), &b.phones); err != nil {
		return nil, fmt.Errorf("the branch's inventory: %w", err)
	}
	return b, b.configure(dial)
}

func (b *pair) close() {
	if b.agent != nil {
		b.agent.stop()
	}
	if b.branch != nil {
		b.branch.stop()
	}
	b.client.CloseIdleConnections()
	b.remove()
}

var (
	pollLine   = regexp.MustCompile(`(?m)^poll: .*$`)
	commitLine = regexp.MustCompile(`(?m)^store: .*$`)
	peopleLine = regexp.MustCompile(`(?m)^people:$`)
)

// configure turns the branch's configuration, which is the demo's, into one
// with the plan's polls, a dial, and as many people as phones: those of rooms
// get an owner, too.
func (b *pair) configure(dial time.Duration) error {
	text, err := os.ReadFile(b.config)
	if err != nil {
		return err
	}
	var people strings.Builder
	people.WriteString("people:")
	for i, p := range b.phones {
		if p.User == "" {
			fmt.Fprintf(&people, "\n  - {user: room.%d, name: Room %d, phones: [%s], line: %q}", i, i, p.Name, p.Number)
		}
	}
	for _, change := range []struct {
		line *regexp.Regexp
		to   string
	}{
		{pollLine, fmt.Sprintf("poll: {sip: %s, web: %s, snmp: %s, in_flight: 64}", b.plan.Polls.SIP, b.plan.Polls.Web, b.plan.Polls.SNMP)},
		{commitLine, fmt.Sprintf("store: {commit: %s}", dial)},
		{peopleLine, people.String()},
	} {
		if n := len(change.line.FindAll(text, -1)); n != 1 {
			return fmt.Errorf("%s: %d lines match %v, want one", b.config, n, change.line)
		}
		text = change.line.ReplaceAll(text, []byte(change.to))
	}
	return os.WriteFile(b.config, text, 0o600)
}

// start runs the agent; it tells how long it took to be ready.
func (b *pair) start(ctx context.Context) (ready time.Duration, err error) {
	if b.agent, err = launch(nil, b.plan.Agent, "run", "--config", b.config); err != nil {
		return 0, err
	}
	return b.agent.until(ctx, 30*time.Second, "ready", 10*time.Millisecond, func(ctx context.Context) bool {
		body, err := b.get(ctx, "/readyz")
		if err != nil {
			return false
		}
		return body.Close() == nil
	})
}

// populated waits until every phone has been seen, and tells how long that took.
func (b *pair) populated(ctx context.Context, phones int) (time.Duration, error) {
	return awaitPhones(ctx, b.agent, b.url, b.client, phones)
}

func awaitPhones(ctx context.Context, agent *process, url string, client *http.Client, phones int) (time.Duration, error) {
	return agent.until(ctx, 90*time.Second, "all phones seen", 100*time.Millisecond, func(ctx context.Context) bool {
		body, err := get(ctx, client, url+"/api/v1/phones")
		if err != nil {
			return false
		}
		defer body.Close()
		var all []struct{ State, Freshness, Model string }
		if json.NewDecoder(body).Decode(&all) != nil || len(all) != phones {
			return false
		}
		for _, p := range all {
			if p.State == "unknown" || p.Freshness != "live" || p.Model == "" {
				return false
			}
		}
		return true
	})
}

// command says a line to the branch and returns the answer.
func (b *pair) command(words ...string) (string, error) { return b.commandAfter(func() {}, words...) }

// commandAfter calls before at the last moment.
func (b *pair) commandAfter(before func(), words ...string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before()
	if _, err := io.WriteString(b.say, strings.Join(words, " ")+"\n"); err != nil {
		return "", fmt.Errorf("the branch: %w", err)
	}
	line, err := b.answers.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("the branch: %w", err)
	}
	line = strings.TrimSpace(line)
	answer, ok := strings.CutPrefix(line, "ok")
	if !ok {
		return "", fmt.Errorf("the branch, on %q: %s", strings.Join(words, " "), line)
	}
	return strings.TrimSpace(answer), nil
}

// commits is how often the store has committed.
func (b *pair) commits(ctx context.Context) (float64, error) {
	body, err := b.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "pilotlight_store_commits_total "); ok {
			return strconv.ParseFloat(strings.TrimSpace(n), 64)
		}
	}
	return 0, fmt.Errorf("no pilotlight_store_commits_total in /metrics")
}

func (b *pair) get(ctx context.Context, path string) (io.ReadCloser, error) {
	return get(ctx, b.client, b.url+path)
}

func get(ctx context.Context, client *http.Client, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return resp.Body, nil
}
