package presence_test

import (
	"fmt"
	"testing"
	"time"

	. "pilotlight/agent/presence"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const alice = Presentity("sip:alice@example.com")

// A source of one availability, as a person or a device may be it.
type source struct {
	name string
	add  func(*Input)
	want Availability
}

func manual(a Availability) source {
	return source{"manual " + string(a), func(in *Input) {
		in.Said = append(in.Said, Standing{Of: alice, By: "alice", Manual: true, At: noon, Said: Said{Availability: a}})
	}, a}
}

func published(a Availability) source {
	return source{"published " + string(a), func(in *Input) {
		in.Said = append(in.Said, Standing{Of: alice, By: "client", ETag: "t" + ETag(a), At: noon, Said: Said{Availability: a}})
	}, a}
}

func phone(state DeviceState, want Availability) source {
	return source{"phone " + string(state), func(in *Input) {
		in.Devices = append(in.Devices, Device{Name: "SEP" + string(state), State: state, Freshness: Live, AsOf: noon})
	}, want}
}

// The contract's order, strongest first; those on one line are equally strong,
// and the first of them wins.
var order = [][]source{
	{manual(DoNotDisturb)},
	{manual(Offline), manual(OutOfOffice)},
	{phone(InUse, OnThePhone), phone(OnHold, OnThePhone), published(OnThePhone)},
	{published(InAMeeting), manual(InAMeeting)},
	{manual(Busy), manual(Away)},
	{published(DoNotDisturb)},
	{published(Busy)},
	{published(OutOfOffice)},
	{published(Away)},
	{manual(Available), phone(Idle, Available), phone(Ringing, Available), published(Available)},
	{published(Offline), phone(Unregistered, Offline), phone(Unreachable, Offline), phone(Unpowered, Offline)},
	{phone(StateUnknown, Unknown), published(Unknown)},
}

func isManual(s source) bool { return len(s.name) > 7 && s.name[:7] == "manual " }

func TestEveryPair(t *testing.T) {
	for i, strong := range order {
		for j, weak := range order[i:] {
			for _, a := range strong {
				for _, b := range weak {
					if isManual(a) && isManual(b) { // a person has one word
						continue
					}
					want := a.want
					switch {
					case j == 0 && isManual(b): // her own word goes first among equals
						want = b.want
					case a.want == Offline && b.name == "phone unknown" && !isManual(a) && a.name != "published offline":
						want = Unknown // another phone may be fine: nothing is known of it
					}
					for _, in := range []Input{pair(a, b), pair(b, a)} {
						d, _ := Compose(in, noon)
						if d.Availability != want {
							t.Errorf("%s with %s: %s, want %s", a.name, b.name, d.Availability, want)
						}
					}
				}
			}
		}
	}
}

func pair(a, b source) Input {
	in := Input{Of: alice, Kind: KindPerson}
	a.add(&in)
	b.add(&in)
	return in
}

func TestEachAlone(t *testing.T) {
	for _, row := range order {
		for _, s := range row {
			in := Input{Of: alice}
			s.add(&in)
			d, _ := Compose(in, noon)
			if d.Availability != s.want || d.Manual != isManual(s) {
				t.Errorf("%s: %s, manual %v", s.name, d.Availability, d.Manual)
			}
			if s.want != Unknown && len(d.Because) == 0 && s.name[:5] != "phone" {
				t.Errorf("%s: no because", s.name)
			}
		}
	}
	d, _ := Compose(Input{Of: alice}, noon)
	if d.Availability != Unknown || d.Freshness != NeverSeen {
		t.Errorf("nothing known: %s, %s", d.Availability, d.Freshness)
	}
}

func TestManualNeverHidesACallAndEndsInTime(t *testing.T) {
	in := pair(manual(Available), phone(InUse, OnThePhone))
	in.Said[0].Said.Note = "back at three"
	in.Said[0].Expires = noon.Add(time.Hour)
	d, next := Compose(in, noon)
	if d.Availability != OnThePhone || d.Manual || d.Note != "back at three" || !next.Equal(noon.Add(time.Hour)) {
		t.Errorf("%+v, next %v", d, next)
	}
	d, next = Compose(in, noon.Add(time.Hour))
	if d.Note != "" || !next.IsZero() {
		t.Errorf("after its end: %+v, next %v", d, next)
	}
}

func TestLastKnownNeverMakesAvailable(t *testing.T) {
	stale := func(s DeviceState) Device {
		return Device{Name: "SEP" + string(s), State: s, Freshness: LastKnown, AsOf: noon.Add(-time.Hour)}
	}
	for _, tc := range []struct {
		name    string
		devices []Device
		want    Availability
		fresh   Freshness
	}{
		{"idle long ago", []Device{stale(Idle)}, Unknown, LastKnown},
		{"on the phone long ago", []Device{stale(InUse)}, OnThePhone, LastKnown},
		{"busy long ago, another idle now", []Device{stale(InUse), {Name: "b", State: Idle, Freshness: Live, AsOf: noon}}, Available, Live},
		{"idle long ago, another dark now", []Device{stale(Idle), {Name: "b", State: Unpowered, Freshness: Live, AsOf: noon}}, Unknown, LastKnown},
	} {
		d, _ := Compose(Input{Of: alice, Devices: tc.devices}, noon)
		if d.Availability != tc.want || d.Freshness != tc.fresh {
			t.Errorf("%s: %s %s, want %s %s", tc.name, d.Availability, d.Freshness, tc.want, tc.fresh)
		}
	}
}

func TestCapabilities(t *testing.T) {
	live := Device{Name: "a", State: Idle, Freshness: Live, Abilities: Abilities{Audio: true, Video: true}, Messages: &Messages{Waiting: true, New: 2}}
	dark := live
	dark.State = Unreachable
	stale := live
	stale.Freshness = LastKnown
	for _, tc := range []struct {
		name string
		in   Input
		want Capabilities
	}{
		{"a phone that works", Input{Devices: []Device{live}}, Capabilities{Abilities{Audio: true, Video: true}, 2}},
		{"one that answers, though nobody tells of its calls", Input{Devices: []Device{{Name: "a", State: StateUnknown, Freshness: Live, Abilities: Abilities{Audio: true}}}}, Capabilities{Abilities: Abilities{Audio: true}}},
		{"a dark one", Input{Devices: []Device{dark}}, Capabilities{VoiceMessages: 2}},
		{"one that nobody vouches for", Input{Devices: []Device{stale}}, Capabilities{VoiceMessages: 2}},
		{"who says offline", Input{Devices: []Device{live}, Said: []Standing{{Manual: true, Said: Said{Availability: Offline}}}}, Capabilities{VoiceMessages: 2}},
		{"a client", Input{Said: []Standing{{Said: Said{Availability: Available, Abilities: &Abilities{IM: true}}}}}, Capabilities{Abilities: Abilities{IM: true}}},
	} {
		if d, _ := Compose(tc.in, noon); d.Capabilities != tc.want {
			t.Errorf("%s: %+v", tc.name, d.Capabilities)
		}
	}
}

func TestBareLine(t *testing.T) {
	at := func(l Line, ttl time.Duration) Input {
		return Input{Of: alice, Kind: KindPerson, Bare: []LineInput{{Number: "1001", Seen: []Observation{{
			Source: "dialog/pbx", Of: "sip:1001@example.com", Seen: noon, TTL: ttl, Facts: Facts{Calls: &Calls{Exact: true, Lines: []Line{l}}}}}}}}
	}
	for _, tc := range []struct {
		line Line
		want Availability
	}{
		{Line{State: LineConfirmed}, OnThePhone},
		{Line{State: LineConfirmed, Held: true}, OnThePhone},
		{Line{State: LineEarly}, Available},
		{Line{State: LineEarly, Outgoing: true}, OnThePhone},
		{Line{State: LineIdle}, Available},
	} {
		d, next := Compose(at(tc.line, time.Minute), noon)
		if d.Availability != tc.want || !next.Equal(noon.Add(time.Minute)) {
			t.Errorf("%+v: %s, next %v", tc.line, d.Availability, next)
		}
	}
	if d, _ := Compose(at(Line{State: LineIdle}, 0), noon); d.Availability != Unknown || d.Freshness != LastKnown {
		t.Errorf("after its time: %s %s", d.Availability, d.Freshness)
	}
}

func TestParsePresentity(t *testing.T) {
	for in, want := range map[string]string{
		"sip:alice@Example.COM":                     "sip:alice@example.com",
		"SIPS:alice@example.com:5061;transport=tcp": "sip:alice@example.com",
		"pres:alice@example.com":                    "sip:alice@example.com",
		"sip:Alice:secret@example.com?x=y":          "sip:Alice@example.com",
		"sip:1001@[2001:db8::1]:5060":               "sip:1001@[2001:db8::1]",
		"alice@example.com":                         "",
		"sip:example.com":                           "",
		"sip:@example.com":                          "",
		"tel:+33123":                                "",
		"sip:a b@example.com":                       "",
		"sip:<a>@example.com":                       "",
		"":                                          "",
	} {
		got, err := ParsePresentity(in)
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", in, got, err)
		}
	}
	if p := At("1001", "Example.com"); p.User() != "1001" || p.Domain() != "example.com" {
		t.Error(p)
	}
}

func TestRev(t *testing.T) {
	r := Rev{3, 1042}
	if got, err := ParseRev(r.String()); err != nil || got != r {
		t.Error(got, err)
	}
	if _, err := ParseRev("3"); err == nil {
		t.Error("half a revision parsed")
	}
	if (Rev{2, 9}).Compare(r) >= 0 || (Rev{3, 1043}).Compare(r) <= 0 {
		t.Error("the epoch goes before the sequence")
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{-1: "0s", 3 * time.Second: "3s", 5 * time.Minute: "5m", 3 * time.Hour: "3h", 72 * time.Hour: "3d"} {
		if got := Age(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	e := Evidence{"phone/web", "SEP0011AABBCCDD line 1001 audio flows", noon, false}
	if got, want := e.Text(noon.Add(2*time.Second)), "phone/web SEP0011AABBCCDD line 1001 audio flows 2s ago (last known)"; got != want {
		t.Error(got)
	}
	if s := fmt.Sprint(Line{Number: "1001", State: LineConfirmed, Held: true}); s != "line 1001 on hold" {
		t.Error(s)
	}
}

func FuzzParsePresentity(f *testing.F) {
	f.Add("sip:alice@example.com;x=y")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePresentity(s)
		if err != nil {
			return
		}
		again, err := ParsePresentity(string(p))
		if err != nil || again != p {
			t.Errorf("%q → %q → %q %v", s, p, again, err)
		}
	})
}
