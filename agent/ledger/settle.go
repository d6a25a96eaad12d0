package ledger

import (
	"slices"
	"time"

	"pilotlight/agent/ledger/internal/store"
	"pilotlight/agent/presence"
)

// Gone reports whether d is the last word on a presentity that nobody knows
// any more: followers forget it.
func Gone(d presence.Document) bool { return d.Kind == "" }

// GoneDevice reports whether d is the last word on a device that was forgotten.
func GoneDevice(d presence.Device) bool { return d.State == "" }

// settle composes what is marked, and offers what differs.
func (l *Ledger) settle(now time.Time) {
	for len(l.dirtyDevices)+len(l.dirtyEntities) > 0 {
		devices := l.dirtyDevices
		l.dirtyDevices = map[string]struct{}{}
		for _, name := range sortedKeys(devices) {
			if d := l.devices[name]; d != nil {
				l.settleDevice(now, d)
			}
		}
		if len(l.dirtyDevices) > 0 { // forgetting one changed the roster
			continue
		}
		entities := l.dirtyEntities
		l.dirtyEntities = map[presence.Presentity]struct{}{}
		for _, of := range sortedKeys(entities) {
			l.settleEntity(now, of)
		}
	}
	l.count()
}

func (l *Ledger) rev() presence.Rev {
	l.seq++
	return presence.Rev{Epoch: l.epoch, Seq: l.seq}
}

func (l *Ledger) settleDevice(now time.Time, d *device) {
	if l.prune(now, &d.seen) {
		l.renumber(d)
		delete(l.dirtyDevices, d.name)
	}
	l.markAll(l.roster.OfDevice(d.name))
	if len(d.seen) == 0 {
		l.forget(now, d)
		return
	}
	is, ages := presence.Fuse(l.deviceInput(d), now)
	l.alarms.set(&d.alarm, presence.Earlier(ages, l.pruneAt(d.seen)))
	if d.since.word != string(is.State) {
		l.turned(now, d, is)
	}
	is.Since = d.since.at
	is.AsOf = vouched(is.Freshness, is.AsOf, is.Since)
	if is.Rev = d.now.Rev; d.known && presence.SameDevice(is, d.now) {
		d.now = is // fresher, and nobody need be told
		return
	}
	is.Rev = l.rev()
	d.now, d.known = is, true
	offerAll(l.deviceFeeds, is)
}

func (l *Ledger) deviceInput(d *device) presence.DeviceInput {
	in := presence.DeviceInput{Name: d.name, Owner: l.roster.Owner(d.name), Own: observations(d.seen)}
	for _, n := range l.roster.LinesOf(d.name) {
		in.Lines = append(in.Lines, l.lineInput(n))
	}
	return in
}

func (l *Ledger) lineInput(number string) presence.LineInput {
	in := presence.LineInput{Number: number, Shared: len(l.roster.Carriers(number)) > 1}
	if e := l.entities[l.roster.LineOf(number)]; e != nil {
		in.Seen = observations(e.seen)
	}
	return in
}

func observations(seen []held) []presence.Observation {
	all := make([]presence.Observation, len(seen))
	for i, h := range seen {
		all[i] = h.Observation
	}
	return all
}

// turned notes that a device changed its state.
func (l *Ledger) turned(now time.Time, d *device, to presence.Device) {
	if from := d.since.word; from != "" {
		e := Event{At: now, From: presence.DeviceState(from), To: to.State, Why: why(to)}
		l.put(now, store.History, historyKey(d.name, d.events), eventRecord{e, d.events})
		d.events++
		d.ring = append(d.ring, e)
		d.ring = d.ring[max(0, len(d.ring)-historyLength):]
		l.log.Info("device turned", "device", d.name, "from", from, "to", to.State, "why", e.Why)
	}
	d.since = sinceRecord{string(to.State), now}
	l.put(now, store.Since, sinceDevice+d.name, d.since)
}

// why is what turned a device: what made it dark, or else who says so. That it runs
// on the survivable router, say, is a diagnosis and turned nothing.
func why(d presence.Device) string {
	switch {
	case d.State.Dark() && d.Diagnosis != "":
		return d.Diagnosis
	case len(d.Because) > 0:
		return d.Because[0].Source + " " + d.Because[0].Says
	}
	return d.Diagnosis
}

// forget drops a device that nobody has told of for a long time.
func (l *Ledger) forget(now time.Time, d *device) {
	l.reach(nil, []string{d.name}, d.numbers)
	l.roster.SetDevice(d.name, nil)
	l.reach(nil, nil, d.numbers)
	delete(l.dirtyDevices, d.name)
	l.alarms.set(&d.alarm, time.Time{})
	delete(l.devices, d.name)
	for i := max(d.events, uint64(len(d.ring))) - uint64(len(d.ring)); i < d.events; i++ {
		l.put(now, store.History, historyKey(d.name, i), nil)
	}
	l.put(now, store.Since, sinceDevice+d.name, nil)
	if d.known {
		offerAll(l.deviceFeeds, presence.Device{Name: d.name, Freshness: presence.NeverSeen, Rev: l.rev()})
	}
	l.log.Info("device forgotten", "device", d.name)
}

func (l *Ledger) settleEntity(now time.Time, of presence.Presentity) {
	e := l.entities[of]
	if e != nil {
		l.expire(now, e)
		if l.prune(now, &e.seen) {
			l.recount(e)
			delete(l.dirtyEntities, of)
		}
	}
	kind, ok := l.kindOf(of, e)
	if !ok {
		if e != nil {
			l.vanish(now, e)
		}
		return
	}
	if e == nil {
		if e, ok = l.entity(of); !ok {
			return
		}
	}
	doc, ages := presence.Compose(l.documentInput(of, kind), now)
	l.alarms.set(&e.alarm, presence.Earlier(presence.Earlier(ages, l.pruneAt(e.seen)), expiry(e.said)))
	if e.since.word != string(doc.Availability) {
		e.since = sinceRecord{string(doc.Availability), now}
		l.put(now, store.Since, sincePresentity+string(of), e.since)
	}
	doc.Since = e.since.at
	doc.AsOf = vouched(doc.Freshness, doc.AsOf, doc.Since)
	if doc.Rev = e.doc.Rev; e.known && presence.SameDocument(doc, e.doc) {
		e.doc = doc // fresher, and nobody need be told
		return
	}
	if doc.Rev = l.rev(); !e.known {
		e.known = true
		l.shown++
	}
	e.doc = doc
	offerAll(l.feeds, doc)
}

// vouched is when a state was last vouched for: what is live was so when it
// came to be, at the least, though it may come of older words.
func vouched(fresh presence.Freshness, asOf, since time.Time) time.Time {
	if fresh == presence.Live && asOf.Before(since) {
		return since
	}
	return asOf
}

// kindOf says what a presentity is; who is known by what was told or published
// alone counts, too.
func (l *Ledger) kindOf(of presence.Presentity, e *entity) (presence.Kind, bool) {
	if kind, ok := l.roster.KindOf(of); ok {
		return kind, true
	}
	switch {
	case e == nil:
		return "", false
	case len(e.said) > 0:
		return presence.KindPerson, true
	case e.line:
		return presence.KindLine, true
	}
	return "", false
}

// documentInput gathers what a document is composed of. For an owned line that
// is what its owner's is composed of.
func (l *Ledger) documentInput(of presence.Presentity, kind presence.Kind) presence.Input {
	in := presence.Input{Of: of, Kind: kind}
	source := of
	if kind == presence.KindLine {
		if h := l.roster.Holder(of.User()); h != "" && l.roster.LineOf(of.User()) == of {
			source = h
		}
	}
	person, _ := l.roster.Person(source)
	in.Name = person.Name
	for _, name := range l.roster.DevicesOf(source) {
		if d := l.devices[name]; d != nil && d.known {
			in.Devices = append(in.Devices, d.now)
		}
	}
	for _, n := range l.roster.BareLines(source, func(name string) bool { d := l.devices[name]; return d != nil && d.known }) {
		in.Bare = append(in.Bare, l.lineInput(n))
	}
	if e := l.entities[source]; e != nil {
		in.Said = standings(e.said)
	}
	if e := l.entities[of]; e != nil && source != of {
		in.Said = append(in.Said, standings(e.said)...)
	}
	return in
}

func standings(said []standing) []presence.Standing {
	all := make([]presence.Standing, len(said))
	for i, s := range said {
		all[i] = s.Standing
	}
	return all
}

// vanish drops a presentity that is nobody's any more.
func (l *Ledger) vanish(now time.Time, e *entity) {
	if e.known {
		e.known = false
		l.shown--
		e.doc = presence.Document{Of: e.of, Availability: presence.Unknown, Freshness: presence.NeverSeen, Rev: l.rev()}
		offerAll(l.feeds, e.doc)
	}
	if e.since.word != "" {
		e.since = sinceRecord{}
		l.put(now, store.Since, sincePresentity+string(e.of), nil)
	}
	l.alarms.set(&e.alarm, l.pruneAt(e.seen))
	if len(e.seen) == 0 {
		delete(l.entities, e.of)
	}
}

// prune drops the observations that nobody repeated for a long time.
func (l *Ledger) prune(now time.Time, seen *[]held) bool {
	old := len(*seen)
	*seen = slices.DeleteFunc(*seen, func(h held) bool {
		at := l.forgetAt(h)
		over := !at.IsZero() && !now.Before(at)
		if over {
			l.unwrite(now, h)
		}
		return over
	})
	return len(*seen) < old
}

func (l *Ledger) forgetAt(h held) time.Time {
	if h.static {
		return time.Time{}
	}
	at := h.Seen.Add(forgetAfter)
	if h.restored && !l.believed {
		at = l.opened.Add(forgetAfter)
	}
	if grace := l.opened.Add(forgetGrace); at.Before(grace) {
		return grace
	}
	return at
}

func (l *Ledger) pruneAt(seen []held) time.Time {
	var at time.Time
	for _, h := range seen {
		at = presence.Earlier(at, l.forgetAt(h))
	}
	return at
}
