package phone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/sip"
)

// sipPhone answers OPTIONS on a UDP port of its own, as an MPP phone does.
func sipPhone(t *testing.T) int {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(answerTo(string(buf[:n]))), from)
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c.LocalAddr().(*net.UDPAddr).Port
}

func answerTo(request string) string {
	const sdp = "v=0\r\nm=audio 16384 RTP/AVP 0\r\nm=video 16386 RTP/AVP 97\r\n"
	answer := "SIP/2.0 200 OK\r\n"
	for line := range strings.SplitSeq(request, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		switch strings.ToLower(name) {
		case "via", "from", "call-id", "cseq":
			answer += line + "\r\n"
		case "to":
			answer += line + ";tag=phone\r\n"
		}
	}
	return answer + fmt.Sprintf("Server: Cisco-CP-8865-3PCC/12.0.3\r\nAllow: ACK, INVITE, OPTIONS\r\nAccept: application/sdp\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(sdp), sdp)
}

func TestOptionsThroughTheEndpoint(t *testing.T) {
	e, err := sip.New(sip.Config{Listen: []string{"udp:127.0.0.1:0"}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("endpoint: %v", err)
		}
	})
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	c := sipConfig()
	c.SIP = time.Second
	c.Phones[0].SIPPort = sipPhone(t)
	b := run(t, c, Asking(e))
	o := b.Wait(t, 5*time.Second, from(sourceSIP))
	if o.Reach.Outcome != presence.Answered || !o.Abilities.Audio || !o.Abilities.Video {
		t.Errorf("facts %+v %+v", o.Reach, o.Abilities)
	}
}
