package sip

import (
	"maps"
	"sync"
)

// Stats counts since New. Its maps are copies.
type Stats struct {
	Datagrams   uint64
	Bytes       uint64
	Dropped     map[string]uint64 // reason: "rubbish", "source", "garbled", "response", "flood", "connections", "handshake", "outbox", "budget"
	Requests    map[Tally]uint64  // received, by what became of them
	Sent        map[Tally]uint64  // requests sent
	ReadErrors  uint64            // of listening sockets, survived
	Panics      uint64            // of handlers, survived
	Connections int               // streams open now, accepted and dialled
	Server      int               // server transactions alive now
	Client      int               // client transactions alive now
	Calls       int               // Call-IDs with a request in work now
}

// Tally is a method ("other" for one that is not of SIP) and an outcome: the
// class of the final response, such as "2xx", or "timeout", "refused", "error".
type Tally struct{ Method, Outcome string }

// counters is what Stats is a copy of.
type counters struct {
	mu sync.Mutex
	s  Stats
}

func newCounters() *counters {
	return &counters{s: Stats{Dropped: map[string]uint64{}, Requests: map[Tally]uint64{}, Sent: map[Tally]uint64{}}}
}

func (c *counters) datagram(n int) {
	c.mu.Lock()
	c.s.Datagrams++
	c.s.Bytes += uint64(n)
	c.mu.Unlock()
}

func (c *counters) drop(reason string) {
	c.mu.Lock()
	c.s.Dropped[reason]++
	c.mu.Unlock()
}

func (c *counters) readError() {
	c.mu.Lock()
	c.s.ReadErrors++
	c.mu.Unlock()
}

func (c *counters) panicked() {
	c.mu.Lock()
	c.s.Panics++
	c.mu.Unlock()
}

func (c *counters) answered(method string, status int) {
	c.mu.Lock()
	c.s.Requests[tally(method, class(status))]++
	c.mu.Unlock()
}

func (c *counters) sent(method, outcome string) {
	c.mu.Lock()
	c.s.Sent[tally(method, outcome)]++
	c.mu.Unlock()
}

func (c *counters) copy() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.s
	s.Dropped, s.Requests, s.Sent = maps.Clone(s.Dropped), maps.Clone(s.Requests), maps.Clone(s.Sent)
	return s
}

// tally keeps the number of keys bounded whatever strangers send.
func tally(method, outcome string) Tally {
	if !knownMethod(method) {
		method = "other"
	}
	return Tally{method, outcome}
}

func class(status int) string { return string(rune('0'+status/100)) + "xx" }
