package simple

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"pilotlight/agent/access"
	"pilotlight/drivers/internal/pidf"
)

// notice is what a NOTIFY carries.
type notice struct {
	octets []byte
	kind   string // the content type, of octets
	etag   string
	more   bool // there was no room for all of it
}

// body is what all see who ask the same, with its entity-tag and a mark of it.
type body struct {
	octets []byte
	etag   string
	mark   uint64
}

// bodyKey is what decides a body, beside the document.
type bodyKey struct {
	pkg, kind, entity string
	dialect           pidf.Dialect
	polite            bool
}

// tagOf is an entity-tag: a token, and of equal words the same one in every life
// of this program, so that a watcher's is still good after a restart (CN-01).
func tagOf(words ...string) string {
	h := sha256.New()
	for _, w := range words {
		h.Write([]byte(w))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// question is what s asks of its presentity.
func (r *run) question(s *subscription, now time.Time) question {
	return question{of: s.in, entity: s.Entity, kind: s.body, dialect: pidf.DialectOf(s.UserAgent, s.body), polite: s.how == access.PoliteBlock, now: now, access: r.n.Access}
}

// tell is what s is told now; false where it has been told just that and was not
// asked.
func (r *run) tell(s *subscription, now time.Time, full bool) (notice, bool) {
	if s.how == access.Confirm || s.how == access.Block {
		// Nothing is told before somebody decides (PRES-03), nor to one who is on the way out.
		return notice{etag: nothingTag(s)}, full
	}
	if s.in.list != nil {
		return r.tellList(s, now, full)
	}
	q := r.question(s, now)
	if s.pkg.tell != nil {
		octets, ok := s.pkg.tell(q, &s.told, full || s.again)
		n := notice{octets: octets, kind: s.body}
		switch {
		case !ok:
			return n, false
		case s.pkg.view != nil:
			n.etag = s.in.view(s.pkg, q).etag
		default:
			n.etag = tagOf(s.Package, string(octets)) // it is never the same twice
		}
		return n, true
	}
	b := s.in.view(s.pkg, q)
	if !full && !s.again && b.etag == s.sent {
		return notice{}, false
	}
	return notice{octets: b.octets, kind: s.body, etag: b.etag}, true
}

// view finds a body that was rendered for another watcher, or renders it.
func (w *watched) view(pkg *eventPackage, q question) body {
	key := bodyKey{pkg.name, q.kind, q.entity, q.dialect, q.polite}
	if b, ok := w.bodies[key]; ok {
		return b
	}
	b := body{octets: pkg.view(q)}
	b.etag = tagOf(pkg.name, q.kind, string(timeless(b.octets)))
	raw, _ := hex.DecodeString(b.etag)
	b.mark = binary.BigEndian.Uint64(raw)
	if w.bodies == nil {
		w.bodies = map[bodyKey]body{}
	}
	if len(w.bodies) < maxBodies {
		w.bodies[key] = b
	}
	return b
}

// timeless is a document without its timestamps: one that differs in them alone
// tells nobody anything (COMP-08).
func timeless(octets []byte) []byte {
	out := make([]byte, 0, len(octets))
	for {
		i := bytes.Index(octets, timestamp)
		if i < 0 {
			return append(out, octets...)
		}
		i += len(timestamp)
		out = append(out, octets[:i]...)
		octets = octets[i:]
		if end := bytes.IndexByte(octets, '<'); end >= 0 {
			octets = octets[end:]
		}
	}
}

var timestamp = []byte("timestamp>")

// maxBodies bounds the renderings kept of one document.
const maxBodies = 16
