package ledger

import (
	"net/netip"
	"slices"

	"pilotlight/agent/presence"
)

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

// readFact reads one of the fields that writeFacts wrote.
func readFact(is *presence.Facts, f field) error {
	switch f.num {
	case 10:
		is.Identity = &presence.Identity{}
		return readIdentity(is.Identity, f.b)
	case 11:
		is.Calls = &presence.Calls{}
		return readCalls(is.Calls, f.b)
	case 12:
		is.Reach = &presence.Reach{}
		return readReach(is.Reach, f.b)
	case 13:
		is.Registration = &presence.Registration{}
		return readRegistration(is.Registration, f.b)
	case 14:
		is.Port = &presence.Port{}
		return readPort(is.Port, f.b)
	case 15:
		is.Power = &presence.Power{}
		return readPower(is.Power, f.b)
	case 16:
		is.Streams = &presence.Streams{}
		return read(f.b, func(f field) error {
			if f.num != 1 {
				return nil
			}
			var s presence.Stream
			err := readStream(&s, f.b)
			is.Streams.List = append(is.Streams.List, s)
			return err
		})
	case 17:
		is.Messages = &presence.Messages{}
		return readMessages(is.Messages, f.b)
	case 18:
		is.Abilities = &presence.Abilities{}
		return readAbilities(is.Abilities, f.b)
	case 19:
		is.Person = &presence.Person{}
		return readPerson(is.Person, f.b)
	}
	return nil
}

func readIdentity(v *presence.Identity, b []byte) error {
	return read(b, func(f field) (err error) {
		switch f.num {
		case 1:
			v.Model = f.string()
		case 2:
			v.Serial = f.string()
		case 3:
			v.Firmware = f.string()
		case 4:
			v.MAC = f.string()
		case 5:
			v.Address, err = f.addr()
		case 6:
			v.Lines = append(v.Lines, f.string())
		case 7:
			v.Description = f.string()
		}
		return err
	})
}

func readCalls(v *presence.Calls, b []byte) error {
	return read(b, func(f field) error {
		switch f.num {
		case 1:
			v.Exact = f.bool()
		case 2:
			var l presence.Line
			err := readLine(&l, f.b)
			v.Lines = append(v.Lines, l)
			return err
		}
		return nil
	})
}

func readLine(v *presence.Line, b []byte) error {
	return read(b, func(f field) error {
		switch f.num {
		case 1:
			v.Number = f.string()
		case 2:
			v.State = presence.LineState(f.string())
		case 3:
			v.Held = f.bool()
		case 4:
			v.Elsewhere = f.bool()
		case 5:
			a, err := f.addr()
			v.Sites = append(v.Sites, a)
			return err
		case 6:
			v.Outgoing = f.bool()
		}
		return nil
	})
}

func readReach(v *presence.Reach, b []byte) error {
	return read(b, func(f field) error {
		switch f.num {
		case 1:
			v.Outcome = presence.ReachOutcome(f.string())
		case 2:
			v.Misses = f.count()
		case 3:
			v.Via = f.string()
		case 4:
			v.Detail = f.string()
		}
		return nil
	})
}

func readRegistration(v *presence.Registration, b []byte) error {
	return read(b, func(f field) error {
		switch f.num {
		case 1:
			v.Registered = f.bool()
		case 2:
			v.Server = f.string()
		case 3:
			v.Survivable = f.bool()
		}
		return nil
	})
}

func readPort(v *presence.Port, b []byte) error {
	return read(b, func(f field) error {
		switch f.num {
		case 1:
			v.Switch = f.string()
		case 2:
			v.Name = f.string()
		case 3:
			v.VLAN = f.count()
		case 4:
			v.LinkUp = f.bool()
		case 5:
			v.LinkKnown = f.bool()
		case 6:
			v.AdminDown = f.bool()
		case 7:
			v.Speed = f.n
		case 8:
			v.Neighbour = f.bool()
		}
		return nil
	})
}

func readPower(v *presence.Power, b []byte) error {
	return read(b, func(f field) error {
		switch f.num {
		case 1:
			v.State = presence.PowerState(f.string())
		case 2:
			v.Watts = f.float()
		case 3:
			v.Known = f.bool()
		}
		return nil
	})
}

func readStream(v *presence.Stream, b []byte) error {
	return read(b, func(f field) (err error) {
		switch f.num {
		case 1:
			v.Active = f.bool()
		case 2:
			v.Codec = f.string()
		case 3:
			v.Remote, err = netip.ParseAddrPort(f.string())
		case 4:
			v.Sent = f.n
		case 5:
			v.Received = f.n
		case 6:
			v.Lost = f.n
		case 7:
			v.JitterMS = f.float()
		case 8:
			v.MOSLQK = f.float()
		}
		return err
	})
}

func readMessages(v *presence.Messages, b []byte) error {
	return read(b, func(f field) error {
		switch f.num {
		case 1:
			v.Waiting = f.bool()
		case 2:
			v.New = f.count()
		}
		return nil
	})
}

func readAbilities(v *presence.Abilities, b []byte) error {
	return read(b, func(f field) error {
		switch f.num {
		case 1:
			v.Audio = f.bool()
		case 2:
			v.Video = f.bool()
		case 3:
			v.IM = f.bool()
		case 4:
			v.WebCollaboration = f.bool()
		}
		return nil
	})
}

func readPerson(v *presence.Person, b []byte) error {
	return read(b, func(f field) error {
		switch f.num {
		case 1:
			v.Name = f.string()
		case 2:
			v.Devices = append(v.Devices, f.string())
		case 3:
			v.Lines = append(v.Lines, f.string())
		}
		return nil
	})
}

// sameFacts reports whether two observations of one source say the same, apart
// from numbers that drift by themselves: counters, jitter, watts, how fast a
// device answers, and how often a silent one was asked once that is often enough.
func sameFacts(a, b presence.Facts) bool {
	return steady(a.Identity, b.Identity, func(a, b presence.Identity) bool {
		return a.Model == b.Model && a.Serial == b.Serial && a.Firmware == b.Firmware && a.MAC == b.MAC &&
			a.Address == b.Address && a.Description == b.Description && slices.Equal(a.Lines, b.Lines)
	}) && steady(a.Calls, b.Calls, func(a, b presence.Calls) bool {
		return a.Exact == b.Exact && slices.EqualFunc(a.Lines, b.Lines, func(a, b presence.Line) bool {
			return a.Number == b.Number && a.State == b.State && a.Held == b.Held && a.Outgoing == b.Outgoing &&
				a.Elsewhere == b.Elsewhere && slices.Equal(a.Sites, b.Sites)
		})
	}) && steady(a.Reach, b.Reach, func(a, b presence.Reach) bool {
		a.Misses, b.Misses = min(a.Misses, presence.Misses), min(b.Misses, presence.Misses)
		if a.Outcome == presence.Answered && b.Outcome == a.Outcome {
			a.Detail, b.Detail = "", "" // nothing to explain but the round trip
		}
		return a == b
	}) && equal(a.Registration, b.Registration) && equal(a.Port, b.Port) &&
		equal(a.Messages, b.Messages) && equal(a.Abilities, b.Abilities) &&
		steady(a.Power, b.Power, func(a, b presence.Power) bool { return a.State == b.State && a.Known == b.Known }) &&
		steady(a.Streams, b.Streams, func(a, b presence.Streams) bool {
			return slices.EqualFunc(a.List, b.List, func(a, b presence.Stream) bool {
				return a.Active == b.Active && a.Codec == b.Codec && a.Remote == b.Remote
			})
		}) && steady(a.Person, b.Person, func(a, b presence.Person) bool {
		return a.Name == b.Name && slices.Equal(a.Devices, b.Devices) && slices.Equal(a.Lines, b.Lines)
	})
}

// sameNumbers compares what sameFacts leaves out, once that has found no difference.
func sameNumbers(a, b presence.Facts) bool {
	return equal(a.Power, b.Power) && equal(a.Reach, b.Reach) && steady(a.Streams, b.Streams, func(a, b presence.Streams) bool { return slices.Equal(a.List, b.List) })
}

func equal[T comparable](a, b *T) bool {
	return steady(a, b, func(a, b T) bool { return a == b })
}

func steady[T any](a, b *T, same func(a, b T) bool) bool {
	return a == b || a != nil && b != nil && same(*a, *b)
}
