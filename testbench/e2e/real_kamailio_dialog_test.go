package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pilotlight/testbench/peers"
	"pilotlight/testbench/product"
)

// soon is how long what takes a moment may take on a busy machine.
const soon = 20 * time.Second

// agentHead is the part of a configuration that all agents here share.
const agentHead = `
branch: {id: lyon-12, name: Lyon, domain: example.com}
data_dir: @DATA@
panel: {listen: "@PANEL@"}
sip: {listen: ["udp:@SIP@", "tcp:@SIP@"]}
`

// pair is two people, each with a phone that is a baresip, at a Kamailio that
// tells of its calls.
type pair struct {
	pbx        *peers.KamailioServer
	agent      *product.Agent
	lines      [2]string // of alice and bob
	alice, bob *peers.Phone
	listed     bool // their phones are listed
}

// deskPhones are listed only: neither their pages nor OPTIONS are asked for, so
// that all that is known of them is what the call server tells.
var deskPhones = [2]string{"SEP0011AABBCC01", "SEP0011AABBCC02"}

func newPair(t *testing.T, transport string, lines [2]string, listed bool, expires time.Duration) *pair {
	t.Helper()
	p := &pair{pbx: peers.Kamailio(t, peers.WithDialogInfo()), lines: lines, listed: listed}
	p.alice = peers.Baresip(t, peers.WithAccount(lines[0]), peers.WithServer(p.pbx), peers.WithManualAnswer())
	p.bob = peers.Baresip(t, peers.WithAccount(lines[1]), peers.WithServer(p.pbx), peers.WithManualAnswer())
	text := agentHead + fmt.Sprintf("call_managers: [{name: pbx, target: %q, dialog: true, expires: %v}]\npeople:\n", p.pbx.Target(transport), expires)
	owned := [2]string{}
	if listed {
		owned = deskPhones
	}
	for i, who := range []string{"alice", "bob"} {
		text += fmt.Sprintf("  - {user: %s, line: %q, phones: [%s]}\n", who, lines[i], owned[i])
	}
	if listed {
		text += "phones:\n"
		for i, name := range deskPhones {
			text += fmt.Sprintf("  - {name: %s, address: 127.0.61.%d, web_port: -1, sip_port: -1}\n", name, i+1)
		}
	}
	p.agent = product.Start(t, product.Options{YAML: text})
	return p
}

// shows waits until alice and bob have these availabilities, live.
func (p *pair) shows(t *testing.T, when, alice, bob string) {
	t.Helper()
	var a, b product.Document
	defer func() {
		if t.Failed() {
			t.Logf("%s: alice %+v\nbob %+v", when, a, b)
		}
	}()
	p.agent.Until(soon, fmt.Sprintf("%s: alice %s, bob %s", when, alice, bob), func() bool {
		a, b = p.agent.Presence("alice"), p.agent.Presence("bob")
		return a.Availability == alice && b.Availability == bob && a.Freshness == "live" && b.Freshness == "live"
	})
}

// line waits until the API says so of a person's line: on the phone or, where
// none is listed, in the evidence.
func (p *pair) line(t *testing.T, when string, person int, state string) {
	t.Helper()
	number, last := p.lines[person], ""
	defer func() {
		if t.Failed() {
			t.Logf("%s: line %s: %s", when, number, last)
		}
	}()
	p.agent.Until(soon, fmt.Sprintf("%s: line %s is %s", when, number, state), func() bool {
		if p.listed {
			ph := p.agent.Phones()[deskPhones[person]]
			last = fmt.Sprintf("%+v", ph)
			return len(ph.Lines) == 1 && ph.Lines[0].Number == number && ph.Lines[0].State == state
		}
		last = strings.Join(p.agent.Presence([]string{"alice", "bob"}[person]).Because, "\n")
		return strings.Contains(last, "line "+number+" "+state)
	})
}

// phone checks the state of a listed phone at this moment.
func (p *pair) phone(t *testing.T, when string, person int, state string) {
	t.Helper()
	if !p.listed {
		return
	}
	if ph := p.agent.Phones()[deskPhones[person]]; ph.State != state || ph.Freshness != "live" {
		t.Errorf("%s: %+v, want %s", when, ph, state)
	}
}

// call has one of the two call the other, and checks every step of it.
func (p *pair) call(t *testing.T, from, to *peers.Phone, caller int) {
	t.Helper()
	callee := 1 - caller
	ringing, talking := [2]string{"on-the-phone", "available"}, [2]string{"on-the-phone", "on-the-phone"}
	if caller == 1 {
		ringing = [2]string{"available", "on-the-phone"}
	}
	p.shows(t, "before the call", "available", "available")
	must(t, from.Dial(p.pbx.URI(p.lines[callee])))
	to.WaitEvent(t, "CALL_INCOMING")
	p.line(t, "while it rings", callee, "early")
	p.line(t, "while it rings", caller, "early")
	p.shows(t, "while it rings", ringing[0], ringing[1])
	p.phone(t, "while it rings", callee, "ringing")
	must(t, to.Accept())
	from.WaitEvent(t, "CALL_ESTABLISHED")
	p.line(t, "answered", callee, "confirmed")
	p.line(t, "answered", caller, "confirmed")
	p.shows(t, "answered", talking[0], talking[1])
	p.phone(t, "answered", callee, "in-use")
	p.phone(t, "answered", caller, "in-use")
	must(t, to.Hangup())
	from.WaitEvent(t, "CALL_CLOSED")
	p.shows(t, "after the call", "available", "available")
	p.line(t, "after the call", callee, "idle")
	p.line(t, "after the call", caller, "idle")
	p.phone(t, "after the call", callee, "idle")
	p.phone(t, "after the call", caller, "idle")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestACallThroughKamailioIsOnThePhone: two baresips call each other through
// Kamailio, and the agent, subscribed to the dialog events of both lines, shows
// each step, one way and back.
func TestACallThroughKamailioIsOnThePhone(t *testing.T) {
	if !peers.Need(t, "kamailio", "sqlite3", "baresip") {
		return
	}
	for _, tc := range []struct {
		name, transport string
		lines           [2]string
		listed          bool
	}{
		{"udp, phones listed, lines are numbers", "udp", [2]string{"1001", "1002"}, true},
		{"tcp, no phone known, lines are the people's names", "tcp", [2]string{"alice", "bob"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPair(t, tc.transport, tc.lines, tc.listed, time.Minute)
			p.call(t, p.alice, p.bob, 0)
			p.call(t, p.bob, p.alice, 1)
		})
	}
}

// TestACallServerThatDies in the middle of a call: what it told last is shown as
// last known when the subscription has run out, never as available; and the
// agent finds it again.
func TestACallServerThatDies(t *testing.T) {
	if !peers.Need(t, "kamailio", "sqlite3", "baresip") {
		return
	}
	const expires = 15 * time.Second
	p := newPair(t, "udp", [2]string{"1001", "1002"}, true, expires)
	p.shows(t, "before the call", "available", "available")
	must(t, p.alice.Dial(p.pbx.URI(p.lines[1])))
	p.bob.WaitEvent(t, "CALL_INCOMING")
	must(t, p.bob.Accept())
	p.shows(t, "answered", "on-the-phone", "on-the-phone")

	p.pbx.Kill()
	p.agent.Until(expires+soon, "what was told has run out", func() bool {
		d := p.agent.Presence("alice")
		if d.Availability != "on-the-phone" {
			t.Fatalf("with no word of the call server's: %+v", d)
		}
		return d.Freshness == "last-known"
	})
	p.agent.Until(soon, "the phone is in use, as last known", func() bool {
		ph := p.agent.Phones()[deskPhones[0]]
		return ph.State == "in-use" && ph.Freshness == "last-known"
	})

	p.pbx.Again(t) // it remembers nothing, the call included
	p.agent.Until(2*time.Minute, "subscribed again", func() bool {
		d := p.agent.Presence("alice")
		return d.Availability == "available" && d.Freshness == "live"
	})
	if status, err := peers.Publish(t, p.pbx.Addr, p.pbx.URI("1001"), "dialog").Send(60, "application/dialog-info+xml", aDialog); status != 200 {
		t.Fatal(status, err)
	}
	p.agent.Until(soon, "what the new one tells is heard", func() bool { return p.agent.Presence("alice").Availability == "on-the-phone" })
}

const aDialog = `<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="1" state="full" entity="sip:1001@example.com">` +
	`<dialog id="d1" call-id="c1" direction="initiator"><state>confirmed</state></dialog></dialog-info>`
