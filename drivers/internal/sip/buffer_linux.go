package sip

import (
	"net"

	"golang.org/x/sys/unix"
)

// readBuffer is the receive buffer that the kernel granted; it reports twice
// what it gives to data (socket(7), SO_RCVBUF).
func readBuffer(c *net.UDPConn) int {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	_ = raw.Control(func(fd uintptr) {
		if v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
			n = v / 2
		}
	})
	return n
}
