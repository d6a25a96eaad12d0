package phone

import (
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
	Family       string                 `json:"family,omitempty"` // and whether what is known of it is sure
	Device       *DeviceInfo            `json:"device,omitempty"`
	Network      *NetworkInfo           `json:"network,omitempty"`
	Registration *presence.Registration `json:"registration,omitempty"`
	Calls        string                 `json:"calls"`    // what the pages say of calls, in words
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
		fmt.Fprintf(&b, "family: %s\n", r.Family)
		fmt.Fprintf(&b, "calls: %s\n", r.Calls)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "- %s\n", f)
	}
	return b.String()
}

// String is the status page in one line. Numbers are the phone's own.
func (s Status) String() string {
	say := s.device().String()
	for _, l := range s.Lines {
		if l.Registered == nil {
			continue
		}
		say += fmt.Sprintf(", ext %d ", l.Ext)
		if !*l.Registered {
			say += "not "
		}
		say += "registered"
	}
	return say
}

// String is the port in one line.
func (p PortPage) String() string {
	say := fmt.Sprintf("%s port, %d frames sent, %d received, %d in error", p.Port.Name, p.Port.Sent, p.Port.Received, p.Port.Errors)
	if p.Neighbour != nil {
		say += ", on " + strings.TrimSpace(p.Neighbour.Switch+" "+p.Neighbour.Port)
	}
	return say
}
