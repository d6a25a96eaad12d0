package panel

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pilotlight/agent/presence"
)

// hung is a ledger that does not answer.
type hung struct {
	*fakeHeart
	asked atomic.Int32
}

func (h *hung) Devices(ctx context.Context) ([]presence.Device, error) {
	h.asked.Add(1)
	<-ctx.Done()
	return nil, ctx.Err()
}

// A light that cannot be renewed is still shown, and nobody queues for it.
func TestAHungLedgerHoldsUpOneReaderASecondAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hung{fakeHeart: &fakeHeart{}}
		k := newKeeper(Deps{Heart: h}, slog.New(slog.DiscardHandler))
		readers := func() (held int) {
			var all sync.WaitGroup
			var waited atomic.Int32
			for range 20 {
				all.Go(func() {
					begin := time.Now()
					if k.refresh(t.Context(), false) == nil {
						t.Error("no snapshot")
					}
					switch d := time.Since(begin); {
					case d > time.Second:
						t.Errorf("a reader waited %v", d)
					case d > 0:
						waited.Add(1)
					}
				})
			}
			all.Wait()
			return int(waited.Load())
		}
		if n := readers(); n != 1 || h.asked.Load() != 1 {
			t.Errorf("%d readers waited, the ledger was asked %d times", n, h.asked.Load())
		}
		if n := readers(); n != 0 {
			t.Errorf("%d readers waited again at once", n)
		}
		time.Sleep(refreshEvery)
		if n := readers(); n != 1 || h.asked.Load() != 2 {
			t.Errorf("a second later: %d waited, asked %d times", n, h.asked.Load())
		}
	})
}
