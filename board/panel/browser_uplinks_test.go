package panel

import (
	"testing"
	"time"

	"pilotlight/agent/relay"
)

// onDay is how an American browser, as the tests' is, writes a time of another day.
func onDay(at time.Time) string {
	if at.Local().Year() != time.Now().Local().Year() {
		return at.Local().Format("Mon, Jan 2, 2006, 15:04")
	}
	return at.Local().Format("Mon, Jan 2, 15:04")
}

func TestTheBannerTellsOfAllUplinksTogether(t *testing.T) {
	h := newHouse(t)
	say := func(name string, mode relay.Mode, ago time.Duration, why string, pending int) {
		h.uplinks.Report(relay.Status{Name: name, Kind: "sip", Mode: mode, Since: time.Now().Add(-ago), Why: why, Pending: pending})
	}
	say("hq", relay.Connected, time.Hour, "", 0)
	say("fleet", relay.Connected, time.Hour, "", 0)
	tb := newTab(t, h.url)
	if tb == nil {
		return
	}
	tb.open("/")
	tb.shows("#uplinks", "Connected to fleet and hq")

	t.Run("one of two that is down is no island", func(t *testing.T) {
		ago := 50 * time.Hour
		say("hq", relay.Island, ago, "3 requests without an answer", 2)
		tb.shows("#uplinks [data-mode=down]", "hq has not answered since "+onDay(time.Now().Add(-ago))+" for 2 d 3 requests without an answer · 2 changes to hand over")
		tb.shows("#uplinks [data-mode=connected]", "Connected to fleet")
		if eval[bool](tb, `document.querySelector("#uplinks").innerText.includes("locally")`) {
			t.Error("it says that it runs locally, and is connected")
		}
	})
	t.Run("neither is one beside another that answers again, or badly", func(t *testing.T) {
		say("fleet", relay.Resync, time.Second, "", 7)
		tb.shows("#uplinks", "fleet is back, catching up 7 changes to hand over")
		tb.shows("#uplinks", "hq has not answered since")
		say("fleet", relay.Degraded, time.Second, "503 Service Unavailable", 1)
		tb.shows("#uplinks", "fleet answers badly 503 Service Unavailable · 1 change to hand over")
		if n := tb.count(`#uplinks [data-mode=island]`); n != 0 {
			t.Error("it says that it runs locally")
		}
	})
	t.Run("without any it runs locally, since the last one went", func(t *testing.T) {
		say("fleet", relay.Island, 26*time.Hour, "connection refused", 0)
		tb.shows("#uplinks [data-mode=island]", "Running locally since "+onDay(time.Now().Add(-26*time.Hour))+" for 26 h")
		tb.shows("#uplinks [data-mode=island]", "fleet has not answered since")
		tb.shows("#uplinks [data-mode=island]", "hq has not answered since")
		tb.shoot("uplinks-all-down")
	})
	t.Run("and today's need no day", func(t *testing.T) {
		at := time.Now()
		say("fleet", relay.Island, 0, "connection refused", 0)
		tb.shows("#uplinks [data-mode=island]", "Running locally since "+at.Local().Format("15:04")+" for")
	})
}
