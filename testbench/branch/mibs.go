package branch

import (
	"strings"

	"pilotlight/testbench/branch/internal/snmpd"
)

// Where things are: IF-MIB, BRIDGE-MIB, ENTITY-MIB, POWER-ETHERNET-MIB,
// LLDP-MIB, LLDP-EXT-MED-MIB and Cisco's CDP, VLAN-MEMBERSHIP and
// POWER-ETHERNET-EXT.
var (
	oidSystem       = mustOID("1.3.6.1.2.1.1")
	oidStack        = mustOID("1.3.6.1.4.1.9.1.1208")
	oidInterfaces   = mustOID("1.3.6.1.2.1.2")
	oidIfEntry      = mustOID("1.3.6.1.2.1.2.2.1")
	oidIfXEntry     = mustOID("1.3.6.1.2.1.31.1.1.1")
	oidBasePort     = mustOID("1.3.6.1.2.1.17.1.4.1")
	oidEntity       = mustOID("1.3.6.1.2.1.47.1.1.1.1")
	oidPsePort      = mustOID("1.3.6.1.2.1.105.1.1.1")
	oidMainPse      = mustOID("1.3.6.1.2.1.105.1.3.1.1")
	oidCDPCache     = mustOID("1.3.6.1.4.1.9.9.23.1.2.1.1")
	oidCDPGlobal    = mustOID("1.3.6.1.4.1.9.9.23.1.3")
	oidVMMembership = mustOID("1.3.6.1.4.1.9.9.68.1.2.2.1")
	oidVoiceVLAN    = mustOID("1.3.6.1.4.1.9.9.68.1.5.1.1")
	oidExtPsePort   = mustOID("1.3.6.1.4.1.9.9.402.1.2.1")
	oidLLDPStats    = mustOID("1.0.8802.1.1.2.1.2")
	oidLLDPLocal    = mustOID("1.0.8802.1.1.2.1.3.7.1")
	oidLLDPRemote   = mustOID("1.0.8802.1.1.2.1.4.1.1")
	oidLLDPAddress  = mustOID("1.0.8802.1.1.2.1.4.2.1")
	oidMEDCaps      = mustOID("1.0.8802.1.1.2.1.5.4795.1.3.1.1")
	oidMEDPolicy    = mustOID("1.0.8802.1.1.2.1.5.4795.1.3.2.1")
	oidMEDInventory = mustOID("1.0.8802.1.1.2.1.5.4795.1.3.3.1")
)

// mustOID is for the constants above.
func mustOID(s string) snmpd.OID {
	o, err := snmpd.ParseOID(s)
	if err != nil {
		panic(err)
	}
	return o
}

// Values of LLDP-MIB and LLDP-EXT-MED-MIB.
const (
	chassisNetworkAddress = 5
	portLocal             = 7
	bridgeAndTelephone    = "\x24"
	medEndpointClass3     = 3
)

// lldp is a phone that speaks LLDP-MED, in the form of a Cisco phone behind a
// Catalyst: the chassis is its address, the MAC address is in the port id, and
// the local port is a bridge port, not an ifIndex.
func (s *accessSwitch) lldp(r *rows, at port, p neighbor) {
	x := []uint32{0, at.bridgePort(), uint32(p.joined + 1)}
	address := p.announced().AsSlice()
	r.add(oidLLDPRemote, 4, snmpd.Int(chassisNetworkAddress), x...)
	r.add(oidLLDPRemote, 5, snmpd.Octets("\x01"+string(address)), x...)
	r.add(oidLLDPRemote, 6, snmpd.Int(portLocal), x...)
	r.add(oidLLDPRemote, 7, snmpd.Octets(p.mac+":P1"), x...)
	r.add(oidLLDPRemote, 8, snmpd.Octets("SW PORT"), x...)
	r.add(oidLLDPRemote, 9, snmpd.Octets(p.Name), x...)
	r.add(oidLLDPRemote, 10, snmpd.Octets(p.platform+",V1, "+p.loaded()), x...)
	r.add(oidLLDPRemote, 11, snmpd.Octets(bridgeAndTelephone), x...)
	r.add(oidLLDPRemote, 12, snmpd.Octets(bridgeAndTelephone), x...)
	if !p.announced().IsUnspecified() {
		where := append(append([]uint32{}, x...), 1, 4) // ipV4, four octets, and the octets
		for _, o := range address {
			where = append(where, uint32(o))
		}
		r.add(oidLLDPAddress, 3, snmpd.Int(2), where...)
		r.add(oidLLDPAddress, 4, snmpd.Int(1), where...)
	}
	r.add(oidMEDCaps, 1, snmpd.Octets("\xec"), x...)
	r.add(oidMEDCaps, 2, snmpd.Octets("\xec"), x...)
	r.add(oidMEDCaps, 3, snmpd.Int(medEndpointClass3), x...)
	voice := append(append([]uint32{}, x...), 1, 1) // as IOS writes the index
	r.add(oidMEDPolicy, 2, snmpd.Int(voiceVLAN), voice...)
	r.add(oidMEDPolicy, 3, snmpd.Int(5), voice...)
	r.add(oidMEDPolicy, 4, snmpd.Int(46), voice...)
	for i, v := range []string{"1", strings.TrimSuffix(p.appLoad, ".sbn"), p.loaded(), p.serial(), "Cisco Systems, Inc.", p.product, ""} {
		r.add(oidMEDInventory, uint32(i+1), snmpd.Octets(v), x...)
	}
}
