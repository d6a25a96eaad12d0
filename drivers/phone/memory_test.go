package phone

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
)

// hostile are status pages that are as dear as they may be, each as long as it may be.
func hostile() map[string]string {
	fill := func(unit string) string {
		const head, tail = `<flat-profile><Product_Name group="Info/Product_Information">x</Product_Name>`, "</flat-profile>"
		return head + strings.Repeat(unit, (maxStatus-len(head)-len(tail))/len(unit)) + tail
	}
	distinct := &strings.Builder{}
	for n := 0; distinct.Len() < maxStatus-200; n++ {
		fmt.Fprintf(distinct, `<Call_State group="Info/Line_%d_Call_%d_Status">%s</Call_State>`, n%99, n/99%99, strings.Repeat("W", 20))
	}
	return map[string]string{
		"elements":      fill("<a/>"),
		"names":         fill("<Call_1_State group=\"Info/Line_1_Status\">x</Call_1_State>"),
		"groups":        "<flat-profile>" + distinct.String() + "</flat-profile>",
		"attributes":    "<flat-profile" + strings.Repeat(" a", maxStatus/2-20) + "/>",
		"quoted":        `<flat-profile x=">"` + strings.Repeat(" a", maxStatus/2-30) + "/>",
		"controls":      fill("\x01"),
		"rubbish":       fill("a\xff"),
		"one text":      "<flat-profile><a>" + strings.Repeat("W", maxStatus-50) + "</a></flat-profile>",
		"texts":         fill("<a>" + strings.Repeat("€", 1300) + "</a>"),
		"in Thai":       `<?xml version="1.0" encoding="windows-874"?>` + strings.Repeat("\xa1", maxStatus-50),
		"nested":        fill("<a><b><c><d><e><f/></e></d></c></b></a>"),
		"attributed":    fill("<a" + strings.Repeat(" a", 500) + "/>"),
		"of sixteen kB": fill(`<a b="` + strings.Repeat("x", 16000) + `"/>`),
	}
}

// What sixteen phones may cost at once, whatever they send as their status page.
func TestSixteenHostileStatusPagesCostLittle(t *testing.T) {
	const workers, most = 16, 16 << 20
	defer debug.SetGCPercent(debug.SetGCPercent(5)) // garbage counts for little
	for name, page := range hostile() {
		t.Run(name, func(t *testing.T) {
			if len(page) > maxStatus {
				t.Fatalf("%d bytes", len(page))
			}
			runtime.GC()
			var before, now runtime.MemStats
			runtime.ReadMemStats(&before)
			var wg sync.WaitGroup
			end := time.Now().Add(150 * time.Millisecond)
			for range workers {
				wg.Go(func() {
					for time.Now().Before(end) {
						_, _ = ParseStatus([]byte(page), "text/xml")
					}
				})
			}
			peak := uint64(0)
			for time.Now().Before(end) {
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc)
				time.Sleep(2 * time.Millisecond)
			}
			wg.Wait()
			if cost := int64(peak) - int64(before.HeapAlloc); cost > most {
				t.Errorf("%s: %d kB", name, cost>>10)
			} else {
				t.Logf("%s: %d kB", name, cost>>10)
			}
		})
	}
}
