package sip

import (
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// readBuffer is the receive buffer that the kernel granted; it reports twice
// what it gives to data (socket(7), SO_RCVBUF).
func readBuffer(c syscall.Conn) int {
	n := 0
	control(c, func(fd int) {
		if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
			n = v / 2
		}
	})
	return n
}

// wantRefusals has the kernel keep the ICMP errors that our datagrams meet
// (ip(7), IP_RECVERR). Without it an unconnected socket never learns that a
// phone's port is closed, which is news: the phone is alive.
func wantRefusals(c syscall.Conn) {
	control(c, func(fd int) {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1)
	})
}

// refusals takes what the kernel kept: where datagrams went that were refused.
func refusals(c net.PacketConn) (list []netip.AddrPort) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	control(sc, func(fd int) {
		oob := make([]byte, 512)
		for range 64 {
			_, _, _, to, err := unix.Recvmsg(fd, nil, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if err != nil {
				return
			}
			switch to := to.(type) {
			case *unix.SockaddrInet4:
				list = append(list, netip.AddrPortFrom(netip.AddrFrom4(to.Addr), uint16(to.Port)))
			case *unix.SockaddrInet6:
				list = append(list, netip.AddrPortFrom(netip.AddrFrom16(to.Addr).Unmap(), uint16(to.Port)))
			}
		}
	})
	return list
}

func control(c syscall.Conn, do func(fd int)) {
	if raw, err := c.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { do(int(fd)) })
	}
}
