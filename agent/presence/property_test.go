package presence_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	. "pilotlight/agent/presence"
)

// A branch of one person with two phones and a line each, as several sources
// saw it at any time in the last two minutes.
func drawObservation(t *rapid.T, device string) Observation {
	o := Observation{
		Source: rapid.SampledFrom([]string{"phone/web", "phone/web-network", "phone/reach", "lan/sw1", "lan/sw2", "phone/sip"}).Draw(t, "source"),
		Device: device,
		Seen:   noon.Add(-time.Duration(rapid.IntRange(0, 120).Draw(t, "ago")) * time.Second),
		TTL:    time.Duration(rapid.SampledFrom([]int{0, 30, 60, 150}).Draw(t, "ttl")) * time.Second,
	}
	if rapid.Bool().Draw(t, "calls") {
		o.Calls = &Calls{Exact: rapid.Bool().Draw(t, "exact"), Lines: []Line{drawLine(t)}}
	}
	if rapid.Bool().Draw(t, "reach") {
		o.Reach = &Reach{Outcome: rapid.SampledFrom([]ReachOutcome{Answered, Refused, Garbled, Silent, Other}).Draw(t, "outcome"),
			Misses: rapid.IntRange(0, 5).Draw(t, "misses"), Via: rapid.SampledFrom([]string{"web", "sip"}).Draw(t, "via")}
	}
	if rapid.Bool().Draw(t, "port") {
		o.Port = &Port{Switch: "sw1", Name: "Gi1/0/3", LinkKnown: true, LinkUp: rapid.Bool().Draw(t, "up"), Neighbour: rapid.Bool().Draw(t, "neighbour"), Addressless: rapid.Bool().Draw(t, "addressless")}
		o.Power = &Power{State: rapid.SampledFrom([]PowerState{PowerDelivering, PowerSearching, PowerFault}).Draw(t, "power")}
	}
	if rapid.Bool().Draw(t, "registration") {
		o.Registration = &Registration{Registered: rapid.Bool().Draw(t, "registered")}
	}
	return o
}

func drawLine(t *rapid.T) Line {
	return Line{
		Number:   rapid.SampledFrom([]string{"1001", "1002"}).Draw(t, "number"),
		State:    rapid.SampledFrom([]LineState{LineIdle, LineEarly, LineConfirmed}).Draw(t, "line state"),
		Held:     rapid.Bool().Draw(t, "held"),
		Outgoing: rapid.Bool().Draw(t, "outgoing"),
	}
}

func drawDevice(t *rapid.T, name string) DeviceInput {
	in := DeviceInput{Name: name}
	for range rapid.IntRange(0, 5).Draw(t, "observations") {
		in.Own = append(in.Own, drawObservation(t, name))
	}
	for _, n := range []string{"1001", "1002"} {
		l := LineInput{Number: n, Shared: rapid.Bool().Draw(t, "shared")}
		for i := range rapid.IntRange(0, 2).Draw(t, "line observations") {
			l.Seen = append(l.Seen, Observation{Source: fmt.Sprint("dialog/", i), Of: At(n, "example.com"),
				Seen: noon.Add(-time.Duration(rapid.IntRange(0, 90).Draw(t, "ago")) * time.Second), TTL: time.Minute,
				Facts: Facts{Calls: &Calls{Exact: true, Lines: []Line{drawLine(t)}}}})
		}
		in.Lines = append(in.Lines, l)
	}
	return in
}

// latest keeps what a ledger would hold: the newest observation of each source,
// whatever the order in which they came, and however often.
func latest(obs []Observation) []Observation {
	by := map[Key]Observation{}
	for _, o := range obs {
		old, had := by[o.Key()]
		if !had || o.Seen.After(old.Seen) || o.Seen.Equal(old.Seen) && fmt.Sprintf("%+v", o) > fmt.Sprintf("%+v", old) {
			by[o.Key()] = o
		}
	}
	var all []Observation
	for _, o := range by {
		all = append(all, o)
	}
	return all
}

func TestOrderAndDuplicatesNeverShow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawDevice(t, "SEP1")
		in.Own = latest(in.Own)
		one, next := Fuse(in, noon)
		rand.Shuffle(len(in.Own), func(i, j int) { in.Own[i], in.Own[j] = in.Own[j], in.Own[i] })
		for i := range in.Lines {
			slices.Reverse(in.Lines[i].Seen)
		}
		two, nextTwo := Fuse(in, noon)
		if !SameDevice(one, two) || !next.Equal(nextTwo) {
			t.Fatalf("the order of arrival shows:\n%+v\n%+v", one, two)
		}
		if next.IsZero() {
			return
		}
		// Until the moment told, ageing changes nothing.
		if before, _ := Fuse(in, next.Add(-time.Nanosecond)); !SameDevice(one, before) {
			t.Fatalf("changed before %v:\n%+v\n%+v", next, one, before)
		}
	})
}

func TestPropertiesOfTheDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var devices []Device
		for i := range rapid.IntRange(0, 3).Draw(t, "phones") {
			d, _ := Fuse(drawDevice(t, fmt.Sprint("SEP", i)), noon)
			devices = append(devices, d)
		}
		doc, _ := Compose(Input{Of: alice, Kind: KindPerson, Devices: devices}, noon)
		slices.Reverse(devices)
		if again, _ := Compose(Input{Of: alice, Kind: KindPerson, Devices: devices}, noon); !SameDocument(doc, again) {
			t.Fatalf("the order of devices shows:\n%+v\n%+v", doc, again)
		}
		liveIdle, liveBusy, dark := false, false, 0
		for _, d := range devices {
			switch {
			case d.State == InUse || d.State == OnHold:
				liveBusy = liveBusy || d.Freshness == Live
			case d.State == Idle || d.State == Ringing:
				liveIdle = liveIdle || d.Freshness == Live
			case d.State != StateUnknown:
				dark++
			}
		}
		switch {
		case doc.Availability == Available && !liveIdle:
			t.Fatalf("available, and no live device is idle: %+v", devices)
		case liveBusy && doc.Availability != OnThePhone:
			t.Fatalf("a live call, and %s: %+v", doc.Availability, devices)
		case doc.Availability == Offline && dark != len(devices):
			t.Fatalf("offline, and %d of %d phones are dark: %+v", dark, len(devices), devices)
		case doc.Freshness == Live && doc.Availability == OnThePhone && !liveBusy:
			t.Fatalf("on the phone, and no live device is: %+v", devices)
		}
	})
}

// A shared line that is used elsewhere never makes the desk's owner busy.
func TestSharedLineUsedElsewhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := DeviceInput{Name: "SEP1", Own: []Observation{web(false, registered)}}
		l := drawLine(t)
		in.Lines = []LineInput{{Number: "1001", Shared: true, Seen: []Observation{{Source: "dialog/pbx", Of: "sip:1001@example.com",
			Seen: noon, TTL: time.Minute, Facts: Facts{Calls: &Calls{Exact: true, Lines: []Line{l}}}}}}}
		d, _ := Fuse(in, noon)
		doc, _ := Compose(Input{Of: alice, Devices: []Device{d}}, noon)
		if d.State != Idle || doc.Availability != Available {
			t.Fatalf("%+v makes the phone %s and its owner %s", l, d.State, doc.Availability)
		}
	})
}

func TestRoster(t *testing.T) {
	r := NewRoster("example.com")
	bob := At("bob", "example.com")
	r.SetDevice("SEP1", []string{"1001", "1900"})
	r.SetDevice("SEP2", []string{"1002", "1900"})
	r.SetDevice("SEP3", []string{})
	if kind, ok := r.KindOf("sip:SEP3@example.com"); !ok || kind != KindDevice {
		t.Errorf("a device without line or owner: %v %v", kind, ok)
	}
	r.SetPerson(alice, Person{Name: "Alice", Devices: []string{"SEP1"}})
	r.SetPerson(bob, Person{Name: "Bob", Devices: []string{"SEP2", "SEP3"}, Lines: []string{"1002", "1003"}})

	check := func(what string, got, want any) {
		t.Helper()
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	check("owner", r.Owner("SEP1"), alice)
	check("holder of a line on one phone", r.Holder("1001"), alice)
	check("holder of a line shared by two people", r.Holder("1900"), "")
	check("carriers", r.Carriers("1900"), []string{"SEP1", "SEP2"})
	check("a phone that has not told has its owner's lines", r.LinesOf("SEP3"), []string{"1002", "1003"})
	check("documents of a phone", r.OfDevice("SEP1"), []string{"sip:alice@example.com", "sip:1001@example.com", "sip:1900@example.com"})
	check("documents of an owned line", r.OfLine("1002"), []string{"sip:bob@example.com", "sip:1002@example.com", "sip:1003@example.com"})
	check("documents of a shared line", r.OfLine("1900"), []string{"sip:1900@example.com"})
	check("devices of a person", r.DevicesOf(bob), []string{"SEP2", "SEP3"})
	check("devices of a line", r.DevicesOf("sip:1900@example.com"), []string{"SEP1", "SEP2"})
	check("numbers", r.Numbers(), []string{"1001", "1002", "1003", "1900"})
	r.SetDevice("SEP9", []string{"1003"})
	check("owner of a phone that only its number names", r.Owner("SEP9"), bob)
	check("devices of a person, that one too", r.DevicesOf(bob), []string{"SEP2", "SEP3", "SEP9"})
	r.SetDevice("SEP9", nil)
	r.SetPerson(bob, Person{})
	check("holder after its owner left", r.Holder("1003"), "")
	if _, ok := r.KindOf(bob); ok {
		t.Error("a person who left is somebody")
	}
	r.SetLine("1777", true)
	if kind, _ := r.KindOf("sip:1777@example.com"); kind != KindLine {
		t.Error("a number that a call server names is nobody")
	}
	check("bare lines", r.BareLines("sip:1777@example.com", anyDevice), []string{"1777"})
}

// However a roster came to be what it is, it answers as one made at once.
func TestRosterForgetsHowItWasMade(t *testing.T) {
	devices := []string{"SEP1", "SEP2", "SEP3"}
	numbers := []string{"1001", "1002", "1003"}
	people := []Presentity{At("alice", "example.com"), At("bob", "example.com")}
	some := func(t *rapid.T, of []string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, len(of), rapid.ID).Draw(t, "some")
	}
	rapid.Check(t, func(t *rapid.T) {
		r := NewRoster("example.com")
		persons, told := map[Presentity]Person{}, map[string][]string{}
		for range rapid.IntRange(1, 12).Draw(t, "changes") {
			if rapid.Bool().Draw(t, "person") {
				p := rapid.SampledFrom(people).Draw(t, "who")
				persons[p] = Person{Devices: some(t, devices), Lines: some(t, numbers)}
				r.SetPerson(p, persons[p])
				continue
			}
			d := rapid.SampledFrom(devices).Draw(t, "device")
			if told[d] = some(t, numbers); rapid.Bool().Draw(t, "gone") {
				delete(told, d)
			}
			r.SetDevice(d, told[d])
		}
		fresh := NewRoster("example.com")
		for d, n := range told {
			fresh.SetDevice(d, n)
		}
		for p, is := range persons {
			fresh.SetPerson(p, is)
		}
		if got, want := rosterText(r, people, devices, numbers), rosterText(fresh, people, devices, numbers); got != want {
			t.Fatalf("after changes:\n%s\nmade at once:\n%s", got, want)
		}
	})
}

func rosterText(r *Roster, people []Presentity, devices, numbers []string) string {
	var b strings.Builder
	for _, d := range devices {
		fmt.Fprintln(&b, d, r.Owner(d), r.LinesOf(d), r.OfDevice(d))
	}
	for _, n := range numbers {
		fmt.Fprintln(&b, n, r.Holder(n), r.Carriers(n), r.OfLine(n), r.DevicesOf(r.LineOf(n)))
	}
	for _, p := range people {
		fmt.Fprintln(&b, p, r.DevicesOf(p), r.BareLines(p, anyDevice), r.OfPerson(p))
	}
	fmt.Fprintln(&b, r.Numbers())
	return b.String()
}

// checkDevices holds a rule for any device; four in ten have their web access off.
func checkDevices(t *testing.T, broken func(DeviceInput, Device) string) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		in := drawDevice(t, "SEP1")
		if rapid.IntRange(0, 9).Draw(t, "web") < 4 {
			in.Own = slices.DeleteFunc(in.Own, func(o Observation) bool { return strings.HasPrefix(o.Source, "phone/web") })
			in.Own = append(in.Own, Observation{Source: "phone/reach-web", Device: "SEP1", Seen: noon, TTL: time.Minute,
				Facts: Facts{Reach: &Reach{Outcome: Refused, Via: "web", Detail: "refuses web connections"}}})
		}
		in.Own = latest(in.Own)
		if d, _ := Fuse(in, noon); broken(in, d) != "" {
			t.Fatalf("%s:\n%+v\nof %+v", broken(in, d), d, in)
		}
	})
}

func anyDevice(string) bool { return true }
