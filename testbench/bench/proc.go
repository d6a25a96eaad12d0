package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// memory is what a process holds, in bytes.
type memory struct{ RSS, PSS, File, Peak float64 }

func memoryOf(pid int) (m memory, err error) {
	rollup, err := readProc(pid, "smaps_rollup")
	if err != nil {
		return m, err
	}
	status, err := readProc(pid, "status")
	if err != nil {
		return m, err
	}
	for _, want := range []struct {
		in  map[string]string
		key string
		to  *float64
	}{{rollup, "Rss", &m.RSS}, {rollup, "Pss", &m.PSS}, {status, "RssFile", &m.File}, {status, "VmHWM", &m.Peak}} {
		kib, err := strconv.ParseFloat(strings.TrimSuffix(want.in[want.key], " kB"), 64)
		if err != nil {
			return m, fmt.Errorf("process %d: %s: %w", pid, want.key, err)
		}
		*want.to = kib * 1024
	}
	return m, nil
}

// readProc reads a file of "key: value" lines.
func readProc(pid int, name string) (map[string]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			values[key] = strings.TrimSpace(value)
		}
	}
	return values, nil
}

// cpuOf is the CPU time that a process has used, in user and kernel mode.
func cpuOf(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(text, []byte(") ")) // the name may hold anything
	fields := strings.Fields(string(rest))
	if len(fields) < 13 {
		return 0, fmt.Errorf("process %d: stat has %d fields", pid, len(fields))
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime, 14 and 15 of proc(5)
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("process %d: stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// writtenBy is how many bytes a process has caused to be sent to block
// devices: whole pages that it dirtied, but neither the file system's journal
// nor anything on a tmpfs.
func writtenBy(pid int) (float64, error) {
	io, err := readProc(pid, "io")
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseFloat(io["write_bytes"], 64)
	if err != nil {
		return 0, fmt.Errorf("process %d: write_bytes: %w", pid, err)
	}
	return n, nil
}

func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}
