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
type viewers struct {
	mu      sync.Mutex
	pending map[string]change // by phone
	took    []time.Duration
	missed  []string
	broken  []error

	stop context.CancelFunc
	all  sync.WaitGroup
}

type change struct {
	to string
	at time.Time
}

// watch opens the streams.
func (b *pair) watch(ctx context.Context, n int) (*viewers, error) {
	ctx, stop := context.WithCancel(ctx)
	v := &viewers{pending: map[string]change{}, stop: stop}
	for i := range n {
		stream, err := b.get(ctx, "/api/v1/events")
		if err != nil {
			v.close()
			return nil, fmt.Errorf("viewer %d: %w", i, err)
		}
		v.all.Go(func() {
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
	v.all.Wait()
}

// ended notes a stream that ended before its time.
func (v *viewers) ended(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.broken = append(v.broken, fmt.Errorf("an event stream ended: %w", err))
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

// expect notes that a phone is about to change. Its last change must have been
// seen by now: changes of one phone are a second apart.
func (v *viewers) expect(phone, state string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old, late := v.pending[phone]; late {
		v.missed = append(v.missed, phone+" "+old.to)
	}
	v.pending[phone] = change{state, time.Now()}
}

func (v *viewers) seen(phone, state string, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if c, waits := v.pending[phone]; waits && c.to == state {
		v.took = append(v.took, at.Sub(c.at))
		delete(v.pending, phone)
	}
}

// result waits for what is still on its way and gives the samples, sorted, and
// the changes that no event told.
func (v *viewers) result(ctx context.Context) (took []time.Duration, missed []string, err error) {
	for range 50 {
		v.mu.Lock()
		left := len(v.pending)
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
	for phone, c := range v.pending {
		v.missed = append(v.missed, phone+" "+c.to)
	}
	if len(v.took) == 0 {
		v.broken = append(v.broken, errors.New("no change was seen at all"))
	}
	slices.Sort(v.took)
	return v.took, v.missed, errors.Join(v.broken...)
}

// quantile of sorted samples.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
