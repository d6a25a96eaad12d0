package drill

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// person sets and clears one presentity's manual state, one change after the
// other, and remembers what was asked for and what was acknowledged.
type person struct {
	name   string
	number int // of the next change; never used twice

	mu      sync.Mutex
	asked   []state // the first is acknowledged, the rest came after it
	count   int     // acknowledged since takeCount
	failure error   // why the last change was not acknowledged
	off     bool    // the power is about to go: failures are nobody's fault
	done    chan struct{}
}

func crowd(names []string) []*person {
	var people []*person
	for _, name := range names {
		people = append(people, &person{name: name, asked: []state{{}}, number: 1})
	}
	return people
}

// work changes things in a goroutine of its own until one change fails; rest
// waits for its end.
func (p *person) work(ctx context.Context, l *life) {
	p.mu.Lock()
	p.off, p.failure, p.done = false, nil, make(chan struct{})
	p.mu.Unlock()
	go func() {
		defer close(p.done)
		for {
			s := p.next()
			err := l.api.set(ctx, p.name, s)
			if !p.answered(err) {
				return
			}
		}
	}()
}

// next asks for the next state: nothing at every fourth, else one of two words
// that nothing overrides, with a note that is never used again.
func (p *person) next() state {
	p.mu.Lock()
	defer p.mu.Unlock()
	var s state
	if p.number%4 != 0 {
		words := []string{"do-not-disturb", "out-of-office"}
		s = state{Availability: words[p.number%2], Note: fmt.Sprintf("%s %d", p.name, p.number)}
	}
	p.number++
	p.asked = append(p.asked, s)
	return s
}

// answered takes the outcome of the newest change, and says whether to go on.
func (p *person) answered(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if !p.off {
			p.failure = err
		}
		return false
	}
	p.asked = p.asked[len(p.asked)-1:]
	p.count++
	return true
}

// powerless says that the power goes now, and returns why a change failed
// before that.
func (p *person) powerless() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.off = true
	return p.failure
}

// rest waits until the person has stopped.
func (p *person) rest() {
	if p.done != nil {
		<-p.done
	}
}

func (p *person) takeCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.count
	p.count = 0
	return n
}

// compare reads the state after a restart. It must be the one acknowledged
// last, or one asked for after it; whichever it is, it is on the disk now.
func (p *person) compare(ctx context.Context, a api) error {
	have, err := a.get(ctx, p.name)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = []state{have}
	if slices.Contains(asked, have) {
		return nil
	}
	return fmt.Errorf("%s: acknowledged %q, asked for %q, and there is %q", p.name, asked[0], asked[1:], have)
}
