//go:build !linux

package sip

import (
	"net"
	"net/netip"
	"syscall"
)

// Elsewhere than on Linux, for those who develop there: nothing is known of
// the buffer, and of refusals nothing is heard.
func readBuffer(syscall.Conn) int              { return 0 }
func wantRefusals(syscall.Conn)                {}
func refusals(net.PacketConn) []netip.AddrPort { return nil }
