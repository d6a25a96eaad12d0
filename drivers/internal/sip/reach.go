package sip

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// NoWay is a target that no socket of sip.listen reaches. It says nothing about
// the far end, and lasts until the configuration is another.
type NoWay struct {
	Target    string
	Transport string
	Loopback  bool // all of sip.listen is on loopback
}

// Error says what to do.
func (n *NoWay) Error() string {
	add := fmt.Sprintf("add %s:ADDRESS:%d of this machine to sip.listen", n.Transport, defaultPort(n.Transport))
	if n.Loopback {
		return fmt.Sprintf("sip.listen has only loopback addresses, and %s is not on loopback: %s", n.Target, add)
	}
	return fmt.Sprintf("sip.listen has no address by which %s and this machine reach each other over %s: %s", n.Target, n.Transport, add)
}

// CheckTarget says what is wrong with a target as it is written.
func CheckTarget(s string) error {
	u, err := ParseURI(s)
	t := strings.ToLower(u.Params["transport"])
	switch {
	case err != nil, u.Scheme != "sip" && u.Scheme != "sips", t != "" && t != "udp" && !streams(t), u.Scheme == "sips" && t == "udp":
		return fmt.Errorf("target %q, want sip:HOST:PORT, with ;transport=udp, tcp or tls, or sips:HOST:PORT", s)
	}
	return nil
}

// Reaches says what is wrong with a target, such as sip:10.0.0.5:5060;transport=tcp,
// where the agent listens on these sockets: nil or a [*NoWay]. Over UDP requests
// leave by such a socket; over TCP and TLS it is needed where the far end is to begin
// requests, too (contact), as who notifies a subscription does. Of a host name,
// and of what CheckListen and ParseURI refuse, nothing is said. It asks nobody,
// so that a target on an address of this very machine counts as another's.
func Reaches(listen []string, target string, contact bool) error {
	u, err := ParseURI(target)
	if err != nil {
		return nil
	}
	to, literal := u.Addr()
	transport := u.transport()
	if !literal || streams(transport) && !contact || transport != "udp" && !streams(transport) {
		return nil
	}
	var sockets []listenAt
	for _, l := range listen {
		if at, err := parseListen(l); err == nil {
			sockets = append(sockets, at)
		}
	}
	for _, at := range sockets {
		if at.transport == transport && reaches(at.ip(), to.Unmap()) {
			return nil
		}
	}
	n := noWay(sockets, transport, netip.AddrPort{})
	n.Target = u.Raw
	return n
}

func noWay(sockets []listenAt, transport string, to netip.AddrPort) *NoWay {
	n := &NoWay{Target: to.String(), Transport: transport, Loopback: true}
	for _, at := range sockets {
		n.Loopback = n.Loopback && at.ip().IsLoopback()
	}
	return n
}

// reaches reports whether packets from a socket on this address get to another,
// and back. From loopback they don't leave the machine: Linux says EINVAL.
func reaches(listen, to netip.Addr) bool {
	return sameFamily(listen, to) && (!listen.IsLoopback() || to.IsLoopback())
}

func sameFamily(listen, to netip.Addr) bool {
	return listen.Is4() == to.Is4() || listen.Is6() && listen.IsUnspecified()
}

// routeTo is the address from which this machine would speak to a far end.
// Connecting a UDP socket sends nothing; it only asks for the route.
func routeTo(to netip.AddrPort) (netip.Addr, bool) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}, false
	}
	defer conn.Close()
	return addrPort(conn.LocalAddr()).Addr(), true
}
