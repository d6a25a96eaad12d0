package branch

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"time"
)

// document writes a page: one root, its children in order.
type document struct {
	bytes.Buffer
	root   string
	latin1 bool
}

// newDocument begins a page as the model writes it.
func newDocument(m *model, root string) *document {
	charset := "utf-8"
	if m.locale != nil {
		charset = m.locale.charset
	}
	d := &document{root: root, latin1: charset == "iso-8859-1"}
	d.Grow(3 << 10)
	fmt.Fprintf(d, "<?xml version=\"1.0\" encoding=\"%s\"?>\r\n<%s>\r\n", charset, root)
	return d
}

func (d *document) add(name, value string) {
	d.WriteByte('<')
	d.WriteString(name)
	d.WriteByte('>')
	d.text(value)
	d.WriteString("</")
	d.WriteString(name)
	d.WriteString(">\r\n")
}

// plain holds no character that needs escaping or another charset.
func plain(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' || c >= 0x7f || c == '<' || c == '>' || c == '&' || c == '"' || c == '\'' {
			return false
		}
	}
	return true
}

func (d *document) text(value string) {
	if plain(value) {
		d.WriteString(value)
		return
	}
	var escaped bytes.Buffer
	xml.EscapeText(&escaped, []byte(value)) // a buffer takes everything
	if !d.latin1 {
		d.Write(escaped.Bytes())
		return
	}
	for _, r := range escaped.String() {
		if r > 0xff {
			r = '?'
		}
		d.WriteByte(byte(r))
	}
}

// empty adds elements without value.
func (d *document) empty(names ...string) {
	for _, name := range names {
		d.add(name, "")
	}
}

func (d *document) end() []byte {
	fmt.Fprintf(d, "</%s>\r\n", d.root)
	return d.Bytes()
}

// serial is made up from the MAC address, in the form of the real ones.
func (p *phone) serial() string { return "FCH" + strings.ToUpper(p.mac[4:12]) }

// udi is the unique device identifier, as one line.
func (p *phone) udi() string {
	return "phone, " + p.platform + ", Global, " + p.product + ", " + p.serial()
}

// devicePage is DeviceInformationX; the caller holds the lock, as for all pages.
func (b *Branch) devicePage(p *phone, now time.Time) []byte {
	d := newDocument(p.model, "DeviceInformation")
	d.add("MACAddress", p.mac)
	d.add("HostName", p.Name)
	d.add("phoneDN", p.Number)
	d.add("appLoadID", p.appLoad)
	d.add("bootLoadID", "")
	d.add("versionID", p.loaded())
	d.empty("addonModule1", "addonModule2")
	d.add("hardwareRevision", "V01")
	d.add("serialNumber", p.serial())
	d.add("modelNumber", p.product)
	if p.family == legacy {
		d.add("DSPLoadID", "PS03AT39")
		d.add("Codec", "ADLCodec")
		d.add("Amps", "3V Amp")
		d.add("C3PORevision", "2")
	}
	d.add("MessageWaiting", p.yes(p.messages > 0))
	if p.family != legacy {
		d.add("udi", p.udi())
		d.add("time", now.UTC().Format("15:04"))
		d.add("timezone", "Europe/Paris")
		d.add("date", now.UTC().Format("02/01/06"))
	}
	return d.end()
}

// The call servers of the branch as the phones list them: addresses of RFC 5737.
const (
	primaryServer = "192.0.2.11"
	standbyServer = "198.51.100.11"
	srstRouter    = "203.0.113.1"
)

// callManagers are the values of CallManager1 to 3: address, two spaces, state.
// The SRST router comes last, with its designation.
func (p *phone) callManagers() [3]string {
	list := [3]string{primaryServer, standbyServer, srstRouter + " SRST"}
	active, standby := p.words()
	switch p.state.Registration {
	case WithCallServer:
		list[0] += "  " + active
		list[1] += "  " + standby
	case WithSRST:
		list[2] += "  " + active
	}
	return list
}

func (b *Branch) networkPage(p *phone) []byte {
	d := newDocument(p.model, "NetworkConfiguration")
	d.add("DHCPServer", "192.0.2.1")
	d.add("BOOTPServer", p.yes(false))
	d.add("MACAddress", p.mac)
	d.add("HostName", p.Name)
	d.add("DomainName", b.opts.Domain)
	d.add("IPAddress", p.Address)
	d.add("SubNetMask", "255.255.255.0")
	d.add("TFTPServer1", primaryServer)
	d.add("TFTPServer2", "")
	d.add("DefaultRouter1", srstRouter)
	d.empty("DefaultRouter2", "DefaultRouter3", "DefaultRouter4", "DefaultRouter5")
	d.add("DNSServer1", "192.0.2.53")
	d.empty("DNSServer2", "DNSServer3", "DNSServer4", "DNSServer5")
	d.add("VLANId", fmt.Sprint(voiceVLAN))
	d.add("AdminVLANId", fmt.Sprint(voiceVLAN))
	for i, v := range p.callManagers() {
		d.add(fmt.Sprintf("CallManager%d", i+1), v)
	}
	d.empty("CallManager4", "CallManager5", "InformationURL", "DirectoriesURL", "MessagesURL", "ServicesURL", "IdleURL")
	d.add("IdleURLTime", "0")
	d.add("AuthenticationURL", "http://"+primaryServer+":8080/ccmcip/authenticate.jsp")
	d.add("ProxyServerURL", "")
	d.add("DHCPEnabled", p.yes(true))
	d.add("DHCPAddressReleased", p.yes(false))
	d.add("AltTFTP", p.yes(false))
	d.add("PCPortDisable", p.yes(false))
	d.add("SWPortCfg", "Auto Negotiate")
	d.add("PCPortCfg", "Auto Negotiate")
	d.add("PCVLAN", fmt.Sprint(dataVLAN))
	user := "English_United_States"
	if p.locale != nil {
		user = p.locale.name
	}
	d.add("UserLocale", user)
	d.add("NetworkLocale", "United_States")
	d.add("UserLocaleVersion", "14.0.1.1000-1")
	d.add("NetworkLocaleVersion", "14.0.1.1000-1")
	d.add("VideoCapability", p.yes(p.video))
	d.add("RevertingFocusPriority", "Lower")
	p.generation(d)
	return d.end()
}

// generation adds the elements that the families spell differently.
func (p *phone) generation(d *document) {
	if p.family == legacy {
		d.add("GARPEnabled", p.yes(false))
		d.add("VoiceVlanAccessEnabled", p.yes(true))
		d.add("AutoSelectLineEnabled", p.yes(false))
		d.add("DscpForCm2Dvce", "CS3")
		d.add("GlobalSecurityMode", "Non Secure")
		d.add("webAccess", "ReadOnly")
		return
	}
	d.add("HeadsetEnable", p.yes(true))
	d.add("SpeakerEnable", p.yes(true))
	d.add("SpanPcPort", p.yes(false))
	d.add("CDPPCPort", p.yes(true))
	d.add("CDPSWPort", p.yes(true))
	d.add("LLDPSWPort", p.yes(p.med))
	d.add("GARP", p.yes(false))
	d.add("VoiceVlanAccess", p.yes(true))
	d.add("AutoSelectLine", p.yes(false))
	d.add("DscpForCallControl", "CS3")
	d.add("SecurityMode", "Non Secure")
	d.add("WebAccess", "ReadOnly")
}
