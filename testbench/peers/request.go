package peers

import (
	"fmt"
	"strings"
)

// Request is a SIP request as octets, well-formed unless told otherwise, so that
// a test may change what it likes.
type Request struct {
	Method, URI, From, Event string
	Expires                  string // as it stands in the field; empty: none
	Type, Body               string
	More                     []string // further fields, whole lines
}

// Octets renders it for a line, in a dialog of its own; branch is that of its Via.
func (r Request) Octets(l *Line) (octets, branch string) {
	branch = "z9hG4bK" + token()
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=%s\r\nMax-Forwards: 70\r\nFrom: <%s>;tag=%s\r\nTo: <%s>\r\nCall-ID: %s\r\nCSeq: 1 %s\r\n",
		r.Method, r.URI, l.transport, l.Local, branch, r.From, token(), r.URI, token(), r.Method)
	if r.Event != "" {
		fmt.Fprintf(&b, "Event: %s\r\n", r.Event)
	}
	if r.Method == "SUBSCRIBE" {
		fmt.Fprintf(&b, "Contact: <sip:watcher@%s>\r\n", l.Local)
	}
	if r.Expires != "" {
		fmt.Fprintf(&b, "Expires: %s\r\n", r.Expires)
	}
	for _, line := range r.More {
		b.WriteString(line + "\r\n")
	}
	if r.Type != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", r.Type)
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(r.Body), r.Body)
	return b.String(), branch
}
