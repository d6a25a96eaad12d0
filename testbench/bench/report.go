package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// figure is one measured value. All aims are upper limits.
type figure struct {
	Scenario string   `json:"scenario"`
	Name     string   `json:"figure"`
	Value    float64  `json:"value"`
	Unit     string   `json:"unit,omitempty"`
	Aim      *float64 `json:"at_most,omitempty"`
	Beside   *beside  `json:"beside,omitempty"`
}

// verdict is the aim, and whether it is met.
func (f figure) verdict() (aim, verdict string) {
	if f.Aim == nil {
		return "", ""
	}
	verdict = "met"
	if f.Value > *f.Aim {
		verdict = "**missed**"
	}
	return "≤ " + number(*f.Aim, f.Unit), verdict
}

// report is all figures, and where and when they were measured.
type report struct {
	Version string // of the agent, with its commit
	Date    string
	Machine string
	Load    string // averages, before and after
	figures []figure
}

func newReport(ctx context.Context, agent string) (*report, error) {
	version, err := exec.CommandContext(ctx, agent, "version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s version: %w", agent, err)
	}
	return &report{
		Version: strings.TrimSpace(string(version)),
		Date:    time.Now().UTC().Format("2006-01-02 15:04 UTC"),
		Machine: machine(),
		Load:    loadAverage(),
	}, nil
}

// add takes a figure; an aim of zero is none.
func (r *report) add(scenario, name string, value float64, unit string, aim float64) {
	f := figure{Scenario: scenario, Name: name, Value: value, Unit: unit}
	if aim > 0 {
		f.Aim = &aim
	}
	r.figures = append(r.figures, f)
}

// zero takes a figure that is to be nothing.
func (r *report) zero(scenario, name string, value float64) {
	r.figures = append(r.figures, figure{Scenario: scenario, Name: name, Value: value, Aim: new(float64)})
}

// finish notes what else the machine was doing.
func (r *report) finish() { r.Load += " before, " + loadAverage() + " after" }

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s. %s. Load average %s (the bench's own share included).\n\n", r.Version, r.Date, r.Machine, r.Load)
	b.WriteString("| scenario | figure | measured | aim | |\n|---|---|---:|---:|---|\n")
	last := ""
	for _, f := range r.figures {
		if f.Beside != nil {
			continue // below
		}
		scenario := f.Scenario
		if scenario == last {
			scenario = ""
		}
		last = f.Scenario
		aim, verdict := f.verdict()
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", scenario, f.Name, number(f.Value, f.Unit), aim, verdict)
	}
	b.WriteString(r.besideTable())
	return b.String()
}

func number(v float64, unit string) string {
	format := "%.0f"
	switch {
	case v != 0 && v < 10 && unit != "":
		format = "%.2f"
	case v != 0 && v < 100 && unit != "":
		format = "%.1f"
	}
	return strings.TrimSpace(strings.TrimSuffix(strings.TrimSuffix(fmt.Sprintf(format, v), ".00"), ".0") + " " + unit)
}

// jsonLines gives each figure as a line that says all there is to know of it.
func (r *report) jsonLines() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, f := range r.figures {
		_ = e.Encode(struct { // to memory: it cannot fail
			Version string `json:"version"`
			Date    string `json:"date"`
			Machine string `json:"machine"`
			Load    string `json:"load"`
			figure
		}{r.Version, r.Date, r.Machine, r.Load, f})
	}
	return b.Bytes()
}

// machine says what this runs on.
func machine() string {
	cpu := field("/proc/cpuinfo", "model name")
	memory := field("/proc/meminfo", "MemTotal")
	var kib float64
	fmt.Sscan(memory, &kib)
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%d cores of %s, %.0f GiB, Linux %s, %s", runtime.NumCPU(), cpu, kib/(1<<20), strings.TrimSpace(string(kernel)), runtime.Version())
}

// field finds a "key : value" in a file, or "unknown".
func field(file, key string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
