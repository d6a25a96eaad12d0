package phone

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pilotlight/agent/presence"
)

// A probing is one probe under way.
type probing struct {
	*sweep
	r        *ProbeResult
	streams  []StreamInfo
	attempts []string // pages by which a phone may tell of itself, and this one does not
}

// Probe asks a phone for the open pages that the driver reads of its family, through
// the same client, and goes on after a page that fails. It shows no user. Its error
// is that ctx ended.
func Probe(ctx context.Context, target Phone, timeout time.Duration) (*ProbeResult, error) {
	if timeout <= 0 {
		timeout = 3 * time.Second
	}
	s := newSession(target, timeout, &pins{}, Credentials{})
	defer s.close()
	p := &probing{sweep: &sweep{session: s, a: &account{}},
		r: &ProbeResult{Target: fmt.Sprintf("%s://%s:%d", target.WebScheme, target.Address, target.WebPort), Calls: "not told"}}
	p.run(ctx)
	if s.remote.IsValid() {
		p.r.Address = s.remote.String()
	}
	return p.r, ctx.Err()
}

// run finds out how the phone tells of itself, in the order of the sweep (who), and
// reads what it has.
func (p *probing) run(ctx context.Context) {
	family := strange
	switch f := p.device(ctx); {
	case f == nil || f.another():
		family = FamilyOf(p.r.Device.Model).tried()
	case f.gone():
		if p.status(ctx) {
			return
		}
		p.a.adapter = true
		if p.device(ctx) == nil {
			family = FamilyOf(p.r.Device.Model).tried()
			break
		}
		p.find("it has none of the pages by which a phone tells of itself (" + strings.Join(p.attempts, ", ") + "): no phone of Cisco's, or one that is just starting")
		return
	case !f.own():
		return
	}
	p.family(family)
	p.pages(ctx, family)
	p.conclude(family)
}

// family names it.
func (p *probing) family(f Family) {
	p.r.Family = f.Name
	if p.r.Family += " (" + f.Source; !f.Sure {
		p.r.Family += "; not sure"
	}
	p.r.Family += ")"
}

// device reads the identity; a page of another phone than the configured one is
// read, and said.
func (p *probing) device(ctx context.Context) *Fault {
	f := p.page(ctx, pathDevice, func(page Page) (string, error) {
		d, err := page.Device()
		if err != nil {
			return "", err
		}
		p.r.Device = &d
		return d.String(), p.isWho(d.HostName)
	})
	p.r.OK = f == nil
	return f
}

// status reads the page of multiplatform firmware, and reports whether the probe
// is at its end with that.
func (p *probing) status(ctx context.Context) bool {
	for _, path := range []string{pathStatus, pathStatusAdmin} {
		p.most = maxStatus
		f := p.ask(ctx, path, func(a answer, pp *ProbedPage) error {
			s, err := ParseStatus(a.Body, a.ContentType)
			if err == nil {
				pp.Fields, pp.Says = len(s.Lines), s.String()
				p.flat(s)
			}
			return err
		})
		p.most = 0
		if f == nil || !f.own() || f.denied() || f.busy() {
			return true
		}
	}
	return false
}

// flat concludes from a status page.
func (p *probing) flat(s Status) {
	d, r := s.device(), p.r
	r.Device, r.Registration = &d, s.Registration()
	p.family(s.family())
	calls := s.Calls("")
	r.Calls, r.OK = callsText(calls), calls != nil
	switch {
	case r.Registration == nil:
		p.find("it does not say whether it is registered, or in words that are not known here")
	case !r.Registration.Registered:
		p.find("it is registered with no call server")
	}
	if calls == nil {
		p.find("its status page tells of no line: subscribe to its lines at the call server (call_managers, dialog: true)")
	}
}

// pages reads what the sweep reads of such a phone.
func (p *probing) pages(ctx context.Context, family Family) {
	p.page(ctx, pathNetwork, func(page Page) (string, error) {
		n, err := page.Network()
		if err != nil {
			return "", err
		}
		p.r.Network, p.r.Registration = &n, n.registration()
		return registrationText(n), nil
	})
	for n := 1; n <= family.Streams; n++ {
		p.page(ctx, streamPath(n), func(page Page) (string, error) {
			s, err := page.Stream()
			if err != nil {
				return "", err
			}
			p.streams = append(p.streams, s)
			return "stream " + s.String(), nil
		})
	}
	if family.Ports {
		for n, name := range []string{"network", "pc"} {
			p.page(ctx, fmt.Sprint(pathPort, "?", n+1), func(page Page) (string, error) {
				port, err := page.Ports(name)
				return port.String(), err
			})
		}
		p.page(ctx, pathEthernet, func(page Page) (string, error) {
			e, err := page.Ethernet()
			return fmt.Sprintf("%d frames sent, %d received", e.Sent, e.Received), err
		})
	}
	if family.Log && !p.a.adapter {
		p.ask(ctx, pathLog+"?0", func(a answer, pp *ProbedPage) error {
			log, err := ParseDeviceLog(a.Body, a.ContentType)
			if pp.Fields = len(log.Lines); pp.Fields > 0 {
				pp.Says = "logged last: " + log.Lines[pp.Fields-1]
			}
			return err
		})
	}
}

// page gets and explains one page, by the adapter where that is the phone's way.
func (p *probing) page(ctx context.Context, path string, read func(Page) (string, error)) *Fault {
	parse := ParsePage
	if p.a.adapter {
		for _, ad := range adapters {
			if ad.page == path {
				path = pathAdapter + ad.adapter
				parse = func(body []byte, contentType string) (Page, error) {
					return ParseServiceability(body, contentType, ad.adapter)
				}
				break
			}
		}
	}
	return p.ask(ctx, path, func(a answer, pp *ProbedPage) error {
		page, err := parse(a.Body, a.ContentType)
		if err == nil {
			pp.Fields = len(page.Fields)
			pp.Says, err = read(page)
		}
		return err
	})
}

// ask makes one exchange, and a line of what came of it.
func (p *probing) ask(ctx context.Context, path string, read func(answer, *ProbedPage) error) *Fault {
	a, err := p.get(ctx, path)
	pp := ProbedPage{Path: path, Status: a.Status, Server: clip(a.Server, 60), ContentType: clip(a.ContentType, 60), Bytes: len(a.Body), Took: a.Took}
	if err == nil {
		err = sends(path, read(a, &pp))
	}
	var f *Fault
	if err != nil {
		if f, _ = errors.AsType[*Fault](err); f == nil {
			f = &Fault{Page: path, Detail: "could not be asked", Err: err}
		}
		if f.denied() && strings.HasSuffix(path, pathStatus) {
			f.Detail = adviceStatus
		}
		pp.Says = f.Detail
		p.advise(f, path)
	}
	p.r.Pages = append(p.r.Pages, pp)
	return f
}

// advise puts what a fault calls for among the findings.
func (p *probing) advise(f *Fault, path string) {
	switch {
	case f.Reach == presence.Silent:
		p.find("nothing answers there: is the address right, has the phone power and link, does a firewall lie between?")
	case f.Reach == "":
		p.find("this machine could not ask: " + f.Error())
	case f.Dial:
		p.find(f.Detail)
	case f.gone(): // the page's own line says so, and it is no trouble unless all are missing
		p.attempts = append(p.attempts, path)
	default:
		p.find(path + ": " + f.Detail)
	}
}

// find says something once.
func (p *probing) find(say string) {
	if !slices.Contains(p.r.Findings, say) {
		p.r.Findings = append(p.r.Findings, say)
	}
}

// conclude says what the pages of Unified CM firmware leave open.
func (p *probing) conclude(family Family) {
	_, calls := audio(p.streams, "")
	r := p.r
	r.Calls = callsText(calls)
	r.OK = r.OK && calls != nil
	if r.Device == nil {
		return
	}
	switch {
	case r.Network == nil:
		p.find("it does not say where it is registered")
	case r.Registration == nil:
		p.find("its words for the state of its call servers are not known here: " + registrationText(*r.Network))
	case !r.Registration.Registered:
		p.find("it is registered with no call server")
	}
	if r.Device.Messages == nil {
		p.find("its word for message waiting is not known here, or missing")
	}
	dialog := "subscribe to its lines at the call server (call_managers, dialog: true)"
	if family.Lines != nil {
		dialog = "have the pages of its keys read (phone_defaults: user, password_file), or " + dialog
	}
	switch {
	case family.Lines == nil || r.Network == nil:
	case r.Network.Authentication == "":
		p.find("it names no Authentication URL: it lets no user see the pages of its keys")
	default:
		p.find("it lets a user see the pages of its keys whom " + r.Network.Authentication + " lets in, and nobody while that cannot be reached")
	}
	if calls == nil {
		p.find("its pages do not say whether audio flows: " + dialog)
	} else {
		p.find("ringing and hold are not on these pages: " + dialog)
	}
}

// callsText is what is told of calls, in words.
func callsText(c *presence.Calls) string {
	switch {
	case c == nil:
		return "not told"
	case !c.Exact && len(c.Lines) > 0:
		return "audio flows"
	case !c.Exact:
		return "no audio"
	}
	var all []string
	for _, l := range c.Lines {
		if l.State == presence.LineIdle {
			continue
		}
		say := string(l.State)
		if l.Held {
			say += ", held"
		}
		all = append(all, say)
	}
	if len(all) == 0 {
		return "idle"
	}
	return strings.Join(all, "; ")
}
