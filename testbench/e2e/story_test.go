package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pilotlight/testbench/branch"
	"pilotlight/testbench/product"
)

// A desk is what the API tells of a phone, as far as stories look.
type desk struct {
	Name, State, Cause, Freshness string
	Lines                         []struct {
		Number, State string
		Elsewhere     bool
	}
	Port *struct{ Switch, Name, Link string }
}

// A tale is a branch, the agent beside it, and what happens there: a script in the
// branch's own words, and between them what the product must come to tell.
type tale struct {
	t     *testing.T
	b     *branch.Branch
	a     *product.Agent
	names map[string]string // of phones, by who sits there
	began map[string]int    // lengths of the phones' histories
}

// toldWithin is for the page that is read most seldom, that of the registration.
const toldWithin = 20 * time.Second

// tell starts a branch and an agent, and waits until all phones are known.
func tell(t *testing.T, o branch.Options, edit func(b *branch.Branch, yaml string) string) *tale {
	t.Helper()
	b, err := branch.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	yaml := string(b.Config("@DATA@", "@PANEL@"))
	if edit != nil {
		yaml = edit(b, yaml)
	}
	s := &tale{t: t, b: b, a: product.Start(t, product.Options{YAML: yaml}), names: map[string]string{}, began: map[string]int{}}
	phones := b.Phones()
	for _, p := range phones {
		who := p.User
		if who == "" {
			who = strings.ReplaceAll(strings.ToLower(p.DisplayName), " ", "-")
		}
		s.names[who] = p.Name
	}
	s.a.Until(30*time.Second, "every phone is known and idle", func() bool {
		return !slices.ContainsFunc(s.desks(), func(d desk) bool { return d.State != "idle" || d.Freshness != "live" }) && len(s.desks()) == len(phones)
	})
	s.mark()
	return s
}

// mark has histories begin here.
func (s *tale) mark() {
	s.t.Helper()
	for who := range s.names {
		s.began[who] = len(s.history(who))
	}
}

func (s *tale) desks() []desk { return product.Get[[]desk](s.a, "/api/v1/phones") }

func (s *tale) desk(who string) desk {
	s.t.Helper()
	if s.names[who] == "" {
		s.t.Fatalf("no phone of %q", who)
	}
	return product.Get[desk](s.a, "/api/v1/phones/"+s.names[who])
}

func (s *tale) history(who string) []struct{ From, To string } {
	s.t.Helper()
	return product.Get[[]struct{ From, To string }](s.a, "/api/v1/phones/"+s.names[who]+"/history")
}

// play obeys a script. To the branch's commands it adds
//
//	told PHONE WORD...             the product comes to say so: states, causes, elsewhere, Gi1/0/3, its line's state
//	line NUMBER WORD PHONE...      the line's presence is this, and lists these phones
//	presence USER WORD             the user's availability
//	history PHONE STATE...         all states that the product has told, in order, and no other
func (s *tale) play(script string) {
	s.t.Helper()
	n := 0
	for text := range strings.Lines(script) {
		n++
		text, _, _ = strings.Cut(text, "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		is := map[string]func([]string) string{"told": s.told, "line": s.line, "presence": s.presence, "history": s.past}[words[0]]
		if is == nil {
			if err := s.b.Play(s.t.Context(), text); err != nil {
				s.t.Fatalf("line %d: %v", n, err)
			}
			continue
		}
		instead := ""
		for end := time.Now().Add(toldWithin); ; time.Sleep(50 * time.Millisecond) {
			if instead = is(words[1:]); instead == "" {
				break
			}
			if time.Now().After(end) {
				s.t.Fatalf("line %d: %s\nnot within %v: %s", n, strings.TrimSpace(text), toldWithin, instead)
			}
		}
	}
}

// The following say what is told instead; nothing where it is as it should be.

func (s *tale) told(words []string) string {
	d := s.desk(words[0])
	has := []string{d.State, d.Cause, d.Freshness}
	for _, l := range d.Lines {
		if has = append(has, l.State); l.Elsewhere {
			has = append(has, "elsewhere")
		}
	}
	if d.Port != nil {
		has = append(has, d.Port.Name)
	}
	for _, w := range words[1:] {
		if not, found := strings.CutPrefix(w, "not-"); slices.Contains(has, not) == found {
			return fmt.Sprintf("%s is %s", words[0], strings.Join(has, " "))
		}
	}
	return ""
}

func (s *tale) line(words []string) string {
	d := s.a.Presence("sip:" + words[0] + "@example.com")
	var listed []string
	for _, p := range d.Devices {
		listed = append(listed, p.Name)
	}
	var want []string
	for _, who := range words[2:] {
		want = append(want, s.names[who])
	}
	slices.Sort(listed)
	slices.Sort(want)
	if d.Availability != words[1] || !slices.Equal(listed, want) {
		return fmt.Sprintf("%s with %v: %s", d.Availability, listed, strings.Join(d.Because, "; "))
	}
	return ""
}

func (s *tale) presence(words []string) string {
	if d := s.a.Presence(words[0]); d.Availability != words[1] || d.Freshness != "live" {
		return fmt.Sprintf("%s, %s: %s", d.Availability, d.Freshness, strings.Join(d.Because, "; "))
	}
	return ""
}

func (s *tale) past(words []string) string {
	var all []string
	events := s.history(words[0])
	for i, e := range events[min(s.began[words[0]], len(events)):] {
		if i == 0 {
			all = append(all, e.From)
		}
		all = append(all, e.To)
	}
	if len(all) == 0 {
		all = []string{s.desk(words[0]).State}
	}
	if !slices.Equal(all, words[1:]) {
		return strings.Join(all, " ")
	}
	return ""
}
