package sip

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// datagram is one that waits for the socket, for a lean transaction or for none.
type datagram struct {
	b      []byte
	to     netip.AddrPort
	ticket ticket
}

const (
	outboxCount  = 1 << 14
	outboxOctets = 16 << 20
	batchSize    = 64
)

// outbox gathers what goes out by a UDP socket; one goroutine writes it, as
// many at a time as the system takes. Nobody waits for it: what finds it full
// is lost, as datagrams are, and its transaction sends it again.
type outbox struct {
	packets net.PacketConn
	fail    func(ticket, error) // a datagram that the system refuses
	refused func()              // an earlier one came back
	full    func()
	wake    chan struct{}
	done    chan struct{}
	begun   bool // somebody runs it

	mu     sync.Mutex
	queue  []datagram
	octets int
	idle   bool // the writer waits for wake
	closed bool
}

func newOutbox(packets net.PacketConn, fail func(ticket, error), refused, full func()) *outbox {
	return &outbox{packets: packets, fail: fail, refused: refused, full: full, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

func (o *outbox) put(d datagram) {
	o.mu.Lock()
	if o.closed || len(o.queue) >= outboxCount || o.octets+len(d.b) > outboxOctets {
		o.mu.Unlock()
		o.full()
		return
	}
	o.queue = append(o.queue, d)
	o.octets += len(d.b)
	o.rouse()
	o.mu.Unlock()
}

// rouse wakes the writer if it sleeps.
func (o *outbox) rouse() {
	if o.idle {
		o.idle = false
		o.wake <- struct{}{} // has room: idle is set by whoever will take it
	}
}

// take waits for datagrams and takes all of them, in exchange for an empty
// list; false after close, when nothing is left.
func (o *outbox) take(empty []datagram) ([]datagram, bool) {
	for {
		o.mu.Lock()
		if len(o.queue) > 0 {
			list := o.queue
			o.queue, o.octets = empty[:0], 0
			o.mu.Unlock()
			return list, true
		}
		if o.closed {
			o.mu.Unlock()
			return nil, false
		}
		o.idle = true
		o.mu.Unlock()
		<-o.wake
	}
}

func (o *outbox) run() {
	defer close(o.done)
	w := newBatchWriter(o.packets)
	var spare []datagram
	for {
		list, ok := o.take(spare)
		if !ok {
			return
		}
		o.write(w, list)
		clear(list) // the packets are not ours to keep
		spare = list
	}
}

func (o *outbox) write(w *batchWriter, list []datagram) {
	tries := 0
	for len(list) > 0 {
		n, err := w.write(list[:min(len(list), batchSize)])
		if n > 0 {
			list, tries = list[n:], 0
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// The kernel may report here that an earlier datagram was refused; the
		// reader is not told of it again.
		if errors.Is(err, syscall.ECONNREFUSED) {
			o.refused()
			if tries++; tries < 3 {
				continue
			}
		}
		if err == nil {
			err = errors.New("not written")
		}
		o.fail(list[0].ticket, err)
		list, tries = list[1:], 0
	}
}

// close has what was gathered written, for a second at most.
func (o *outbox) close() {
	if !o.begun {
		return
	}
	o.mu.Lock()
	o.closed = true
	o.rouse()
	o.mu.Unlock()
	_ = o.packets.SetWriteDeadline(time.Now().Add(time.Second))
	<-o.done
}

// writeOne writes the first datagram alone.
func writeOne(pc net.PacketConn, d datagram) (int, error) {
	var err error
	if udp, ok := pc.(*net.UDPConn); ok {
		_, err = udp.WriteToUDPAddrPort(d.b, d.to)
	} else {
		_, err = pc.WriteTo(d.b, net.UDPAddrFromAddrPort(d.to))
	}
	if err != nil {
		return 0, err
	}
	return 1, nil
}
