package simple

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"time"

	"pilotlight/agent/access"
	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/event"
	"pilotlight/drivers/internal/sip"
)

// subscription is one watcher's subscription to one presentity in one dialog
// (RFC 6665 §4.2). Only the loop touches it.
type subscription struct {
	record
	key    string // of its dialog and Event, in run.subs
	pkg    *eventPackage
	dialog *sip.Dialog
	body   string             // the type that Accept chose
	how    access.Handling    // how the watcher is taken, now
	in     *watched           // whose it is
	began  time.Time          // for winfo
	event  event.WatcherEvent // why it is in its state, for winfo

	by          string     // the transport of its NOTIFYs
	stream      bool       // that is one of streams
	way         way        // how its watcher is told
	was         way        // before a guess
	since       time.Time  // when its watcher showed it
	flown       bool       // the last NOTIFY went by a stream that its watcher opened
	awaited     uint32     // CSeq of the NOTIFY under way; 0: there is none
	cseq        uint32     // of the last NOTIFY
	granted     uint32     // CSeq and version numbers below it are reserved on disk
	told        event.Told // what it was told, where the package counts
	roll        roll       // and where it is of a list
	weight      int        // members it was admitted with
	busy        bool       // a NOTIFY is under way, or the answer to the SUBSCRIBE
	due         due        // what the next one is for
	sent        string     // the entity-tag of the last one
	suppress    string     // the condition of the SUBSCRIBE that made it, until its first NOTIFY
	again       bool       // the last NOTIFY failed: what it said has to be said again
	failures    uint8      // in a row
	closing     string     // the reason of the last NOTIFY, which is due
	heldUntil   time.Time  // nothing is told of itself before
	rings       time.Time  // when the loop looks at it
	place       int        // in the alarms, from 1; 0: in none
	toldAt      time.Time  // when the last NOTIFY for a change went
	unreachable bool       // its stream is gone; it was told nothing since
	ended       bool
	met         bool // a NOTIFY was answered in this life
	proven      bool // it is its watcher's own, by password or peer: her messages may go there
	reserving   bool // the keeper writes a new reserve
}

// due says what the next NOTIFY is for. The greater is sent whatever it says.
type due uint8

const (
	nothing due = iota
	change      // the state may be another
	rest        // what the last one had no room for
	asked       // a SUBSCRIBE, which a NOTIFY always follows (§4.2.1.2)
	last        // its end
)

// record is what of a subscription outlives a restart.
type record struct {
	Of, Watcher   presence.Presentity
	Entity        string // the URI that was asked for, for entity attributes
	Package       string
	EventID       string
	Accept        []string
	CallID        string
	Local, Remote string // the From and To of our NOTIFYs, with their tags
	LocalTag      string
	RemoteTag     string
	Target        string // the watcher's Contact
	Route         []string
	Transport     string
	Peer          netip.AddrPort // where the SUBSCRIBE came from
	ContactAt     netip.AddrPort // where the watcher reaches us
	RemoteSeq     uint32
	Reserve       uint32 // CSeq and version numbers below it may be used
	Expires       time.Time
	Handling      access.Handling
	UserAgent     string
	List          bool // it is one to a list
	Paused        bool // nothing is told till the next SUBSCRIBE (RFC 5839)
	ByAddress     bool // nobody asked for a password; false where that is not known
}

// reserveBy is how many numbers are reserved at a time: a write for so many NOTIFYs.
const reserveBy = 128

// recordVersion grows with the fields; older records are read.
// own takes the strings out of the message that they are parts of, which they
// would keep alive as long as the subscription.
func (r *record) own() {
	for _, s := range []*string{&r.EventID, &r.CallID, &r.Remote, &r.RemoteTag, &r.Target, &r.UserAgent} {
		*s = strings.Clone(*s)
	}
	r.Accept, r.Route = owned(r.Accept), owned(r.Route)
	if p := packageOf(r.Package); p != nil {
		r.Package = p.name
	}
}

func owned(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.Clone(s)
	}
	return out
}

const recordVersion = 2

var errRecord = errors.New("not a subscription")

// encode writes the record: a version, then fields in order.
func (r *record) encode() []byte {
	b := append(make([]byte, 0, 512), recordVersion)
	str := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	list := func(l []string) {
		b = binary.AppendUvarint(b, uint64(len(l)))
		for _, s := range l {
			str(s)
		}
	}
	for _, s := range []string{string(r.Of), string(r.Watcher), r.Entity, r.Package, r.EventID, r.CallID, r.Local, r.Remote,
		r.LocalTag, r.RemoteTag, r.Target, r.Transport, r.Peer.String(), r.ContactAt.String(), r.UserAgent} {
		str(s)
	}
	list(r.Accept)
	list(r.Route)
	b = binary.AppendUvarint(b, uint64(r.RemoteSeq))
	b = binary.AppendUvarint(b, uint64(r.Reserve))
	b = binary.AppendVarint(b, r.Expires.Unix())
	return append(b, byte(r.Handling), r.flags())
}

func (r *record) flags() (f byte) {
	if r.List {
		f |= 1
	}
	if r.Paused {
		f |= 2
	}
	if r.ByAddress {
		f |= 4
	}
	return f
}

// decoder reads what encode wrote; after the first fault it reads nothing.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) str() string {
	n := d.number()
	if d.bad || n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) list() (all []string) {
	for n := d.number(); n > 0 && !d.bad; n-- {
		all = append(all, d.str())
	}
	return all
}

func decodeRecord(b []byte) (r record, err error) {
	if len(b) == 0 || b[0] == 0 || b[0] > recordVersion {
		return r, errRecord
	}
	d := decoder{b: b[1:]}
	r.Of, r.Watcher = presence.Presentity(d.str()), presence.Presentity(d.str())
	for _, s := range []*string{&r.Entity, &r.Package, &r.EventID, &r.CallID, &r.Local, &r.Remote, &r.LocalTag, &r.RemoteTag, &r.Target, &r.Transport} {
		*s = d.str()
	}
	r.Peer, _ = netip.ParseAddrPort(d.str())
	r.ContactAt, _ = netip.ParseAddrPort(d.str())
	r.UserAgent = d.str()
	r.Accept, r.Route = d.list(), d.list()
	r.RemoteSeq, r.Reserve = uint32(d.number()), uint32(d.number())
	at, n := binary.Varint(d.b)
	if d.bad || n <= 0 || len(d.b) != n+int(b[0]) {
		return r, errRecord
	}
	r.Expires, r.Handling = time.Unix(at, 0), access.Handling(d.b[n])
	if b[0] > 1 {
		r.List, r.Paused, r.ByAddress = d.b[n+1]&1 != 0, d.b[n+1]&2 != 0, d.b[n+1]&4 != 0
	}
	return r, nil
}

// dialogKey finds a subscription by what its requests say (RFC 6665 §4.5: the
// dialog, the event type and its id).
func dialogKey(callID, localTag, remoteTag, event, id string) string {
	return callID + "\x00" + localTag + "\x00" + remoteTag + "\x00" + event + "\x00" + id
}

func (s *subscription) dialogKey() string {
	return dialogKey(s.CallID, s.LocalTag, s.RemoteTag, s.Package, s.EventID)
}

// left is how long the subscription holds.
func (s *subscription) left(now time.Time) time.Duration { return max(0, s.Expires.Sub(now)) }
