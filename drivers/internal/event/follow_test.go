package event

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pilotlight/agent"
	"pilotlight/drivers/internal/sip"
)

func doc(version int, state, dialogs string) string {
	return fmt.Sprintf(`<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="%d" state="%s" entity="sip:1001@example.com">%s</dialog-info>`, version, state, dialogs)
}

func TestALineIsToldAsItsDocumentsSay(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, func(k int, q sub) {
		if k == 1 {
			q.ok(3600, 1, "") // neutral: no dialogs
			q.notify(2, "active", doc(1, "full", `<dialog id="a" direction="recipient"><state>early</state></dialog>`))
			q.notify(3, "active", "this is no XML <")
			q.notify(4, "active", doc(2, "partial", `<dialog id="a"><state>confirmed</state><local><target uri="sip:1001@127.0.0.9:5060"/></local></dialog>`))
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	var got []string
	cfg := n.config()
	cfg.Timeout = 100 * time.Millisecond
	_ = s.FollowLine(ctx, cfg, func(l Line) {
		got = append(got, fmt.Sprintf("%s%v", l.State, l.Sites))
		if l.For <= 0 || l.For > time.Hour {
			t.Errorf("for %v", l.For)
		}
		if len(got) == 3 {
			cancel()
		}
	}, func(err error) { t.Errorf("lost: %v", err) })
	if strings.Join(got, " ") != "idle[] early[] confirmed[127.0.0.9]" {
		t.Error(got)
	}
}

const inACall = `<dialog id="a"><state>confirmed</state></dialog>`

// However a subscription is lost, that is told, after what it told; and it is
// made anew, in a dialog of its own.
func TestALossIsToldAtOnce(t *testing.T) {
	answering := func(status int) func(int, sub) {
		return func(k int, q sub) {
			if k == 1 {
				q.ok(2, 1, doc(0, "full", inACall)) // refreshed after 1.6 to 1.8 s
				return
			}
			q.reply(status, "")
		}
	}
	for _, tt := range []struct {
		name string
		act  func(int, sub)
		is   func(error) bool
		by   time.Duration
	}{
		{"terminated", func(k int, q sub) {
			q.ok(3600, 1, doc(0, "full", inACall))
			q.notify(2, "terminated;reason=deactivated", "")
		}, func(err error) bool { _, ok := errors.AsType[*Termination](err); return ok }, time.Second},
		{"481 to a refresh", answering(481), func(err error) bool { r, ok := errors.AsType[*Refusal](err); return ok && r.Status == 481 }, 1900 * time.Millisecond},
		{"503 to all refreshes", answering(503), func(err error) bool { return errors.Is(err, ErrExpired) }, 2500 * time.Millisecond},
		{"refused", func(_ int, q sub) { q.reply(403, "") }, func(err error) bool { r, ok := errors.AsType[*Refusal](err); return ok && r.Status == 403 }, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := subscriber(t, DialogPackage)
			n := newNotifier(t, tt.act)
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			began, told := time.Now(), 0
			err := s.FollowLine(ctx, n.config(), func(Line) { told++ }, func(err error) {
				if took := time.Since(began); !tt.is(err) || took > tt.by {
					t.Errorf("lost after %v: %v", took, err)
				}
				cancel()
			})
			if !errors.Is(err, context.Canceled) || told != 1 && tt.name != "refused" {
				t.Errorf("%v, told %d times", err, told)
			}
		})
	}
}

func TestALostSubscriptionIsMadeAnewInADialogOfItsOwn(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, func(k int, q sub) {
		q.ok(60, 1, doc(0, "full", inACall))
		if k == 1 {
			q.notify(2, "terminated;reason=deactivated", "")
		}
	})
	ctx, cancel := context.WithCancel(context.Background())
	told, lost := 0, 0
	cfg := n.config()
	cfg.Timeout = 2 * time.Second
	err := s.FollowLine(ctx, cfg, func(Line) {
		if told++; told == 2 {
			cancel()
		}
	}, func(error) { lost++ })
	if !errors.Is(err, context.Canceled) || lost != 1 {
		t.Errorf("%v, lost %d times", err, lost)
	}
	got := n.seen()
	if header(got[0], "Call-ID") == header(got[1], "Call-ID") || strings.Contains(header(got[1], "To"), "tag") {
		t.Error("the new subscription uses the old dialog")
	}
	n.become(func(_ int, q sub) { q.reply(401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"") })
	if err := s.FollowLine(context.Background(), cfg, func(Line) {}, func(error) { t.Error("tried again") }); !agent.IsPermanent(err) {
		t.Error(err)
	}
}

// answers is an endpoint whose far side says the same to each SUBSCRIBE.
type answers struct {
	status int // 0: nothing
	asked  int
}

func (a *answers) Handle(sip.Claim, sip.Handler) error { return nil }
func (a *answers) Do(context.Context, *sip.Request) (*sip.Response, error) {
	if a.asked++; a.status == 0 {
		return nil, errors.New("timeout")
	}
	return &sip.Response{Status: a.status}, nil
}

// A call server that does not want us is left alone (RFC 6665 §4.1.3), and one
// that is silent is asked ever more rarely.
func TestHowOftenALineIsTriedInAnHour(t *testing.T) {
	for _, tt := range []struct{ status, least, most int }{{403, 2, 2}, {489, 2, 2}, {503, 15, 25}, {0, 15, 25}} {
		synctest.Test(t, func(t *testing.T) {
			far := &answers{status: tt.status}
			s, err := New(DialogPackage, far, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			lost := 0
			err = s.FollowLine(ctx, Config{URI: "sip:1001@example.com"}, func(Line) {}, func(error) { lost++ })
			if !errors.Is(err, context.DeadlineExceeded) || far.asked != lost || lost < tt.least || lost > tt.most {
				t.Errorf("%d: asked %d times, lost %d times: %v", tt.status, far.asked, lost, err)
			}
		})
	}
}

func TestThePauseBeforeANewSubscription(t *testing.T) {
	const pause = 8 * time.Second
	end := func(reason string, after time.Duration) error { return &Termination{Reason: reason, RetryAfter: after} }
	for _, tt := range []struct {
		err   error
		lived time.Duration
		want  time.Duration
	}{
		{end("deactivated", 0), time.Hour, 0}, {end("timeout", 0), time.Hour, 0}, {end("deactivated", 0), time.Second, pause},
		{end("probation", time.Minute), time.Hour, time.Minute}, {end("probation", 0), time.Hour, pause}, {end("giveup", time.Minute), 0, time.Minute},
		{end("rejected", 0), time.Hour, longPause}, {end("noresource", 0), time.Hour, longPause}, {end("invariant", 2*time.Hour), 0, 2 * time.Hour}, {end("probation", 31536000*time.Second), 0, mostAsked},
		{end("", 0), time.Hour, pause}, {end("something new", time.Minute), 0, time.Minute},
		{&Refusal{Status: 481}, time.Hour, 0}, {&Refusal{Status: 481}, 0, pause}, {&Refusal{Status: 503, RetryAfter: time.Minute}, 0, time.Minute},
		{&Refusal{Status: 403}, 0, longPause}, {&Refusal{Status: 489}, time.Hour, longPause}, {&Refusal{Status: 503, RetryAfter: 31536000 * time.Second}, 0, mostAsked}, {&Refusal{Status: 404}, 0, pause}, {ErrNoNotice, time.Hour, pause}, {ErrExpired, time.Hour, pause},
	} {
		if got := afterEnd(tt.err, tt.lived, pause); got != tt.want {
			t.Errorf("%v after %v: %v, want %v", tt.err, tt.lived, got, tt.want)
		}
	}
}
