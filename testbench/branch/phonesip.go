package branch

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"pilotlight/testbench/branch/internal/sipwire"
)

const (
	phoneDatagram = 2 << 10 // a phone reads no longer ones; keeps a thousand of them small
	deafBuffer    = 4 << 10 // kernel buffer of a socket nobody reads
)

// openSIP opens a phone's SIP port. One that answers no stranger has a socket
// that nobody reads, so that not even ICMP tells of it.
func (b *Branch) openSIP(p *phone) error {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.addr, uint16(p.SIPPort))))
	if err != nil {
		return err
	}
	p.sip = conn
	if !p.answersOptions() {
		conn.SetReadBuffer(deafBuffer)
		return nil
	}
	b.wg.Go(func() { b.readSIP(p) })
	return nil
}

func (b *Branch) readSIP(p *phone) {
	buf := make([]byte, phoneDatagram)
	for {
		n, from, err := p.sip.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		b.mu.Lock()
		silent := p.mute != nil
		b.mu.Unlock()
		if silent {
			continue
		}
		m, err := sipwire.Parse(buf[:n])
		if err != nil || m.Method == "" || m.Method == "ACK" {
			continue
		}
		p.sip.WriteToUDPAddrPort(p.sipAnswer(m).Bytes(), from)
	}
}

// contact is where a phone takes SIP, as its registrar knows it, with the feature
// parameters of its Contact. A phone of Unified CM has a name that is no number, and
// the port of the connection that it opened itself: nobody else can reach it there.
// One that speaks SCCP has no Contact; the call server puts its number in that place.
func (p *phone) contact() (uri string, params [][2]string) {
	if p.family == mpp || strings.HasPrefix(p.load, "SCCP") {
		return fmt.Sprintf("sip:%s@%s:%d", p.Number, p.Address, p.SIPPort), nil
	}
	mac := strings.ToLower(p.mac)
	uri = fmt.Sprintf("sip:%s-%s-4000-8000-%s@%s:%d;transport=tcp", mac[4:], mac[:4], mac, p.Address, ephemeral+p.index%ephemerals)
	params = [][2]string{
		{"+sip.instance", "<urn:uuid:00000000-0000-0000-0000-" + mac + ">"},
		{"+u.sip!devicename.ccm.cisco.com", p.Name},
	}
	if p.product == "CP-8851" { // the only number of Unified CM's list that a trace shows
		params = append(params, [2]string{"+u.sip!model.ccm.cisco.com", "684"})
	}
	return uri, params
}

// The ports from which phones open connections.
const ephemeral, ephemerals = 49152, 4096

// sipAnswer is what a multiplatform phone says to a stranger (RFC 3261 §11.2).
// It knows no transactions: the answer to a request that comes again is the same
// but for its tag, which nobody can hold against a stateless server.
func (p *phone) sipAnswer(m *sipwire.Message) *sipwire.Message {
	const allow = "ACK,BYE,CANCEL,INVITE,NOTIFY,OPTIONS,REFER,UPDATE,SUBSCRIBE,INFO"
	if m.Method != "OPTIONS" {
		no := sipwire.Answer(m, 405, "Method Not Allowed", sipwire.Token())
		no.Add("Allow", allow)
		return no
	}
	ok := sipwire.Answer(m, 200, "OK", sipwire.Token())
	uri, _ := p.contact()
	ok.Add("Contact", "<"+uri+">")
	ok.Add("Allow", allow)
	ok.Add("Allow-Events", "dialog,kpml")
	ok.Add("Accept", "application/sdp")
	ok.Add("Supported", "replaces,norefersub")
	ok.Add("Server", p.userAgent)
	ok.Add("Content-Type", "application/sdp")
	ok.Body = p.offer()
	return ok
}

// offer is the SDP of what the phone could do.
func (p *phone) offer() []byte {
	sdp := fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\n"+
		"m=audio 0 RTP/AVP 9 0 8\r\n", p.Address)
	if p.video {
		sdp += "m=video 0 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n"
	}
	return []byte(sdp)
}
