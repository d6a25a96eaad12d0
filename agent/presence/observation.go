package presence

import (
	"net/netip"
	"time"
)

// Forever is the TTL of what does not grow old, such as a line of the configuration.
const Forever = time.Duration(1<<63 - 1)

// Observation is what one source saw of one device or one presentity at one
// time. A later observation of the same source and subject replaces it whole.
// Values that it points to are never changed once it is handed over.
type Observation struct {
	Source string        // who saw it: "phone/web", "phone/sip", "lan/sw1", "dialog/pbx", "config"
	Device string        // the device it is about, by name; or, where that is empty,
	Of     Presentity    // the line or person it is about
	Seen   time.Time     // when; carries the monotonic reading
	TTL    time.Duration // from Seen+TTL on it is last known, no longer live
	Facts
}

// Key names the place of an observation: one source, one subject.
type Key struct {
	Source  string
	Subject string // device name or presentity; a device name holds no ':', a presentity does
}

// Key is where o belongs.
func (o Observation) Key() Key {
	if o.Device != "" {
		return Key{o.Source, o.Device}
	}
	return Key{o.Source, string(o.Of)}
}

// LiveAt reports whether o can still be vouched for at now.
func (o Observation) LiveAt(now time.Time) bool {
	return o.TTL == Forever || now.Before(o.Seen.Add(o.TTL))
}

// Facts is what a source may tell. Nil means that it says nothing about it,
// which is never evidence of the contrary.
type Facts struct {
	Identity     *Identity
	Calls        *Calls
	Reach        *Reach
	Registration *Registration
	Port         *Port
	Power        *Power
	Streams      *Streams
	Messages     *Messages
	Abilities    *Abilities
	Person       *Person
	Neighbour    *Neighbour
	Ethernet     *Ethernet
	Log          *Log
	Screen       *Screen
}

// Identity is what a device says it is. Empty fields are not told.
type Identity struct {
	Model, Serial, Firmware, MAC string
	Address                      netip.Addr
	Lines                        []string // directory numbers on it, the primary first
	Description                  string
}

// Calls is the state of a device's or a line's calls.
type Calls struct {
	// Exact: the source sees ringing, hold and each line (dialog events, LineInfo).
	// Otherwise it sees only whether audio flows (RTP streams), which misses
	// ringing and hold, and takes a page for a call.
	Exact bool
	// Lines are in the order of the device's keys; empty: nothing is going on. A call
	// server's word on one number has a line for each place, where they differ.
	Lines []Line
}

// Line is one line's state, as one device or one call server sees it.
type Line struct {
	Number    string
	State     LineState
	Held      bool         // confirmed, and on hold from here
	Outgoing  bool         // this side called (RFC 4235 §4.1.2: initiator): early is dialling, not ringing
	Elsewhere bool         // a shared line that is used on another device
	Sites     []netip.Addr // where its dialogs' local targets are, if told (RFC 4235 §4.1.6)
}

// Reach is how a device answered when it was last asked over the network.
type Reach struct {
	Outcome ReachOutcome
	Misses  int    // polls in a row without any answer of its own
	Via     string // "web", "sip", "snmp"
	Detail  string // what an administrator would want to read
}

// heard reports whether the device itself has answered.
func (r *Reach) heard() bool { return r != nil && r.Outcome != Silent && r.Outcome != Other }

// ReachOutcome is one of the outcomes below.
type ReachOutcome string

// Refused proves that the host lives: it said no. Garbled: it answered, and not sense.
// Other is no word on the device at all: another one answered at its address.
const (
	Answered ReachOutcome = "answered"
	Refused  ReachOutcome = "refused"
	Garbled  ReachOutcome = "garbled"
	Silent   ReachOutcome = "silent"
	Other    ReachOutcome = "other"
)

// Registration is where a device is registered.
type Registration struct {
	Registered bool
	Server     string // the active call server, if any
	Survivable bool   // the active one is the branch's SRST router
}

// Port is the switch port a device is plugged into, or was.
type Port struct {
	Switch, Name string
	VLAN         int
	LinkUp       bool
	LinkKnown    bool
	AdminDown    bool
	Speed        uint64 // bit/s
	Neighbour    bool   // the switch lists the device there now (CDP or LLDP)
	Addressless  bool   // and the device announces no address of its own there
}

// Power is the power that a switch port delivers.
type Power struct {
	State PowerState
	Watts float64
	Known bool // Watts was measured or allocated
}

// PowerState is pethPsePortDetectionStatus in words (RFC 3621).
type PowerState string

// The states of RFC 3621, POWER-ETHERNET-MIB.
const (
	PowerDelivering PowerState = "delivering"
	PowerSearching  PowerState = "searching"
	PowerDisabled   PowerState = "disabled"
	PowerFault      PowerState = "fault"
)

// Streams are the RTP streams a device reports.
type Streams struct {
	List []Stream
}

// Stream is one RTP stream as the device counts it. Zero values are not told.
type Stream struct {
	Active   bool
	Codec    string
	Remote   netip.AddrPort
	Sent     uint64
	Received uint64
	Lost     uint64
	JitterMS float64
	MOSLQK   float64 // of the last seconds, by the device's own reckoning

	AvgMOSLQK, MinMOSLQK float64 // of the stream so far
	MaxJitterMS          float64
	Concealed            float64 // share of the stream that was concealed, 0 to 1
}

// Messages is the message waiting indication.
type Messages struct {
	Waiting bool
	New     int // 0 with Waiting: the number is not told
}

// Abilities is what a device or a person can do when reached.
type Abilities struct {
	Audio, Video, IM, WebCollaboration bool
}

// Person tells who owns what: an observation about a person (Of).
type Person struct {
	Name    string
	Devices []string // by name
	Lines   []string // numbers
}

// Neighbour is the switch port that a device itself names (its CDP or LLDP
// neighbour). It says where the device hangs, and nothing of the link's state now.
type Neighbour struct {
	Switch  string // the neighbour's device id
	Port    string
	Address netip.Addr
}

// Ethernet is what a device counts on its own ports, since its start.
type Ethernet struct {
	Ports []EthernetPort
}

// EthernetPort is one of a device's own ports.
type EthernetPort struct {
	Name           string // "network" or "pc"
	Speed          string // as the device words it
	Sent, Received uint64 // frames
	Errors         uint64 // frames received in error, and late collisions
}

// Log is the end of a device's own log, fetched when its state had changed: why
// it left its call server.
type Log struct {
	Lines []string // the newest last; at most MaxLogLines
}

// MaxLogLines bounds a Log.
const MaxLogLines = 8

// Screen is what stands on a device's screen while nobody uses it.
type Screen struct {
	Title, Prompt, Notify string
}
