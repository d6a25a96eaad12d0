package main

import (
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

// The short form beside Kamailio: all figures are there, no request failed at
// either, and what is never to happen at ours did not.
func TestThePresenceServerIsMeasuredBesideKamailio(t *testing.T) {
	_, shared := product.Shared(t, "bench/preslog")
	if !shared || !peers.Need(t, "kamailio", "sqlite3") {
		return
	}
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	agent := build(t, dir, "./cmd/pilotlight", "-tags", "gosnmp_nodebug")
	lines := filepath.Join(dir, "figures.jsonl")
	if err := run(t.Context(), []string{"-simple", "-short", "-agent", agent, "-shared", "../../../shared", "-json", lines}); err != nil {
		t.Fatal(err)
	}
	all := figuresIn(t, lines)
	haveAll(t, all, "PSS at 100 subscriptions", "initial", "refresh", "modify", "last of 20 NOTIFYs, p50", "PUBLISH to NOTIFY, p99",
		"SUBSCRIBE to first NOTIFY, p50", "an older state after a newer one", "notifications lost")
	for name, f := range all {
		switch {
		case f.Beside == nil:
		case f.Unit != "" && f.Value <= 0:
			t.Errorf("%s: %s is %v", f.Scenario, name, f.Value)
		case f.Unit == "" && f.Aim != nil && f.Value > 0:
			t.Errorf("%s: %s: %v", f.Scenario, name, f.Value)
		}
	}
}

// Rounds are compared with their own: what one minute did to both is not in the ratio.
func TestRatiosAreOfPairedRounds(t *testing.T) {
	f := newFindings()
	for round, v := range [][2]float64{{10, 20}, {100, 200}, {30, 40}} {
		for side := range v {
			f.take(side, round, "one", row{name: "took", value: v[side], unit: "ms", aim: 20})
			f.take(side, round, inAll, row{name: "lost", value: float64(side), count: true})
		}
	}
	f.take(0, 0, "one", row{name: "told by one", value: 5, unit: "ms"})
	f.take(1, 0, "one", row{name: "told by the other", value: 5, unit: "ms"})
	r := &report{}
	r.add("alone", "fits", 1, "s", 0)
	f.report(r, "Other")
	text := r.markdown()
	for _, want := range []string{
		"| alone | fits | 1 s |  |  |\n\n| scenario | figure | Pilotlight | Other |",
		"| one | took | 30 ms | 40 ms | 0.50 [0.50..0.75] | ≤ 20 ms | **missed** |",
		"|  | told by one | 5 ms | – |  |  |  |\n| in all runs | lost | 0 | 3 |  | ≤ 0 | met |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "told by the other") {
		t.Error("a figure that ours does not have")
	}
}

// Without the load generator the rest of the bench goes on.
func TestWhatIsMissingIsPrinted(t *testing.T) {
	err := cannot(t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "load generator") {
		t.Error(err)
	}
	if err := (plan{Shared: t.TempDir()}).simple(t.Context(), &report{}); err != nil {
		t.Error(err)
	}
}
