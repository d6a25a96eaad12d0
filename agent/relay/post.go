package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"pilotlight/agent/bell"
	"pilotlight/agent/presence"
)

// Message is one instant message. It is never changed once handed out.
type Message struct {
	ID        uint64              `json:"-"` // rises with each; the order in which they were taken
	From      presence.Presentity `json:"f"`
	To        presence.Presentity `json:"t"`
	At        time.Time           `json:"a"`
	Text      string              `json:"x"`
	Delivered bool                `json:"d,omitempty"`
}

// Bounds of what a post office keeps. When it is full, delivered messages make way,
// the oldest first; those that nobody has had yet do not.
const (
	MaxText     = 4 << 10
	maxMessages = 1000
	maxWaiting  = 200 // for one recipient
	postLife    = 7 * 24 * time.Hour
)

// Why a message is not taken.
var (
	ErrPostFull = errors.New("too many messages wait")
	ErrNoText   = fmt.Errorf("want 1 to %d bytes of text in UTF-8", MaxText)
)

// PostDrawer is where a post office keeps messages. Put is on disk when it returns.
type PostDrawer interface {
	Put(ctx context.Context, key string, value []byte) error
	PutSoft(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	Each(prefix string, visit func(key string, value []byte) error) error
}

// Post keeps messages in order, and conflates nothing. One that it took is on
// disk; that it was delivered is written softly, so that a power cut may have one
// delivered twice, and none lost. It is safe for concurrent use.
type Post struct {
	drawer PostDrawer
	now    func() time.Time

	writing sync.Mutex // held while a message goes to disk, so that order holds

	mu      sync.Mutex
	all     []Message // by ID
	changed bell.Bell
}

// NewPost reads the messages from their drawer.
func NewPost(drawer PostDrawer, now func() time.Time) (*Post, error) {
	p := &Post{drawer: drawer, now: now}
	err := drawer.Each("", func(key string, value []byte) error {
		var m Message
		if _, err := fmt.Sscanf(key, "%016x", &m.ID); err != nil {
			return fmt.Errorf("relay: the message %.40q: %w", key, err)
		}
		if err := json.Unmarshal(value, &m); err != nil {
			return fmt.Errorf("relay: the message %.40q: %w", key, err)
		}
		p.all = append(p.all, m)
		return nil
	})
	slices.SortFunc(p.all, func(a, b Message) int { return cmp.Compare(a.ID, b.ID) })
	return p, err
}

func keyOf(id uint64) string { return fmt.Sprintf("%016x", id) }

// Send takes a message: it is on disk when Send returns.
func (p *Post) Send(ctx context.Context, m Message) (Message, error) {
	if m.Text == "" || len(m.Text) > MaxText || !utf8.ValidString(m.Text) {
		return m, ErrNoText
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	m.At, m.Delivered = p.now(), false
	gone, err := p.room(m.To)
	if err != nil {
		return m, err
	}
	p.mu.Lock()
	m.ID = 1
	if n := len(p.all); n > 0 {
		m.ID = p.all[n-1].ID + 1
	}
	p.mu.Unlock()
	value, err := json.Marshal(m)
	if err != nil {
		return m, err
	}
	if err := p.drawer.Put(ctx, keyOf(m.ID), value); err != nil {
		return m, err
	}
	p.mu.Lock()
	p.all = append(slices.DeleteFunc(p.all, func(old Message) bool { return slices.Contains(gone, old.ID) }), m)
	p.changed.Ring()
	p.mu.Unlock()
	for _, id := range gone {
		if err := p.drawer.Delete(ctx, keyOf(id)); err != nil {
			return m, err
		}
	}
	return m, nil
}

// room says which messages make way for one more.
func (p *Post) room(to presence.Presentity) (gone []uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting, over, now := 0, len(p.all)+1-maxMessages, p.now()
	for _, m := range p.all {
		old := now.Sub(m.At) > postLife
		switch {
		case old, m.Delivered && len(gone) < over:
			gone = append(gone, m.ID)
		case m.To == to && !m.Delivered:
			waiting++
		}
	}
	if len(gone) < over || waiting >= maxWaiting {
		return nil, ErrPostFull
	}
	return gone, nil
}

// Delivered notes that the recipient has a message.
func (p *Post) Delivered(ctx context.Context, id uint64) error {
	p.mu.Lock()
	i, ok := slices.BinarySearchFunc(p.all, id, func(m Message, id uint64) int { return cmp.Compare(m.ID, id) })
	if !ok || p.all[i].Delivered {
		p.mu.Unlock()
		return nil
	}
	p.all = slices.Clone(p.all) // who was handed the old list keeps it
	p.all[i].Delivered = true
	m := p.all[i]
	p.changed.Ring()
	p.mu.Unlock()
	value, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return p.drawer.PutSoft(ctx, keyOf(id), value)
}

// Waiting are the messages that somebody has not had yet, in order.
func (p *Post) Waiting(to presence.Presentity) []Message {
	return p.pick(func(m Message) bool { return m.To == to && !m.Delivered })
}

// Recipients are those for whom something waits, sorted.
func (p *Post) Recipients() (all []presence.Presentity) {
	for _, m := range p.pick(func(m Message) bool { return !m.Delivered }) {
		all = append(all, m.To)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// With are the messages between two, in order; with other empty, all of who's.
func (p *Post) With(who, other presence.Presentity) []Message {
	return p.pick(func(m Message) bool {
		return m.From == who && (other == "" || m.To == other) || m.To == who && (other == "" || m.From == other)
	})
}

func (p *Post) pick(is func(Message) bool) (list []Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.all {
		if is(m) {
			list = append(list, m)
		}
	}
	return list
}

// Changed waits for a change after the one with that number, and gives the number
// of the last.
func (p *Post) Changed(ctx context.Context, since uint64) (uint64, error) {
	return p.changed.Wait(ctx, since)
}
