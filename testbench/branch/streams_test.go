package branch

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// onStream is which of a phone's stream pages are active.
func (g *pages) onStream(t *testing.T, p Phone, all int) (active []int) {
	t.Helper()
	for n := 1; n <= all; n++ {
		if s := g.must(t, p, fmt.Sprintf("/StreamingStatisticsX?%d", n)); s["StreamStatus"] == "Active" || s["RowStatus"] == "Active" {
			active = append(active, n)
		}
	}
	return active
}

func TestASecondCallHasTheSecondStream(t *testing.T) {
	b := start(t, Options{Phones: len(models), Speed: 100}) // a stream is kept for 100 ms
	g := newPages(t)
	on := func(what string, p Phone, all int, want ...int) {
		t.Helper()
		if is := g.onStream(t, p, all); fmt.Sprint(is) != fmt.Sprint(want) {
			t.Errorf("%s: %s has streams %v, want %v", what, p.Model, is, want)
		}
	}
	p, old := byModel(t, b, "CP-8841"), byModel(t, b, "CP-7940G")
	begin := func() {
		t.Helper()
		must(t, b.Call(p.Name, old.Name))
		must(t, b.Answer(old.Name))
	}
	must(t, b.Play(t.Context(), "second "+p.Name+"\nsecond "+old.Name))
	begin()
	on("in a second call", p, 5, 2)
	on("in a second call", old, 3, 2)
	must(t, b.Hold(p.Name))
	on("holding it", p, 5)
	on("held", old, 3, 2)
	must(t, b.Page(old.Name))
	must(t, b.Resume(p.Name))
	on("resumed", p, 5, 2)
	must(t, b.Hangup(p.Name))
	on("after it", p, 5)

	time.Sleep(2 * b.scaled(seatKept))
	begin()
	on("in a call long after it", p, 5, 1)
	must(t, b.Hangup(p.Name))
	must(t, b.SecondStream(p.Name))
	begin()
	if s := g.must(t, p, "/StreamingStatisticsX?1"); s["SenderPackets"] == "0" || s["RemoteAddr"] != "0.0.0.0/0" {
		t.Errorf("the call before is still on the first page, got %v", s)
	}
	for _, model := range []string{"CP-6941", "SPA504G"} {
		if err := b.SecondStream(byModel(t, b, model).Name); err == nil || !strings.Contains(err.Error(), model) {
			t.Errorf("a %s has no second stream: %v", model, err)
		}
	}
}

// Of calls that follow at once some have the second stream, the same on another day.
func TestACallThatFollowsMayHaveTheSecondStream(t *testing.T) {
	day := func() (on string) {
		b := start(t, Options{Phones: 2, Seed: 7})
		g := newPages(t)
		p, q := b.Phones()[0], b.Phones()[1]
		for range 12 {
			must(t, b.Call(p.Name, q.Name))
			must(t, b.Answer(q.Name))
			on += fmt.Sprint(g.onStream(t, p, 1))
			must(t, b.Hangup(p.Name))
		}
		return on
	}
	one := day()
	if !strings.HasPrefix(one, "[1]") || !strings.Contains(one, "[]") || strings.Count(one, "[1]") < 2 {
		t.Errorf("on the first page: %s", one)
	}
	if two := day(); one != two {
		t.Errorf("the same seed: %s and %s", one, two)
	}
}
