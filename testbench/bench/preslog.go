package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// preslog is the load generator of ../shared/bench, built for one run. It
// shares no code with the agent.
type preslog struct{ binary string }

func buildPreslog(ctx context.Context, shared, dir string) (*preslog, error) {
	binary := filepath.Join(dir, "preslog")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", binary, ".")
	cmd.Dir, cmd.Env = filepath.Join(shared, "bench", "preslog"), append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building preslog: %w: %s", err, out)
	}
	return &preslog{binary}, nil
}

// loadTold is what preslog tells of one run.
type loadTold struct {
	Phases []loadPhase `json:"phases"`
	Last   *spread     `json:"fanout_last"`
	Told   *spread     `json:"lat_notify"`
	First  *spread     `json:"lat_first_notify"`
	Notify struct {
		Expected  float64 `json:"expected"`
		Delivered float64 `json:"delivered"`
		Lost      float64 `json:"lost"`
		Behind    float64 `json:"last_arrival_stale"`
		Older     float64 `json:"state_regress"`
	} `json:"notify"`
	Memory struct {
		PSS float64 `json:"pss_end"`
	} `json:"server_mem_mib"`
	Status map[string]int64 `json:"status_counts"`
}

type loadPhase struct {
	Name      string  `json:"phase"`
	OK        float64 `json:"ok"`
	Fail      float64 `json:"fail"`
	PerSecond float64 `json:"ok_per_s"`
	Notified  float64 `json:"notify_per_s"`
	CPU       float64 `json:"server_cpu_s"`
	Took      *spread `json:"lat"`
}

// tooLittle is CPU time that the kernel's ticks of 10 ms are too coarse for.
const tooLittle = 0.05

// cpu is the server's CPU time for one of n things a request, in microseconds,
// if there was enough of it to tell.
func (p loadPhase) cpu(add func(row), name string, n int, aim float64) {
	if p.OK > 0 && p.CPU >= tooLittle {
		add(row{name: name, value: p.CPU / p.OK / float64(n) * 1e6, unit: "µs", aim: aim})
	}
}

// spread is of times in milliseconds.
type spread struct {
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// run lets preslog do something to a server. Requests that failed are in what
// it tells; they are no error here.
func (l *preslog) run(ctx context.Context, s *server, flags ...string) (*loadTold, error) {
	ctx, stop := context.WithTimeout(ctx, 5*time.Minute)
	defer stop()
	args := append([]string{"-target", s.sip, "-domain", benchDomain, "-pid", strconv.Itoa(s.pid())}, flags...)
	cmd := exec.CommandContext(ctx, l.binary, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 1) {
		return nil, fmt.Errorf("preslog at %s: %w: %s: %s", s.name, err, &errs, &s.log)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	var told loadTold
	if err := json.Unmarshal(lines[len(lines)-1], &told); err != nil {
		return nil, fmt.Errorf("preslog at %s: %w: %s", s.name, err, &errs)
	}
	return &told, nil
}

// phase is one of a run; a run without it has not got that far.
func (t *loadTold) phase(name string) loadPhase {
	for _, p := range t.Phases {
		if p.Name == name {
			return p
		}
	}
	return loadPhase{}
}

func (t *loadTold) failed() (n float64) {
	for _, p := range t.Phases {
		n += p.Fail
	}
	return n
}
