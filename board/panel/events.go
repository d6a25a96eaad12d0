package panel

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

// What an event stream may cost.
const (
	maxViewers    = 200
	heartbeat     = 15 * time.Second
	eventDeadline = 10 * time.Second // to take one write
	eventBatch    = 16               // events in one write
	eventKept     = 8 << 10          // bytes of buffer that an idle viewer keeps: there may be many
	eventRetry    = 2 * time.Second  // after which a browser comes back
)

// A viewer is one event stream: a place in the order of changes. Nothing is
// queued for it. Whenever it can take more, it is told what has changed since
// its place, as that is by then.
type viewer struct {
	p     *Panel
	w     http.ResponseWriter
	ctl   *http.ResponseController
	kinds map[string]bool
	all   bool // lines and devices, too

	seq     uint64
	fresh   presence.Rev            // for a client without a past: the revision it began at
	uplinks map[string]relay.Status // as last told
	buf     bytes.Buffer
}

// serveEvents is the event stream. Last-Event-ID, or the parameter after for a
// browser's first connection, says what the client has seen.
func (p *Panel) serveEvents(d *door, w http.ResponseWriter, r *http.Request) {
	select {
	case p.viewers <- struct{}{}:
		defer func() { <-p.viewers }()
	default:
		newProblem(http.StatusServiceUnavailable, fmt.Sprintf("%d event streams are open, which is all there may be", maxViewers)).after(10).write(w)
		return
	}
	v := &viewer{p: p, w: w, ctl: http.NewResponseController(w), uplinks: map[string]relay.Status{}}
	if no := v.asked(r); no != nil {
		no.write(w)
		return
	}
	v.resume(r)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.Header().Set("Last-Event-ID", p.eventID(p.keeper.snap.Load().rev))
	_ = v.ctl.SetReadDeadline(time.Time{}) // the request is read; what follows may last
	fmt.Fprintf(&v.buf, "retry: %d\n\n", eventRetry.Milliseconds())
	v.run(d, r)
}

// asked reads what the client wants.
func (v *viewer) asked(r *http.Request) *problem {
	q := r.URL.Query()
	v.kinds = map[string]bool{}
	for kind := range strings.SplitSeq(q.Get("kinds"), ",") {
		switch kind {
		case "":
		case kindPhone, kindPresence, kindUplink:
			v.kinds[kind] = true
		default:
			return newProblem(http.StatusUnprocessableEntity, fmt.Sprintf("kind %.40q, want phone, presence or uplink", kind))
		}
	}
	if len(v.kinds) == 0 {
		v.kinds = map[string]bool{kindPhone: true, kindPresence: true, kindUplink: true}
	}
	v.all = q.Get("all") == "true"
	return nil
}

// resume finds the place of a client that was here before. What it saw before a
// restart counts for nothing: it may have seen what never reached the disk, or
// what is not in the configuration any more. So does what it saw of another
// store. The answer's own Last-Event-ID tells it which of both it is.
func (v *viewer) resume(r *http.Request) {
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		id = r.URL.Query().Get("after")
	}
	store, rest, _ := strings.Cut(id, ".")
	rev, err := presence.ParseRev(rest)
	snap := v.p.keeper.snap.Load()
	if err != nil || store != v.p.deps.Heart.ID() || rev.Epoch != v.p.deps.Heart.Epoch() || rev.Compare(snap.rev) > 0 {
		v.fresh = snap.rev // what went before it came, it never knew
		return
	}
	v.seq = snap.after(rev)
}

func (v *viewer) run(d *door, r *http.Request) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		snap := v.p.keeper.snap.Load()
		more := v.fill(snap)
		if v.flush() != nil {
			return
		}
		if more {
			continue
		}
		if v.buf.Cap() > eventKept {
			v.buf = bytes.Buffer{} // the first picture was large; the rest is small
		}
		select {
		case <-snap.changed:
		case <-beat.C:
			if who, err := v.p.identify(d, r); err != nil || who.may(access.Viewer) != nil {
				return // revoked meanwhile
			}
			v.buf.WriteString(": still here\n\n")
		case <-r.Context().Done():
			return
		}
	}
}

// fill puts the next events into the buffer, and reports whether there are more.
func (v *viewer) fill(snap *snapshot) (more bool) {
	s := v.p.shaper()
	if v.kinds[kindUplink] {
		for _, u := range snap.uplinks {
			if last, told := v.uplinks[u.Name]; !told || last != u {
				v.uplinks[u.Name] = u
				v.event(kindUplink, "", encode(s.uplink(u)))
			}
		}
	}
	n := 0
	for _, it := range snap.since(v.seq) {
		if n == eventBatch {
			return true
		}
		v.seq = it.seq
		if v.wants(it) {
			v.event(it.kind, v.p.eventID(it.rev), it.json(s))
			n++
		}
	}
	return false
}

func (v *viewer) wants(it *item) bool {
	if it.gone && it.rev.Compare(v.fresh) <= 0 {
		return false
	}
	return v.kinds[it.kind] && (it.doc == nil || v.all || it.gone || it.doc.Kind == presence.KindPerson)
}

// eventID is store.epoch.seq.
func (p *Panel) eventID(rev presence.Rev) string { return p.deps.Heart.ID() + "." + rev.String() }

// event writes one event. Its data is one line, as JSON is.
func (v *viewer) event(kind, id string, data []byte) {
	if id != "" {
		v.buf.WriteString("id: " + id + "\n")
	}
	v.buf.WriteString("event: " + kind + "\ndata: ")
	v.buf.Write(data)
	v.buf.WriteString("\n\n")
}

func (v *viewer) flush() error {
	if v.buf.Len() == 0 {
		return nil
	}
	if err := v.ctl.SetWriteDeadline(time.Now().Add(eventDeadline)); err != nil {
		return err
	}
	if _, err := v.w.Write(v.buf.Bytes()); err != nil {
		return err
	}
	v.buf.Reset()
	return v.ctl.Flush()
}
