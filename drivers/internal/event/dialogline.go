package event

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"pilotlight/agent/presence"
)

// LineDialogs tells what a line does at one place as dialogs: none where it is
// idle or not known, else one for each site, or one where no site is told. place
// tells apart the phones that share the line, by name as a rule.
//
// The ids are hashes of all that, so that a call has the same one from beginning
// to end, and no two at once share one (RFC 4235 §4.1.1, DLG-05). Hold is the
// target's +sip.rendering (RFC 4235 §5.2, DLG-07). Who called is left out of a
// confirmed dialog that may have come in, since not every source can tell.
func LineDialogs(entity, place string, l presence.Line) []Dialog {
	state := DialogState(l.State)
	if _, live := strength[state]; !live {
		return nil
	}
	d := Dialog{State: state, Local: Party{Identity: entity}}
	switch {
	case l.Outgoing:
		d.Direction = Initiator
	case state != Confirmed:
		d.Direction = Recipient
	}
	if l.Held && state == Confirmed {
		d.Local.Target = entity // the parameter needs one
		d.Local.Params = map[string]string{"+sip.rendering": "no"}
	}
	if len(l.Sites) == 0 {
		d.ID = stableID(entity, place, "")
		return []Dialog{d}
	}
	all := make([]Dialog, 0, len(l.Sites))
	for _, site := range l.Sites {
		d.ID = stableID(entity, place, site.String())
		d.Local.Target = targetAt(entity, site)
		all = append(all, d)
	}
	return all
}

// targetAt is the URI of entity's user at an address.
func targetAt(entity string, site netip.Addr) string {
	host := site.WithZone("").String()
	if site.Is6() {
		host = "[" + host + "]"
	}
	_, rest, _ := strings.Cut(entity, ":")
	if user, _, ok := strings.Cut(rest, "@"); ok {
		return "sip:" + user + "@" + host
	}
	return "sip:" + host
}

// Virtual is what an outsider is told of dialogs: one that stands for all of
// them, with an id and the strongest's state, so that he learns no more than by
// calling (RFC 4235 §3.6, §3.7.2; DLG-09). None where none is live.
func Virtual(entity string, dialogs []Dialog) []Dialog {
	var best DialogState
	for _, d := range dialogs {
		if strength[d.State] > strength[best] {
			best = d.State
		}
	}
	if best == "" {
		return nil
	}
	return []Dialog{{ID: stableID(entity, "virtual", ""), State: best}}
}

// stableID is a name that is the same for the same things.
func stableID(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return "d" + hex.EncodeToString(sum[:8])
}

// Told is what one subscription to the dialog package has been told. It makes
// the next document of it: the version counts its documents (RFC 4235 §4.3), and
// a dialog that ended is told once (DLG-05). The zero value has told nothing.
type Told struct {
	Next    uint32   // the version of the next document
	Dialogs []Dialog // those told, without the terminated
}

// Full is the document that follows a SUBSCRIBE (DLG-06): every dialog there is,
// and those that ended and were not told as such so far.
func (t *Told) Full(entity string, now []Dialog) DialogInfo {
	live, ended := t.sort(now)
	return t.tell(entity, true, live, slices.Concat(live, ended))
}

// Change is the document that tells what changed: a partial one, or a full one
// where no dialog remains (DLG-06) or nothing was told so far. It is false where
// nothing did.
func (t *Told) Change(entity string, now []Dialog) (DialogInfo, bool) {
	if t.Next == 0 {
		return t.Full(entity, now), true
	}
	live, ended := t.sort(now)
	changed := ended
	if len(live) > 0 {
		changed = nil
		for _, d := range live {
			if i := index(t.Dialogs, d.ID); i < 0 || !t.Dialogs[i].equal(d) {
				changed = append(changed, d)
			}
		}
		changed = append(changed, ended...)
	}
	if len(changed) == 0 {
		return DialogInfo{}, false
	}
	return t.tell(entity, len(live) == 0, live, changed), true
}

func (t *Told) tell(entity string, full bool, live, dialogs []Dialog) DialogInfo {
	doc := DialogInfo{Entity: entity, Version: t.Next, Full: full, Dialogs: dialogs}
	t.Next++
	t.Dialogs = live
	return doc
}

// sort parts now into the live dialogs and those that ended since they were told:
// the latter with the reason when now has it, else by their absence. One that
// came and went between two documents was never told, and isn't now.
func (t *Told) sort(now []Dialog) (live, ended []Dialog) {
	for _, d := range now {
		if _, ok := strength[d.State]; ok {
			live = append(live, d)
		}
	}
	for _, d := range t.Dialogs {
		i := index(now, d.ID)
		switch {
		case i < 0:
			d.State, d.Event, d.Code = Terminated, "", 0
			ended = append(ended, d)
		case now[i].State == Terminated:
			ended = append(ended, now[i])
		}
	}
	return live, ended
}

func index(dialogs []Dialog, id string) int {
	return slices.IndexFunc(dialogs, func(d Dialog) bool { return d.ID == id })
}

func (d Dialog) equal(o Dialog) bool {
	return d.ID == o.ID && d.CallID == o.CallID && d.LocalTag == o.LocalTag && d.RemoteTag == o.RemoteTag && d.Direction == o.Direction &&
		d.State == o.State && d.Event == o.Event && d.Code == o.Code && d.Local.equal(o.Local) && d.Remote.equal(o.Remote)
}

func (p Party) equal(o Party) bool {
	return p.Identity == o.Identity && p.Display == o.Display && p.Target == o.Target && maps.Equal(p.Params, o.Params)
}
