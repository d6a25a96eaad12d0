package pidf

import (
	"bytes"
	"crypto/sha1" // a name, not a secret: RFC 9562 §5.5
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pilotlight/agent/presence"
)

// Render writes doc. The order is that of the schemas: the presentity's own
// tuple, which simple watchers read first and often alone; a tuple for each
// device; the note; the person; the devices.
func Render(doc presence.Document) []byte {
	w := &writer{}
	w.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	w.open("presence", "xmlns", nsPIDF, "xmlns:dm", nsModel, "xmlns:rpid", nsRPID, "xmlns:caps", nsCaps, "entity", string(doc.Of))
	devices := doc.Devices
	if doc.Manual && doc.Availability == presence.Offline {
		devices = nil // who wishes to be offline isn't given away by her phone
	}
	w.service(doc)
	for _, d := range devices {
		w.deviceTuple(doc, d)
	}
	if n := note(doc); n != "" {
		w.text("note", n)
	}
	w.person(doc)
	for _, d := range devices {
		w.device(doc, d)
	}
	w.close("presence")
	return w.Bytes()
}

// vouched reports whether doc's state is anybody's word now.
func vouched(doc presence.Document) bool {
	return doc.Freshness == presence.Live || doc.Manual
}

// note is what a person reads: her own words, or what was last known.
func note(doc presence.Document) string {
	var parts []string
	if doc.Note != "" {
		parts = append(parts, doc.Note)
	}
	if s := lastKnown(doc); s != "" {
		parts = append(parts, s)
	}
	return strings.Join(parts, " - ")
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
func (w *writer) service(doc presence.Document) {
	b := Absent
	if vouched(doc) {
		b = basic(doc.Availability)
	}
	w.open("tuple", "id", tupleID(doc.Of, ""))
	w.status(b)
	if vouched(doc) && doc.Availability != presence.Offline {
		w.servcaps(doc.Capabilities.Abilities)
	}
	w.text("contact", string(doc.Of), "priority", "1.0")
	w.timestamp("timestamp", later(doc.Since, doc.AsOf))
	w.close("tuple")
}

// deviceTuple is the service by which one device can be reached.
func (w *writer) deviceTuple(doc presence.Document, d presence.DeviceView) {
	b := Open
	switch {
	case d.Freshness != presence.Live || d.State == presence.StateUnknown:
		b = Absent
	case d.State.Dark(), doc.Availability == presence.Offline:
		b = Closed // who is offline takes no call, whatever her phone does
	}
	w.open("tuple", "id", tupleID(doc.Of, d.Name))
	w.status(b)
	w.text("dm:deviceID", deviceID(doc.Of, d.Name))
	if len(d.Lines) > 0 && d.Lines[0].Number != "" {
		w.text("contact", string(presence.At(d.Lines[0].Number, doc.Of.Domain())), "priority", "0.5")
	}
	w.timestamp("timestamp", later(doc.Since, doc.AsOf))
	w.close("tuple")
}

// status holds the basic status. RFC 3863 §4.1.3 wants something in it, so that
// one of which nothing can be said holds the activity unknown.
func (w *writer) status(b Basic) {
	w.open("status")
	if b == Absent {
		w.activities([]string{"unknown"}, "")
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
		w.empty("rpid:" + a)
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

// person says what the person does (RFC 4479 §3.1: activity belongs to her, not to a service).
func (w *writer) person(doc presence.Document) {
	words, say := activities(doc.Availability)
	if !vouched(doc) {
		words, say = []string{"unknown"}, lastKnown(doc)
	}
	w.open("dm:person", "id", "p"+hash(string(doc.Of)))
	if len(words) > 0 {
		w.activities(words, say)
	}
	if doc.Note != "" {
		w.text("dm:note", doc.Note)
	}
	w.timestamp("dm:timestamp", doc.Since)
	w.close("dm:person")
}

// device says which device it is, and what it is doing.
func (w *writer) device(doc presence.Document, d presence.DeviceView) {
	say := d.Name + ": " + string(d.State)
	if d.Freshness == presence.LastKnown {
		say += " (last known)"
	}
	w.open("dm:device", "id", "d"+hash(string(doc.Of), d.Name))
	w.text("dm:deviceID", deviceID(doc.Of, d.Name))
	w.text("dm:note", say)
	w.close("dm:device")
}

// tupleID is an xs:ID (it begins with a letter) which stays the same over the
// life of a publication, as RFC 3863 §4.1.2 wants.
func tupleID(of presence.Presentity, device string) string { return "t" + hash(string(of), device) }

func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:6])
}

// nameSpaceURL is the name space of URLs (RFC 9562 §6.6).
var nameSpaceURL = [16]byte{0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}

// deviceID is a urn:uuid (RFC 4479 §3.3) made from the device's own URI, so that
// every document names the device alike.
func deviceID(of presence.Presentity, device string) string {
	sum := sha1.Sum(append(nameSpaceURL[:], presence.At(device, of.Domain())...))
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x50 // version 5
	u[8] = u[8]&0x3f | 0x80 // variant of RFC 9562
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// stamp is RFC 3339 in UTC with a capital Z (RFC 3863 §4.1.7).
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// writer writes elements. Element and attribute names are ours; text is anybody's.
type writer struct{ bytes.Buffer }

func (w *writer) start(name string, attrs []string) {
	w.WriteString("<" + name)
	for i := 0; i+1 < len(attrs); i += 2 {
		w.WriteString(" " + attrs[i] + `="`)
		w.escape(attrs[i+1])
		w.WriteByte('"')
	}
}

func (w *writer) open(name string, attrs ...string) {
	w.start(name, attrs)
	w.WriteByte('>')
}

func (w *writer) close(name string) { w.WriteString("</" + name + ">") }

func (w *writer) empty(name string) { w.WriteString("<" + name + "/>") }

func (w *writer) text(name, s string, attrs ...string) {
	w.open(name, attrs...)
	w.escape(s)
	w.close(name)
}

func (w *writer) flag(name string, b bool) { w.text(name, fmt.Sprint(b)) }

// timestamp leaves out a time that is not known, or that RFC 3339 can't write.
func (w *writer) timestamp(name string, t time.Time) {
	if y := t.UTC().Year(); !t.IsZero() && y >= 1 && y <= 9999 {
		w.text(name, stamp(t))
	}
}

// escape writes s as character data. Control characters, which XML 1.0 can't
// hold, are left out; what isn't UTF-8 becomes U+FFFD.
func (w *writer) escape(s string) {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' && r != '\n' {
			return -1
		}
		if r == 0xFFFE || r == 0xFFFF {
			return utf8.RuneError
		}
		return r
	}, s)
	_ = xml.EscapeText(&w.Buffer, []byte(clean)) // a Buffer's writes don't fail
}
