package ledger

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"pilotlight/agent/presence"
)

// still is a ledger that is stepped by hand: nobody runs it.
func still(t testing.TB, path string) *Ledger {
	t.Helper()
	l, err := Open(Config{Path: path, Domain: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.disk.Close() })
	return l
}

func anyFacts(r *rapid.T) presence.Facts {
	number := rapid.SampledFrom([]string{"1001", "1002", "1003"})
	maybe := func(what string) bool { return rapid.IntRange(0, 2).Draw(r, what) == 0 }
	var f presence.Facts
	if maybe("identity") {
		f.Identity = &presence.Identity{Model: rapid.SampledFrom([]string{"", "CP-8845"}).Draw(r, "model"), Lines: rapid.SliceOfNDistinct(number, 0, 3, rapid.ID).Draw(r, "lines")}
	}
	if maybe("calls") {
		f.Calls = &presence.Calls{Exact: rapid.Bool().Draw(r, "exact")}
		for _, n := range rapid.SliceOfNDistinct(number, 0, 2, rapid.ID).Draw(r, "calls of") {
			f.Calls.Lines = append(f.Calls.Lines, presence.Line{Number: n, Elsewhere: rapid.Bool().Draw(r, "elsewhere"),
				State: rapid.SampledFrom([]presence.LineState{presence.LineIdle, presence.LineEarly, presence.LineConfirmed}).Draw(r, "state")})
		}
	}
	if maybe("reach") {
		f.Reach = &presence.Reach{Outcome: rapid.SampledFrom([]presence.ReachOutcome{presence.Answered, presence.Silent, presence.Refused}).Draw(r, "outcome"), Misses: rapid.IntRange(0, 4).Draw(r, "misses"), Via: "web"}
	}
	if maybe("power") {
		f.Power = &presence.Power{State: rapid.SampledFrom([]presence.PowerState{presence.PowerDelivering, presence.PowerDisabled}).Draw(r, "poe"), Known: true}
	}
	if maybe("port") {
		f.Port = &presence.Port{Switch: "sw1", Name: "Gi1/0/1", LinkKnown: true, LinkUp: rapid.Bool().Draw(r, "link"), Neighbour: rapid.Bool().Draw(r, "neighbour")}
	}
	return f
}

// observationsOf is a set of observations, each seen at a time of its own.
func observationsOf(base time.Time) *rapid.Generator[[]presence.Observation] {
	return rapid.Custom(func(r *rapid.T) []presence.Observation {
		all := make([]presence.Observation, rapid.IntRange(1, 25).Draw(r, "n"))
		for i := range all {
			o := &all[i]
			o.Seen, o.TTL = base.Add(time.Duration(i)*time.Millisecond), time.Minute
			switch rapid.IntRange(0, 5).Draw(r, "about") {
			case 0:
				o.Source, o.Of = rapid.SampledFrom([]string{"directory", "callmanager"}).Draw(r, "source"), rapid.SampledFrom([]presence.Presentity{"sip:alice@example.com", "sip:bob@example.com"}).Draw(r, "of")
				o.Person = &presence.Person{Name: string(o.Of), Devices: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"SEP1", "SEP2", "SEP3"}), 0, 2, rapid.ID).Draw(r, "devices"),
					Lines: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"1001", "1002", "1003"}), 0, 2, rapid.ID).Draw(r, "numbers")}
			case 1:
				o.Source, o.Of = "dialog/pbx", presence.At(rapid.SampledFrom([]string{"1001", "1002", "1003"}).Draw(r, "number"), "example.com")
				o.Calls = &presence.Calls{Exact: true, Lines: []presence.Line{{Number: o.Of.User(), State: rapid.SampledFrom([]presence.LineState{presence.LineIdle, presence.LineConfirmed}).Draw(r, "state")}}}
			default:
				o.Source, o.Device = rapid.SampledFrom([]string{"phone/web", "phone/sip", "lan/sw1"}).Draw(r, "source"), fmt.Sprint("SEP", rapid.IntRange(1, 3).Draw(r, "device"))
				o.Facts = anyFacts(r)
			}
		}
		return all
	})
}

func tell(t testing.TB, l *Ledger, now time.Time, all ...presence.Observation) {
	t.Helper()
	for _, o := range all {
		if err := l.observe(now, o); err != nil {
			t.Fatal(err)
		}
		l.settle(now) // after each: nothing may hang on what came together
	}
}

type board struct {
	Documents map[presence.Presentity]presence.Document
	Devices   map[string]presence.Device
}

// shows is all that a follower from the beginning would know now.
func shows(l *Ledger) board {
	b := board{map[presence.Presentity]presence.Document{}, map[string]presence.Device{}}
	for of, e := range l.entities {
		if e.known {
			b.Documents[of] = e.doc
		}
	}
	for name, d := range l.devices {
		if d.known {
			b.Devices[name] = d.now
		}
	}
	return b
}

// butOrder leaves out what the order of events may change.
var butOrder = cmp.Options{
	cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}),
	cmpopts.IgnoreFields(presence.Document{}, "Rev", "Since"), cmpopts.IgnoreFields(presence.Device{}, "Rev", "Since"),
}

func TestTheOrderOfArrivalAndDuplicatesChangeNothing(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		now := time.Now()
		all := observationsOf(now.Add(-time.Second)).Draw(r, "observations")
		a, b := still(t, filepath.Join(dir, fmt.Sprint("a", n))), still(t, filepath.Join(dir, fmt.Sprint("b", n)))
		tell(t, a, now, all...)
		shuffled := append(all[:len(all):len(all)], all[:rapid.IntRange(0, len(all)).Draw(r, "twice")]...)
		seed := rapid.Uint64().Draw(r, "seed")
		rand.New(rand.NewPCG(seed, seed)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		tell(t, b, now, shuffled...)
		if diff := cmp.Diff(shows(a), shows(b), butOrder); diff != "" {
			r.Fatalf("in order, and shuffled:\n%s", diff)
		}
		_, _ = a.disk.Close(), b.disk.Close()
	})
}

// Killed or closed at any commit, a ledger shows what it showed, as last known.
func TestARestartChangesFreshnessAlone(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint("before", n))
		now := time.Now()
		all := observationsOf(now.Add(-time.Second)).Draw(r, "observations")
		l := still(t, path)
		tell(t, l, now, all...)
		commit(t, l)
		after := rapid.IntRange(0, len(all)).Draw(r, "after") // told, and not written
		if rapid.Bool().Draw(r, "killed") {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			path = filepath.Join(dir, fmt.Sprint("killed", n))
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := sinces(l)
		want := asRestored(t, l, filepath.Join(dir, fmt.Sprint("reference", n)))
		tell(t, l, now, all[:after]...)
		if err := l.disk.Close(); err != nil {
			t.Fatal(err)
		}
		again := still(t, path)
		want.opened = again.opened
		want.settle(again.opened)
		if diff := cmp.Diff(shows(want), shows(again), butOrder, cmpopts.EquateApproxTime(time.Millisecond)); diff != "" {
			r.Fatalf("before, as last known, and after:\n%s", diff)
		}
		for key, was := range before {
			if is := sinces(again)[key]; is.word == was.word && !is.at.Equal(was.at.Truncate(time.Microsecond)) {
				r.Fatalf("%s is %s since %v, was since %v", key, is.word, is.at, was.at)
			}
		}
		again.restartedLive(r)
		_, _ = want.disk.Close(), again.disk.Close()
	})
}

// restartedLive holds that nothing restored is ever called live.
func (l *Ledger) restartedLive(r *rapid.T) {
	for name, d := range l.devices {
		if d.now.Freshness == presence.Live {
			r.Fatalf("%s is live after a restart", name)
		}
	}
	for of, e := range l.entities {
		if e.known && e.doc.Freshness == presence.Live {
			r.Fatalf("%s is live after a restart: %+v", of, e.doc)
		}
	}
}

func sinces(l *Ledger) map[string]sinceRecord {
	all := map[string]sinceRecord{}
	for name, d := range l.devices {
		all[sinceDevice+name] = d.since
	}
	for of, e := range l.entities {
		if e.known {
			all[sincePresentity+string(of)] = e.since
		}
	}
	return all
}

func commit(t testing.TB, l *Ledger) {
	t.Helper()
	l.saveRepeats()
	err := l.disk.Commit(l.next.mutations())
	if err != nil {
		t.Fatal(err)
	}
	l.renew()
}

// asRestored is a new ledger with the observations of l, none of them live.
func asRestored(t testing.TB, l *Ledger, path string) *Ledger {
	t.Helper()
	other := still(t, path)
	for _, d := range l.devices {
		for _, h := range d.seen {
			h.TTL, h.Seen, h.restored = neverLive, time.UnixMicro(h.Seen.UnixMicro()), true
			other.hold(h)
		}
	}
	for _, e := range l.entities {
		for _, h := range e.seen {
			h.TTL, h.Seen, h.restored = neverLive, time.UnixMicro(h.Seen.UnixMicro()), true
			other.hold(h)
		}
	}
	return other
}
