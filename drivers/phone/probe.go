package phone

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pilotlight/agent/presence"
)

// ProbeResult is one sweep of one phone, explained: what was fetched, what was
// understood, what is missing and what to switch on.
type ProbeResult struct {
	Target       string                 `json:"target"`
	Address      string                 `json:"address,omitempty"` // whom we really talked to
	Pages        []ProbedPage           `json:"pages"`
	Device       *DeviceInfo            `json:"device,omitempty"`
	Network      *NetworkInfo           `json:"network,omitempty"`
	Registration *presence.Registration `json:"registration,omitempty"`
	Calls        string                 `json:"calls"`    // what the streams say of calls, in words
	Findings     []string               `json:"findings"` // what is missing, and what to switch on
	OK           bool                   `json:"ok"`       // the phone can be followed by its pages
}

// ProbedPage is one page of a probe.
type ProbedPage struct {
	Path        string        `json:"path"`
	Status      int           `json:"status,omitempty"`
	Server      string        `json:"server,omitempty"`
	ContentType string        `json:"content_type,omitempty"`
	Bytes       int           `json:"bytes"`
	Fields      int           `json:"fields"`
	Took        time.Duration `json:"took_ns"`
	Says        string        `json:"says"` // what was understood, or what is wrong
}

// ProbeTarget reads what a person types for a phone: an address, a host name,
// host:port, or a URL of which scheme, host and port count.
func ProbeTarget(target string) (Phone, error) {
	text := strings.TrimSpace(target)
	if !strings.Contains(text, "://") {
		if isAddr(text) && strings.Contains(text, ":") {
			text = "[" + text + "]"
		}
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return Phone{}, fmt.Errorf("phone %q: want an address, host:port or a URL", target)
	}
	p := Phone{Name: "probe", Address: u.Hostname(), WebScheme: u.Scheme, WebPort: 80}
	if p.WebScheme == "https" {
		p.WebPort = 443
	}
	if port := u.Port(); port != "" {
		if p.WebPort, err = strconv.Atoi(port); err != nil || p.WebPort == 0 {
			return Phone{}, fmt.Errorf("phone %q: want a port from 1 to 65535", target)
		}
	}
	if err := p.Check(); err != nil {
		return Phone{}, fmt.Errorf("phone %q: %w", target, err)
	}
	return p, nil
}

// Probe asks a phone for every page that the driver reads, through the same
// client, and goes on after a page that fails. Its error is that ctx ended.
func Probe(ctx context.Context, p Phone, timeout time.Duration) (*ProbeResult, error) {
	if timeout <= 0 {
		timeout = 3 * time.Second
	}
	r := &ProbeResult{Target: fmt.Sprintf("%s://%s:%d", p.WebScheme, p.Address, p.WebPort)}
	s := newSession(p, timeout, &pins{keys: map[string][sha256.Size]byte{}}, Credentials{})
	defer s.close()
	var streams []StreamInfo
	var network *NetworkInfo
	alive := r.fetch(ctx, s, pathDevice, func(page Page) (string, error) {
		d, err := page.Device()
		if err != nil {
			return "", err
		}
		r.Device = &d
		return d.String(), s.isWho(d.HostName)
	})
	r.OK = r.Device != nil && len(r.Findings) == 0
	if alive {
		r.fetch(ctx, s, pathNetwork, func(page Page) (string, error) {
			n, err := page.Network()
			if err != nil {
				return "", err
			}
			network, r.Network, r.Registration = &n, &n, n.registration()
			return registrationText(n), nil
		})
		for i := 1; i <= maxStreams; i++ {
			r.fetch(ctx, s, pathStream+"?"+strconv.Itoa(i), func(page Page) (string, error) {
				stream, err := page.Stream()
				if err != nil {
					return "", err
				}
				streams = append(streams, stream)
				return "stream " + stream.String(), nil
			})
		}
	}
	if s.remote.IsValid() {
		r.Address = s.remote.String()
	}
	r.conclude(network, streams)
	return r, ctx.Err()
}

// fetch gets and explains one page; false when the phone itself is the trouble.
func (r *ProbeResult) fetch(ctx context.Context, s *session, path string, read func(Page) (string, error)) bool {
	a, err := s.get(ctx, path)
	pp := ProbedPage{Path: path, Status: a.Status, Server: clip(a.Server, 60), ContentType: clip(a.ContentType, 60), Bytes: len(a.Body), Took: a.Took}
	defer func() { r.Pages = append(r.Pages, pp) }()
	if err == nil {
		var page Page
		if page, err = ParsePage(a.Body, a.ContentType); err == nil {
			pp.Fields = len(page.Fields)
			pp.Says, err = read(page)
		}
	}
	if err == nil {
		return true
	}
	f, ok := errors.AsType[*Fault](err)
	if !ok {
		f = garbled(path, "sends %s", err)
	}
	pp.Says = f.Detail
	r.advise(f, path)
	return f.own() || f.another()
}

// advise puts what a fault calls for among the findings, once.
func (r *ProbeResult) advise(f *Fault, path string) {
	say := path + ": " + f.Detail
	switch {
	case f.Reach == presence.Silent:
		say = "nothing answers there: is the address right, has the phone power and link, does a firewall lie between?"
	case f.Reach == presence.Refused:
		say = f.Detail
	case f.Reach == "":
		say = "this machine could not ask: " + f.Error()
	case f.gone() && path == pathDevice:
		say = "it has no " + pathDevice + ": not a phone with Unified CM firmware (3PCC and SPA phones tell of themselves in /status.xml)"
	case f.gone():
		return // the page's own line says so, and it is no trouble
	}
	for _, had := range r.Findings {
		if had == say {
			return
		}
	}
	r.Findings = append(r.Findings, say)
}

func (r *ProbeResult) conclude(network *NetworkInfo, streams []StreamInfo) {
	_, calls := audio(streams, "")
	switch {
	case calls == nil:
		r.Calls = "not told"
	case len(calls.Lines) > 0:
		r.Calls = "audio flows"
	default:
		r.Calls = "no audio"
	}
	r.OK = r.OK && calls != nil
	if r.Device == nil {
		return
	}
	if network == nil {
		r.Findings = append(r.Findings, "it does not say where it is registered")
	} else if r.Registration == nil {
		r.Findings = append(r.Findings, "its words for the state of its call servers are not known here: "+registrationText(*network))
	} else if !r.Registration.Registered {
		r.Findings = append(r.Findings, "it is registered with no call server")
	}
	if r.Device.Messages == nil {
		r.Findings = append(r.Findings, "its word for message waiting is not known here, or missing")
	}
	if calls == nil {
		r.Findings = append(r.Findings, "its pages do not say whether audio flows: subscribe to its lines at the call server (call_managers, dialog: true)")
	} else {
		r.Findings = append(r.Findings, "ringing and hold are not on these pages: subscribe to its lines at the call server for them (call_managers, dialog: true)")
	}
}

// String is the stream as a person reads it.
func (s StreamInfo) String() string {
	switch {
	case s.Active:
		says := fmt.Sprintf("active to %s, %s", s.Remote, s.Codec)
		if s.RcvrJitter != "" {
			says += ", jitter " + s.RcvrJitter + " in a unit of its own"
		}
		return says
	case s.Told:
		return "idle"
	}
	return "in words that are not known here"
}

// String is the device in one line.
func (d DeviceInfo) String() string {
	s := strings.Join(strings.Fields(d.Model+" "+d.HostName), " ")
	if d.Number != "" {
		s += ", line " + d.Number
	}
	if d.Firmware != "" {
		s += ", " + d.Firmware
	}
	return s
}

func registrationText(n NetworkInfo) string {
	if !n.Listed {
		return "no list of call servers"
	}
	var parts []string
	for _, cm := range n.CallManagers {
		part := cm.Server + " " + cm.State
		if cm.SRST {
			part += " (SRST)"
		}
		parts = append(parts, strings.TrimSpace(part))
	}
	if len(parts) == 0 {
		return "an empty list of call servers"
	}
	return "call servers: " + strings.Join(parts, ", ")
}

// String is the probe as a person reads it.
func (r *ProbeResult) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s", r.Target)
	if r.Address != "" && !strings.Contains(r.Target, r.Address) {
		fmt.Fprintf(&b, " (%s)", r.Address)
	}
	b.WriteString("\n")
	for _, p := range r.Pages {
		status := "-"
		if p.Status != 0 {
			status = strconv.Itoa(p.Status)
		}
		fmt.Fprintf(&b, "  %-26s %4s %7s %6d bytes  %s\n", p.Path, status, p.Took.Round(time.Millisecond), p.Bytes, p.Says)
	}
	if r.Device != nil {
		fmt.Fprintf(&b, "calls: %s\n", r.Calls)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "- %s\n", f)
	}
	return b.String()
}
