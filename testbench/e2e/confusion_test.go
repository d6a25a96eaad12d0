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

// The form that `make drill` runs has 500 states of phones for each variant, and is
// looked at for as long as anything could still be believed.
const mixPhones, fullRounds = 100, 5

// variants are what an agent may have to go by, with the rounds that CI runs.
var variants = []struct {
	name string
	sources
	rounds int
}{
	{"call server", sources{callServer: true}, 2},
	{"keys", sources{user: true}, 1},
	{"streams", sources{}, 1},
}

// The agent may say that it does not know. It may not say that a phone is down
// that is up, nor that somebody is free who is not: random mixes of what can
// happen to a hundred phones, 40 % of them with their web access off, held
// against the simulator's truth, by whatever sources there are. While things
// change it may, and for how long is counted.
func TestNoFalseDownAndNoFalseAvailable(t *testing.T) {
	seed := *mixSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed: again by go test ./testbench/e2e -run %s -mix %d", t.Name(), seed)
	for _, v := range variants {
		rounds, rightFor := v.rounds, settledFor
		if strings.EqualFold(os.Getenv("PILOTLIGHT_DRILL"), "full") {
			rounds, rightFor = fullRounds, settleWithin
		}
		t.Run(v.name, func(t *testing.T) {
			r := newTrial(t, v.sources, seed)
			r.rightFor = rightFor
			draw := rand.New(rand.NewPCG(seed, 3))
			r.lies.begin(time.Now())
			newMix(r.b, draw).talk()
			r.watch(2 * pollInterval)
			for n := range rounds {
				r.round(n+1, newMix(r.b, draw))
			}
			r.sum()
		})
	}
}

// A trial is a branch, the agent beside it, and what came of holding one against the other.
type trial struct {
	t *testing.T
	b *branch.Branch
	a *product.Agent
	sources
	rightFor time.Duration // how long nothing false is told before a round is judged
	all      verdict
	lies     *lies
}

func newTrial(t *testing.T, s sources, seed uint64) *trial {
	t.Helper()
	o := branch.Options{Phones: mixPhones, Seed: seed}
	if s.user {
		o.PhoneUser, o.PhonePassword = phoneUser, phonePassword
	}
	b, err := branch.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	yaml := withPassword(t, b, string(b.Config("@DATA@", "@PANEL@")))
	if !s.callServer {
		yaml = withoutCallServer(t, yaml)
	}
	r := &trial{t: t, b: b, a: product.Start(t, product.Options{YAML: yaml}), sources: s, all: newVerdict(), lies: newLies()}
	r.a.Until(30*time.Second, "every phone is known, and was asked itself", func() bool {
		return len(live(r.a.Phones())) == mixPhones && !slices.ContainsFunc(b.Phones(), func(p branch.Phone) bool {
			load, err := b.Load(p.Name)
			return err != nil || load.Requests == 0
		})
	})
	r.look()
	return r
}

// round plays a mix, and judges what is told when it has settled.
func (r *trial) round(n int, m *mix) {
	r.t.Helper()
	start := time.Now()
	r.lies.begin(start)
	m.play(r.t)
	right := start
	for time.Since(start) < settleWithin && time.Since(right) < r.rightFor {
		if len(r.look().lies) > 0 {
			right = time.Now()
		}
		time.Sleep(lookEach)
	}
	m.page()
	r.watch(2 * pollInterval) // what shows only for as long as a page plays
	v := r.look()
	r.all.add(v)
	for _, l := range v.lies {
		r.t.Errorf("round %d: %s", n, l.text)
	}
	r.t.Logf("round %d: %s; settled after %v; %d unknown or last known", n, m, right.Sub(start).Round(100*time.Millisecond), v.unknown)
}

// watch looks for a while, and judges nothing.
func (r *trial) watch(d time.Duration) {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(lookEach) {
		r.look()
	}
}

// sum tells what came of it, and what polling has cost the phones.
func (r *trial) sum() {
	r.t.Helper()
	r.t.Logf("states, rows are the truth, columns what the agent told\n%s", r.all.states)
	r.t.Logf("causes, the same\n%s", r.all.causes)
	r.lies.end()
	r.t.Logf("how long after a change of a phone, or of those of its owner, a lie was last told; %d changes\n%s", r.lies.changes, r.lies)
	for _, text := range r.lies.long {
		r.t.Error(text)
	}
	for _, p := range r.b.Phones() {
		if load, err := r.b.Load(p.Name); err != nil || load.Crashed > 0 || load.Peak > 1 || load.Requests == 0 {
			r.t.Errorf("%s (%s) was asked %d times, %d at a time, %d times for what crashes it: %v", p.Name, p.Model, load.Requests, load.Peak, load.Crashed, err)
		}
	}
	r.t.Logf("%d states of phones: %d false, %d unknown or last known", r.all.n, len(r.all.lies), r.all.unknown)
}

func live(all map[string]product.Phone) map[string]product.Phone {
	maps.DeleteFunc(all, func(_ string, p product.Phone) bool { return p.Freshness != "live" || p.State == "unknown" })
	return all
}

// A verdict is the agent's word held against the truth once.
type verdict struct {
	states, causes matrix
	n, unknown     int
	truths         map[string]string // what a lie could be about, by phone, and by "owner of" it
	lies           map[string]lie
}

func newVerdict() verdict {
	return verdict{states: matrix{}, causes: matrix{}, truths: map[string]string{}, lies: map[string]lie{}}
}

func (v *verdict) add(w verdict) {
	v.states.add(w.states)
	v.causes.add(w.causes)
	v.unknown += w.unknown
	for about, l := range w.lies {
		v.lies[fmt.Sprint(v.n, " ", about)] = l
	}
	v.n += w.n
}

// look holds what is told now against the truth.
func (r *trial) look() verdict {
	r.t.Helper()
	v, people := newVerdict(), map[string]product.Document{}
	at, told := time.Now(), r.a.Phones()
	for _, d := range product.Get[[]product.Document](r.a, "/api/v1/presence") {
		people[d.Presentity] = d
	}
	truth, desks := r.b.Truth(), map[string][]desktop{}
	for _, p := range r.b.Phones() {
		owner := told[p.Name].Owner
		desks[owner] = append(desks[owner], desktop{p.Model, truth[p.Name]})
	}
	for _, p := range r.b.Phones() {
		is, said := desktop{p.Model, truth[p.Name]}, told[p.Name]
		word := said.State
		if said.Freshness != "live" {
			word = said.Freshness
		}
		if word != said.State || word == "unknown" {
			v.unknown++
		}
		v.n++
		v.states.count(r.row(is), word)
		v.causes.count(truthOfCause(is.State), said.Cause)
		v.truths[p.Name] = r.row(is)
		for _, d := range desks[said.Owner] {
			v.truths["owner of "+p.Name] += r.row(d) + " "
		}
		for about, l := range map[string]lie{p.Name: r.lieOf(is, said), "owner of " + p.Name: r.lieToOwner(people[said.Owner], desks[said.Owner])} {
			if l.text != "" {
				l.text = fmt.Sprintf("%s (%s): %s; truth %+v; told %s %s, %s %q\n\t%s", p.Name, p.Model, l.text, is.State,
					said.State, said.Freshness, said.Cause, said.Diagnosis, strings.Join(said.Because, "\n\t"))
				v.lies[about] = l
			}
		}
	}
	r.lies.note(at, v)
	return v
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
