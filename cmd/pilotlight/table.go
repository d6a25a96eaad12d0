package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"pilotlight/agent/presence"
)

// table prints columns; colour only on a terminal, and never alone.
type table struct {
	w      *tabwriter.Writer
	colour bool
}

func newTable(out io.Writer, heads ...string) *table {
	t := &table{w: tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.StripEscape), colour: isTerminal(out) && os.Getenv("NO_COLOR") == ""}
	t.row(heads...)
	return t
}

func (t *table) row(cells ...string) { fmt.Fprintln(t.w, strings.Join(cells, "\t")) }

func (t *table) flush() error { return t.w.Flush() }

// lamp colours a state; tabwriter does not count what stands between escapes.
func (t *table) lamp(state string) string {
	if !t.colour {
		return state
	}
	word, _, lastKnown := strings.Cut(state, " ")
	code := "0"
	switch {
	case lastKnown:
		code = "90"
	case slices.Contains([]string{"idle", "available", "connected"}, word):
		code = "32"
	case slices.Contains([]string{"ringing", "away", "degraded", "resync"}, word):
		code = "33"
	case slices.Contains([]string{"unknown", "offline", "out-of-office"}, word):
		code = "90"
	default:
		code = "31"
	}
	const esc = string(rune(tabwriter.Escape))
	return esc + "\x1b[" + code + "m" + esc + state + esc + "\x1b[0m" + esc
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(time.Since(t))
}

func span(d time.Duration) string { return presence.Age(d) }

// counts prints a map in the order of its keys.
func counts(m map[string]int) string {
	var parts []string
	for k, n := range m {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k))
		}
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}
