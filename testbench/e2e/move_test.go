package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pilotlight/testbench/branch"
	"pilotlight/testbench/product"
)

// A phone moves to another port of its switch: it is the same phone at a new
// place, dark for as long as it boots and not a moment longer, and nowhere twice.
func TestAPhoneThatMovesIsFollowedToItsNewPort(t *testing.T) {
	for _, tc := range []struct{ name, story string }{
		{"idle", `
			told david idle Gi1/0/4
			move david Gi1/0/30
			wait 4s                        # it boots
			expect david idle
			told david idle Gi1/0/30 fine
			told emma idle Gi1/0/5
		`},
		{"in a call, which ends", `
			call alice david
			answer david
			told david in-use Gi1/0/4
			move david Gi1/0/30
			wait 4s                        # it boots
			expect david idle
			told david idle Gi1/0/30 fine
			told alice idle
		`},
		{"with its web access off", `
			web-off david
			move david Gi1/0/30
			wait 4s
			expect david idle
			told david idle Gi1/0/30 live
		`},
		{"back to where it was", `
			move david Gi1/0/30
			wait 4s
			expect david idle
			told david idle Gi1/0/30
			move david Gi1/0/4
			wait 4s
			expect david idle
			told david idle Gi1/0/4 fine
		`},
		{"and another takes its place", `
			move david Gi1/0/30
			wait 4s                        # it boots
			expect david idle
			move emma Gi1/0/4
			wait 4s
			expect emma idle
			told david idle Gi1/0/30 fine
			told emma idle Gi1/0/4 fine
		`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := tell(t, branch.Options{Phones: 12}, nil)
			before := s.a.Phones()[s.names["david"]]
			s.play(tc.story)
			s.steady()
			after := s.a.Phones()[s.names["david"]]
			if after.MAC != before.MAC || after.Owner != before.Owner || after.Address != before.Address {
				t.Errorf("before %+v\nafter %+v", before, after)
			}
			if all := s.a.Phones(); len(all) != 12 {
				t.Errorf("%d phones", len(all))
			}
			taken := map[string]string{}
			for _, d := range s.desks() {
				if other := taken[d.Port.Name]; other != "" {
					t.Errorf("%s and %s are both told at %s", d.Name, other, d.Port.Name)
				}
				taken[d.Port.Name] = d.Name
			}
		})
	}
}

// steady: while nothing happens, no phone's state is told anew. What was asked
// before, and is not answered yet, has its time first.
func (s *tale) steady() {
	s.t.Helper()
	time.Sleep(2 * pollInterval)
	s.mark()
	time.Sleep(2 * pollInterval)
	for who := range s.names {
		if events := s.history(who); len(events) > s.began[who] {
			s.t.Errorf("%s: %v, and nothing happened", who, events[s.began[who]:])
		}
	}
}

// Discovered phones, none listed: one that moves is found once.
func TestAFoundPhoneThatMovesIsStillOne(t *testing.T) {
	s := tell(t, branch.Options{Phones: 12}, func(b *branch.Branch, yaml string) string {
		head, rest, _ := strings.Cut(yaml, "\nphones:")
		_, rest, _ = strings.Cut(rest, "switches:")
		var nets []string
		for _, p := range b.Phones() {
			nets = append(nets, p.Address)
		}
		return head + "\ndiscovery: {allow: [" + strings.Join(nets, ", ") + "], depth: 2}\nswitches:" + rest
	})
	s.play(`
		told david idle Gi1/0/4
		move david Gi1/0/30
		wait 4s
		expect david idle
		told david idle Gi1/0/30 fine
	`)
	s.steady()
	if n := strings.Count(s.a.Log(), `"phone found, and asked"`); n != 12 {
		t.Errorf("found %d times", n)
	}
	names := []string{}
	for _, p := range product.Get[[]desk](s.a, "/api/v1/phones") {
		names = append(names, p.Name)
	}
	if len(slices.Compact(names)) != 12 {
		t.Errorf("%v", names)
	}
}
