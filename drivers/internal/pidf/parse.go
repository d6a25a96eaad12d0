package pidf

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pilotlight/agent/presence"
)

// Parsed is what a document says, as far as we understand it.
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
	root, err := readTree(body)
	if err != nil {
		return Parsed{}, fmt.Errorf("pidf: %w", err)
	}
	whole := root.local == "presence" && isPIDF(root.space) || root.local == "pidf-full" && root.space == nsDiff
	if !whole {
		return Parsed{}, fmt.Errorf("pidf: %w: <%s> in %q", ErrNotPIDF, root.local, root.space)
	}
	p := Parsed{Entity: root.attr("entity")}
	var personNote, rootNote string
	var words []string
	for _, n := range root.children {
		switch {
		case isPIDF(n.space) && n.local == "tuple":
			p.Tuples = append(p.Tuples, p.tuple(n))
		case isPIDF(n.space) && n.local == "note":
			first(&rootNote, n.text())
		case n.local == "person" && (n.space == nsModel || n.space == nsCisco) && n.understood():
			words = append(words, p.person(n)...)
			first(&personNote, n.child("note"))
		case n.space == nsModel && n.local == "device" && n.understood():
			p.Devices = append(p.Devices, Device{ID: n.attr("id"), DeviceID: n.child("deviceID"), Note: n.child("note")})
		}
	}
	p.sum(words)
	first(&p.Note, personNote)
	first(&p.Note, rootNote)
	for _, t := range p.Tuples {
		first(&p.Note, t.Note)
	}
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

func (p *Parsed) tuple(n *node) Tuple {
	t := Tuple{ID: n.attr("id"), Priority: -1}
	parts := n.children
	if s := n.find("status"); s != nil {
		// Some put contact and note inside the status.
		parts = append(slices.Clone(s.children), n.children...)
	}
	for _, c := range parts {
		switch {
		case isPIDF(c.space):
			t.element(c)
		case c.local == "deviceID" && c.space == nsModel:
			first(&t.DeviceID, c.text())
		case isActivities(c):
			t.Activities = append(t.Activities, p.words(c)...)
		case c.local == "display-name" && c.space == nsCIPID:
			first(&p.Name, c.text())
		case c.local == "servcaps" && (c.space == nsCaps || c.space == nsOldCaps) && c.understood():
			a := abilities(c)
			t.Abilities = &a
		}
	}
	return t
}

// element takes one element of PIDF itself.
func (t *Tuple) element(c *node) {
	switch c.local {
	case "basic":
		switch b := Basic(strings.ToLower(c.text())); b {
		case Open, Closed:
			t.Basic = b
		}
	case "contact":
		if t.Contact != "" {
			return
		}
		t.Contact = c.text()
		// RFC 3863 §4.1.5: from 0 to 1; out of range counts as not given.
		if q, err := strconv.ParseFloat(c.attr("priority"), 64); err == nil && q >= 0 && q <= 1 {
			t.Priority = q
		}
	case "note":
		first(&t.Note, c.text())
	case "timestamp":
		if ts, err := time.Parse(time.RFC3339Nano, strings.ToUpper(c.text())); err == nil {
			t.Timestamp = ts.UTC()
		}
	}
}

// person takes what is said of a person, and returns her activities.
func (p *Parsed) person(n *node) (words []string) {
	for _, c := range n.children {
		switch {
		case isActivities(c):
			words = append(words, p.words(c)...)
		case c.local == "display-name" && c.space == nsCIPID:
			first(&p.Name, c.text())
		}
	}
	return words
}

// isActivities: Unified Presence has them in Cisco's own name space, too.
func isActivities(n *node) bool {
	return n.local == "activities" && (isRPID(n.space) || n.space == nsCisco) && n.understood()
}

// words are the activities in one <activities>: the names of RFC 4480 §3.2, also
// in Cisco's name space, and Cisco's alerting, available and dnd. The names of
// others mean nothing to us.
func (p *Parsed) words(n *node) (words []string) {
	for _, c := range n.children {
		switch {
		case isRPID(c.space) && c.local == "note":
			first(&p.ActivityNote, c.text())
		case (isRPID(c.space) || c.space == nsCisco) && slices.Contains(rpidActivities, c.local),
			c.space == nsCisco && slices.Contains(ciscoActivities, c.local):
			words = append(words, c.local)
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

func abilities(n *node) (a presence.Abilities) {
	for _, c := range n.children {
		yes := c.text() == "true" || c.text() == "1"
		switch c.local {
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
