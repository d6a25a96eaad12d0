package e2e

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pilotlight/testbench/branch"
)

// withKeys are phones that show their keys to the user that they are associated
// with, and multiplatform ones, whose status tells as much.
var withKeys = regexp.MustCompile(`^CP-(78|88|99)|^SPA|^ATA`)

// keysAlone is a branch whose call server tells of nothing, and an agent that
// knows the phones' user: ringing and hold are on the phones' own pages, or nowhere.
// Before is a script of what happens before the agent starts.
func keysAlone(t *testing.T, phones int, seed uint64, before string) *tale {
	t.Helper()
	o := branch.Options{Phones: phones, Seed: seed, PhoneUser: phoneUser, PhonePassword: phonePassword}
	return tell(t, o, func(b *branch.Branch, yaml string) string {
		check(t, b.Play(t.Context(), before))
		return withoutCallServer(t, withPassword(t, b, yaml))
	})
}

const phoneUser, phonePassword = "pilot", "flight & more"

// withPassword writes the phones' password where the configuration then finds it.
func withPassword(t *testing.T, b *branch.Branch, yaml string) string {
	t.Helper()
	dir := t.TempDir()
	check(t, b.WritePassword(dir))
	return strings.Replace(yaml, fmt.Sprintf("%q", branch.PasswordFile), fmt.Sprintf("%q", filepath.Join(dir, branch.PasswordFile)), 1)
}

func withoutCallServer(t *testing.T, yaml string) string {
	t.Helper()
	head, rest, found := strings.Cut(yaml, "call_managers:")
	if !found {
		t.Fatal("no call_managers to leave out")
	}
	_, rest, _ = strings.Cut(rest, "uplinks:")
	return head + "uplinks:" + rest
}

// gentle: no phone was asked for what crashes it, nor in two ways at once.
func (s *tale) gentle() {
	s.t.Helper()
	for who, name := range s.names {
		load, err := s.b.Load(name)
		if err != nil || load.Crashed > 0 || load.Peak > 1 || load.Requests == 0 {
			s.t.Errorf("%s (%s): %+v, %v", who, name, load, err)
		}
	}
}

// asked is how often a phone was asked for pages of a name.
func (s *tale) asked(who, page string) (n int) {
	s.t.Helper()
	load, err := s.b.Load(s.names[who])
	check(s.t, err)
	for path, times := range load.ByPath {
		if strings.Contains(path, page) {
			n += times
		}
	}
	return n
}

// The phones' keys alone tell of ringing, hold, and a line that another phone has.
func TestKeysTellWhatNoCallServerTells(t *testing.T) {
	// Of the two 8821, Nadia's keeps the old firmware.
	s := keysAlone(t, 30, 1, "firmware kitchen-3 sip8821.11-0-6SR4-1")
	s.play(`
		call alice bob
		told bob ringing
		told alice in-use                        # the dialling phone's key says so, without any audio
		answer bob
		told bob in-use
		hold bob
		told bob on-hold
		told alice in-use
		resume bob
		told bob in-use
		transfer bob carol
		told bob idle
		told carol ringing                       # in French
		hangup alice
		told carol idle
		told alice idle

		call hugo david                          # a multiplatform phone calls the shared line
		told david ringing
		told front-desk ringing
		told hugo in-use
		answer front-desk
		told front-desk in-use not-elsewhere
		told david idle elsewhere
		hangup hugo
		told front-desk idle
		told david idle not-elsewhere

		call nadia kitchen-3
		told kitchen-3 ringing
		answer kitchen-3
		told nadia in-use
		told kitchen-3 in-use fine
		srst nadia kitchen-3                     # both keep the call, and show a word that is not known
		told nadia srst in-use
		told kitchen-3 srst in-use
		wait 4s
		hangup nadia
		told nadia idle
		told kitchen-3 idle

		history alice idle in-use idle
		history bob idle ringing in-use on-hold in-use idle
		history david idle ringing idle
		history nadia idle in-use idle
		history kitchen-3 idle ringing in-use idle
	`)
	s.gentle()
	for _, of := range []struct {
		who, page string
		asked     bool
	}{
		{"alice", "LineInfo", true}, {"alice", "ModeInfo", true}, {"emma", "LineInfo", false}, // a 7962 has none
		{"nadia", "LineInfo", true}, {"nadia", "CallInfo", false}, {"kitchen-3", "/CGI/CallInfo1", true},
	} {
		if n := s.asked(of.who, of.page); of.asked != (n > 0) {
			t.Errorf("%s was asked %d times for %s", of.who, n, of.page)
		}
	}
}

// Random mixes of what can happen, without any call server's word: where a phone
// shows its keys, and its pages are open, it is told exactly as it is.
func TestMixesThatOnlyTheKeysTell(t *testing.T) {
	seed := *mixSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed: again by go test ./testbench/e2e -run %s -mix %d", t.Name(), seed)
	s := keysAlone(t, 48, seed, "")
	draw := rand.New(rand.NewPCG(seed, 5))
	for round := range 2 {
		m := newMix(s.b, draw)
		m.play(t)
		exact, wrong := 0, []string{}
		settled := time.Now()
		for end := settled.Add(settleWithin); time.Now().Before(end) && time.Since(settled) < settledFor; time.Sleep(200 * time.Millisecond) {
			if exact, wrong = s.wrong(); len(wrong) > 0 {
				settled = time.Now()
			}
		}
		for _, w := range wrong {
			t.Errorf("round %d: %s", round+1, w)
		}
		t.Logf("round %d: %s; %d phones told exactly as they are", round+1, m, exact)
	}
	s.gentle()
}

// wrong holds what is told of each phone against the truth, as far as its keys tell it.
func (s *tale) wrong() (exact int, wrong []string) {
	told, truth := map[string]desk{}, s.b.Truth()
	for _, d := range s.desks() {
		told[d.Name] = d
	}
	for _, p := range s.b.Phones() {
		is, said := truth[p.Name], told[p.Name]
		word := is.Word()
		switch {
		case isUp(word) && said.Freshness == "live" && slices.Contains([]string{"unreachable", "unpowered", "unregistered"}, said.State):
		case is.WebDisabled || !withKeys.MatchString(p.Model): // nobody can know all of them
			continue
		case said.State == word && said.Freshness == "live":
			exact++
			continue
		case !isUp(word) && said.State != "idle" && !isUp(said.State): // dark, by a word that says less
			continue
		}
		wrong = append(wrong, fmt.Sprintf("%s (%s): truth %+v; told %s, %s, %s", p.Name, p.Model, is, said.State, said.Freshness, said.Cause))
	}
	slices.Sort(wrong)
	return exact, wrong
}
