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
	"pilotlight/drivers/internal/event"
)

// fakeServer is a call server: each line's following is handed to the test.
type fakeServer struct {
	mu     sync.Mutex
	uris   []string
	follow func(ctx context.Context, uri string, tell func(LineNotice), lost func(error)) error
}

func (f *fakeServer) Follow(ctx context.Context, uri string, tell func(LineNotice), lost func(error)) error {
	f.mu.Lock()
	f.uris = append(f.uris, uri)
	f.mu.Unlock()
	return f.follow(ctx, uri, tell, lost)
}

// steady is a call server that tells one thing of each line, and no more.
func steady(n LineNotice) *fakeServer {
	return &fakeServer{follow: func(ctx context.Context, _ string, tell func(LineNotice), _ func(error)) error {
		tell(n)
		<-ctx.Done()
		return ctx.Err()
	}}
}

func (f *fakeServer) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(slices.Values(f.uris))
}

// followLines runs a driver with one call server for a while of bubble time.
func followLines(t *testing.T, f *fakeServer, lines []string, lasts time.Duration) *agenttest.Recorder {
	t.Helper()
	r := &agenttest.Recorder{}
	d, err := New(Config{Domain: "example.com", Lines: lines, Servers: []Server{{Name: "pbx", Domain: "pbx.example.com", Follow: f}}},
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
		f := &fakeServer{follow: func(ctx context.Context, _ string, tell func(LineNotice), _ func(error)) error {
			tell(LineNotice{State: presence.LineConfirmed, Held: true, Sites: []netip.Addr{site}, For: 90 * time.Second})
			tell(LineNotice{State: presence.LineIdle})
			tell(LineNotice{State: presence.LineConfirmed, Apart: []LineNotice{
				{State: presence.LineConfirmed, Sites: []netip.Addr{site}}, {State: presence.LineEarly, Sites: []netip.Addr{site.Next()}}}})
			<-ctx.Done()
			return ctx.Err()
		}}
		r := followLines(t, f, []string{"1001", "not a number"}, time.Minute)
		all := r.All()
		if len(all) != 3 || !slices.Equal(f.seen(), []string{"sip:1001@pbx.example.com"}) {
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
		if l := all[2].Calls.Lines; len(l) != 2 || l[0].Number != "1001" || l[1].Number != "1001" || l[1].State != presence.LineEarly || !slices.Equal(l[1].Sites, []netip.Addr{site.Next()}) {
			t.Errorf("two phones, each at its own: %+v", l)
		}
	})
}

var inACall = LineNotice{State: presence.LineConfirmed, For: 10 * time.Minute}

// A line whose subscription is lost is last known from then on, with the time at
// which it was seen; and what its phone shows counts again.
func TestALostSubscriptionVouchesForNothing(t *testing.T) {
	refused := agent.Permanent(errors.New("401 Unauthorized"))
	for _, tt := range []struct {
		name string
		end  func(ctx context.Context, lost func(error)) error
	}{
		{"the notifier ended it", func(ctx context.Context, lost func(error)) error {
			lost(&event.Termination{Reason: "noresource"})
			<-ctx.Done()
			return ctx.Err()
		}},
		{"481 to a refresh", func(ctx context.Context, lost func(error)) error {
			lost(&event.Refusal{Status: 481})
			lost(&event.Refusal{Status: 503}) // and all that follow
			lost(event.ErrNoNotice)
			<-ctx.Done()
			return ctx.Err()
		}},
		{"its password is refused", func(context.Context, func(error)) error { return refused }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeServer{follow: func(ctx context.Context, _ string, tell func(LineNotice), lost func(error)) error {
					tell(inACall)
					time.Sleep(time.Minute)
					return tt.end(ctx, lost)
				}}
				all := followLines(t, f, []string{"1001"}, 2*time.Minute).All()
				if len(all) != 2 {
					t.Fatalf("told %+v", all)
				}
				was, over := all[0], all[1]
				if over.Seen != was.Seen || over.Source != was.Source || over.Calls.Lines[0].State != presence.LineConfirmed {
					t.Errorf("told %+v, and then %+v", was, over)
				}
				if lost := was.Seen.Add(time.Minute); !was.LiveAt(lost) || over.LiveAt(lost) || over.TTL != time.Minute {
					t.Errorf("live for %v after the loss", over.Seen.Add(over.TTL).Sub(lost))
				}
			})
		})
	}
}

// One refused password ends the server; so nobody vouches for its other lines.
func TestARefusedPasswordEndsAllLinesOfAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{follow: func(ctx context.Context, uri string, tell func(LineNotice), _ func(error)) error {
			tell(inACall)
			if uri == "sip:1002@pbx.example.com" {
				time.Sleep(time.Second)
				return agent.Permanent(errors.New("401 Unauthorized"))
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		last := map[presence.Presentity]presence.Observation{}
		for _, o := range followLines(t, f, []string{"1001", "1002"}, time.Minute).All() {
			last[o.Of] = o
		}
		for of, o := range last {
			if o.TTL != time.Second {
				t.Errorf("%s is vouched for %v", of, o.TTL)
			}
		}
	})
}

// At a regular stop all stays as it was told: the ledger knows that we are gone.
func TestAStopTakesNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if all := followLines(t, steady(inACall), []string{"1001"}, time.Minute).All(); len(all) != 1 {
			t.Errorf("told %+v", all)
		}
	})
}

// The whole way: the call server sees a call, is lost, and the phone's own pages,
// which show no audio, are believed again.
func TestALostCallServerHidesNoStreams(t *testing.T) {
	l := runLedger(t)
	down := make(chan struct{})
	f := &fakeServer{follow: func(ctx context.Context, _ string, tell func(LineNotice), lost func(error)) error {
		tell(inACall)
		<-down
		lost(&event.Refusal{Status: 481})
		<-ctx.Done()
		return ctx.Err()
	}}
	d, err := New(Config{Domain: "example.com", Lines: []string{"1001"}, Servers: []Server{{Name: "pbx", Follow: f}}}, Needs{Heart: l}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	running(t, d)
	if err := l.Observe(t.Context(), presence.Observation{Source: sourceWeb, Device: "SEP0C1167AA0001", Seen: time.Now(), TTL: time.Hour, Facts: presence.Facts{
		Identity: &presence.Identity{Lines: []string{"1001"}}, Calls: &presence.Calls{}, Reach: &presence.Reach{Outcome: presence.Answered}}}); err != nil {
		t.Fatal(err)
	}
	waitDevice(t, l, func(d presence.Device) bool { return d.State == presence.InUse && d.Freshness == presence.Live })
	close(down)
	waitDevice(t, l, func(d presence.Device) bool { return d.State == presence.Idle && d.Freshness == presence.Live })
}

func TestOneRefusedPasswordIsTheLastAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{follow: func(ctx context.Context, _ string, _ func(LineNotice), _ func(error)) error {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			return agent.Permanent(errors.New("403 Forbidden"))
		}}
		followLines(t, f, []string{"1001", "1002", "1003"}, time.Hour)
		if n := len(f.seen()); n != 1 {
			t.Errorf("%d attempts with a refused password", n)
		}
	})
}

func TestNumbersThatPhonesTellAreFollowedToo(t *testing.T) {
	b := run(t, Config{Phones: []Phone{serve(t, &fakePhone{folder: "7841"})}, Web: 100 * time.Millisecond, Domain: "example.com",
		Lines: []string{"1001"}, Servers: []Server{{Name: "pbx", Follow: steady(LineNotice{State: presence.LineIdle})}}}, nil)
	b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Of == "sip:1001@example.com" })
	b.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Of == "sip:4001@example.com" })
}
