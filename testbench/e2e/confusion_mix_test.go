package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pilotlight/testbench/branch"
)

// A fate is what happens to a phone in a round, beside its calls.
type fate string

const (
	nothing    fate = "nothing"
	unplugged  fate = "unplugged"
	frozen     fate = "frozen"
	noAddress  fate = "without address"
	onSRST     fate = "on SRST"
	registered fate = "registered nowhere"
	paged      fate = "paged"
	webBlinks  fate = "web off and on"
)

// fates with their weights in a hundred.
var fates = []struct {
	fate
	weight int
}{{nothing, 50}, {unplugged, 10}, {noAddress, 5}, {frozen, 7}, {onSRST, 10}, {registered, 7}, {paged, 5}, {webBlinks, 6}}

const webDisabledShare = 0.4

// mix is one random state of the whole branch. The one before is not undone
// first: phones go from anything to anything.
type mix struct {
	b      *branch.Branch
	draw   *rand.Rand
	phones []branch.Phone
	fates  []fate
	webOff []bool
}

func newMix(b *branch.Branch, draw *rand.Rand) *mix {
	m := &mix{b: b, draw: draw, phones: b.Phones()}
	for range m.phones {
		n := draw.IntN(100)
		for _, f := range fates {
			if n -= f.weight; n < 0 {
				m.fates = append(m.fates, f.fate)
				break
			}
		}
		m.webOff = append(m.webOff, draw.Float64() < webDisabledShare)
	}
	return m
}

// String counts the fates.
func (m *mix) String() string {
	n := map[fate]int{}
	for _, f := range m.fates {
		n[f]++
	}
	var all []string
	for _, f := range slices.Sorted(maps.Keys(n)) {
		all = append(all, fmt.Sprintf("%d %s", n[f], f))
	}
	off := 0
	for _, is := range m.webOff {
		if is {
			off++
		}
	}
	return fmt.Sprintf("%s; %d with web access off", strings.Join(all, ", "), off)
}

// play makes the branch be so: whoever was dark comes back first, then there
// are calls, and then the fates strike, in calls and out of them.
func (m *mix) play(t *testing.T) {
	t.Helper()
	truth := m.b.Truth()
	for i, p := range m.phones {
		was := truth[p.Name]
		if was.Doing != branch.Idle && m.draw.IntN(2) == 0 {
			_ = m.b.Hangup(p.Name) // the other side may have done it
		}
		if was.Unplugged && m.fates[i] != unplugged || was.NoAddress {
			check(t, m.b.Plug(p.Name))
		}
		if was.Frozen && m.fates[i] != frozen {
			check(t, m.b.Thaw(p.Name))
		}
		if was.Registration != branch.WithCallServer {
			check(t, m.b.Register(p.Name))
		}
	}
	m.calls()
	truth = m.b.Truth()
	for i, p := range m.phones {
		check(t, m.b.WebDisabled(p.Name, m.webOff[i] || m.fates[i] == webBlinks))
		switch m.fates[i] {
		case unplugged:
			if !truth[p.Name].Unplugged {
				check(t, m.b.Unplug(p.Name))
			}
		case noAddress:
			if !truth[p.Name].Booting {
				check(t, m.b.NoAddress(p.Name))
			}
		case frozen:
			check(t, m.b.Freeze(p.Name))
		case onSRST:
			check(t, m.b.ToSRST(p.Name))
		case registered:
			check(t, m.b.Unregister(p.Name))
		case webBlinks:
			check(t, m.b.WebDisabled(p.Name, m.webOff[i]))
		}
	}
}

// talk has about half of the phones call each other, so that calls of the mix follow others.
func (m *mix) talk() {
	for i := 0; i+1 < len(m.phones); i += 2 {
		if from, to := m.phones[i].Name, m.phones[i+1].Name; m.draw.IntN(2) == 0 && m.b.Call(from, to) == nil {
			_ = m.b.Answer(to) // it rings
		}
	}
}

// calls lets about half of those that can be called: a third ring, some are on hold.
// Where one follows another its audio may be on the second stream (branch/README.md).
func (m *mix) calls() {
	order := m.draw.Perm(len(m.phones))
	for i := 0; i+1 < len(order)/2; i += 2 {
		from, to := m.phones[order[i]].Name, m.phones[order[i+1]].Name
		if m.b.Call(from, to) != nil { // one of them boots, or talks still
			continue
		}
		if m.draw.IntN(3) == 0 {
			continue
		}
		if m.b.Answer(to) == nil && m.draw.IntN(3) == 0 {
			_ = m.b.Hold([]string{from, to}[m.draw.IntN(2)]) // it is answered: it can be held
		}
	}
}

// page plays a page on those whose fate it is, if they can hear it.
func (m *mix) page() {
	for i, p := range m.phones {
		if m.fates[i] == paged {
			_ = m.b.Page(p.Name)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
