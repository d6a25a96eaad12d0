package sip

import (
	crand "crypto/rand"
	"errors"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// The lean transactions: non-INVITE client transactions (RFC 3261 §17.1.2) for
// the requests of dialogs, of which a notifier has very many. All that one is,
// is a slot of a table; one goroutine turns the wheel of their timers; and the
// branch says which slot it is, so that a response is met before it is parsed.
const (
	tick       = 50 * time.Millisecond
	ticksT1    = 10                     // 500 ms
	ticksT2    = 80                     // 4 s
	ticksF     = 640                    // 32 s, 64*T1
	wheelSize  = 128                    // buckets, a tick each
	maxPackets = 64 << 20               // octets kept for retransmission, all in all
	leanMark   = "z9hG4bKpl1"           // begins each branch made here
	branchSize = len(leanMark) + 8 + 16 // slot and nonce in hex
	maxPacket  = maxDatagram - 8 - 20   // what UDP carries over IPv4
)

// ErrFull is the error of a request beyond Config.InFlight: nobody is waited
// for, and the change is told later.
var ErrFull = errors.New("too many requests without answer")

var (
	errStopped = errors.New("the endpoint stopped")
	errLost    = errors.New("connection lost")
	errTooLong = errors.New("longer than a datagram")
	errRetired = errors.New("given up")
)

// ticket names one transaction: its slot, and the nonce without which a
// response finds nothing there. The nonce cannot be guessed, and serves as the
// slot's generation too.
type ticket struct {
	slot  uint32
	nonce uint64
}

// branch appends it as the branch parameter's value.
func (t ticket) branch(b []byte) []byte {
	b = append(b, leanMark...)
	b = appendHex(b, uint64(t.slot), 8)
	return appendHex(b, t.nonce, 16)
}

func appendHex(b []byte, v uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[v>>shift&15])
	}
	return b
}

// ticketOf reads the branch that ticket.branch wrote.
func ticketOf(branch string) (t ticket, ok bool) {
	if len(branch) != branchSize || branch[:len(leanMark)] != leanMark {
		return t, false
	}
	slot, err := strconv.ParseUint(branch[len(leanMark):len(leanMark)+8], 16, 32)
	nonce, err2 := strconv.ParseUint(branch[len(leanMark)+8:], 16, 64)
	return ticket{uint32(slot), nonce}, err == nil && err2 == nil
}

// leanTx is a slot. A free one has no done.
type leanTx struct {
	nonce  uint64
	done   func(Answer)
	method string
	target string
	// packet is what goes out again; nil on a stream, and until there is a way.
	packet     []byte
	listen     *listener
	stream     *stream
	to         netip.AddrPort
	due, last  int64 // in ticks: the next firing, Timer F
	interval   int64 // Timer E
	next, prev int32 // in the bucket, -1 at its ends; next also chains free slots
}

// lean is the table and the wheel.
type lean struct {
	limit int
	began time.Time
	pulse pulse

	mu      sync.Mutex
	closed  bool
	random  *rand.ChaCha8
	slots   []leanTx
	free    int32 // head of the free slots, -1: none
	count   int
	octets  int // of packets
	buckets [wheelSize]int32
	now     int64 // the last tick that was worked
}

func newLean(limit int) *lean {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails (crypto/rand)
	l := &lean{limit: limit, began: time.Now(), random: rand.NewChaCha8(seed), free: -1, pulse: newPulse()}
	for i := range l.buckets {
		l.buckets[i] = -1
	}
	return l
}

func (l *lean) tickAt(t time.Time) int64 { return int64(t.Sub(l.began) / tick) }

// open takes a slot. Timer F runs from now on, whatever the way costs.
func (l *lean) open(method, target string, done func(Answer), now time.Time) (ticket, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ticket{}, errStopped
	}
	i := l.free
	switch {
	case i >= 0:
		l.free = l.slots[i].next
	case len(l.slots) < l.limit:
		i = int32(len(l.slots))
		l.slots = append(l.slots, leanTx{})
	default:
		return ticket{}, ErrFull
	}
	at := l.tickAt(now)
	l.slots[i] = leanTx{nonce: l.random.Uint64(), done: done, method: method, target: target, last: at + ticksF + 1, due: at + ticksF + 1}
	l.count++
	l.link(i)
	l.pulse.start()
	return ticket{uint32(i), l.slots[i].nonce}, nil
}

// sent tells how the request goes out. With a packet, Timer E begins.
func (l *lean) sent(t ticket, w *dialogWay, packet []byte, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	tx := l.find(t)
	if tx == nil {
		return nil // ended meanwhile
	}
	tx.to, tx.listen, tx.stream = w.to, w.listen, w.stream
	if w.stream != nil {
		return nil // a stream loses nothing: Timer E is for UDP (§17.1.2.2)
	}
	if l.octets+len(packet) > maxPackets {
		return ErrFull
	}
	l.octets += len(packet)
	tx.packet, tx.interval = packet, ticksT1
	l.unlink(int32(t.slot))
	// A tick more, since this one is half over: never sooner than T1.
	tx.due = l.tickAt(now) + ticksT1 + 1
	l.link(int32(t.slot))
	return nil
}

func (l *lean) find(t ticket) *leanTx {
	if int(t.slot) >= len(l.slots) {
		return nil
	}
	if tx := &l.slots[t.slot]; tx.done != nil && tx.nonce == t.nonce {
		return tx
	}
	return nil
}

// provisional: Proceeding sends again each T2 (§17.1.2.2).
func (l *lean) provisional(t ticket, method string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	tx := l.find(t)
	if tx == nil || tx.method != method {
		return false
	}
	if tx.packet != nil {
		l.unlink(int32(t.slot))
		tx.interval = ticksT2
		tx.due = min(max(tx.due, l.now+ticksT2), tx.last)
		l.link(int32(t.slot))
	}
	return true
}

// ended is a transaction that is over, and whom to tell.
type ended struct {
	done           func(Answer)
	method, target string
	ticket         ticket
}

// take ends a transaction; an empty method stands for any.
func (l *lean) take(t ticket, method string) (e ended, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tx := l.find(t)
	if tx == nil || method != "" && tx.method != method {
		return e, false
	}
	return l.end(int32(t.slot)), true
}

func (l *lean) end(i int32) ended {
	tx := &l.slots[i]
	l.unlink(i)
	l.octets -= len(tx.packet)
	l.count--
	e := ended{tx.done, tx.method, tx.target, ticket{uint32(i), tx.nonce}}
	*tx = leanTx{next: l.free}
	l.free = i
	return e
}

// takeAll ends those that fit.
func (l *lean) takeAll(fit func(*leanTx) bool) (list []ended) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for b := range l.buckets {
		for i := l.buckets[b]; i >= 0; {
			next := l.slots[i].next
			if fit(&l.slots[i]) {
				list = append(list, l.end(i))
			}
			i = next
		}
	}
	return list
}

func (l *lean) link(i int32) {
	tx := &l.slots[i]
	head := &l.buckets[tx.due%wheelSize]
	tx.next, tx.prev = *head, -1
	if *head >= 0 {
		l.slots[*head].prev = i
	}
	*head = i
}

func (l *lean) unlink(i int32) {
	tx := &l.slots[i]
	if tx.prev >= 0 {
		l.slots[tx.prev].next = tx.next
	} else {
		l.buckets[tx.due%wheelSize] = tx.next
	}
	if tx.next >= 0 {
		l.slots[tx.next].prev = tx.prev
	}
}

// again is a packet that is sent once more.
type again struct {
	listen *listener
	packet datagram
}

// turn works the ticks up to now: what goes out again, and what timed out. more
// is false when nothing is left to wait for.
func (l *lean) turn(now time.Time) (resend []again, late []ended, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	to := l.tickAt(now)
	for l.now = max(l.now, to-wheelSize); l.now < to; {
		l.now++
		for i := l.buckets[l.now%wheelSize]; i >= 0; {
			tx := &l.slots[i]
			next := tx.next
			switch {
			case tx.due > l.now: // a later round of the wheel
			case tx.due >= tx.last:
				late = append(late, l.end(i))
			default:
				resend = append(resend, again{tx.listen, datagram{tx.packet, tx.to, ticket{uint32(i), tx.nonce}}})
				l.unlink(i)
				tx.interval = min(2*tx.interval, ticksT2)
				tx.due = min(l.now+tx.interval, tx.last)
				l.link(i)
			}
			i = next
		}
	}
	return resend, late, l.count > 0
}

// close lets no more in.
func (l *lean) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
}

func (l *lean) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

// pulse is the beat of a goroutine that has work at each tick, or none for now.
type pulse struct {
	wake chan struct{}
}

func newPulse() pulse { return pulse{make(chan struct{}, 1)} }

// start is called when there is something to wait for; it never waits.
func (p pulse) start() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// beat calls work each interval while that says true, and else waits for start.
func (p pulse) beat(done <-chan struct{}, interval time.Duration, work func(time.Time) bool) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case <-p.wake:
		}
		for more := true; more; {
			select {
			case <-done:
				return
			case <-t.C:
				more = work(time.Now())
			}
		}
	}
}
