package panel

import (
	"testing"

	"pilotlight/agent/presence"
)

// A boss and a front desk that share 1003: what one does is not what the other does.
func TestASharedLineThatIsUsedElsewhere(t *testing.T) {
	h := newHouse(t)
	idle, busy := "SEP0011AABBCC22", "SEP0011AABBCC11"
	set := func(name string, state presence.DeviceState, l presence.Line) {
		d := h.heart.phones[name]
		l.Number = "1003"
		d.State, d.Lines, d.Owner = state, []presence.Line{l}, "sip:chloe@example.com"
		h.heart.setPhone(d)
	}
	doc := h.heart.docs["sip:chloe@example.com"]
	doc.Devices = []presence.DeviceView{{Name: idle, State: presence.Idle, Freshness: presence.Live, Lines: []presence.Line{{Number: "1003", State: presence.LineConfirmed}}}}
	h.heart.setDoc(doc)
	set(idle, presence.Idle, presence.Line{State: presence.LineConfirmed, Elsewhere: true})
	set(busy, presence.InUse, presence.Line{State: presence.LineConfirmed})
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	card := "[data-name=" + idle + "]"
	tb.open("/")
	tb.shows(card, "Chloé Dubois 1003 Idle")
	tb.shows(card, "1003 in use elsewhere · CP-8865")
	if n := tb.count(".elsewhere"); n != 1 {
		t.Errorf("%d cards say that a line is in use elsewhere", n)
	}
	if state := eval[string](tb, `document.querySelector("`+card+`").dataset.state`); state != "idle" {
		t.Errorf("the phone itself is %s", state)
	}
	tb.shoot("elsewhere")
	tb.open("/phones/" + idle)
	tb.shows(".hero", "Idle")
	tb.shows(".lines li", "1003 In use elsewhere: Chloé Dubois, CP-7841")
	if to := eval[string](tb, `document.querySelector(".lines a").getAttribute("href")`); to != "/phones/"+busy {
		t.Errorf("the other phone is at %q", to)
	}
	tb.open("/people")
	eval[any](tb, `document.querySelector('[data-name="sip:chloe@example.com"] details').open = true, 0`)
	tb.shows(".devices", "Idle · 1003 in use elsewhere")

	for _, c := range []struct {
		line presence.Line
		want string
	}{
		{presence.Line{State: presence.LineConfirmed, Held: true, Elsewhere: true}, "1003 on hold elsewhere"},
		{presence.Line{State: presence.LineEarly, Elsewhere: true}, "1003 ringing elsewhere"},
		{presence.Line{State: presence.LineEarly, Outgoing: true, Elsewhere: true}, "1003 calling elsewhere"},
	} {
		tb.open("/")
		set(idle, presence.Idle, c.line)
		tb.shows(card, c.want)
	}
	set(idle, presence.Idle, presence.Line{State: presence.LineIdle})
	tb.until(`!document.querySelector(".elsewhere")`)
}
