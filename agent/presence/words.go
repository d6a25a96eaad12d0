package presence

// Availability is the one word a person reads.
type Availability string

// The words of the contract.
const (
	Available    Availability = "available"
	Away         Availability = "away"
	Busy         Availability = "busy"
	OnThePhone   Availability = "on-the-phone"
	InAMeeting   Availability = "in-a-meeting"
	DoNotDisturb Availability = "do-not-disturb"
	OutOfOffice  Availability = "out-of-office"
	Offline      Availability = "offline"
	Unknown      Availability = "unknown"
)

// Availabilities lists all words, in the order in which a board shows them.
var Availabilities = []Availability{Available, Away, Busy, OnThePhone, InAMeeting, DoNotDisturb, OutOfOffice, Offline, Unknown}

// ParseAvailability takes exactly the contract's words.
func ParseAvailability(s string) (Availability, bool) {
	for _, a := range Availabilities {
		if string(a) == s {
			return a, true
		}
	}
	return Unknown, false
}

// DeviceState is what one phone is doing.
type DeviceState string

// The words of the contract.
const (
	Idle         DeviceState = "idle"
	Ringing      DeviceState = "ringing"
	InUse        DeviceState = "in-use"
	OnHold       DeviceState = "on-hold"
	Unregistered DeviceState = "unregistered"
	Unreachable  DeviceState = "unreachable"
	Unpowered    DeviceState = "unpowered"
	StateUnknown DeviceState = "unknown"
)

// DeviceStates lists all words.
var DeviceStates = []DeviceState{Idle, Ringing, InUse, OnHold, Unregistered, Unreachable, Unpowered, StateUnknown}

// Dark reports whether the device cannot take a call.
func (s DeviceState) Dark() bool {
	return s == Unregistered || s == Unreachable || s == Unpowered || s == StateUnknown
}

// LineState is the state of the strongest dialog on a line (RFC 4235 §3.7.1),
// or LineIdle where there is none.
type LineState string

// The dialog states of RFC 4235 §3.7.1, without "terminated", which is idle;
// and what a line is that no source has told of.
const (
	LineUnknown    LineState = "unknown"
	LineIdle       LineState = "idle"
	LineTrying     LineState = "trying"
	LineProceeding LineState = "proceeding"
	LineEarly      LineState = "early"
	LineConfirmed  LineState = "confirmed"
)

// Freshness says whether a state can be vouched for.
type Freshness string

// Live: some source vouches for it now. LastKnown: nobody does any more.
// NeverSeen: nobody ever did.
const (
	Live      Freshness = "live"
	LastKnown Freshness = "last-known"
	NeverSeen Freshness = "unknown"
)
