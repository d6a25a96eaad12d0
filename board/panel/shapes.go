package panel

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
	"pilotlight/agent/relay"
)

// Stamp is a moment as the contract writes it: RFC 3339 in UTC, to the second;
// null where there is none.
type Stamp struct{ t time.Time }

// MarshalJSON writes the moment.
func (s Stamp) MarshalJSON() ([]byte, error) {
	if s.t.IsZero() {
		return []byte("null"), nil
	}
	return s.t.UTC().AppendFormat(nil, `"`+time.RFC3339+`"`), nil
}

// Schema describes it to OpenAPI.
func (Stamp) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Nullable: true}
}

// Document is a presence document. Order and names of the fields are the contract's.
type Document struct {
	Presentity   string               `json:"presentity"`
	Name         string               `json:"name"`
	Availability string               `json:"availability" enum:"available,away,busy,on-the-phone,in-a-meeting,do-not-disturb,out-of-office,offline,unknown"`
	Since        Stamp                `json:"since" doc:"when the availability came to be this"`
	Note         string               `json:"note"`
	Manual       bool                 `json:"manual" doc:"the person's own word decides"`
	Freshness    string               `json:"freshness" enum:"live,last-known,unknown"`
	AsOf         Stamp                `json:"as_of" doc:"when what decides the availability was last seen"`
	Capabilities DocumentCapabilities `json:"capabilities"`
	Devices      []DocumentDevice     `json:"devices"`
	Because      []string             `json:"because" doc:"the evidence, strongest first, with its source and age"`
	Gone         bool                 `json:"gone,omitempty" doc:"in an event: nobody knows it any more"`
}

// Abilities is what can be done when reached.
type Abilities struct {
	Audio            bool `json:"audio"`
	Video            bool `json:"video"`
	IM               bool `json:"im"`
	WebCollaboration bool `json:"web-collaboration"`
}

// DocumentCapabilities is what can reach the presentity now.
type DocumentCapabilities struct {
	Abilities
	VoiceMessages int `json:"voice-messages" doc:"new voice messages"`
}

// DocumentDevice is what a document tells of one device.
type DocumentDevice struct {
	Name      string         `json:"name"`
	State     string         `json:"state"`
	Lines     []DocumentLine `json:"lines"`
	Freshness string         `json:"freshness"`
}

// DocumentLine is one line in a document.
type DocumentLine struct {
	Number string `json:"number"`
	State  string `json:"state" enum:"idle,trying,proceeding,early,confirmed,unknown"`
}

// Phone is all that is known of one phone.
type Phone struct {
	Name           string             `json:"name"`
	State          string             `json:"state" enum:"idle,ringing,in-use,on-hold,unregistered,unreachable,unpowered,unknown"`
	Since          Stamp              `json:"since" doc:"when it came to be in this state"`
	Cause          string             `json:"cause" enum:"unpowered,no-link,no-address,no-answer,unregistered,srst,web-disabled,unknown,fine" doc:"the diagnosis in one word"`
	Diagnosis      string             `json:"diagnosis" doc:"and in one sentence; empty where there is nothing to explain"`
	Freshness      string             `json:"freshness" enum:"live,last-known,unknown"`
	AsOf           Stamp              `json:"as_of" doc:"when what decides the state was last seen"`
	Model          string             `json:"model"`
	Address        string             `json:"address"`
	MAC            string             `json:"mac"`
	Serial         string             `json:"serial"`
	Firmware       string             `json:"firmware"`
	Description    string             `json:"description"`
	Lines          []PhoneLine        `json:"lines"`
	Registration   *PhoneRegistration `json:"registration"`
	Port           *PhonePort         `json:"port"`
	Power          *PhonePower        `json:"power"`
	Streams        []PhoneStream      `json:"streams"`
	Capabilities   Abilities          `json:"capabilities"`
	Owner          string             `json:"owner" doc:"the presentity that owns it, if known"`
	MessageWaiting *bool              `json:"message_waiting" doc:"null: not told"`
	VoiceMessages  int                `json:"voice_messages"`
	Neighbour      *PhoneNeighbour    `json:"neighbour" doc:"the switch port it hears CDP or LLDP from; null: not told"`
	Ethernet       []PhoneEthernet    `json:"ethernet"`
	Log            []string           `json:"log" doc:"the end of its own log, from when its state last changed; the newest last"`
	Screen         *PhoneScreen       `json:"screen" doc:"null: not told"`
	Because        []string           `json:"because" doc:"the evidence, strongest first, with its source and age"`
	Evidence       []Evidence         `json:"evidence" doc:"the same in the same order, in parts"`
	Gone           bool               `json:"gone,omitempty" doc:"in an event: nobody knows it any more"`
}

// PhoneLine is one line of a phone.
type PhoneLine struct {
	Number    string `json:"number"`
	State     string `json:"state" enum:"idle,trying,proceeding,early,confirmed,unknown"`
	Held      bool   `json:"held"`
	Outgoing  bool   `json:"outgoing" doc:"this side called"`
	Elsewhere bool   `json:"elsewhere" doc:"a shared line that is used on another phone"`
}

// PhoneRegistration is where a phone is registered.
type PhoneRegistration struct {
	Registered bool   `json:"registered"`
	Server     string `json:"server"`
	Survivable bool   `json:"survivable" doc:"at the branch's SRST router"`
}

// PhonePort is the switch port a phone is plugged into.
type PhonePort struct {
	Switch string `json:"switch"`
	Name   string `json:"name"`
	VLAN   int    `json:"vlan"`
	Link   string `json:"link" enum:"up,down,disabled,unknown"`
	Speed  uint64 `json:"speed" doc:"bit/s, 0: not told"`
}

// PhonePower is what the port delivers.
type PhonePower struct {
	State string   `json:"state"`
	Watts *float64 `json:"watts" doc:"null: not told"`
}

// PhoneStream is one RTP stream as the phone counts it.
type PhoneStream struct {
	Active   bool    `json:"active"`
	Codec    string  `json:"codec"`
	Remote   string  `json:"remote"`
	Sent     uint64  `json:"sent"`
	Received uint64  `json:"received"`
	Lost     uint64  `json:"lost"`
	JitterMS float64 `json:"jitter_ms"`
	MOS      float64 `json:"mos" doc:"MOS LQK of the last seconds as the phone reports it, 0: not told"`

	AvgMOS      float64 `json:"avg_mos" doc:"of the stream so far, 0: not told"`
	MinMOS      float64 `json:"min_mos" doc:"of the stream so far, 0: not told"`
	MaxJitterMS float64 `json:"max_jitter_ms" doc:"0: not told"`
	Concealed   float64 `json:"concealed" doc:"the share of the stream that was made up for what was lost, 0 to 1"`
}

// PhoneNeighbour is what a phone hears from the switch it hangs on.
type PhoneNeighbour struct {
	Switch  string `json:"switch"`
	Port    string `json:"port"`
	Address string `json:"address"`
}

// PhoneEthernet is what a phone counts on one of its own ports.
type PhoneEthernet struct {
	Name     string `json:"name" doc:"network or pc"`
	Speed    string `json:"speed" doc:"as the phone words it"`
	Sent     uint64 `json:"sent" doc:"frames since the phone started"`
	Received uint64 `json:"received" doc:"frames since the phone started"`
	Errors   uint64 `json:"errors"`
}

// PhoneScreen is what a phone shows.
type PhoneScreen struct {
	Title  string `json:"title"`
	Prompt string `json:"prompt"`
	Notify string `json:"notify"`
}

// Evidence is what one source says of a phone.
type Evidence struct {
	Source string `json:"source"`
	Says   string `json:"says"`
	Seen   Stamp  `json:"seen" doc:"null: it does not age"`
	Live   bool   `json:"live"`
}

// Uplink is how one uplink is.
type Uplink struct {
	Name             string  `json:"name"`
	Kind             string  `json:"kind"`
	Mode             string  `json:"mode" enum:"connected,degraded,island,resync"`
	Since            Stamp   `json:"since"`
	Pending          int     `json:"pending" doc:"documents that the far side has not acknowledged"`
	LastAcknowledged Stamp   `json:"last_acknowledged"`
	RoundTripMS      float64 `json:"round_trip_ms"`
	Why              string  `json:"why"`
}

// HistoryEntry is one change of a phone's state.
type HistoryEntry struct {
	At   Stamp  `json:"at"`
	From string `json:"from"`
	To   string `json:"to"`
	Why  string `json:"why"`
}

// DirectoryPerson is one entry of the directory.
type DirectoryPerson struct {
	User         string   `json:"user"`
	Name         string   `json:"name"`
	Presentity   string   `json:"presentity"`
	Numbers      []string `json:"numbers"`
	Phones       []string `json:"phones"`
	Availability string   `json:"availability"`
	Freshness    string   `json:"freshness"`
}

// shaper makes shapes as of one moment.
type shaper struct {
	clock Clock
	now   time.Time
}

func (p *Panel) shaper() shaper { return shaper{p.deps.Clock, time.Now()} }

func (s shaper) stamp(t time.Time) Stamp { return Stamp{s.clock.Wall(t)} }

func (s shaper) because(all []presence.Evidence) []string {
	list := make([]string, len(all))
	for i, e := range all {
		list[i] = e.Text(s.now)
	}
	return list
}

func abilities(a presence.Abilities) Abilities {
	return Abilities{a.Audio, a.Video, a.IM, a.WebCollaboration}
}

func (s shaper) document(d *presence.Document) Document {
	out := Document{
		Presentity: string(d.Of), Name: d.Name, Availability: string(d.Availability), Since: s.stamp(d.Since),
		Note: d.Note, Manual: d.Manual, Freshness: string(d.Freshness), AsOf: s.stamp(d.AsOf),
		Capabilities: DocumentCapabilities{abilities(d.Capabilities.Abilities), d.Capabilities.VoiceMessages},
		Devices:      make([]DocumentDevice, len(d.Devices)),
		Because:      s.because(d.Because),
		Gone:         ledger.Gone(*d),
	}
	for i, v := range d.Devices {
		lines := make([]DocumentLine, len(v.Lines))
		for j, l := range v.Lines {
			lines[j] = DocumentLine{l.Number, lineState(l)}
		}
		out.Devices[i] = DocumentDevice{v.Name, string(v.State), lines, string(v.Freshness)}
	}
	return out
}

func lineState(l presence.Line) string { return string(cmp.Or(l.State, presence.LineIdle)) }

func link(p *presence.Port) string {
	switch {
	case p.AdminDown:
		return "disabled"
	case !p.LinkKnown:
		return "unknown"
	case p.LinkUp:
		return "up"
	}
	return "down"
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func peer(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func (s shaper) uplink(u relay.Status) Uplink {
	return Uplink{
		Name: u.Name, Kind: u.Kind, Mode: string(u.Mode), Since: s.stamp(u.Since), Pending: u.Pending,
		LastAcknowledged: s.stamp(u.LastAcknowledged), RoundTripMS: float64(u.RoundTrip.Microseconds()) / 1000, Why: u.Why,
	}
}

// stale is how long the rendered text of an item is used again: it holds ages.
const stale = time.Second

// json renders an item once for all viewers that are told of it at that time.
func (it *item) json(s shaper) []byte {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.rendered != nil && s.now.Sub(it.at) < stale {
		return it.rendered
	}
	var v any
	if it.device != nil {
		v = s.phone(it.device)
	} else {
		v = s.document(it.doc)
	}
	it.rendered, it.at = encode(v), s.now
	return it.rendered
}

// encode writes one line of JSON. The shapes hold nothing that could fail.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
