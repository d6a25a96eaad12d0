package event

import (
	"maps"
	"net/netip"
	"slices"

	"pilotlight/agent/presence"
	"pilotlight/drivers/internal/sip"
)

// DialogTable is what one subscription to the dialog package knows of its
// entity: the dialogs of the documents so far. The zero value is empty.
type DialogTable struct {
	version uint32
	begun   bool
	dialogs map[string]Dialog
}

// Apply takes the next document of the subscription (RFC 4235 §4.3). It reports
// whether a full one should be asked for, since something was missed: a
// partial one came first or after a gap.
//
// A document older than the last is dropped. So is a partial one of the same
// version; a full one is taken, as there are notifiers that never count, and
// the order of NOTIFYs is held by CSeq already.
func (t *DialogTable) Apply(doc DialogInfo) (refresh bool) {
	first := !t.begun
	switch {
	case !first && doc.Version < t.version, !first && doc.Version == t.version && !doc.Full:
		return false
	case doc.Full:
		t.dialogs = nil
	default:
		refresh = first || doc.Version != t.version+1
	}
	t.version, t.begun = doc.Version, true
	for _, d := range doc.Dialogs {
		t.put(d)
	}
	return refresh
}

func (t *DialogTable) put(d Dialog) {
	if d.State == Terminated {
		delete(t.dialogs, d.ID)
		return
	}
	if t.dialogs == nil {
		t.dialogs = map[string]Dialog{}
	}
	old, known := t.dialogs[d.ID]
	if !known && len(t.dialogs) >= maxDialogs {
		return
	}
	// A partial document replaces the dialog, but need not repeat who began it;
	// a dialog without its state (a fault) changes nothing of it.
	if d.Direction == "" {
		d.Direction = old.Direction
	}
	if d.State == "" {
		if d.State = old.State; !known {
			return
		}
	}
	t.dialogs[d.ID] = d
}

// maxSites bounds where one line's calls may be: more phones share no line.
const maxSites = 64

// LineState is the state of one line by its dialogs.
type LineState struct {
	State    presence.LineState // the strongest dialog's
	Held     bool               // every confirmed dialog is on hold from here
	Outgoing bool               // the strongest dialogs were begun from here
	Sites    []netip.Addr       // where the local targets are, sorted, if told by address
	Dialogs  int
}

// Line sums the table up.
func (t *DialogTable) Line() LineState { return sum(slices.Collect(maps.Values(t.dialogs))) }

// Apart sums the dialogs of each site up by themselves, sorted by site, where
// the phones that share a line do different things on it; else it is empty.
func (t *DialogTable) Apart() []LineState {
	at := map[netip.Addr][]Dialog{}
	for _, d := range t.dialogs {
		a := d.site() // zero where it is not told
		at[a] = append(at[a], d)
	}
	var apart []LineState
	differ := false
	for _, a := range slices.SortedFunc(maps.Keys(at), netip.Addr.Compare) {
		s := sum(at[a])
		apart = append(apart, s)
		first := apart[0]
		differ = differ || s.State != first.State || s.Held != first.Held || s.Outgoing != first.Outgoing
	}
	if !differ {
		return nil
	}
	return apart[:min(len(apart), maxSites)]
}

// site is the address of the local target; zero where it is none.
func (d Dialog) site() netip.Addr {
	if u, err := sip.ParseURI(d.Local.Target); err == nil {
		if a, ok := u.Addr(); ok {
			return a
		}
	}
	return netip.Addr{}
}

func sum(dialogs []Dialog) LineState {
	line := LineState{State: presence.LineIdle, Dialogs: len(dialogs)}
	confirmed, held, best := 0, 0, 0
	began := map[Direction]bool{} // among the strongest
	for _, d := range dialogs {
		if d.State == Confirmed {
			confirmed++
			if d.Held() {
				held++
			}
		}
		if n := strength[d.State]; n >= best {
			if n > best {
				best, line.State = n, presence.LineState(d.State)
				clear(began)
			}
			began[d.Direction] = true
		}
		if a := d.site(); a.IsValid() && !slices.Contains(line.Sites, a) {
			line.Sites = append(line.Sites, a)
		}
	}
	line.Outgoing = began[Initiator] && !began[Recipient]
	line.Held = confirmed > 0 && held == confirmed
	slices.SortFunc(line.Sites, netip.Addr.Compare)
	line.Sites = line.Sites[:min(len(line.Sites), maxSites)]
	return line
}

// strength orders states: what a light should show when there are several.
var strength = map[DialogState]int{Trying: 1, Proceeding: 2, Early: 3, Confirmed: 4}
