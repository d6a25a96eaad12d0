package branch

import (
	"fmt"
	"time"
)

// flow is what one StreamingStatisticsX page is about.
type flow struct {
	*stream
	remote string
	local  string
	codec  string
	size   int // octets of a packet
}

// Where streams come from that no phone of the branch sends.
const (
	musicSource = primaryServer + "/4000"
	pageGroup   = "239.192.0.1/20480"
)

// flows are the phone's streams in the order of its pages: the call's audio
// (or a page, while there is no call), the video, the page beside a call.
func (p *phone) flows() [3]flow {
	sound := flow{stream: &p.sound, local: p.Address + "/20500", codec: "G.722", size: 160}
	if c := p.call; c != nil && !p.sound.from.IsZero() {
		sound.remote = musicSource
		if c.answered && c.heldBy == nil {
			sound.remote = c.other(p).Address + "/20500"
		}
	}
	picture := flow{stream: &p.picture, local: p.Address + "/20502", codec: "H.264", size: 1100}
	if p.call != nil && !p.picture.from.IsZero() {
		picture.remote = p.call.other(p).Address + "/20502"
	}
	page := flow{stream: &p.page, local: p.Address + "/20480", codec: "G.711u", size: 160}
	if p.state.Paged {
		page.remote = pageGroup
		if sound.remote == "" {
			return [3]flow{page, picture, {stream: &stream{}}}
		}
	}
	return [3]flow{sound, picture, page}
}

// streamPage is StreamingStatisticsX?n.
func (b *Branch) streamPage(p *phone, n int, now time.Time) []byte {
	f := flow{stream: &stream{}}
	if flows := p.flows(); n <= len(flows) {
		f = flows[n-1]
	}
	sent, received := f.counts(now, b.opts.Speed)
	active := f.remote != ""
	status, remote, local, started := "Not Ready", "0.0.0.0/0", "0.0.0.0/0", "00:00:00"
	if active {
		status, remote, local = "Active", f.remote, f.local
	}
	if !f.began.IsZero() {
		started = f.began.UTC().Format("15:04:05")
	}
	d := newDocument(p.model, "StreamingStatistics")
	d.add("RemoteAddr", remote)
	d.add("LocalAddr", local)
	d.add("StartTime", started)
	if p.family == legacy {
		d.add("RowStatus", status)
	} else {
		d.add("StreamStatus", status)
	}
	d.add("Name", p.Name)
	d.add("SenderPackets", fmt.Sprint(sent))
	d.add("SenderOctets", fmt.Sprint(sent*uint64(f.size)))
	d.add("RcvrPackets", fmt.Sprint(received))
	d.add("RcvrOctets", fmt.Sprint(received*uint64(f.size)))
	d.add("RcvrLostPackets", fmt.Sprint(received/5000))
	p.quality(d, f, active, received)
	return d.end()
}

// quality adds the elements whose names the generations do not share.
func (p *phone) quality(d *document, f flow, active bool, received uint64) {
	mos, jitter, codec := "N/A", "0", "None"
	if active {
		codec = f.codec
		jitter = fmt.Sprint(1 + received/50%4)
		if received > 8*packetsPerSecond { // it takes eight seconds of speech to judge
			mos = fmt.Sprintf("4.%04d", 4300+p.index*37%600)
		}
	}
	d.add("MOSLQK", mos)
	d.add("AvgMOSLQK", mos)
	d.add("MinMOSLQK", mos)
	d.add("MaxMOSLQK", mos)
	d.add("MOSLQKVersion", "0.95")
	d.add("CmltveConcealRatio", "0.0002")
	d.add("IntervalConcealRatio", "0.0000")
	d.add("MaxConcealRatio", "0.0010")
	d.add("ConcealSecs", fmt.Sprint(received/25000))
	d.add("SeverelyConcealSecs", "0")
	if p.family == legacy {
		d.add("SenderTool", codec)
		d.add("SenderReports", "0")
		d.add("RcvrJitter", jitter)
		d.add("ReceiverTool", codec)
		d.add("RcvrReports", "0")
		return
	}
	d.add("SenderCodec", codec)
	d.add("SenderReportsSent", "0")
	d.add("SenderReportTimeSent", "00:00:00")
	d.add("AvgJitter", jitter)
	d.add("MaxJitter", "6")
	d.add("Latency", "0")
	d.add("RcvrCodec", codec)
	d.add("RcvrDiscarded", "0")
	d.add("RcvrReportsSent", "0")
	d.add("SenderSize", "20 ms")
	d.add("RcvrSize", "20 ms")
}
