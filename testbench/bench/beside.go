package main

import (
	"fmt"
	"slices"
	"strings"
)

// row is one value that a run at one server gave.
type row struct {
	name  string
	value float64
	unit  string
	aim   float64
	count bool // summed over the rounds, and to be nothing
	free  bool // a count that may be anything
}

// inAll is the scenario of what is counted in all runs.
const inAll = "in all runs"

// findings are the values of both servers, by scenario and name, in the order
// in which they came first.
type findings struct {
	order []string
	by    map[string]*finding
}

type finding struct {
	scenario string
	row
	rounds [2]map[int]float64 // ours, theirs
}

func newFindings() *findings { return &findings{by: map[string]*finding{}} }

func (f *findings) take(side, round int, scenario string, is row) {
	key := scenario + "\n" + is.name
	one := f.by[key]
	if one == nil {
		one = &finding{scenario: scenario, row: is, rounds: [2]map[int]float64{{}, {}}}
		f.by[key] = one
		f.order = append(f.order, key)
	}
	if is.count {
		one.rounds[side][round] += is.value
		return
	}
	one.rounds[side][round] = is.value
}

// report gives medians over the rounds, and the ratios of those that belong
// together: of one round, in the same minute.
func (f *findings) report(r *report, peer string) {
	slices.SortStableFunc(f.order, func(a, b string) int { // what is of all runs comes last
		return strings.Count(f.by[a].scenario, inAll) - strings.Count(f.by[b].scenario, inAll)
	})
	for _, key := range f.order {
		one := f.by[key]
		if len(one.rounds[0]) == 0 {
			continue
		}
		is := figure{Scenario: one.scenario, Name: one.name, Unit: one.unit, Value: middle(one.rounds[0]), Beside: &beside{Name: peer, Value: middle(one.rounds[1])}}
		switch {
		case one.count:
			is.Value, is.Beside.Value = sum(one.rounds[0]), sum(one.rounds[1])
			if !one.free {
				is.Aim = new(float64)
			}
		default:
			is.Beside.Ratios = one.ratios()
			if one.aim > 0 {
				is.Aim = &one.aim
			}
		}
		r.figures = append(r.figures, is)
	}
}

// ratios are ours to theirs, from the least to the most.
func (f *finding) ratios() (all []float64) {
	for round, ours := range f.rounds[0] {
		if theirs := f.rounds[1][round]; theirs > 0 {
			all = append(all, ours/theirs)
		}
	}
	slices.Sort(all)
	return all
}

func middle(rounds map[int]float64) float64 {
	var all []float64
	for _, v := range rounds {
		all = append(all, v)
	}
	slices.Sort(all)
	return median(all)
}

// median of sorted values.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func sum(rounds map[int]float64) (s float64) {
	for _, v := range rounds {
		s += v
	}
	return s
}

// beside is what another program did with the same.
type beside struct {
	Name   string    `json:"name"`
	Value  float64   `json:"value"`
	Ratios []float64 `json:"ratios,omitempty"` // ours to theirs, round by round, sorted
}

// ratio is the median, and between what it lay. A difference holds only if all
// of that lies on one side of 1.
func (b *beside) ratio() string {
	switch n := len(b.Ratios); n {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("%.2f", b.Ratios[0])
	default:
		return fmt.Sprintf("%.2f [%.2f..%.2f]", median(b.Ratios), b.Ratios[0], b.Ratios[n-1])
	}
}

// besideTable is the figures that have another program's beside them.
func (r *report) besideTable() string {
	var b strings.Builder
	last := ""
	for _, f := range r.figures {
		if f.Beside == nil {
			continue
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, "\n| scenario | figure | Pilotlight | %s | ratio | aim | |\n|---|---|---:|---:|---:|---:|---|\n", f.Beside.Name)
		}
		scenario := f.Scenario
		if scenario == last {
			scenario = ""
		}
		last = f.Scenario
		aim, verdict := f.verdict()
		theirs := "–"
		if f.Beside.Value > 0 || f.Unit == "" {
			theirs = number(f.Beside.Value, f.Unit)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", scenario, f.Name, number(f.Value, f.Unit), theirs, f.Beside.ratio(), aim, verdict)
	}
	return b.String()
}
