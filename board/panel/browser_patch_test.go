package panel

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"pilotlight/agent/presence"
)

// hold marks a text as somebody would with the mouse, sets the focus, and notes
// both with the place that was scrolled to.
func (tb *tab) hold(marked, focused string) {
	tb.t.Helper()
	text := eval[string](tb, fmt.Sprintf(`(() => {
		const marked = document.querySelector(%q), focused = document.querySelector(%q);
		focused.focus();
		getSelection().selectAllChildren(marked);
		window.held = {marked, focused, text: String(getSelection()), y: scrollY};
		return held.text;
	})()`, marked, focused))
	if text == "" {
		tb.t.Fatalf("nothing to mark in %s", marked)
	}
}

// held says what of it was lost.
func (tb *tab) held(after string) {
	tb.t.Helper()
	lost := eval[string](tb, `[
		String(getSelection()) !== held.text && "the selection: " + getSelection() + " for " + held.text,
		document.activeElement !== held.focused && "the focus: " + document.activeElement.outerHTML.slice(0, 80),
		Math.abs(scrollY - held.y) > 1 && "the place: " + scrollY + " for " + held.y,
		!(held.marked.isConnected && held.focused.isConnected) && "the elements"].filter(Boolean).join(", ")`)
	if lost != "" {
		tb.t.Errorf("%s loses %s", after, lost)
	}
}

func TestAnEventTakesNothingOutOfAReadersHands(t *testing.T) {
	h := newHouse(t)
	populate(h.heart, 24)
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	t.Run("the page of a phone", func(t *testing.T) {
		const name = "SEP0011AABBCC88"
		tb.do(chromedp.EmulateViewport(1000, 500))
		tb.open("/phones/" + name)
		tb.do(chromedp.WaitVisible("svg.band"))
		eval[any](tb, `scrollTo(0, 150), 0`)
		tb.hold("section:nth-of-type(1) dd:nth-of-type(5)", ".scroll")
		d := h.heart.phones[name]
		d.Streams = []presence.Stream{{Active: true, Codec: "G.722", Remote: d.Streams[0].Remote, Sent: 20000, Received: 20001}}
		d.Because = append([]presence.Evidence{{Source: "phone/web", Says: name + " is heard", Seen: time.Now(), Live: true}}, d.Because...)
		h.heart.setPhone(d)
		tb.shows(".evidence", "is heard")
		tb.shows("table", "20001")
		tb.held("an event of the phone")
		d.State, d.Lines, d.Since = presence.OnHold, []presence.Line{{Number: "1009", State: presence.LineConfirmed, Held: true}}, time.Now()
		h.heart.mu.Lock()
		h.heart.history[name] = append(h.heart.history[name], Change{time.Now(), presence.InUse, presence.OnHold, "was put on hold"})
		h.heart.mu.Unlock()
		h.heart.setPhone(d)
		tb.shows(".history li", "was put on hold")
		tb.held("a change of the phone's state")
		tb.do(chromedp.EmulateViewport(1440, 900))
	})
	t.Run("the people, and what was opened there", func(t *testing.T) {
		tb.open("/people")
		bruno := `[data-name="sip:bruno@example.com"]`
		tb.do(chromedp.Click(bruno + " summary"))
		tb.shows(bruno+" .more", "panel said do-not-disturb")
		tb.hold(bruno+" .note", bruno+" .devices a")
		d := h.heart.docs["sip:bruno@example.com"]
		d.Availability, d.Since = presence.Away, time.Now()
		d.Because = append([]presence.Evidence{{Source: "calendar", Says: "has another word", Seen: time.Now(), Live: true}}, d.Because...)
		h.heart.setDoc(d)
		tb.shows(bruno+" summary", "Away")
		tb.shows(bruno+" .because", "has another word")
		if !eval[bool](tb, fmt.Sprintf(`document.querySelector('%s details').open`, bruno)) {
			t.Error("what was opened is shut")
		}
		tb.held("an event of the person")
		eval[any](tb, fmt.Sprintf(`document.querySelector('%s details').open = false, 0`, bruno))
		d.Availability = presence.Busy
		h.heart.setDoc(d)
		tb.shows(bruno+" summary", "Busy")
		if n := tb.count(bruno + " .more > *"); n != 0 {
			t.Errorf("shut, and %d parts of it are kept", n)
		}
	})
	t.Run("the board", func(t *testing.T) {
		tb.open("/")
		card := "[data-name=SEP0011AABBCC22]"
		tb.hold(card+" .who", card+" a")
		d := h.heart.phones["SEP0011AABBCC22"]
		d.State = presence.Ringing
		h.heart.setPhone(d)
		tb.shows(card, "Ringing")
		tb.held("an event of the card")
		d.State, d.Cause, d.Diagnosis = presence.Unreachable, presence.NoLink, "has no link"
		h.heart.setPhone(d)
		tb.shows(card, "has no link")
		tb.held("a card that goes to the front")
		tb.hold("[data-name=SEP0011AABBCC44] .who", "select[data-name=model]")
		d.Cause, d.Identity.Model = presence.NoAnswer, "CP-9971"
		h.heart.setPhone(d)
		tb.shows("select[data-name=model]", "CP-9971")
		tb.held("another choice among the filters")
	})
	t.Run("the filters of a small screen", func(t *testing.T) {
		tb.do(chromedp.EmulateViewport(390, 844))
		tb.open("/")
		eval[any](tb, `document.querySelector(".chips").scrollLeft = 120, 0`)
		tb.hold("[data-name=SEP0011AABBCC44] .who", ".chip[data-lamp=in-use]")
		before := eval[float64](tb, `document.querySelector(".chips").scrollLeft`)
		d := h.heart.phones["SEP0011AABBCC44"]
		d.State = presence.InUse
		h.heart.setPhone(d)
		tb.shows(".chip[data-lamp=in-use]", "4")
		tb.held("another number on a filter")
		if after := eval[float64](tb, `document.querySelector(".chips").scrollLeft`); before < 1 || after != before {
			t.Errorf("the filters stood at %v, and stand at %v", before, after)
		}
		tb.do(chromedp.Click(".chip[data-lamp=in-use]"))
		tb.until(`document.querySelectorAll(".card").length === 4 && location.search === "?state=in-use"`)
		tb.do(chromedp.Click(".chip[data-lamp=in-use]"))
		tb.until(`document.querySelectorAll(".card").length === 24 && location.search === ""`)
	})
}
