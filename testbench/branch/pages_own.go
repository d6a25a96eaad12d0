package branch

import (
	"fmt"
	"strings"
	"time"
)

// icons are the words of LineIconState: ONHOOK and CONNECTED are the guide's, the
// others the phone's own call states.
var icons = map[Doing]string{Idle: "ONHOOK", Dialing: "RINGOUT", Ringing: "RINGIN", InUse: "CONNECTED", OnHold: "HOLD"}

// lineInUse is the icon of a shared line that another phone uses; what a phone
// shows while the other holds the call is not known, and taken to be the same.
const lineInUse = "REMINUSE"

// lineKept is the icon of a call whose call server is gone: it goes on until
// somebody hangs up. CallInfo tells it as before.
const lineKept = "PRESERVATION"

// icon is the state of a phone's own line.
func (b *Branch) icon(p *phone) string {
	if p.state.Registration != Nowhere && b.elsewhere(p) {
		return lineInUse
	}
	if p.leg.kept && p.state.Doing == InUse {
		return lineKept
	}
	return icons[p.state.Doing]
}

// linesPage is LineInfo: the phone's line, a speed dial, and a lamp for the line
// of its neighbour on the switch.
func (b *Branch) linesPage(p *phone) []byte {
	d := newDocument(p.model, "CiscoIPPhoneLineInfo")
	d.empty("Prompt", "Notify")
	d.add("Status", "null")
	key := func(kind int, number, icon, label string, line bool) {
		d.WriteString("<CiscoIPPhoneLines>\r\n")
		d.add("LineType", fmt.Sprint(kind))
		d.add("lineDirNum", number)
		d.add("MessageWaiting", strings.ToUpper(p.yes(line && p.messages > 0)))
		if line {
			d.add("RingerName", "Chirp1")
		}
		d.add("LineLabel", label)
		d.add("LineIconState", icon)
		d.WriteString("</CiscoIPPhoneLines>\r\n")
	}
	key(9, p.Number, b.icon(p), "", true)
	key(2, "9000", "ON", "Switchboard", false)
	if q := b.phones[(p.index+1)%len(b.phones)]; q != p {
		key(21, q.Number, b.icon(q), "Next door", false)
	}
	return d.end()
}

// callsPage is CallInfo of the first line.
func (b *Branch) callsPage(p *phone) []byte {
	d := newDocument(p.model, "CiscoIPPhoneCallLineInfo")
	d.empty("Prompt", "Notify")
	d.add("Status", "null")
	d.add("LineDirNum", p.Number)
	d.add("LineState", b.icon(p))
	if c := p.call; c != nil {
		kind, from, to := "INBOUND", c.other(p), p
		if p.leg.initiator {
			kind, from, to = "OUTBOUND", p, c.other(p)
		}
		d.WriteString("<CiscoIPPhoneCallInfo>\r\n")
		d.add("CallState", icons[p.state.Doing])
		d.add("CallType", kind)
		d.add("CallingPartyName", from.DisplayName)
		d.add("CallingPartyDirNum", from.Number)
		d.add("CalledPartyDirNum", to.Number)
		d.add("CallReference", fmt.Sprint(c.number))
		d.add("CallStatus", "null")
		d.WriteString("</CiscoIPPhoneCallInfo>\r\n")
	}
	return d.end()
}

// modePage is ModeInfo; in fallback the phone shows the router's notice.
func (b *Branch) modePage(p *phone) []byte {
	d := newDocument(p.model, "CiscoIPPhoneModeInfo")
	d.add("PlaneTitle", "Home")
	d.add("PlaneFieldCount", "0")
	d.add("Prompt", "Your current options")
	notify := ""
	if p.state.Registration == WithSRST {
		notify = "CM Fallback Service Operating"
	}
	d.add("Notify", notify)
	d.add("Status", "null")
	return d.end()
}

// portPage is PortInformationX?n: the port to the switch, with the neighbour as
// the phone hears it, or the PC port.
func (b *Branch) portPage(p *phone, n int, now time.Time) []byte {
	d := newDocument(p.model, "PortInformation")
	frames := uint64(now.Sub(b.start).Seconds() * 9)
	if n == 2 {
		frames /= 7
	}
	d.add("RxtotalPkt", fmt.Sprint(frames*3/2))
	d.add("RxcrcErr", "0")
	d.add("RxalignErr", "0")
	d.add("TxlateCollision", "0")
	d.add("TxtotalGoodPkt", fmt.Sprint(frames))
	at, sw, port := "", "", ""
	if n == 1 {
		at, sw, port = p.at.sw.Address, p.at.sw.Name, p.at.long()
	}
	switch {
	case p.family == legacy:
		d.add("deviceId", sw)
		d.add("ipAddress", at)
		d.add("port", port)
	default:
		d.add("lldpFramesOutTotal", "0")
		d.add("CDPNeighborDeviceId", sw)
		d.add("CDPNeighborIP", at)
		d.add("CDPNeighborPort", port)
		d.empty("LLDPNeighborDeviceId", "LLDPNeighborIP", "LLDPNeighborPort")
	}
	d.add("PortSpeed", "1000Full")
	return d.end()
}

func (b *Branch) ethernetPage(p *phone, now time.Time) []byte {
	d := newDocument(p.model, "EthernetInformation")
	frames := uint64(now.Sub(b.start).Seconds() * 9)
	d.add("TxFrames", fmt.Sprint(frames))
	d.add("RxFrames", fmt.Sprint(frames*3/2))
	return d.end()
}

// maxNotes is how much of its log a phone shows.
const maxNotes = 12

// note puts a status message into the phone's log.
func (p *phone) note(at time.Time, text string) {
	p.notes = append(p.notes, at.UTC().Format("15:04:05")+" "+text)
	if extra := len(p.notes) - maxNotes; extra > 0 {
		p.notes = p.notes[extra:]
	}
}

// logPage is DeviceLogX: how its messages are tagged is not known.
func (b *Branch) logPage(p *phone) []byte {
	d := newDocument(p.model, "DeviceLog")
	for _, n := range p.notes {
		d.add("status", n)
	}
	return d.end()
}

// loaded is the firmware that the phone says it runs.
func (p *phone) loaded() string {
	if p.other != "" {
		return p.other
	}
	return p.load
}
