// Package pidf writes and reads presence documents: PIDF (RFC 3863) with the
// data model (RFC 4479), RPID activities (RFC 4480), contact information (RFC
// 4482) and service capabilities (RFC 5196).
//
// [RenderAs] writes for a watcher, under the name that it asked for and in the
// dialect that it understands; [Offline] and [Pending] are what it sees who may
// not see. [Render] writes for a server that composes further. All are pure: equal documents give equal octets, so that a body may be
// cached by revision and compared by its bytes. It tells what a
// [presence.Document] says in words that those documents define, and nothing
// that nobody vouches for: a state that is only last known is never "open", its
// activity is "unknown", and a note says what was known and as of when. What we
// write is valid by the schemas of the RFCs.
//
// [Parse] is liberal: it takes what deployed systems send (a note before the
// tuple, a person without id, the old RPID namespace, Cisco's own activities)
// and refuses what could hurt: a document type, more than [MaxBytes], elements
// nested deeper than [MaxDepth].
package pidf

import "pilotlight/agent/presence"

// ContentType is the media type of a PIDF document (RFC 3863 §6).
const ContentType = "application/pidf+xml"

// Basic is the basic status of a tuple (RFC 3863 §4.1.4).
type Basic string

// The values of basic. Absent means that nothing is said about it.
const (
	Absent Basic = ""
	Open   Basic = "open"
	Closed Basic = "closed"
)

// The namespaces that we write.
const (
	nsPIDF  = "urn:ietf:params:xml:ns:pidf"
	nsModel = "urn:ietf:params:xml:ns:pidf:data-model"
	nsRPID  = "urn:ietf:params:xml:ns:pidf:rpid"
	nsCaps  = "urn:ietf:params:xml:ns:pidf:caps"
	nsCIPID = "urn:ietf:params:xml:ns:pidf:cipid" // RFC 4482
)

// The namespaces that we read besides; of these, the Cisco dialect writes
// nsOldRPID, nsCisco and nsOldCaps.
const (
	nsCPIM     = "urn:ietf:params:xml:ns:cpim-pidf:"        // the drafts before RFC 3863
	nsOldRPID  = "urn:ietf:params:xml:ns:pidf:status:rpid"  // the drafts before RFC 4480; Unified CM
	nsOldRPID2 = "urn:ietf:params:xml:ns:pidf:rpid-status"  // the drafts, too
	nsCisco    = "urn:cisco:params:xml:ns:pidf:rpid"        // Unified CM: alerting, dnd, available
	nsOldCaps  = "urn:ietf:params:xml:ns:pidf:servcaps"     // the drafts before RFC 5196; Unified CM
	nsDiff     = "urn:ietf:params:xml:ns:pidf-diff"         // RFC 5262: its full documents
	nsTimed    = "urn:ietf:params:xml:ns:pidf:timed-status" // RFC 4481
)

// The notes that stand beside an activity where RFC 4480 has no word of its own.
const (
	noteDoNotDisturb = "Do not disturb"
	noteOutOfOffice  = "Out of office"
)

// activities are the RFC 4480 §3.2 words for an availability. Available and
// offline have none: the basic status says them.
func activities(a presence.Availability) (words []string, note string) {
	switch a {
	case presence.OnThePhone:
		return []string{"on-the-phone"}, ""
	case presence.InAMeeting:
		return []string{"meeting"}, ""
	case presence.Busy:
		return []string{"busy"}, ""
	case presence.Away:
		return []string{"away"}, ""
	case presence.DoNotDisturb:
		return []string{"busy"}, noteDoNotDisturb
	case presence.OutOfOffice:
		// Vacation is what Cisco's server and its clients call it; away is for the others.
		return []string{"away", "vacation"}, noteOutOfOffice
	case presence.Available, presence.Offline:
		return nil, ""
	}
	return []string{"unknown"}, ""
}

// basic is the basic status of the presentity as a whole.
func basic(a presence.Availability) Basic {
	switch a {
	case presence.Offline:
		return Closed
	case presence.Available, presence.Away, presence.Busy, presence.OnThePhone,
		presence.InAMeeting, presence.DoNotDisturb, presence.OutOfOffice:
		return Open // RFC 4480 §3.2: no activity of ours closes a service
	}
	return Absent
}
