package pidf

import (
	"crypto/sha1" // a name, not a secret: RFC 9562 §5.5
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"pilotlight/agent/presence"
)

// Render writes doc for a server that composes it further. The order is that of
// the schemas: the presentity's own tuple, which simple watchers read first and
// often alone; a tuple for each device, in doc's order; the note; the person;
// the devices.
func Render(doc presence.Document) []byte { return render(doc, string(doc.Of), false) }

// render writes the standard's dialect; named: with the person's name.
func render(doc presence.Document, entity string, named bool) []byte {
	devices := doc.Devices
	if hidden(doc) {
		devices = nil // who wishes to be offline isn't given away by her phone
	}
	w := &writer{make([]byte, 0, sizeAlone+sizeDevice*len(devices))}
	w.raw(declaration + `<presence xmlns="` + nsPIDF + `" xmlns:dm="` + nsModel + `" xmlns:rpid="` + nsRPID + `" xmlns:caps="` + nsCaps + `"`)
	named = named && doc.Name != ""
	if named {
		w.raw(` xmlns:cipid="` + nsCIPID + `"`)
	}
	w.raw(` entity="`)
	w.escape(entity)
	w.raw(`">`)
	w.service(doc, entity)
	for _, d := range devices {
		w.deviceTuple(doc, entity, d)
	}
	if n := note(doc); n != "" {
		w.text("note", n)
	}
	w.person(doc, entity, named)
	for _, d := range devices {
		w.device(doc, entity, d)
	}
	w.close("presence")
	return w.b
}

const declaration = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// What a document takes as a rule, in bytes: one allocation does.
const (
	sizeAlone  = 1536
	sizeDevice = 512
)

// hidden reports whether she said herself that she is offline.
func hidden(doc presence.Document) bool {
	return doc.Manual && doc.Availability == presence.Offline
}

// vouched reports whether doc's state is anybody's word now.
func vouched(doc presence.Document) bool {
	return doc.Freshness == presence.Live || doc.Manual
}

// note is what a person reads: her own words, or what was last known.
func note(doc presence.Document) string {
	known := lastKnown(doc)
	if doc.Note != "" && known != "" {
		return doc.Note + " - " + known
	}
	return doc.Note + known
}

// lastKnown is the state nobody vouches for any more, as words with its age's anchor.
func lastKnown(doc presence.Document) string {
	if vouched(doc) || doc.Freshness != presence.LastKnown {
		return ""
	}
	s := "last known: " + string(doc.Availability)
	if !doc.AsOf.IsZero() {
		s += ", as of " + stamp(doc.AsOf)
	}
	return s
}

// service is the tuple of the presentity itself.
func (w *writer) service(doc presence.Document, entity string) {
	b := Absent
	if vouched(doc) {
		b = basic(doc.Availability)
	}
	w.openID("tuple", 't', entity, "\x00")
	w.status(b)
	if vouched(doc) && doc.Availability != presence.Offline {
		w.servcaps(doc.Capabilities.Abilities)
	}
	w.contact(contact(entity), "1.0")
	w.timestamp("timestamp", later(doc.Since, doc.AsOf))
	w.close("tuple")
}

// contact is where entity is reached: a pres URI names somebody, and the
// address of the service is a SIP URI (RFC 3856 §5, PRES-09).
func contact(entity string) string {
	if len(entity) > 5 && strings.EqualFold(entity[:5], "pres:") {
		return "sip:" + entity[5:]
	}
	return entity
}

// deviceTuple is the service by which one device can be reached.
func (w *writer) deviceTuple(doc presence.Document, entity string, d presence.DeviceView) {
	b := Open
	switch {
	case d.Freshness != presence.Live || d.State == presence.StateUnknown:
		b = Absent
	case d.State.Dark(), doc.Availability == presence.Offline:
		b = Closed // who is offline takes no call, whatever her phone does
	}
	w.openID("tuple", 't', entity, "\x00", d.Name)
	w.status(b)
	w.deviceID(doc.Of, d.Name)
	if len(d.Lines) > 0 && d.Lines[0].Number != "" {
		w.contact(string(presence.At(d.Lines[0].Number, doc.Of.Domain())), "0.5")
	}
	w.timestamp("timestamp", later(doc.Since, doc.AsOf))
	w.close("tuple")
}

// status holds the basic status. RFC 3863 §4.1.3 wants something in it, so that
// one of which nothing can be said holds the activity unknown.
func (w *writer) status(b Basic) {
	w.open("status")
	if b == Absent {
		w.activities(nowhere, "")
	} else {
		w.text("basic", string(b))
	}
	w.close("status")
}

func (w *writer) activities(words []string, note string) {
	w.open("rpid:activities")
	if note != "" {
		w.text("rpid:note", note)
	}
	for _, a := range words {
		w.empty("rpid:", a)
	}
	w.close("rpid:activities")
}

// servcaps are RFC 5196 §3.1 in the order of its schema. Web collaboration is
// the media type application (RFC 3840 §10).
func (w *writer) servcaps(a presence.Abilities) {
	w.open("caps:servcaps")
	w.flag("caps:application", a.WebCollaboration)
	w.flag("caps:audio", a.Audio)
	w.flag("caps:message", a.IM)
	w.flag("caps:video", a.Video)
	w.close("caps:servcaps")
}

// person says what the person does (RFC 4479 §3.1: activity belongs to her, not
// to a service) and, where wanted, what she is called (RFC 4482 §3.2).
func (w *writer) person(doc presence.Document, entity string, named bool) {
	words, say := activities(doc.Availability)
	if !vouched(doc) {
		words, say = nowhere, lastKnown(doc)
	}
	w.openID("dm:person", 'p', entity)
	if len(words) > 0 {
		w.activities(words, say)
	}
	if named {
		w.text("cipid:display-name", doc.Name)
	}
	if doc.Note != "" {
		w.text("dm:note", doc.Note)
	}
	w.timestamp("dm:timestamp", doc.Since)
	w.close("dm:person")
}

// device says which device it is, and what it is doing.
func (w *writer) device(doc presence.Document, entity string, d presence.DeviceView) {
	w.openID("dm:device", 'd', entity, "\x00", d.Name)
	w.deviceID(doc.Of, d.Name)
	w.open("dm:note")
	w.escape(d.Name)
	w.raw(": ")
	w.escape(string(d.State))
	if d.Freshness == presence.LastKnown {
		w.raw(" (last known)")
	}
	w.close("dm:note")
	w.close("dm:device")
}

// openID opens an element with an id: a letter, so that it is an xs:ID, and the
// hash of what the element tells of, so that it stays the same over the life of a
// publication, as RFC 3863 §4.1.2 wants (COMP-04).
func (w *writer) openID(name string, kind byte, of ...string) {
	w.b = append(w.b, '<')
	w.b = append(w.b, name...)
	w.raw(` id="`)
	w.b = append(w.b, kind)
	var room [128]byte
	words := room[:0]
	for _, part := range of {
		words = append(words, part...)
	}
	sum := sha256.Sum256(words)
	w.b = hex.AppendEncode(w.b, sum[:6])
	w.raw(`">`)
}

// nameSpaceURL is the name space of URLs (RFC 9562 §6.6).
const nameSpaceURL = "\x6b\xa7\xb8\x11\x9d\xad\x11\xd1\x80\xb4\x00\xc0\x4f\xd4\x30\xc8"

// deviceID is a urn:uuid (RFC 4479 §3.3) made from the device's own URI, so that
// every document names the device alike.
func (w *writer) deviceID(of presence.Presentity, device string) {
	var room [128]byte
	name := append(append(room[:0], nameSpaceURL+"sip:"...), device...)
	name = append(append(name, '@'), strings.ToLower(of.Domain())...)
	sum := sha1.Sum(name)
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x50 // version 5
	u[8] = u[8]&0x3f | 0x80 // variant of RFC 9562
	w.raw("<dm:deviceID>urn:uuid:")
	for i, part := range [...][]byte{u[0:4], u[4:6], u[6:8], u[8:10], u[10:16]} {
		if i > 0 {
			w.raw("-")
		}
		w.b = hex.AppendEncode(w.b, part)
	}
	w.close("dm:deviceID")
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
