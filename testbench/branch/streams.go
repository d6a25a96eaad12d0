package branch

import (
	"fmt"
	"math/rand/v2"
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

// A seat is the stream that a phone's call has: the first, or the second where
// another call had the first just before.
type seat struct {
	second bool
	wanted bool      // SecondStream: the next call sits there, whenever it comes
	last   stream    // of the call before, while this one sits on the second
	left   time.Time // when a call last had audio
}

// seatKept is how long after a call its stream may still be that call's, in script time.
const seatKept = 10 * time.Second

// sit chooses the stream of a call whose audio begins. Where the first may be
// another call's yet, the seed and the call decide.
func (b *Branch) sit(c *call, p *phone, now time.Time) {
	follows := !p.seat.left.IsZero() && now.Sub(p.seat.left) < b.scaled(seatKept) &&
		rand.New(rand.NewPCG(b.opts.Seed, c.number<<16|uint64(p.index))).IntN(2) == 0
	p.seat = seat{second: p.streams > 1 && (p.seat.wanted || follows), last: p.sound}
	p.sound, p.picture = stream{}, stream{} // the counters of a new stream
}

// SecondStream has the audio of a phone's next call be on its second stream, as
// that of a call is which comes while another is held.
func (b *Branch) SecondStream(name string) error {
	return b.with(name, func(p *phone, now time.Time) error {
		if p.streams < 2 {
			return fmt.Errorf("second: a %s has no second stream", p.product)
		}
		p.seat.wanted = true
		b.event(Event{At: now, Kind: "second", Phone: p.Name})
		return nil
	})
}

// flows are the phone's streams in the order of its pages: what is left of the call
// before, where the call sits on the second; the call's audio (or a page, while there
// is no call), the video, the page beside a call.
func (p *phone) flows() []flow {
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
			return []flow{page, picture}
		}
	}
	if p.seat.second {
		return []flow{{stream: &p.seat.last, size: 160}, sound, picture, page}
	}
	return []flow{sound, picture, page}
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
