package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"pilotlight/testbench/freeport"
)

// benchDomain is that of the people whom preslog's URIs name.
const benchDomain = "bench.test"

// server is a presence server under measurement.
type server struct {
	*process
	name string
	sip  string // HOST:PORT, UDP
}

// ourServer starts the agent as it is deployed, all state on the disk, with so
// many people in its configuration.
func ourServer(ctx context.Context, agent, dir string, people int) (*server, error) {
	panel, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	listen, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	fmt.Fprintf(&text, `branch: {id: bench, domain: %s}
data_dir: %q
panel: {listen: %q}
sip:
  listen: ["udp:%s", "tcp:%s"]
  peers: [{name: bench, address: 127.0.0.0/8, domains: [%s], may: [subscribe, publish]}]
people:
`, benchDomain, filepath.Join(dir, "data"), panel, listen, listen, benchDomain)
	for i := range people {
		fmt.Fprintf(&text, "  - {user: p%06d}\n", i)
	}
	config := filepath.Join(dir, "pilotlight.yaml")
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		return nil, err
	}
	p, err := launch(nil, agent, "run", "--config", config)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	_, err = p.until(ctx, 30*time.Second, "ready", 20*time.Millisecond, func(ctx context.Context) bool {
		body, err := get(ctx, client, "http://"+panel+"/readyz")
		return err == nil && body.Close() == nil
	})
	if err != nil {
		p.stop()
		return nil, err
	}
	return &server{process: p, name: "Pilotlight", sip: listen}, nil
}

// kamailio starts Kamailio by the scripts of ../shared/bench, in memory and with
// two workers, on a port of its own: theirs is one that others measure at, too.
func kamailio(ctx context.Context, shared, dir string) (*server, error) {
	listen, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	scripts := filepath.Join(dir, "kamailio")
	if err := os.MkdirAll(scripts, 0o755); err != nil {
		return nil, err
	}
	for _, name := range []string{"start.sh", "kamailio.cfg"} {
		text, err := os.ReadFile(filepath.Join(shared, "bench", "peers", "kamailio", name))
		if err != nil {
			return nil, err
		}
		moved := strings.ReplaceAll(string(text), "127.0.0.1:5070", listen)
		if err := os.WriteFile(filepath.Join(scripts, name), []byte(moved), 0o755); err != nil {
			return nil, err
		}
	}
	p, err := launch(func(c *exec.Cmd) error {
		c.Env = append(os.Environ(), "BENCH_RUN="+filepath.Join(dir, "run"))
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		c.Stdout, c.WaitDelay = c.Stderr, time.Second
		return nil
	}, filepath.Join(scripts, "start.sh"), "MEM", "2")
	if err != nil {
		return nil, err
	}
	s := &server{process: p, name: "Kamailio", sip: listen}
	if _, err := p.until(ctx, 20*time.Second, "Kamailio answers", 50*time.Millisecond, func(context.Context) bool { return answersSIP(listen) }); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// stop ends the server, and what is left of its children where it has a process
// group of its own.
func (s *server) stop() {
	s.process.stop()
	if a := s.cmd.SysProcAttr; a != nil && a.Setpgid {
		_ = syscall.Kill(-s.pid(), syscall.SIGKILL) // mostly there is nobody left
	}
}

// answersSIP asks by OPTIONS whether somebody is there.
func answersSIP(addr string) bool {
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	me := conn.LocalAddr().String()
	request := "OPTIONS sip:" + addr + " SIP/2.0\r\nVia: SIP/2.0/UDP " + me + ";branch=z9hG4bK" + strings.ReplaceAll(me, ":", "") + "\r\n" +
		"Max-Forwards: 70\r\nFrom: <sip:bench@" + me + ">;tag=1\r\nTo: <sip:" + addr + ">\r\nCall-ID: " + me + "\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
	if _, err := conn.Write([]byte(request)); err != nil {
		return false
	}
	_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // a UDP socket that is open takes one
	_, err = conn.Read(make([]byte, 2000))
	return err == nil
}

// cannot tells what is missing for a run beside Kamailio: nil, if nothing is.
func cannot(shared string) error {
	var all []error
	if _, err := os.Stat(filepath.Join(shared, "bench", "preslog", "go.mod")); err != nil {
		all = append(all, fmt.Errorf("no load generator: %w", err))
	}
	for _, program := range []string{"go", "kamailio", "sqlite3"} {
		if _, err := exec.LookPath(program); err != nil {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}
