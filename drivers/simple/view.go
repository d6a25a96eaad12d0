package simple

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"pilotlight/agent/access"
	"pilotlight/drivers/internal/pidf"
)

// body is what a NOTIFY carries, and a tag by which two are compared: of equal
// octets the same one in every life of this program.
type body struct {
	octets []byte
	tag    uint64
}

// bodyKey is what decides a body, beside the document.
type bodyKey struct {
	pkg, kind, entity string
	dialect           pidf.Dialect
	polite            bool
}

// bodyFor is what s is told now; false where it has been told just that and was
// not asked.
func (r *run) bodyFor(s *subscription, now time.Time, full bool) ([]byte, bool) {
	if s.how == access.Confirm {
		return nil, full // nothing is told before somebody decides (PRES-03)
	}
	if s.how == access.Block {
		return nil, full // nor to one who is on the way out
	}
	q := question{of: s.in, entity: s.Entity, kind: s.body, dialect: pidf.DialectOf(s.UserAgent, s.body), polite: s.how == access.PoliteBlock, now: now}
	if s.pkg.tell != nil {
		return s.pkg.tell(q, &s.told, full || s.again)
	}
	b := s.in.view(s.pkg, q)
	if !full && !s.again && b.tag == s.sent {
		return nil, false
	}
	s.sent = b.tag
	return b.octets, true
}

// view finds a body that was rendered for another watcher, or renders it.
func (w *watched) view(pkg *eventPackage, q question) body {
	key := bodyKey{pkg.name, q.kind, q.entity, q.dialect, q.polite}
	if b, ok := w.bodies[key]; ok {
		return b
	}
	b := body{octets: pkg.view(q)}
	sum := sha256.Sum256(b.octets)
	b.tag = binary.BigEndian.Uint64(sum[:])
	if w.bodies == nil {
		w.bodies = map[bodyKey]body{}
	}
	if len(w.bodies) < maxBodies {
		w.bodies[key] = b
	}
	return b
}

// maxBodies bounds the renderings kept of one document.
const maxBodies = 16
