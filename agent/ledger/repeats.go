package ledger

import (
	"time"

	"pilotlight/agent/ledger/internal/store"
)

// repeats knows when each observation was last told, by its number, and which
// blocks of these times the disk does not have yet.
type repeats struct {
	micros []int64 // by number; 0: the number is free
	unused []uint32
	dirty  map[uint32]struct{}
	since  time.Time // when the first repeat came that the disk has not; zero: it has all
}

// take gives a number that is free.
func (r *repeats) take() uint32 {
	if n := len(r.unused); n > 0 {
		number := r.unused[n-1]
		r.unused = r.unused[:n-1]
		return number
	}
	r.micros = append(r.micros, 0)
	return uint32(len(r.micros) - 1)
}

func (r *repeats) touch(number uint32, seen time.Time) {
	r.micros[number] = seen.UnixMicro()
	r.dirty[number/blockSize] = struct{}{}
}

func (r *repeats) free(number uint32) {
	r.micros[number] = 0
	r.unused = append(r.unused, number)
	r.dirty[number/blockSize] = struct{}{}
}

// claim takes over numbers in use from the disk; those between are free.
func (r *repeats) claim(used map[uint32]time.Time) {
	for number, seen := range used {
		for uint32(len(r.micros)) <= number {
			r.micros = append(r.micros, 0)
		}
		r.micros[number] = seen.UnixMicro()
	}
	for number := range r.micros {
		if _, ok := used[uint32(number)]; !ok {
			r.unused = append(r.unused, uint32(number))
		}
	}
}

// save hands what is due to the file goroutine. Repeats ride along, once they
// have waited nearly long enough to force a commit.
func (l *Ledger) save(now time.Time) {
	r := &l.repeats
	if !r.since.IsZero() {
		l.within(r.since, max(touchEvery, l.dial))
	}
	if at := l.flushAt(); at.IsZero() || now.Before(at) {
		return
	}
	if !r.since.IsZero() && now.Sub(r.since) >= touchEvery-min(l.dial, touchEvery/2) {
		l.saveRepeats()
	}
	l.flush(l.wall())
}

// saveRepeats puts the blocks that changed into the next batch.
func (l *Ledger) saveRepeats() {
	r := &l.repeats
	for block := range r.dirty {
		var is seenBlock
		copy(is.micros[:], r.micros[block*blockSize:])
		l.next.records[place{store.Seen, blockKey(block)}] = is
	}
	clear(r.dirty)
	r.since = time.Time{}
}
