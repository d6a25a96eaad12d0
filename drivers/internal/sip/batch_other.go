//go:build !linux

package sip

import "net"

// batchWriter writes one after the other where there is no sendmmsg(2).
type batchWriter struct{ plain net.PacketConn }

func newBatchWriter(pc net.PacketConn) *batchWriter { return &batchWriter{pc} }

func (w *batchWriter) write(list []datagram) (int, error) { return writeOne(w.plain, list[0]) }

type batchReader struct{ oneReader }

func newBatchReader(pc net.PacketConn) *batchReader {
	return &batchReader{oneReader{pc: pc, buf: make([]byte, maxDatagram)}}
}
