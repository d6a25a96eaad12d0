package branch

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"pilotlight/testbench/branch/internal/quiet"
)

// Doing is what a phone's one line does, as the person at it would say.
type Doing string

// What a phone does. A caller is dialing until the other side answers; of a
// held call, the side that holds it is on hold, and the other still in use.
const (
	Idle    Doing = "idle"
	Dialing Doing = "dialing"
	Ringing Doing = "ringing"
	InUse   Doing = "in-use"
	OnHold  Doing = "on-hold"
)

// Registration is who gives a phone its call processing.
type Registration string

// Where a phone can be registered.
const (
	WithCallServer Registration = "call server"
	WithSRST       Registration = "srst"
	Nowhere        Registration = "nowhere"
)

// State is the truth about one phone.
type State struct {
	Doing        Doing        `json:"doing"`
	Peer         string       `json:"peer,omitempty"`         // the phone at the other end
	Unplugged    bool         `json:"unplugged,omitempty"`    // no cable: neither link nor power
	Booting      bool         `json:"booting,omitempty"`      // plugged in again, and not answering yet
	Frozen       bool         `json:"frozen,omitempty"`       // accepts connections, never answers
	WebDisabled  bool         `json:"web_disabled,omitempty"` // its web port refuses
	NoAddress    bool         `json:"no_address,omitempty"`   // linked and powered, and without a lease
	Paged        bool         `json:"paged,omitempty"`        // plays a page: audio without a call
	Elsewhere    bool         `json:"elsewhere,omitempty"`    // idle itself, and its number is in use on another phone
	Registration Registration `json:"registration"`
}

// Word is the state in the words a board shows: unpowered, unreachable,
// unregistered, idle, ringing, in-use or on-hold. A phone with its web access
// off is not darker for it.
func (s State) Word() string {
	switch {
	case s.Unplugged:
		return "unpowered"
	case s.Booting, s.Frozen, s.NoAddress:
		return "unreachable"
	case s.Registration == Nowhere:
		return "unregistered"
	case s.Doing == Dialing:
		return "in-use"
	}
	return string(s.Doing)
}

// Cause is why a board should say so: unpowered, no-address, no-answer,
// unregistered, srst, web-disabled or fine.
func (s State) Cause() string {
	switch {
	case s.Unplugged:
		return "unpowered"
	case s.NoAddress:
		return "no-address"
	case s.Booting, s.Frozen:
		return "no-answer"
	case s.WebDisabled:
		return "web-disabled"
	case s.Registration == Nowhere:
		return "unregistered"
	case s.Registration == WithSRST:
		return "srst"
	}
	return "fine"
}

// Phone is what an inventory knows of a phone. Only a move changes it.
type Phone struct {
	Name        string // SEP and the MAC address
	Address     string
	WebPort     int
	SIPPort     int
	Number      string // two phones may share one
	User        string // "" for the phone of a room
	DisplayName string
	Model       string
	Switch      string
	SwitchPort  string // guarded by Branch.mu
}

// Load is what polling has cost a phone so far.
type Load struct {
	Requests uint64 // HTTP requests
	Peak     int64  // the most that were open at one time
	ByPath   map[string]int
	Crashed  int // how often it was asked for what its firmware does not bear
}

// phone is one simulated phone. Fields below mu's line belong to Branch.mu.
type phone struct {
	Phone
	*model
	index int
	addr  netip.Addr
	mac   string // 12 hex digits
	at    port   // the switch port

	sip *net.UDPConn

	requests, open, peak counter
	hushed               counter // requests that wait at a silent phone

	door     sync.Mutex // guards listener; taken without Branch.mu
	listener *quiet.Listener

	// guarded by Branch.mu
	state    State
	notes    []string       // its log
	other    string         // firmware that differs from its model's
	asked    map[string]int // requests by path
	crashed  int
	call     *call
	leg      leg // of the call, while there is one
	messages int
	sound    stream        // audio of the call
	seat     seat          // which of its streams that is
	page     stream        // audio of a page
	picture  stream        // video of the call
	mute     chan struct{} // not nil while it answers nobody; closed when it does again
	neighbor bool          // the switch lists it (CDP)
	heard    time.Time     // since when
	joined   int           // how often it came up: the CDP device index grows with it
}

type counter = atomic.Int64

// quietNow: nothing gets through to it, not even a reset.
func (s State) quietNow() bool { return s.Unplugged || s.Booting || s.NoAddress }

// ready: it can take part in a call.
func (p *phone) ready() bool {
	s := p.state
	return !s.quietNow() && !s.Frozen && s.Registration != Nowhere && p.call == nil
}

// settle makes the phone's web port be as its state says: open, silent or closed.
func (b *Branch) settle(p *phone) error {
	p.door.Lock()
	defer p.door.Unlock()
	b.mu.Lock()
	silent, off := p.state.quietNow(), p.state.WebDisabled
	if dumb := silent || p.state.Frozen; dumb && p.mute == nil {
		p.mute = make(chan struct{})
	} else if !dumb && p.mute != nil {
		close(p.mute)
		p.mute = nil
	}
	b.mu.Unlock()

	if off && !silent {
		if p.listener == nil {
			return nil
		}
		err := p.listener.Close() // the kernel refuses from here on
		p.listener = nil
		return err
	}
	if p.listener == nil {
		if err := b.openWeb(p); err != nil {
			return err
		}
	}
	return p.listener.Silence(silent)
}

// openWeb opens the phone's web port; the caller holds the door.
func (b *Branch) openWeb(p *phone) error {
	l, err := quiet.Listen(netip.AddrPortFrom(p.addr, uint16(p.WebPort)).String())
	if err != nil {
		return err
	}
	if b.ctx.Err() != nil {
		l.Close()
		return http.ErrServerClosed
	}
	p.listener = l
	b.wg.Go(func() { b.web.Serve(l) }) // until the listener is closed
	return nil
}

// stream counts packets, 50 in a second each way while it runs.
type stream struct {
	began    time.Time // when the counters began; zero: never
	from     time.Time // running since; zero: it does not run
	sending  bool
	sent     uint64
	received uint64
}

const packetsPerSecond = 50

// counts are the counters at a time, where speed makes time pass faster.
func (s *stream) counts(now time.Time, speed float64) (sent, received uint64) {
	sent, received = s.sent, s.received
	if !s.from.IsZero() {
		n := uint64(max(now.Sub(s.from).Seconds(), 0) * speed * packetsPerSecond)
		received += n
		if s.sending {
			sent += n
		}
	}
	return sent, received
}

// run starts, changes or stops (on false) a stream.
func (s *stream) run(on, sending bool, now time.Time, speed float64) {
	s.sent, s.received = s.counts(now, speed)
	s.from, s.sending = time.Time{}, sending
	if on {
		s.from = now
		if s.began.IsZero() {
			s.began = now
		}
	}
}
