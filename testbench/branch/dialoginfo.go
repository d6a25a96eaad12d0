package branch

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// dialogInfoType is the content type of RFC 4235 §3.5.
const dialogInfoType = "application/dialog-info+xml"

// dialog is one dialog of a line, as the call server reports it.
type dialog struct {
	id, callID    string
	local, remote string // tags
	initiator     bool
	state, event  string // RFC 4235 §3.7.1
	held          bool   // from this side
	here, there   *phone
}

// dialogOf is the call as a phone's line sees it.
func (b *Branch) dialogOf(c *call, p *phone) dialog {
	d := dialog{
		id:        fmt.Sprintf("d%d", c.number),
		callID:    fmt.Sprintf("%08x-%d@%s", b.opts.Seed&0xffffffff, c.number, primaryServer),
		local:     fmt.Sprintf("c%d", c.number),
		remote:    fmt.Sprintf("s%d", c.number),
		initiator: p == c.caller,
		state:     "early",
		held:      c.heldBy == p,
		here:      p, there: c.other(p),
	}
	if !d.initiator {
		d.id, d.local, d.remote = fmt.Sprintf("e%d", c.number), fmt.Sprintf("p%d", c.number), fmt.Sprintf("t%d", c.number)
	}
	if c.answered {
		d.state = "confirmed"
	}
	return d
}

// ended is the last thing told of a dialog: that it is over, and why.
func (b *Branch) ended(c *call, p, by *phone) dialog {
	d := b.dialogOf(c, p)
	d.state, d.held = "terminated", false
	switch {
	case !c.answered && by == c.caller:
		d.event = "cancelled"
	case !c.answered:
		d.event = "rejected"
	case by == p:
		d.event = "local-bye"
	default:
		d.event = "remote-bye"
	}
	return d
}

// dialogInfo is a document with the full state of a line (RFC 4235 §4.1).
func (b *Branch) dialogInfo(p *phone, version uint32, dialogs []dialog) []byte {
	var x bytes.Buffer
	fmt.Fprintf(&x, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n"+
		"<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"%d\" state=\"full\" entity=\"%s\">\r\n",
		version, b.uri(p))
	for _, d := range dialogs {
		b.writeDialog(&x, d)
	}
	x.WriteString("</dialog-info>\r\n")
	return x.Bytes()
}

func (b *Branch) writeDialog(x *bytes.Buffer, d dialog) {
	direction := "recipient"
	if d.initiator {
		direction = "initiator"
	}
	fmt.Fprintf(x, "<dialog id=\"%s\" call-id=\"%s\" local-tag=\"%s\"", d.id, d.callID, d.local)
	fmt.Fprintf(x, " remote-tag=\"%s\" direction=\"%s\">\r\n<state", d.remote, direction)
	if d.event != "" {
		fmt.Fprintf(x, " event=\"%s\"", d.event)
	}
	fmt.Fprintf(x, ">%s</state>\r\n", d.state)
	b.writeParty(x, "local", d.here, d.held)
	b.writeParty(x, "remote", d.there, false)
	x.WriteString("</dialog>\r\n")
}

// writeParty writes one side. "+sip.rendering" is "no" while this side renders
// no media: hold (RFC 4235 §5.2, as telephones use it).
func (b *Branch) writeParty(x *bytes.Buffer, side string, p *phone, held bool) {
	var name bytes.Buffer
	xml.EscapeText(&name, []byte(p.DisplayName))
	fmt.Fprintf(x, "<%s><identity display=\"%s\">%s</identity>", side, name.String(), b.uri(p))
	fmt.Fprintf(x, "<target uri=\"sip:%s@%s:%d\">", p.Number, p.Address, p.SIPPort)
	if side == "local" {
		rendering := "yes"
		if held {
			rendering = "no"
		}
		fmt.Fprintf(x, "<param pname=\"+sip.rendering\" pval=\"%s\"/>", rendering)
	}
	fmt.Fprintf(x, "</target></%s>\r\n", side)
}

// uri is a line's address of record.
func (b *Branch) uri(p *phone) string { return "sip:" + p.Number + "@" + b.opts.Domain }
