package ledger_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
)

// BenchmarkObserve is one observation in a branch of 1,000 owned phones with
// three sources each, and a follower: a repeat, and a change that it is told of.
func BenchmarkObserve(b *testing.B) {
	const phones = 1000
	var static []presence.Observation
	for i := range phones {
		static = append(static, presence.Observation{Source: "config", Of: presence.At(fmt.Sprint("user", i), "example.com"),
			Facts: presence.Facts{Person: &presence.Person{Name: "x", Devices: []string{fmt.Sprint("SEP", i)}, Lines: []string{fmt.Sprint(1000 + i)}}}})
	}
	begin := time.Now()
	l, err := ledger.Open(ledger.Config{Path: filepath.Join(b.TempDir(), "store"), Domain: "example.com", Static: static})
	must(b, err)
	b.Logf("open: %v", time.Since(begin))
	start(b, l)
	ctx := context.Background()
	observe := func(i int, source string, f presence.Facts) {
		must(b, l.Observe(ctx, presence.Observation{Source: source, Device: fmt.Sprint("SEP", i%phones), Seen: time.Now(), TTL: time.Minute, Facts: f}))
	}
	begin = time.Now()
	for i := range phones {
		observe(i, "phone/sip", presence.Facts{Reach: &presence.Reach{Outcome: presence.Answered}})
		observe(i, "phone/web", presence.Facts{Identity: &presence.Identity{Model: "CP-8845", Lines: []string{fmt.Sprint(1000 + i)}}})
		observe(i, "dialog/pbx", call(i, presence.LineIdle))
	}
	b.Logf("%d phones told for the first time: %v", phones, time.Since(begin))
	f, err := l.Follow(ctx, nil)
	must(b, err)
	go func() {
		for {
			if _, err := f.Next(ctx); err != nil {
				return
			}
		}
	}()
	b.Run("repeat", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			observe(i, "phone/sip", presence.Facts{Reach: &presence.Reach{Outcome: presence.Answered}})
		}
	})
	b.Run("change", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			observe(i, "dialog/pbx", call(i, []presence.LineState{presence.LineIdle, presence.LineConfirmed}[i/phones%2]))
		}
	})
}

func call(i int, state presence.LineState) presence.Facts {
	return presence.Facts{Calls: &presence.Calls{Exact: true, Lines: []presence.Line{{Number: fmt.Sprint(1000 + i%1000), State: state}}}}
}
