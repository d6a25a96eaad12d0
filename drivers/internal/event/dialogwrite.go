package event

import (
	"slices"
	"strconv"
)

const nsDialogInfo = "urn:ietf:params:xml:ns:dialog-info"

// dialogEvents are the reasons that the schema has (RFC 4235 §4.4).
var dialogEvents = []string{"cancelled", "rejected", "replaced", "local-bye", "remote-bye", "error", "timeout"}

// RenderDialogs writes a document of RFC 4235 §4.1 in the order of its schema.
// Equal values give equal octets. A dialog without a state is a fault of the
// caller, and is left out; so is a reason or a code that the schema hasn't.
func RenderDialogs(doc DialogInfo) []byte {
	m := &markup{make([]byte, 0, 256+512*len(doc.Dialogs))}
	m.raw(xmlDeclaration + `<dialog-info xmlns="` + nsDialogInfo + `"`)
	m.number("version", uint64(doc.Version))
	state := "partial"
	if doc.Full {
		state = "full"
	}
	m.attr("state", state)
	m.attr("entity", doc.Entity)
	m.raw(">")
	for _, d := range doc.Dialogs {
		if _, live := strength[d.State]; live || d.State == Terminated {
			m.dialog(d)
		}
	}
	m.raw("</dialog-info>")
	return m.b
}

func (m *markup) dialog(d Dialog) {
	m.raw("<dialog")
	m.attr("id", d.ID)
	m.option("call-id", d.CallID)
	m.option("local-tag", d.LocalTag)
	m.option("remote-tag", d.RemoteTag)
	if d.Direction == Initiator || d.Direction == Recipient {
		m.attr("direction", string(d.Direction))
	}
	m.raw("><state")
	if slices.Contains(dialogEvents, d.Event) {
		m.attr("event", d.Event)
	}
	if d.Code >= 100 && d.Code <= 699 {
		m.attr("code", strconv.Itoa(d.Code))
	}
	m.raw(">" + string(d.State) + "</state>")
	m.party("local", d.Local)
	m.party("remote", d.Remote)
	m.raw("</dialog>")
}

// party writes one side (§4.1.6); the parameters by name, so that the octets are
// the same each time.
func (m *markup) party(name string, p Party) {
	if p.Identity == "" && p.Display == "" && p.Target == "" && len(p.Params) == 0 {
		return
	}
	m.raw("<" + name + ">")
	if p.Identity != "" || p.Display != "" {
		m.raw("<identity")
		m.option("display", p.Display)
		m.raw(">")
		m.text(p.Identity)
		m.raw("</identity>")
	}
	if p.Target != "" || len(p.Params) > 0 {
		m.raw("<target")
		m.attr("uri", p.Target)
		m.raw(">")
		var room [4]string
		names := room[:0]
		for name := range p.Params {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			m.raw("<param")
			m.attr("pname", name)
			m.attr("pval", p.Params[name])
			m.raw("/>")
		}
		m.raw("</target>")
	}
	m.raw("</" + name + ">")
}
