package panel

import (
	"cmp"

	"pilotlight/agent/ledger"
	"pilotlight/agent/presence"
)

func (s shaper) phone(d *presence.Device) Phone {
	id := d.Identity
	out := Phone{
		Name: d.Name, State: cmp.Or(string(d.State), string(presence.StateUnknown)), Gone: ledger.GoneDevice(*d), Since: s.stamp(d.Since),
		Cause: cmp.Or(string(d.Cause), string(presence.CauseNotKnown)), Diagnosis: d.Diagnosis,
		Freshness: string(d.Freshness), AsOf: s.stamp(d.AsOf),
		Model: id.Model, Address: text(id.Address), MAC: id.MAC, Serial: id.Serial, Firmware: id.Firmware, Description: id.Description,
		Lines: make([]PhoneLine, len(d.Lines)), Streams: make([]PhoneStream, len(d.Streams)),
		Capabilities: abilities(d.Abilities), Owner: string(d.Owner), Because: s.because(d.Because), Evidence: s.evidence(d.Because),
		Ethernet: []PhoneEthernet{}, Log: []string{},
	}
	for i, l := range d.Lines {
		out.Lines[i] = PhoneLine{l.Number, lineState(l), l.Held, l.Outgoing, l.Elsewhere}
	}
	for i, st := range d.Streams {
		out.Streams[i] = PhoneStream{
			Active: st.Active, Codec: st.Codec, Remote: peer(st.Remote), Sent: st.Sent, Received: st.Received, Lost: st.Lost,
			JitterMS: st.JitterMS, MOS: st.MOSLQK, AvgMOS: st.AvgMOSLQK, MinMOS: st.MinMOSLQK,
			MaxJitterMS: st.MaxJitterMS, Concealed: st.Concealed,
		}
	}
	if r := d.Registration; r != nil {
		out.Registration = &PhoneRegistration{r.Registered, r.Server, r.Survivable}
	}
	if p := d.Port; p != nil {
		out.Port = &PhonePort{p.Switch, p.Name, p.VLAN, link(p), p.Speed}
	}
	if p := d.Power; p != nil {
		out.Power = &PhonePower{State: string(p.State)}
		if p.Known {
			out.Power.Watts = &p.Watts
		}
	}
	if m := d.Messages; m != nil {
		out.MessageWaiting, out.VoiceMessages = &m.Waiting, m.New
	}
	s.tellsItself(d, &out)
	return out
}

// tellsItself adds what a phone says of its own surroundings.
func (s shaper) tellsItself(d *presence.Device, out *Phone) {
	if n := d.Neighbour; n != nil {
		out.Neighbour = &PhoneNeighbour{n.Switch, n.Port, text(n.Address)}
	}
	if e := d.Ethernet; e != nil {
		for _, p := range e.Ports {
			out.Ethernet = append(out.Ethernet, PhoneEthernet{p.Name, p.Speed, p.Sent, p.Received, p.Errors})
		}
	}
	if l := d.Log; l != nil {
		out.Log = append(out.Log, l.Lines...)
	}
	if c := d.Screen; c != nil {
		out.Screen = &PhoneScreen{c.Title, c.Prompt, c.Notify}
	}
}

func (s shaper) evidence(all []presence.Evidence) []Evidence {
	list := make([]Evidence, len(all))
	for i, e := range all {
		list[i] = Evidence{e.Source, e.Says, s.stamp(e.Seen), e.Live}
	}
	return list
}
