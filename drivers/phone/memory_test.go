package phone

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
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
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	live := func() int64 { // what the last collection could not free
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	for name, page := range hostile() {
		t.Run(name, func(t *testing.T) {
			if len(page) > maxStatus {
				t.Fatalf("%d bytes", len(page))
			}
			runtime.GC()
			before := live()
			var wg sync.WaitGroup
			end := time.Now().Add(150 * time.Millisecond)
			for range workers {
				wg.Go(func() {
					for time.Now().Before(end) {
						_, _ = ParseStatus([]byte(page), "text/xml")
					}
				})
			}
			var peak int64
			for time.Now().Before(end) {
				peak = max(peak, live())
				time.Sleep(time.Millisecond)
			}
			wg.Wait()
			if cost := peak - before; cost > most {
				t.Errorf("%s: %d kB", name, cost>>10)
			} else {
				t.Logf("%s: %d kB", name, cost>>10)
			}
		})
	}
}
