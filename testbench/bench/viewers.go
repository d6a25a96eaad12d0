package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// viewers are clients of the panel's event stream. All take everything; one of
// them reads it and tells how long each expected change took to come.
//
// A change is stamped in this process just before the branch is told of it,
// and again when the event's line has been read: one clock, and the way over
// the branch's standard input counts against the agent.
//
// What is told late counts all the same: it is held against the change that
// was the phone's newest at its own stamp, and not when it is heard of. Frames
// are fetched from a browser in lots, by when the phone may have gone on.
type viewers struct {
	mu     sync.Mutex
	all    map[string][]change // by phone, in order
	took   []time.Duration
	left   int // changes that nothing has told yet
	broken []error

	stop  context.CancelFunc
	tasks sync.WaitGroup
}

type change struct {
	to   string
	at   time.Time
	seen bool
}

func newViewers(stop context.CancelFunc) *viewers {
	return &viewers{all: map[string][]change{}, stop: stop}
}

// watch opens the streams.
func (b *pair) watch(ctx context.Context, n int) (*viewers, error) {
	ctx, stop := context.WithCancel(ctx)
	v := newViewers(stop)
	for i := range n {
		stream, err := b.get(ctx, "/api/v1/events")
		if err != nil {
			v.close()
			return nil, fmt.Errorf("viewer %d: %w", i, err)
		}
		v.tasks.Go(func() {
			defer stream.Close()
			if i == 0 {
				v.ended(ctx, v.read(stream))
				return
			}
			_, err := io.Copy(io.Discard, stream)
			v.ended(ctx, err)
		})
	}
	return v, nil
}

func (v *viewers) close() {
	v.stop()
	v.tasks.Wait()
}

// ended notes a source of what was seen that ended before its time.
func (v *viewers) ended(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.broken = append(v.broken, fmt.Errorf("what tells of changes ended: %w", err))
}

func (v *viewers) read(stream io.Reader) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, 1<<20)
	kind := ""
	for lines.Scan() {
		at := time.Now()
		switch field, value, _ := bytes.Cut(lines.Bytes(), []byte(": ")); string(field) {
		case "event":
			kind = string(value)
		case "data":
			if kind != "phone" {
				continue
			}
			var p struct{ Name, State string }
			if err := json.Unmarshal(value, &p); err != nil {
				return err
			}
			v.seen(p.Name, p.State, at)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return io.EOF
}

// expect notes that a phone is about to change.
func (v *viewers) expect(phone, state string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all[phone] = append(v.all[phone], change{to: state, at: time.Now()})
	v.left++
}

// seen takes a phone's state as it was seen at a time. It tells of the phone's
// newest change at that time, or of none: what comes after the next change is
// too late, and what comes before its own is of an older one.
func (v *viewers) seen(phone, state string, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	changes := v.all[phone]
	i := len(changes) - 1
	for i >= 0 && changes[i].at.After(at) {
		i--
	}
	if i < 0 || changes[i].seen || changes[i].to != state {
		return
	}
	changes[i].seen = true
	v.took = append(v.took, at.Sub(changes[i].at))
	v.left--
}

// result waits for what is still on its way and gives the samples, sorted, and
// the changes that nothing told.
func (v *viewers) result(ctx context.Context) (took []time.Duration, missed []string, err error) {
	for range 50 {
		v.mu.Lock()
		left := v.left
		v.mu.Unlock()
		if left == 0 {
			break
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, nil, err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for phone, changes := range v.all {
		for _, c := range changes {
			if !c.seen {
				missed = append(missed, phone+" "+c.to)
			}
		}
	}
	if len(v.took) == 0 {
		v.broken = append(v.broken, errors.New("no change was seen at all"))
	}
	slices.Sort(v.took)
	return v.took, missed, errors.Join(v.broken...)
}

// quantile of sorted samples.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
