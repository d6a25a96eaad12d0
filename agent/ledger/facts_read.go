package ledger

import (
	"net/netip"

	"pilotlight/agent/presence"
)

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
	case 20:
		is.Neighbour = &presence.Neighbour{}
		return readNeighbour(is.Neighbour, f.b)
	case 21:
		is.Ethernet = &presence.Ethernet{}
		return readEthernet(is.Ethernet, f.b)
	case 22:
		is.Log = &presence.Log{}
		return readLog(is.Log, f.b)
	case 23:
		is.Screen = &presence.Screen{}
		return readScreen(is.Screen, f.b)
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
		case 9:
			v.Addressless = f.bool()
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
		case 9:
			v.AvgMOSLQK = f.float()
		case 10:
			v.MinMOSLQK = f.float()
		case 11:
			v.MaxJitterMS = f.float()
		case 12:
			v.Concealed = f.float()
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

func readNeighbour(v *presence.Neighbour, b []byte) error {
	return read(b, func(f field) (err error) {
		switch f.num {
		case 1:
			v.Switch = f.string()
		case 2:
			v.Port = f.string()
		case 3:
			v.Address, err = f.addr()
		}
		return err
	})
}

func readEthernet(v *presence.Ethernet, b []byte) error {
	return read(b, func(f field) error {
		if f.num != 1 {
			return nil
		}
		var p presence.EthernetPort
		err := readEthernetPort(&p, f.b)
		v.Ports = append(v.Ports, p)
		return err
	})
}

func readEthernetPort(v *presence.EthernetPort, b []byte) error {
	return read(b, func(f field) error {
		switch f.num {
		case 1:
			v.Name = f.string()
		case 2:
			v.Speed = f.string()
		case 3:
			v.Sent = f.n
		case 4:
			v.Received = f.n
		case 5:
			v.Errors = f.n
		}
		return nil
	})
}

func readLog(v *presence.Log, b []byte) error {
	return read(b, func(f field) error {
		if f.num == 1 {
			v.Lines = append(v.Lines, f.string())
		}
		return nil
	})
}

func readScreen(v *presence.Screen, b []byte) error {
	return read(b, func(f field) error {
		switch f.num {
		case 1:
			v.Title = f.string()
		case 2:
			v.Prompt = f.string()
		case 3:
			v.Notify = f.string()
		}
		return nil
	})
}
