package ledger

import (
	"slices"

	"pilotlight/agent/presence"
)

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
	}) && equal(a.Neighbour, b.Neighbour) && equal(a.Screen, b.Screen) &&
		steady(a.Log, b.Log, func(a, b presence.Log) bool { return slices.Equal(a.Lines, b.Lines) }) &&
		steady(a.Ethernet, b.Ethernet, func(a, b presence.Ethernet) bool {
			return slices.EqualFunc(a.Ports, b.Ports, func(a, b presence.EthernetPort) bool { return a.Name == b.Name && a.Speed == b.Speed })
		})
}

// sameNumbers compares what sameFacts leaves out, once that has found no difference.
func sameNumbers(a, b presence.Facts) bool {
	return equal(a.Power, b.Power) && equal(a.Reach, b.Reach) && steady(a.Streams, b.Streams, func(a, b presence.Streams) bool { return slices.Equal(a.List, b.List) }) &&
		steady(a.Ethernet, b.Ethernet, func(a, b presence.Ethernet) bool { return slices.Equal(a.Ports, b.Ports) })
}

func equal[T comparable](a, b *T) bool {
	return steady(a, b, func(a, b T) bool { return a == b })
}

func steady[T any](a, b *T, same func(a, b T) bool) bool {
	return a == b || a != nil && b != nil && same(*a, *b)
}
