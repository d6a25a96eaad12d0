package sip

import (
	"errors"
	"net"
	"time"
)

// maxQueued bounds what waits for a far end that does not read.
const maxQueued = 1 << 20

var errStuck = errors.New("the far end does not read its stream")

// post queues b for the stream and never waits. Whoever does not read its
// stream loses what is past the bound, and the stream once a write took longer
// than Patience; nobody else notices.
func (st *stream) post(b []byte) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	switch {
	case st.over.Load():
		return errLost
	case st.queued+len(b) > maxQueued:
		return errStuck
	}
	st.queue = append(st.queue, b)
	st.queued += len(b)
	if !st.writing {
		st.writing = true
		st.drains.Add(1)
		if !st.s.later(st.drain) {
			st.drains.Done()
		}
	}
	return nil
}

// drain writes what is queued, and ends.
func (st *stream) drain() {
	defer st.drains.Done()
	for {
		st.mu.Lock()
		batch := st.queue
		st.queue = nil
		if len(batch) == 0 {
			st.writing = false
			st.mu.Unlock()
			return
		}
		st.mu.Unlock()
		n := 0
		for _, b := range batch {
			n += len(b)
		}
		st.conn.SetWriteDeadline(time.Now().Add(st.s.e.cfg.Patience))
		if _, err := (*net.Buffers)(&batch).WriteTo(st.conn); err != nil {
			st.over.Store(true)
			st.raw.Close() // half a message is on the wire: nothing can follow it
		}
		st.mu.Lock()
		st.queued -= n
		st.mu.Unlock()
	}
}

// flush takes no more, and waits until what was queued is written or failed.
func (st *stream) flush() {
	st.mu.Lock()
	st.over.Store(true)
	st.mu.Unlock()
	st.drains.Wait()
}
