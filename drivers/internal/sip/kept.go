package sip

import (
	"context"
	"sync"
	"time"
)

const (
	keptTick = 250 * time.Millisecond
	timerJ   = 32 * time.Second        // 64*T1 on UDP, 0 on streams (RFC 3261 §17.2.2)
	keptFor  = 4 * time.Second         // at least: by then a client whose answer was lost has asked three times more
	tryingAt = 3500 * time.Millisecond // when Timer E of a client has become T2 (RFC 4320 §4.1)
)

// keptTable is the non-INVITE server transactions: those at work, and those
// that are answered, of which only the answer is kept, for retransmissions.
type keptTable struct {
	limit  int
	trying func(*serverTx) []byte // renders the 100
	pulse  pulse

	mu      sync.Mutex
	known   map[txKey]*keptTx
	working keptQueue // in the order of arrival; also ones that were answered since
	done    keptQueue // on UDP, in the order of their answers
}

// keptTx is one of them.
type keptTx struct {
	key  txKey
	back back
	work *serverTx  // until it is answered
	last []byte     // the last response, nil without one
	at   time.Time  // when it came; then, when it was answered
	next [2]*keptTx // in working, in done
}

// keptQueue is a list through next[n].
type keptQueue struct {
	n           int
	first, last *keptTx
}

func (q *keptQueue) push(k *keptTx) {
	if q.last != nil {
		q.last.next[q.n] = k
	} else {
		q.first = k
	}
	q.last = k
}

func (q *keptQueue) pop() {
	k := q.first
	if q.first = k.next[q.n]; q.first == nil {
		q.last = nil
	}
	k.next[q.n] = nil
}

func newKeptTable(limit int, trying func(*serverTx) []byte) *keptTable {
	return &keptTable{limit: limit, trying: trying, pulse: newPulse(), known: map[txKey]*keptTx{}, done: keptQueue{n: 1}}
}

// add makes the transaction of t; nil when there is no room. In a rush that fills
// the table the oldest answers make way: a busy hour is no reason to refuse.
func (t *keptTable) add(key txKey, work *serverTx, now time.Time) *keptTx {
	k := &keptTx{key: key, back: work.back, work: work, at: now}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= t.limit {
		old := t.done.first
		if old == nil || now.Sub(old.at) < keptFor {
			return nil
		}
		t.done.pop()
		delete(t.known, old.key)
	}
	t.known[key] = k
	t.working.push(k)
	t.pulse.start()
	return k
}

// again reports whether the transaction is known, and sends its last response,
// if there is one, once more (§17.2.2).
func (t *keptTable) again(key txKey) bool {
	t.mu.Lock()
	k, ok := t.known[key]
	if !ok {
		t.mu.Unlock()
		return false
	}
	last := k.last
	t.mu.Unlock()
	if last != nil {
		_ = k.back.send(last)
	}
	return true
}

// final keeps the answer for Timer J.
func (t *keptTable) final(k *keptTx, b []byte) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	k.work = nil
	if k.back.stream != nil {
		delete(t.known, k.key)
		k.last = nil
		return
	}
	k.last, k.at = b, now
	t.done.push(k)
}

// sweep lets go of what is over, and sends the 100 to what is unanswered for so
// long that its client's Timer E has become T2: not sooner, and then without
// fail (RFC 4320 §4.1 and §4.2). It reports whether anything is left.
func (t *keptTable) sweep(now time.Time) bool {
	t.mu.Lock()
	var tries []*keptTx
	var packets [][]byte
	for k := t.working.first; k != nil; k = t.working.first {
		if k.work != nil {
			if now.Sub(k.at) < tryingAt {
				break
			}
			k.last = t.trying(k.work)
			tries, packets = append(tries, k), append(packets, k.last)
		}
		t.working.pop()
	}
	for k := t.done.first; k != nil && now.Sub(k.at) >= timerJ; k = t.done.first {
		t.done.pop()
		delete(t.known, k.key)
	}
	more := len(t.known) > 0 || t.working.first != nil
	t.mu.Unlock()
	for i, k := range tries {
		_ = k.back.send(packets[i])
	}
	return more
}

func (t *keptTable) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.known)
}

// handlerContext is a handler's: it ends with the endpoint, with a CANCEL, or
// when nobody waits for the answer any more. Most handlers answer at once and
// never ask for it, so that its timer is only made for who does.
type handlerContext struct {
	parent   context.Context
	deadline time.Time

	mu     sync.Mutex
	over   bool
	made   context.Context
	cancel context.CancelFunc
}

func (c *handlerContext) begin(parent context.Context, deadline time.Time) {
	c.parent, c.deadline = parent, deadline
}

// real makes the context, ended already when it should be.
func (c *handlerContext) real() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil {
		c.made, c.cancel = context.WithDeadline(c.parent, c.deadline)
		if c.over {
			c.cancel()
		}
	}
	return c.made
}

func (c *handlerContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel()
	}
}

// Deadline implements context.Context.
func (c *handlerContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements context.Context.
func (c *handlerContext) Done() <-chan struct{} { return c.real().Done() }

// Err implements context.Context.
func (c *handlerContext) Err() error { return c.real().Err() }

// Value implements context.Context.
func (c *handlerContext) Value(key any) any { return c.parent.Value(key) }
