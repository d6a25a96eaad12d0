package lan

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"pilotlight/drivers/internal/snmp"
)

// neighbour is what a switch says of the device behind one of its ports.
type neighbour struct {
	by       string // "cdp", "lldp"
	index    uint32 // ifIndex, or none
	port     string // the port's name where there is no interface table
	seq      uint32 // cdpCacheDeviceIndex: the greater, the later it appeared
	self     string // what it calls itself
	model    string
	firmware string
	serial   string
	mac      string
	addr     netip.Addr
	noAddr   bool // it announces that it has none
	vlan     int
	watts    float64 // what it says it draws
	phone    bool
	bridge   bool // a switch or an access point
}

// selfNamed is how Cisco phones call themselves: SEP and MAC, SIP and MAC in
// old SIP loads and SPAs. Polycom phones imitate it, in lower case.
var selfNamed = regexp.MustCompile(`^(?i:(SEP|SIP))([0-9A-Fa-f]{12})(?:$|[^0-9A-Za-z])`)

// ownName splits such a name, and writes it the one way.
func ownName(s string) (name, mac string, ok bool) {
	m := selfNamed.FindStringSubmatch(s)
	if m == nil {
		return "", "", false
	}
	mac = strings.ToUpper(m[2])
	return strings.ToUpper(m[1]) + mac, mac, true
}

// CDP capabilities (CISCO-CDP-MIB, cdpCacheCapabilities), 32 bits, big-endian.
const (
	cdpRouter = 0x01
	cdpTBridg = 0x02
	cdpSwitch = 0x08
	cdpPhone  = 0x80
)

// yealink is the platform of Yealink's phones, whose CDP port is "WAN PORT" and
// which may send neither capabilities nor an id.
var yealink = regexp.MustCompile(`^(SIP-)?(T|CP|VP)[0-9]{2}`)

func cdpNeighbours(tables map[*snmp.Definition]snmp.Table) []neighbour {
	var out []neighbour
	for _, r := range tables[snmp.CdpCacheTable].Rows {
		if len(r.Index) == 2 {
			out = append(out, cdpNeighbour(r))
		}
	}
	return out
}

func cdpNeighbour(r snmp.Row) neighbour {
	n := neighbour{by: "cdp", index: r.Index[0], seq: r.Index[1], firmware: r.Cell(snmp.CdpVersion).Text()}
	id, platform, sysName := r.Cell(snmp.CdpDeviceID), r.Cell(snmp.CdpPlatform).Text(), r.Cell(snmp.CdpSysName).Text()
	n.self = id.Text()
	name, mac, own := ownName(n.self)
	if own {
		n.self, n.mac = name, mac
	} else if mac, ok := id.MAC(); ok && (!id.Printable() || len(n.self) >= 12) {
		n.self, n.mac = mac, mac // HP puts the raw MAC there
	}
	n.addr, _ = r.Cell(snmp.CdpAddress).Address()
	n.noAddr = announcesNone(r.Cell(snmp.CdpAddress))
	n.model = modelOf(platform, sysName)
	if n.firmware == platform {
		n.firmware = beforeModel(platform)
	}
	if v, ok := r.Cell(snmp.CdpVLAN).Uint(); ok && isVLAN(v) {
		n.vlan = int(v)
	}
	if mw, ok := r.Cell(snmp.CdpPower).Uint(); ok && mw < 200_000 {
		n.watts = float64(mw) / 1000
	}
	caps := bigEndian(r.Cell(snmp.CdpCapabilities))
	n.bridge = caps&(cdpSwitch|cdpTBridg) != 0
	switch {
	case own, isPhoneText(platform), isPhoneText(sysName):
		n.phone = true
	case caps&cdpPhone != 0:
		n.phone = caps&(cdpRouter|cdpSwitch) == 0
	case caps == 0:
		n.phone = yealink.MatchString(platform) && r.Cell(snmp.CdpPort).Text() == "WAN PORT"
	}
	return n
}

// announcesNone reports whether a CDP address is there and is none: empty, all
// zeros, or one that a device gave itself for want of a lease (RFC 3927). That a
// table has no such column, or LLDP no management address, tells nothing. (How IOS
// fills the column for a phone without a lease is recorded nowhere: unsure.)
func announcesNone(v snmp.Value) bool {
	b, ok := v.Octets()
	if !ok {
		return false
	}
	if a, ok := v.Address(); ok {
		return a.IsLinkLocalUnicast() && a.Is4()
	}
	return len(b) == 0 || (len(b) == 4 || len(b) == 16) && !slices.ContainsFunc(b, func(o byte) bool { return o != 0 })
}

func bigEndian(v snmp.Value) uint32 {
	b, _ := v.Octets()
	var n uint32
	for _, o := range b[:min(len(b), 4)] {
		n = n<<8 | uint32(o)
	}
	return n
}

// isPhoneText recognises a phone by the text that describes it. The texts are
// the neighbour's own: the switch's ifDescr and ifAlias, where people write
// "IP Phone" too, are never looked at.
func isPhoneText(s string) bool { return strings.Contains(strings.ToLower(s), "ip phone") }

// modelOf is the model out of the platform: "Cisco IP Phone 7821" is that.
// SPAs behind an HP switch have version and model run together and cut off
// ("7.5.2Cisco IP Phone SPA3"); their system name holds the whole.
func modelOf(platform, sysName string) string {
	if isPhoneText(sysName) && (platform == "" || beforeModel(platform) != "") {
		return sysName
	}
	if v := beforeModel(platform); v != "" {
		return strings.TrimPrefix(platform, v)
	}
	return platform
}

var runTogether = regexp.MustCompile(`^([0-9][0-9A-Za-z.()-]*)Cisco IP Phone`)

// beforeModel is the version that stands before the model, if one does.
func beforeModel(platform string) string {
	if m := runTogether.FindStringSubmatch(platform); m != nil {
		return m[1]
	}
	return ""
}
