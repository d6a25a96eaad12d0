package e2e

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pilotlight/testbench/branch"
	"pilotlight/testbench/product"
)

var mixSeed = flag.Uint64("mix", 0, "the seed of the random mixes of TestNoFalseDownAndNoFalseAvailable; 0: by the clock")

// The form that CI runs, and the one of `make drill`: 500 states of phones.
const (
	mixPhones               = 100
	shortRounds, fullRounds = 2, 5
)

// How long a round may take to settle. Pages that change seldom are read each
// 15 s, and count for two and a half times that and a timeout: what a phone said
// of its registration before it closed its pages is believed for so long.
const (
	settleWithin = 45 * time.Second
	settledFor   = 3 * time.Second
)

// The agent may say that it does not know. It may not say that a phone is down
// that is up, nor that somebody is free who is not: random mixes of what can
// happen to a hundred phones, 40 % of them with their web access off, held
// against the simulator's truth.
func TestNoFalseDownAndNoFalseAvailable(t *testing.T) {
	rounds, seed := shortRounds, *mixSeed
	if strings.EqualFold(os.Getenv("PILOTLIGHT_DRILL"), "full") {
		rounds = fullRounds
	}
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed: again by go test ./testbench/e2e -run %s -mix %d", t.Name(), seed)
	b, err := branch.Start(context.Background(), branch.Options{Phones: mixPhones, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	a := product.Start(t, product.Options{YAML: string(b.Config("@DATA@", "@PANEL@"))})
	a.Until(30*time.Second, "every phone is known", func() bool { return len(live(a.Phones())) == mixPhones })

	draw := rand.New(rand.NewPCG(seed, 3))
	states, causes := matrix{}, matrix{}
	var wrong []string
	unknown := 0
	for round := range rounds {
		m := newMix(b, draw)
		m.play(t)
		settled := settle(t, b, a)
		m.page()
		time.Sleep(2 * pollInterval) // what shows only for as long as a page plays
		v := hold(t, b, a)
		t.Logf("round %d: %s; settled after %v; %d unknown or last known", round+1, m, settled.Round(100*time.Millisecond), v.unknown)
		states.add(v.states)
		causes.add(v.causes)
		unknown += v.unknown
		for _, w := range v.wrong {
			wrong = append(wrong, fmt.Sprintf("round %d: %s", round+1, w))
		}
	}
	t.Logf("states, rows are the truth, columns what the agent told\n%s", states)
	t.Logf("causes, the same\n%s", causes)
	for _, w := range wrong {
		t.Error(w)
	}
	for _, p := range b.Phones() {
		if load, err := b.Load(p.Name); err != nil || load.Peak > 1 || load.Requests == 0 {
			t.Errorf("%s was asked %d times, %d at a time: %v", p.Name, load.Requests, load.Peak, err)
		}
	}
	t.Logf("%d states of phones: %d false, %d unknown or last known", rounds*mixPhones, len(wrong), unknown)
}

// pollInterval is what branch.Config sets.
const pollInterval = 2 * time.Second

func live(all map[string]product.Phone) map[string]product.Phone {
	maps.DeleteFunc(all, func(_ string, p product.Phone) bool { return p.Freshness != "live" || p.State == "unknown" })
	return all
}

// settle waits until what the agent tells is free of faults and stays so, or
// until time is up, and tells how long it took.
func settle(t *testing.T, b *branch.Branch, a *product.Agent) time.Duration {
	t.Helper()
	start := time.Now()
	for right := start; time.Since(start) < settleWithin && time.Since(right) < settledFor; {
		if v := hold(t, b, a); len(v.wrong) > 0 {
			right = time.Now()
		}
		time.Sleep(200 * time.Millisecond)
	}
	return time.Since(start)
}

// A verdict is the agent's word held against the truth once.
type verdict struct {
	states, causes matrix
	wrong          []string
	unknown        int
}

func hold(t *testing.T, b *branch.Branch, a *product.Agent) verdict {
	t.Helper()
	v := verdict{states: matrix{}, causes: matrix{}}
	told, people, truth := a.Phones(), map[string]product.Document{}, b.Truth()
	for _, d := range product.Get[[]product.Document](a, "/api/v1/presence") {
		people[d.Presentity] = d
	}
	desks := map[string][]branch.State{}
	for _, p := range b.Phones() {
		owner := told[p.Name].Owner
		desks[owner] = append(desks[owner], truth[p.Name])
	}
	for _, p := range b.Phones() {
		is, said := truth[p.Name], told[p.Name]
		word := said.State
		if said.Freshness != "live" {
			word = said.Freshness
		}
		if word != said.State || word == "unknown" {
			v.unknown++
		}
		v.states.count(row(is), word)
		v.causes.count(truthOfCause(is), said.Cause)
		if fault := faultOf(is, said, people[said.Owner], desks[said.Owner]); fault != "" {
			v.wrong = append(v.wrong, fmt.Sprintf("%s (%s): %s; truth %+v; told %s %s, %s %q\n\t%s", p.Name, p.Model, fault, is,
				said.State, said.Freshness, said.Cause, said.Diagnosis, strings.Join(said.Because, "\n\t")))
		}
	}
	return v
}

// faultOf says what is a lie: not what is merely unknown, or known better.
func faultOf(is branch.State, said product.Phone, owner product.Document, desks []branch.State) string {
	word := is.Word()
	switch {
	case isUp(word) && said.Freshness == "live" && slices.Contains([]string{"unreachable", "unpowered", "unregistered"}, said.State):
		return "false down"
	case word != "idle" && !unknowable(is) && said.State == "idle" && said.Freshness == "live":
		return "false available: the phone is told idle"
	case owner.Availability == "available" && owner.Freshness == "live" && !canBeCalled(desks):
		return "false available: its owner is told available"
	}
	return ""
}

// canBeCalled: nobody talks on one of these phones, and one is up. The front
// desk shares the boss's number, and is there for him while his phone is out.
func canBeCalled(desks []branch.State) bool {
	up := false
	for _, is := range desks {
		word := is.Word()
		if word == "in-use" || word == "on-hold" {
			return false
		}
		// Ringing is not busy yet, even if the phone hangs.
		up = up || word == "idle" || is.Doing == branch.Ringing && !is.Unplugged || unknowable(is)
	}
	return up
}

func isUp(word string) bool {
	return slices.Contains([]string{"idle", "ringing", "in-use", "on-hold"}, word)
}

// unknowable: the phone keeps its power and its link, refuses its pages, and
// the simulated call server tells its line idle whether it is registered or
// not. No source at the branch can tell it from one that is well.
func unknowable(s branch.State) bool {
	return s.WebDisabled && !s.Unplugged && !s.NoAddress && (s.Frozen || s.Registration == branch.Nowhere)
}

// row names a truth in the matrix.
func row(s branch.State) string {
	word := s.Word()
	switch {
	case s.NoAddress:
		word += ", no lease"
	case unknowable(s):
		word += ", hidden"
	case s.Paged:
		word += ", paged"
	}
	return word
}

func truthOfCause(s branch.State) string {
	switch {
	case s.Unplugged:
		return "unpowered"
	case s.NoAddress:
		return "no-address"
	case s.WebDisabled:
		return "web-disabled"
	case s.Booting, s.Frozen:
		return "no-answer"
	case s.Registration == branch.Nowhere:
		return "unregistered"
	case s.Registration == branch.WithSRST:
		return "srst"
	}
	return "fine"
}

// matrix counts by truth and by what was told.
type matrix map[string]map[string]int

func (m matrix) count(truth, told string) {
	if m[truth] == nil {
		m[truth] = map[string]int{}
	}
	m[truth][told]++
}

func (m matrix) add(other matrix) {
	for truth, cells := range other {
		for told, n := range cells {
			m.count(truth, told)
			m[truth][told] += n - 1
		}
	}
}

// String is a table.
func (m matrix) String() string {
	columns := map[string]bool{}
	for _, cells := range m {
		for told := range cells {
			columns[told] = true
		}
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%-22s", "")
	for _, c := range slices.Sorted(maps.Keys(columns)) {
		fmt.Fprintf(&s, "%13s", c)
	}
	for _, truth := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&s, "\n%-22s", truth)
		for _, c := range slices.Sorted(maps.Keys(columns)) {
			fmt.Fprintf(&s, "%13s", cmp.Or(strings.TrimPrefix(fmt.Sprint(m[truth][c]), "0"), "."))
		}
	}
	return s.String()
}
