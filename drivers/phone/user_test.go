package phone

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"pilotlight/agent/presence"
)

// refuses has the pages of the keys answered with an error of the phone's own, and
// counts how often a user was shown for it.
func (f *fakePhone) refuses(status, number int) *atomic.Int32 {
	shown := new(atomic.Int32)
	for _, path := range javaLines {
		f.odd.Store(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, _, ok := r.BasicAuth(); ok {
				shown.Add(1)
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, `<?xml version="1.0"?><CiscoIPPhoneError Number="%d"/>`, number)
		}))
	}
	return shown
}

// A user that a phone does not let in is shown once, whatever the status is under
// which it says so. Another error is no refusal, and is not asked for at each visit.
func TestAPhonesOwnErrorUnderAnyStatus(t *testing.T) {
	for _, status := range []int{200, 400, 404, 500, 501, 503, 401, 403} {
		for _, number := range []int{4, 1, 2, 3, 5, 6, 0, 99} {
			t.Run(fmt.Sprintf("HTTP %d, error %d", status, number), func(t *testing.T) {
				v := visiting(t, "8845", "SEP0C1167AA0002", ours)
				shown := v.f.refuses(status, number)
				v.f.talking.Store(true)
				for range 5 {
					if facts, _ := v.visit(); facts[sourceWeb].Calls == nil || facts[sourceWeb].Calls.Exact {
						t.Fatalf("calls %+v, want those of the streams", facts[sourceWeb].Calls)
					}
				}
				refused := number == 4 || status == 401 || status == 403
				if v.refused() != refused {
					t.Errorf("refused: %v, want %v", !refused, refused)
				}
				most := int32(2) // once for each path, and then not at once
				switch {
				case refused:
					most = 1
				case status == 404 || status == 501:
					most = 2 * goneTries
				}
				if n := shown.Load(); n < 1 || n > most {
					t.Errorf("the user was shown %d times", n)
				}
				if refused || status == 404 || status == 501 {
					return
				}
				if v.trouble == nil || v.trouble.Reach != presence.Garbled || !strings.Contains(v.trouble.Detail, fmt.Sprintf("CiscoIPPhoneError %d", number)) {
					t.Errorf("the trouble is %+v", v.trouble)
				}
				v.f.odd.Clear()
				v.later(busyFor)
				if facts, _ := v.visit(); !facts[sourceWeb].Calls.Exact || v.trouble != nil {
					t.Errorf("told %+v, %v", facts[sourceWeb].Calls, v.trouble)
				}
			})
		}
	}
}

// refused reports whether the phone is thought to refuse our user.
func (v *visited) refused() bool { return !v.a.keys.refused.IsZero() }
