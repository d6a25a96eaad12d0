package branch

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"time"
)

// mppCallState are the words of Call_State: No Service and Disabled are from a
// real profile, these are the usual ones.
var mppCallState = map[Doing]string{Idle: "Idle", Dialing: "Dialing", Ringing: "Ringing", InUse: "Connected", OnHold: "Hold"}

// statusPage is status.xml of the multiplatform firmware, SPA phones and ATAs: a
// flat profile in which the group tells elements of one name apart.
func (b *Branch) statusPage(p *phone, now time.Time) []byte {
	var d bytes.Buffer
	add := func(group, name, value string) {
		fmt.Fprintf(&d, "<%s group=\"Info/%s\">", name, group)
		xml.EscapeText(&d, []byte(value))
		fmt.Fprintf(&d, "</%s>\r\n", name)
	}
	d.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<flat-profile>\r\n")
	add("System_Information", "DHCP", "Enabled")
	add("System_Information", "Current_IP", p.Address)
	add("System_Information", "Host_Name", p.Name)
	add("System_Information", "Domain", b.opts.Domain)
	add("Product_Information", "Product_Name", p.product)
	add("Product_Information", "Serial_Number", p.serial())
	add("Product_Information", "Software_Version", p.loaded())
	add("Product_Information", "Hardware_Version", "V01")
	add("Product_Information", "MAC_Address", p.mac)
	add("Phone_Status", "Current_Time", now.UTC().Format("1/2/2006 15:04:05"))
	add("Phone_Status", "Operational_VLAN_ID", fmt.Sprint(voiceVLAN))
	first := "Ext_1_Status"
	if p.ata {
		first = "Line_1_Status"
	}
	registered := "Registered"
	if p.state.Registration == Nowhere {
		registered = "Failed"
	}
	add(first, "Registration_State", registered)
	add(first, "Next_Registration_In", "1720 s")
	add(first, "Message_Waiting", p.yes(p.messages > 0))
	group, prefix := "Line_1_Call_1_Status", ""
	if p.ata {
		group, prefix = first, "Call_1_"
	}
	for _, f := range b.callFields(p, now) {
		name := prefix + f[0]
		if p.ata && f[0] == "Call_State" {
			name = "Call_1_State"
		}
		add(group, name, f[1])
	}
	if !p.ata { // further extensions, which nobody uses
		for ext := 2; ext <= 4; ext++ {
			add(fmt.Sprintf("Ext_%d_Status", ext), "Registration_State", "Disabled")
			add(fmt.Sprintf("Line_%d_Call_1_Status", ext), "Call_State", "Disabled")
		}
	}
	d.WriteString("</flat-profile>\r\n")
	return d.Bytes()
}

// callFields are what the page tells of the call.
func (b *Branch) callFields(p *phone, now time.Time) [][2]string {
	sent, received := p.sound.counts(now, b.opts.Speed)
	kind, peer, codec := "", "", ""
	if c := p.call; c != nil {
		kind, peer = "Inbound", c.other(p).Number
		if p.leg.initiator {
			kind = "Outbound"
		}
		if p.leg.up {
			codec = "G722"
		}
	}
	return [][2]string{
		{"Call_State", mppCallState[p.state.Doing]}, {"Tone", "None"}, {"Encoder", codec}, {"Decoder", codec}, {"Type", kind},
		{"Remote_Hold", "No"}, {"Peer_Phone", peer},
		{"Packets_Sent", fmt.Sprint(sent)}, {"Packets_Recv", fmt.Sprint(received)}, {"Packets_Lost", "0"}, {"Jitter", "3 ms"},
	}
}
