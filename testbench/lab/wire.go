package lab

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Wire is the way out of a namespace, with nobody at its other end.
type Wire struct {
	socket int
	over   chan struct{}

	mu      sync.Mutex
	packets int
	first   []string
}

// The two ends of the wire: what is sent on near is received at far.
const near, far = "near", "far"

var wire = []string{"link", "add", near, "type", "veth", "peer", "name", far}

// NewWire brings loopback up and makes near the default route, for IPv4 and
// IPv6, so that whatever is not for loopback is seen. It ends with the test.
//
// The wire is a veth pair without ARP, IPv6 addresses or neighbour discovery of
// its own: the kernel by itself sends nothing onto it.
func NewWire(t testing.TB) *Wire {
	t.Helper()
	ip(t, "link", "set", "lo", "up")
	ip(t, wire...)
	for _, end := range []string{near, far} {
		ip(t, "link", "set", end, "arp", "off", "addrgenmode", "none")
	}
	w := &Wire{over: make(chan struct{})}
	w.listen(t)
	for _, end := range []string{near, far} {
		ip(t, "link", "set", end, "up")
	}
	// The sources are addresses of loopback: near has none that could be announced.
	ip(t, "addr", "add", "192.0.2.1/32", "dev", "lo")
	ip(t, "-6", "addr", "add", "fd00::1/128", "dev", "lo", "nodad")
	ip(t, "route", "add", "default", "dev", near, "src", "192.0.2.1")
	ip(t, "-6", "route", "add", "default", "dev", near, "src", "fd00::1")
	return w
}

// listen opens a raw socket (packet(7)) at the far end.
func (w *Wire) listen(t testing.TB) {
	t.Helper()
	every := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, syscall.ETH_P_ALL)))
	s, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, every)
	if err != nil {
		t.Fatalf("raw socket: %v", err)
	}
	link, err := net.InterfaceByName(far)
	if err == nil {
		err = syscall.Bind(s, &syscall.SockaddrLinklayer{Protocol: uint16(every), Ifindex: link.Index})
	}
	if err == nil { // so that read looks at over now and then
		err = syscall.SetsockoptTimeval(s, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 100_000})
	}
	if err != nil {
		t.Fatalf("raw socket at %s: %v", far, err)
	}
	w.socket = s
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.read()
	}()
	t.Cleanup(func() {
		close(w.over)
		<-ended
		_ = syscall.Close(s)
	})
}

func (w *Wire) read() {
	buf := make([]byte, 2048)
	for {
		select {
		case <-w.over:
			return
		default:
		}
		n, _, err := syscall.Recvfrom(w.socket, buf, 0)
		if err != nil {
			if err == syscall.EAGAIN || err == syscall.EINTR || err == syscall.ENETDOWN {
				continue
			}
			return
		}
		w.mu.Lock()
		w.packets++
		if len(w.first) < 20 {
			w.first = append(w.first, describe(buf[:n]))
		}
		w.mu.Unlock()
	}
}

// Seen is how many packets came to the far end, and the first of them in words.
func (w *Wire) Seen() (packets int, first []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.packets, w.first
}

// Await waits for a packet whose description holds all of words.
func (w *Wire) Await(t testing.TB, within time.Duration, words ...string) {
	t.Helper()
	for late := time.Now().Add(within); ; time.Sleep(20 * time.Millisecond) {
		_, first := w.Seen()
		for _, is := range first {
			all := true
			for _, word := range words {
				all = all && strings.Contains(is, word)
			}
			if all {
				return
			}
		}
		if time.Now().After(late) {
			t.Fatalf("not within %v on the wire: %v; seen: %v", within, words, first)
		}
	}
}

// Sent is the kernel's own count of packets sent onto the wire.
func (w *Wire) Sent(t testing.TB) int {
	t.Helper()
	// /proc/net is this namespace's; /sys may be that of whoever mounted it.
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, counts, _ := strings.Cut(strings.TrimSpace(line), ":")
		if fields := strings.Fields(counts); name == near && len(fields) == 16 {
			n, err := strconv.Atoi(fields[9]) // the second of transmit
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no %s in /proc/net/dev:\n%s", near, text)
	return 0
}

// describe puts an IP packet into words: "udp 192.0.2.1 > 10.1.1.20:161".
func describe(p []byte) string {
	var from, to netip.Addr
	var protocol byte
	switch {
	case len(p) >= 20 && p[0]>>4 == 4:
		from, _ = netip.AddrFromSlice(p[12:16])
		to, _ = netip.AddrFromSlice(p[16:20])
		protocol, p = p[9], p[min(len(p), int(p[0]&15)*4):]
	case len(p) >= 40 && p[0]>>4 == 6:
		from, _ = netip.AddrFromSlice(p[8:24])
		to, _ = netip.AddrFromSlice(p[24:40])
		protocol, p = p[6], p[40:]
	default:
		return fmt.Sprintf("%d octets that are no IP", len(p))
	}
	name, ported := map[byte]string{1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}[protocol]
	if !ported {
		name = fmt.Sprintf("protocol %d", protocol)
	}
	if (protocol == 6 || protocol == 17) && len(p) >= 4 {
		return fmt.Sprintf("%s %v > %v", name, from, netip.AddrPortFrom(to, binary.BigEndian.Uint16(p[2:])))
	}
	return fmt.Sprintf("%s %v > %v", name, from, to)
}
