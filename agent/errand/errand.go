// Package errand carries questions from the board that a driver answers now: a
// phone's screen, the result of a restart. They are never stored. A question
// that nobody serves is refused at once.
package errand

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Why an errand is refused.
var (
	ErrNobody = errors.New("nobody serves this kind of errand")
	ErrBusy   = errors.New("too many errands of this kind are waiting")
	ErrLarge  = errors.New("the answer is larger than was asked for")
)

// An Errand is one question.
type Errand struct {
	Kind   string // "screen", "message", "restart", "dial", "identify"
	Target string // a device or presentity
	Body   []byte
	Most   int           // the largest answer taken, in bytes; 0: 1 MiB
	Within time.Duration // how long to wait; 0: 10 s
}

// A Reply is the answer to one.
type Reply struct {
	ContentType string
	Body        []byte
}

// waiting bounds the errands of one kind that nobody has taken yet.
const waiting = 16

// Desk is where errands are asked and taken. The zero value is not usable: see New.
type Desk struct {
	mu    sync.Mutex
	kinds map[string]*counter
}

type counter struct{ jobs chan Job }

// New makes a desk.
func New() *Desk { return &Desk{kinds: map[string]*counter{}} }

// Ask hands an errand over and waits for the answer.
func (d *Desk) Ask(ctx context.Context, e Errand) (Reply, error) {
	if e.Most <= 0 {
		e.Most = 1 << 20
	}
	if e.Within <= 0 {
		e.Within = 10 * time.Second
	}
	ctx, stop := context.WithTimeout(ctx, e.Within)
	defer stop()
	job := Job{Errand: e, ctx: ctx, answer: make(chan answer, 1)}
	if err := d.hand(job); err != nil {
		return Reply{}, fmt.Errorf("%s: %w", e.Kind, err)
	}
	select {
	case a := <-job.answer:
		if a.err == nil && len(a.reply.Body) > e.Most {
			return Reply{}, fmt.Errorf("%s %s: %w", e.Kind, e.Target, ErrLarge)
		}
		return a.reply, a.err
	case <-ctx.Done():
		return Reply{}, fmt.Errorf("%s %s: %w", e.Kind, e.Target, ctx.Err())
	}
}

// hand puts a job where its driver looks. The lock is held throughout, so that
// a counter that closes meanwhile finds the job, and answers it.
func (d *Desk) hand(job Job) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.kinds[job.Kind]
	if c == nil {
		return ErrNobody
	}
	select {
	case c.jobs <- job:
		return nil
	default:
		return ErrBusy
	}
}

// Serve claims a kind for one driver until it is closed. A second claim is an error.
func (d *Desk) Serve(kind string) (*Counter, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kinds[kind] != nil {
		return nil, fmt.Errorf("errand %s is served already", kind)
	}
	c := &counter{make(chan Job, waiting)}
	d.kinds[kind] = c
	return &Counter{d, kind, c}, nil
}

// Counter is where a driver takes errands of one kind.
type Counter struct {
	desk *Desk
	kind string
	c    *counter
}

// Next waits for an errand whose asker still waits.
func (c *Counter) Next(ctx context.Context) (Job, error) {
	for {
		select {
		case job := <-c.c.jobs:
			if job.ctx.Err() == nil {
				return job, nil
			}
		case <-ctx.Done():
			return Job{}, ctx.Err()
		}
	}
}

// Close gives the claim up; who waits is told that nobody serves it.
func (c *Counter) Close() {
	c.desk.mu.Lock()
	delete(c.desk.kinds, c.kind)
	c.desk.mu.Unlock()
	for {
		select {
		case job := <-c.c.jobs:
			job.Done(Reply{}, ErrNobody)
		default:
			return
		}
	}
}

// A Job is an errand taken.
type Job struct {
	Errand
	ctx    context.Context
	answer chan answer
}

type answer struct {
	reply Reply
	err   error
}

// Context ends when the asker no longer waits.
func (j Job) Context() context.Context { return j.ctx }

// Done answers; a second answer is dropped.
func (j Job) Done(r Reply, err error) {
	select {
	case j.answer <- answer{r, err}:
	default:
	}
}
