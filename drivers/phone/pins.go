package phone

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"sync"
)

// Drawer keeps the keys of the phones' certificates over a restart.
type Drawer interface {
	Get(key string) ([]byte, error)
	PutSoft(ctx context.Context, key string, value []byte) error
}

// maxPins bounds the pins: names of phones that were found come from a wire.
const maxPins = 2 * maxFound

// pins remembers the key of each phone's certificate: the first one seen is
// believed, and holds. A renewed LSC keeps its key as a rule; a phone that was
// replaced has another name. Whoever knows better renames the phone's entry or
// removes it for one start (see forget).
type pins struct {
	drawer Drawer // nil: for as long as the agent runs

	mu   sync.Mutex
	keys map[string][sha256.Size]byte
}

const pinKey = "pin/"

func (p *pins) check(ctx context.Context, name string, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return garbled("", "shows no certificate")
	}
	key := sha256.Sum256(chain[0].RawSubjectPublicKeyInfo)
	p.mu.Lock()
	defer p.mu.Unlock()
	was, known := p.keys[name]
	if !known && p.drawer != nil {
		if b, err := p.drawer.Get(pinKey + name); err == nil && len(b) == sha256.Size {
			was, known = [sha256.Size]byte(b), true
			p.keys[name] = was
		}
	}
	switch {
	case !known:
		return p.keep(ctx, name, key)
	case was != key:
		return garbled("", "shows another certificate than before: if the phone was replaced or given a new key, give its entry web_scheme: http for one start")
	}
	return nil
}

func (p *pins) keep(ctx context.Context, name string, key [sha256.Size]byte) error {
	if len(p.keys) >= maxPins {
		return nil
	}
	p.keys[name] = key
	if p.drawer == nil {
		return nil
	}
	return p.drawer.PutSoft(ctx, pinKey+name, key[:])
}

// forget drops the pin of a phone that is asked without TLS: so an administrator
// says that another key may come.
func (p *pins) forget(ctx context.Context, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.keys, name)
	if p.drawer == nil {
		return nil
	}
	if b, err := p.drawer.Get(pinKey + name); err != nil || len(b) == 0 {
		return err
	}
	return p.drawer.PutSoft(ctx, pinKey+name, []byte{})
}
