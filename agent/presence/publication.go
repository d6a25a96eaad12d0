package presence

import (
	"errors"
	"time"
)

// ETag names one publication at the compositor (RFC 3903 §2, "entity-tag").
type ETag string

// Publication is what a person, or an agent of theirs, said: event state in
// the words of RFC 3903 §2. Unlike an [Observation] nobody will tell it again.
//
//	IfMatch  Said  Expires   meaning (RFC 3903 §4.1)
//	-        yes   > 0       initial
//	yes      -     > 0       refresh
//	yes      yes   > 0       modify
//	yes      -     0         remove
//
// A Manual one has no entity-tag to match: each presentity has at most one, a
// new one replaces it, and Expires 0 without Said removes it.
type Publication struct {
	Of      Presentity
	By      string        // the event publication agent, for because
	Manual  bool          // said by the person herself
	IfMatch ETag          // empty: a new publication
	Expires time.Duration // Forever: until withdrawn
	Said    *Said
}

// Said is the state that a publication carries.
type Said struct {
	Availability Availability
	Note         string
	Abilities    *Abilities
}

// Why a publication is refused.
var (
	ErrNoMatch = errors.New("no publication under this entity-tag")      // RFC 3903 §6: 412
	ErrInvalid = errors.New("not a publication")                         // 400
	ErrFull    = errors.New("too many publications for this presentity") // 503
)

// Standing is a publication that the compositor holds.
type Standing struct {
	ETag    ETag
	Of      Presentity
	By      string
	Manual  bool
	Said    Said
	At      time.Time // when it was last published
	Expires time.Time // zero: never
}
