package pidf

import (
	"slices"

	"pilotlight/agent/presence"
)

// renderCisco writes what Unified CM sends to a phone that watches a line: a
// tuple and a person, both with the basic status and the activities, in the
// drafts' RPID name space and Cisco's. A phone shows no device and no note.
//
// Unified CM puts the person first. The schema of RFC 3863 wants the tuples
// first, and so do Cisco's phones write their own documents.
func renderCisco(doc presence.Document, entity string) []byte {
	w := &writer{make([]byte, 0, sizeAlone)}
	w.raw(declaration + `<presence xmlns="` + nsPIDF + `" xmlns:dm="` + nsModel + `" xmlns:e="` + nsOldRPID + `" xmlns:ce="` + nsCisco + `" xmlns:sc="` + nsOldCaps + `"`)
	named := doc.Name != ""
	if named {
		w.raw(` xmlns:cipid="` + nsCIPID + `"`)
	}
	w.raw(` entity="`)
	w.escape(entity)
	w.raw(`">`)
	basic, words := ciscoWords(doc)
	w.openID("tuple", 't', entity, "\x00")
	w.open("status")
	w.text("basic", string(basic))
	w.ciscoActivities(words)
	w.close("status")
	if vouched(doc) && doc.Availability != presence.Offline {
		w.ciscoCaps(doc.Capabilities.Abilities)
	}
	w.contact(contact(entity), "0.8")
	w.timestamp("timestamp", later(doc.Since, doc.AsOf))
	w.close("tuple")
	w.openID("dm:person", 'p', entity)
	w.open("status")
	w.text("basic", string(basic))
	w.close("status")
	w.ciscoActivities(words)
	if named {
		w.text("cipid:display-name", doc.Name)
	}
	w.close("dm:person")
	w.close("presence")
	return w.b
}

// ciscoWords are the basic status and the activities, with their prefix. A phone
// knows on-the-phone, alerting, busy and dnd; the words of RPID beside them are
// for clients. A state that nobody vouches for is closed, which is how a phone
// shows that it knows nothing: it must not be open.
func ciscoWords(doc presence.Document) (Basic, []string) {
	if !vouched(doc) {
		return Closed, []string{"e:unknown"}
	}
	var words []string
	if doc.Availability != presence.OnThePhone && ringing(doc) {
		words = append(words, "ce:alerting") // not busy yet
	}
	switch doc.Availability {
	case presence.OnThePhone:
		words = append(words, "e:on-the-phone")
	case presence.InAMeeting:
		words = append(words, "e:meeting", "e:busy")
	case presence.Busy:
		words = append(words, "e:busy")
	case presence.Away:
		words = append(words, "e:away")
	case presence.DoNotDisturb:
		words = append(words, "ce:dnd")
	case presence.OutOfOffice:
		words = append(words, "e:away", "e:vacation")
	case presence.Offline:
		return Closed, nil
	case presence.Available:
	default:
		return Closed, []string{"e:unknown"}
	}
	return Open, words
}

// ringing reports whether a call waits to be answered at one of her phones.
func ringing(doc presence.Document) bool {
	return slices.ContainsFunc(doc.Devices, func(d presence.DeviceView) bool {
		return d.Freshness == presence.Live && d.State == presence.Ringing
	})
}

// ciscoActivities stands there when it is empty too: Unified CM says so that a
// line is idle.
func (w *writer) ciscoActivities(words []string) {
	w.open("e:activities")
	for _, a := range words {
		w.empty("", a)
	}
	w.close("e:activities")
}

func (w *writer) ciscoCaps(a presence.Abilities) {
	w.open("sc:servcaps")
	w.flag("sc:audio", a.Audio)
	if a.Video {
		w.flag("sc:video", true)
	}
	if a.IM {
		w.flag("sc:message", true)
	}
	w.close("sc:servcaps")
}
