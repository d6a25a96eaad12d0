package pidf

import (
	"strings"

	"pilotlight/agent/presence"
)

// CPIMContentType is the media type under which Cisco's phones ask for a
// document, and the only one in their Accept: the name that PIDF had in the
// drafts. The body is the same.
const CPIMContentType = "application/cpim-pidf+xml"

// ContentTypes are the media types that a document may go under, ours first.
var ContentTypes = []string{ContentType, CPIMContentType}

// Dialect is the vocabulary that a watcher understands. The two RPID name
// spaces do not go together into one document.
type Dialect int

// The dialects.
const (
	Standard Dialect = iota // RFC 4480
	Cisco                   // the drafts' RPID and Cisco's own activities
)

func (d Dialect) String() string {
	if d == Cisco {
		return "cisco"
	}
	return "standard"
}

// DialectOf tells the dialect of a watcher by the User-Agent header of its
// SUBSCRIBE, and by the type that was chosen from its Accept.
func DialectOf(userAgent, contentType string) Dialect {
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(userAgent)), "cisco") || strings.EqualFold(contentType, CPIMContentType) {
		return Cisco
	}
	return Standard
}

// RenderAs writes doc for a watcher that asked for entity, which is what it
// knows the presentity by: a user or a line's number. Equal arguments give equal
// octets (COMP-09), and the ids of one entity stay (COMP-04). Who said herself
// that she is offline, and no more, looks as Offline does.
func RenderAs(doc presence.Document, entity string, d Dialect) []byte {
	if hidden(doc) && doc.Note == "" {
		return Offline(entity)
	}
	if d == Cisco {
		return renderCisco(doc, entity)
	}
	return render(doc, entity, true)
}

// Offline is what a watcher sees who is blocked politely: one closed tuple,
// whatever happens (PRES-04, RFC 3856 §6.6.2). It says nothing in a name space
// of its own, so that it is good in every dialect.
func Offline(entity string) []byte {
	w := &writer{make([]byte, 0, 512)}
	w.raw(declaration + `<presence xmlns="` + nsPIDF + `" entity="`)
	w.escape(entity)
	w.raw(`">`)
	w.closed(entity)
	w.close("presence")
	return w.b
}

// Pending is what is told of a presentity of which nothing is known (PRES-10),
// and to a watcher of whom nobody has decided yet: a closed tuple for those who
// read no further, and a person whose activity is unknown for the others.
func Pending(entity string) []byte {
	w := &writer{make([]byte, 0, 640)}
	w.raw(declaration + `<presence xmlns="` + nsPIDF + `" xmlns:dm="` + nsModel + `" xmlns:rpid="` + nsRPID + `" entity="`)
	w.escape(entity)
	w.raw(`">`)
	w.closed(entity)
	w.openID("dm:person", 'p', entity)
	w.activities(nowhere, "")
	w.close("dm:person")
	w.close("presence")
	return w.b
}

// nowhere are the activities of whom nothing can be said.
var nowhere = []string{"unknown"}

// closed is the tuple of a presentity that can't be reached, under the id that
// it has when it can.
func (w *writer) closed(entity string) {
	w.openID("tuple", 't', entity, "\x00")
	w.status(Closed)
	w.contact(contact(entity), "1.0")
	w.close("tuple")
}
