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
	failure error   // why a change was refused though the power was on
	done    chan struct{}
}

func crowd(names []string) []*person {
	var people []*person
	for _, name := range names {
		people = append(people, &person{name: name, asked: []state{{}}, number: 1})
	}
	return people
}

// work changes things in a goroutine of its own until one change fails, which
// is nobody's fault once it is dark; rest waits for its end.
func (p *person) work(ctx context.Context, l *life, dark <-chan struct{}) {
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		for {
			s := p.next()
			err := l.api.set(ctx, p.name, s)
			if err == nil {
				p.acknowledged()
				continue
			}
			select {
			case <-dark:
			default:
				p.refused(err)
			}
			return
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

// acknowledged says that the newest change was.
func (p *person) acknowledged() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = p.asked[len(p.asked)-1:]
	p.count++
}

func (p *person) refused(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = fmt.Errorf("%s: refused with the power on: %w", p.name, err)
}

// rest waits until the person has stopped, and returns how many changes were
// acknowledged since it was last asked, and why one was refused.
func (p *person) rest() (acknowledged int, refused error) {
	if p.done != nil {
		<-p.done
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	acknowledged, refused = p.count, p.failure
	p.count, p.failure = 0, nil
	return acknowledged, refused
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
