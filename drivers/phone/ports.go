package phone

import (
	"cmp"
	"net/netip"
	"strings"

	"pilotlight/agent/presence"
)

// The pages of a phone's own Ethernet ports, and of its log.
const (
	pathPort     = "/PortInformationX"
	pathEthernet = "/EthernetInformationX"
	pathLog      = "/DeviceLogX"

	rootPort     = "PortInformation"
	rootEthernet = "EthernetInformation"
	rootLog      = "DeviceLog"
)

// PortPage is the typed view of one PortInformationX page.
type PortPage struct {
	Port      presence.EthernetPort
	Neighbour *presence.Neighbour // nil: none is told
}

// Ports is the view of a PortInformation page, in the names of either generation
// (7940/60: deviceId, port; later: CDPNeighbor and LLDPNeighbor).
func (p Page) Ports(name string) (PortPage, error) {
	if err := p.is(rootPort); err != nil {
		return PortPage{}, err
	}
	out := PortPage{Port: presence.EthernetPort{
		Name: name, Speed: p.value("PortSpeed"),
		Sent: count(p.value("TxtotalGoodPkt")), Received: count(p.value("RxtotalPkt")),
		Errors: p.sum("RxcrcErr", "RxalignErr", "RxshortErr", "RxlongErr", "TxlateCollision"),
	}}
	n := presence.Neighbour{
		Switch: p.value("CDPNeighborDeviceId", "LLDPNeighborDeviceId", "deviceId"),
		Port:   p.value("CDPNeighborPort", "LLDPNeighborPort", "port"),
	}
	if a, err := netip.ParseAddr(p.value("CDPNeighborIP", "LLDPNeighborIP", "ipAddress")); err == nil && !a.IsUnspecified() {
		n.Address = a.Unmap()
	}
	if n.Switch != "" || n.Port != "" {
		out.Neighbour = &n
	}
	return out, nil
}

// Ethernet is the view of an EthernetInformation page: the phone's own frames,
// where no port page tells them.
func (p Page) Ethernet() (presence.EthernetPort, error) {
	if err := p.is(rootEthernet); err != nil {
		return presence.EthernetPort{}, err
	}
	return presence.EthernetPort{
		Name: "phone", Sent: count(p.value("TxFrames")), Received: count(p.value("RxFrames")),
		Errors: p.sum("RxCRCErrors", "RxOverruns", "RxLongCRC", "RxBadPreamble", "RxRunt", "TxExcessiveCollisions"),
	}, nil
}

func (p Page) sum(names ...string) uint64 {
	var n uint64
	for _, name := range names {
		n += min(count(p.value(name)), 1<<40)
	}
	return n
}

// ParseDeviceLog reads the end of a DeviceLogX page: one element a message,
// the newest last. What the elements are called is unsure, so that any counts.
func ParseDeviceLog(body []byte, contentType string) (presence.Log, error) {
	root, err := rooted(body, contentType, rootLog)
	if err != nil {
		return presence.Log{}, err
	}
	var log presence.Log
	for _, c := range root.children {
		if v := worded(c.value()); v != "" {
			log.Lines = append(log.Lines, v)
		}
	}
	if extra := len(log.Lines) - presence.MaxLogLines; extra > 0 {
		log.Lines = log.Lines[extra:]
	}
	return log, nil
}

// pathAdapter is where 7900 phones tell the same facts by another way: the
// Serviceability adapters, as XML.
const pathAdapter = "/CGI/Java/Serviceability?adapterX=device.statistics."

// adapters are the statistics by the page that tells the same.
var adapters = []struct{ page, adapter, root string }{
	{pathDevice, "device", rootDevice},
	{pathNetwork, "configuration", rootNetwork},
	{pathPort + "?1", "port.network", rootPort},
	{pathPort + "?2", "port.access", rootPort},
	{pathEthernet, "ethernet", rootEthernet},
	{pathStream + "?1", "streaming.0", rootStream},
	{pathStream + "?2", "streaming.1", rootStream},
	{pathStream + "?3", "streaming.2", rootStream},
}

// ParseServiceability reads an adapter's page as the page that tells the same.
// Which root element the XML form has is unsure: any but the error's is taken.
func ParseServiceability(body []byte, contentType, adapter string) (Page, error) {
	p, err := ParsePage(body, contentType)
	if err != nil {
		return Page{}, err
	}
	if p.Root == rootError || strings.EqualFold(p.Root, "html") {
		return Page{}, p.is(adapter)
	}
	for _, a := range adapters {
		if a.adapter == adapter {
			p.Root = a.root
		}
	}
	p.Root = cmp.Or(p.Root, adapter)
	return p, nil
}
