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

// Cause is the diagnosis of a device in one word.
type Cause string

// The causes. All but Fine, OnSRST and WebDisabled make a device dark.
const (
	Fine          Cause = "fine"
	NoPower       Cause = "unpowered"    // its port delivers no power
	NoLink        Cause = "no-link"      // its port has no link, or is switched off
	NoAddress     Cause = "no-address"   // linked, and without an address
	NoRegistrar   Cause = "unregistered" // reachable, and registered nowhere
	OnSRST        Cause = "srst"         // registered with the branch's survivable router
	WebDisabled   Cause = "web-disabled" // refuses its pages: less is known of it
	NoAnswer      Cause = "no-answer"    // answers no poll, and nothing tells why
	CauseNotKnown Cause = "unknown"      // too little is known of it
)

// Causes lists all words, the worst first.
var Causes = []Cause{NoPower, NoLink, NoAddress, NoAnswer, NoRegistrar, OnSRST, WebDisabled, CauseNotKnown, Fine}

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
