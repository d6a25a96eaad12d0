package ledger

import "pilotlight/agent/presence"

// The numbers of the fields are on disk and never change; new ones are added.

func writeFacts(f *fields, is presence.Facts) {
	if v := is.Identity; v != nil {
		f.message(10, func(f *fields) { writeIdentity(f, *v) })
	}
	if v := is.Calls; v != nil {
		f.message(11, func(f *fields) {
			f.bool(1, v.Exact)
			for _, l := range v.Lines {
				f.message(2, func(f *fields) { writeLine(f, l) })
			}
		})
	}
	if v := is.Reach; v != nil {
		f.message(12, func(f *fields) {
			f.string(1, string(v.Outcome))
			f.int(2, int64(v.Misses))
			f.string(3, v.Via)
			f.string(4, v.Detail)
		})
	}
	if v := is.Registration; v != nil {
		f.message(13, func(f *fields) { f.bool(1, v.Registered); f.string(2, v.Server); f.bool(3, v.Survivable) })
	}
	if v := is.Port; v != nil {
		f.message(14, func(f *fields) { writePort(f, *v) })
	}
	if v := is.Power; v != nil {
		f.message(15, func(f *fields) { f.string(1, string(v.State)); f.float(2, v.Watts); f.bool(3, v.Known) })
	}
	if v := is.Streams; v != nil {
		f.message(16, func(f *fields) {
			for _, s := range v.List {
				f.message(1, func(f *fields) { writeStream(f, s) })
			}
		})
	}
	if v := is.Messages; v != nil {
		f.message(17, func(f *fields) { f.bool(1, v.Waiting); f.int(2, int64(v.New)) })
	}
	if v := is.Abilities; v != nil {
		f.message(18, func(f *fields) { writeAbilities(f, *v) })
	}
	if v := is.Person; v != nil {
		f.message(19, func(f *fields) { f.string(1, v.Name); f.strings(2, v.Devices); f.strings(3, v.Lines) })
	}
	if v := is.Neighbour; v != nil {
		f.message(20, func(f *fields) { f.string(1, v.Switch); f.string(2, v.Port); f.addr(3, v.Address) })
	}
	if v := is.Ethernet; v != nil {
		f.message(21, func(f *fields) {
			for _, p := range v.Ports {
				f.message(1, func(f *fields) { writeEthernetPort(f, p) })
			}
		})
	}
	if v := is.Log; v != nil {
		f.message(22, func(f *fields) { f.strings(1, v.Lines) })
	}
	if v := is.Screen; v != nil {
		f.message(23, func(f *fields) { f.string(1, v.Title); f.string(2, v.Prompt); f.string(3, v.Notify) })
	}
}

func writeEthernetPort(f *fields, v presence.EthernetPort) {
	f.string(1, v.Name)
	f.string(2, v.Speed)
	f.uint(3, v.Sent)
	f.uint(4, v.Received)
	f.uint(5, v.Errors)
}

func writeIdentity(f *fields, v presence.Identity) {
	f.string(1, v.Model)
	f.string(2, v.Serial)
	f.string(3, v.Firmware)
	f.string(4, v.MAC)
	f.addr(5, v.Address)
	f.strings(6, v.Lines)
	f.string(7, v.Description)
}

func writeLine(f *fields, v presence.Line) {
	f.string(1, v.Number)
	f.string(2, string(v.State))
	f.bool(3, v.Held)
	f.bool(4, v.Elsewhere)
	for _, a := range v.Sites {
		f.addr(5, a)
	}
	f.bool(6, v.Outgoing)
}

func writePort(f *fields, v presence.Port) {
	f.string(1, v.Switch)
	f.string(2, v.Name)
	f.int(3, int64(v.VLAN))
	f.bool(4, v.LinkUp)
	f.bool(5, v.LinkKnown)
	f.bool(6, v.AdminDown)
	f.uint(7, v.Speed)
	f.bool(8, v.Neighbour)
	f.bool(9, v.Addressless)
}

func writeStream(f *fields, v presence.Stream) {
	f.bool(1, v.Active)
	f.string(2, v.Codec)
	if v.Remote.IsValid() {
		f.string(3, v.Remote.String())
	}
	f.uint(4, v.Sent)
	f.uint(5, v.Received)
	f.uint(6, v.Lost)
	f.float(7, v.JitterMS)
	f.float(8, v.MOSLQK)
	f.float(9, v.AvgMOSLQK)
	f.float(10, v.MinMOSLQK)
	f.float(11, v.MaxJitterMS)
	f.float(12, v.Concealed)
}

func writeAbilities(f *fields, v presence.Abilities) {
	f.bool(1, v.Audio)
	f.bool(2, v.Video)
	f.bool(3, v.IM)
	f.bool(4, v.WebCollaboration)
}
