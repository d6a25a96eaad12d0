package snmp

// Definition is a table as data: the OID of its row and the columns that are
// read. How an index is to be taken apart is said beside each table.
type Definition struct {
	Name    string
	Entry   OID
	Columns []uint32
}

func define(name, entry string, columns ...uint32) *Definition {
	return &Definition{Name: name, Entry: mustOID(entry), Columns: columns}
}

// Scalars of SNMPv2-MIB (RFC 3418).
const (
	SysDescr    = "1.3.6.1.2.1.1.1.0"
	SysObjectID = "1.3.6.1.2.1.1.2.0"
	SysUpTime   = "1.3.6.1.2.1.1.3.0"
	SysName     = "1.3.6.1.2.1.1.5.0"
)

// Columns of IF-MIB (RFC 2863). Index: ifIndex.
const (
	IfDescr       = 2
	IfType        = 3
	IfSpeed       = 5
	IfPhysAddress = 6
	IfAdminStatus = 7
	IfOperStatus  = 8

	IfName      = 1
	IfHighSpeed = 15
)

// The two halves of an interface.
var (
	IfTable  = define("ifTable", "1.3.6.1.2.1.2.2.1", IfDescr, IfType, IfSpeed, IfPhysAddress, IfAdminStatus, IfOperStatus)
	IfXTable = define("ifXTable", "1.3.6.1.2.1.31.1.1.1", IfName, IfHighSpeed)
)

// BRIDGE-MIB (RFC 4188): which interface a bridge port is. Index: the port.
const BasePortIfIndex = 2

// BasePortTable maps bridge ports to interfaces.
var BasePortTable = define("dot1dBasePortTable", "1.3.6.1.2.1.17.1.4.1", BasePortIfIndex)

// ENTITY-MIB (RFC 6933): names of parts. Index: entPhysicalIndex.
const EntPhysicalName = 7

// EntPhysicalTable holds the names of a device's parts.
var EntPhysicalTable = define("entPhysicalTable", "1.3.6.1.2.1.47.1.1.1.1", EntPhysicalName)

// Columns of POWER-ETHERNET-MIB (RFC 3621). Index: group, port; neither is an ifIndex.
const (
	PseAdminEnable = 3
	PseDetection   = 6
	PseClass       = 10

	// CISCO-POWER-ETHERNET-EXT-MIB augments it: milliwatts, and the part that
	// the port is. Its column 3, "device detected", is wrong on real switches.
	CpeAllocated   = 7
	CpeConsumption = 9
	CpeEntPhysical = 11
)

// Power over Ethernet.
var (
	PsePortTable    = define("pethPsePortTable", "1.3.6.1.2.1.105.1.1.1", PseAdminEnable, PseDetection, PseClass)
	CpePsePortTable = define("cpeExtPsePortTable", "1.3.6.1.4.1.9.9.402.1.2.1", CpeAllocated, CpeConsumption, CpeEntPhysical)
)

// VoiceVLAN is vmVoiceVlanId of CISCO-VLAN-MEMBERSHIP-MIB: 1 to 4094; 4096 means none.
const VoiceVLAN = 1

// VoiceVLANTable holds each port's voice VLAN. Index: ifIndex.
var VoiceVLANTable = define("vmVoiceVlanTable", "1.3.6.1.4.1.9.9.68.1.5.1.1", VoiceVLAN)

// Columns of CISCO-CDP-MIB. Index: ifIndex, a number that grows with each
// re-appearance of the neighbour and names nothing.
const (
	CdpAddress      = 4
	CdpVersion      = 5
	CdpDeviceID     = 6
	CdpPort         = 7
	CdpPlatform     = 8
	CdpCapabilities = 9
	CdpVLAN         = 14
	CdpPower        = 15 // mW
	CdpSysName      = 17
)

// CdpCacheTable holds the neighbours that speak CDP.
var CdpCacheTable = define("cdpCacheTable", "1.3.6.1.4.1.9.9.23.1.2.1.1",
	CdpAddress, CdpVersion, CdpDeviceID, CdpPort, CdpPlatform, CdpCapabilities, CdpVLAN, CdpPower, CdpSysName)

// Columns of LLDP-MIB (IEEE 802.1AB). Index of the remote tables: time mark
// (never part of a key), local port number, remote index; the local port
// number is no ifIndex. MikroTik sends the remote index alone.
const (
	LldpPortSubtype = 2
	LldpPortID      = 3
	LldpPortDescr   = 4

	LldpRemChassisSubtype = 4
	LldpRemChassis        = 5
	LldpRemPortSubtype    = 6
	LldpRemPort           = 7
	LldpRemSysName        = 9
	LldpRemSysDescr       = 10
	LldpRemCapSupported   = 11
	LldpRemCapEnabled     = 12

	LldpManSubtype = 3
)

// Link Layer Discovery Protocol. The index of lldpRemManAddrTable goes on with
// an address family, a length and the address, which is nowhere else.
var (
	LldpLocPortTable    = define("lldpLocPortTable", "1.0.8802.1.1.2.1.3.7.1", LldpPortSubtype, LldpPortID, LldpPortDescr)
	LldpRemTable        = define("lldpRemTable", "1.0.8802.1.1.2.1.4.1.1", LldpRemChassisSubtype, LldpRemChassis, LldpRemPortSubtype, LldpRemPort, LldpRemSysName, LldpRemSysDescr, LldpRemCapSupported, LldpRemCapEnabled)
	LldpRemManAddrTable = define("lldpRemManAddrTable", "1.0.8802.1.1.2.1.4.2.1", LldpManSubtype)
)

// Columns of LLDP-EXT-MED-MIB (ANSI/TIA-1057). Index: as lldpRemTable; the
// policy's goes on with the application type, a BITS written in two ways.
const (
	MedClass = 3

	MedPolicyVLAN = 2

	MedFirmware = 2
	MedSoftware = 3
	MedSerial   = 4
	MedMaker    = 5
	MedModel    = 6

	MedPower = 1 // 0.1 W
)

// LLDP for media endpoints.
var (
	MedCapTable       = define("lldpXMedRemCapabilitiesTable", "1.0.8802.1.1.2.1.5.4795.1.3.1.1", MedClass)
	MedPolicyTable    = define("lldpXMedRemMediaPolicyTable", "1.0.8802.1.1.2.1.5.4795.1.3.2.1", MedPolicyVLAN)
	MedInventoryTable = define("lldpXMedRemInventoryTable", "1.0.8802.1.1.2.1.5.4795.1.3.3.1", MedFirmware, MedSoftware, MedSerial, MedMaker, MedModel)
	MedPowerTable     = define("lldpXMedRemXPoEPDTable", "1.0.8802.1.1.2.1.5.4795.1.3.7.1", MedPower)
)
