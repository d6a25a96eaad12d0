package sip

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
)

// batchWriter writes many datagrams by one system call, sendmmsg(2).
type batchWriter struct {
	plain    net.PacketConn
	packets  *ipv4.PacketConn // of either family: only messages are passed to it
	messages []ipv4.Message
	addrs    []net.UDPAddr
	hosts    [][16]byte
}

func newBatchWriter(pc net.PacketConn) *batchWriter {
	w := &batchWriter{plain: pc}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		return w
	}
	w.packets = ipv4.NewPacketConn(udp)
	w.messages, w.addrs, w.hosts = make([]ipv4.Message, batchSize), make([]net.UDPAddr, batchSize), make([][16]byte, batchSize)
	for i := range w.messages {
		w.messages[i].Buffers = make([][]byte, 1)
		w.messages[i].Addr = &w.addrs[i]
	}
	return w
}

// write reports how many were written; with none, why the first was not.
func (w *batchWriter) write(list []datagram) (int, error) {
	if w.packets == nil || len(list) == 1 {
		return writeOne(w.plain, list[0])
	}
	for i, d := range list {
		a := &w.addrs[i]
		if ip := d.to.Addr(); ip.Is4() {
			b := ip.As4()
			a.IP = append(w.hosts[i][:0], b[:]...)
		} else {
			w.hosts[i] = ip.As16()
			a.IP = w.hosts[i][:]
		}
		a.Port, a.Zone = int(d.to.Port()), d.to.Addr().Zone()
		w.messages[i].Buffers[0] = d.b
	}
	n, err := w.packets.WriteBatch(w.messages[:len(list)], 0)
	for i := range list {
		w.messages[i].Buffers[0] = nil
	}
	return n, err
}

// batchReader reads many datagrams by one system call, recvmmsg(2): what answers
// to a burst comes as one.
type batchReader struct {
	plain    oneReader
	packets  *ipv4.PacketConn // of either family
	messages []ipv4.Message
}

const readAtOnce = 16

func newBatchReader(pc net.PacketConn) *batchReader {
	r := &batchReader{plain: oneReader{pc: pc}}
	udp, ok := pc.(*net.UDPConn)
	if !ok {
		r.plain.buf = make([]byte, maxDatagram)
		return r
	}
	r.packets, r.messages = ipv4.NewPacketConn(udp), make([]ipv4.Message, readAtOnce)
	for i := range r.messages {
		r.messages[i].Buffers = [][]byte{make([]byte, maxDatagram)}
	}
	return r
}

// read gives what waits, and waits for the first; each is good until the next read.
func (r *batchReader) read(each func(b []byte, from netip.AddrPort)) error {
	if r.packets == nil {
		return r.plain.read(each)
	}
	n, err := r.packets.ReadBatch(r.messages, 0)
	for i := range r.messages[:max(n, 0)] {
		m := &r.messages[i]
		each(m.Buffers[0][:m.N], addrPort(m.Addr))
		m.Addr = nil
	}
	return err
}
