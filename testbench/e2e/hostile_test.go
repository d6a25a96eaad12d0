package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pilotlight/testbench/product"
)

const goodPage = `<?xml version="1.0" encoding="utf-8"?><DeviceInformation><HostName>%s</HostName><phoneDN>1001</phoneDN><modelNumber>CP-8841</modelNumber></DeviceInformation>`

// elsewhere is where one phone sends whoever asks it; nobody may go there.
var elsewhere string

// hostile phones: what each does with any request, and what the board says of it.
var hostile = []struct {
	name string
	says string // in the diagnosis
	do   func(w http.ResponseWriter, r *http.Request)
}{
	{"SEP0000000000A1", "", func(w http.ResponseWriter, r *http.Request) { // half a page, then it hangs up
		w.Header().Set("Content-Type", "text/xml")
		w.Header().Set("Content-Length", "4000")
		fmt.Fprint(w, `<?xml version="1.0"?><DeviceInformation><HostName>SEP`)
	}},
	{"SEP0000000000A2", "", func(w http.ResponseWriter, r *http.Request) { // 10 MB
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprint(w, `<?xml version="1.0"?><DeviceInformation>`)
		for range 10 << 10 {
			if _, err := fmt.Fprint(w, "<x>", strings.Repeat("A", 1017), "</x>"); err != nil {
				return
			}
		}
	}},
	{"SEP0000000000A3", "", func(w http.ResponseWriter, r *http.Request) { // an XML bomb
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprint(w, `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><DeviceInformation><HostName>&b;</HostName></DeviceInformation>`)
	}},
	{"SEP0000000000A4", "", func(w http.ResponseWriter, r *http.Request) { // a redirect to another host
		http.Redirect(w, r, "http://"+elsewhere+"/DeviceInformationX", http.StatusFound)
	}},
	{"SEP0000000000A5", "", func(w http.ResponseWriter, r *http.Request) { // nothing, for ever
		<-r.Context().Done()
	}},
	{"SEP0000000000A6", "", func(w http.ResponseWriter, r *http.Request) { // the wrong charset: still a page
		w.Header().Set("Content-Type", "text/xml; charset=utf-8")
		if r.URL.Path != "/DeviceInformationX" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, strings.Replace(goodPage, "utf-8", "iso-8859-1", 1), "SEP0000000000A6")
		fmt.Fprint(w, "\xff\xfe\xe9")
	}},
	{"SEP0000000000A7", "", func(w http.ResponseWriter, r *http.Request) { // rubbish
		w.Write([]byte{0x16, 0x03, 0x01, 0, 0xff, '<', '<', '<'})
	}},
	{"SEP0000000000A8", "", func(w http.ResponseWriter, r *http.Request) { // a name of 3,000 letters with a line break and a tag in it
		name := "CP-8841\r\n&lt;script&gt;alert(1)&lt;/script&gt;" + strings.Repeat("X", 3000)
		fmt.Fprintf(w, strings.Replace(goodPage, "CP-8841", name, 1), "SEP0000000000A8")
	}},
}

// readable are those of which something may be believed.
var readable = []string{"SEP0000000000A6", "SEP0000000000A8"}

// A phone that misbehaves costs one logged line and is marked so; the agent
// neither grows nor stops, and a good phone beside it is seen.
func TestHostilePhones(t *testing.T) {
	trap, err := net.Listen("tcp", "127.0.0.99:0")
	if err != nil {
		t.Fatal(err)
	}
	defer trap.Close()
	elsewhere = trap.Addr().String()
	go func() {
		for {
			c, err := trap.Accept()
			if err != nil {
				return
			}
			t.Error("the agent followed a redirect to another host")
			c.Close()
		}
	}()
	var y strings.Builder
	y.WriteString("branch: {id: a, domain: example.com}\ndata_dir: @DATA@\npanel: {listen: \"@PANEL@\"}\nsip: {listen: [\"udp:@SIP@\"]}\npoll: {web: 1s, sip: 1s, snmp: 1s}\nphones:\n")
	serve := func(i int, name string, h http.HandlerFunc) {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.77.%d:0", i+1))
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
		addr := l.Addr().(*net.TCPAddr)
		fmt.Fprintf(&y, "  - {name: %s, address: %s, web_port: %d, sip_port: -1}\n", name, addr.IP, addr.Port)
	}
	for i, h := range hostile {
		serve(i, h.name, h.do)
	}
	const good = "SEP0000000000FF"
	serve(200, good, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/DeviceInformationX":
			fmt.Fprintf(w, goodPage, good)
		case "/StreamingStatisticsX":
			fmt.Fprint(w, `<StreamingStatistics><StreamStatus>Idle</StreamStatus><RemoteAddr>0.0.0.0/0</RemoteAddr></StreamingStatistics>`)
		default:
			http.NotFound(w, r)
		}
	})
	a := product.Start(t, product.Options{YAML: y.String()})
	a.Until(20*time.Second, "the good phone is idle", func() bool { return a.Phones()[good].State == "idle" })
	a.Until(30*time.Second, "every hostile one is marked, each with a reason", func() bool {
		phones := a.Phones()
		for _, h := range hostile {
			p := phones[h.name]
			if slices.Contains(readable, h.name) {
				continue
			}
			if p.State == "idle" || p.State == "in-use" || !strings.Contains(p.Diagnosis, h.says) {
				return false
			}
		}
		return true
	})
	threads, memory := status(t, a, "Threads:"), status(t, a, "VmRSS:")
	time.Sleep(8 * time.Second) // a few more rounds of all this
	if now := status(t, a, "VmRSS:"); now > memory+24<<10 {
		t.Errorf("resident memory grew from %d to %d kB", memory, now)
	}
	if now := status(t, a, "Threads:"); now > threads+8 {
		t.Errorf("threads grew from %d to %d", threads, now)
	}
	for _, h := range hostile {
		lines := 0
		for line := range strings.Lines(a.Log()) {
			if strings.Contains(line, h.name) && (strings.Contains(line, `"level":"WARN"`) || strings.Contains(line, `"level":"ERROR"`)) {
				lines++
			}
		}
		if lines > 2 || lines == 0 && !slices.Contains(readable, h.name) {
			t.Errorf("%s: %d lines at WARN or worse, want one or two", h.name, lines)
		}
	}
	if model := a.Phones()["SEP0000000000A8"].Model; len(model) > 1024 || strings.ContainsAny(model, "\r\n") {
		t.Errorf("a model of %d letters: %q", len(model), model[:40])
	}
	for _, d := range product.Get[struct {
		Drivers []struct {
			Name, Error string
			Restarts    int
		}
	}](a, "/api/v1/status").Drivers {
		if d.Restarts > 0 || d.Error != "" {
			t.Errorf("driver %s was started again %d times: %s", d.Name, d.Restarts, d.Error)
		}
	}
	if state := a.Phones()[good].State; state != "idle" {
		t.Errorf("the good phone is %s after all this", state)
	}
}

func status(t *testing.T, a *product.Agent, key string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key); ok {
			var n int
			fmt.Sscan(value, &n)
			return n
		}
	}
	t.Fatalf("no %s", key)
	return 0
}

// Datagrams of rubbish cost nothing, and OPTIONS is answered after them.
func TestSIPRubbish(t *testing.T) {
	a := product.Start(t, product.Options{YAML: alone})
	text, err := os.ReadFile(a.Config)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), `"udp:`)
	addr, _, _ := strings.Cut(rest, `"`)
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 2000 {
		conn.Write([]byte(strings.Repeat(string(rune(i%256)), i%1400)))
	}
	fmt.Fprintf(conn, "OPTIONS sip:pilotlight@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKrubbish\r\nFrom: <sip:t@x>;tag=1\r\nTo: <sip:pilotlight@%s>\r\nCall-ID: r\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", addr, conn.LocalAddr(), addr)
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	answer := make([]byte, 2048)
	n, err := conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "SIP/2.0 200") {
		t.Errorf("%v %s", err, answer[:n])
	}
	if n := strings.Count(a.Log(), `"level":"WARN"`) + strings.Count(a.Log(), `"level":"ERROR"`); n > 5 {
		t.Errorf("%d lines at WARN or worse after 2,000 datagrams of rubbish", n)
	}
}
