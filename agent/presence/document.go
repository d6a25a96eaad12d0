package presence

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Rev orders changes within one store: (epoch, seq). The epoch grows at each
// start, so that a revision never runs backwards though soft state is grouped.
type Rev struct {
	Epoch, Seq uint64
}

// Compare orders revisions.
func (r Rev) Compare(o Rev) int {
	return cmp.Or(cmp.Compare(r.Epoch, o.Epoch), cmp.Compare(r.Seq, o.Seq))
}

// String is "epoch.seq".
func (r Rev) String() string { return fmt.Sprintf("%d.%d", r.Epoch, r.Seq) }

// ParseRev reads what String wrote.
func ParseRev(s string) (Rev, error) {
	e, q, ok := strings.Cut(s, ".")
	epoch, err1 := strconv.ParseUint(e, 10, 64)
	seq, err2 := strconv.ParseUint(q, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return Rev{}, fmt.Errorf("revision %q: want epoch.seq", s)
	}
	return Rev{epoch, seq}, nil
}

// Kind says what a presentity is.
type Kind string

// A person, a line nobody need own, or a device without known line or owner.
const (
	KindPerson Kind = "person"
	KindLine   Kind = "line"
	KindDevice Kind = "device"
)

// Evidence is one reason for a state, with where it comes from and since when.
type Evidence struct {
	Source string
	Says   string
	Seen   time.Time
	Live   bool
}

// Text is the evidence as one line for a person, its age as of now.
func (e Evidence) Text(now time.Time) string {
	s := e.Source + " " + e.Says
	if !e.Seen.IsZero() {
		s += " " + Age(now.Sub(e.Seen)) + " ago"
	}
	if !e.Live {
		s += " (last known)"
	}
	return s
}

// Age is a duration as a person says it: 2s, 5m, 3h, 2d.
func Age(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// Device is one phone, fused from what all sources saw of it.
type Device struct {
	Name         string
	State        DeviceState
	Since        time.Time // when it came to be in this state
	Cause        Cause     // the diagnosis in one word
	Diagnosis    string    // and in one sentence; "" where there is nothing to explain
	Freshness    Freshness
	AsOf         time.Time // when what decides the state was last seen
	Lines        []Line
	Identity     Identity
	Registration *Registration
	Port         *Port
	Power        *Power
	Streams      []Stream
	Messages     *Messages
	Neighbour    *Neighbour
	Ethernet     *Ethernet
	Log          *Log
	Screen       *Screen
	Abilities    Abilities
	Owner        Presentity // "" if nobody is known to own it
	Because      []Evidence
	Rev          Rev
}

// Document is the composed presence of one presentity (RFC 4479 §2,
// "composition"). A Document is never changed once handed out.
type Document struct {
	Of           Presentity
	Kind         Kind
	Name         string
	Availability Availability
	Since        time.Time // when the availability came to be this
	Note         string
	Manual       bool      // the person's own word decides
	Until        time.Time // when the manual word ends; zero: it does not
	Freshness    Freshness
	AsOf         time.Time
	Capabilities Capabilities
	Devices      []DeviceView
	Lines        []Line // those on none of its devices, as a call server tells them now
	Because      []Evidence
	Rev          Rev
}

// Capabilities is what can reach the presentity now.
type Capabilities struct {
	Abilities
	VoiceMessages int
}

// DeviceView is what a document tells of one device.
type DeviceView struct {
	Name      string
	State     DeviceState
	Lines     []Line
	Freshness Freshness
	Address   netip.Addr
}

// Selector picks presentities; nil picks all.
type Selector func(Presentity) bool
