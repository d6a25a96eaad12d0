package event

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"pilotlight/agent"
	"pilotlight/drivers/internal/sip"
)

func TestASubscriptionTellsWhatIsNotified(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, func(_ int, q sub) { q.ok(3600, 1, "<one/>") })
	x := subscribe(t, s, n.config())
	got := nextNotice(t, x)
	if string(got.Body) != "<one/>" || got.State != Active || got.ContentType != DialogInfoType || got.CSeq != 1 ||
		got.Expires < 3590*time.Second || got.Expires > time.Hour {
		t.Errorf("%+v", got)
	}
	req := n.seen()[0]
	for _, want := range []string{"SUBSCRIBE sip:1001@example.com SIP/2.0\r\n", "From: <sip:pilot@example.com>;tag=", "To: <sip:1001@example.com>\r\n",
		"Event: dialog\r\n", "Accept: application/dialog-info+xml\r\n", "Expires: 3600\r\n", "Contact: <sip:pilotlight@127.0.0.1:"} {
		if !strings.Contains(req, want) {
			t.Errorf("no %q in\n%s", want, req)
		}
	}
	if n.answer() != 200 {
		t.Error("NOTIFY not accepted")
	}
}

func TestANotifyMayComeBeforeTheResponse(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, nil)
	n.become(func(k int, q sub) {
		if k == 1 {
			q.notify(1, "active;expires=600", "early")
			if n.answer0() != 200 {
				t.Error("early NOTIFY refused")
			}
			q.reply(200, "Expires: 3600")
		}
	})
	cfg := n.config()
	cfg.FirstNotice = 50 * time.Millisecond // Timer N does not run: it has come
	x := subscribe(t, s, cfg)
	if got := nextNotice(t, x); string(got.Body) != "early" {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := x.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if left := time.Until(x.until); left > 600*time.Second {
		t.Errorf("it expires in %v, though the notifier said 600 s", left)
	}
}

// answer0 reads from within the reading goroutine.
func (n *notifier) answer0() int {
	b := make([]byte, 65535)
	_ = n.pc.SetReadDeadline(time.Now().Add(wait))
	size, _, err := n.pc.ReadFrom(b)
	_ = n.pc.SetReadDeadline(time.Time{})
	if err != nil {
		return 0
	}
	status := 0
	fmt.Sscanf(string(b[:size]), "SIP/2.0 %d", &status)
	return status
}

func TestNotifiesThatAreNotOursAreRefused(t *testing.T) {
	s := subscriber(t, DialogPackage)
	var first sub
	n := newNotifier(t, func(k int, q sub) {
		if k == 1 {
			first = q
			q.ok(3600, 10, "ten")
		}
	})
	x := subscribe(t, s, n.config())
	nextNotice(t, x)
	if n.answer() != 200 {
		t.Fatal("first")
	}
	fork := first
	fork.tag = "remote2"
	tests := []struct {
		name string
		send func()
		want int
	}{
		{"another call", func() { first.notify(11, "active", "x", "Call-ID: other") }, 481},
		{"another tag of ours", func() { first.notify(11, "active", "x", "To: <sip:a@b>;tag=zzz") }, 481},
		{"no tag of ours", func() { first.notify(11, "active", "x", "To: <sip:a@b>") }, 481},
		{"a fork", func() { fork.notify(11, "active", "x") }, 481},
		{"another id", func() { first.notify(11, "active", "x", "Event: dialog;id=7") }, 481},
		{"another package", func() { first.notify(11, "active", "x", "Event: presence") }, 489},
		{"no state", func() { first.notify(11, "", "x") }, 400},
		{"overtaken on the way", func() { first.notify(9, "active", "x") }, 500},
		{"the same number anew", func() { first.notify(10, "active", "x") }, 500},
		{"a gap is fine", func() { first.notify(15, "active", "fifteen") }, 200},
	}
	for _, tt := range tests {
		tt.send()
		if got := n.answer(); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := nextNotice(t, x); string(got.Body) != "fifteen" {
		t.Errorf("%q came through", got.Body)
	}
}

func TestARefreshKeepsTheDialogAndFollowsItsTarget(t *testing.T) {
	s := subscriber(t, DialogPackage)
	moved := newNotifier(t, func(k int, q sub) { q.ok(3600, 10+k, "two") })
	n := newNotifier(t, func(k int, q sub) {
		q.reply(200, "Expires: 1")
		q.notify(1, "active;expires=1", "one", "Contact: <sip:moved@"+moved.addr+">", "Record-Route: <sip:"+moved.addr+";lr>, <sip:inner.example.com;lr>")
	})
	cfg := n.config()
	cfg.Expires = time.Minute
	x := subscribe(t, s, cfg)
	nextNotice(t, x)
	if got := nextNotice(t, x); string(got.Body) != "two" {
		t.Errorf("%+v", got)
	}
	first, second := n.seen()[0], moved.await(1)[0]
	if header(first, "Call-ID") != header(second, "Call-ID") || header(first, "From") != header(second, "From") {
		t.Error("another dialog")
	}
	for _, want := range []string{"SUBSCRIBE sip:moved@" + moved.addr + " SIP/2.0", "To: <sip:1001@example.com>;tag=remote1", "Expires: 60",
		"Route: <sip:" + moved.addr + ";lr>\r\nRoute: <sip:inner.example.com;lr>\r\n"} {
		if !strings.Contains(second, want) {
			t.Errorf("no %q in\n%s", want, second)
		}
	}
	var a, b int
	fmt.Sscan(header(first, "CSeq"), &a)
	fmt.Sscan(header(second, "CSeq"), &b)
	if b <= a {
		t.Errorf("CSeq %d after %d", b, a)
	}
}

func TestAnIntervalTooBriefIsLengthenedOnce(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, func(k int, q sub) {
		if header(q.text, "Expires") == "120" {
			q.ok(120, 1, "x")
			return
		}
		q.reply(423, "Min-Expires: 120")
	})
	cfg := n.config()
	cfg.Expires = 30 * time.Second
	nextNotice(t, subscribe(t, s, cfg))
	never := newNotifier(t, func(k int, q sub) { q.reply(423, fmt.Sprintf("Min-Expires: %d", 1000*k)) })
	var r *Refusal
	if _, err := s.Subscribe(context.Background(), never.config()); !errors.As(err, &r) || r.Status != 423 || len(never.seen()) > 2 {
		t.Errorf("%v after %d requests", err, len(never.seen()))
	}
}

func TestWhatARefusalMeans(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, nil)
	for _, tt := range []struct {
		status    int
		permanent bool
	}{{401, true}, {407, true}, {403, false}, {404, false}, {489, false}, {503, false}} {
		n.become(func(_ int, q sub) { q.reply(tt.status, "Retry-After: 7") })
		_, err := s.Subscribe(context.Background(), n.config())
		var r *Refusal
		if !errors.As(err, &r) || r.Status != tt.status || r.RetryAfter != 7*time.Second || agent.IsPermanent(err) != tt.permanent {
			t.Errorf("%d: %v", tt.status, err)
		}
	}
}

func TestWithoutANotifyInTimeItHasFailed(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, func(_ int, q sub) { q.reply(200, "Expires: 3600") })
	cfg := n.config()
	cfg.FirstNotice = 50 * time.Millisecond
	if _, err := nextOrError(subscribe(t, s, cfg)); !errors.Is(err, ErrNoNotice) {
		t.Error(err)
	}
}

func TestARefreshThatFindsNoDialogEndsTheSubscription(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, func(k int, q sub) {
		if k == 1 {
			q.ok(1, 1, "x")
			return
		}
		q.reply(481)
	})
	x := subscribe(t, s, n.config())
	nextNotice(t, x)
	var r *Refusal
	if _, err := nextOrError(x); !errors.As(err, &r) || r.Status != 481 {
		t.Error(err)
	}
}

func TestARefreshThatFailsForNowIsTriedUntilItExpires(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, func(k int, q sub) {
		if k == 1 {
			q.ok(2, 1, "x")
			return
		}
		q.reply(503)
	})
	cfg := n.config()
	cfg.Expires = 2 * time.Second
	x := subscribe(t, s, cfg)
	nextNotice(t, x)
	if _, err := nextOrError(x); !errors.Is(err, ErrExpired) || len(n.seen()) < 2 {
		t.Errorf("%v after %d requests", err, len(n.seen()))
	}
}

func TestTheNotifiersEndIsToldWithItsReason(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, func(_ int, q sub) {
		q.reply(200, "Expires: 60")
		q.notify(1, "terminated;reason=Probation;retry-after=17", "last")
	})
	x := subscribe(t, s, n.config())
	got := nextNotice(t, x)
	if got.State != Ended || got.Reason != "probation" || got.RetryAfter != 17*time.Second || string(got.Body) != "last" {
		t.Errorf("%+v", got)
	}
	var end *Termination
	if _, err := nextOrError(x); !errors.As(err, &end) || end.Reason != "probation" || end.RetryAfter != 17*time.Second {
		t.Error(err)
	}
	if err := x.Close(context.Background()); err != nil || len(n.seen()) != 1 {
		t.Errorf("a subscription that is over is unsubscribed: %v, %d requests", err, len(n.seen()))
	}
}

func TestCloseUnsubscribesAndWaitsForTheLastNotify(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, func(k int, q sub) {
		if k == 1 {
			q.ok(3600, 1, "x")
			return
		}
		q.reply(200, "Expires: 0")
		q.notify(2, "terminated;reason=timeout", "")
	})
	x := subscribe(t, s, n.config())
	nextNotice(t, x)
	began := time.Now()
	if err := x.Close(context.Background()); err != nil || time.Since(began) > time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if got := n.seen(); len(got) != 2 || header(got[1], "Expires") != "0" {
		t.Errorf("%q", got)
	}
	if a, b := n.answer(), n.answer(); a != 200 || b != 200 {
		t.Errorf("NOTIFYs answered %d, %d", a, b)
	}
}

func TestCloseDoesNotWaitForTheDead(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, func(k int, q sub) {
		if k == 1 {
			q.ok(3600, 1, "x")
		}
	})
	x := subscribe(t, s, n.config())
	nextNotice(t, x)
	began := time.Now()
	_ = x.Close(context.Background())
	if d := time.Since(began); d > closeTime+time.Second {
		t.Errorf("it took %v", d)
	}
}

func TestASubscriptionSurvivesLoss(t *testing.T) {
	s := subscriber(t, DialogPackage)
	lost := 0
	n := newNotifier(t, func(k int, q sub) {
		if k <= 2 { // the SUBSCRIBE, and its first retransmission
			lost++
			return
		}
		q.ok(3600, 1, "x")
	})
	nextNotice(t, subscribe(t, s, n.config()))
	got := n.seen()
	if lost != 2 || header(got[0], "Via") != header(got[2], "Via") {
		t.Errorf("lost %d, %d requests", lost, len(got))
	}
}

func TestTheMailboxIsBounded(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, func(k int, q sub) {
		if k == 1 {
			q.reply(200, "Expires: 60")
			for i := 1; i <= 100; i++ {
				q.notify(i, "active", fmt.Sprint(i))
			}
		}
	})
	cfg := n.config()
	cfg.Queue = 4
	x := subscribe(t, s, cfg)
	for range 100 {
		if n.answer() != 200 {
			t.Fatal("not accepted")
		}
	}
	if got := nextNotice(t, x); string(got.Body) != "97" {
		t.Errorf("first kept: %s", got.Body)
	}
}

func TestAPackageIsClaimedOnce(t *testing.T) {
	s := subscriber(t, DialogPackage)
	if _, err := New(DialogPackage, s.endpoint, s.log); err == nil {
		t.Error("claimed twice")
	}
	if _, err := New(Package{Name: "presence"}, s.endpoint, s.log); err != nil {
		t.Error(err)
	}
}

func TestAStrictRouterGetsTheRequestURI(t *testing.T) {
	uri, routes := strict("sip:a@b", []string{"<sip:strict.example.com>", "<sip:two;lr>"})
	if uri != "sip:strict.example.com" || strings.Join(routes, ",") != "<sip:two;lr>,<sip:a@b>" {
		t.Error(uri, routes)
	}
}

// A refused port, a dead host: the error says so by its type.
func TestNobodyThere(t *testing.T) {
	s := subscriber(t, DialogPackage)
	n := newNotifier(t, func(int, sub) {})
	cfg := n.config()
	cfg.Timeout = 50 * time.Millisecond
	_, err := s.Subscribe(context.Background(), cfg)
	var ne net.Error
	if !errors.As(err, &ne) || !ne.Timeout() {
		t.Error(err)
	}
	var se *sip.Error
	if !errors.As(err, &se) || se.Method != "SUBSCRIBE" {
		t.Error(err)
	}
}
