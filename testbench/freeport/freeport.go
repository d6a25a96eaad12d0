// Package freeport finds ports for programs that must be told theirs.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Below the ephemeral range of Linux, so that nobody's outgoing socket takes
// one between the look and the start; and below those of testbench/branch.
const (
	lowest = 10000
	count  = 10000
)

var given struct {
	sync.Mutex
	ports map[int]bool
}

// Get is a port of 127.0.0.1 that is free for UDP and TCP, and the next one with
// it (baresip takes PORT+1 for TLS). It is not given twice by one process.
func Get() (int, error) {
	given.Lock()
	defer given.Unlock()
	if given.ports == nil {
		given.ports = map[int]bool{}
	}
	why := errors.New("all are given")
	for range 100 {
		port := lowest + 2*rand.IntN(count/2)
		if given.ports[port] {
			continue
		}
		if why = errors.Join(try(port), try(port+1)); why == nil {
			given.ports[port] = true
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port on loopback: %w", why)
}

// Address is HOST:PORT of one.
func Address() (string, error) {
	port, err := Get()
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

func try(port int) error {
	at := fmt.Sprintf("127.0.0.1:%d", port)
	tcp, err := net.Listen("tcp", at)
	if err != nil {
		return err
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", at)
	if err != nil {
		return err
	}
	return udp.Close()
}
