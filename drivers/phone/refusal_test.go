package phone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"pilotlight/agent/agenttest"
	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
	"pilotlight/agent/schedule"
)

// pages is a phone that serves these bodies.
func pages(t *testing.T, bodies map[string]string) Phone {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, bodies[r.URL.Path])
	}))
	t.Cleanup(s.Close)
	return phoneAt(t, s.URL)
}

// talkative is a phone whose words are longer than any that are kept, and no text.
func talkative(t *testing.T) Phone {
	word := "\x1b[2J\u202e\xff" + strings.Repeat("W€", 1000)
	device := string(golden(t, "7841", "device.xml"))
	for _, tag := range []string{"modelNumber", "serialNumber", "versionID"} {
		before, rest, _ := strings.Cut(device, "<"+tag+">")
		_, after, found := strings.Cut(rest, "</"+tag+">")
		if !found {
			t.Fatalf("no %s", tag)
		}
		device = before + "<" + tag + ">" + word + "</" + tag + ">" + after
	}
	network := "<NetworkConfiguration><CallManager1>" + strings.Repeat("x", 150) + " Active</CallManager1></NetworkConfiguration>"
	stream := "<StreamingStatistics><RcvrCodec>" + word + "</RcvrCodec></StreamingStatistics>"
	return pages(t, map[string]string{pathDevice: device, pathNetwork: network, pathStream: stream})
}

// running runs a driver until stop, or the end of the test.
func running(t *testing.T, d *Driver) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// runLedger is a real heart.
func runLedger(t *testing.T) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(ledger.Config{Path: filepath.Join(t.TempDir(), "store"), Domain: "example.com", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

// waitDevice waits until the heart's one device is so.
func waitDevice(t *testing.T, l *ledger.Ledger, so func(presence.Device) bool) presence.Device {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	feed, err := l.FollowDevices(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	var last presence.Device
	for {
		got, err := feed.Next(ctx)
		if err != nil {
			t.Fatalf("last: %+v: %v", last, err)
		}
		if last = got; so(got) {
			return got
		}
	}
}

// A phone that talks too much is shown like all others.
func TestWordsOfAPhoneAreCleanAndShort(t *testing.T) {
	l := runLedger(t)
	d, err := New(Config{Phones: []Phone{talkative(t)}, Web: 100 * time.Millisecond, Domain: "example.com"},
		Needs{Heart: l, Web: schedule.New("phone-web", schedule.Options{})}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, d)
	got := waitDevice(t, l, func(d presence.Device) bool { return d.Identity.Model != "" && d.Registration != nil })
	stop()
	for _, s := range []string{got.Identity.Model, got.Identity.Serial, got.Identity.Firmware, got.Registration.Server} {
		if len(s) < 100 || len(s) > 1024 || !utf8.ValidString(s) || strings.ContainsAny(s, "\x1b\u202e") {
			t.Errorf("%d bytes: %.60q in %+v", len(s), s, got.Identity)
		}
	}
}

// choosy is a heart that refuses one device.
type choosy struct {
	agenttest.Recorder
	device string
}

func (c *choosy) Observe(ctx context.Context, all ...presence.Observation) error {
	_ = c.Recorder.Observe(ctx, all...)
	if all[0].Device == c.device || string(all[0].Of) == c.device {
		return fmt.Errorf("device %s: %w", c.device, ledger.ErrFull)
	}
	return nil
}

// What the heart refuses of one is said once, and costs nobody else.
func TestARefusedPhoneStopsNoOther(t *testing.T) {
	f := &fakePhone{folder: "7841"}
	first, second := serve(t, f), serve(t, f)
	first.Name, second.Name = "refused", "taken" // no names of Cisco's, so that the page may be of either
	first.SIPPort = 5060
	heart, log := &choosy{device: "refused"}, &logBook{}
	d, err := New(Config{Phones: []Phone{first, second}, Web: 50 * time.Millisecond, SIP: 50 * time.Millisecond, Domain: "example.com"},
		Needs{Heart: heart, Web: schedule.New("phone-web", schedule.Options{}), SIP: schedule.New("phone-sip", schedule.Options{}), Asker: &fakeAsker{answer: mpp}},
		slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, d)
	for _, of := range []struct{ device, source string }{{"refused", sourceWeb}, {"refused", sourceSIP}, {"taken", sourceWeb}} {
		var last time.Time
		for range 4 {
			last = heart.Wait(t, 5*time.Second, func(o presence.Observation) bool {
				return o.Device == of.device && o.Source == of.source && o.Seen.After(last)
			}).Seen
		}
	}
	stop()
	said := 0
	for _, line := range log.lines() {
		if strings.Contains(line, "refused by the heart") {
			said++
		}
	}
	if said != 2 { // of its pages, and of its OPTIONS
		t.Errorf("said %d times: %q", said, log.lines())
	}
}

func TestALineThatIsRefusedIsSaidOnce(t *testing.T) {
	heart, log := &choosy{device: "sip:1001@example.com"}, &logBook{}
	lines := &fakeServer{follow: func(ctx context.Context, _ string, tell func(LineNotice), _ func(error)) error {
		for range 3 {
			tell(LineNotice{State: presence.LineIdle})
		}
		<-ctx.Done()
		return ctx.Err()
	}}
	d, err := New(Config{Domain: "example.com", Lines: []string{"1001", "1002"}, Servers: []Server{{Name: "pbx", Follow: lines}}},
		Needs{Heart: heart}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	stop := running(t, d)
	heart.Wait(t, 5*time.Second, func(o presence.Observation) bool { return o.Of == "sip:1002@example.com" })
	said := func() int { return strings.Count(strings.Join(log.lines(), "\n"), "refused by the heart") }
	for end := time.Now().Add(5 * time.Second); said() == 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond) // 1001 may be told of after 1002
	}
	stop()
	if n := said(); n != 1 {
		t.Errorf("said %d times: %q", n, log.lines())
	}
}
