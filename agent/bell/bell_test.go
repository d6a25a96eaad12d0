package bell

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestRingsThatNobodyWaitedForAreOne(t *testing.T) {
	var b Bell
	b.Ring()
	b.Ring()
	n, err := b.Wait(t.Context(), 0)
	if n != 2 || err != nil {
		t.Fatal(n, err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	if again, err := b.Wait(ctx, n); again != 2 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a ring that was none: %d, %v", again, err)
	}
}

// Whoever goes on with the number that it was given hears of the last ring, however
// many others wait.
func TestNobodyMissesTheLastRing(t *testing.T) {
	const rings, ears = 500, 8
	var b Bell
	var all sync.WaitGroup
	for range ears {
		all.Go(func() {
			for n := uint64(0); n < rings; {
				next, err := b.Wait(t.Context(), n)
				if err != nil || next <= n {
					t.Errorf("after %d came %d, %v", n, next, err)
					return
				}
				n = next
			}
		})
	}
	for range rings {
		b.Ring()
	}
	all.Wait()
}
