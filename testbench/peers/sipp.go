package peers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// SIPp lets sipp go through a scenario so many times, a few at a time, by "udp"
// or "tcp", and fails the test unless each goes as the scenario says.
func SIPp(t testing.TB, scenario, server, transport string, calls int) {
	t.Helper()
	dir := shortDir(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sipp", "-sf", scenario, "-m", fmt.Sprint(calls), "-l", "10", "-r", "200", "-i", "127.0.0.1",
		"-p", fmt.Sprint(freePort(t)), "-t", map[string]string{"udp": "u1", "tcp": "t1"}[transport], "-nostdin", "-trace_err", "-error_file", "errors", server)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	said, _ := os.ReadFile(filepath.Join(dir, "errors")) // there is none where it would not start
	lines := strings.Split(string(out), "\n")
	t.Fatalf("sipp %s by %s: %v\n%s\n%s", scenario, transport, err, strings.Join(lines[max(0, len(lines)-40):], "\n"), said[:min(len(said), 3000)])
}
