package relay

import (
	"bytes"
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
	Refused   string              `json:"r,omitempty"` // why the far side will never take it, such as "404 Not Found"
	Hops      int                 `json:"h,omitempty"` // how many servers it may pass yet; 0: as many as is usual
	Undated   bool                `json:"u,omitempty"` // At is by a clock that could not be believed

	kept time.Time // when its week began
	size int       // as it is stored
}

func (m Message) waits() bool { return !m.Delivered && m.Refused == "" }

func (m Message) abroad() bool { return m.From.Domain() != m.To.Domain() }

// Bounds of what a post office keeps. When it is full, messages that were delivered
// or refused make way, the oldest first; those that nobody has had yet do not.
const (
	MaxText     = 4 << 10
	maxMessages = 1000
	maxBytes    = 6 << 20         // as they are stored: the drawers of all drivers hold 16 MiB
	maxWaiting  = 200             // for one recipient
	maxAbroad   = maxMessages / 2 // from or to other domains: a server that is down, or floods, leaves the branch its own
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
	DeleteSoft(ctx context.Context, key string) error
	Each(prefix string, visit func(key string, value []byte) error) error
}

// Post keeps messages in order, and conflates nothing. One that it took is on
// disk; what became of it is written softly, so that a power cut may have one
// delivered twice, and none lost. It is safe for concurrent use.
type Post struct {
	drawer  PostDrawer
	now     func() time.Time
	trusted func() (bool, string)

	writing sync.Mutex // held while a message goes to disk, so that order holds

	mu      sync.Mutex
	all     []Message // by ID
	changed bell.Bell
}

// NewPost reads the messages from their drawer. trusted says whether the wall clock
// may be believed.
func NewPost(drawer PostDrawer, now func() time.Time, trusted func() (bool, string)) (*Post, error) {
	p := &Post{drawer: drawer, now: now, trusted: trusted}
	began := now()
	err := drawer.Each("", func(key string, value []byte) error {
		var m Message
		if _, err := fmt.Sscanf(key, "%016x", &m.ID); err != nil {
			return fmt.Errorf("relay: the message %.40q: %w", key, err)
		}
		if err := json.Unmarshal(value, &m); err != nil {
			return fmt.Errorf("relay: the message %.40q: %w", key, err)
		}
		m.size = len(value)
		// Who began without a clock drops nothing that was acknowledged then.
		if m.kept = m.At; m.Undated {
			m.kept = began
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
	m.At, m.Delivered, m.Refused = p.now(), false, ""
	sure, _ := p.trusted()
	m.kept, m.Undated = m.At, !sure
	value, err := encode(m)
	if err != nil {
		return m, err
	}
	m.size = len(value)
	gone, err := p.room(m)
	if err != nil {
		return m, err
	}
	p.mu.Lock()
	m.ID = 1
	if n := len(p.all); n > 0 {
		m.ID = p.all[n-1].ID + 1
	}
	p.mu.Unlock()
	if err := p.drawer.Put(ctx, keyOf(m.ID), value); err != nil {
		return m, err
	}
	p.mu.Lock()
	p.all = append(slices.DeleteFunc(p.all, func(old Message) bool { return slices.Contains(gone, old.ID) }), m)
	p.changed.Ring()
	p.mu.Unlock()
	for _, id := range gone { // one that comes back with a restart goes by the same rules
		_ = p.drawer.DeleteSoft(context.WithoutCancel(ctx), keyOf(id))
	}
	return m, nil
}

// encode does without the escapes that HTML asks for: they make six octets of one.
func encode(m Message) ([]byte, error) {
	var b bytes.Buffer
	to := json.NewEncoder(&b)
	to.SetEscapeHTML(false)
	err := to.Encode(m)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// room says which messages make way for one more.
func (p *Post) room(one Message) (gone []uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting, abroad, bytes, over, old := 0, 0, one.size, len(p.all)+1-maxMessages, p.aged()
	for _, m := range p.all {
		bytes += m.size
	}
	for _, m := range p.all {
		switch {
		case old(m), !m.waits() && (len(gone) < over || bytes > maxBytes):
			gone = append(gone, m.ID)
			bytes -= m.size
			continue
		case !m.waits():
			continue
		case m.To == one.To:
			waiting++
		}
		if m.abroad() {
			abroad++
		}
	}
	if len(gone) < over || bytes > maxBytes || waiting >= maxWaiting || one.abroad() && abroad >= maxAbroad {
		return nil, ErrPostFull
	}
	return gone, nil
}

// aged tells which messages have had their week by now.
func (p *Post) aged() func(Message) bool {
	sure, _ := p.trusted()
	now := p.now()
	return func(m Message) bool { return sure && now.Sub(m.kept) > postLife }
}

// Delivered notes that the recipient has a message.
func (p *Post) Delivered(ctx context.Context, id uint64) error {
	return p.settle(ctx, id, func(m *Message) { m.Delivered = true })
}

// Refuse notes that the far side will never take a message, and why. It is kept
// for its sender to see.
func (p *Post) Refuse(ctx context.Context, id uint64, why string) error {
	return p.settle(ctx, id, func(m *Message) { m.Refused = why })
}

// settle notes what became of a message that waits.
func (p *Post) settle(ctx context.Context, id uint64, how func(*Message)) error {
	p.mu.Lock()
	i, ok := slices.BinarySearchFunc(p.all, id, func(m Message, id uint64) int { return cmp.Compare(m.ID, id) })
	if !ok || !p.all[i].waits() {
		p.mu.Unlock()
		return nil
	}
	p.all = slices.Clone(p.all) // who was handed the old list keeps it
	how(&p.all[i])
	m := p.all[i]
	p.changed.Ring()
	p.mu.Unlock()
	value, err := encode(m)
	if err != nil {
		return err
	}
	return p.drawer.PutSoft(ctx, keyOf(id), value)
}

// Waiting are the messages that somebody has still to be brought, in order.
func (p *Post) Waiting(to presence.Presentity) []Message {
	old := p.aged()
	return p.pick(func(m Message) bool { return m.To == to && m.waits() && !old(m) })
}

// Recipients are those whom something is still to be brought, each with the ID of
// the last of it.
func (p *Post) Recipients() map[presence.Presentity]uint64 {
	last, old := map[presence.Presentity]uint64{}, p.aged()
	for _, m := range p.pick(func(m Message) bool { return m.waits() && !old(m) }) {
		last[m.To] = m.ID
	}
	return last
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
