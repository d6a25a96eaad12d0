package lab

import (
	"net"
	"strings"
	"testing"
	"time"
)

// TestTheWireSeesWhatLeavesLoopback, and nothing else.
func TestTheWireSeesWhatLeavesLoopback(t *testing.T) {
	if !Alone(t) {
		return
	}
	w := NewWire(t)
	send := func(to string) {
		t.Helper()
		conn, err := net.Dial("udp", to)
		if err == nil {
			_, err = conn.Write([]byte("hello"))
			_ = conn.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	send("127.0.0.1:9")
	send("127.200.1.1:9")
	send("[::1]:9")
	if n, first := w.Seen(); w.Sent(t) != 0 || n != 0 {
		t.Errorf("%d sent, %d seen: %v", w.Sent(t), n, first)
	}
	send("10.1.2.3:161")
	w.Await(t, 5*time.Second, "udp 192.0.2.1 > 10.1.2.3:161")
	send("[2001:db8::1]:5060")
	w.Await(t, 5*time.Second, "udp fd00::1 > [2001:db8::1]:5060")
	if n := w.Sent(t); n != 2 {
		t.Errorf("the kernel counts %d, want 2", n)
	}
}

// TestPacketsAreDescribed whatever they hold.
func TestPacketsAreDescribed(t *testing.T) {
	for _, tc := range []struct{ octets, want string }{
		{"", "0 octets that are no IP"},
		{"\x45" + strings.Repeat("\x00", 8) + "\x01\x00\x00\x01\x02\x03\x04\x0a\x00\x00\x01", "icmp 1.2.3.4 > 10.0.0.1"},
		{"\x4f" + strings.Repeat("\x00", 8) + "\x11\x00\x00\x01\x02\x03\x04\x0a\x00\x00\x01", "udp 1.2.3.4 > 10.0.0.1"},
	} {
		if got := describe([]byte(tc.octets)); got != tc.want {
			t.Errorf("%q: %q, want %q", tc.octets, got, tc.want)
		}
	}
}
