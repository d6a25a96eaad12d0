package event

import (
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
)

// RLMIType is the content type of resource list meta-information (RFC 4662 §5).
const RLMIType = "application/rlmi+xml"

const (
	nsRLMI = "urn:ietf:params:xml:ns:rlmi"
	nsRMLI = "urn:ietf:params:xml:ns:rmli" // the drafts' slip of the pen (RLS-12)
)

// Limits of a list (RLS-10).
const (
	maxResources = 1000
	maxInstances = 2000 // and names, of all resources together
)

// ResourceList is the root of a list's NOTIFY (RFC 4662 §5.2).
type ResourceList struct {
	URI       string
	Version   uint32 // counts the documents of one subscription
	Full      bool
	CID       string // of a part about the list itself, seldom there
	Names     []Name
	Resources []Resource
}

// Name is what something is called, in a language or in none.
type Name struct{ Lang, Text string }

// Resource is one member (RFC 4662 §5.3). Without instances nothing is known of it.
type Resource struct {
	URI       string
	Names     []Name
	Instances []Instance
}

// Instance is one subscription to a member (RFC 4662 §5.5). CID names the part
// that has its state, without <>.
type Instance struct {
	ID     string
	State  Status
	Reason string // of Ended
	CID    string // of Active
}

// RenderRLMI writes the root document.
func RenderRLMI(l ResourceList) []byte {
	m := &markup{make([]byte, 0, 256+256*len(l.Resources))}
	m.raw(xmlDeclaration + `<list xmlns="` + nsRLMI + `"`)
	m.attr("uri", l.URI)
	m.number("version", uint64(l.Version))
	full := "false"
	if l.Full {
		full = "true"
	}
	m.attr("fullState", full)
	m.option("cid", l.CID)
	m.raw(">")
	m.names(l.Names)
	for _, r := range l.Resources {
		m.raw("<resource")
		m.attr("uri", r.URI)
		m.raw(">")
		m.names(r.Names)
		for _, i := range r.Instances {
			m.instance(i)
		}
		m.raw("</resource>")
	}
	m.raw("</list>")
	return m.b
}

func (m *markup) names(names []Name) {
	for _, n := range names {
		m.raw("<name")
		m.option("xml:lang", n.Lang)
		m.raw(">")
		m.text(n.Text)
		m.raw("</name>")
	}
}

func (m *markup) instance(i Instance) {
	m.raw("<instance")
	m.attr("id", i.ID)
	m.attr("state", string(i.State))
	m.option("reason", i.Reason)
	m.option("cid", i.CID)
	m.raw("/>")
}

// check holds RLS-04: what a list must say.
func (l ResourceList) check() error {
	if l.URI == "" {
		return errors.New("a list without URI")
	}
	for _, r := range l.Resources {
		if r.URI == "" {
			return errors.New("a resource without URI")
		}
		for _, i := range r.Instances {
			if err := i.check(); err != nil {
				return fmt.Errorf("%s: %w", r.URI, err)
			}
		}
	}
	return nil
}

func (i Instance) check() error {
	switch {
	case i.ID == "":
		return errors.New("an instance without id")
	case i.State == Active && i.CID == "":
		return fmt.Errorf("instance %s is active, and has no part", i.ID)
	case i.State == Ended && i.Reason == "":
		return fmt.Errorf("instance %s is terminated, and has no reason", i.ID)
	case i.State != Active && i.State != Pending && i.State != Ended:
		return fmt.Errorf("instance %s has the state %q", i.ID, i.State)
	}
	return nil
}

// ParseRLMI reads a root document. drafts: the drafts' name space and their name
// attributes are taken, too. What RFC 4662 wants of a list is not asked of others.
func ParseRLMI(b []byte, drafts bool) (ResourceList, error) {
	spaces := []string{nsRLMI}
	if drafts {
		spaces = append(spaces, nsRMLI)
	}
	var p rlmiParser
	if err := walk(b, "list", spaces, p.start, p.end); err != nil {
		return ResourceList{}, fmt.Errorf("rlmi: %w", err)
	}
	return p.list, nil
}

type rlmiParser struct {
	list     ResourceList
	space    string
	count    int
	resource bool    // the path is inside one
	names    *[]Name // where the name goes that is being read
}

func (p *rlmiParser) start(path []string, e xml.StartElement) error {
	if len(path) == 1 {
		p.space = e.Name.Space
		return p.root(e)
	}
	if len(path) == 2 {
		p.resource = false
	}
	p.names = nil
	if e.Name.Space != p.space {
		return nil
	}
	switch {
	case len(path) == 2 && e.Name.Local == "name":
		return p.name(&p.list.Names, e)
	case len(path) == 2 && e.Name.Local == "resource":
		if len(p.list.Resources) >= maxResources {
			return errors.New("too many resources")
		}
		p.resource = true
		p.list.Resources = append(p.list.Resources, Resource{URI: strings.TrimSpace(attr(e, "uri")), Names: p.drafted(e)})
	case len(path) == 3 && p.resource && e.Name.Local == "name":
		return p.name(&p.last().Names, e)
	case len(path) == 3 && p.resource && e.Name.Local == "instance":
		return p.instance(e)
	}
	return nil
}

func (p *rlmiParser) last() *Resource { return &p.list.Resources[len(p.list.Resources)-1] }

func (p *rlmiParser) root(e xml.StartElement) error {
	p.list.URI, p.list.CID, p.list.Names = strings.TrimSpace(attr(e, "uri")), bareID(attr(e, "cid")), p.drafted(e)
	switch full := strings.TrimSpace(attr(e, "fullState")); full {
	case "true", "1":
		p.list.Full = true
	case "false", "0":
	default:
		return fmt.Errorf("fullState %.20q", full)
	}
	var err error
	p.list.Version, err = version(attr(e, "version"))
	return err
}

// drafted is the name as the drafts have it, an attribute.
func (p *rlmiParser) drafted(e xml.StartElement) []Name {
	if s := attr(e, "name"); s != "" && p.space == nsRMLI {
		return []Name{{Text: s}}
	}
	return nil
}

// more counts what a document has many of.
func (p *rlmiParser) more() error {
	if p.count++; p.count > maxInstances {
		return errors.New("too many instances and names")
	}
	return nil
}

func (p *rlmiParser) name(to *[]Name, e xml.StartElement) error {
	*to = append(*to, Name{Lang: attr(e, "lang")})
	p.names = to
	return p.more()
}

func (p *rlmiParser) instance(e xml.StartElement) error {
	i := Instance{ID: attr(e, "id"), State: Status(attr(e, "state")), Reason: attr(e, "reason"), CID: bareID(attr(e, "cid"))}
	if i.State != Active && i.State != Pending && i.State != Ended {
		return fmt.Errorf("instance in state %.20q", i.State)
	}
	r := p.last()
	r.Instances = append(r.Instances, i)
	return p.more()
}

func (p *rlmiParser) end(_ []string, text string) {
	if p.names != nil {
		(*p.names)[len(*p.names)-1].Text = text
		p.names = nil
	}
}
