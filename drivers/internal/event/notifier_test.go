package event

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pilotlight/drivers/internal/sip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wait = 5 * time.Second

// notifier is a call server with a raw UDP socket. It shares no code with the
// product: what it says is text.
type notifier struct {
	t    *testing.T
	pc   net.PacketConn
	addr string

	mu        sync.Mutex
	act       func(n int, s sub) // answers the n-th SUBSCRIBE (from 1); it may send NOTIFYs
	requests  []string
	responses chan string // to our NOTIFYs
}

// sub is one SUBSCRIBE as the notifier sees it.
type sub struct {
	n    *notifier
	text string
	from net.Addr
	tag  string // the notifier's
}

func newNotifier(t *testing.T, act func(n int, s sub)) *notifier {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &notifier{t: t, pc: pc, addr: pc.LocalAddr().String(), act: act, responses: make(chan string, 100)}
	done := make(chan struct{})
	go func() { defer close(done); n.read() }()
	t.Cleanup(func() { pc.Close(); <-done })
	return n
}

func (n *notifier) read() {
	b := make([]byte, 65535)
	for {
		size, from, err := n.pc.ReadFrom(b)
		if err != nil {
			return
		}
		text := string(b[:size])
		if strings.HasPrefix(text, "SIP/2.0 ") {
			select {
			case n.responses <- text:
			default:
			}
			continue
		}
		n.mu.Lock()
		n.requests = append(n.requests, text)
		count, act := len(n.requests), n.act
		n.mu.Unlock()
		act(count, sub{n, text, from, "remote1"})
	}
}

// become changes how SUBSCRIBEs are answered.
func (n *notifier) become(act func(n int, s sub)) {
	n.mu.Lock()
	n.act = act
	n.mu.Unlock()
}

func (n *notifier) seen() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.requests...)
}

// await waits until k requests have come.
func (n *notifier) await(k int) []string {
	n.t.Helper()
	for end := time.Now().Add(2 * wait); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if got := n.seen(); len(got) >= k {
			return got
		}
	}
	n.t.Fatalf("%d requests came, want %d", len(n.seen()), k)
	return nil
}

func header(msg, name string) string {
	for line := range strings.SplitSeq(msg, "\r\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func (s sub) reply(status int, fields ...string) {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d X\r\n", status)
	for _, name := range []string{"Via", "From", "To", "Call-ID", "CSeq"} {
		v := header(s.text, name)
		if name == "To" && !strings.Contains(v, "tag=") {
			v += ";tag=" + s.tag
		}
		fmt.Fprintf(&b, "%s: %s\r\n", name, v)
	}
	fmt.Fprintf(&b, "Contact: <sip:pbx@%s>\r\n", s.n.addr)
	for _, f := range fields {
		b.WriteString(f + "\r\n")
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	_, _ = s.n.pc.WriteTo([]byte(b.String()), s.from)
}

// ok grants and notifies, as an orderly notifier does.
func (s sub) ok(expires int, cseq int, body string) {
	s.reply(200, fmt.Sprintf("Expires: %d", expires))
	s.notify(cseq, fmt.Sprintf("active;expires=%d", expires), body)
}

// notify sends a NOTIFY in the dialog of s. Fields replace those of the same name.
func (s sub) notify(cseq int, state, body string, fields ...string) {
	contact := header(s.text, "Contact")
	uri := strings.Trim(contact, "<>")
	h := [][2]string{
		{"Via", fmt.Sprintf("SIP/2.0/UDP %s;branch=z9hG4bK%d-%d;rport", s.n.addr, cseq, time.Now().UnixNano())}, {"Max-Forwards", "70"},
		{"From", header(s.text, "To")}, {"To", header(s.text, "From")}, {"Call-ID", header(s.text, "Call-ID")},
		{"CSeq", fmt.Sprintf("%d NOTIFY", cseq)}, {"Contact", "<sip:pbx@" + s.n.addr + ">"}, {"Event", header(s.text, "Event")},
		{"Subscription-State", state}, {"Content-Type", DialogInfoType + "; charset=utf-8"},
	}
	if !strings.Contains(h[2][1], "tag=") {
		h[2][1] += ";tag=" + s.tag
	}
	for _, f := range fields {
		k, v, _ := strings.Cut(f, ": ")
		found := false
		for i := range h {
			if h[i][0] == k {
				h[i][1], found = v, true
			}
		}
		if !found {
			h = append(h, [2]string{k, v})
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "NOTIFY %s SIP/2.0\r\n", uri)
	for _, f := range h {
		if f[1] != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	_, _ = s.n.pc.WriteTo([]byte(b.String()), s.from)
}

// answer is the status of the response to the notifier's next NOTIFY.
func (n *notifier) answer() int {
	n.t.Helper()
	select {
	case r := <-n.responses:
		status := 0
		fmt.Sscanf(r, "SIP/2.0 %d", &status)
		return status
	case <-time.After(wait):
		n.t.Fatal("a NOTIFY is not answered")
		return 0
	}
}

// subscriber is the subject: a Subscriber on a real endpoint.
func subscriber(t *testing.T, p Package) *Subscriber {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	e, err := sip.New(sip.Config{Listen: []string{"udp:127.0.0.1:0"}}, log)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(p, e, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if k := len(s.dialogs); k != 0 {
			t.Errorf("%d subscriptions left", k)
		}
	})
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

func (n *notifier) config() Config {
	return Config{URI: "sip:1001@example.com", Target: "sip:" + n.addr, From: "sip:pilot@example.com", Timeout: wait}
}

func subscribe(t *testing.T, s *Subscriber, cfg Config) *Subscription {
	t.Helper()
	x, err := s.Subscribe(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = x.Close(ctx)
	})
	return x
}

func nextNotice(t *testing.T, x *Subscription) Notice {
	t.Helper()
	n, err := nextOrError(x)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func nextOrError(x *Subscription) (Notice, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*wait)
	defer cancel()
	return x.Next(ctx)
}
