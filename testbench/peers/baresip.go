package peers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Phone is a running baresip with one account.
type Phone struct {
	URI  string // its address of record, "sip:alice@example.com", or "sip:alice@127.0.0.1:PORT"
	Addr string // "127.0.0.1:PORT": where it takes SIP

	p    *process
	conn net.Conn

	mu      sync.Mutex // one command at a time, and the fields below
	next    int
	answers chan answer
	events  []Event
	more    chan struct{} // closed at the next event
}

// Event is what baresip tells of its calls: CALL_RINGING, CALL_ESTABLISHED,
// CALL_CLOSED, REGISTER_OK, … with its own fields.
type Event struct {
	Type   string `json:"type"`
	Peer   string `json:"peeruri"`
	ID     string `json:"id"`
	Detail string `json:"param"`
}

type answer struct {
	OK    bool   `json:"ok"`
	Data  string `json:"data"`
	Token string `json:"token"`
}

// PhoneOption chooses what a phone does.
type PhoneOption func(*phone)

type phone struct {
	user, domain, outbound string
	answer                 string
	registers, tcp         bool
	buddies                []string
}

// WithAccount makes it a phone of user.
func WithAccount(user string) PhoneOption { return func(p *phone) { p.user = user } }

// WithServer registers it at s, and sends its calls there.
func WithServer(s *KamailioServer) PhoneOption {
	return func(p *phone) { p.domain, p.outbound, p.registers = s.Domain, "sip:"+s.Addr, true }
}

// WithBuddies makes it watch the presence of some URIs of a domain, by way of
// the presence server at addr. It does not register there.
func WithBuddies(domain, addr string, uris ...string) PhoneOption {
	return func(p *phone) { p.domain, p.outbound, p.buddies = domain, "sip:"+addr, uris }
}

// OverTCP has it speak TCP with the server of WithBuddies.
func OverTCP() PhoneOption { return func(p *phone) { p.tcp = true } }

// WithManualAnswer lets it ring until Accept; else it answers at once.
func WithManualAnswer() PhoneOption { return func(p *phone) { p.answer = "manual" } }

// Baresip starts one. It is ready when its control port answers and, with a
// server, when it is registered there.
//
// Its audio is a tone to nowhere at 48 kHz and 2 channels: with anything else
// baresip's ausine fails, and the callee rings for ever.
func Baresip(t testing.TB, options ...PhoneOption) *Phone {
	t.Helper()
	o := &phone{user: "alice", answer: "auto"}
	for _, f := range options {
		f(o)
	}
	dir := shortDir(t)
	port, control := freePort(t), freePort(t)
	ph := &Phone{Addr: fmt.Sprintf("127.0.0.1:%d", port), answers: make(chan answer, 1), more: make(chan struct{})}
	account := ";regint=0"
	switch {
	case o.domain == "":
		o.domain = ph.Addr
	case o.registers:
		account = fmt.Sprintf(";auth_pass=x;regint=60;outbound=%q", o.outbound)
	default:
		if o.tcp {
			o.outbound += ";transport=tcp"
		}
		account += fmt.Sprintf(";outbound=%q", o.outbound)
	}
	ph.URI = "sip:" + o.user + "@" + o.domain
	config, contacts := baresipConfig(ph.Addr, o.user, control), ""
	if len(o.buddies) > 0 {
		config += "module_app presence.so\n"
	}
	for i, uri := range o.buddies {
		contacts += fmt.Sprintf("\"buddy %d\" <%s>;presence=p2p\n", i, uri)
	}
	write(t, dir, "config", config)
	write(t, dir, "accounts", fmt.Sprintf("<%s>%s;answermode=%s;mwi=no\n", ph.URI, account, o.answer))
	write(t, dir, "contacts", contacts)
	ph.p = start(t, syscall.SIGTERM, dir, nil, "baresip", "-4", "-f", dir)
	ph.p.ready(t, func() (err error) {
		ph.conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", control))
		return err
	})
	over := make(chan struct{})
	go func() {
		defer close(over)
		ph.read()
	}()
	t.Cleanup(func() { _ = ph.conn.Close(); <-over })
	if o.registers {
		ph.p.ready(t, func() error {
			// "reginfo" is empty of "OK" until the registrar has answered.
			out, err := ph.Command("reginfo", "")
			if err == nil && !strings.Contains(out, "OK") {
				err = fmt.Errorf("not registered: %q", out)
			}
			return err
		})
	}
	return ph
}

func baresipConfig(addr, user string, control int) string {
	host, _, _ := strings.Cut(addr, ":")
	lines := []string{
		"poll_method epoll", "sip_listen " + addr, "net_interface " + host,
		"audio_player aubridge," + user, "audio_source ausine,440", "audio_alert aubridge," + user + "-alert",
		"ausrc_srate 48000", "auplay_srate 48000", "ausrc_channels 2", "auplay_channels 2", "rtp_stats yes",
		"module_path " + baresipModules, "module g711.so", "module aubridge.so", "module ausine.so",
		"module_tmp uuid.so", "module_tmp account.so", "module_app contact.so", "module_app menu.so",
		"module_app debug_cmd.so", "module_app ctrl_tcp.so", fmt.Sprintf("ctrl_tcp_listen 127.0.0.1:%d", control),
	}
	return strings.Join(lines, "\n") + "\n"
}

const baresipModules = "/usr/lib/baresip/modules"

// Dial calls uri.
func (p *Phone) Dial(uri string) error { return p.order("dial", uri) }

// Accept answers the call that rings.
func (p *Phone) Accept() error { return p.order("accept", "") }

// Buddy is what it shows of the presence of a URI: Online, Offline, Busy, Unknown.
func (p *Phone) Buddy(uri string) string {
	text, err := p.Command("contacts", "")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(text) {
		if strings.Contains(line, "<"+uri+">") {
			plain := colours.ReplaceAllString(line, "")
			return strings.Join(strings.Fields(plain), " ")
		}
	}
	return ""
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// Hangup ends the current call.
func (p *Phone) Hangup() error { return p.order("hangup", "") }

// Hold puts the current call on hold, and Resume takes it back.
func (p *Phone) Hold() error { return p.order("hold", "") }

// Resume ends a Hold.
func (p *Phone) Resume() error { return p.order("resume", "") }

func (p *Phone) order(command, params string) error {
	_, err := p.Command(command, params)
	return err
}

// Command gives baresip a command ("help" lists them) and returns what it says.
func (p *Phone) Command(command, params string) (string, error) {
	p.mu.Lock()
	p.next++
	mark := strconv.Itoa(p.next)
	p.mu.Unlock()
	body, err := json.Marshal(map[string]string{"command": command, "params": params, "token": mark})
	if err != nil {
		return "", err
	}
	if err := p.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(p.conn, "%d:%s,", len(body), body); err != nil {
		return "", err
	}
	late := time.After(patience)
	for {
		select {
		case a, ok := <-p.answers:
			switch {
			case !ok:
				return "", errors.New("baresip has gone")
			case a.Token != mark: // of a command that was given up
			case !a.OK:
				return a.Data, fmt.Errorf("baresip %s %s: %s", command, params, a.Data)
			default:
				return a.Data, nil
			}
		case <-late:
			return "", fmt.Errorf("baresip %s: no answer", command)
		}
	}
}

// read takes netstrings of JSON off the control port until it closes.
func (p *Phone) read() {
	defer close(p.answers)
	in := bufio.NewReader(p.conn)
	for {
		size, err := in.ReadString(':')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(strings.TrimSuffix(size, ":"))
		if err != nil || n < 0 || n > 1<<20 {
			return
		}
		body := make([]byte, n+1) // with the comma
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		var m struct {
			Event    bool `json:"event"`
			Response bool `json:"response"`
		}
		if json.Unmarshal(body[:n], &m) != nil {
			continue
		}
		p.take(body[:n], m.Event)
	}
}

func (p *Phone) take(body []byte, isEvent bool) {
	if !isEvent {
		var a answer
		if json.Unmarshal(body, &a) == nil {
			p.answers <- a
		}
		return
	}
	var e Event
	if json.Unmarshal(body, &e) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, e)
	close(p.more)
	p.more = make(chan struct{})
}

// WaitEvent waits for an event of that type, those that came since the last
// WaitEvent included.
func (p *Phone) WaitEvent(t testing.TB, kind string) Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		p.mu.Lock()
		for i, e := range p.events {
			if e.Type == kind {
				p.events = p.events[i+1:]
				p.mu.Unlock()
				return e
			}
		}
		more, have := p.more, p.events
		p.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("baresip %s: no %s; it told of %v", p.URI, kind, have)
		}
	}
}

// Kill is kill -9, and returns when it has gone.
func (p *Phone) Kill() { p.p.end(syscall.SIGKILL) }
