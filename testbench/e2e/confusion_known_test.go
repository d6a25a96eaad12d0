package e2e

import (
	"regexp"
	"slices"

	"pilotlight/testbench/branch"
	"pilotlight/testbench/product"
)

// sources are what an agent has beside the pages that are open to anybody, and the switch.
type sources struct{ callServer, user bool }

// withStatus are the phones whose one page tells each call, to anybody.
var withStatus = regexp.MustCompile(`-3PCC$|^SPA|^ATA`)

// A desktop is a phone's model, and the truth about it.
type desktop struct {
	model string
	branch.State
}

// audioOnly: the streams are all that tells of this phone's calls.
func (s sources) audioOnly(is desktop) bool {
	return !s.callServer && !is.WebDisabled && !withStatus.MatchString(is.model) && !(s.user && withKeys.MatchString(is.model))
}

// unknowable is why no source at the branch can tell the phone from one that is
// idle and well; "" where one can. It excuses nothing else: where the pages are
// closed and there is no call server, nobody says live that a phone is idle.
func (s sources) unknowable(is desktop) string {
	up := !is.Unplugged && !is.NoAddress
	switch {
	case s.callServer && is.WebDisabled && up && (is.Frozen || is.Registration == branch.Nowhere):
		return "hidden" // it has power and link, its pages are closed, and the call server tells a line idle whether it is registered or not
	case is.Word() == "ringing" && s.audioOnly(is):
		return "no audio yet" // it can be called as far as availability goes, and is idle there
	case is.Doing == branch.Dialing && is.Word() == "in-use" && s.audioOnly(is):
		return "no audio yet" // the caller's streams begin with the answer
	case is.Word() == "on-hold" && s.audioOnly(is):
		return "no audio" // who holds a call sends and hears nothing; the one who is held hears music, and is no such case
	}
	return ""
}

// lieOf says what is a lie of a phone: not what is merely unknown, or known better.
func (s sources) lieOf(is desktop, said product.Phone) lie {
	word := is.Word()
	switch {
	case said.Freshness != "live":
	case isUp(word) && said.State == "unregistered":
		return lie{aboutRegistration, "false down"}
	case isUp(word) && (said.State == "unreachable" || said.State == "unpowered"):
		return lie{aboutReach, "false down"}
	case word != "idle" && said.State == "idle" && s.unknowable(is) == "":
		return lie{subject(word), "false available: the phone is told idle"}
	}
	return lie{}
}

// lieToOwner says what is a lie of who has these phones.
func (s sources) lieToOwner(owner product.Document, desks []desktop) lie {
	if owner.Availability != "available" || owner.Freshness != "live" || s.canBeCalled(desks) {
		return lie{}
	}
	l := lie{aboutReach, "false available: its owner is told available"}
	for _, is := range desks {
		if about := subject(is.Word()); about == aboutCalls || l.about == aboutReach {
			l.about = about
		}
	}
	return l
}

// subject is what a lie is about, where this is the truth.
func subject(word string) topic {
	switch {
	case isUp(word):
		return aboutCalls
	case word == "unregistered":
		return aboutRegistration
	}
	return aboutReach
}

// canBeCalled: nobody talks on one of these phones, as far as can be known, and
// one is up. The front desk shares the boss's number, and is there for him while
// his phone is out.
func (s sources) canBeCalled(desks []desktop) bool {
	up := false
	for _, is := range desks {
		word, why := is.Word(), s.unknowable(is)
		if (word == "in-use" || word == "on-hold") && why == "" {
			if s.silent(is) {
				continue // it makes nobody available, and does not keep the other phones from it; that their keys show the line in use elsewhere is the line's matter and not a person's
			}
			return false
		}
		// Ringing is not busy yet, even if the phone hangs.
		up = up || word == "idle" || is.Doing == branch.Ringing && !is.Unplugged || why != ""
	}
	return up
}

// silent: nothing tells of this phone's calls.
func (s sources) silent(is desktop) bool { return !s.callServer && is.WebDisabled }

func isUp(word string) bool {
	return slices.Contains([]string{"idle", "ringing", "in-use", "on-hold"}, word)
}

// row names a truth in the matrix.
func (s sources) row(is desktop) string {
	word := is.Word()
	switch why := s.unknowable(is); {
	case is.NoAddress:
		word += ", no lease"
	case why != "":
		word += ", " + why
	case is.Paged:
		word += ", paged"
	}
	return word
}
