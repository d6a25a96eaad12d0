package branch

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"syscall"
)

// The plan of a branch in its own 127.B.0.0/16:
//
//	127.B.1.1 …     phones, 250 in each /24
//	127.B.250.1 …   switches
//	127.B.251.1     call server
//	127.B.251.2     central presence server
const (
	phonesPerNet = 250
	maxPhones    = 240 * phonesPerNet
)

// Ports below the ephemeral range of Linux, so that nobody's outgoing socket,
// which is bound to every address, is in the way.
const (
	lowestPort = 20000
	portRange  = 10000
)

// block is where one branch lives. It is drawn at random, not from the seed:
// two benches with one seed must not meet.
type block struct {
	second          byte
	web, sip, snmp  int
	server, central int
}

func drawBlock() block {
	port := func() int { return lowestPort + rand.IntN(portRange) }
	return block{second: byte(16 + rand.IntN(235)), web: port(), sip: port(), snmp: port(), server: port(), central: port()}
}

func (b block) phone(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, b.second, byte(1 + i/phonesPerNet), byte(1 + i%phonesPerNet)})
}

func (b block) sw(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, b.second, 250, byte(1 + i)})
}

func (b block) callServer() netip.Addr {
	return netip.AddrFrom4([4]byte{127, b.second, 251, 1})
}

func (b block) centralServer() netip.Addr {
	return netip.AddrFrom4([4]byte{127, b.second, 251, 2})
}

// taken reports whether an error says that somebody else has the address.
func taken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
