package simple

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/pidf"
)

func viewPresence(q question) []byte {
	if q.polite || !q.of.known {
		return pidf.Offline(q.entity)
	}
	return pidf.RenderAs(q.of.doc, q.entity, q.dialect)
}

// tellDialogs tells the dialogs of a line, or of all lines of a person.
func tellDialogs(q question, before *event.Told, full bool) ([]byte, bool) {
	now := shownDialogs(q)
	if full {
		return event.RenderDialogs(before.Full(q.entity, now)), true
	}
	doc, ok := before.Change(q.entity, now)
	if !ok {
		return nil, false
	}
	return event.RenderDialogs(doc), true
}

// viewDialogs tells the same at once, under version 0: what a list's part is made
// of, whose version is the list's.
func viewDialogs(q question) []byte {
	return event.RenderDialogs(event.DialogInfo{Entity: q.entity, Full: true, Dialogs: shownDialogs(q)})
}

func shownDialogs(q question) []event.Dialog {
	if q.polite {
		return nil
	}
	return dialogsOf(q.of.doc)
}

func stampDialogs(view []byte, version uint32) []byte {
	return bytes.Replace(view, []byte(` version="0"`), []byte(` version="`+strconv.FormatUint(uint64(version), 10)+`"`), 1)
}

// dialogsOf are the dialogs on a presentity's lines. Phones that share a line
// tell of theirs; of what is elsewhere, outside the branch, one tells. The package
// has no word for what is only last known, and that is not told.
func dialogsOf(doc presence.Document) []event.Dialog {
	var all []event.Dialog
	var elsewhere []presence.Line
	told := map[string]bool{} // numbers
	add := func(place string, l presence.Line) {
		if len(l.Sites) > 0 {
			place = "" // the sites tell them apart, whoever speaks of them
		}
		for _, d := range event.LineDialogs("sip:"+l.Number+"@"+doc.Of.Domain(), place, l) {
			told[l.Number] = true
			if !slices.ContainsFunc(all, func(have event.Dialog) bool { return have.ID == d.ID }) {
				all = append(all, d)
			}
		}
	}
	for _, d := range doc.Devices {
		for _, l := range d.Lines {
			switch {
			case d.Freshness != presence.Live, doc.Kind == presence.KindLine && l.Number != doc.Of.User():
			case l.Elsewhere:
				elsewhere = append(elsewhere, l)
			default:
				add(d.Name, l)
			}
		}
	}
	for _, l := range doc.Lines {
		add("", l)
	}
	for _, l := range elsewhere {
		if !told[l.Number] {
			add("elsewhere", l)
		}
	}
	slices.SortFunc(all, func(a, b event.Dialog) int { return strings.Compare(a.ID, b.ID) })
	return all
}

func viewMessages(q question) []byte {
	n := q.of.doc.Capabilities.VoiceMessages
	if q.polite {
		n = 0
	}
	return event.RenderSummary(event.Summary{Waiting: n > 0, Account: q.entity, Counts: []event.Count{{Class: event.VoiceMessage, New: uint32(n)}}})
}

// tellWatchers tells who watches somebody's presence, all of them each time: by a
// list, too.
func tellWatchers(q question, before *event.Told, _ bool) ([]byte, bool) {
	var all []event.Watcher
	add := func(s *subscription, how access.Handling) {
		if s.Package != "presence" || how == access.Block {
			return
		}
		w := event.Watcher{ID: "w" + s.LocalTag, Status: event.WatcherActive, Event: s.event, URI: string(s.Watcher),
			Expiration: s.left(q.now), Subscribed: q.now.Sub(s.began)}
		if how == access.Confirm {
			w.Status = event.WatcherPending
		}
		all = append(all, w)
	}
	for _, s := range q.of.subs {
		add(s, s.how)
	}
	for _, p := range q.of.on {
		for _, s := range p.list.in.subs {
			add(s, q.access.Watch(s.Watcher, q.of.of))
		}
	}
	slices.SortFunc(all, func(a, b event.Watcher) int { return strings.Compare(a.ID, b.ID) })
	version := before.Next
	before.Next++
	return event.RenderWatcherInfo(q.entity, "presence", version, true, all), true
}
