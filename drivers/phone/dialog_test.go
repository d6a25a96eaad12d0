package phone

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pilotlight/agent"
	"pilotlight/agent/agenttest"
	"pilotlight/agent/presence"
)

// fakeServer is a call server: each Watch is handed to the test.
type fakeServer struct {
	mu    sync.Mutex
	uris  []string
	watch func(ctx context.Context, uri string, tell func(LineNotice)) error
}

func (f *fakeServer) Watch(ctx context.Context, uri string, tell func(LineNotice)) error {
	f.mu.Lock()
	f.uris = append(f.uris, uri)
	f.mu.Unlock()
	return f.watch(ctx, uri, tell)
}

func (f *fakeServer) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(slices.Values(f.uris))
}

// watchLines runs a driver with one call server for a while of bubble time.
func watchLines(t *testing.T, f *fakeServer, lines []string, lasts time.Duration) *agenttest.Recorder {
	t.Helper()
	r := &agenttest.Recorder{}
	d, err := New(Config{Domain: "example.com", Lines: lines, Servers: []Server{{Name: "pbx", Domain: "pbx.example.com", Watch: f}}},
		Needs{Heart: r}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	if err := d.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
	return r
}

func TestLinesAreToldAsTheCallServerSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		site := netip.MustParseAddr("10.1.1.20")
		f := &fakeServer{watch: func(ctx context.Context, uri string, tell func(LineNotice)) error {
			tell(LineNotice{State: presence.LineConfirmed, Held: true, Sites: []netip.Addr{site}, For: 90 * time.Second})
			tell(LineNotice{State: presence.LineIdle})
			<-ctx.Done()
			return ctx.Err()
		}}
		r := watchLines(t, f, []string{"1001", "not a number"}, time.Minute)
		all := r.All()
		if len(all) != 2 || !slices.Equal(f.seen(), []string{"sip:1001@pbx.example.com"}) {
			t.Fatalf("%d observations of %v", len(all), f.seen())
		}
		o := all[0]
		if o.Source != "dialog/pbx" || o.Of != "sip:1001@example.com" || o.TTL != 90*time.Second || !o.Calls.Exact {
			t.Errorf("observation %+v", o)
		}
		if l := o.Calls.Lines[0]; l.Number != "1001" || !l.Held || l.State != presence.LineConfirmed || !slices.Equal(l.Sites, []netip.Addr{site}) {
			t.Errorf("line %+v", l)
		}
		if all[1].TTL != 10*time.Minute || all[1].Calls.Lines[0].State != presence.LineIdle {
			t.Errorf("observation %+v", all[1])
		}
	})
}

func TestALostSubscriptionTellsNothingAndIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{watch: func(_ context.Context, _ string, tell func(LineNotice)) error {
			tell(LineNotice{State: presence.LineIdle})
			return errors.New("terminated;reason=probation")
		}}
		r := watchLines(t, f, []string{"1001"}, 10*time.Second)
		if n := len(f.seen()); n != 4 || len(r.All()) != n { // at 0, 1, 3 and 7 s: none has lived for a minute
			t.Errorf("%d subscriptions, %d observations", n, len(r.All()))
		}
	})
}

func TestASilentCallServerIsTriedEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{watch: func(context.Context, string, func(LineNotice)) error { return errors.New("timeout") }}
		watchLines(t, f, []string{"1001"}, time.Hour)
		if n := len(f.seen()); n < 15 || n > 25 { // 1, 2, 4 … 256 s, then every 5 minutes
			t.Errorf("tried %d times in an hour", n)
		}
	})
}

func TestOneRefusedPasswordIsTheLastAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{watch: func(ctx context.Context, _ string, _ func(LineNotice)) error {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			return agent.Permanent(errors.New("403 Forbidden"))
		}}
		watchLines(t, f, []string{"1001", "1002", "1003"}, time.Hour)
		if n := len(f.seen()); n != 1 {
			t.Errorf("%d attempts with a refused password", n)
		}
	})
}

func TestNumbersThatPhonesTellAreWatchedToo(t *testing.T) {
	f := &fakeServer{watch: func(ctx context.Context, _ string, tell func(LineNotice)) error {
		tell(LineNotice{State: presence.LineIdle})
		<-ctx.Done()
		return ctx.Err()
	}}
	b := run(t, Config{Phones: []Phone{serve(t, &fakePhone{folder: "7841"})}, Web: 100 * time.Millisecond, Domain: "example.com",
		Lines: []string{"1001"}, Servers: []Server{{Name: "pbx", Watch: f}}}, nil)
	b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Of == "sip:1001@example.com" })
	b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Of == "sip:4001@example.com" })
}
