package event

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// DialogInfoType is the content type of RFC 4235 §4.
const DialogInfoType = "application/dialog-info+xml"

// Limits of one document.
const (
	maxDocument = 256 << 10
	maxDepth    = 16
	maxDialogs  = 1000
	maxParams   = 32
)

// DialogInfo is a document of RFC 4235 §4.1.
type DialogInfo struct {
	Entity  string
	Version uint32
	Full    bool
	Dialogs []Dialog
}

// Dialog is one dialog element (§4.1.1).
type Dialog struct {
	ID, CallID          string
	LocalTag, RemoteTag string
	Direction           Direction
	State               DialogState
	Event               string // why the state is what it is, such as "cancelled"
	Code                int    // of the response that made it so, 0 untold
	Local, Remote       Party
}

// Party is one side of a dialog (§4.1.6). Params are those of the target,
// names in lower case.
type Party struct {
	Identity, Display string
	Target            string
	Params            map[string]string
}

// Direction says who began; "" is untold.
type Direction string

// Initiator: the entity placed the call. Recipient: it was called.
const (
	Initiator Direction = "initiator"
	Recipient Direction = "recipient"
)

// DialogState is one of RFC 4235 §3.7.1.
type DialogState string

// The states of RFC 4235 §3.7.1.
const (
	Trying     DialogState = "trying"
	Proceeding DialogState = "proceeding"
	Early      DialogState = "early"
	Confirmed  DialogState = "confirmed"
	Terminated DialogState = "terminated"
)

// Held reports that the local side does not render the media: it has put the
// other on hold. RFC 4235 §5.2 writes +sip.rendering, its text sip.rendering.
func (d Dialog) Held() bool {
	for _, name := range []string{"+sip.rendering", "sip.rendering"} {
		if strings.EqualFold(d.Local.Params[name], "no") {
			return true
		}
	}
	return false
}

// DecodeDialogs reads a document. It bears what notifiers of the field send:
// other orders, text between elements, pvalue for pval, reason for event,
// receiver for recipient, no entity. It refuses document types, and whatever
// is larger, deeper or longer than a line could need.
func DecodeDialogs(b []byte) (DialogInfo, error) {
	var doc DialogInfo
	if len(b) > maxDocument {
		return doc, fmt.Errorf("dialog-info: %d octets are too many", len(b))
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	d.CharsetReader = charset
	p := dialogParser{doc: &doc}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = p.token(tok)
		}
		if err != nil {
			return DialogInfo{}, fmt.Errorf("dialog-info: %w", err)
		}
	}
	if !p.rooted {
		return DialogInfo{}, errors.New("dialog-info: no document")
	}
	return doc, nil
}

// charset reads what old notifiers declare: Latin-1 is its own code points.
func charset(label string, in io.Reader) (io.Reader, error) {
	switch strings.ToLower(label) {
	case "utf-8", "utf8", "us-ascii", "ascii":
		return in, nil
	case "iso-8859-1", "latin1", "windows-1252":
		b, err := io.ReadAll(io.LimitReader(in, maxDocument))
		if err != nil {
			return nil, err
		}
		runes := make([]rune, len(b))
		for i, c := range b {
			runes[i] = rune(c)
		}
		return strings.NewReader(string(runes)), nil
	}
	return nil, fmt.Errorf("charset %.20q is not read", label)
}

// dialogParser follows the path of elements by local names: prefixes and
// namespaces are often wrong in the field, and no other vocabulary nests here.
type dialogParser struct {
	doc    *DialogInfo
	path   []string
	rooted bool
	text   []byte
}

func (p *dialogParser) token(tok xml.Token) error {
	switch tok := tok.(type) {
	case xml.Directive:
		return errors.New("document type declarations are refused")
	case xml.StartElement:
		if len(p.path) >= maxDepth {
			return errors.New("nested too deeply")
		}
		p.path = append(p.path, tok.Name.Local)
		p.text = p.text[:0]
		return p.start(tok)
	case xml.CharData:
		p.text = append(p.text, tok...) // bounded by the document
	case xml.EndElement:
		p.end()
		p.path = p.path[:len(p.path)-1]
		p.text = p.text[:0]
	}
	return nil
}

func (p *dialogParser) start(e xml.StartElement) error {
	if len(p.path) == 1 {
		if e.Name.Local != "dialog-info" || p.rooted {
			return fmt.Errorf("root element %.40q", e.Name.Local)
		}
		p.rooted = true
		return p.root(e)
	}
	if len(p.path) == 2 && e.Name.Local == "dialog" {
		if len(p.doc.Dialogs) >= maxDialogs {
			return errors.New("too many dialogs")
		}
		p.doc.Dialogs = append(p.doc.Dialogs, newDialog(e))
		return nil
	}
	d := p.dialog()
	if d == nil {
		return nil
	}
	switch e.Name.Local {
	case "state":
		if len(p.path) == 3 {
			d.Event = attr(e, "event", "reason")
			d.Code, _ = strconv.Atoi(attr(e, "code"))
		}
	case "identity":
		if side := p.side(d); side != nil {
			side.Display = attr(e, "display", "display-name")
		}
	case "target":
		if side := p.side(d); side != nil {
			side.Target = attr(e, "uri")
		}
	case "param":
		if side := p.side(d); side != nil && len(side.Params) < maxParams {
			if side.Params == nil {
				side.Params = map[string]string{}
			}
			side.Params[strings.ToLower(attr(e, "pname"))] = attr(e, "pval", "pvalue")
		}
	}
	return nil
}

func (p *dialogParser) root(e xml.StartElement) error {
	p.doc.Entity = strings.TrimSpace(attr(e, "entity"))
	switch state := attr(e, "state", "notify-state"); state {
	case "full", "":
		p.doc.Full = true
	case "partial":
	default:
		return fmt.Errorf("document state %.20q", state)
	}
	v := attr(e, "version")
	if v == "" {
		return nil
	}
	n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 32)
	if err != nil {
		return fmt.Errorf("version %.20q", v)
	}
	p.doc.Version = uint32(n)
	return nil
}

func newDialog(e xml.StartElement) Dialog {
	d := Dialog{ID: attr(e, "id"), CallID: attr(e, "call-id"), LocalTag: attr(e, "local-tag"), RemoteTag: attr(e, "remote-tag")}
	switch attr(e, "direction") {
	case "initiator":
		d.Direction = Initiator
	case "recipient", "receiver":
		d.Direction = Recipient
	}
	return d
}

// end takes the text of the element that ends.
func (p *dialogParser) end() {
	d := p.dialog()
	if d == nil {
		return
	}
	text := strings.TrimSpace(string(p.text))
	switch p.path[len(p.path)-1] {
	case "state":
		if len(p.path) == 3 {
			d.State = dialogState(text)
		}
	case "identity":
		if side := p.side(d); side != nil {
			side.Identity = text
		}
	}
}

// dialogState: a state that is unknown here is at least a call.
func dialogState(s string) DialogState {
	switch state := DialogState(strings.ToLower(s)); state {
	case Trying, Proceeding, Early, Confirmed, Terminated:
		return state
	case "":
		return Terminated
	}
	return Proceeding
}

func (p *dialogParser) dialog() *Dialog {
	if len(p.path) < 3 || p.path[1] != "dialog" || len(p.doc.Dialogs) == 0 {
		return nil
	}
	return &p.doc.Dialogs[len(p.doc.Dialogs)-1]
}

func (p *dialogParser) side(d *Dialog) *Party {
	switch p.path[2] {
	case "local":
		return &d.Local
	case "remote":
		return &d.Remote
	}
	return nil
}

// attr is the first of the attributes that is there.
func attr(e xml.StartElement, names ...string) string {
	for _, name := range names {
		for _, a := range e.Attr {
			if a.Name.Local == name {
				return a.Value
			}
		}
	}
	return ""
}
