package ledger

import (
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"pilotlight/agent/ledger/internal/store"
	"pilotlight/agent/presence"
)

// neverLive is the TTL of what was restored: its time is over, whatever the
// wall clock says now or said then.
const neverLive = time.Duration(math.MinInt64 / 2)

// load fills the state from the disk, then with what the configuration says,
// and composes all of it, so that the last known state is there at once.
func (l *Ledger) load(disk disk) error {
	repeated := map[uint32]seenBlock{}
	history := map[string][]eventRecord{}
	since := map[string]sinceRecord{}
	var observed []observationRecord
	err := disk.Load(func(kind store.Kind, key string, b []byte) (err error) {
		switch kind {
		case store.Observations:
			var r observationRecord
			r, err = readObservation(b)
			observed = append(observed, r)
		case store.Seen:
			var block uint32
			var is seenBlock
			block, is, err = readSeen(key, b)
			repeated[block] = is
		case store.Publications:
			err = l.loadStanding(key, b)
		case store.Since:
			since[key], err = readSince(b)
		case store.History:
			var device string
			var e eventRecord
			device, e, err = readEvent(key, b)
			history[device] = append(history[device], e)
		case store.Drawers:
			var drawer, name string
			var value []byte
			drawer, name, value, err = readDrawer(key, b)
			l.mirror.set(drawer, name, value)
		}
		return err
	})
	if err != nil {
		return err
	}
	l.loading = true
	l.restore(observed, repeated)
	l.configure()
	l.remember(since, history)
	l.loading = false
	l.markEverything()
	l.settle(l.opened)
	return nil
}

// restore takes over observations from before the start: last known, until
// they are told again.
func (l *Ledger) restore(observed []observationRecord, repeated map[uint32]seenBlock) {
	used := map[uint32]time.Time{}
	var newest time.Time
	for i, r := range observed {
		at := time.UnixMicro(repeated[r.number/blockSize].micros[r.number%blockSize])
		if at.After(r.Seen) {
			observed[i].Seen = at
		}
		used[r.number] = observed[i].Seen
		if at := observed[i].Seen; at.After(newest) {
			newest = at
		}
	}
	l.repeats.claim(used)
	if newest.After(l.opened) {
		l.ahead = newest.Sub(l.opened)
	}
	for _, r := range observed {
		r.Seen, r.TTL = l.recall(r.Seen), neverLive
		l.hold(held{observationRecord: r, restored: true})
	}
}

// configure replays what the configuration says. It replaces what was restored
// under the same name.
func (l *Ledger) configure() {
	for _, o := range l.cfg.Static {
		if o.Seen.IsZero() {
			o.Seen = l.opened
		}
		o.TTL = presence.Forever
		if err := checkObservation(o); err != nil {
			l.log.Error("configured observation not taken", "err", err)
			continue
		}
		l.hold(held{observationRecord: observationRecord{Observation: o}, static: true})
	}
}

func (l *Ledger) hold(h held) {
	same := func(old held) bool { return old.Source == h.Source }
	if h.Device != "" {
		if d, ok := l.device(h.Device); ok {
			d.seen = append(slices.DeleteFunc(d.seen, same), h)
			l.renumber(d)
			d.mark(l.state)
		}
		return
	}
	if e, ok := l.entity(h.Of); ok {
		e.seen = append(slices.DeleteFunc(e.seen, same), h)
		l.recount(e)
	}
}

// remember takes over since when things are as they are, and what they were before.
func (l *Ledger) remember(since map[string]sinceRecord, history map[string][]eventRecord) {
	for key, r := range since {
		if name, ok := strings.CutPrefix(key, sinceDevice); ok {
			if d := l.devices[name]; d != nil {
				d.since = r
				continue
			}
		} else if of, ok := strings.CutPrefix(key, sincePresentity); ok {
			if e, ok := l.entity(presence.Presentity(of)); ok {
				e.since = r
				e.mark(l.state) // it vanishes again if it is nobody
				continue
			}
		}
		l.put(l.opened, store.Since, key, nil)
	}
	for name, events := range history {
		d := l.devices[name]
		if d == nil {
			for _, e := range events {
				l.put(l.opened, store.History, historyKey(name, e.n), nil)
			}
			continue
		}
		slices.SortFunc(events, func(a, b eventRecord) int { return int(a.n) - int(b.n) })
		for _, e := range events {
			d.ring = append(d.ring, e.Event)
			d.events = e.n + 1
		}
	}
}

// loadStanding takes over a publication, for all the time that was granted;
// what is left of that by the wall clock is decided once the clock is believed.
func (l *Ledger) loadStanding(key string, b []byte) error {
	r, slot, err := readStanding(key, b)
	if err != nil {
		return err
	}
	var until time.Time
	if !r.Expires.IsZero() {
		if !r.unsure {
			until = r.Expires
		}
		r.Expires = l.opened.Add(r.length)
	}
	if e, ok := l.entity(r.Of); ok {
		e.said = append(e.said, standing{r, slot, until})
		l.standings++
		e.mark(l.state)
	}
	return nil
}

// Restore puts a backup in the place of the store at path, which no agent may
// hold. The restored store has a new id, and lacks the drawers named: dialogs,
// cursors and sessions of another time would do harm.
func Restore(path string, from io.Reader, drawers ...string) error {
	return store.Restore(store.Options{Path: path, Check: checkRecord}, from, func(kind store.Kind, key string) bool {
		name, _, _ := strings.Cut(key, "\x00")
		return kind == store.Drawers && slices.Contains(drawers, name)
	})
}
