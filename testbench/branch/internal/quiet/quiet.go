// Package quiet has a TCP listener that can fall silent the way an unplugged
// host does.
//
// On loopback there is no cable to pull: a closed port answers with a reset,
// which a poller rightly reads as "the host lives, and its web access is off".
// An unplugged phone says nothing. So Silence keeps the socket, shrinks its
// backlog to one, and fills that with connections of its own: Linux then drops
// further SYNs, and a client's connect times out as it would on a dead cable.
// A connection that slips in is held and never answered.
//
// What was accepted before is the owner's to keep silent.
package quiet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	openBacklog = 128
	// Linux lets backlog+1 connections wait; two of our own fill a backlog of one.
	silentBacklog = 1
	fillers       = silentBacklog + 1
	fillTimeout   = 20 * time.Millisecond // a connect on loopback takes well under one
)

// Listener is a TCP listener with a silence to switch on and off.
type Listener struct {
	tcp *net.TCPListener

	mu     sync.Mutex
	silent bool
	resume chan struct{} // closed when the silence ends
	held   []net.Conn
	closed bool
}

// Listen opens a listener on a TCP address.
func Listen(address string) (*Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	resume := make(chan struct{})
	close(resume)
	return &Listener{tcp: l.(*net.TCPListener), resume: resume}, nil
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.tcp.Addr() }

// Accept waits for a connection, and through silences.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.tcp.Accept()
		l.mu.Lock()
		silent, resume := l.silent, l.resume
		if silent && c != nil {
			l.held = append(l.held, c) // it slipped in while the silence fell
		}
		l.mu.Unlock()
		switch {
		case silent:
			<-resume
		case err == nil:
			return c, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return nil, err
		}
	}
}

// Silence begins or ends the silence.
func (l *Listener) Silence(on bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || on == l.silent {
		return nil
	}
	if !on {
		l.end()
		return l.backlog(openBacklog)
	}
	l.silent = true
	l.resume = make(chan struct{})
	l.tcp.SetDeadline(time.Unix(1, 0)) // Accept leaves the queue alone from here on
	if err := l.backlog(silentBacklog); err != nil {
		return err
	}
	for range fillers {
		c, err := net.DialTimeout("tcp", l.tcp.Addr().String(), fillTimeout)
		if err != nil {
			break // full already
		}
		l.held = append(l.held, c)
	}
	return nil
}

// end ends the silence; the caller holds the lock.
func (l *Listener) end() {
	if !l.silent {
		return
	}
	l.silent = false
	for _, c := range l.held {
		c.Close()
	}
	l.held = nil
	l.tcp.SetDeadline(time.Time{})
	close(l.resume)
}

// backlog sets the length of the kernel's queue: listen(2) may be called again.
func (l *Listener) backlog(n int) error {
	raw, err := l.tcp.SyscallConn()
	if err != nil {
		return fmt.Errorf("listener %s: %w", l.Addr(), err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Listen(int(fd), n) }); err != nil {
		return fmt.Errorf("listener %s: %w", l.Addr(), err)
	}
	if failed != nil {
		return fmt.Errorf("listener %s: backlog %d: %w", l.Addr(), n, failed)
	}
	return nil
}

// Close ends the silence and the listener.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	err := l.tcp.Close()
	l.end()
	return err
}
