package central

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pilotlight/agent"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
	"pilotlight/drivers/internal/pidf"
	"pilotlight/drivers/internal/sip"
)

// TestOverTheWire is the same over sockets, UDP and TCP, with digest, a far side
// that forgets, and one that is silent for a while.
func TestOverTheWire(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			far := newCompositor()
			far.user, far.pass = "branch", "secret"
			port := far.listen(t)
			end := endpoint(t)
			c := config()
			c.Target = fmt.Sprintf("sip:127.0.0.1:%d;transport=%s", port, transport)
			c.Credentials = sip.Credentials{Username: "branch", Password: "secret"}
			b := started(t, c, newStore(), far, end)
			alice := b.say("alice", presence.OnThePhone)
			b.await(t, alice, presence.OnThePhone)
			far.set(func() { clear(far.tags) })
			b.say("alice", presence.Away)
			b.await(t, alice, presence.Away)
			var dropped atomic.Bool
			far.set(func() {
				far.answer = func(q ask) (reply, bool) {
					return reply{}, q.method == "PUBLISH" && dropped.CompareAndSwap(false, true)
				}
			})
			if transport == "udp" { // on TCP nobody sends again before the deadline
				b.say("alice", presence.Busy)
				b.await(t, alice, presence.Busy)
			}
			if err := b.stop(); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

func TestAWrongPasswordOverTheWire(t *testing.T) {
	far := newCompositor()
	far.user, far.pass = "branch", "secret"
	c := config()
	c.Target = fmt.Sprintf("sip:127.0.0.1:%d;transport=tcp", far.listen(t))
	c.Credentials = sip.Credentials{Username: "branch", Password: "wrong"}
	b := started(t, c, newStore(), far, endpoint(t))
	b.say("alice", presence.Busy)
	b.say("bob", presence.Busy)
	next, done := b.board.Follow()
	defer done()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		all, err := next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 1 && all[0].Mode == relay.Island {
			break
		}
	}
	if err := b.stop(); !agent.IsPermanent(err) {
		t.Error(err)
	}
}

// await waits until the far side says want of a presentity, once.
func (b *bench) await(t *testing.T, of presence.Presentity, want presence.Availability) {
	t.Helper()
	for late := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		bodies := b.far.standing(string(of))
		if len(bodies) == 1 {
			if p, err := pidf.Parse([]byte(bodies[0])); err == nil && p.Availability() == want {
				return
			}
		}
		if time.Now().After(late) {
			t.Fatalf("%s never became %s: %q", of, want, bodies)
		}
	}
}

// endpoint runs a SIP endpoint on free ports of loopback.
func endpoint(t *testing.T) *sip.Endpoint {
	t.Helper()
	e, err := sip.New(sip.Config{Listen: []string{"udp:127.0.0.1:0", "tcp:127.0.0.1:0"}}, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestASocketOnLoopbackOnlyIsNamedAsTheFault: at once, and as what to add to the
// configuration rather than as a far side that is silent.
func TestASocketOnLoopbackOnlyIsNamedAsTheFault(t *testing.T) {
	c := config()
	c.Target = "sip:198.51.100.7:5060" // TEST-NET-2: no packet leaves
	b := started(t, c, newStore(), nil, endpoint(t))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	next, done := b.board.Follow()
	defer done()
	for {
		all, err := next(ctx)
		if err != nil {
			t.Fatal(err, b.status())
		}
		if len(all) != 1 || all[0].Mode != relay.Island {
			continue
		}
		if want := "sip.listen has only loopback addresses, and 198.51.100.7:5060 is not on loopback: add udp:ADDRESS:5060 of this machine to sip.listen"; all[0].Why != want {
			t.Errorf("why: %s", all[0].Why)
		}
		return
	}
}
