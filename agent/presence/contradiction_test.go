package presence_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	. "pilotlight/agent/presence"
)

// lineInfo is what a phone tells of its own keys.
func lineInfo(ago time.Duration, lines ...Line) Observation {
	return saw("phone/web", ago, Facts{Reach: &Reach{Outcome: Answered, Via: "web"}, Calls: &Calls{Exact: true, Lines: lines}})
}

// told is a call server's word on line 1001, some time ago.
func told(ago time.Duration, l Line) LineInput {
	in := dialog(l)
	in.Seen[0].Seen = noon.Add(-ago)
	return in
}

// Two sources say what cannot both be true. Each row is one such quarrel, and
// who is believed: the one who could know, and of two who could, the later.
func TestContradictions(t *testing.T) {
	here, there := netip.MustParseAddr("10.1.1.20"), netip.MustParseAddr("10.1.1.21")
	config := saw("config", 0, Facts{Identity: &Identity{Address: here}})
	refused := saw("phone/reach-web", time.Second, Facts{Reach: &Reach{Outcome: Refused, Via: "web", Detail: "refuses web connections"}})
	options := saw("phone/sip", time.Second, Facts{Reach: &Reach{Outcome: Answered, Via: "sip", Detail: "answers OPTIONS"}})
	srst := saw("phone/web-network", 2*time.Second, Facts{Registration: &Registration{Registered: true, Server: "10.1.1.1", Survivable: true}})
	nowhere := saw("phone/web-network", 2*time.Second, Facts{Registration: &Registration{}})
	idle, busy := Line{Number: "1001", State: LineIdle}, Line{Number: "1001", State: LineConfirmed}
	shared := func(in LineInput) LineInput { in.Shared = true; return in }
	elsewhere := saw("lan/sw2", time.Second, Facts{Port: &Port{Switch: "sw2", Name: "Gi2/0/9", LinkUp: true, LinkKnown: true, Neighbour: true}})
	addressless := saw("lan/sw1", time.Second, Facts{Port: &Port{Switch: "sw1", Name: "Gi1/0/3", LinkUp: true, LinkKnown: true, Neighbour: true, Addressless: true}})
	other := func(misses int) Observation {
		return saw("phone/reach-web", time.Second, Facts{Reach: &Reach{Outcome: Other, Misses: misses, Via: "web", Detail: "its address answers for another phone"}})
	}
	before := saw("phone/web", 50*time.Second, Facts{Reach: &Reach{Outcome: Answered, Via: "web"}})
	early := func(o Observation) Observation { o.Seen = noon.Add(time.Hour); return o }

	for _, tc := range []struct {
		name  string
		own   []Observation
		lines []LineInput
		state DeviceState
		cause Cause
		fresh Freshness
		first string // how the first evidence begins
	}{
		{"no audio flows, and the call server knows of a call: streams see no hold", []Observation{web(false, registered)},
			[]LineInput{told(time.Minute, Line{State: LineConfirmed, Held: true})}, OnHold, Fine, Live, "dialog/pbx"},
		{"audio flows, and the call server knows of no call: it is a page", []Observation{web(true, registered)},
			[]LineInput{told(time.Minute, idle)}, Idle, Fine, Live, "dialog/pbx"},
		{"the phone's keys are idle, read before the call server told of a call", []Observation{lineInfo(2*time.Second, idle)},
			[]LineInput{told(time.Second, busy)}, InUse, Fine, Live, "dialog/pbx"},
		{"the phone's keys are idle, read while the call may be settling", []Observation{lineInfo(time.Second, idle)},
			[]LineInput{told(3*time.Second, busy)}, InUse, Fine, Live, "dialog/pbx"},
		{"the phone's keys are idle, long after the call server told of a call: the lamp is stuck", []Observation{lineInfo(time.Second, idle)},
			[]LineInput{told(time.Minute, busy)}, Idle, Fine, Live, "phone/web"},
		{"the phone's keys show a call, and the call server has ended it since", []Observation{lineInfo(2*time.Second, busy)},
			[]LineInput{told(time.Second, idle)}, Idle, Fine, Live, ""},
		{"the phone's keys show a call that the call server never told of", []Observation{lineInfo(time.Second, busy)},
			[]LineInput{told(time.Minute, idle)}, InUse, Fine, Live, "phone/web"},
		{"a call at the call server, and the port has neither link nor power", []Observation{missed(1), port(false, false, PowerSearching)},
			[]LineInput{told(time.Minute, busy)}, Unpowered, NoPower, Live, "lan/sw1"},
		{"OPTIONS are answered, and the pages are silent: it lives", []Observation{options, missed(3)}, nil, StateUnknown, CauseNotKnown, Live, ""},
		{"the pages answer, and the port has no link: another port is its own", []Observation{web(false, registered), port(false, false, PowerSearching)}, nil, Idle, Fine, Live, "phone/web"},
		{"web access is refused, and the port has no link: the refusal is older", []Observation{refused, port(false, false, PowerSearching), missedVia("sip", 1)}, nil, StateUnknown, WebDisabled, Live, ""},
		{"two switches list it: it was moved, and the old one has not noticed", []Observation{missed(1), port(false, false, PowerSearching), elsewhere}, nil, StateUnknown, CauseNotKnown, Live, ""},
		{"the switch knows no address of it, and its pages answer", []Observation{web(false, registered), addressless}, nil, Idle, Fine, Live, "phone/web"},
		{"linked and powered, silent, and without an address", []Observation{missed(1), addressless}, nil, Unreachable, NoAddress, Live, "lan/sw1"},
		{"on SRST by its own word, and the call server still knows its line", []Observation{web(false, Facts{}), srst}, []LineInput{told(time.Minute, idle)}, Idle, OnSRST, Live, ""},
		{"registered nowhere by its own word, and on a call that outlives it", []Observation{web(true, Facts{}), nowhere}, nil, InUse, NoRegistrar, Live, "phone/web"},
		{"registered nowhere by its own word, and the call server says idle", []Observation{web(false, Facts{}), nowhere}, []LineInput{told(time.Minute, idle)}, Unregistered, NoRegistrar, Live, "phone/web-network"},
		{"one address for two phones: the call is at the other's", []Observation{web(false, registered), config},
			[]LineInput{shared(told(time.Minute, Line{State: LineConfirmed, Sites: []netip.Addr{there}}))}, Idle, Fine, Live, ""},
		{"a shared line is used elsewhere, by both words", []Observation{lineInfo(time.Second, Line{Number: "1001", State: LineConfirmed, Elsewhere: true})},
			[]LineInput{shared(told(time.Second, Line{State: LineConfirmed, Sites: []netip.Addr{there}}))}, Idle, Fine, Live, ""},
		{"the clock jumped during a poll: what is dated tomorrow vouches for now", []Observation{early(web(true, registered))}, nil, InUse, Fine, Live, "phone/web"},
		{"another phone answers at its address, and its port has neither link nor power", []Observation{before, other(0), port(false, false, PowerSearching)}, nil, Unpowered, NoPower, Live, "lan/sw1"},
		{"another phone answers at its address, and its port has no link", []Observation{before, other(0), port(false, false, PowerDelivering)}, nil, Unreachable, NoLink, Live, "lan/sw1"},
		{"another phone answers at its address, where it was silent before", []Observation{before, other(3)}, nil, Unreachable, NoAnswer, Live, "phone/reach-web"},
		{"another phone answers at its address, and nobody else knows of it", []Observation{before, other(0)}, nil, StateUnknown, CauseNotKnown, Live, ""},
		{"another phone answers at its address, and a call server knows of its call", []Observation{before, other(0)}, []LineInput{told(time.Minute, busy)}, InUse, Fine, Live, "dialog/pbx"},
		{"another phone answers at its address, and it answers OPTIONS elsewhere", []Observation{options, other(0), port(false, false, PowerSearching)}, nil, StateUnknown, CauseNotKnown, Live, ""},
		{"another phone answers at its address, and its switch has it linked without one", []Observation{before, other(0), addressless}, nil, Unreachable, NoAddress, Live, "lan/sw1"},
		{"the switch is dated yesterday, the phone answers now", []Observation{web(false, registered), old(port(false, false, PowerSearching)), old(missed(3))}, nil, Idle, Fine, Live, "phone/web"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := DeviceInput{Name: sep, Own: tc.own, Lines: tc.lines}
			d, _ := Fuse(in, noon)
			if d.State != tc.state || d.Cause != tc.cause || d.Freshness != tc.fresh {
				t.Errorf("%s %s %s, want %s %s %s\n%q %v", d.State, d.Cause, d.Freshness, tc.state, tc.cause, tc.fresh, d.Diagnosis, d.Because)
			}
			if len(d.Because) == 0 || !strings.HasPrefix(d.Because[0].Source, tc.first) {
				t.Errorf("because %v, want %s first", d.Because, tc.first)
			}
			slices.Reverse(in.Own)
			if again, _ := Fuse(in, noon); !SameDevice(d, again) {
				t.Errorf("the order of arrival shows:\n%+v\n%+v", d, again)
			}
		})
	}
}

func missedVia(via string, n int) Observation {
	return saw("phone/reach-"+via, time.Second, Facts{Reach: &Reach{Outcome: Silent, Misses: n, Via: via}})
}

func old(o Observation) Observation {
	o.Seen = noon.Add(-time.Hour)
	return o
}

// Every device has a cause, a dark one has a diagnosis, and each cause belongs to
// the states that it can explain.
func TestCauseAndStateAgree(t *testing.T) {
	states := map[Cause][]DeviceState{
		NoPower: {Unpowered}, NoLink: {Unreachable}, NoAddress: {Unreachable},
		NoAnswer:    {Unreachable, InUse, OnHold, Ringing},
		NoRegistrar: {Unregistered, InUse, OnHold, Ringing},
	}
	checkDevices(t, func(in DeviceInput, d Device) string {
		switch {
		case !slices.Contains(Causes, d.Cause):
			return "no such cause"
		case d.Cause == Fine && (d.State == StateUnknown || d.State == Unreachable || d.State == Unpowered || d.State == Unregistered):
			return "fine, and dark"
		case states[d.Cause] != nil && !slices.Contains(states[d.Cause], d.State):
			return "a cause that does not explain the state"
		case d.Cause != Fine && d.Diagnosis == "":
			return "no diagnosis"
		}
		return ""
	})
}

// No false down: a phone that is told to be down has somebody's word for it.
// Refused pages, an interface it has not got, or nothing at all are no such word.
func TestNoDarknessWithoutEvidence(t *testing.T) {
	checkDevices(t, func(in DeviceInput, d Device) string {
		evidence := func(has func(Observation) bool) bool {
			return slices.ContainsFunc(in.Own, func(o Observation) bool { return has(o) && (d.Freshness == LastKnown || o.LiveAt(noon)) })
		}
		silent := evidence(func(o Observation) bool {
			return o.Reach != nil && (o.Reach.Outcome == Silent || o.Reach.Outcome == Other && o.Reach.Misses > 0)
		})
		unlinked := evidence(func(o Observation) bool { return o.Port != nil && o.Port.LinkKnown && !o.Port.LinkUp })
		addressless := evidence(func(o Observation) bool { return o.Port != nil && o.Port.Addressless })
		switch d.State {
		case Unregistered:
			if !evidence(func(o Observation) bool { return o.Registration != nil && !o.Registration.Registered }) {
				return "unregistered by nobody's word"
			}
		case Unpowered:
			if !unlinked {
				return "unpowered by nobody's word"
			}
		case Unreachable:
			if !silent && !unlinked && !addressless {
				return "unreachable by nobody's word"
			}
		}
		return ""
	})
}

// No false available: what is idle and live has a live word for it that could know.
func TestNoIdleWithoutAWitness(t *testing.T) {
	checkDevices(t, func(in DeviceInput, d Device) string {
		if d.State != Idle || d.Freshness != Live {
			return ""
		}
		calls := func(o Observation) bool { return o.Calls != nil && o.LiveAt(noon) }
		for _, l := range in.Lines {
			if slices.ContainsFunc(l.Seen, calls) {
				return ""
			}
		}
		if !slices.ContainsFunc(in.Own, calls) {
			return "idle by nobody's live word"
		}
		return ""
	})
}
