package presence_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	. "pilotlight/agent/presence"
)

const sep = "SEP0011AABBCCDD"

// Shorthands for what a source saw, ago before noon.
func saw(source string, ago time.Duration, f Facts) Observation {
	return Observation{Source: source, Device: sep, Seen: noon.Add(-ago), TTL: time.Minute, Facts: f}
}

func web(active bool, f Facts) Observation {
	f.Calls = &Calls{Lines: []Line{{Number: "1001", State: LineIdle}}}
	if active {
		f.Calls.Lines[0].State = LineConfirmed
	}
	f.Reach = &Reach{Outcome: Answered, Via: "web"}
	return saw("phone/web", 2*time.Second, f)
}

func missed(n int) Observation {
	return saw("phone/reach", time.Second, Facts{Reach: &Reach{Outcome: Silent, Misses: n, Via: "web"}})
}

func port(up, neighbour bool, power PowerState) Observation {
	return saw("lan/sw1", time.Second, Facts{
		Port:  &Port{Switch: "sw1", Name: "Gi1/0/3", LinkUp: up, LinkKnown: true, Neighbour: neighbour},
		Power: &Power{State: power},
	})
}

func dialog(l Line) LineInput {
	return LineInput{Number: "1001", Seen: []Observation{{Source: "dialog/pbx", Of: "sip:1001@example.com", Seen: noon, TTL: time.Hour,
		Facts: Facts{Calls: &Calls{Exact: true, Lines: []Line{l}}}}}}
}

var registered = Facts{Registration: &Registration{Registered: true, Server: "10.0.0.5"}}

func TestFuse(t *testing.T) {
	here := netip.MustParseAddr("10.1.1.20")
	at := saw("config", 0, Facts{Identity: &Identity{Address: here}})
	old := func(o Observation) Observation { o.Seen = noon.Add(-time.Hour); return o }
	there := []netip.Addr{netip.MustParseAddr("10.1.1.21")}
	apart := func(all ...Line) LineInput {
		in := dialog(Line{})
		in.Shared, in.Seen[0].Calls.Lines = true, all
		return in
	}
	shared := func(l Line) LineInput { return apart(l) }
	for _, tc := range []struct {
		name  string
		own   []Observation
		lines []LineInput
		state DeviceState
		fresh Freshness
		says  string // part of the diagnosis
	}{
		{"never seen", nil, nil, StateUnknown, NeverSeen, "not seen yet"},
		{"no audio flows", []Observation{web(false, registered)}, nil, Idle, Live, ""},
		{"audio flows", []Observation{web(true, registered)}, nil, InUse, Live, ""},
		{"nobody asked for an hour", []Observation{old(web(true, registered))}, nil, InUse, LastKnown, ""},
		{"two lines, both told long ago, the busy one earlier", nil, []LineInput{
			{Number: "1001", Seen: []Observation{{Source: "dialog/pbx", Of: "sip:1001@example.com", Seen: noon.Add(-3 * time.Minute), TTL: time.Minute, Facts: Facts{Calls: &Calls{Exact: true, Lines: []Line{{State: LineConfirmed}}}}}}},
			{Number: "1002", Seen: []Observation{{Source: "dialog/pbx", Of: "sip:1002@example.com", Seen: noon.Add(-2 * time.Minute), TTL: time.Minute, Facts: Facts{Calls: &Calls{Exact: true, Lines: []Line{{State: LineIdle}}}}}}},
		}, InUse, LastKnown, ""},
		{"busy long ago, idle a little later", []Observation{old(web(false, registered))}, []LineInput{
			{Number: "1001", Seen: []Observation{{Source: "dialog/pbx", Of: "sip:1001@example.com", Seen: noon.Add(-2 * time.Hour), TTL: time.Minute, Facts: Facts{Calls: &Calls{Exact: true, Lines: []Line{{State: LineConfirmed}}}}}}},
		}, Idle, LastKnown, ""},
		{"rings, which streams cannot see", []Observation{web(false, registered)}, []LineInput{dialog(Line{State: LineEarly})}, Ringing, Live, ""},
		{"dialling", []Observation{web(false, registered)}, []LineInput{dialog(Line{State: LineEarly, Outgoing: true})}, InUse, Live, ""},
		{"on hold", []Observation{web(false, registered)}, []LineInput{dialog(Line{State: LineConfirmed, Held: true})}, OnHold, Live, ""},
		{"a page is no call", []Observation{web(true, registered)}, []LineInput{dialog(Line{State: LineIdle})}, Idle, Live, ""},
		{"a shared line used elsewhere", []Observation{web(false, registered)}, []LineInput{shared(Line{State: LineConfirmed})}, Idle, Live, ""},
		{"a shared line used elsewhere, and ringing here", []Observation{web(false, registered), at}, []LineInput{apart(Line{State: LineConfirmed, Sites: there}, Line{State: LineEarly, Sites: []netip.Addr{here}})}, Ringing, Live, ""},
		{"a shared line ringing elsewhere, and held here", []Observation{web(false, registered), at}, []LineInput{apart(Line{State: LineConfirmed, Held: true, Sites: []netip.Addr{here}}, Line{State: LineEarly, Sites: there})}, OnHold, Live, ""},
		{"a shared line used on two other phones", []Observation{web(false, registered), at}, []LineInput{apart(Line{State: LineConfirmed, Sites: there}, Line{State: LineEarly})}, Idle, Live, ""},
		{"a shared line used here", []Observation{web(false, registered), at}, []LineInput{shared(Line{State: LineConfirmed, Sites: []netip.Addr{here}})}, InUse, Live, ""},
		{"two lines, one told by a call server", []Observation{web(true, registered)}, []LineInput{dialog(Line{State: LineIdle}), {Number: "1002"}}, InUse, Live, ""},
		{"one missed poll", []Observation{web(false, registered), missed(1)}, nil, Idle, Live, ""},
		{"three missed polls", []Observation{web(false, registered), missed(3)}, nil, Unreachable, Live, "answers no poll"},
		{"three missed polls, linked", []Observation{web(false, registered), missed(3), port(true, true, PowerDelivering)}, nil, Unreachable, Live, "has link: hung"},
		{"one missed poll and a dead port", []Observation{web(false, registered), missed(1), port(false, false, PowerDelivering)}, nil, Unreachable, Live, "sw1 Gi1/0/3 has no link"},
		{"one missed poll, no link, no power", []Observation{web(false, registered), missed(1), port(false, false, PowerSearching)}, nil, Unpowered, Live, "delivers no power"},
		{"no link, but it answers", []Observation{web(false, registered), port(false, false, PowerSearching)}, nil, Idle, Live, ""},
		{"moved to another port", []Observation{web(false, registered), missed(1), port(false, false, PowerSearching),
			saw("lan/sw2", time.Second, Facts{Port: &Port{Switch: "sw2", Name: "Gi2/0/9", LinkUp: true, LinkKnown: true, Neighbour: true}})}, nil, Idle, Live, ""},
		{"never reached, no link", []Observation{port(false, false, PowerSearching)}, nil, Unpowered, Live, "delivers no power"},
		{"never reached, linked", []Observation{port(true, true, PowerDelivering)}, nil, StateUnknown, Live, "plugged in at sw1 Gi1/0/3"},
		{"port switched off", []Observation{missed(1), saw("lan/sw1", 0, Facts{Port: &Port{Switch: "sw1", Name: "Gi1/0/3", LinkKnown: true, AdminDown: true}})}, nil, Unreachable, Live, "switched off"},
		{"web access off", []Observation{saw("phone/web", 0, Facts{Reach: &Reach{Outcome: Refused, Via: "web", Detail: "web access is off"}}), port(true, true, PowerDelivering)}, nil, StateUnknown, Live, "web access is off"},
		{"web access off, the call server knows", []Observation{saw("phone/web", 0, Facts{Reach: &Reach{Outcome: Refused, Via: "web", Detail: "web access is off"}})}, []LineInput{dialog(Line{State: LineConfirmed})}, InUse, Live, "web access is off"},
		{"registered nowhere", []Observation{web(false, Facts{Registration: &Registration{}})}, nil, Unregistered, Live, "no call server"},
		{"registered nowhere, and on a call", []Observation{web(true, Facts{Registration: &Registration{}})}, nil, InUse, Live, "registered with no call server"},
		{"on the survivable router", []Observation{web(false, Facts{Registration: &Registration{Registered: true, Server: "10.1.1.1", Survivable: true}})}, nil, Idle, Live, "survivable"},
		{"its web page hangs during a call", []Observation{missed(3), port(true, true, PowerDelivering)}, []LineInput{dialog(Line{State: LineConfirmed})}, InUse, Live, "does not answer"},
		{"unplugged during a call", []Observation{missed(1), port(false, false, PowerSearching)}, []LineInput{dialog(Line{State: LineConfirmed})}, Unpowered, Live, "no link"},
		{"unpowered when last seen", []Observation{old(web(false, registered)), old(missed(3)), old(port(false, false, PowerSearching))}, nil, Unpowered, LastKnown, "delivers no power"},
		{"unpowered when last seen, and no call at the call server", []Observation{old(web(false, registered)), old(missed(3)), old(port(false, false, PowerSearching))}, []LineInput{dialog(Line{State: LineIdle})}, Unpowered, LastKnown, "delivers no power"},
		{"unpowered when last seen, and on a call now", []Observation{old(missed(3)), old(port(false, false, PowerSearching))}, []LineInput{dialog(Line{State: LineConfirmed})}, InUse, Live, ""},
		{"unpowered when last seen, linked now", []Observation{old(web(false, registered)), old(missed(3)), old(port(false, false, PowerSearching)), port(true, true, PowerDelivering)}, nil, Idle, LastKnown, ""},
		{"unregistered when last seen", []Observation{old(web(false, Facts{Registration: &Registration{}}))}, nil, Unregistered, LastKnown, "no call server"},
		{"unregistered when last seen, linked now", []Observation{old(web(false, Facts{Registration: &Registration{}})), port(true, true, PowerDelivering)}, nil, Unregistered, LastKnown, "no call server"},
		{"answers OPTIONS, and no more is known", []Observation{saw("phone/sip", 0, Facts{Reach: &Reach{Outcome: Answered, Via: "sip", Detail: "answers OPTIONS within 5 ms"}, Abilities: &Abilities{Audio: true}})}, nil, StateUnknown, Live, "no source tells of its calls"},
		{"half a page", []Observation{saw("phone/web", 0, Facts{Reach: &Reach{Outcome: Garbled, Via: "web", Detail: "half a page"}})}, nil, StateUnknown, Live, "half a page"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := DeviceInput{Name: sep, Own: tc.own, Lines: tc.lines}
			d, _ := Fuse(in, noon)
			if d.State != tc.state || d.Freshness != tc.fresh || !strings.Contains(d.Diagnosis, tc.says) || tc.says == "" && d.Diagnosis != "" {
				t.Errorf("%s %s %q, want %s %s %q", d.State, d.Freshness, d.Diagnosis, tc.state, tc.fresh, tc.says)
			}
			if len(tc.own) > 0 && len(d.Because) == 0 {
				t.Error("no because")
			}
			slices.Reverse(in.Own)
			if again, _ := Fuse(in, noon); !SameDevice(d, again) {
				t.Errorf("the order of arrival shows:\n%+v\n%+v", d, again)
			}
		})
	}
}

func TestFuseTellsWhenItAges(t *testing.T) {
	in := DeviceInput{Name: sep, Own: []Observation{web(true, registered), missed(1)}}
	_, next := Fuse(in, noon)
	if want := noon.Add(58 * time.Second); !next.Equal(want) {
		t.Errorf("next change %v, want %v", next, want)
	}
	if d, _ := Fuse(in, next); d.Freshness != LastKnown {
		t.Errorf("then: %s", d.Freshness)
	}
	in.Own = []Observation{{Source: "config", Device: sep, Seen: noon, TTL: Forever}}
	if _, next := Fuse(in, noon); !next.IsZero() {
		t.Errorf("configuration ages at %v", next)
	}
}

func TestFuseMergesWhatSourcesKnow(t *testing.T) {
	d, _ := Fuse(DeviceInput{Name: sep, Own: []Observation{
		saw("phone/web", time.Second, Facts{Identity: &Identity{Model: "CP-8841", Serial: "FCH1"}, Abilities: &Abilities{Audio: true}}),
		saw("lan/sw1", 2*time.Second, Facts{Identity: &Identity{Model: "Cisco IP Phone 8841", MAC: "0011AABBCCDD"}, Power: &Power{PowerDelivering, 6.3, true}}),
		saw("phone/sip", time.Hour, Facts{Abilities: &Abilities{Video: true}}),
	}}, noon)
	want := Identity{Model: "CP-8841", Serial: "FCH1", MAC: "0011AABBCCDD"}
	if !(d.Identity.Model == want.Model && d.Identity.Serial == want.Serial && d.Identity.MAC == want.MAC) || d.Power.Watts != 6.3 {
		t.Errorf("%+v %+v", d.Identity, d.Power)
	}
	if d.Abilities != (Abilities{Audio: true}) {
		t.Errorf("abilities nobody vouches for any more: %+v", d.Abilities)
	}
}

// Two sources name one model differently: who spoke last must not matter, or
// each poll would be news.
func TestIdentityDoesNotTakeTurns(t *testing.T) {
	page := saw("phone/web", 2*time.Second, Facts{Identity: &Identity{Model: "CP-8841"}})
	cdp := saw("lan/sw1", time.Second, Facts{Identity: &Identity{Model: "Cisco IP Phone 8841"}})
	before, _ := Fuse(DeviceInput{Name: sep, Own: []Observation{page, cdp}}, noon)
	page.Seen = noon
	after, _ := Fuse(DeviceInput{Name: sep, Own: []Observation{page, cdp}}, noon)
	if before.Identity.Model != "CP-8841" || !SameDevice(before, after) {
		t.Errorf("%q, then %q", before.Identity.Model, after.Identity.Model)
	}
}

// A phone whose polls take turns, and answer now a little faster, is the same
// phone: a difference would be sent over the WAN with each poll.
func TestPollsThatSayTheSameAreNoNews(t *testing.T) {
	web := func(ago time.Duration) Observation {
		return saw("phone/reach-web", ago, Facts{Reach: &Reach{Outcome: Garbled, Via: "web", Detail: "half a page"}})
	}
	sip := func(ago time.Duration, detail string) Observation {
		return saw("phone/sip", ago, Facts{Reach: &Reach{Outcome: Answered, Via: "sip", Detail: detail}})
	}
	fuse := func(own ...Observation) Device {
		d, _ := Fuse(DeviceInput{Name: sep, Own: own}, noon)
		return d
	}
	first := fuse(web(20*time.Second), sip(10*time.Second, "within 10ms"))
	if then := fuse(web(time.Second), sip(2*time.Second, "within 50ms")); !SameDevice(first, then) {
		t.Errorf("first %v, then %v", first.Because, then.Because)
	}
}
