package pidf

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/xmlscan"
)

// The bounds of what is read. A document of the largest rated branch is far below.
const (
	MaxBytes    = 256 << 10
	MaxDepth    = 32
	maxElements = 4096
)

// Parsed is what a document says, as far as we understand it. Its strings, but
// for Note, share one copy of the document.
type Parsed struct {
	Entity       string   // as written; empty where the sender left it out
	Name         string   // what the person is called (RFC 4482 §3.2)
	Basic        Basic    // open if any tuple is open; else closed if any is closed
	Activities   []string // of the persons, then of the tuples; sorted, each once
	ActivityNote string   // the first note inside the activities
	Note         string   // the first note of the person, the document or a tuple
	Tuples       []Tuple
	Devices      []Device
}

// Tuple is one service.
type Tuple struct {
	ID         string
	Basic      Basic
	Contact    string
	Priority   float64 // 0 to 1; -1 where none is given
	Note       string
	DeviceID   string
	Activities []string
	Abilities  *presence.Abilities // nil where nothing is said
	Timestamp  time.Time
}

// Device is one device of the data model.
type Device struct {
	ID, DeviceID, Note string
}

// ErrNotPIDF is the error for a document that is XML, but no presence.
var ErrNotPIDF = errors.New("not a presence document")

// Parse reads a document: PIDF, or the full state of partial presence (RFC 5262
// §3), which has the same content under another root.
func Parse(body []byte) (Parsed, error) {
	root, err := xmlscan.Read(body, xmlscan.Limits{Bytes: MaxBytes, Depth: MaxDepth, Elements: maxElements})
	if err != nil {
		return Parsed{}, fmt.Errorf("pidf: %w", err)
	}
	whole := root.Local == "presence" && isPIDF(root.Space) || root.Local == "pidf-full" && root.Space == nsDiff
	if !whole {
		return Parsed{}, fmt.Errorf("pidf: %w: <%s> in %q", ErrNotPIDF, root.Local, root.Space)
	}
	p := Parsed{Entity: root.Attr("entity")}
	var personNote, rootNote string
	var words []string
	for n := root.First; n != nil; n = n.Next {
		switch {
		case isPIDF(n.Space) && n.Local == "tuple":
			p.Tuples = append(p.Tuples, p.tuple(n))
		case isPIDF(n.Space) && n.Local == "note":
			first(&rootNote, n.Text)
		case n.Local == "person" && (n.Space == nsModel || n.Space == nsCisco) && understood(n):
			words = append(words, p.person(n)...)
			first(&personNote, n.Child("note"))
		case n.Space == nsModel && n.Local == "device" && understood(n):
			p.Devices = append(p.Devices, Device{ID: n.Attr("id"), DeviceID: n.Child("deviceID"), Note: n.Child("note")})
		}
	}
	p.sum(words)
	first(&p.Note, personNote)
	first(&p.Note, rootNote)
	for _, t := range p.Tuples {
		first(&p.Note, t.Note)
	}
	p.Note = strings.Clone(p.Note) // it is kept, and must not keep the document
	return p, nil
}

// sum puts together what the tuples and the persons say.
func (p *Parsed) sum(words []string) {
	for _, t := range p.Tuples {
		words = append(words, t.Activities...)
		if len(t.Activities) == 1 && t.Activities[0] == "unknown" {
			words = words[:len(words)-1] // of one service, not of the person
		}
		if t.Basic == Open || p.Basic == Absent {
			p.Basic = t.Basic
		}
	}
	slices.Sort(words)
	p.Activities = slices.Compact(words)
}

func (p *Parsed) tuple(n *xmlscan.Node) Tuple {
	t := Tuple{ID: n.Attr("id"), Priority: -1}
	if s := n.Find("status"); s != nil {
		p.service(&t, s) // some put contact and note inside the status
	}
	p.service(&t, n)
	return t
}

// service takes what stands in a tuple, or in its status.
func (p *Parsed) service(t *Tuple, n *xmlscan.Node) {
	for c := n.First; c != nil; c = c.Next {
		switch {
		case isPIDF(c.Space):
			t.element(c)
		case c.Local == "deviceID" && c.Space == nsModel:
			first(&t.DeviceID, c.Text)
		case isActivities(c):
			t.Activities = append(t.Activities, p.words(c)...)
		case c.Local == "display-name" && c.Space == nsCIPID:
			first(&p.Name, c.Text)
		case c.Local == "servcaps" && (c.Space == nsCaps || c.Space == nsOldCaps) && understood(c):
			a := abilities(c)
			t.Abilities = &a
		}
	}
}

// element takes one element of PIDF itself.
func (t *Tuple) element(c *xmlscan.Node) {
	switch c.Local {
	case "basic":
		switch b := Basic(strings.ToLower(c.Text)); b {
		case Open, Closed:
			t.Basic = b
		}
	case "contact":
		if t.Contact != "" {
			return
		}
		t.Contact = c.Text
		// RFC 3863 §4.1.5: from 0 to 1; out of range counts as not given.
		if q, err := strconv.ParseFloat(c.Attr("priority"), 64); err == nil && q >= 0 && q <= 1 {
			t.Priority = q
		}
	case "note":
		first(&t.Note, c.Text)
	case "timestamp":
		if ts, err := time.Parse(time.RFC3339Nano, strings.ToUpper(c.Text)); err == nil {
			t.Timestamp = ts.UTC()
		}
	}
}

// person takes what is said of a person, and returns her activities.
func (p *Parsed) person(n *xmlscan.Node) (words []string) {
	for c := n.First; c != nil; c = c.Next {
		switch {
		case isActivities(c):
			words = append(words, p.words(c)...)
		case c.Local == "display-name" && c.Space == nsCIPID:
			first(&p.Name, c.Text)
		}
	}
	return words
}

// isActivities: Unified Presence has them in Cisco's own name space, too.
func isActivities(n *xmlscan.Node) bool {
	return n.Local == "activities" && (isRPID(n.Space) || n.Space == nsCisco) && understood(n)
}

// words are the activities in one <activities>: the names of RFC 4480 §3.2, also
// in Cisco's name space, and Cisco's alerting, available and dnd. The names of
// others mean nothing to us.
func (p *Parsed) words(n *xmlscan.Node) (words []string) {
	for c := n.First; c != nil; c = c.Next {
		switch {
		case isRPID(c.Space) && c.Local == "note":
			first(&p.ActivityNote, c.Text)
		case (isRPID(c.Space) || c.Space == nsCisco) && slices.Contains(rpidActivities, c.Local),
			c.Space == nsCisco && slices.Contains(ciscoActivities, c.Local):
			words = append(words, c.Local)
		}
	}
	return words
}

// rpidActivities are those of RFC 4480 §3.2; lunch is in its prose, not in its schema.
var rpidActivities = []string{"appointment", "away", "breakfast", "busy", "dinner", "holiday", "in-transit",
	"looking-for-work", "lunch", "meal", "meeting", "on-the-phone", "other", "performance", "permanent-absence",
	"playing", "presentation", "shopping", "sleeping", "spectator", "steering", "travel", "tv", "unknown",
	"vacation", "working", "worship"}

// ciscoActivities are what Unified CM sends in its own name space.
var ciscoActivities = []string{"alerting", "available", "dnd"}

func abilities(n *xmlscan.Node) (a presence.Abilities) {
	for c := n.First; c != nil; c = c.Next {
		yes := c.Text == "true" || c.Text == "1"
		switch c.Local {
		case "audio":
			a.Audio = yes
		case "video":
			a.Video = yes
		case "message":
			a.IM = yes
		case "application":
			a.WebCollaboration = yes
		}
	}
	return a
}

// Availability is the one word that the document comes to. The activities go
// before the basic status: Unified CM says "closed" of who is busy.
func (p Parsed) Availability() presence.Availability {
	is := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(p.Activities, w) })
	}
	switch {
	case is("dnd"), is("busy") && strings.EqualFold(p.ActivityNote, noteDoNotDisturb):
		return presence.DoNotDisturb
	case is("vacation", "holiday", "permanent-absence"):
		return presence.OutOfOffice
	case is("on-the-phone"):
		return presence.OnThePhone
	case is("meeting", "appointment", "presentation"):
		return presence.InAMeeting
	case is("busy", "performance", "steering"):
		return presence.Busy
	case is("away", "breakfast", "dinner", "in-transit", "lunch", "meal", "shopping", "sleeping", "travel"):
		return presence.Away
	case is("unknown"):
		return presence.Unknown
	case p.Basic == Open:
		return presence.Available
	case p.Basic == Closed:
		return presence.Offline
	}
	return presence.Unknown
}

// Abilities is what the tuples can do together, and whether any of them says so.
// A closed tuple can do nothing; but of who is busy Unified CM says closed, and
// the phone can be called all the same.
func (p Parsed) Abilities() (all presence.Abilities, said bool) {
	engaged := false
	switch p.Availability() {
	case presence.Busy, presence.OnThePhone, presence.InAMeeting, presence.DoNotDisturb:
		engaged = p.Basic == Closed // all of them are
	}
	for _, t := range p.Tuples {
		if t.Abilities == nil || t.Basic == Closed && !engaged {
			continue
		}
		said = true
		all.Audio = all.Audio || t.Abilities.Audio
		all.Video = all.Video || t.Abilities.Video
		all.IM = all.IM || t.Abilities.IM
		all.WebCollaboration = all.WebCollaboration || t.Abilities.WebCollaboration
	}
	return all, said
}

// understood reports whether an extension may be used: not when a child that we
// don't know says that it must be understood (RFC 3863 §4.2.3).
func understood(n *xmlscan.Node) bool {
	for c := n.First; c != nil; c = c.Next {
		if len(c.Attrs) == 0 || known(c.Space) {
			continue
		}
		for _, a := range c.Attrs {
			if a.Space == nsPIDF && a.Local == "mustUnderstand" && (a.Value == "true" || a.Value == "1") {
				return false
			}
		}
	}
	return true
}

func known(space string) bool {
	switch space {
	case nsModel, nsCisco, nsCaps, nsOldCaps, nsCIPID, nsTimed:
		return true
	}
	return isPIDF(space) || isRPID(space)
}

func isPIDF(space string) bool { return space == nsPIDF || space == nsCPIM || space == "" }

func isRPID(space string) bool {
	return space == nsRPID || space == nsOldRPID || space == nsOldRPID2
}

// first keeps the first text that isn't empty.
func first(s *string, text string) {
	if *s == "" {
		*s = text
	}
}
