package phone

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"log/slog"
	"sync"
	"time"
)

// Drawer keeps the keys of the phones' certificates over a restart.
type Drawer interface {
	Each(prefix string, visit func(key string, value []byte) error) error
	PutSoft(ctx context.Context, key string, value []byte) error
	DeleteSoft(ctx context.Context, key string) error
}

// maxPins bounds the pins of phones that nobody listed: their names come from a wire.
const maxPins = 2 * maxFound

// pinsAge is how often it is noted that a pinned key was seen.
const pinsAge = 24 * time.Hour

// pins remembers the key of each phone's certificate: the first one seen is
// believed, and holds for as long as the phone is listed or met. A renewed LSC keeps
// its key as a rule; a phone that was replaced has another name. Whoever knows better
// lists a phone that was asked by https as one that is asked by http, for one start
// (see open). That the phone then redirects to https is no reason to forget again.
type pins struct {
	drawer Drawer // nil: for as long as the agent runs
	log    *slog.Logger
	listed map[string]string // the scheme by which each listed phone is asked

	mu   sync.Mutex
	keys map[string]pin // nil: the drawer is not read yet
}

// A pin is one phone's key.
type pin struct {
	key    [sha256.Size]byte
	direct bool // the phone was asked by https, and did not only redirect there
	seen   time.Time
}

const pinKey = "pin/"

func newPins(drawer Drawer, phones []Phone, log *slog.Logger) *pins {
	p := &pins{drawer: drawer, log: log, listed: map[string]string{}}
	for _, l := range phones {
		p.listed[l.Name] = l.WebScheme
	}
	return p
}

// start reads what is kept, and forgets what is to be forgotten at a start.
func (p *pins) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open(ctx)
}

// open does so once. It comes before any key is judged.
func (p *pins) open(ctx context.Context) error {
	if p.keys != nil {
		return nil
	}
	keys := map[string]pin{}
	if p.drawer != nil {
		var gone, now []string
		err := p.drawer.Each(pinKey, func(key string, value []byte) error {
			name := key[len(pinKey):]
			is, ok := readPin(value)
			switch {
			case !ok, is.direct && p.listed[name] == "http":
				gone = append(gone, key)
				return nil
			case !is.direct && p.listed[name] == "https":
				is.direct = true
				now = append(now, name)
			}
			keys[name] = is
			return nil
		})
		for _, name := range now {
			if err == nil {
				err = p.drawer.PutSoft(ctx, pinKey+name, keys[name].bytes())
			}
		}
		for _, key := range gone {
			if err == nil {
				err = p.drawer.DeleteSoft(ctx, key)
			}
		}
		if err != nil {
			return err
		}
	}
	p.keys = keys
	return nil
}

func (p *pins) check(ctx context.Context, phone Phone, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return garbled("", "shows no certificate")
	}
	key := sha256.Sum256(chain[0].RawSubjectPublicKeyInfo)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.open(ctx); err != nil {
		return err
	}
	was, known := p.keys[phone.Name]
	switch {
	case known && was.key != key && was.direct:
		return garbled("", "shows another certificate than before: if the phone was replaced or given a new key, give its entry web_scheme: http for one start")
	case known && was.key != key:
		return garbled("", "redirects to https and shows another certificate than before: if the phone was replaced or given a new key, give its entry web_scheme: https for one start, and then http")
	}
	is := pin{key, was.direct || phone.WebScheme == "https", time.Now()}
	if known && is.seen.Sub(was.seen) < pinsAge {
		return nil
	}
	return p.keep(ctx, phone.Name, is)
}

// keep takes a pin down. Of phones that nobody listed the one that was not seen for
// longest makes room.
func (p *pins) keep(ctx context.Context, name string, is pin) error {
	if _, listed := p.listed[name]; !listed {
		p.makeRoom(ctx, name)
	}
	p.keys[name] = is
	if p.drawer == nil {
		return nil
	}
	err := p.drawer.PutSoft(ctx, pinKey+name, is.bytes())
	if err != nil && ctx.Err() == nil { // it holds until the next start
		p.log.Warn("key of a phone's certificate is not kept", "device", name, "err", err)
	}
	return ctx.Err()
}

func (p *pins) makeRoom(ctx context.Context, name string) {
	n, oldest := 0, ""
	for other, is := range p.keys {
		if _, listed := p.listed[other]; listed || other == name {
			continue
		}
		if n++; oldest == "" || is.seen.Before(p.keys[oldest].seen) {
			oldest = other
		}
	}
	if n < maxPins {
		return
	}
	delete(p.keys, oldest)
	if p.drawer != nil {
		if err := p.drawer.DeleteSoft(ctx, pinKey+oldest); err != nil && ctx.Err() == nil {
			p.log.Warn("key of a phone's certificate is still kept", "device", oldest, "err", err)
		}
	}
}

// bytes is the pin as it is kept: the key, how it came, and when it was seen.
func (is pin) bytes() []byte {
	b := append(make([]byte, 0, sha256.Size+9), is.key[:]...)
	if is.direct {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(is.seen.Unix()))
}

// readPin reads it, and the key alone, as it was kept at first. That one is not known
// to be direct.
func readPin(b []byte) (is pin, ok bool) {
	switch len(b) {
	case sha256.Size + 9:
		is.direct = b[sha256.Size] == 1
		is.seen = time.Unix(int64(binary.BigEndian.Uint64(b[sha256.Size+1:])), 0)
	case sha256.Size:
	default:
		return pin{}, false
	}
	copy(is.key[:], b)
	return is, true
}
