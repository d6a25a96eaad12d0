package sip

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The far end of a benchmark is another process, so that the CPU time of this
// one (getrusage) is the endpoint's alone.
const farRole = "PILOTLIGHT_SIP_BENCH_FAR"

// farMain is that process: it answers, or it asks, until its standard input ends.
func farMain(role string) {
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		panic(err)
	}
	_ = pc.SetReadBuffer(4 << 20)
	fmt.Println(pc.LocalAddr())
	if role == "answer" {
		go farAnswers(pc)
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	var target string
	var n int
	for {
		if _, err := fmt.Sscanln(role, &target, &n); err == nil {
			break
		}
		line := make([]byte, 100)
		k, err := os.Stdin.Read(line)
		if err != nil {
			return
		}
		role = string(line[:k])
	}
	farAsks(pc, netip.MustParseAddrPort(target), n)
	fmt.Println("done")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// farAnswers says 200 to each request.
func farAnswers(pc *net.UDPConn) {
	b := make([]byte, maxDatagram)
	for {
		n, from, err := pc.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		out := []byte("SIP/2.0 200 OK\r\n")
		for line := range bytes.SplitSeq(b[:n], crlf) {
			if len(line) == 0 {
				break
			}
			for _, name := range []string{"Via:", "From:", "To:", "Call-ID:", "CSeq:"} {
				if bytes.HasPrefix(line, []byte(name)) {
					out = append(append(out, line...), crlf...)
				}
			}
		}
		_, _ = pc.WriteToUDPAddrPort(append(out, "Server: far\r\nContent-Length: 0\r\n\r\n"...), from)
	}
}

const benchWindow = 64 // requests without answer at a time

// farAsks sends n requests, each of a Call-ID of its own as those of n
// publishers are, and again what was lost.
func farAsks(pc *net.UDPConn, to netip.AddrPort, n int) {
	b := make([]byte, maxDatagram)
	open, sent := 0, 0
	for done := 0; done < n; {
		for open < benchWindow && sent < n {
			sent++
			open++
			_, _ = pc.WriteToUDPAddrPort(publishText(pc.LocalAddr().String(), sent), to)
		}
		_ = pc.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		k, err := pc.Read(b)
		if err != nil { // lost or refused: new ones in their stead
			sent -= open
			open = 0
			continue
		}
		if bytes.HasPrefix(b[:k], []byte("SIP/2.0 200")) && open > 0 {
			done++
		}
		if open--; open < 0 {
			open = 0
		}
	}
}

var benchBody = `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@branch.example.com">` +
	strings.Repeat(`<tuple id="t1"><status><basic>open</basic></status><contact priority="0.8">sip:alice@10.0.0.7:5060</contact></tuple>`, 5) + `</presence>`

func publishText(from string, n int) []byte {
	return fmt.Appendf(nil, "PUBLISH sip:user%d@branch.example.com SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%x-%d;rport\r\nMax-Forwards: 70\r\n"+
		"From: \"User %d\" <sip:user%d@branch.example.com>;tag=f%d\r\nTo: <sip:user%d@branch.example.com>\r\nCall-ID: %d-bench@10.0.0.9\r\nCSeq: %d PUBLISH\r\n"+
		"Event: presence\r\nExpires: 3600\r\nUser-Agent: bench/1.0\r\nContent-Type: application/pidf+xml\r\nContent-Length: %d\r\n\r\n%s",
		n%500, from, time.Now().UnixNano(), n, n%500, n%500, n, n%500, n, n, len(benchBody), benchBody)
}

// farProcess starts it, and returns its address and its standard input and output.
func farProcess(b *testing.B, role string) (string, io.Writer, io.Reader) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), farRole+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	var addr string
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		b.Fatal(err)
	}
	return addr, in, out
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportCPU runs f and reports the CPU time for each of b.N.
func reportCPU(b *testing.B, f func()) {
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu()
	f()
	used := cpu() - before
	b.StopTimer()
	b.ReportMetric(float64(used.Nanoseconds())/1000/float64(b.N), "cpu-µs/op")
}

// One PUBLISH served: read, judged, handed to a handler, answered and kept for Timer J.
func BenchmarkPublishServed(b *testing.B) {
	e, _ := atRest(b, Config{Listen: []string{"udp:127.0.0.1:0"}, Transactions: 1 << 20, SourcePerSec: 1e9})
	_ = e.Handle(Claim{Method: "PUBLISH", Event: "presence"}, func(_ context.Context, in *Incoming) {
		_ = in.Respond(Reply{Status: 200, Header: Header{{"SIP-ETag", "e" + strconv.Itoa(int(in.CSeq))}, {"Expires", "3600"}}})
	})
	run(b, e)
	_, in, out := farProcess(b, "ask")
	reportCPU(b, func() {
		fmt.Fprintln(in, e.Addr("udp"), b.N)
		var word string
		if _, err := fmt.Fscanln(out, &word); err != nil || word != "done" {
			b.Fatal(word, err)
		}
	})
}

// One NOTIFY in a dialog: sent, answered 200, told.
func BenchmarkNotifySent(b *testing.B) {
	e, _ := atRest(b, Config{Listen: []string{"udp:127.0.0.1:0"}})
	run(b, e)
	addr, _, _ := farProcess(b, "answer")
	dialogs := make([]*Dialog, 1000)
	for i := range dialogs {
		dialogs[i] = &Dialog{Target: fmt.Sprintf("sip:watcher%d@%s", i, addr), From: "<sip:alice@branch.example.com>;tag=a1", To: "<sip:w@branch.example.com>;tag=b1",
			CallID: fmt.Sprintf("%d-bench@10.0.0.9", i), ContactUser: "alice", Transport: "udp", Local: e.Addr("udp")}
	}
	for _, window := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			reportCPU(b, func() { notifyAll(b, e, dialogs, window) })
		})
	}
}

func notifyAll(b *testing.B, e *Endpoint, dialogs []*Dialog, window int) {
	sem := make(chan struct{}, window)
	done := func(a Answer) {
		if a.Status != 200 {
			b.Error(a)
		}
		<-sem
	}
	for i := range b.N {
		sem <- struct{}{}
		e.Send(dialogs[i%len(dialogs)], InDialog{Method: "NOTIFY", CSeq: uint32(i + 1), Event: "presence", SubscriptionState: "active;expires=3600",
			ContentType: "application/pidf+xml", Body: []byte(benchBody)}, done)
	}
	for range window {
		sem <- struct{}{}
	}
}
