package phone

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pilotlight/agent/presence"
)

// The status page of multiplatform firmware (MPP, 3PCC), SPA phones and ATAs: a
// flat profile whose elements are told apart by their group, since the names
// repeat. The groups are those of an SPA5xx's profile; that an ATA words its lines
// the same way is unsure.
const (
	pathStatus      = "/status.xml"
	pathStatusAdmin = "/admin/status.xml"
	rootStatus      = "flat-profile"
)

// Status is the typed view of status.xml.
type Status struct {
	Product, Serial, Firmware, MAC, HostName string
	Lines                                    []StatusLine
	Streams                                  []presence.Stream
}

// StatusLine is one extension.
type StatusLine struct {
	Ext        int
	Number     string // "" where the page does not tell it
	Registered *bool  // nil: the extension is not used, or the word is not known
	Waiting    *bool
	Line       presence.Line // its strongest call
}

// maxExtensions is what is read: an SPA525G has five, an 8851-3PCC ten.
const maxExtensions = 16

// maxGroups is room for all of them with ten calls each.
const maxGroups = 256

// ParseStatus reads status.xml.
func ParseStatus(body []byte, contentType string) (Status, error) {
	r := statusReader{by: map[string]map[string]string{}}
	root, err := parseTree(body, contentType, maxStatus, maxDumped, r.take)
	if err != nil {
		return Status{}, err
	}
	if root.name != rootStatus {
		return Status{}, fmt.Errorf("a page whose root is %s, where %s was asked for", clip(root.name, 40), rootStatus)
	}
	return r.status()
}

type statusReader struct {
	by    map[string]map[string]string // group without Info/ → name → value
	order []string
}

// take keeps an element if it is one of those that are read: most of a page is not.
func (r *statusReader) take(c element) {
	group := strings.TrimPrefix(c.attr("group"), "Info/")
	if !readsGroup(group) || !statusNames[strings.TrimPrefix(strings.TrimPrefix(c.name, "Call_1_"), "Call_2_")] {
		return
	}
	names := r.by[group]
	if names == nil && len(r.by) == maxGroups {
		return
	}
	if names == nil {
		names = map[string]string{}
		r.by[group], r.order = names, append(r.order, group)
	}
	if _, twice := names[c.name]; !twice {
		names[c.name] = worded(c.value())
	}
}

// statusNames are the elements that are read, without the call that some begin with.
var statusNames = wordSet("Product_Name Serial_Number Software_Version MAC_Address Host_Name Registration_State Message_Waiting " +
	"User_ID Extension Registration_Name Call_State State Type Remote_Hold Decoder Encoder Packets_Sent Packets_Recv Packets_Lost Jitter")

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

func readsGroup(group string) bool {
	return group == "Product_Information" || group == "System_Information" ||
		(strings.HasPrefix(group, "Ext_") || strings.HasPrefix(group, "Line_")) && strings.HasSuffix(group, "_Status")
}

func (r *statusReader) status() (Status, error) {
	product, system := r.by["Product_Information"], r.by["System_Information"]
	s := Status{
		Product: product["Product_Name"], Serial: product["Serial_Number"], Firmware: product["Software_Version"],
		MAC: normalMAC(product["MAC_Address"]), HostName: system["Host_Name"],
	}
	if s.Product == "" && s.MAC == "" && s.Serial == "" {
		return Status{}, fmt.Errorf("a %s page without product, serial number or MAC address", rootStatus)
	}
	for _, group := range r.order {
		r.group(&s, group)
	}
	slices.SortStableFunc(s.Lines, func(a, b StatusLine) int { return a.Ext - b.Ext })
	return s, nil
}

var (
	extGroup  = regexp.MustCompile(`^Ext_([0-9]{1,2})_Status$`)
	lineGroup = regexp.MustCompile(`^Line_([0-9]{1,2})_Status$`) // ATA
	callGroup = regexp.MustCompile(`^Line_([0-9]{1,2})_Call_[0-9]{1,2}_Status$`)
)

func (r *statusReader) group(s *Status, group string) {
	fields := r.by[group]
	if m := callGroup.FindStringSubmatch(group); m != nil {
		if l := s.line(m[1]); l != nil {
			l.add(callOf(fields, ""))
			s.stream(fields, "")
		}
		return
	}
	m := extGroup.FindStringSubmatch(group)
	if m == nil {
		m = lineGroup.FindStringSubmatch(group)
	}
	if m == nil {
		return
	}
	l := s.line(m[1])
	if l == nil {
		return
	}
	l.Registered, l.Waiting = registeredWord(fields["Registration_State"]), truth(fields["Message_Waiting"])
	l.Number = number(first(fields, "User_ID", "Extension", "Registration_Name"))
	for _, call := range []string{"Call_1_", "Call_2_"} { // an ATA has its calls in the line's own group
		if fields[call+"State"] != "" {
			l.add(callOf(fields, call))
			s.stream(fields, call)
		}
	}
}

// line is the extension of that number, made where it is new.
func (s *Status) line(ext string) *StatusLine {
	n, err := strconv.Atoi(ext)
	if err != nil || n < 1 || n > maxExtensions {
		return nil
	}
	for i := range s.Lines {
		if s.Lines[i].Ext == n {
			return &s.Lines[i]
		}
	}
	s.Lines = append(s.Lines, StatusLine{Ext: n, Line: presence.Line{State: presence.LineIdle}})
	return &s.Lines[len(s.Lines)-1]
}

// add keeps the strongest call of the line.
func (l *StatusLine) add(call presence.Line) {
	if rank(call) > rank(l.Line) {
		l.Line = call
	}
}

func rank(l presence.Line) int {
	states := []presence.LineState{presence.LineIdle, presence.LineTrying, presence.LineProceeding, presence.LineEarly, presence.LineConfirmed}
	n := 2 * slices.Index(states, l.State)
	if !l.Held {
		n++
	}
	return n
}

// callOf reads one call. No Service and Disabled are from a real profile; the
// other words are the field's usual ones (unsure). A word that is not here is a call.
func callOf(fields map[string]string, prefix string) presence.Line {
	outgoing := upper(fields[prefix+"Type"]) == "OUTBOUND"
	held := truth(fields[prefix+"Remote_Hold"])
	switch strings.ReplaceAll(upper(first(fields, prefix+"Call_State", prefix+"State")), " ", "") {
	case "", "IDLE", "NOSERVICE", "DISABLED", "INVALID", "ONHOOK":
		return presence.Line{State: presence.LineIdle}
	case "DIALING", "OFFHOOK", "CALLING", "DIALTONE":
		return presence.Line{State: presence.LineTrying, Outgoing: true}
	case "PROCEEDING", "PROGRESSING":
		return presence.Line{State: presence.LineProceeding, Outgoing: true}
	case "RINGBACK":
		return presence.Line{State: presence.LineEarly, Outgoing: true}
	case "RINGING", "ALERTING", "ANSWERING":
		return presence.Line{State: presence.LineEarly, Outgoing: outgoing}
	case "HOLD", "HOLDING", "ONHOLD":
		return presence.Line{State: presence.LineConfirmed, Held: true, Outgoing: outgoing}
	}
	return presence.Line{State: presence.LineConfirmed, Held: held != nil && *held, Outgoing: outgoing}
}

// stream takes over what a call counts of its audio.
func (s *Status) stream(fields map[string]string, prefix string) {
	l := callOf(fields, prefix)
	if l.State != presence.LineConfirmed || l.Held || len(s.Streams) == maxExtensions {
		return
	}
	s.Streams = append(s.Streams, presence.Stream{
		Active: true, Codec: first(fields, prefix+"Decoder", prefix+"Encoder"),
		Sent: count(fields[prefix+"Packets_Sent"]), Received: count(fields[prefix+"Packets_Recv"]), Lost: count(fields[prefix+"Packets_Lost"]),
		JitterMS: between(strings.TrimSuffix(fields[prefix+"Jitter"], " ms"), 0, 60_000),
	})
}

// registeredWord reads Registration_State. Failed and Not Registered are from a
// real profile, Registered and Online are what it says otherwise (unsure); an
// extension that is switched off tells nothing.
func registeredWord(s string) *bool {
	yes, no := true, false
	switch upper(s) {
	case "REGISTERED", "ONLINE":
		return &yes
	case "FAILED", "NOT REGISTERED", "UNREGISTERED", "OFFLINE", "REGISTRATION FAILED":
		return &no
	}
	return nil
}

// Registration is that of the extensions in use; nil where none tells it.
func (s Status) Registration() *presence.Registration {
	var r *presence.Registration
	for _, l := range s.Lines {
		if l.Registered != nil {
			if r == nil {
				r = &presence.Registration{}
			}
			r.Registered = r.Registered || *l.Registered
		}
	}
	return r
}

// Messages is the waiting indication of the extensions in use.
func (s Status) Messages() *presence.Messages {
	var m *presence.Messages
	for _, l := range s.Lines {
		if l.Waiting != nil && l.Registered != nil {
			if m == nil {
				m = &presence.Messages{}
			}
			m.Waiting = m.Waiting || *l.Waiting
		}
	}
	return m
}

// Calls is what the extensions say. The page tells no numbers, as a rule: known
// stands in for the first extension's, as what the phone is configured for.
func (s Status) Calls(known string) *presence.Calls {
	if len(s.Lines) == 0 {
		return nil
	}
	calls := &presence.Calls{Exact: true}
	for i, l := range s.Lines {
		line := l.Line
		if line.Number = l.Number; line.Number == "" && i == 0 {
			line.Number = known
		}
		if line.Number != "" || line.State != presence.LineIdle {
			calls.Lines = append(calls.Lines, line)
		}
	}
	return calls
}

func first(fields map[string]string, names ...string) string {
	for _, n := range names {
		if v := fields[n]; v != "" {
			return v
		}
	}
	return ""
}

func upper(s string) string { return strings.ToUpper(strings.TrimSpace(s)) }
