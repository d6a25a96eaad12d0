package relay

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestModes: each row is what happens, and the mode that it leads to.
func TestModes(t *testing.T) {
	type step struct {
		what string
		want Mode
	}
	for name, steps := range map[string][]step{
		"a start": {{"", Degraded}, {"answer", Resync}, {"rest 3", Resync}, {"rest 0", Connected}},
		"a start without anybody": {{"miss", Degraded}, {"miss", Degraded}, {"miss", Island}, {"miss", Island},
			{"answer", Resync}, {"rest 0", Connected}},
		"one answer missing is no outage": {{"answer", Resync}, {"rest 0", Connected}, {"miss", Degraded},
			{"answer", Degraded}, {"answer", Connected}},
		"now and then is degraded": {{"answer", Resync}, {"rest 0", Connected}, {"miss", Degraded}, {"answer", Degraded},
			{"miss", Degraded}, {"miss", Degraded}, {"answer", Degraded}, {"miss", Degraded}},
		"an outage and the return": {{"answer", Resync}, {"rest 0", Connected}, {"miss", Degraded}, {"miss", Degraded},
			{"miss", Island}, {"answer", Resync}, {"rest 9", Resync}, {"miss", Resync}, {"answer", Resync}, {"rest 0", Connected}},
		"a return that fails": {{"answer", Resync}, {"miss", Resync}, {"miss", Island}},
		"who asks to wait lives": {{"answer", Resync}, {"rest 0", Connected}, {"strain", Degraded}, {"strain", Degraded},
			{"strain", Degraded}, {"strain", Degraded}, {"answer", Degraded}, {"answer", Connected}},
		"a start with one who asks to wait": {{"strain", Resync}, {"rest 0", Connected}},
		"given up":                          {{"answer", Resync}, {"lost", Island}},
	} {
		t.Run(name, func(t *testing.T) {
			l := NewLink("hq", "sip", time.Now)
			for i, s := range steps {
				switch s.what {
				case "answer":
					l.Answered(time.Millisecond)
				case "miss":
					l.Missed("no answer")
				case "strain":
					l.Strained("503")
				case "lost":
					l.Lost("password refused")
				case "rest 0":
					l.Pending(0)
				case "rest 3", "rest 9":
					l.Pending(3)
				}
				if got := l.Status().Mode; got != s.want {
					t.Fatalf("step %d (%s): %s, want %s", i+1, s.what, got, s.want)
				}
			}
		})
	}
}

func TestStatusSaysSinceWhenAndWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLink("hq", "sip", time.Now)
		l.Answered(7 * time.Millisecond)
		l.Pending(0)
		time.Sleep(time.Minute)
		l.Missed("no answer from 127.0.0.1")
		broke := time.Now()
		time.Sleep(time.Minute)
		l.Missed("still none")
		st := l.Status()
		if st.Mode != Degraded || !st.Since.Equal(broke) || st.Why != "still none" || st.RoundTrip != 7*time.Millisecond {
			t.Errorf("%+v", st)
		}
	})
}

func TestUplinksAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := NewUplinks()
		u.Report(Status{Name: "b", Mode: Island})
		u.Report(Status{Name: "a", Mode: Connected})
		next, done := u.Follow()
		all, err := next(t.Context())
		if err != nil || len(all) != 2 || all[0].Name != "a" {
			t.Fatal(all, err)
		}
		got := make(chan []Status)
		go func() {
			for {
				all, err := next(t.Context())
				if errors.Is(err, context.Canceled) {
					close(got)
					return
				}
				got <- all
			}
		}()
		u.Report(Status{Name: "a", Mode: Connected}) // nothing new
		synctest.Wait()
		select {
		case all := <-got:
			t.Fatalf("told of no change: %v", all)
		default:
		}
		u.Report(Status{Name: "b", Mode: Resync})
		if all := <-got; all[1].Mode != Resync {
			t.Error(all)
		}
		done()
		if _, more := <-got; more {
			t.Error("told after the end")
		}
	})
}
