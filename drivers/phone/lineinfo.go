package phone

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"pilotlight/agent/presence"
)

// The pages of calls, which ask for the phone's user (8800 administration guide,
// troubleshooting). Names and values beyond the guide's samples are unsure.
const (
	pathLines = "/CGI/Java/LineInfo"
	pathCalls = "/CGI/Java/CallInfo"
	pathMode  = "/CGI/Java/ModeInfo"

	rootLines = "CiscoIPPhoneLineInfo"
	rootCalls = "CiscoIPPhoneCallLineInfo"
	rootMode  = "CiscoIPPhoneModeInfo"
	rootError = "CiscoIPPhoneError"
)

// keyOfLine is the LineType of a key that is a line; 2 is a speed dial, 21 one
// with a lamp for somebody else's line.
const keyOfLine = 9

// maxKeys is what is read of a phone's keys: an 8865 with three key expansion
// modules has 118.
const maxKeys = 128

// LineInfo is the typed view of LineInfo: every key of the phone.
type LineInfo struct {
	Keys []LineKey
}

// LineKey is one programmable key.
type LineKey struct {
	Type    int
	Number  string
	Icon    string // as the phone words it
	Waiting *bool  // messages on that line; nil: not told
	IsLine  bool
	Line    presence.Line // where IsLine
}

// ParseLineInfo reads /CGI/Java/LineInfo. Only keys that are lines are this
// phone's own calls: a lamp for a neighbour's line is not.
func ParseLineInfo(body []byte, contentType string) (LineInfo, error) {
	root, err := rooted(body, contentType, rootLines)
	if err != nil {
		return LineInfo{}, err
	}
	var info LineInfo
	for _, c := range root.children {
		if c.name != "CiscoIPPhoneLines" || len(info.Keys) == maxKeys {
			continue
		}
		k := LineKey{Number: number(c.child("lineDirNum", "LineDirNum")), Icon: c.child("LineIconState"),
			Waiting: truth(c.child("MessageWaiting"))}
		k.Type, _ = strconv.Atoi(c.child("LineType"))
		if k.IsLine = k.Type == keyOfLine; k.IsLine {
			k.Line = lineByIcon(k.Icon)
			k.Line.Number = k.Number
		}
		info.Keys = append(info.Keys, k)
	}
	return info, nil
}

// Calls is what the keys say of this phone's calls; nil where it has no line
// key, or one without a state: that tells nothing, and idle would be a guess.
func (i *LineInfo) Calls() *presence.Calls {
	if i == nil {
		return nil
	}
	var calls *presence.Calls
	for _, k := range i.Keys {
		if !k.IsLine {
			continue
		}
		if k.Icon == "" {
			return nil
		}
		if calls == nil {
			calls = &presence.Calls{Exact: true}
		}
		calls.Lines = append(calls.Lines, k.Line)
	}
	return calls
}

// Messages is the waiting indication of all lines; nil where no line tells it.
func (i LineInfo) Messages() *presence.Messages {
	var m *presence.Messages
	for _, k := range i.Keys {
		if k.IsLine && k.Waiting != nil {
			if m == nil {
				m = &presence.Messages{}
			}
			m.Waiting = m.Waiting || *k.Waiting
		}
	}
	return m
}

// Numbers are the directory numbers of the line keys, in the order of the keys.
func (i LineInfo) Numbers() []string {
	var all []string
	for _, k := range i.Keys {
		if k.IsLine && k.Number != "" && !slices.Contains(all, k.Number) {
			all = append(all, k.Number)
		}
	}
	return all
}

// known reports whether each line's icon is a word that is known.
func (i LineInfo) known() bool {
	return !slices.ContainsFunc(i.Keys, func(k LineKey) bool { return !k.known() })
}

func (k LineKey) known() bool { return !k.IsLine || k.Icon == "" || knownIcon(k.Icon) }

// lineByIcon gives the state of a line by the icon of its key. ONHOOK and
// CONNECTED are from Cisco's sample; the others are the words of the phone's own
// call states (unsure). A word that is not here is a call: busy is the safer error.
func lineByIcon(icon string) presence.Line {
	switch upper(icon) {
	case "":
		return presence.Line{State: presence.LineUnknown}
	case "ONHOOK", "ON":
		return presence.Line{State: presence.LineIdle}
	case "OFFHOOK", "DIALING", "WAITINGFORDIGITS":
		return presence.Line{State: presence.LineTrying, Outgoing: true}
	case "PROCEED":
		return presence.Line{State: presence.LineProceeding, Outgoing: true}
	case "RINGOUT":
		return presence.Line{State: presence.LineEarly, Outgoing: true}
	case "RINGIN":
		return presence.Line{State: presence.LineEarly}
	case "HOLD", "REMHOLD", "HOLDREVERT":
		return presence.Line{State: presence.LineConfirmed, Held: true}
	case "REMINUSE":
		return presence.Line{State: presence.LineConfirmed, Elsewhere: true}
	}
	return presence.Line{State: presence.LineConfirmed}
}

// knownIcon reports whether lineByIcon knows the word, and does not only suppose
// a call.
func knownIcon(icon string) bool {
	switch upper(icon) {
	case "CONNECTED", "CONFERENCE", "RESUME":
		return true
	}
	l := lineByIcon(icon)
	return l.State != presence.LineConfirmed || l.Held || l.Elsewhere
}

// CallInfo is the typed view of CallInfo: the calls of one line. Who the far
// side is stays on the page.
type CallInfo struct {
	Number string
	Calls  []CallState
}

// CallState is one call.
type CallState struct {
	State, Type    string // as the phone words them
	Outgoing, Held bool
	Line           presence.LineState
}

// ParseCallInfo reads /CGI/Java/CallInfo<n>.
func ParseCallInfo(body []byte, contentType string) (CallInfo, error) {
	root, err := rooted(body, contentType, rootCalls)
	if err != nil {
		return CallInfo{}, err
	}
	info := CallInfo{Number: number(root.child("LineDirNum", "lineDirNum"))}
	for _, c := range root.children {
		if c.name != "CiscoIPPhoneCallInfo" || len(info.Calls) == maxKeys {
			continue
		}
		call := CallState{State: c.child("CallState"), Type: c.child("CallType")}
		l := lineByIcon(call.State)
		call.Line, call.Held, call.Outgoing = l.State, l.Held, l.Outgoing || upper(call.Type) == "OUTBOUND"
		info.Calls = append(info.Calls, call)
	}
	return info, nil
}

// strongest is the line's state by its strongest call; idle where it has none.
func (i CallInfo) strongest(number string) presence.Line {
	line := presence.Line{State: presence.LineIdle}
	for _, c := range i.Calls {
		if l := (presence.Line{State: c.Line, Held: c.Held, Outgoing: c.Outgoing}); rank(l) > rank(line) {
			line = l
		}
	}
	line.Number = number
	return line
}

// ModeInfo is the typed view of ModeInfo: what stands on the screen.
type ModeInfo struct {
	Title, Prompt, Notify string
}

// ParseModeInfo reads /CGI/Java/ModeInfo.
func ParseModeInfo(body []byte, contentType string) (ModeInfo, error) {
	root, err := rooted(body, contentType, rootMode)
	if err != nil {
		return ModeInfo{}, err
	}
	return ModeInfo{Title: root.child("PlaneTitle"), Prompt: root.child("Prompt"), Notify: root.child("Notify")}, nil
}

// PhoneError is a phone's own error, under any status: 4 is a user that it does not
// know, or an Authentication URL that it cannot reach (Application Development Notes,
// CiscoIPPhoneError). The other numbers are no word on the user.
type PhoneError struct{ Number int }

// errorWords are what the other numbers mean, by a public imitation of a phone (unsure).
var errorWords = map[int]string{1: "cannot parse", 2: "cannot frame its answer", 3: "has an internal error", 5: "has trouble with its network", 6: "ran out of time"}

// Error says what it means, and where it can be acted on what to do.
func (e *PhoneError) Error() string {
	if e.Number == 4 {
		return adviceUser
	}
	says := fmt.Sprintf("says CiscoIPPhoneError %d", e.Number)
	if w := errorWords[e.Number]; w != "" {
		says += " (" + w + ")"
	}
	return says
}

// refusesUser reports whether a failed exchange, in which our user was shown, says that
// the phone does not let it in.
func refusesUser(err error) bool {
	own, is := errors.AsType[*PhoneError](err)
	f := faultIn(err)
	return is && own.Number == 4 || f != nil && f.denied()
}

// phoneError is the error in a body, or nil.
func phoneError(body []byte, contentType string) *PhoneError {
	if !bytes.Contains(body, []byte(rootError)) {
		return nil
	}
	_, err := rooted(body, contentType, rootError)
	own, _ := errors.AsType[*PhoneError](err)
	return own
}

// rooted reads a document that must have that root element.
func rooted(body []byte, contentType, root string) (element, error) {
	e, err := parseTree(body, contentType, maxBody, maxElements*2, nil)
	switch {
	case err != nil:
		return element{}, err
	case e.name == rootError:
		n, _ := strconv.Atoi(e.attr("Number"))
		return element{}, &PhoneError{n}
	case e.name != root:
		return element{}, fmt.Errorf("a page whose root is %s, where %s was asked for", clip(e.name, 40), root)
	}
	return e, nil
}
