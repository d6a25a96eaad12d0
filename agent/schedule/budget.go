package schedule

import "context"

// Budget bounds the requests in flight over all queues that share it.
type Budget struct{ free chan struct{} }

// NewBudget makes a budget of n requests.
func NewBudget(n int) *Budget { return &Budget{make(chan struct{}, max(n, 1))} }

func (b *Budget) acquire(ctx context.Context) error {
	if b == nil {
		return ctx.Err()
	}
	select {
	case b.free <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *Budget) release() {
	if b != nil {
		<-b.free
	}
}
