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
	referredBy    *phone // who transferred the call here
}

// dialogOf is a phone's call as its line tells it. Phones that share a line have
// a dialog each, and the local target is whose it is.
func (b *Branch) dialogOf(p *phone) dialog {
	c, l := p.call, p.leg
	d := dialog{
		id:        fmt.Sprintf("d%d", l.id),
		callID:    fmt.Sprintf("%08x-%d@%s", b.opts.Seed&0xffffffff, l.callID, primaryServer),
		local:     fmt.Sprintf("c%d", l.id),
		remote:    fmt.Sprintf("s%d", l.id),
		initiator: l.initiator,
		state:     "early",
		held:      c.heldBy == p,
		here:      p, there: c.other(p), referredBy: l.by,
	}
	if l.up {
		d.state = "confirmed"
	}
	return d
}

// ended is the last thing told of a phone's dialog: that it is over, and why. Who
// transfers a call has said goodbye to it: RFC 4235 has no word of its own for that.
func (b *Branch) ended(p, by *phone) dialog {
	d := b.dialogOf(p)
	d.state, d.held = "terminated", false
	caller := p.call.caller
	switch {
	case p.leg.up && by == p:
		d.event = "local-bye"
	case p.leg.up:
		d.event = "remote-bye"
	case by == caller, p != caller && by != p: // or another phone of the line took it
		d.event = "cancelled"
	default:
		d.event = "rejected"
	}
	return d
}

// dialogInfo is a document with the full state of a line (RFC 4235 §4.1).
func (b *Branch) dialogInfo(line string, version uint32, dialogs []dialog) []byte {
	var x bytes.Buffer
	fmt.Fprintf(&x, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n"+
		"<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"%d\" state=\"full\" entity=\"%s\">\r\n",
		version, b.uri(line))
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
	if d.referredBy != nil {
		fmt.Fprintf(x, "<referred-by>%s</referred-by>\r\n", b.uri(d.referredBy.Number))
	}
	b.writeParty(x, "local", d.here, d.held)
	b.writeParty(x, "remote", d.there, false)
	x.WriteString("</dialog>\r\n")
}

// writeParty writes one side. "+sip.rendering" is "no" while this side renders
// no media: hold (RFC 4235 §5.2, as telephones use it).
func (b *Branch) writeParty(x *bytes.Buffer, side string, p *phone, held bool) {
	fmt.Fprintf(x, "<%s><identity display=\"%s\">%s</identity>", side, escaped(p.DisplayName), b.uri(p.Number))
	uri, params := p.contact()
	fmt.Fprintf(x, "<target uri=\"%s\">", uri)
	if side == "local" {
		rendering := "yes"
		if held {
			rendering = "no"
		}
		params = append(params, [2]string{"+sip.rendering", rendering})
	}
	for _, f := range params {
		fmt.Fprintf(x, "<param pname=\"%s\" pval=\"%s\"/>", f[0], escaped(f[1]))
	}
	fmt.Fprintf(x, "</target></%s>\r\n", side)
}

func escaped(s string) string {
	var x bytes.Buffer
	xml.EscapeText(&x, []byte(s))
	return x.String()
}

// uri is a line's address of record.
func (b *Branch) uri(line string) string { return "sip:" + line + "@" + b.opts.Domain }
