package ledger

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pilotlight/agent/ledger/internal/store"
)

// What drawers hold at most.
const (
	maxDrawerKey   = 512
	maxDrawerValue = 1 << 20
	maxDrawerBytes = 16 << 20 // all of them, keys and values
	maxDrawerWaits = 1 << 16  // records that wait for a disk that does not write
)

// A Drawer keeps what only its driver understands: dialogs, sequence numbers,
// engine boots. Get and Each never wait.
type Drawer interface {
	Get(key string) ([]byte, error)                                       // nil: there is none
	Put(ctx context.Context, key string, value []byte) error              // on disk when it returns
	PutSoft(ctx context.Context, key string, value []byte) error          // by the dial
	Delete(ctx context.Context, key string) error                         // on disk when it returns
	DeleteSoft(ctx context.Context, key string) error                     // by the dial
	Write(entries ...Entry)                                               // in order, and never waits: see Entry
	Each(prefix string, visit func(key string, value []byte) error) error // sorted by key; visit may use the drawer
}

// An Entry is a value under a key, or, nil, that there is to be none. Done is called
// when it is on disk, or cannot be, from a goroutine that must not be held up; with nil
// the dial will do. One that is refused takes none of the others with it. The value is
// not to be changed any more.
type Entry struct {
	Key   string
	Value []byte
	Done  func(error)
}

// Drawer is the drawer of that name; each has its own keys.
func (l *Ledger) Drawer(name string) Drawer { return drawer{l, name} }

type drawer struct {
	l    *Ledger
	name string
}

// mirror is what the drawers hold. The owner writes it; anybody reads it.
type mirror struct {
	mu      sync.RWMutex
	drawers map[string]map[string][]byte // values are never changed
	bytes   int
}

func (m *mirror) size() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.bytes
}

func (m *mirror) get(drawer, key string) []byte {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.drawers[drawer][key]
}

// set puts a value, or with nil deletes; it reports whether there is room.
func (m *mirror) set(drawer, key string, value []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, had := m.drawers[drawer][key]
	grows := 0
	if had {
		grows -= len(key) + len(old)
	}
	if value != nil {
		grows += len(key) + len(value)
	}
	if grows > 0 && m.bytes+grows > maxDrawerBytes {
		return false
	}
	m.bytes += grows
	if value == nil {
		delete(m.drawers[drawer], key)
		return true
	}
	if m.drawers[drawer] == nil {
		m.drawers[drawer] = map[string][]byte{}
	}
	m.drawers[drawer][key] = value
	return true
}

func (d drawer) Get(key string) ([]byte, error) {
	return bytes.Clone(d.l.mirror.get(d.name, key)), nil
}

func (d drawer) Put(ctx context.Context, key string, value []byte) error {
	return d.durable(ctx, Entry{Key: key, Value: append([]byte{}, value...)})
}

func (d drawer) PutSoft(ctx context.Context, key string, value []byte) error {
	return d.soft(ctx, Entry{Key: key, Value: append([]byte{}, value...)})
}

func (d drawer) Delete(ctx context.Context, key string) error { return d.durable(ctx, Entry{Key: key}) }

func (d drawer) DeleteSoft(ctx context.Context, key string) error {
	return d.soft(ctx, Entry{Key: key})
}

func (d drawer) Write(entries ...Entry) {
	d.l.inbox.submit(func(now time.Time, ended error) {
		for _, e := range entries {
			err := ended
			if err == nil {
				err = d.put(now, e)
			}
			switch {
			case e.Done == nil:
			case err != nil:
				e.Done(err)
			default:
				d.l.keeper.durable(now, e.Done)
			}
		}
	})
}

func (d drawer) durable(ctx context.Context, e Entry) error {
	return d.l.durably(ctx, func(now time.Time) error { return d.put(now, e) })
}

func (d drawer) soft(ctx context.Context, e Entry) (refused error) {
	if err := d.l.do(ctx, func(now time.Time) { refused = d.put(now, e) }); err != nil {
		return err
	}
	return refused
}

// put is the owner's.
func (d drawer) put(now time.Time, e Entry) error {
	switch {
	case e.Key == "" || len(e.Key) > maxDrawerKey || len(e.Value) > maxDrawerValue || d.name == "" || strings.ContainsRune(d.name, 0):
		return fmt.Errorf("drawer %s: key %.40q of %d bytes, value of %d bytes: %w", d.name, e.Key, len(e.Key), len(e.Value), ErrFull)
	case len(d.l.next.records) >= maxDrawerWaits || !d.l.mirror.set(d.name, e.Key, e.Value):
		d.l.refuse("drawers")
		return fmt.Errorf("drawer %s: %w", d.name, ErrFull)
	}
	var r record
	if e.Value != nil {
		r = drawerRecord{e.Value}
	}
	d.l.keeper.put(now, store.Drawers, d.name+"\x00"+e.Key, r)
	return nil
}

func (d drawer) Each(prefix string, visit func(key string, value []byte) error) error {
	type pair struct {
		key   string
		value []byte
	}
	var all []pair
	m := &d.l.mirror
	m.mu.RLock()
	for k, v := range m.drawers[d.name] {
		if strings.HasPrefix(k, prefix) {
			all = append(all, pair{k, v})
		}
	}
	m.mu.RUnlock()
	slices.SortFunc(all, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	for _, p := range all {
		if err := visit(p.key, bytes.Clone(p.value)); err != nil {
			return err
		}
	}
	return nil
}
