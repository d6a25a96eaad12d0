package branch

import (
	"strings"
	"testing"
)

func TestAPhoneMovesToAnotherPort(t *testing.T) {
	b := start(t, Options{Phones: 4, Speed: 5})
	g := manager(t, b.Switch(), "public")
	p := b.Phones()[3]
	must(t, b.Call(p.Name, "alice"))
	must(t, b.Answer("alice"))
	must(t, b.Move(p.Name, "gi1/0/30"))
	if now := b.Phones()[3]; now.SwitchPort != "Gi1/0/30" {
		t.Errorf("it hangs on %s", now.SwitchPort)
	}
	link, power := walk(t, g, operStatus), walk(t, g, poeState)
	if link["10104"] != down || link["10130"] != up || power["1.4"] != poeSearching || power["1.30"] != poeDelivering {
		t.Errorf("links %v and %v, power %v and %v", link["10104"], link["10130"], power["1.4"], power["1.30"])
	}
	if alias := walk(t, g, "1.3.6.1.2.1.31.1.1.1.18"); text(alias["10104"]) != p.DisplayName || text(alias["10130"]) != "" {
		t.Errorf("what the ports are called: %q and %q; nobody configured that anew", alias["10104"], alias["10130"])
	}
	if !b.Truth()[p.Name].Booting {
		t.Error("it does not boot")
	}
	if ids := walk(t, g, cdpID); text(ids["10104.1"]) != p.Name || ids["10130.2"] != nil {
		t.Errorf("CDP knew at once: %q and %q", ids["10104.1"], ids["10130.2"])
	}
	eventually(t, "CDP lists it at its new port", func() bool { return text(walk(t, g, cdpID)["10130.2"]) == p.Name })
	eventually(t, "and not at the old one", func() bool { return walk(t, g, cdpID)["10104.1"] == nil })
	if l := walk(t, g, lldpName); p.Model == "CP-8851" && text(l["0.30.2"]) != p.Name {
		t.Errorf("LLDP: %v", l)
	}
	eventually(t, "it is up", func() bool { return !b.Truth()[p.Name].Booting })
	if port := newPages(t).must(t, p, "/PortInformationX?1"); port["CDPNeighborPort"] != "GigabitEthernet1/0/30" {
		t.Errorf("its own word: %v", port)
	}
	eventually(t, "its call is over", func() bool { return b.Truth()[p.Name].Doing == Idle })
}

func TestAMoveTakesAFreePortAndNoOther(t *testing.T) {
	b := start(t, Options{Phones: 48})
	for _, tc := range []struct{ phone, port, error, at string }{
		{"alice", "Gi1/0/2", "is the port of " + b.Phones()[1].Name, ""},
		{"alice", "Gi9/0/1", "no port", ""},
		{"alice", FreePort, "", "Gi2/0/1"}, // the switch has 48 ports for as many phones, and so there is a second one
		{"bob", FreePort, "", "Gi1/0/1"},
		{"bob", "GigabitEthernet2/0/48", "", "Gi2/0/48"}, // while it boots
		{"nobody", FreePort, "no phone", ""},
	} {
		err := b.Move(tc.phone, tc.port)
		if tc.error != "" {
			if err == nil || !strings.Contains(err.Error(), tc.error) {
				t.Errorf("%s to %s: %v, want %s", tc.phone, tc.port, err, tc.error)
			}
			continue
		}
		must(t, err)
		if p, _ := b.phone(tc.phone); p.at.short() != tc.at {
			t.Errorf("%s is at %s, want %s", tc.phone, p.at.short(), tc.at)
		}
	}
	must(t, b.Unplug("carol"))
	must(t, b.Move("carol", FreePort))
	if s := b.Truth()[b.Phones()[2].Name]; !s.Booting || s.Unplugged {
		t.Errorf("moved while it was unplugged: %+v", s)
	}
}

func TestEverySwitchHasAFreePort(t *testing.T) {
	for _, phones := range []int{1, 47, 48, 96, phonesPerSwitch, phonesPerSwitch + 1, 1000} {
		b, err := build(Options{Phones: phones, Speed: 1})
		must(t, err)
		for _, s := range b.switches {
			if _, err := s.free(FreePort); err != nil || s.members > membersPerSwitch {
				t.Errorf("%d phones, %s with %d members: %v", phones, s.Name, s.members, err)
			}
		}
	}
}
